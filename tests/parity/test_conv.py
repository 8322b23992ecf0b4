"""Convolutions against `torch.nn` and Keras: same weights, random configurations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from parity.support import assert_close, copy_into, gradients, keras, parity, same_initial
from torch import Tensor, nn

from laminar import layers as L

ranks = pytest.mark.parametrize("rank", [1, 2, 3])
sizes = st.lists(st.integers(4, 7), min_size=3, max_size=3)
short = st.lists(st.integers(1, 3), min_size=3, max_size=3)
two = st.lists(st.integers(1, 2), min_size=3, max_size=3)
named = st.sampled_from(["valid", "same"])
activations = st.sampled_from([None, "relu", "tanh", "softmax"])


def to_keras(weight: Tensor) -> Tensor:
    """(out, in, *kernel) as Keras lays it out, (*kernel, in, out)."""
    return weight.movedim((0, 1), (-1, -2))


def from_keras(kernel: Tensor) -> Tensor:
    return kernel.movedim((-1, -2), (0, 1))


def as_keras(options: dict[str, Any], activation: str | None) -> dict[str, Any]:
    """Keras' softmax sums over the last axis whatever the data format, so it is applied outside."""
    return {**options, "data_format": "channels_first", "activation": None if activation == "softmax" else activation}


def keras_results(layer: Any, x: Tensor, activation: str | None) -> tuple[list[Tensor], list[Tensor]]:
    module = (lambda v: torch.softmax(layer(v), 1)) if activation == "softmax" else layer
    return gradients(module, [x], [v.value for v in layer.trainable_variables])


@ranks
@parity
@given(
    sizes=sizes, kernel=short, strides=short, dilation=two, groups=st.integers(1, 2), inputs=st.integers(1, 2),
    outputs=st.integers(1, 2), padding=named, bias=st.booleans(), activation=activations,
)  # fmt: skip
def test_convolution_as_keras(rank: int, sizes: Any, kernel: Any, strides: Any, dilation: Any, groups: int, inputs: int,
                              outputs: int, padding: str, bias: bool, activation: str | None) -> None:  # fmt: skip
    """With stride and dilation together, which Keras refuses, the other tests compare with torch and TensorFlow's formula."""
    kernel, strides, dilation, sizes = (tuple(v[:rank]) for v in (kernel, strides, dilation, sizes))
    assume(max(strides) == 1 or max(dilation) == 1)
    assume(padding == "same" or all(n >= d * (k - 1) + 1 for n, k, d in zip(sizes, kernel, dilation, strict=True)))
    options = {"strides": strides, "padding": padding, "dilation_rate": dilation, "groups": groups, "use_bias": bias}
    own = same_initial(
        getattr(L, f"Conv{rank}D")(outputs * groups, kernel, activation=activation, **options), (inputs * groups, *sizes)
    )
    x = torch.randn(2, inputs * groups, *sizes)
    z, grads = gradients(own, [x], list(own.parameters()))

    theirs = getattr(keras.layers, f"Conv{rank}D")(outputs * groups, kernel, **as_keras(options, activation))
    theirs.build((None, inputs * groups, *sizes))
    copy_into([to_keras(own.weight), *([own.bias] if bias else [])], theirs.variables)
    want, wanted = keras_results(theirs, x, activation)
    assert_close([*z, *grads], [*want, wanted[0], from_keras(wanted[1]), *wanted[2:]])


