"""Where the classes lie: on the last axis behind a Dense layer, on axis 1 behind a convolution.

An axis counts with the batch: 1 is the first after it. For (B, C) both are the same; over sequences and maps the shapes of the
labels tell, and where they do not (as many steps as classes) the network's last layer, or the user, must.
"""

from __future__ import annotations

from numbers import Integral

from laminar.errors import ArgumentError, complaint

__all__ = ["check_axis", "class_axis", "without"]


def check_axis(where: str, axis: object) -> None:
    """Refuse an `axis` that is neither None nor a whole number other than 0, the batch.

    Raises:
        ArgumentError: naming `where`.
    """
    if axis is not None and (not isinstance(axis, Integral) or isinstance(axis, bool) or axis == 0):
        fix = "Pass axis=-1 for (batch, steps, classes), or leave it out"
        raise ArgumentError(complaint(where, expected="an axis after the batch's 0", received=repr(axis), fix=fix))


def without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """Return `shape` without one of its axes.

    >>> without((32, 7, 10), -1)
    (32, 7)
    """
    axis %= len(shape)
    return shape[:axis] + shape[axis + 1 :]


def class_axis(prediction: tuple[int, ...], target: tuple[int, ...], axis: int | None = None) -> int:
    """Return the axis of classes, at least 1, of a prediction of two axes or more.

    Args:
        prediction: its shape, (B, ...).
        target: its shape: of class numbers, the prediction's without the classes or with one; or of rows, the prediction's.
        axis: what is known; None to go by the shapes, and by torch's axis 1 where they leave it open.

    Raises:
        ArgumentError: if there is no such axis.

    >>> class_axis((32, 7, 10), (32, 7)), class_axis((32, 10, 7), (32, 7)), class_axis((32, 7, 7), (32, 7))
    (2, 1, 1)
    """
    last = len(prediction) - 1
    if axis is None:
        open_ = target == prediction or _numbers_fit(prediction, target, 1)
        return last if not open_ and _numbers_fit(prediction, target, last) else 1
    if not -last <= axis <= last or axis == 0:
        received, fix = f"axis={axis} for outputs of {last} axes without the batch", "Pass another axis, or leave it out"
        raise ArgumentError(complaint("classes", expected="an axis of the network's outputs", received=received, fix=fix))
    return axis % len(prediction)


def _numbers_fit(prediction: tuple[int, ...], target: tuple[int, ...], at: int) -> bool:
    """Return whether `target` may be class numbers for classes on axis `at`."""
    expected = without(prediction, at)
    return target == expected or (len(target) == len(prediction) and target[at] == 1 and without(target, at) == expected)
