"""Pooling against `torch.nn` and Keras, random configurations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from parity.support import assert_close, gradients, keras, parity
from torch import nn

from laminar import layers as L

ranks = pytest.mark.parametrize("rank", [1, 2, 3])
kinds = pytest.mark.parametrize("kind", ["Average", "Max"])
shapes = st.lists(st.integers(4, 8), min_size=4, max_size=4)
short = st.lists(st.integers(1, 4), min_size=3, max_size=3)


@kinds
@ranks
@parity
@given(sizes=shapes, pool=short, strides=st.none() | short, padding=st.sampled_from(["valid", "same"]))
def test_pooling_as_keras(kind: str, rank: int, sizes: Any, pool: Any, strides: Any, padding: str) -> None:
    """A "same" average of which one side has more padding is left out: there Keras repeats the edge on its torch backend,
    and on the others counts the cells inside alone, as tests/layers/test_pool.py has it.
    """
    shape, pool = tuple(sizes[: rank + 1]), tuple(pool[:rank])
    strides = None if strides is None else tuple(strides[:rank])
    own = getattr(L, f"{kind}Pooling{rank}D")(pool, strides, padding)
    uneven = any(before != after for before, after in own.window.sides(shape[1:]))
    assume(kind == "Max" or not uneven)
    x = torch.randn(2, *shape)
    theirs = getattr(keras.layers, f"{kind}Pooling{rank}D")(pool, strides, padding, data_format="channels_first")
    z, grads = gradients(own, [x], [])
    want, wanted = gradients(theirs, [x], [])
    assert_close([*z, *grads], [*want, *wanted])


@kinds
@ranks
@parity
@given(sizes=shapes, pool=short, strides=st.none() | short, padding=st.integers(0, 2), inside=st.booleans())
def test_pooling_as_torch(kind: str, rank: int, sizes: Any, pool: Any, strides: Any, padding: int, inside: bool) -> None:
    shape, pool = tuple(sizes[: rank + 1]), tuple(pool[:rank])
    strides = None if strides is None else tuple(strides[:rank])
    paddings = tuple(min(padding, k // 2) for k in pool)
    options = {"count_include_pad": not inside} if kind == "Average" and inside else {}
    own = getattr(L, f"{kind}Pooling{rank}D")(pool, strides, paddings, **options)
    torch_name = f"{'Avg' if kind == 'Average' else 'Max'}Pool{rank}d"
    theirs = getattr(nn, torch_name)(pool, strides, paddings, **options)
    x = torch.randn(2, *shape)
    z, grads = gradients(own, [x], [])
    want, wanted = gradients(theirs, [x], [])
    assert_close([*z, *grads], [*want, *wanted])


@kinds
@ranks
@parity
@given(sizes=shapes, keepdims=st.booleans())
def test_global_pooling(kind: str, rank: int, sizes: Any, keepdims: bool) -> None:
    shape = tuple(sizes[: rank + 1])
    own = getattr(L, f"Global{kind}Pooling{rank}D")(keepdims)
    theirs = getattr(keras.layers, f"Global{kind}Pooling{rank}D")(data_format="channels_first", keepdims=keepdims)
    stock = getattr(nn, f"Adaptive{'Avg' if kind == 'Average' else 'Max'}Pool{rank}d")(1)
    x = torch.randn(2, *shape)
    z, grads = gradients(own, [x], [])
    want, wanted = gradients(theirs, [x], [])
    assert_close([*z, *grads], [*want, *wanted])
    assert_close(z, [stock(x).reshape(z[0].shape)])
