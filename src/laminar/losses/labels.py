"""Labels as people have them → labels as the losses want them, checked against the network's outputs.

Every function takes the labels of a whole data set (N, ...) and the network's output shape without the batch axis, looks at
each label once, and either returns the canonical tensor or says which observation is wrong and what mends it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from laminar.errors import ArgumentError, LabelError, complaint
from laminar.losses.axis import class_axis, without

__all__ = ["binary", "class_numbers", "distributions", "numbers", "signs"]

_SUM_TOLERANCE = 1e-3  # rows of probabilities may have been rounded to three digits


def class_numbers(
    target: Tensor,
    output_shape: tuple[int, ...],
    where: str,
    *,
    loss: str,
    soft: bool,
    ignore: int | None = None,
    axis: int | None = None,
) -> Tensor:
    """Return class numbers (N, ...), int64, from class numbers, one-hot rows or, if `soft`, rows of probabilities.

    Args:
        target: integers (N, ...), or with an axis of length 1 for the classes; or (N, C, ...), or (N, ..., C), one-hot in any
            dtype, or probabilities.
        output_shape: (C, ...) or (..., C).
        where: what the labels are called, for messages.
        loss: its name, for messages.
        soft: whether rows of probabilities are welcome; they come back as they are.
        ignore: a number that stands for "no label".
        axis: of the classes in a batch of outputs; None to go by the shapes.

    Raises:
        LabelError: if a label is not a class of the network.
        ArgumentError: if the network has fewer than two outputs.

    >>> class_numbers(torch.tensor([[0, 1, 0], [1, 0, 0]]), (3,), "y", loss="categorical_crossentropy", soft=False)
    tensor([1, 0])
    """
    n = len(target)
    at = class_axis((n, *output_shape), tuple(target.shape), axis) if output_shape else 1
    if not output_shape or output_shape[at - 1] < 2:
        received, fix = f"output shape {_named(output_shape)}", 'Use loss="binary_crossentropy" with a sigmoid output'
        raise ArgumentError(complaint(f"loss '{loss}'", expected="a network of 2 outputs or more", received=received, fix=fix))
    _refuse_complex(target, where)
    classes, rest = output_shape[at - 1], without((n, *output_shape), at)
    if target.ndim > at and target.shape[at] == 1 and without(tuple(target.shape), at) == rest:
        target = target.squeeze(at)
    if target.shape == rest:
        return _whole(target, classes, where, ignore)
    if target.shape[1:] == output_shape:
        return _rows(target, where, soft, at)
    shape = tuple(target.shape[1:])
    if len(shape) == len(output_shape) and without(tuple(target.shape), at) == rest:
        fix = f"Give the last layer {shape[at - 1]} units, or pass labels of {classes} classes"
    else:
        fix = f"Reshape the labels to {_named(rest[1:])}"
    expected = f"class numbers {_named(rest[1:])} or one-hot rows {_named(output_shape)} (the network has {classes} outputs)"
    raise LabelError(complaint(where, expected=expected, received=f"shape {tuple(target.shape)}", fix=fix))


def distributions(
    target: Tensor,
    output_shape: tuple[int, ...],
    where: str,
    *,
    loss: str,
    dtype: torch.dtype | None = None,
    axis: int | None = None,
) -> Tensor:
    """Return rows of probabilities (N, C, ...), or (N, ..., C), from whatever `class_numbers` takes.

    Raises:
        LabelError, ArgumentError: as `class_numbers`.

    >>> distributions(torch.tensor([1, 0]), (3,), "y", loss="kl_divergence")
    tensor([[0., 1., 0.],
            [1., 0., 0.]])
    """
    labels = class_numbers(target, output_shape, where, loss=loss, soft=True, axis=axis)
    if not labels.is_floating_point():
        at = class_axis((len(target), *output_shape), tuple(target.shape), axis)
        labels = torch.nn.functional.one_hot(labels, output_shape[at - 1]).movedim(-1, at)
    return labels.to(dtype or torch.get_default_dtype())


def binary(target: Tensor, output_shape: tuple[int, ...], where: str, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return labels between 0 and 1 in the network's output shape; for one output, (N,) becomes (N, 1).

    Raises:
        LabelError: if the shape is another one, or a label is outside [0, 1].

    >>> binary(torch.tensor([True, False]), (1,), "y")
    tensor([[1.],
            [0.]])
    """
    target = _shaped(target, output_shape, where)
    wrong = ~((target >= 0) & (target <= 1))  # nan is wrong too
    if wrong.any():
        whole, span = not target.is_floating_point(), (target.min().item(), target.max().item())
        fix = "Correct the labels"
        if whole and span == (1, 2):
            fix = "Pass y - 1"
        elif whole and span == (-1, 1) and bool((target != 0).all()):
            fix = "Pass (y + 1) // 2"
        expected = "labels 0 and 1, or probabilities between them"
        raise LabelError(complaint(where, expected=expected, received=_first(target, wrong), fix=fix))
    return target.to(dtype or torch.get_default_dtype())