@ranks
@parity
@given(
    sizes=sizes, kernel=short, strides=short, dilation=two, padding=st.lists(st.integers(0, 2), min_size=3, max_size=3),
    groups=st.integers(1, 2), inputs=st.integers(1, 2), outputs=st.integers(1, 2), bias=st.booleans(),
)  # fmt: skip
def test_convolution_as_torch(rank: int, sizes: Any, kernel: Any, strides: Any, dilation: Any, padding: Any, groups: int,
                              inputs: int, outputs: int, bias: bool) -> None:  # fmt: skip
    kernel, strides, dilation, padding, sizes = (tuple(v[:rank]) for v in (kernel, strides, dilation, padding, sizes))
    assume(all(n + 2 * p > d * (k - 1) for n, k, d, p in zip(sizes, kernel, dilation, padding, strict=True)))
    own = getattr(L, f"Conv{rank}D")(outputs * groups, kernel, strides, padding, dilation, groups, use_bias=bias)
    same_initial(own, (inputs * groups, *sizes))
    x = torch.randn(2, inputs * groups, *sizes)
    conv = getattr(nn, f"Conv{rank}d")
    theirs = conv(inputs * groups, outputs * groups, kernel, strides, padding, dilation, groups, bias)
    theirs.load_state_dict(own.state_dict())
    z, grads = gradients(own, [x], list(own.parameters()))
    want, wanted = gradients(theirs, [x], list(theirs.parameters()))
    assert_close([*z, *grads], [*want, *wanted])


@parity
@given(
    sizes=sizes, kernel=short, stride=st.integers(1, 3), dilation=st.integers(1, 2), multiplier=st.integers(1, 3),
    channels=st.integers(1, 3), padding=named, bias=st.booleans(), activation=activations,
)  # fmt: skip
def test_depthwise(sizes: Any, kernel: Any, stride: int, dilation: int, multiplier: int, channels: int, padding: str,
                   bias: bool, activation: str | None) -> None:  # fmt: skip
    kernel, sizes = tuple(kernel[:2]), tuple(sizes[:2])
    assume(stride == 1 or dilation == 1)
    assume(padding == "same" or all(n >= dilation * (k - 1) + 1 for n, k in zip(sizes, kernel, strict=True)))
    options = {
        "strides": stride, "padding": padding, "depth_multiplier": multiplier, "dilation_rate": dilation, "use_bias": bias
    }  # fmt: skip
    own = same_initial(L.DepthwiseConv2D(kernel, activation=activation, **options), (channels, *sizes))
    x = torch.randn(2, channels, *sizes)
    z, grads = gradients(own, [x], list(own.parameters()))

    theirs = keras.layers.DepthwiseConv2D(kernel, **as_keras(options, activation))
    theirs.build((None, channels, *sizes))
    weight = own.weight.reshape(channels, multiplier, *kernel).permute(2, 3, 0, 1)
    copy_into([weight, *([own.bias] if bias else [])], theirs.variables)
    want, wanted = keras_results(theirs, x, activation)
    gradient = wanted[1].permute(2, 3, 0, 1).reshape(own.weight.shape)
    assert_close([*z, *grads], [*want, wanted[0], gradient, *wanted[2:]])

    if activation is None and padding == "valid":
        conv = nn.Conv2d(channels, channels * multiplier, kernel, stride, 0, dilation, channels, bias)
        conv.load_state_dict(own.state_dict())
        want, wanted = gradients(conv, [x], list(conv.parameters()))
        assert_close([*z, *grads], [*want, *wanted])


@parity
@given(
    sizes=sizes, kernel=short, stride=st.integers(1, 3), dilation=st.integers(1, 2), multiplier=st.integers(1, 3),
    channels=st.integers(1, 3), filters=st.integers(1, 3), padding=named, bias=st.booleans(), activation=activations,
)  # fmt: skip
def test_separable(sizes: Any, kernel: Any, stride: int, dilation: int, multiplier: int, channels: int, filters: int,
                   padding: str, bias: bool, activation: str | None) -> None:  # fmt: skip
    kernel, sizes = tuple(kernel[:2]), tuple(sizes[:2])
    assume(stride == 1 or dilation == 1)
    assume(padding == "same" or all(n >= dilation * (k - 1) + 1 for n, k in zip(sizes, kernel, strict=True)))
    options = {
        "strides": stride, "padding": padding, "depth_multiplier": multiplier, "dilation_rate": dilation, "use_bias": bias
    }  # fmt: skip
    own = same_initial(L.SeparableConv2D(filters, kernel, activation=activation, **options), (channels, *sizes))
    x = torch.randn(2, channels, *sizes)
    z, grads = gradients(own, [x], list(own.parameters()))

    theirs = keras.layers.SeparableConv2D(filters, kernel, **as_keras(options, activation))
    theirs.build((None, channels, *sizes))
    weight = own.depthwise_weight.reshape(channels, multiplier, *kernel).permute(2, 3, 0, 1)
    copy_into([weight, to_keras(own.pointwise_weight), *([own.bias] if bias else [])], theirs.variables)
    want, wanted = keras_results(theirs, x, activation)
    gradient = wanted[1].permute(2, 3, 0, 1).reshape(own.depthwise_weight.shape)
    assert_close([*z, *grads], [*want, wanted[0], gradient, from_keras(wanted[2]), *wanted[3:]])


