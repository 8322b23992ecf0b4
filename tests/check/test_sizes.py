"""Smaller shapes: never longer than given, taken in the same way, and no smaller than the layer can stand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from laminar import layers as L
from laminar.check.sizes import small_shapes
from laminar.check.subject import Subject
from laminar.shapes import Shape

shapes = st.lists(st.integers(1, 300), min_size=1, max_size=4).map(tuple)


def same(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    return shapes


@given(st.lists(shapes, min_size=1, max_size=3))
def test_never_longer_and_as_many_axes(given: list[Shape]) -> None:
    found = small_shapes(given, same)
    assert [len(s) for s in found] == [len(s) for s in given]
    assert all(n <= m for s, t in zip(found, given, strict=True) for n, m in zip(s, t, strict=True))
    assert all(n == m or m > 8 for s, t in zip(found, given, strict=True) for n, m in zip(s, t, strict=True))


@given(st.lists(shapes, min_size=1, max_size=3))
def test_whatever_is_proposed_was_accepted(given: list[Shape]) -> None:
    """A layer that takes no other shape keeps its own; one that takes some gets one of those."""
    assert small_shapes(given, lambda s: s if list(s) == given else None) == tuple(given)
    even = small_shapes(given, lambda s: s if list(s) == given or all(n % 2 == 0 for t in s for n in t) else None)
    assert list(even) == given or all(n % 2 == 0 for t in even for n in t)


@given(st.lists(shapes, min_size=2, max_size=3))
def test_axes_of_one_length_stay_of_one_length(given: list[Shape]) -> None:
    """Between inputs: the sum of two of one shape needs it so."""
    found = small_shapes(given, same)
    pairs = [(n, m) for s, t in zip(given, found, strict=True) for n, m in zip(s, t, strict=True)]
    assert len({n for n, _ in pairs}) == len(set(pairs))


@given(st.tuples(st.integers(9, 99), st.integers(9, 99), st.integers(9, 99)))
def test_lengths_differ(shape: Shape) -> None:
    """So that one axis is not taken for another."""
    (found,) = small_shapes([shape], same)
    assert len(set(found)) == 3


def test_a_layer_that_fails_on_the_given_shape_keeps_it() -> None:
    assert small_shapes([(300, 300)], lambda shapes: None) == ((300, 300),)


@given(st.integers(1, 5), st.integers(40, 200))
def test_outputs_keep_their_axes_and_do_not_shrink_to_a_single_number(pools: int, length: int) -> None:
    """A layer that halves a length several times gets one that leaves at least two."""

    def halved(shapes: tuple[Shape, ...]) -> tuple[Shape, ...] | None:
        n = shapes[0][0] // 2**pools
        return ((n,),) if n else None

    wanted = halved(((length,),))
    (found,) = small_shapes([(length,)], halved)
    assert wanted is not None
    assert found[0] // 2**pools >= min(2, wanted[0][0])


@pytest.mark.parametrize(
    ("layer", "given", "expected"),
    [
        (nn.ReLU(), [(64, 56, 56)], [(3, 6, 5)]),
        (nn.Conv2d(3, 8, 5), [(3, 28, 28)], [(3, 7, 6)]),
        (nn.Conv2d(16, 8, 3, groups=4), [(16, 28, 28)], [(16, 6, 5)]),
        (L.Conv2D(8, 5), [(16, 28, 28)], [(3, 7, 6)]),
        (nn.Linear(784, 10), [(784,)], [(784,)]),
        (nn.LazyLinear(10), [(784,)], [(5,)]),
        (nn.PixelShuffle(2), [(16, 20, 20)], [(8, 6, 5)]),
        (nn.MaxPool2d(2), [(16, 28, 28)], [(3, 6, 5)]),
        (nn.LSTM(8, 3, batch_first=True), [(100, 8)], [(3, 8)]),
        (L.Add(), [(64, 20, 20), (64, 20, 20)], [(3, 5, 5), (3, 5, 5)]),
        (nn.Bilinear(30, 40, 5), [(30,), (40,)], [(30,), (40,)]),
        (nn.Flatten(), [(16, 28, 28)], [(3, 6, 5)]),
    ],
    ids=str,
)
def test_usual_layers(layer: nn.Module, given: list[Shape], expected: list[Shape]) -> None:
    subject = Subject(layer, given)
    assert list(subject.given) == given
    assert subject.shrunk == (given != expected)
    assert list(subject.shapes) == expected
    subject.built(training=False)(*subject.data())


def test_a_small_input_is_taken_as_it_is() -> None:
    assert Subject(nn.ReLU(), [(6, 10, 10)]).shapes == ((6, 10, 10),)


def test_inputs_of_ones_own_are_not_changed() -> None:
    """Whoever makes the inputs says how large they are."""
    subject = Subject(nn.ReLU(), [(6, 100, 100)], sample=lambda batch, random: torch.rand(batch, 6, 100, 100, generator=random))
    assert not subject.shrunk
    assert subject.data(2)[0].shape == (2, 6, 100, 100)


def test_whole_numbers_are_looked_up_on_the_given_shape() -> None:
    assert Subject(nn.Embedding(10, 3), [(700,)]).shapes == ((700,),)
