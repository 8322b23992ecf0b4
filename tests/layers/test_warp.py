"""Shifts, rotations and zooms against SciPy's affine_transform, exact shifts, torch.rot90."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from laminar import layers as L
from laminar.errors import ArgumentError, UnknownNameError
from laminar.layers.warp import warp

SCIPY = {"constant": "grid-constant", "nearest": "nearest", "reflect": "reflect", "wrap": "grid-wrap"}
modes = st.sampled_from(list(SCIPY))


@given(
    modes,
    st.sampled_from(["bilinear", "nearest"]),
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.lists(st.floats(-1.5, 1.5), min_size=4, max_size=4),
    st.lists(st.floats(-9, 9), min_size=2, max_size=2),
    st.integers(0, 2**31),
)
def test_any_affine_map_is_scipy_s(
    fill_mode: Any, interpolation: Any, size: tuple[int, int], linear: list[float], shift: list[float], seed: int
) -> None:
    """In float64. SciPy counts rows first and from the corner; `warp` counts columns first and from the centre."""
    rng = np.random.default_rng(seed)
    image = rng.random((2, *size))
    linear = [a + 1e-3 * rng.random() for a in linear]  # no place exactly between two pixels, where "nearest" may go either way
    shift = [s + 1e-3 * rng.random() for s in shift]
    matrix = torch.tensor([[[linear[0], linear[1], shift[0]], [linear[2], linear[3], shift[1]]]], dtype=torch.float64)
    z = warp(torch.from_numpy(image)[None], matrix, fill_mode, interpolation, 0.7)[0].numpy()
    rows_first = np.array([[linear[3], linear[2]], [linear[1], linear[0]]])
    centre = (np.array(size) - 1) / 2
    offset = centre + np.array(shift[::-1]) - rows_first @ centre
    order = 1 if interpolation == "bilinear" else 0
    for got, channel in zip(z, image, strict=True):
        want = ndimage.affine_transform(channel, rows_first, offset, order=order, mode=SCIPY[fill_mode], cval=0.7)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("fill_mode", "numpy"), [("constant", "constant"), ("nearest", "edge"), ("reflect", "symmetric"), ("wrap", "wrap")])  # fmt: skip
@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, 0), (-1, 3), (4, -6)])
def test_a_shift_by_whole_pixels_moves_them(fill_mode: Any, numpy: Any, down: int, right: int) -> None:
    image = np.random.default_rng(0).random((3, 2, 4, 6))
    layer = L.RandomTranslation((down / 4,) * 2, (right / 6,) * 2, fill_mode)
    padded = np.pad(image, ((0, 0), (0, 0), (8, 8), (8, 8)), numpy)
    want = padded[:, :, 8 - down : 12 - down, 8 - right : 14 - right]
    np.testing.assert_allclose(layer(torch.from_numpy(image)).numpy(), want, atol=1e-6)  # the factor is drawn in float32


@pytest.mark.parametrize("turns", [-2, -1, 1, 2, 3])
def test_quarter_turns_are_torch_s_counter_clockwise(turns: int) -> None:
    x = torch.rand(3, 2, 5, 5)
    torch.testing.assert_close(L.RandomRotation((turns / 4, turns / 4))(x), x.rot90(turns, (2, 3)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("degrees", [10, -33, 77])
def test_a_rotation_is_scipy_s(degrees: float) -> None:
    """Of an image that is not square; SciPy's angle goes the same way, seen with the rows downwards."""
    image = np.random.default_rng(0).random((7, 12))
    layer = L.RandomRotation((degrees / 360,) * 2, fill_mode="constant")
    want = ndimage.rotate(image, degrees, reshape=False, order=1, mode="grid-constant")
    np.testing.assert_allclose(layer(torch.from_numpy(image)[None, None]).numpy()[0, 0], want, atol=1e-5)


def test_a_zoom_out_shows_the_whole_image_smaller() -> None:
    x = torch.rand(1, 1, 4, 4)
    z = L.RandomZoom((1.0, 1.0), fill_mode="constant")(x)
    means = torch.nn.functional.avg_pool2d(x, 2)
    torch.testing.assert_close(z[:, :, 1:3, 1:3], means)
    assert float(z.sum() - means.sum()) == pytest.approx(0, abs=1e-5)