@parity
@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=2), kernel=st.lists(st.integers(1, 5), min_size=2, max_size=2),
    strides=st.lists(st.integers(1, 4), min_size=2, max_size=2), dilation=st.integers(1, 2), channels=st.integers(1, 3),
    filters=st.integers(1, 3), padding=named, added=st.none() | st.integers(0, 3), bias=st.booleans(), activation=activations,
)  # fmt: skip
def test_transposed_as_keras(sizes: Any, kernel: Any, strides: Any, dilation: int, channels: int, filters: int, padding: str,
                             added: int | None, bias: bool, activation: str | None) -> None:  # fmt: skip
    assume(max(strides) == 1 or dilation == 1)
    assume(added is None or added < min(strides))
    extents = [dilation * (k - 1) + 1 for k in kernel]
    if padding == "same" and added is not None:
        assume(all((n - 1) * s + e % 2 + added > 0 for n, s, e in zip(sizes, strides, extents, strict=True)))
    options = {
        "strides": tuple(strides), "padding": padding, "output_padding": added, "dilation_rate": dilation, "use_bias": bias
    }  # fmt: skip
    own = same_initial(L.Conv2DTranspose(filters, kernel, activation=activation, **options), (channels, *sizes))
    x = torch.randn(2, channels, *sizes)
    z, grads = gradients(own, [x], list(own.parameters()))

    theirs = keras.layers.Conv2DTranspose(filters, tuple(kernel), **as_keras(options, activation))
    theirs.build((None, channels, *sizes))
    copy_into([to_keras(own.weight), *([own.bias] if bias else [])], theirs.variables)
    want, wanted = keras_results(theirs, x, activation)
    assert_close([*z, *grads], [*want, wanted[0], from_keras(wanted[1]), *wanted[2:]])


@parity
@given(
    sizes=st.lists(st.integers(2, 5), min_size=2, max_size=2), kernel=st.lists(st.integers(1, 5), min_size=2, max_size=2),
    strides=st.lists(st.integers(1, 4), min_size=2, max_size=2), dilation=st.integers(1, 2), channels=st.integers(1, 3),
    filters=st.integers(1, 3), padding=st.integers(0, 2), added=st.none() | st.integers(0, 3), bias=st.booleans(),
)  # fmt: skip
def test_transposed_as_torch(sizes: Any, kernel: Any, strides: Any, dilation: int, channels: int, filters: int, padding: int,
                             added: int | None, bias: bool) -> None:  # fmt: skip
    assume(added is None or added < max(min(strides), dilation))
    extents = [dilation * (k - 1) + 1 for k in kernel]
    lengths = [(n - 1) * s + e - 2 * padding + (added or 0) for n, s, e in zip(sizes, strides, extents, strict=True)]
    assume(min(lengths) > 0)
    own = L.Conv2DTranspose(filters, kernel, strides, padding, added, dilation, use_bias=bias)
    same_initial(own, (channels, *sizes))
    theirs = nn.ConvTranspose2d(channels, filters, kernel, strides, padding, added or 0, 1, bias, dilation)
    theirs.load_state_dict(own.state_dict())
    x = torch.randn(2, channels, *sizes)
    z, grads = gradients(own, [x], list(own.parameters()))
    want, wanted = gradients(theirs, [x], list(theirs.parameters()))
    assert_close([*z, *grads], [*want, *wanted])
