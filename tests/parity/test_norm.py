"""Normalizations against `torch.nn`'s and Keras': same weights, random configurations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity.support import assert_close, copy_into, gradients, keras, parity, same_initial
from torch import nn

from laminar import layers as L

sizes = st.lists(st.integers(1, 4), max_size=2)
epsilons = st.sampled_from([1e-3, 1e-5])


def trained(layer: Any) -> list[torch.Tensor]:
    """Return the values of Keras' learnables, as tensors with gradients."""
    return [v.value for v in layer.trainable_variables]


@parity
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    axis=st.sampled_from([1, -1]),
    momentum=st.sampled_from([0.9, 0.99, 0.5]),
    epsilon=epsilons,
    center=st.booleans(),
    scale=st.booleans(),
)
def test_batch_normalization(shape: list[int], axis: int, momentum: float, epsilon: float, center: bool, scale: bool) -> None:
    """Three training steps, then inference. The variance kept is the one difference: Keras' divides by n, ours by n - 1."""
    own = same_initial(L.BatchNormalization(axis, momentum, epsilon, center=center, scale=scale), shape)
    theirs = keras.layers.BatchNormalization(axis, momentum, epsilon, center=center, scale=scale)
    theirs.build((None, *shape))
    copy_into(list(own.parameters()), theirs.trainable_variables)
    batch = 4
    n = batch * int(np.prod(shape)) // own.running_mean.numel()
    variance = torch.ones_like(own.running_var)
    for step in range(3):
        x = torch.randn(batch, *shape) * (step + 1) + step
        z, grads = gradients(own.train(), [x], list(own.parameters()))
        want, wanted = gradients(lambda x: theirs(x, training=True), [x], trained(theirs))
        assert_close(z, want)
        assert_close(grads, wanted, 1e-4)  # sums over the batch of what cancels
        biased = x.movedim(axis, 0).flatten(1).var(1, unbiased=False)
        variance = momentum * variance + (1 - momentum) * biased * n / (n - 1)
    kept = [v.value.detach() for v in theirs.non_trainable_variables]
    assert_close([own.running_mean, own.running_var], [kept[0], variance])
    copy_into([own.running_mean, own.running_var], theirs.non_trainable_variables)
    z, grads = gradients(own.eval(), [x], list(own.parameters()))
    want, wanted = gradients(lambda x: theirs(x, training=False), [x], trained(theirs))
    assert_close([*z, *grads], [*want, *wanted])


@parity
@given(
    shape=st.lists(st.integers(2, 5), min_size=1, max_size=3),
    data=st.data(),
    epsilon=epsilons,
    center=st.booleans(),
    scale=st.booleans(),
)
def test_layer_normalization(shape: list[int], data: Any, epsilon: float, center: bool, scale: bool) -> None:
    """Keras' is shown the axes last: on its torch backend it takes the wrong ones where they are not."""
    axes = data.draw(st.lists(st.integers(1, len(shape)), min_size=1, unique=True).map(sorted))
    own = same_initial(L.LayerNormalization(axes, epsilon, center=center, scale=scale), shape)
    x = torch.randn(4, *shape)
    z, grads = gradients(own, [x], list(own.parameters()))
    ends = list(range(-len(axes), 0))
    theirs = keras.layers.LayerNormalization(ends, epsilon=epsilon, center=center, scale=scale)
    theirs.build(x.movedim(axes, ends).shape)
    copy_into(list(own.parameters()), theirs.trainable_variables)
    want, wanted = gradients(lambda x: theirs(x.movedim(axes, ends)).movedim(ends, axes), [x], trained(theirs))
    assert_close([*z, *grads], [*want, *wanted])

    trailing = list(range(axes[0], len(shape) + 1))
    if axes == trailing and center and scale:
        plain = nn.LayerNorm([shape[a - 1] for a in axes], epsilon)
        plain.load_state_dict(own.state_dict())
        want, wanted = gradients(plain, [x], list(plain.parameters()))
        assert_close([*z, *grads], [*want, *wanted])


