"""Merging layers against NumPy, and what they say of inputs that do not go together."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError
from laminar.shapes import trace

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
ELEMENTWISE: dict[str, tuple[Callable[[], L.Layer], Callable[..., Any]]] = {
    "add": (L.Add, lambda *a: sum(a)),
    "multiply": (L.Multiply, lambda *a: functools.reduce(np.multiply, a)),
    "average": (L.Average, lambda *a: sum(a) / len(a)),
    "maximum": (L.Maximum, lambda *a: functools.reduce(np.maximum, a)),
    "minimum": (L.Minimum, lambda *a: functools.reduce(np.minimum, a)),
    "subtract": (L.Subtract, lambda a, b: a - b),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
@given(shape=shapes, number=st.integers(2, 4), ones=st.integers(0, 15))
def test_elementwise_equals_numpy(name: str, shape: tuple[int, ...], number: int, ones: int) -> None:
    """Called either way, also where an axis of an input has length 1."""
    make, formula = ELEMENTWISE[name]
    narrow = tuple(1 if ones >> i & 1 else n for i, n in enumerate(shape))
    inputs = [torch.randn(3, *(narrow if i == 1 else shape), dtype=torch.float64) for i in range(number)]
    inputs = inputs[:2] if name == "subtract" else inputs
    want = formula(*(x.numpy() for x in inputs))
    np.testing.assert_allclose(make()(*inputs).numpy(), want, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(make()(inputs).numpy(), make()(*inputs).numpy())
    assert make().explain(*(x.shape[1:] for x in inputs)).outputs == (want.shape[1:],)


@given(shape=shapes, lengths=st.lists(st.integers(1, 3), min_size=2, max_size=4), axis=st.integers(0, 3))
def test_concatenate_equals_numpy(shape: tuple[int, ...], lengths: list[int], axis: int) -> None:
    axis = axis % len(shape) + 1
    inputs = [torch.randn(2, *shape[: axis - 1], n, *shape[axis:]) for n in lengths]
    want = np.concatenate([x.numpy() for x in inputs], axis)
    for place in (axis, axis - len(shape) - 1):
        layer = L.Concatenate(place)
        np.testing.assert_array_equal(layer(inputs).numpy(), want)
        np.testing.assert_array_equal(layer(*inputs).numpy(), want)
        assert layer.explain(*(x.shape[1:] for x in inputs)).outputs == (want.shape[1:],)


@given(
    left=st.lists(st.integers(1, 3), max_size=2),
    right=st.lists(st.integers(1, 3), max_size=2),
    places=st.tuples(*[st.integers(0, 2)] * 2),
    cosine=st.booleans(),
)
def test_dot_equals_numpy(left: list[int], right: list[int], places: tuple[int, int], cosine: bool) -> None:
    """Every number is a scalar product of two vectors, by loops over NumPy."""
    x, y = np.random.default_rng(0).normal(size=(2, *left, 4)), np.random.default_rng(1).normal(size=(2, *right, 4))
    a, b = (place % (len(rest) + 1) + 1 for place, rest in zip(places, (left, right), strict=True))
    inputs = [torch.from_numpy(np.moveaxis(t, -1, axis).copy()) for t, axis in ((x, a), (y, b))]
    want = np.zeros((2, *left, *right))
    for batch in range(2):
        for i in np.ndindex(*left):
            for j in np.ndindex(*right):
                u, v = x[(batch, *i)], y[(batch, *j)]
                want[(batch, *i, *j)] = (u * v).sum() / (np.sqrt((u * u).sum() * (v * v).sum()) if cosine else 1)
    layer = L.Dot((a, b), normalize=cosine)
    z = layer(*inputs)
    np.testing.assert_allclose(z.numpy().reshape(want.shape), want, rtol=1e-10, atol=1e-12)
    assert tuple(z.shape) == (2, *(left + right or [1]))
    assert layer.explain(*(t.shape[1:] for t in inputs)).outputs == (tuple(z.shape[1:]),)


def test_what_they_explain() -> None:
    assert str(L.Concatenate().explain((3, 8, 8), (5, 8, 8))).splitlines() == [
        "Concatenate(): (3, 8, 8) and (5, 8, 8) → (8, 8, 8)",
        "  axis 1: 3 + 5 = 8",
        "  parameters: none",
    ]
    assert repr(L.Dot((2, 1), normalize=True)) == "Dot(axes=(2, 1), normalize=True)"
    assert repr(L.Dot(-1)) == "Dot(axes=-1)"
    assert repr(L.Concatenate(-1)) == "Concatenate(axis=-1)"


DIFFER = [
    (
        L.Add,
        ((64, 8, 8), (32, 8, 8)),
        "layer 'add' (Add): expected inputs of one shape, received (batch, 64, 8, 8) and (batch, 32, 8, 8). "
        "Give both as many channels, or use Concatenate() to put one behind the other.",
    ),
    (
        L.Multiply,
        ((64, 8, 8), (64, 4, 4)),
        "layer 'multiply' (Multiply): expected inputs of one shape, received (batch, 64, 8, 8) and (batch, 64, 4, 4). "
        "Give both the same sizes, by strides, pooling or padding in the branch of the larger one.",
    ),
    (
        L.Average,
        ((64, 8), (32, 4)),
        "layer 'average' (Average): expected inputs of one shape, received (batch, 64, 8) and (batch, 32, 4). "
        "Bring them to one shape.",
    ),
    (
        L.Multiply,
        ((64,), (64, 8, 8)),
        "layer 'multiply' (Multiply): expected inputs of one shape, received (batch, 64) and (batch, 64, 8, 8). "
        "Add Reshape((64, 1, 1)) to the one with fewer axes.",
    ),
    (
        L.Maximum,
        ((3, 8, 8), (192,)),
        "layer 'maximum' (Maximum): expected inputs of one shape, received (batch, 3, 8, 8) and (batch, 192). "
        "Bring them to one shape with Reshape.",
    ),
    (
        L.Add,
        ((1, 4), (2, 4), (3, 4)),
        "layer 'add' (Add): expected inputs of one shape, received (batch, 2, 4) and (batch, 3, 4). "
        "Give both as many channels, or use Concatenate() to put one behind the other.",
    ),
    (
        L.Minimum,
        ((3, 4),),
        "layer 'minimum' (Minimum): expected two inputs or more, received (batch, 3, 4). "
        "Call Minimum()(a, b) or Minimum()([a, b]).",
    ),
    (
        L.Subtract,
        ((3,), (3,), (3,)),
        "layer 'subtract' (Subtract): expected two inputs, received (batch, 3) and (batch, 3) and (batch, 3). "
        "Call Subtract()(a, b) or Subtract()([a, b]).",
    ),
    (
        L.Concatenate,
        ((64, 8, 8), (32, 4, 8)),
        "layer 'concatenate' (Concatenate): expected inputs of one shape but for axis 1, received (batch, 64, 8, 8) and "
        "(batch, 32, 4, 8). Bring the other axes to the same lengths.",
    ),
    (
        lambda: L.Concatenate(-1),
        ((3, 4), (2, 4)),
        "layer 'concatenate' (Concatenate, axis=-1): expected inputs of one shape but for axis 2, received (batch, 3, 4) and "
        "(batch, 2, 4). Bring the other axes to the same lengths.",
    ),
    (
        lambda: L.Concatenate(2),
        ((3,), (4,)),
        "layer 'concatenate' (Concatenate, axis=2): expected batches of at least 3 axes, received (batch, 3) and (batch, 4). "
        "Pass axis=-1 for the last axis.",
    ),
    (
        lambda: L.Dot((2, 1)),
        ((3, 4), (5, 4)),
        "layer 'dot' (Dot, axes=(2, 1)): expected axes of one length, axis 2 of the first input and axis 1 of the second, "
        "received (batch, 3, 4) and (batch, 5, 4), of lengths 4 and 5. Choose other axes.",
    ),
    (
        lambda: L.Dot(2),
        ((3, 4), (4,)),
        "layer 'dot' (Dot, axes=2): expected a batch with an axis 2, received (batch, 4). Pass axes that both inputs have.",
    ),
]


@pytest.mark.parametrize(("make", "sizes", "text"), DIFFER)
def test_inputs_that_do_not_go_together(make: Any, sizes: Any, text: str) -> None:
    """The same words when it is called and when a network is asked for its shapes."""
    for run in (lambda layer: layer(*(torch.zeros(2, *s) for s in sizes)), lambda layer: trace(layer, *sizes)):
        with pytest.raises(ShapeError) as caught:
            run(make())
        assert str(caught.value) == text


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: L.Concatenate(0),
            "Concatenate(axis=): expected a whole number other than 0, the batch's axis, received 0. "
            "Pass axis=1 for the channels, or -1 for the last.",
        ),
        (
            lambda: L.Dot((1, 0)),
            "Dot(axes=): expected an axis of the batch other than 0, or one for each of two inputs, received (1, 0). "
            "Pass axes=1, say.",
        ),
        (
            lambda: L.Dot([1, 2, 3]),
            "Dot(axes=): expected an axis of the batch other than 0, or one for each of two inputs, received [1, 2, 3]. "
            "Pass axes=1, say.",
        ),
        (
            lambda: L.Dot(None),  # type: ignore[arg-type]  # what it says of it
            "Dot(axes=): expected an axis of the batch other than 0, or one for each of two inputs, received None. "
            "Pass axes=1, say.",
        ),
    ],
)
def test_arguments_that_cannot_be(make: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value) == text
