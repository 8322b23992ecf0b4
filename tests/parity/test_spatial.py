"""Padding, cropping, enlarging and permuting against Keras, random configurations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity.support import assert_close, gradients, keras, parity
from torch import nn

from laminar import layers as L

ranks = pytest.mark.parametrize("rank", [1, 2, 3])
shapes = st.lists(st.integers(5, 7), min_size=4, max_size=4)
pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=3, max_size=3)


def same(own: Any, theirs: Any, *shape: int) -> None:
    x = torch.randn(2, *shape)
    z, grads = gradients(own, [x], [])
    want, wanted = gradients(theirs, [x], [])
    assert_close([*z, *grads], [*want, *wanted])


def first(values: list[Any], rank: int, form: str) -> Any:
    """The forms in which Keras takes sides: a number, a number for each axis, a pair for each axis."""
    if form == "number":
        return values[0][0]
    if rank == 1:
        return tuple(values[0])
    return tuple(v[0] for v in values[:rank]) if form == "numbers" else tuple(map(tuple, values[:rank]))


@ranks
@parity
@given(sizes=shapes, sides=pairs, form=st.sampled_from(["number", "numbers", "pairs"]))
def test_zero_padding_and_cropping(rank: int, sizes: Any, sides: Any, form: str) -> None:
    given = first(sides, rank, form)
    options = {} if rank == 1 else {"data_format": "channels_first"}  # Keras' one-dimensional layers work on axis 1
    for name in ("ZeroPadding", "Cropping"):
        theirs = getattr(keras.layers, f"{name}{rank}D")(given, **options)
        swapped = theirs if rank > 1 else lambda x, layer=theirs: layer(x.transpose(1, 2)).transpose(1, 2)
        same(getattr(L, f"{name}{rank}D")(given), swapped, *sizes[: rank + 1])


@ranks
@parity
@given(sizes=shapes, size=st.lists(st.integers(1, 3), min_size=3, max_size=3))
def test_up_sampling(rank: int, sizes: Any, size: Any) -> None:
    times = size[0] if rank == 1 else tuple(size[:rank])
    theirs = getattr(keras.layers, f"UpSampling{rank}D")(times, **({} if rank == 1 else {"data_format": "channels_first"}))
    swapped = theirs if rank > 1 else lambda x: theirs(x.transpose(1, 2)).transpose(1, 2)
    same(getattr(L, f"UpSampling{rank}D")(times), swapped, *sizes[: rank + 1])
    same(getattr(L, f"UpSampling{rank}D")(times), nn.Upsample(scale_factor=times), *sizes[: rank + 1])


@parity
@given(sizes=shapes, size=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_bilinear(sizes: Any, size: tuple[int, int]) -> None:
    own = L.UpSampling2D(size, "bilinear")
    same(own, keras.layers.UpSampling2D(size, data_format="channels_first", interpolation="bilinear"), *sizes[:3])
    same(own, nn.Upsample(scale_factor=size, mode="bilinear"), *sizes[:3])


@parity
@given(sizes=shapes, dims=st.permutations([1, 2, 3, 4]))
def test_permute(sizes: Any, dims: list[int]) -> None:
    same(L.Permute(dims), keras.layers.Permute(tuple(dims)), *sizes)