@parity
@given(
    groups=st.integers(1, 3),
    each=st.integers(1, 3),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=2),
    last=st.booleans(),
    epsilon=epsilons,
    center=st.booleans(),
    scale=st.booleans(),
)
def test_group_normalization(
    groups: int, each: int, sizes: list[int], last: bool, epsilon: float, center: bool, scale: bool
) -> None:
    """Of groups around 0: Keras takes the variance as the mean square less the squared mean, which cancels where that is large."""
    channels = groups * each
    shape = [*sizes, channels] if last else [channels, *sizes]
    axis = -1 if last else 1
    given_groups = -1 if each == 1 else groups
    own = same_initial(L.GroupNormalization(given_groups, axis, epsilon, center=center, scale=scale), shape)
    parts = torch.randn(4, groups, each * int(np.prod(sizes))) * 2
    x = (parts - parts.mean(2, keepdim=True)).reshape(4, channels, *sizes)
    x = x.movedim(1, axis)
    z, grads = gradients(own, [x], list(own.parameters()))
    theirs = keras.layers.GroupNormalization(given_groups, axis, epsilon, center=center, scale=scale)
    theirs.build((None, *shape))
    copy_into(list(own.parameters()), theirs.trainable_variables)
    want, wanted = gradients(theirs, [x], trained(theirs))
    assert_close([*z, *grads], [*want, *wanted])
    if not last and center and scale:
        plain = nn.GroupNorm(groups, channels, epsilon)
        plain.load_state_dict(own.state_dict())
        want, wanted = gradients(plain, [x], list(plain.parameters()))
        assert_close([*z, *grads], [*want, *wanted])


@parity
@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=3), data=st.data(), epsilon=st.sampled_from([1e-6, 1e-2]))
def test_rms_and_unit_normalization(shape: list[int], data: Any, epsilon: float) -> None:
    axis = data.draw(st.integers(1, len(shape)))
    own = same_initial(L.RMSNormalization(axis, epsilon), shape)
    x = torch.randn(4, *shape)
    z, grads = gradients(own, [x], list(own.parameters()))
    theirs = keras.layers.RMSNormalization(-1, epsilon)  # over another axis Keras scales along the last one
    last = x.movedim(axis, -1)
    theirs.build(last.shape)
    copy_into(list(own.parameters()), theirs.trainable_variables)
    want, wanted = gradients(lambda x: theirs(x.movedim(axis, -1)).movedim(-1, axis), [x], trained(theirs))
    assert_close([*z, *grads], [*want, *wanted])
    if axis == len(shape):
        plain = nn.RMSNorm(shape[-1], epsilon)
        plain.load_state_dict(own.state_dict())
        want, wanted = gradients(plain, [x], list(plain.parameters()))
        assert_close([*z, *grads], [*want, *wanted])

    axes = data.draw(st.lists(st.integers(1, len(shape)), min_size=1, unique=True))
    z, grads = gradients(L.UnitNormalization(axes), [x], [])
    want, wanted = gradients(keras.layers.UnitNormalization(axes), [x], [])
    assert_close([*z, *grads], [*want, *wanted])


@parity
@given(
    shape=st.lists(st.integers(2, 5), min_size=2, max_size=3),
    size=st.integers(1, 6),
    alpha=st.sampled_from([1e-4, 0.1]),
    beta=st.sampled_from([0.75, 0.5]),
    k=st.sampled_from([1.0, 2.0]),
)
def test_local_response_normalization(shape: list[int], size: int, alpha: float, beta: float, k: float) -> None:
    """torch's alpha is the size times the paper's; Keras has no such layer."""
    x = torch.randn(4, *shape) * 3
    z, grads = gradients(L.LocalResponseNormalization(size, alpha, beta, k), [x], [])
    want, wanted = gradients(nn.LocalResponseNorm(size, size * alpha, beta, k), [x], [])
    assert_close([*z, *grads], [*want, *wanted])


@parity
@given(channels=st.integers(2, 4), sizes=sizes, scale=st.floats(-2, 2), offset=st.floats(-2, 2), low=st.integers(-50, 50))
def test_preprocessing(channels: int, sizes: list[int], scale: float, offset: float, low: int) -> None:
    """Keras' Normalization is our "zscore" per channel; where a channel does not vary, it divides by 1e-7 and we by 1."""
    x = torch.randn(6, channels, *sizes) * 3 + low
    own = L.Normalization("zscore", per="channel")
    own.adapt(x)
    theirs = keras.layers.Normalization(axis=1)
    theirs.adapt(x.numpy())
    new = torch.randn(5, channels, *sizes) * 3 + low
    z, grads = gradients(own, [new], [])
    want, wanted = gradients(theirs, [new], [])
    assert_close([*z, *grads], [*want, *wanted], 1e-5 * (1 + abs(low)))  # Keras takes its statistics in float32
    z, grads = gradients(L.Rescaling(scale, offset), [x], [])
    want, wanted = gradients(keras.layers.Rescaling(scale, offset), [x], [])
    assert_close([*z, *grads], [*want, *wanted])
