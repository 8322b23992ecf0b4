"""R17: pooling against torch in float64, and against windows cut out in NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError

pairs = st.one_of(st.integers(1, 4), st.tuples(st.integers(1, 4), st.integers(1, 4)))
images = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(4, 9), st.integers(4, 9))


def both(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


@given(images, pairs, st.none() | pairs, st.data())
def test_equals_torch_in_value_and_gradient(image: tuple[int, ...], pool: Any, strides: Any, data: st.DataObject) -> None:
    padding = data.draw(st.tuples(*(st.integers(0, k // 2) for k in both(pool))))
    x = torch.randn(image, dtype=torch.float64, requires_grad=True)
    z = L.MaxPooling2D(pool, strides, padding)(x)
    want = F.max_pool2d(x, pool, strides, padding)
    assert torch.equal(z, want)
    dz = torch.randn_like(z)
    assert torch.equal(torch.autograd.grad(z, x, dz)[0], torch.autograd.grad(want, x, dz)[0])


@given(images, pairs, st.none() | pairs)
def test_same_padding_equals_the_largest_of_each_window(image: tuple[int, ...], pool: Any, strides: Any) -> None:
    x = torch.randn(image, dtype=torch.float64) - 9  # all negative: a padding of zeros would win
    z = L.MaxPooling2D(pool, strides, "same")(x).numpy()
    kernel, stride = both(pool), both(pool if strides is None else strides)
    starts = []
    for n, k, s in zip(image[2:], kernel, stride, strict=True):
        before = max((-(-n // s) - 1) * s + k - n, 0) // 2
        starts.append([i * s - before for i in range(-(-n // s))])
    assert z.shape[2:] == tuple(map(len, starts))
    for i, top in enumerate(starts[0]):
        for j, left in enumerate(starts[1]):
            cut = x[:, :, max(top, 0) : top + kernel[0], max(left, 0) : left + kernel[1]].numpy()
            np.testing.assert_array_equal(z[:, :, i, j], cut.max(axis=(2, 3)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_what_is_padded_never_wins(dtype: torch.dtype) -> None:
    x = torch.full((1, 1, 3, 3), torch.finfo(dtype).min, dtype=dtype)
    for padding in ("same", 1):
        assert (L.MaxPooling2D(2, 1, padding)(x) == torch.finfo(dtype).min).all()


def test_defaults_halve_the_image() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert L.MaxPooling2D()(x).flatten().tolist() == [5.0, 7.0, 13.0, 15.0]
    assert L.MaxPooling2D(3)(torch.zeros(1, 2, 7, 8)).shape == (1, 2, 2, 2)  # what does not fill a window is left out


def test_what_it_calls_itself() -> None:
    assert L.MaxPooling2D().label == "layer 'max_pooling2d' (MaxPooling2D, pool_size=(2, 2))"
    assert repr(L.MaxPooling2D((3, 2), 1, "same")) == "MaxPooling2D(pool_size=(3, 2), strides=(1, 1), padding='same')"
    assert repr(L.MaxPooling2D(3, 3)) == "MaxPooling2D(pool_size=(3, 3))"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: L.MaxPooling2D(0),
            "MaxPooling2D(pool_size=): expected a whole number of at least 1, or 2 of them, received 0. Pass 2, say.",
        ),
        (
            lambda: L.MaxPooling2D(2, 0),
            "MaxPooling2D(strides=): expected a whole number of at least 1, or 2 of them, received 0. Pass 2, say.",
        ),
        (
            lambda: L.MaxPooling2D(2, padding="some"),
            'MaxPooling2D(padding=): expected "valid", "same" or whole numbers, received \'some\'. Pass padding="same".',
        ),
        (
            lambda: L.MaxPooling2D((4, 3), padding=2),
            'MaxPooling2D(padding=): expected at most half of the pool size, (4, 3), received 2. Pass padding="same".',
        ),
    ],
)
def test_bad_arguments(make: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value) == text


def windows(x: np.ndarray, pool: tuple[int, ...], strides: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Yield each place of a "same" window and the cells of the input it covers, those outside left out."""
    starts = []
    for n, k, s in zip(x.shape[2:], pool, strides, strict=True):
        before = max((-(-n // s) - 1) * s + k - n, 0) // 2
        starts.append([i * s - before for i in range(-(-n // s))])
    for place in np.ndindex(*map(len, starts)):
        first = [axis[i] for axis, i in zip(starts, place, strict=True)]
        yield place, x[:, :, *(slice(max(f, 0), f + k) for f, k in zip(first, pool, strict=True))]


@given(
    st.integers(1, 3).flatmap(
        lambda rank: st.tuples(
            *[st.lists(st.integers(a, b), min_size=rank, max_size=rank) for a, b in ((2, 7), (1, 4), (1, 4))]
        )
    )
)
def test_same_padding_over_any_number_of_axes(drawn: tuple[list[int], ...]) -> None:
    """The mean is that of the cells inside the input alone, as Keras defines it."""
    sizes, pool, strides = map(tuple, drawn)
    x = np.random.default_rng(len(sizes)).standard_normal((2, 3, *sizes)) - 9
    for kind, reduce in (("Max", np.max), ("Average", np.mean)):
        z = getattr(L, f"{kind}Pooling{len(sizes)}D")(pool, strides, "same")(torch.from_numpy(x))
        for place, cells in windows(x, pool, strides):
            want = reduce(cells, axis=tuple(range(2, x.ndim)))
            np.testing.assert_allclose(z[:, :, *place].numpy(), want, rtol=0, atol=1e-12)
    assert tuple(z.shape[2:]) == tuple(-(-n // s) for n, s in zip(sizes, strides, strict=True))


def test_which_cells_an_average_counts() -> None:
    """The corner of ones with a border of zeros: 4 of 9 cells are inside."""
    x = torch.ones(1, 1, 3, 3)
    assert L.AveragePooling2D(3, 1, "same")(x)[0, 0, 0, 0] == 1
    assert L.AveragePooling2D(3, 1, 1)(x)[0, 0, 0, 0] == pytest.approx(4 / 9)
    assert L.AveragePooling2D(3, 1, 1, count_include_pad=False)(x)[0, 0, 0, 0] == 1
    assert L.AveragePooling2D(3, 1, "same", count_include_pad=True)(x)[0, 0, 0, 0] == pytest.approx(4 / 9)
    assert L.AveragePooling2D(2, 1, "same", count_include_pad=True)(x)[0, 0, 2, 2] == pytest.approx(1 / 4)
    assert repr(L.AveragePooling2D(3, 1, 1)) == "AveragePooling2D(pool_size=(3, 3), strides=(1, 1), padding=(1, 1))"
    assert repr(L.AveragePooling1D(2, 1, 1, False)) == (
        "AveragePooling1D(pool_size=(2,), strides=(1,), padding=(1,), count_include_pad=False)"
    )


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_global_pooling_equals_numpy(rank: int, keepdims: bool) -> None:
    x = np.random.default_rng(rank).standard_normal((3, 4, 5, 2, 3)[: rank + 2])
    axes = tuple(range(2, rank + 2))
    for kind, reduce in (("Average", np.mean), ("Max", np.max)):
        z = getattr(L, f"Global{kind}Pooling{rank}D")(keepdims)(torch.from_numpy(x))
        np.testing.assert_allclose(z.numpy(), reduce(x, axis=axes, keepdims=keepdims), rtol=0, atol=1e-12)
    assert repr(L.GlobalMaxPooling1D()) == "GlobalMaxPooling1D()"
    assert repr(L.GlobalMaxPooling1D(True)) == "GlobalMaxPooling1D(keepdims=True)"


def test_nothing_to_pool_over() -> None:
    layer = L.GlobalAveragePooling2D()
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(2, 3, 0, 4))
    assert str(caught.value) == (
        "layer 'global_average_pooling2d' (GlobalAveragePooling2D): expected height and width of at least (1, 1), "
        "received (0, 4). Use smaller windows before it."
    )


def test_what_a_pooling_explains() -> None:
    assert str(L.AveragePooling1D(3, 2, "same").explain((4, 10))) == (
        "AveragePooling1D(pool_size=(3,), strides=(2,), padding='same'): (4, 10) → (4, 5)\n"
        "  length: (10 − 3 + 0 + 1)/2 + 1 = 5\n"
        "  parameters: none"
    )
    assert str(L.GlobalAveragePooling2D().explain((64, 8, 8))) == (
        "GlobalAveragePooling2D(): (64, 8, 8) → (64,)\n  numbers pooled in each channel: 8×8 = 64\n  parameters: none"
    )


POOL = "layer 'max_pooling2d' (MaxPooling2D, pool_size=(3, 3))"


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((3, 2, 5), f'{POOL}: expected height and width of at least (3, 3), received (2, 5). Use a smaller window, or padding="same".'),
        ((36,), f"{POOL}: expected input (batch, channels, height, width), received (batch, 36), 2 axes. Add Reshape((1, 6, 6)) before it."),
        ((3, 1, 5, 5), f"{POOL}: expected input (batch, channels, height, width), received (batch, 3, 1, 5, 5), 5 axes. Remove an axis."),
    ],
)  # fmt: skip
def test_bad_shapes(shape: tuple[int, ...], text: str) -> None:
    for run in (lambda: L.MaxPooling2D(3)(torch.zeros(2, *shape)), lambda: lm.Sequential([L.MaxPooling2D(3)]).build(shape)):
        with pytest.raises(ShapeError) as caught:
            run()
        assert str(caught.value) == text
