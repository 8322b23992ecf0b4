"""Merging layers against Keras': outputs and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity.support import assert_close, gradients, keras, parity

from laminar import layers as L

NAMES = ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"]
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@pytest.mark.parametrize("name", NAMES)
@parity
@given(shape=shapes, number=st.integers(2, 4), ones=st.integers(0, 7))
def test_elementwise(name: str, shape: tuple[int, ...], number: int, ones: int) -> None:
    narrow = tuple(1 if ones >> i & 1 else n for i, n in enumerate(shape))
    xs = [torch.randn(3, *(narrow if i == 1 else shape)) for i in range(2 if name == "Subtract" else number)]
    z, grads = gradients(getattr(L, name)(), xs, [])
    theirs = getattr(keras.layers, name)()
    want, wanted = gradients(lambda *inputs: theirs(list(inputs)), xs, [])
    assert_close([*z, *grads], [*want, *wanted])


@parity
@given(shape=shapes, number=st.integers(2, 4), axis=st.integers(0, 2))
def test_concatenate(shape: tuple[int, ...], number: int, axis: int) -> None:
    axis = axis % len(shape) + 1
    xs = [torch.randn(3, *shape[: axis - 1], i + 1, *shape[axis:]) for i in range(number)]
    z, grads = gradients(L.Concatenate(axis), xs, [])
    theirs = keras.layers.Concatenate(axis)
    want, wanted = gradients(lambda *inputs: theirs(list(inputs)), xs, [])
    assert_close([*z, *grads], [*want, *wanted])


@parity
@given(
    length=st.integers(1, 4),
    left=st.lists(st.integers(1, 3), min_size=1, max_size=1),
    right=st.lists(st.integers(1, 3), min_size=1, max_size=1),
    places=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    flat=st.booleans(),
    normalize=st.booleans(),
)
def test_dot(length: int, left: list[int], right: list[int], places: tuple[int, int], flat: bool, normalize: bool) -> None:
    shaped = ([], []) if flat else (left, right)
    places = (1, 1) if flat else places
    xs = [torch.randn(3, *rest[: p - 1], length, *rest[p - 1 :]) for rest, p in zip(shaped, places, strict=True)]
    z, grads = gradients(L.Dot(places, normalize), xs, [])
    theirs = keras.layers.Dot(places, normalize)
    want, wanted = gradients(lambda *inputs: theirs(list(inputs)), xs, [])
    assert_close([*z, *grads], [*want, *wanted])
