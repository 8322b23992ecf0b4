"""A layer at its kinks: inputs at special values and in ties, and the gradients that lie outside of the one-sided slopes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from laminar.check.measured import Measured
from laminar.check.subject import Subject
from laminar.seeding import generator

__all__ = ["AtKink", "at_kinks", "outside"]

SPECIAL = (0.0, 1.0, -1.0, 0.5, -0.5, 3.0, -3.0, 6.0, -6.0)
"""Where functions of deep learning are pieced together."""

_FINER = 0.1  # of the step: slopes that grow when it shrinks are those of a jump, or infinite
_EXACT = 1e-5  # relative to the largest slope: a wrong choice at a kink is off by far more


@dataclass(frozen=True)
class AtKink:
    """A gradient at one number that lies outside of the one-sided slopes.

    Attributes:
        place: of the number, "x[0, 2]".
        value: of the number.
        found: the gradient there.
        low: the least that it may be.
        high: the most that it may be.
    """

    place: str
    value: float
    found: float
    low: float
    high: float


def at_kinks(subject: Subject, mode: Measured) -> tuple[Measured, dict[str, list[int]]]:
    """Return the layer at inputs of which half are special values or equal to their neighbours, and where these are.

    Where the inputs come from a `sample`, only special values between its smallest and its largest number are used.
    """
    random = generator(subject.seed, "kinks")
    xs, places = [], {}
    names = iter(n for n in mode.names)
    for x in mode.point.xs:
        if not x.is_floating_point():
            xs.append(x)
            continue
        flat = x.reshape(-1).clone()
        serve = [v for v in SPECIAL if subject.any_numbers or float(x.min()) <= v <= float(x.max())]
        chosen = torch.randperm(flat.numel(), generator=random)[: (flat.numel() + 1) // 2]
        for i, which in zip(chosen.tolist(), torch.randint(len(serve) + 2, (len(chosen),), generator=random), strict=True):
            flat[i] = serve[int(which)] if which < len(serve) else flat[i - 1]
        xs.append(flat.reshape(x.shape))
        places[next(names)] = sorted(chosen[: max(8, mode.numbers // (4 * len(mode.point.xs)))].tolist())
    return Measured(subject.built(torch.float64, training=mode.training), xs), places


def outside(point: Measured, name: str, places: Iterable[int]) -> tuple[list[AtKink], int]:
    """Return the gradients of one tensor outside of the one-sided slopes, and at how many places these exist.

    Args:
        point: the layer at its kinks.
        name: of the tensor.
        places: in the flattened tensor.
    """
    where = list(places)
    tensor, gradient = point.point.tensors[name], point.found[name]
    found = torch.zeros_like(tensor) if gradient is None else gradient
    coarse = point.point.slopes(name, where)
    fine = point.point.slopes(name, where, step=_FINER * point.point.step)
    finite = coarse.central[coarse.central.isfinite()]
    size = float(finite.abs().max()) if finite.numel() else 0.0
    exact = _EXACT * size + 10 * point.point.floor / _FINER
    settled = ((coarse.central - fine.central).abs() <= 1e-3 * coarse.central.abs() + exact) & (
        (coarse.spread - fine.spread).abs() <= 1e-3 * coarse.spread + exact
    )
    wrong = []
    for k, i in enumerate(where):
        if not settled[k]:
            continue
        low, high = (float(fine.central[k] + sign * fine.spread[k]) for sign in (-1, 1))
        value = float(found.reshape(-1)[i])
        if not low - exact <= value <= high + exact:
            wrong.append(AtKink(name + _index(i, tensor), float(tensor.reshape(-1)[i]), value, low, high))
    return wrong, int(settled.sum())


def _index(flat: int, tensor: Tensor) -> str:
    return str([int(i) for i in np.unravel_index(flat, tuple(tensor.shape))]) if tensor.dim() else ""
