"""Cutout, erasing, contrast and brightness against NumPy and what chance allows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from laminar import layers as L
from laminar.errors import ArgumentError

# -- Cutout ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_cutout_covers_squares_around_pixels_in_equal_shares(size: int) -> None:
    """DeVries and Taylor's: a pixel is drawn, rows from y - size // 2 on are covered, what sticks out is cut off."""
    n, h, w = 6000, 4, 5
    squares = {}
    for y in range(h):
        for x in range(w):
            mask = np.zeros((h, w), bool)
            mask[max(y - size // 2, 0) : y - size // 2 + size, max(x - size // 2, 0) : x - size // 2 + size] = True
            squares.setdefault(mask.tobytes(), 0)
            squares[mask.tobytes()] += 1 / (h * w)
    images = torch.rand(n, 2, h, w) + 1
    z = L.Cutout(size)(images)
    covered = (z == 0).numpy()
    assert torch.equal(z[z != 0], images[z != 0])
    assert (covered[:, 0] == covered[:, 1]).all(), "all channels alike"
    drawn = [mask.tobytes() for mask in covered[:, 0]]
    assert set(drawn) <= set(squares)
    for mask, p in squares.items():
        assert abs(drawn.count(mask) / n - p) <= 5 * math.sqrt(p * (1 - p) / n)


# -- RandomErasing ----------------------------------------------------------------------------------------------------------------


def test_erasing_covers_rectangles_inside_of_a_share_of_the_images() -> None:
    n, h, w = 4000, 20, 30
    images = torch.rand(n, 2, h, w) + 1
    z = L.RandomErasing(0.3, (0.04, 0.25), fill_value=0.0)(images)
    covered = (z == 0).numpy()
    assert (covered[:, 0] == covered[:, 1]).all()
    rows, columns = covered[:, 0].any(2), covered[:, 0].any(1)
    assert (covered[:, 0] == rows[:, :, None] & columns[:, None, :]).all()
    erased = rows.any(1)
    assert abs(erased.mean() - 0.3) <= 5 * math.sqrt(0.3 * 0.7 / n)
    for some, length in ((rows, h), (columns, w)):
        sides = some[erased].sum(1)
        assert ((np.diff(some[erased].astype(int), axis=1) != 0).sum(1) <= 2).all(), "one stretch"
        assert 0.2 * length - 0.5 <= sides.min() <= sides.max() <= 0.5 * length + 0.5
        shares = (sides / length) ** 2  # uniform between 0.04 and 0.25, but for rounding to whole pixels
        assert abs(shares.mean() - 0.145) <= 5 * 0.21 / math.sqrt(12 * erased.sum()) + 0.5 / length**2
        first = some[erased].argmax(1) / (length - sides)  # uniform over the places there are
        assert abs(first.mean() - 0.5) <= 5 / math.sqrt(12 * erased.sum())
        assert first.min() == 0
        assert first.max() == 1


def test_what_is_erased_becomes_noise_in_the_value_range() -> None:
    z = L.RandomErasing(1, (1, 1), value_range=(-2, 6))(torch.full((10, 3, 20, 20), 99.0))
    n = z.numel()
    assert -2 <= float(z.min()) <= float(z.max()) <= 6
    assert abs(float(z.mean()) - 2) <= 5 * 8 / math.sqrt(12 * n)
    assert abs(float(z.var()) - 64 / 12) <= 5 * 64 * math.sqrt(1 / 180 / n)


def test_nothing_is_erased_at_a_share_of_none() -> None:
    x = torch.rand(50, 1, 5, 5)
    assert torch.equal(L.RandomErasing(0)(x), x)


# -- contrast and brightness --------------------------------------------------------------------------------------------------------


def test_contrast_is_its_formula() -> None:
    x = np.random.default_rng(0).random((2000, 2, 4, 5))
    z = L.RandomContrast((0.2, 0.6), (0.1, 0.8))(torch.from_numpy(x)).numpy()
    mean = x.mean((2, 3), keepdims=True)
    inner = (z > 0.1) & (z < 0.8)
    factors = np.where(inner, (z - mean) / (x - mean), np.nan)
    f = np.nanmedian(factors, axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(z, np.clip(mean + f * (x - mean), 0.1, 0.8), atol=1e-6)
    assert 0.8 - 1e-6 <= f.min() <= f.max() <= 1.6 + 1e-6
    assert abs(f.mean() - 1.2) <= 5 * 0.8 / math.sqrt(12 * len(f))


def test_brightness_is_its_formula() -> None:
    x = np.random.default_rng(0).random((2000, 2, 4, 5)) * 100 + 50
    z = L.RandomBrightness((-0.2, 0.6), (0, 200))(torch.from_numpy(x)).numpy()
    f = np.nanmedian(np.where((z > 0) & (z < 200), z - x, np.nan), axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(z, np.clip(x + f, 0, 200), atol=1e-4)
    assert -40 - 1e-4 <= f.min() <= f.max() <= 120 + 1e-4
    assert abs(f.mean() - 40) <= 5 * 160 / math.sqrt(12 * len(f))


# -- what they call themselves, and errors --------------------------------------------------------------------------------------------


def test_what_they_call_themselves() -> None:
    assert repr(L.Cutout(16)) == "Cutout(size=16)"
    assert repr(L.Cutout(16, 0.5)) == "Cutout(size=16, fill_value=0.5)"
    assert repr(L.RandomErasing(0.5)) == "RandomErasing(factor=0.5)"
    assert repr(L.RandomErasing(1, (0.1, 0.2), 0, (0, 255))) == (
        "RandomErasing(factor=1.0, scale=(0.1, 0.2), fill_value=0.0, value_range=(0.0, 255.0))"
    )
    assert repr(L.RandomContrast(0.2)) == "RandomContrast(factor=0.2)"
    assert repr(L.RandomContrast((0.2, 0.3), (0, 255))) == "RandomContrast(factor=(0.2, 0.3), value_range=(0.0, 255.0))"
    assert repr(L.RandomBrightness(0.2)) == "RandomBrightness(factor=(-0.2, 0.2))"


RANGE = "expected two finite numbers, the smaller one first, received"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: L.Cutout(0), "Cutout(size=): expected a whole number of at least 1, received 0. Pass 1 or more."),
        (lambda: L.Cutout(3, math.inf), "Cutout(fill_value=): expected a finite number, received inf. Pass fill_value=0.0, say."),
        (lambda: L.RandomErasing(1.5), "RandomErasing(factor=): expected a share in [0, 1], received 1.5. Pass factor=0.5, say."),
        (lambda: L.RandomErasing(1, (0.5, 2)), "RandomErasing(scale=): expected a number, or two of them in order, in [0, 1], received (0.5, 2). Pass 0.1, say."),
        (lambda: L.RandomErasing(fill_value="0"), "RandomErasing(fill_value=): expected a finite number, received '0'. Pass fill_value=0.0, say."),
        (lambda: L.RandomErasing(value_range=(1, 1)), f"RandomErasing(value_range=): {RANGE} (1, 1). Pass (0, 255) for bytes."),
        (lambda: L.RandomContrast(2), "RandomContrast(factor=): expected a number in [0, 1], or two of them, received 2. Pass factor=0.2, say."),
        (lambda: L.RandomContrast(0.1, (0, math.inf)), f"RandomContrast(value_range=): {RANGE} (0, inf). Pass (0, 255) for bytes."),
        (lambda: L.RandomBrightness(2), "RandomBrightness(factor=): expected a number, or two of them in order, in [-1, 1], received 2. Pass 0.1, say."),
        (lambda: L.RandomBrightness(0.1, (2, 2)), f"RandomBrightness(value_range=): {RANGE} (2, 2). Pass (0, 255) for bytes."),
    ],
)  # fmt: skip
def test_what_cannot_be(make: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value) == text
