"""R17: padding, cropping, enlarging and permuting against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError

pair = st.tuples(st.integers(0, 3), st.integers(0, 3))
pairs = st.integers(1, 3).flatmap(lambda rank: st.tuples(*[pair] * rank))


def observations(rank: int, size: int = 7) -> np.ndarray:
    return np.random.default_rng(rank).standard_normal((2, 3, *range(size, size + rank)))


@given(pairs)
def test_padding_and_cropping_equal_numpy(sides: tuple[tuple[int, int], ...]) -> None:
    rank = len(sides)
    x = observations(rank)
    z = getattr(L, f"ZeroPadding{rank}D")(sides)(torch.from_numpy(x))
    np.testing.assert_array_equal(z.numpy(), np.pad(x, [(0, 0), (0, 0), *sides]))
    cropping = getattr(L, f"Cropping{rank}D")(sides)
    np.testing.assert_array_equal(cropping(z).numpy(), x)
    cut = (slice(None), slice(None), *(slice(before, n - after) for (before, after), n in zip(sides, x.shape[2:], strict=True)))
    np.testing.assert_array_equal(cropping(torch.from_numpy(x)).numpy(), x[cut])


def test_defaults_are_those_of_keras() -> None:
    assert [layer().padding for layer in (L.ZeroPadding1D, L.ZeroPadding2D)] == [((1, 1),), ((1, 1), (1, 1))]
    assert [layer().cropping for layer in (L.Cropping1D, L.Cropping2D)] == [((1, 1),), ((0, 0), (0, 0))]
    assert L.Cropping3D().cropping == ((1, 1),) * 3
    assert [layer().size for layer in (L.UpSampling1D, L.UpSampling2D)] == [(2,), (2, 2)]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_enlarging_repeats_every_place(size: list[int]) -> None:
    x = observations(len(size), 2)
    want = x
    for axis, times in enumerate(size, 2):
        want = np.repeat(want, times, axis)
    z = getattr(L, f"UpSampling{len(size)}D")(size)(torch.from_numpy(x))
    np.testing.assert_array_equal(z.numpy(), want)


@pytest.mark.parametrize("times", [41, 47, 55, 61])
def test_enlarging_by_factors_of_which_the_inverse_is_rounded(times: int) -> None:
    """Torch's own "nearest" in float32 takes place i·(1 / times), which for these falls short of a whole number."""
    x = torch.arange(64.0)[None, None]
    assert torch.equal(L.UpSampling1D(times)(x), x.repeat_interleave(times, -1))


def test_bilinear_by_hand() -> None:
    """Place i of the output lies at (i + 1/2) / size - 1/2 of the input; beyond the ends the ends go on."""
    x = observations(2, 3)
    size = (2, 3)
    want = x
    for axis, s in enumerate(size, 2):
        n = want.shape[axis]
        at = np.clip((np.arange(n * s) + 0.5) / s - 0.5, 0, n - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, n - 1)
        share = (at - low).reshape(-1, *(1,) * (3 - axis))
        want = np.take(want, low, axis) * (1 - share) + np.take(want, high, axis) * share
    z = L.UpSampling2D(size, "bilinear")(torch.from_numpy(x))
    np.testing.assert_allclose(z.numpy(), want, rtol=0, atol=1e-12)


@given(st.permutations([1, 2, 3]))
def test_permute_equals_transpose(dims: list[int]) -> None:
    x = observations(2)
    np.testing.assert_array_equal(L.Permute(dims)(torch.from_numpy(x)).numpy(), np.transpose(x, (0, *dims)))


def test_what_they_call_themselves() -> None:
    assert repr(L.ZeroPadding1D((1, 2))) == "ZeroPadding1D(padding=(1, 2))"
    assert repr(L.Cropping2D(((1, 2), 0))) == "Cropping2D(cropping=((1, 2), (0, 0)))"
    assert repr(L.UpSampling2D()) == "UpSampling2D(size=(2, 2))"
    assert repr(L.UpSampling2D(2, "bilinear", name="up")) == "UpSampling2D(size=(2, 2), interpolation='bilinear')"
    assert repr(L.Permute((2, 1))) == "Permute(dims=(2, 1))"


def test_what_they_explain() -> None:
    assert str(L.ZeroPadding2D(((1, 0), 2)).explain((3, 4, 5))) == (
        "ZeroPadding2D(padding=((1, 0), (2, 2))): (3, 4, 5) → (3, 5, 9)\n"
        "  height: 1 + 4 + 0 = 5\n"
        "  width: 2 + 5 + 2 = 9\n"
        "  parameters: none"
    )
    assert L.Cropping1D((2, 1)).explain((3, 9)).lines == ("length: 9 − 2 − 1 = 6", "parameters: none")
    assert L.UpSampling1D(3).explain((3, 9)).lines == ("length: 3·9 = 27", "parameters: none")


DIMS = "Permute(dims=): expected the numbers of all axes but the batch, 1 the first, in some order, received"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: L.Permute((1, 1)), f"{DIMS} (1, 1). Pass (2, 1) to swap two axes."),
        (lambda: L.Permute((0, 1)), f"{DIMS} (0, 1). Pass (2, 1) to swap two axes."),
        (lambda: L.Permute(()), f"{DIMS} (). Pass (2, 1) to swap two axes."),
        (lambda: L.Permute("21"), f"{DIMS} '21'. Pass (2, 1) to swap two axes."),
        (
            lambda: L.UpSampling2D(0),
            "UpSampling2D(size=): expected a whole number of at least 1, or 2 of them, received 0. Pass 2, say.",
        ),
        (
            lambda: L.UpSampling2D(2, "cubic"),
            'UpSampling2D(interpolation=): expected "nearest" or "bilinear", received \'cubic\'. '
            'Pass interpolation="bilinear".',
        ),
    ],
)
def test_bad_arguments(make: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (
            L.Cropping2D(2),
            (3, 4, 8),
            "layer 'cropping2d' (Cropping2D, cropping=((2, 2), (2, 2))): expected height and width of at least (5, 5), "
            "received (4, 8). Crop less.",
        ),
        (
            L.Permute((2, 1)),
            (3, 4, 8),
            "layer 'permute' (Permute, dims=(2, 1)): expected observations of 2 axes, received (batch, 3, 4, 8), 3 in each. "
            "Give dims a number for each axis but the batch.",
        ),
    ],
)
def test_bad_shapes(layer: Any, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(2, *shape))
    assert str(caught.value) == text


def test_a_later_input_that_is_too_small() -> None:
    layer = L.Cropping1D(2)
    assert layer(torch.zeros(1, 1, 6)).shape == (1, 1, 2)
    with pytest.raises(ShapeError, match=r"expected length of at least \(5,\), received \(3,\)\. Crop less\."):
        layer(torch.zeros(1, 1, 3))
