"""Windows: what is in them, how many there are, and that they share the series' memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import laminar as lm
from laminar import layers as L
from laminar.data import windows
from laminar.errors import ArgumentError, DataError, DtypeError, ShapeError


@given(
    n=st.integers(2, 30),
    features=st.integers(0, 3),
    steps=st.integers(1, 8),
    horizon=st.integers(1, 5),
    stride=st.integers(1, 9),
    every=st.booleans(),
    tensor=st.booleans(),
)
def test_every_window_is_the_stretch_it_says(
    n: int, features: int, steps: int, horizon: int, stride: int, every: bool, tensor: bool
) -> None:
    shape = (n, features) if features else (n,)
    series: Any = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    starts = [s for s in range(0, n, stride) if s + steps + horizon <= n]
    if not starts:
        with pytest.raises(DataError):
            windows(series, steps, horizon, stride)
        return
    x, y = windows(torch.from_numpy(series) if tensor else series, steps, horizon, stride, every=every)
    assert isinstance(x, torch.Tensor if tensor else np.ndarray)
    assert x.shape == (len(starts), steps, max(features, 1))
    for got, told, start in zip(np.asarray(x), np.asarray(y), starts, strict=True):
        end = start + steps
        assert np.array_equal(got, series[start:end].reshape(steps, -1))
        assert np.array_equal(told, series[end : end + horizon] if every else series[end + horizon - 1])


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("shape", [(100,), (100, 3)])
def test_memory_is_shared(shape: tuple[int, ...], every: bool) -> None:
    array = np.zeros(shape, np.float32)
    x, y = windows(array, 10, 2, every=every)
    assert np.shares_memory(x, array)
    assert np.shares_memory(y, array)
    array[50] = 7
    assert np.count_nonzero(x == 7) == 10 * (array.size // 100)
    tensor = torch.zeros(shape)
    x, y = windows(tensor, 10, 2, every=every)
    store = tensor.untyped_storage().data_ptr()
    assert (x.untyped_storage().data_ptr(), y.untyped_storage().data_ptr()) == (store, store)
    assert torch.from_numpy(windows(array, 10)[0]).data_ptr() == array.__array_interface__["data"][0]


def test_an_array_that_cannot_be_written_to_stays_so() -> None:
    array = np.zeros(20)
    array.flags.writeable = False
    x, _ = windows(array, 3)
    assert not x.flags.writeable
    assert np.shares_memory(x, array)


def test_target_columns() -> None:
    series = np.arange(24.0).reshape(8, 3)
    _, y = windows(series, 3, targets=1)
    assert y.tolist() == series[3:, 1].tolist()
    assert np.shares_memory(y, series)
    _, y = windows(series, 3, 2, targets=[2, 0])
    assert y.tolist() == series[4:, [2, 0]].tolist()
    _, y = windows(series, 3, 2, targets=1, every=True)
    assert y.tolist() == [series[k : k + 2, 1].tolist() for k in range(3, 7)]
    _, y = windows(torch.from_numpy(series), 3, targets=[2, 0])
    assert y.tolist() == series[3:, [2, 0]].tolist()
    assert windows(series[:, 0], 3, targets=[0])[1].shape == (5, 1)


def test_lists_and_whole_numbers_are_series_too() -> None:
    x, y = windows([1, 2, 3, 4], 2)
    assert (x.tolist(), y.tolist()) == ([[[1], [2]], [[2], [3]]], [3, 4])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros(5), 0), ArgumentError, "windows(steps=): expected a whole number of at least 1, received 0. Pass steps=1 or more."),
        ((np.zeros(5), 2, 0), ArgumentError, "windows(horizon=): expected a whole number of at least 1, received 0. Pass horizon=1 or more."),
        ((np.zeros(5), 2, 1, 1.5), ArgumentError, "windows(stride=): expected a whole number of at least 1, received 1.5. Pass stride=1 or more."),
        ((np.zeros(20), 30), DataError, "windows(series=): expected at least 31 samples, for steps=30 and horizon=1, received 20. Pass a longer series, or fewer steps."),
        ((np.zeros((5, 2, 2)), 2), ShapeError, "windows(series=): expected (n_samples, features) or (n_samples,), received shape (5, 2, 2). Cut each series by itself."),
        ((3.0, 2), ShapeError, "windows(series=): expected (n_samples, features) or (n_samples,), received shape (). Cut each series by itself."),
        ((["a", "b", "c"], 2), DtypeError, "windows(series=): expected numbers, received dtype <U1. Convert it: np.asarray(series, dtype=np.float32)."),
    ],
)  # fmt: skip
def test_what_cannot_be_cut_is_refused(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        windows(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("targets", [3, -1, [], [0, 3], True])
def test_columns_that_are_not_there_are_refused(targets: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        windows(np.zeros((9, 3)), 2, targets=targets)
    assert str(caught.value) == f"windows(targets=): expected columns from 0 to 2, received {targets!r}. Pass targets=0, say."


def test_windows_go_into_fit_as_they_are() -> None:
    series = np.sin(np.arange(60, dtype=np.float32) / 3)
    x, y = windows(series, 8)
    model = lm.Sequential([L.SimpleRNN(4), L.Dense(1)])
    model.compile("adam", "mse")
    model.fit(x, y, epochs=1, seed=0, verbose=0)
    assert model.predict(x).shape == (52, 1)