def signs(target: Tensor, output_shape: tuple[int, ...], where: str, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return labels −1 and 1 in the network's output shape, from those or from 0 and 1.

    Raises:
        LabelError: if the shape is another one, or there are other labels, or all three.

    >>> signs(torch.tensor([0, 1, 1]), (1,), "y").T
    tensor([[-1.,  1.,  1.]])
    """
    target = _shaped(target, output_shape, where)
    wrong = (target != 0) & (target != 1) & (target != -1)
    if not wrong.any():
        wrong = (target == -1) & (target == 0).any()
    if wrong.any():
        expected = "labels -1 and 1, or 0 and 1"
        raise LabelError(complaint(where, expected=expected, received=_first(target, wrong), fix="Correct the labels"))
    target = target.to(dtype or torch.get_default_dtype())
    return torch.where(target == 0, -1.0, target)


def numbers(target: Tensor, output_shape: tuple[int, ...], where: str, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return finite numbers in the network's output shape; for one output, (N,) becomes (N, 1), so nothing is broadcast.

    Raises:
        LabelError: if the shape is another one, or a number is not finite.

    >>> numbers(torch.tensor([2, 3]), (1,), "y")
    tensor([[2.],
            [3.]])
    """
    target = _shaped(target, output_shape, where).to(dtype or torch.get_default_dtype())
    wrong = ~torch.isfinite(target)
    if wrong.any():
        fix = "Remove that observation, or correct its target"
        raise LabelError(complaint(where, expected="finite numbers", received=_first(target, wrong), fix=fix))
    return target


def _whole(target: Tensor, classes: int, where: str, ignore: int | None) -> Tensor:
    """Return class numbers as int64, all of them below `classes`."""
    expected = f"whole numbers 0 to {classes - 1} (the network has {classes} outputs)"
    if target.is_floating_point():
        wrong = ~torch.isfinite(target) | (target != target.floor())
        if wrong.any():
            fix = 'Pass class numbers; for other numbers use loss="mse"'
            raise LabelError(complaint(where, expected=expected, received=_first(target, wrong), fix=fix))
        fix = 'Convert them with y.astype("int64"), or y.long() for a tensor'
        raise LabelError(complaint(where, expected=f"{expected} of an integer dtype", received=str(target.dtype), fix=fix))
    target = target.to(torch.int64)
    wrong = (target < 0) | (target >= classes)
    if ignore is not None:
        wrong &= target != ignore
    if wrong.any():
        low, high = target.min().item(), target.max().item()
        if low == 1 and high == classes:
            fix = f"The smallest label is 1 and the largest {classes}: pass y - 1 to count from 0"
        elif target[wrong].min() < 0:
            fix = "Correct the labels below 0, or leave those observations out"
        else:
            fix = f"Give the last layer {high + 1} units, or correct the labels"
        raise LabelError(complaint(where, expected=expected, received=_first(target, wrong), fix=fix))
    return target


def _rows(target: Tensor, where: str, soft: bool, at: int) -> Tensor:
    """Return the class numbers of one-hot rows with classes on axis `at`, or the rows if they are probabilities and `soft`."""
    inside = ~((target >= 0) & (target <= 1))
    if inside.any():
        fix = "Pass class numbers, one-hot rows or probabilities"
        expected = "one-hot rows or probabilities between 0 and 1"
        raise LabelError(complaint(where, expected=expected, received=_first(target, inside), fix=fix))
    sums = target.sum(at, dtype=torch.float32)
    wrong = (sums - 1).abs() > _SUM_TOLERANCE
    if wrong.any():
        hot = bool(((target == 0) | (target == 1)).all())
        expected = "one-hot rows, a single 1 among zeros" if hot else "rows of probabilities that sum to 1"
        several = 'For several labels an observation use loss="binary_crossentropy" with sigmoid outputs'
        fix = several if hot else "Divide each row by its sum"
        received = _first(sums, wrong, "a row that sums to ")
        raise LabelError(complaint(where, expected=expected, received=received, fix=fix))
    between = (target > 0) & (target < 1)
    if not between.any():
        return target.to(torch.uint8).argmax(at)
    if not soft:
        fix = 'Use loss="categorical_crossentropy", which takes probabilities'
        raise LabelError(complaint(where, expected="class numbers or one-hot rows", received=_first(target, between), fix=fix))
    return target


def _shaped(target: Tensor, output_shape: tuple[int, ...], where: str) -> Tensor:
    """Return `target` in the network's output shape, with one axis of length 1 more or less at its end, but never broadcast."""
    _refuse_complex(target, where)
    shape = tuple(target.shape[1:])
    if shape == output_shape:
        return target
    if shape == (*output_shape, 1) or output_shape in ((*shape, 1), (1, *shape)):
        return target.reshape(-1, *output_shape)
    units = shape[0] if shape else 1
    fix = f"Give the last layer {units} unit{'s' if units > 1 else ''}, or y the shape {_named(output_shape)}"
    if len(output_shape) != 1 or len(shape) > 1:
        fix = "Reshape y, or change the last layer"
    elif units == 1 and not target.is_floating_point():
        fix += '; for class numbers use loss="sparse_categorical_crossentropy"'
    expected = f"shape {_named(output_shape)}, like the network's output"
    raise LabelError(complaint(where, expected=expected, received=f"shape {tuple(target.shape)}", fix=fix))


def _refuse_complex(target: Tensor, where: str) -> None:
    if target.is_complex():
        raise LabelError(complaint(where, expected="real numbers", received=str(target.dtype), fix="Pass y.real"))


def _named(shape: tuple[int, ...]) -> str:
    """Return the shape of N observations: `(N,)` or `(N, 3, 4)`."""
    return f"(N, {', '.join(map(str, shape))})" if shape else "(N,)"


def _first(target: Tensor, wrong: Tensor, prefix: str = "") -> str:
    """Return the first wrong value and where it stands, for people: `-1 at observation 3, position (0, 7)`."""
    flat = int(wrong.reshape(-1).nonzero()[0])
    value = target.expand(wrong.shape).reshape(-1)[flat].item()
    observation, *position = (int(i) for i in np.unravel_index(flat, wrong.shape))
    place = f", position ({', '.join(map(str, position))})" if any(n > 1 for n in wrong.shape[1:]) else ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"{prefix}{text} at observation {observation}{place}"
