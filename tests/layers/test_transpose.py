"""R17: Conv2DTranspose as the gradient of Conv2D, its lengths, and what it says; DepthwiseConv2D and SeparableConv2D by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError, UnknownNameError

pairs = st.tuples(st.integers(1, 5), st.integers(1, 5))
strides = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(pairs, pairs, strides, st.integers(1, 2))
def test_same_is_the_gradient_of_a_convolution_with_same_padding(
    sizes: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], dilation: int
) -> None:
    """TensorFlow's definition: from (n·stride) down to n goes the convolution, and its transpose goes back."""
    layer = L.Conv2DTranspose(3, kernel, stride, "same", dilation_rate=dilation, bias_initializer="uniform").double()
    x = torch.randn(2, 4, *sizes, dtype=torch.float64)
    z = layer(x)
    large = tuple(n * s for n, s in zip(sizes, stride, strict=True))
    assert z.shape == (2, 3, *large)
    image = torch.zeros(2, 3, *large, dtype=torch.float64, requires_grad=True)
    convolution = L.Conv2D(4, kernel, stride, "same", dilation, use_bias=False, kernel_initializer=layer.weight.detach())
    (want,) = torch.autograd.grad(convolution.double()(image), image, x)
    torch.testing.assert_close(z, want + layer.bias[:, None, None], rtol=0, atol=1e-12)


@given(pairs, pairs, strides, st.integers(1, 2))
def test_valid_is_the_gradient_of_a_convolution_without_padding(
    sizes: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], dilation: int
) -> None:
    layer = L.Conv2DTranspose(3, kernel, stride, dilation_rate=dilation, use_bias=False).double()
    x = torch.randn(2, 4, *sizes, dtype=torch.float64)
    z = layer(x)
    extents = [dilation * (k - 1) + 1 for k in kernel]
    large = tuple((n - 1) * s + max(e, s) for n, s, e in zip(sizes, stride, extents, strict=True))
    assert z.shape == (2, 3, *large)
    image = torch.zeros(2, 3, *large, dtype=torch.float64, requires_grad=True)
    want = F.conv2d(image, layer.weight.detach(), None, stride, 0, dilation)
    torch.testing.assert_close(z, torch.autograd.grad(want, image, x)[0], rtol=0, atol=1e-12)


def test_every_number_of_the_input_adds_a_kernel() -> None:
    kernel = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    layer = L.Conv2DTranspose(1, 2, strides=2, kernel_initializer=kernel, bias_initializer=0.5)
    z = layer(torch.tensor([[[[1.0, 10.0]]]]))
    assert z.tolist() == [[[[1.5, 2.5, 10.5, 20.5], [3.5, 4.5, 30.5, 40.5]]]]


def test_what_it_explains() -> None:
    assert str(L.Conv2DTranspose(8, 3, strides=2, padding="same").explain((16, 7, 7))) == (
        "Conv2DTranspose(filters=8, kernel_size=(3, 3), strides=(2, 2), padding='same'): (16, 7, 7) → (8, 14, 14)\n"
        "  height: (7 − 1)·2 + 3 − 0 − 1 = 14\n"
        "  width: (7 − 1)·2 + 3 − 0 − 1 = 14\n"
        "  every number of the input adds a kernel, times itself, to each of the 8 output channels\n"
        "  parameters: 16 kernels of 8×3×3 + 8 biases = 1 160"
    )
    lines = L.Conv2DTranspose(1, 3, 3, 1, 2, use_bias=False).explain((1, 4, 5)).lines
    assert lines[0] == "height: (4 − 1)·3 + 3 − 1 + 1 = 12"
    assert lines[-1] == "parameters: 1 kernel of 1×3×3 = 9"
    lines = L.DepthwiseConv2D(3, depth_multiplier=2).explain((4, 8, 8)).lines
    assert lines[2:] == (
        "2 kernels for each of 4 input channels, spanning it alone",
        "parameters: 8 kernels of 1×3×3 + 8 biases = 80",
    )
    assert L.SeparableConv2D(6, 3).explain((4, 8, 8)).lines[2:] == (
        "1 kernel for each of 4 input channels, spanning it alone; then 6 kernels of 1×1 over all of their outputs",
        "depthwise: 4 kernels of 1×3×3 = 36",
        "pointwise: 6 kernels of 4×1×1 + 6 biases = 30",
        "parameters: 36 + 30 = 66",
    )
    grouped = L.Conv2D(6, 3, groups=2).explain((4, 8, 8)).lines
    assert grouped[2:] == (
        "2 groups: every kernel spans 2 of the 4 input channels",
        "parameters: 6 kernels of 2×3×3 + 6 biases = 114",
    )
    assert L.Conv1D(1, 3).explain((1, 8)).lines[1:] == (
        "every kernel spans the one input channel", "parameters: 1 kernel of 1×3 + 1 bias = 4",
    )  # fmt: skip


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2))
def test_depthwise_channels_do_not_see_each_other(channels: int, multiplier: int, stride: int) -> None:
    layer = L.DepthwiseConv2D((2, 3), stride, "same", multiplier, bias_initializer="uniform").double()
    x = torch.randn(2, channels, 5, 6, dtype=torch.float64)
    z = layer(x)
    for c in range(channels):
        for j in range(multiplier):
            f = c * multiplier + j
            alone = L.Conv2D(1, (2, 3), stride, "same", kernel_initializer=layer.weight[f : f + 1].detach()).double()
            torch.testing.assert_close(z[:, f], alone(x[:, c : c + 1])[:, 0] + layer.bias[f], rtol=0, atol=1e-12)


