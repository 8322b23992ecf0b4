"""R17: Conv2D against torch in float64, and against correlation written in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate2d
from torch import Tensor
from torch.nn import functional as F

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError, UnknownNameError

pairs = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))
settings_of_a_convolution = st.fixed_dictionaries(
    {"kernel_size": pairs, "strides": pairs, "dilation_rate": st.integers(1, 2), "use_bias": st.booleans()}
)
images = st.tuples(
    st.integers(1, 3), st.integers(1, 2), st.integers(7, 11), st.integers(7, 11)
)  # batch, channels a group, H, W


def both(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def reference(x: Tensor, weight: Tensor, bias: Tensor | None, given: dict[str, Any], groups: int) -> np.ndarray:
    """Cross-correlate with "same" padding as Keras defines it, in NumPy: pad, correlate at every place, take every s-th."""
    stride, dilation = both(given["strides"]), given["dilation_rate"]
    kernel = both(given["kernel_size"])
    sides = []
    for n, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        total = max((-(-n // s) - 1) * s + dilation * (k - 1) + 1 - n, 0)
        sides.append((total // 2, total - total // 2))
    data = np.pad(x.numpy(), [(0, 0), (0, 0), *sides])
    w = weight.detach().numpy()
    spread = np.zeros((*w.shape[:2], *(dilation * (k - 1) + 1 for k in kernel)))
    spread[:, :, ::dilation, ::dilation] = w
    inputs, outputs = x.shape[1] // groups, w.shape[0] // groups
    planes = [
        [
            sum(correlate2d(image[f // outputs * inputs + c], spread[f, c], mode="valid") for c in range(inputs))
            for f in range(w.shape[0])
        ]
        for image in data
    ]
    z = np.array(planes)[:, :, :: stride[0], :: stride[1]]
    return z if bias is None else z + bias.detach().numpy()[:, None, None]


@given(images, settings_of_a_convolution, st.integers(1, 2), st.integers(1, 2), st.integers(0, 3))
def test_equals_torch_in_value_and_gradient(
    image: tuple[int, int, int, int], options: dict[str, Any], groups: int, outputs: int, padding: int
) -> None:
    batch, inputs, *sizes = image
    x = torch.randn(batch, inputs * groups, *sizes, dtype=torch.float64, requires_grad=True)
    layer = L.Conv2D(outputs * groups, padding=padding, groups=groups, bias_initializer="uniform", **options)
    z = layer(x)
    weight, bias = (None if p is None else p.detach().clone().requires_grad_() for p in (layer.weight, layer.bias))
    want = F.conv2d(x, weight, bias, options["strides"], padding, options["dilation_rate"], groups)
    assert (bias is not None) == options["use_bias"]
    assert weight.shape == (outputs * groups, inputs, *both(options["kernel_size"]))
    torch.testing.assert_close(z, want, rtol=1e-12, atol=1e-12)
    dz = torch.randn_like(z)
    wanted = [t for t in (x, weight, bias) if t is not None]
    got = torch.autograd.grad(z, [x, *layer.parameters()], dz)
    for g, w in zip(got, torch.autograd.grad(want, wanted, dz), strict=True):
        torch.testing.assert_close(g, w, rtol=1e-12, atol=1e-12)


@given(images, settings_of_a_convolution, st.integers(1, 2), st.integers(1, 2))
def test_same_padding_equals_a_correlation_in_numpy(
    image: tuple[int, int, int, int], options: dict[str, Any], groups: int, outputs: int
) -> None:
    batch, inputs, *sizes = image
    x = torch.randn(batch, inputs * groups, *sizes, dtype=torch.float64)
    layer = L.Conv2D(outputs * groups, padding="same", groups=groups, bias_initializer="uniform", **options)
    z = layer(x)
    stride = both(options["strides"])
    assert z.shape[2:] == tuple(-(-n // s) for n, s in zip(sizes, stride, strict=True))
    np.testing.assert_allclose(z.detach().numpy(), reference(x, layer.weight, layer.bias, options, groups), rtol=0, atol=1e-12)


def test_same_padding_puts_the_odd_one_after() -> None:
    layer = L.Conv2D(1, 2, padding="same", use_bias=False, kernel_initializer="ones")
    assert layer(torch.arange(1.0, 4.0).reshape(1, 1, 1, 3)).flatten().tolist() == [3.0, 5.0, 3.0]


def test_the_example_of_r17() -> None:
    """7 × 7 × 3 with two 3 × 3 × 3 kernels and stride 2 gives 3 × 3 × 2."""
    layer = L.Conv2D(2, 3, strides=2)
    assert layer(torch.zeros(1, 3, 7, 7)).shape == (1, 2, 3, 3)
    assert layer.weight.shape == (2, 3, 3, 3)


def test_a_known_sum() -> None:
    layer = L.Conv2D(1, 2, kernel_initializer=torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), bias_initializer=0.5)
    x = torch.tensor([[[[1.0, 0.0, 2.0], [0.0, 3.0, 0.0], [4.0, 0.0, 5.0]]]])
    assert layer(x).flatten().tolist() == [13.5, 13.5, 18.5, 23.5]


@pytest.mark.parametrize("name", ["relu", "tanh", "softmax"])
def test_activation_by_name(name: str) -> None:
    x = torch.randn(2, 3, 5, 5)
    layer, plain = L.Conv2D(4, 3, activation=name), L.Conv2D(4, 3)
    layer(x)
    plain(x)
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x), lm.activations.get(name)(plain(x)))


def test_activation_may_be_a_layer_that_learns() -> None:
    x = torch.randn(2, 3, 5, 5)
    layer = L.Conv2D(4, 3, activation=L.ELU("uniform", learnable=True))
    layer(x).sum().backward()
    assert [n for n, _ in layer.named_parameters()] == ["weight", "bias", "activation.alpha"]
    assert layer.activation.alpha.grad is not None


def test_initializers_by_name() -> None:
    layer = L.Conv2D(64, 5, kernel_initializer="he_normal", bias_initializer="ones")
    layer(torch.zeros(1, 32, 8, 8))
    assert abs(float(layer.weight.detach().std()) / (2 / (32 * 25)) ** 0.5 - 1) < 0.02
    assert torch.equal(layer.bias, torch.ones(64))
    glorot = L.Conv2D(64, 5)
    glorot(torch.zeros(1, 32, 8, 8))
    limit = (6 / ((32 + 64) * 25)) ** 0.5
    assert 0.99 * limit < float(glorot.weight.detach().abs().max()) <= limit
    assert torch.equal(glorot.bias, torch.zeros(64))


def test_what_it_calls_itself() -> None:
    plain = L.Conv2D(8, 3)
    assert plain.label == "layer 'conv2d' (Conv2D, filters=8, kernel_size=(3, 3))"
    full = L.Conv2D(8, (3, 5), strides=2, padding="same", dilation_rate=(1, 2), groups=2, activation="relu", name="stem")
    assert full.label == (
        "layer 'stem' (Conv2D, filters=8, kernel_size=(3, 5), strides=(2, 2), padding='same', dilation_rate=(1, 2), groups=2, "
        "activation='relu')"
    )
    assert repr(L.Conv2D(1, 1, padding=2)) == "Conv2D(filters=1, kernel_size=(1, 1), padding=(2, 2))"


# -- errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: L.Conv2D(0, 3), ArgumentError, "Conv2D(filters=): expected a whole number of at least 1, received 0. Pass 1 or more."),
        (lambda: L.Conv2D(2.0, 3), ArgumentError, "Conv2D(filters=): expected a whole number of at least 1, received 2.0. Pass 1 or more."),
        (lambda: L.Conv2D(True, 3), ArgumentError, "Conv2D(filters=): expected a whole number of at least 1, received True. Pass 1 or more."),
        (lambda: L.Conv2D(2, 3, groups=0), ArgumentError, "Conv2D(groups=): expected a whole number of at least 1, received 0. Pass 1 or more."),
        (lambda: L.Conv2D(2, (3, 0)), ArgumentError, "Conv2D(kernel_size=): expected a whole number of at least 1, or 2 of them, received (3, 0). Pass 2, say."),
        (
            lambda: L.Conv2D(2, 3, use_biass=False),
            UnknownNameError,
            "Conv2D: argument 'use_biass' is unknown. Did you mean 'use_bias'? Known: activation, bias_initializer, dilation_rate, filters, groups, kernel_initializer, kernel_size, name, padding, strides, use_bias.",
        ),
    ],
)  # fmt: skip
def test_bad_arguments(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == text


def test_unknown_names_are_refused_at_once() -> None:
    with pytest.raises(UnknownNameError) as caught:
        L.Conv2D(2, 3, activation="rellu")
    assert str(caught.value).startswith("activation 'rellu' is unknown. Did you mean 'relu'? Known: ")
    with pytest.raises(UnknownNameError) as caught:
        L.Conv2D(2, 3, kernel_initializer="he_norm")
    assert str(caught.value).startswith("initializer 'he_norm' is unknown. Did you mean 'he_normal'? Known: ")


CONV = "layer 'conv2d' (Conv2D, filters=6, kernel_size=(3, 3)"


@pytest.mark.parametrize(
    ("options", "shape", "text"),
    [
        ({}, (784,), f"{CONV}): expected input (batch, channels, height, width), received (batch, 784), 2 axes. Add Reshape((1, 28, 28)) before it."),
        ({}, (28, 28), f"{CONV}): expected input (batch, channels, height, width), received (batch, 28, 28), 3 axes. Pass x[:, None] if it lacks the channel axis, x[None] if it lacks the batch axis."),
        ({}, (3, 2, 8), f'{CONV}): expected height and width of at least (3, 3), received (2, 8). Use a smaller window, or padding="same".'),
        ({"groups": 3}, (4, 8, 8), f"{CONV}, groups=3): expected channels and filters that groups=3 divides, received 4 channels and 6 filters. Choose groups that divides both."),
        ({"groups": 4}, (4, 8, 8), f"{CONV}, groups=4): expected channels and filters that groups=4 divides, received 4 channels and 6 filters. Choose groups that divides both."),
    ],
)  # fmt: skip
def test_bad_shapes(options: dict[str, Any], shape: tuple[int, ...], text: str) -> None:
    for run in (
        lambda: L.Conv2D(6, 3, **options)(torch.zeros(2, *shape)),
        lambda: lm.Sequential([L.Conv2D(6, 3, **options)]).build(shape),
    ):
        with pytest.raises(ShapeError) as caught:
            run()
        assert str(caught.value) == text


def test_another_number_of_channels_than_it_was_built_for() -> None:
    text = f"{CONV}): expected input of 3 channels, received (batch, 4, 8, 8), 4 channels. Give it 3 channels, or build a new layer."
    layer = L.Conv2D(6, 3)
    layer(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(1, 4, 8, 8))
    assert str(caught.value) == text
    network = lm.Sequential([L.Conv2D(6, 3)]).build((3, 8, 8))
    with pytest.raises(ShapeError) as caught:
        network.build((4, 8, 8))
    assert str(caught.value) == text


def test_a_failed_build_can_be_mended() -> None:
    layer = L.Conv2D(6, 3)
    with pytest.raises(ShapeError):
        layer(torch.zeros(1, 3, 2, 2))
    assert not layer.built
    assert layer(torch.zeros(1, 3, 8, 8)).shape == (1, 6, 6, 6)