def test_a_zoom_keeps_proportions_unless_it_is_given_a_width() -> None:
    x = torch.rand(500, 1, 4, 6)
    layer = L.RandomZoom(0.5)
    width, _, _, _, height, _ = layer.matrices(x)
    assert torch.equal(width, height)
    width, _, _, _, height, _ = L.RandomZoom(0.5, (0.1, 0.2)).matrices(x)
    assert float(width.min()) >= 1.1 - 1e-6
    assert float(width.max()) <= 1.2 + 1e-6
    assert float(height.min()) < 0.7 < 1.3 < float(height.max())


def test_angles_and_shifts_are_uniform() -> None:
    """Mean and variance of what is drawn, with five standard deviations of the estimates."""
    n = 20_000
    x = torch.empty(n, 1, 8, 10)
    cos, sin, *_ = L.RandomRotation((-0.1, 0.3)).matrices(x)
    turns = torch.atan2(-sin, cos) / (2 * math.pi)
    right, down = (
        -L.RandomTranslation((-0.5, 0.1), 0.2).matrices(x)[2] / 10,
        -L.RandomTranslation((-0.5, 0.1), 0.2).matrices(x)[5] / 8,
    )
    for drawn, low, high in ((turns, -0.1, 0.3), (right, -0.2, 0.2), (down, -0.5, 0.1)):
        assert low - 1e-6 <= float(drawn.min()) <= float(drawn.max()) <= high + 1e-6
        width = high - low
        assert abs(float(drawn.mean()) - (low + high) / 2) <= 5 * width / math.sqrt(12 * n)
        assert abs(float(drawn.var()) - width**2 / 12) <= 5 * width**2 * math.sqrt(1 / 180 / n)


def test_what_they_call_themselves() -> None:
    assert repr(L.RandomRotation(0.1)) == "RandomRotation(factor=(-0.1, 0.1))"
    assert repr(L.RandomTranslation(0.1, (0, 0.2), "constant", "nearest", 1)) == (
        "RandomTranslation(height_factor=(-0.1, 0.1), width_factor=(0.0, 0.2), fill_mode='constant', interpolation='nearest', "
        "fill_value=1.0)"
    )
    assert repr(L.RandomZoom(0.1)) == "RandomZoom(height_factor=(-0.1, 0.1))"
    assert repr(L.RandomZoom(0.1, 0.2)) == "RandomZoom(height_factor=(-0.1, 0.1), width_factor=(-0.2, 0.2))"


FACTOR = "expected a number, or two of them in order, in [-1, 1], received"


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: L.RandomRotation(15), ArgumentError, f"RandomRotation(factor=): {FACTOR} 15. Pass 0.1, say."),
        (lambda: L.RandomTranslation("1", 0), ArgumentError, f"RandomTranslation(height_factor=): {FACTOR} '1'. Pass 0.1, say."),
        (lambda: L.RandomTranslation(0, (0.2, 0.1)), ArgumentError, f"RandomTranslation(width_factor=): {FACTOR} (0.2, 0.1). Pass 0.1, say."),
        (lambda: L.RandomZoom(-1.5), ArgumentError, f"RandomZoom(height_factor=): {FACTOR} -1.5. Pass 0.1, say."),
        (lambda: L.RandomZoom((-1, 0)), ArgumentError, f"RandomZoom(height_factor=): {FACTOR} (-1, 0). Pass 0.1, say."),
        (lambda: L.RandomRotation(0.1, "reflection"), UnknownNameError, "RandomRotation: fill_mode 'reflection' is unknown. Did you mean 'reflect'? Known: constant, nearest, reflect, wrap."),
        (lambda: L.RandomZoom(0.1, interpolation="cubic"), UnknownNameError, "RandomZoom: interpolation 'cubic' is unknown. Known: bilinear, nearest."),
        (lambda: L.RandomZoom(0.1, fill_value="0"), ArgumentError, "RandomZoom(fill_value=): expected a finite number, received '0'. Pass fill_value=0.0, say."),
    ],
)  # fmt: skip
def test_what_cannot_be(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == text