def test_separable_is_depthwise_then_a_convolution_of_one_place() -> None:
    layer = L.SeparableConv2D(5, 3, strides=2, padding="same", depth_multiplier=2, activation="tanh").double()
    x = torch.randn(2, 3, 7, 8, dtype=torch.float64)
    z = layer(x)
    inner = L.DepthwiseConv2D(3, 2, "same", 2, use_bias=False, depthwise_initializer=layer.depthwise_weight.detach()).double()
    outer = L.Conv2D(5, 1, kernel_initializer=layer.pointwise_weight.detach(), activation="tanh").double()
    torch.testing.assert_close(z, outer(inner(x)), rtol=0, atol=1e-12)
    assert [n for n, _ in layer.named_parameters()] == ["depthwise_weight", "pointwise_weight", "bias"]


def test_initializers_of_each_weight() -> None:
    layer = L.SeparableConv2D(64, 5, depthwise_initializer="ones", pointwise_initializer="he_normal")
    layer(torch.zeros(1, 32, 8, 8))
    assert torch.equal(layer.depthwise_weight, torch.ones(32, 1, 5, 5))
    assert abs(float(layer.pointwise_weight.detach().std()) / (2 / 32) ** 0.5 - 1) < 0.05
    depthwise = L.DepthwiseConv2D(5, depthwise_initializer="he_normal")
    depthwise(torch.zeros(1, 256, 8, 8))
    assert abs(float(depthwise.weight.detach().std()) / (2 / 25) ** 0.5 - 1) < 0.05


ADDED = "Conv2DTranspose(output_padding=): expected less than the strides (2, 1) or dilation (1, 1), received"


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: L.Conv2DTranspose(2, 3, (2, 1), output_padding=1), ArgumentError, f"{ADDED} 1. Pass larger strides, or leave it out."),
        (lambda: L.Conv2DTranspose(2, 3, output_padding=-1), ArgumentError,
         "Conv2DTranspose(output_padding=): expected a whole number of at least 0, or 2 of them, received -1. Pass 2, say."),
        (lambda: L.DepthwiseConv2D(3, depth_multiplier=0), ArgumentError,
         "DepthwiseConv2D(depth_multiplier=): expected a whole number of at least 1, received 0. Pass 1 or more."),
        (lambda: L.DepthwiseConv2D(3, kernel_initializer="ones"), UnknownNameError,  # type: ignore[call-arg]  # refused
         "DepthwiseConv2D: argument 'kernel_initializer' is unknown. Did you mean 'depthwise_initializer'? "
         "Known: activation, bias_initializer, depth_multiplier, depthwise_initializer, dilation_rate, kernel_size, name, padding, "
         "strides, use_bias."),
        (lambda: L.SeparableConv2D(0, 3), ArgumentError,
         "SeparableConv2D(filters=): expected a whole number of at least 1, received 0. Pass 1 or more."),
    ],
)  # fmt: skip
def test_bad_arguments(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == text


def test_nothing_left_of_the_output() -> None:
    layer = L.Conv2DTranspose(2, 3, strides=2, padding=3)
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(1, 1, 2, 5))
    assert str(caught.value) == (
        "layer 'conv2d_transpose' (Conv2DTranspose, filters=2, kernel_size=(3, 3), strides=(2, 2), padding=(3, 3)): "
        "expected height and width of at least (3, 3), received (2, 5). Use less padding."
    )
    assert L.Conv2DTranspose(2, 3, strides=2, padding=3)(torch.zeros(1, 1, 3, 3)).shape == (1, 2, 1, 1)


def test_other_channels_than_it_was_built_for() -> None:
    layer = L.Conv2DTranspose(2, 3)
    layer(torch.zeros(1, 1, 4, 4))
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(1, 2, 4, 4))
    assert str(caught.value) == (
        "layer 'conv2d_transpose' (Conv2DTranspose, filters=2, kernel_size=(3, 3)): expected input of 1 channel, "
        "received (batch, 2, 4, 4), 2 channels. Give it 1 channel, or build a new layer."
    )
