"""Gradients that are a constant times the right one, and what the constant follows: the batch, an axis, nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch

from laminar.check.blame import of_checker
from laminar.check.factors import Axis, common_factor, constant_text, power_of, product_text
from laminar.check.measured import Measured, measured
from laminar.check.subject import BATCH, Subject
from laminar.shapes import Shape

__all__ = ["Scaled", "factor_of", "scaled"]

_MORE = BATCH + 3  # observations in the batch that tells what a factor follows
_CHANGE = 1.25  # of a learnable, to see whether a factor follows it
_SAME = {False: 1e-4, True: 1e-2}  # what two measurements of one factor agree to; of coarse outputs


@dataclass(frozen=True)
class Scaled:
    """A gradient that is wrong by a factor.

    Attributes:
        name: of its tensor.
        factor: what the right gradient is multiplied by.
        cause: what the factor follows, as far as it was seen to; "" where it follows something else.
        fix: what to change.
    """

    name: str
    factor: float
    cause: str
    fix: str


_KNOWN: WeakKeyDictionary[Measured, dict[str, Scaled]] = WeakKeyDictionary()


def factor_of(mode: Measured, name: str) -> float | None:
    """Return the constant that a gradient is of the right one, by differences; None where there is none."""
    found, right = mode.found[name], mode.right(name)
    finite = right.values[right.values.isfinite()]
    if found is None or not finite.numel():
        return None
    exact, tolerance = (1e-2, 5e-2) if mode.point.grain else (1e-4, 1e-5)
    smooth = right.slack <= exact * float(finite.abs().max())  # nan and kinks are not
    return common_factor(found.double().reshape(-1)[right.where][smooth], right.values[smooth], tolerance=tolerance)


def scaled(subject: Subject, mode: Measured) -> dict[str, Scaled]:
    """Return the wrong gradients that are a factor times the right one, also for other data, by name of the tensor."""
    if mode not in _KNOWN:
        found = (_scaled(subject, mode, m.name) for m in mode.mistakes())
        _KNOWN[mode] = {s.name: s for s in found if s}
    return _KNOWN[mode]


def _scaled(subject: Subject, mode: Measured, name: str) -> Scaled | None:
    factor = factor_of(mode, name)
    if factor is None:
        return None
    others = [factor_of(measured(subject, training=mode.training, batch=n, seed=1), name) for n in (BATCH, _MORE)]
    if others[0] is None or others[1] is None or not math.isclose(factor, others[0], rel_tol=_SAME[mode.point.grain > 0]):
        return None
    learned = _learned(subject, mode, name, factor)
    if learned:
        fix = f"Take the factor {learned}, which changes as it learns, out of the gradient of {name}"
        return Scaled(name, factor, f"the factor of the gradient of {name} is {learned}, {constant_text(factor)} here", fix)
    axes = _followed(subject, mode, name, factor, others[1])
    if axes is None:
        text = f"Divide the gradient of {name} by {constant_text(factor)}, in a batch of {BATCH}"
        return Scaled(name, factor, "", text)
    return _explained(name, factor, others[1], axes, summed=name in mode.point.learnables)


def _learned(subject: Subject, mode: Measured, name: str, factor: float) -> str:
    """Return which learnable, of a single number, the factor is, "a" or "1 / a"; "" where it is none."""
    for learnable in mode.point.learnables:
        value = mode.point.tensors[learnable]
        if value.numel() != 1 or not float(value):
            continue
        module = subject.built(torch.float64, training=mode.training)
        with torch.no_grad():
            module.get_parameter(learnable).mul_(_CHANGE)
        again = factor_of(Measured(module, subject.data(BATCH, torch.float64)), name)
        power = power_of(factor, again, (float(value), _CHANGE * float(value))) if again else None
        if power and math.isclose(factor, float(value) ** power, rel_tol=1e-4):
            return learnable if power > 0 else f"1 / {learnable}"
    return ""


def _followed(subject: Subject, mode: Measured, name: str, factor: float, with_more: float) -> list[Axis] | None:
    """Return the axes that a factor follows; None where it changes with the batch, but not as its size does."""
    power = power_of(factor, with_more, (BATCH, _MORE))
    if power is None:
        return None
    axes = [Axis("batch", BATCH, power)]
    for axis in range(max(map(len, subject.shapes))):
        followed = _along(subject, mode, name, factor, axis)
        if followed:
            axes.append(followed)
    return [a for a in axes if a.power]


def _along(subject: Subject, mode: Measured, name: str, factor: float, axis: int) -> Axis | None:
    """Return how a factor follows one axis, seen on inputs twice as long in it, where the layer takes such."""
    shapes = tuple(tuple(2 * n if i == axis else n for i, n in enumerate(shape)) for shape in subject.shapes)
    if not subject.any_numbers:
        return None
    try:
        other = measured(subject, training=mode.training, shapes=shapes)
        again = factor_of(other, name)
    except Exception as error:  # a layer made for one length of the axis
        if of_checker(error):
            raise
        return None
    if again is None:
        return None
    lengths = [("", _length(subject.shapes, axis), _length(shapes, axis))]
    before, after = (_output_shape(m) for m in (mode, other))
    if len(before) == len(after) > axis:
        lengths.append(("output ", before[axis], after[axis]))
    for kind, n, m in lengths:
        power = power_of(factor, again, (n, m))
        if power is not None:
            return Axis(kind + _axis_name(subject.shapes, axis), n, power)
    return None


def _length(shapes: Sequence[Shape], axis: int) -> int:
    return next(shape[axis] for shape in shapes if len(shape) > axis)


def _output_shape(mode: Measured) -> Shape:
    return tuple(mode.point.output_gradients[0].shape[1:])


def _axis_name(shapes: Sequence[Shape], axis: int) -> str:
    names = {1: ("features",), 3: ("channels", "height", "width")}.get(len(shapes[0]), ())
    return names[axis] if axis < len(names) else f"axis {axis + 1}"


def _explained(name: str, factor: float, with_more: float, axes: Sequence[Axis], *, summed: bool) -> Scaled:
    product, rest = product_text(factor, axes)
    constant = constant_text(rest)
    follows_batch = any(a.name == "batch" for a in axes)
    seen = (
        f": {constant_text(factor)} with {BATCH} observations, {constant_text(with_more)} with {_MORE}" if follows_batch else ""
    )
    turned = "" if rest > 0 else ", and its sign is turned"
    if not axes and constant == "-1":
        return Scaled(name, factor, f"the sign of the gradient of {name} is turned", f"Turn the sign of the gradient of {name}")
    if not axes:
        cause = f"the gradient of {name} has the constant factor {constant}: the same for other data and other sizes"
        return Scaled(name, factor, cause, f"Multiply the gradient of {name} by {constant_text(1 / factor)}")
    if constant in ("1", "-1") and all(a.power < 0 for a in axes):
        over = f"the {' and the '.join(a.name for a in axes)}"
        if not summed:
            cause = f"the gradient of {name} is divided by the length of {over}{turned}{seen}"
            return Scaled(name, factor, cause, f"Do not divide the gradient of {name} by the length of {over}")
        cause = f"the gradient of {name} is a mean over {over} where the sum belongs{turned}{seen}"
        return Scaled(name, factor, cause, f"Sum the gradient of {name} over {over}: sum(), not mean()")
    times = "" if constant == "1" else f" × {constant}"
    cause = f"the factor of the gradient of {name} is {product}{times}{seen}"
    return Scaled(name, factor, cause, f"Take the factor {product}{times} out of the gradient of {name}")
