"""Series cut into windows, without copying: what recurrent layers and one-dimensional convolutions learn from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from laminar.errors import ArgumentError, DataError, DtypeError, ShapeError, complaint

__all__ = ["windows"]


@overload
def windows(
    series: Tensor,
    steps: int,
    horizon: int = ...,
    stride: int = ...,
    *,
    targets: int | Sequence[int] | None = ...,
    every: bool = ...,
) -> tuple[Tensor, Tensor]: ...
@overload
def windows(
    series: Any,
    steps: int,
    horizon: int = ...,
    stride: int = ...,
    *,
    targets: int | Sequence[int] | None = ...,
    every: bool = ...,
) -> tuple[NDArray[Any], NDArray[Any]]: ...
def windows(
    series: Any,
    steps: int,
    horizon: int = 1,
    stride: int = 1,
    *,
    targets: int | Sequence[int] | None = None,
    every: bool = False,
) -> tuple[Any, Any]:
    """Return x (windows, steps, features), each window a stretch of the series, and y, what comes after it.

    Window w holds samples w·stride to w·stride + steps − 1; its target is the sample `horizon` after its last. There are
    ⌊(n_samples − steps − horizon)/stride⌋ + 1 windows. Both are views of the series: they take no memory of their own, and
    writing to them writes to the series. `fit` keeps x so where the series is in the network's dtype, float32 as a rule.

    Args:
        series: (n_samples, features), or (n_samples,) for one feature: an array, a tensor, or what NumPy makes an array of.
            Samples are in the order of time, at equal distances.
        steps: samples in a window, time steps of a recurrent layer; not its units.
        horizon: how many samples after the window's last the target lies.
        stride: samples between the starts of two windows; `steps` for windows that do not overlap.
        targets: the features to be foretold, a column or several; all where None. Several are copied, one is not.
        every: whether the target is all `horizon` samples after the window, (windows, horizon, ...), not the last of them.

    Returns:
        x, and y (windows,) for a series of one axis or one target column, otherwise (windows, features).

    Raises:
        ArgumentError: if steps, horizon, stride or targets cannot be.
        DataError: if the series is too short for one window.
        DtypeError: if it holds no numbers.
        ShapeError: if it has no axis, or three and more.

    Source: row R28 of the mission.

    >>> x, y = windows(np.arange(6.0), steps=3)
    >>> x[:, :, 0].tolist(), y.tolist()
    ([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 4.0]], [3.0, 4.0, 5.0])
    """
    for name, value in (("steps", steps), ("horizon", horizon), ("stride", stride)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise _wrong(name, "a whole number of at least 1", value, f"Pass {name}=1 or more")
    values = series if isinstance(series, Tensor) else _array(series)
    if values.ndim not in (1, 2):
        raise ShapeError(
            complaint(
                "windows(series=)",
                expected="(n_samples, features) or (n_samples,)",
                received=f"shape {tuple(values.shape)}",
                fix="Cut each series by itself",
            )
        )
    count = (len(values) - steps - horizon) // stride + 1
    if count < 1:
        raise DataError(
            complaint(
                "windows(series=)",
                expected=f"at least {steps + horizon} samples, for steps={steps} and horizon={horizon}",
                received=f"{len(values)}",
                fix="Pass a longer series, or fewer steps",
            )
        )
    x = _stretches(values, steps, count, stride)
    chosen = _columns(values, targets)
    y = _stretches(chosen[steps:], horizon, count, stride) if every else chosen[steps + horizon - 1 :: stride][:count]
    return x if values.ndim == 2 else x[..., None], y


def _array(series: Any) -> NDArray[Any]:
    array = np.asarray(series)
    if array.dtype.kind not in "fiub":
        fix = "Convert it: np.asarray(series, dtype=np.float32)"
        raise DtypeError(complaint("windows(series=)", expected="numbers", received=f"dtype {array.dtype}", fix=fix))
    return array


def _columns(values: Any, targets: int | Sequence[int] | None) -> Any:
    """Return the features that are to be foretold."""
    if targets is None:
        return values
    features = values.shape[1] if values.ndim == 2 else 1
    asked: list[Any] = list(targets) if isinstance(targets, Iterable) else [targets]
    if not asked or any(isinstance(c, bool) or not isinstance(c, Integral) or not 0 <= int(c) < features for c in asked):
        raise _wrong("targets", f"columns from 0 to {features - 1}", targets, "Pass targets=0, say")
    if values.ndim == 1:
        return values if isinstance(targets, Integral) else values[:, None]
    return values[:, targets]


def _stretches(values: Any, length: int, count: int, stride: int) -> Any:
    """Return `count` stretches of `length` samples as a view, (count, length, ...)."""
    if isinstance(values, Tensor):
        return values.unfold(0, length, stride)[:count].movedim(-1, 1)
    step, *others = values.strides
    shape, strides = (count, length, *values.shape[1:]), (step * stride, step, *others)
    return np.lib.stride_tricks.as_strided(values, shape, strides, writeable=values.flags.writeable)


def _wrong(argument: str, expected: str, received: object, fix: str) -> ArgumentError:
    return ArgumentError(complaint(f"windows({argument}=)", expected=expected, received=f"{received!r}", fix=fix))
