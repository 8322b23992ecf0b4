"""A layer at its kinks: inputs at special values and in ties, and the gradients that lie outside of the one-sided slopes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from laminar.check.measured import Measured
from laminar.check.subject import Subject
from laminar.check.words import place_text
from laminar.seeding import generator

__all__ = ["AtKink", "at_kinks", "at_ties", "outside"]

SPECIAL = (0.0, 1.0, -1.0, 0.5, -0.5, 3.0, -3.0, 6.0, -6.0)
"""Where functions of deep learning are pieced together."""

Place: TypeAlias = tuple[int, ...]

_OBSERVATIONS = 2  # that are looked at where each is constant
_SINGLE = 6  # numbers of the first of them that are looked at by themselves
_FINER = 0.1  # of the step: slopes that grow when it shrinks are those of a jump, or infinite
_EXACT = 1e-5  # relative to the largest slope: a wrong choice at a kink is off by far more


@dataclass(frozen=True)
class AtKink:
    """A gradient at one number, or at a tie, that lies outside of the one-sided slopes.

    Attributes:
        place: of the number, "x[0, 2]"; of a tie "x[0, 1] and x[0, 2] together"; "all of x[0] together".
        value: of the number.
        found: the gradient there; of a tie, the sum of both.
        low: the least that it may be.
        high: the most that it may be.
    """

    place: str
    value: float
    found: float
    low: float
    high: float


def at_kinks(subject: Subject, mode: Measured) -> tuple[Measured, dict[str, list[Place]]]:
    """Return the layer at inputs of which half are special values or equal to their neighbours, and where these are.

    Where the inputs come from a `sample`, only special values between its smallest and its largest number are used.
    """
    random = generator(subject.seed, "kinks")
    xs: list[Tensor] = []
    places: dict[str, list[Place]] = {}
    names = iter(mode.names)
    most = max(8, mode.numbers // (4 * len(mode.point.xs)))
    for x in mode.point.xs:
        if not x.is_floating_point():
            xs.append(x)
            continue
        flat = x.reshape(-1).clone()
        serve = [v for v in SPECIAL if subject.any_numbers or float(x.min()) <= v <= float(x.max())]
        chosen = torch.randperm(flat.numel(), generator=random)[: (flat.numel() + 1) // 2].tolist()
        kinds = torch.randint(len(serve) + 2, (len(chosen),), generator=random).tolist()
        for i, kind in zip(chosen, kinds, strict=True):
            flat[i] = serve[kind] if kind < len(serve) else flat[i - 1]
        xs.append(flat.reshape(x.shape))
        ties = [(i - 1, i) for i in chosen if i and flat[i] == flat[i - 1]]
        places[next(names)] = [*((i,) for i in chosen[:most]), *ties[: most // 2]]
    return Measured(subject.built(torch.float64, training=mode.training), xs), places


def at_ties(subject: Subject, mode: Measured) -> tuple[Measured, dict[str, list[Place]]]:
    """Return the layer at inputs that are constant in each observation; all places of some, and some places by themselves."""
    xs: list[Tensor] = []
    places: dict[str, list[Place]] = {}
    names = iter(mode.names)
    for x in mode.point.xs:
        if not x.is_floating_point():
            xs.append(x)
            continue
        rows = x.reshape(len(x), -1)
        xs.append(rows[:, :1].expand_as(rows).reshape(x.shape).clone())
        n = rows.shape[1]
        whole = [tuple(range(i * n, (i + 1) * n)) for i in range(min(len(x), _OBSERVATIONS))]
        places[next(names)] = [*whole, *((i,) for i in range(min(n, _SINGLE)))]
    return Measured(subject.built(torch.float64, training=mode.training), xs), places


def outside(point: Measured, name: str, places: Iterable[Place]) -> tuple[list[AtKink], int]:
    """Return the gradients of one tensor outside of the one-sided slopes, and at how many places these exist.

    Args:
        point: the layer at its kinks.
        name: of the tensor.
        places: in the flattened tensor: of one number, or of several that are equal and moved together.
    """
    where = sorted(set(places))
    tensor, gradient = point.point.tensors[name], point.found[name]
    found = torch.zeros_like(tensor) if gradient is None else gradient
    ways = [{name: _moved(tensor, place)} for place in where]
    coarse = point.point.along(ways)
    fine = point.point.along(ways, step=_FINER * point.point.step)
    finite = coarse.central[coarse.central.isfinite()]
    size = float(finite.abs().max()) if finite.numel() else 0.0
    exact = _EXACT * size + 10 * point.point.floor / _FINER
    settled = ((coarse.central - fine.central).abs() <= 1e-3 * coarse.central.abs() + exact) & (
        (coarse.spread - fine.spread).abs() <= 1e-3 * coarse.spread + exact
    )
    wrong = []
    if not bool(point.point.base.isfinite().all()):  # what leads there has no finite gradient
        settled &= torch.tensor([bool(found.reshape(-1)[list(place)].isfinite().all()) for place in where])
    for k in torch.nonzero(settled)[:, 0].tolist():
        low, high = (float(fine.central[k] + sign * fine.spread[k]) for sign in (-1, 1))
        value = float(found.reshape(-1)[list(where[k])].sum()) + 0.0  # never -0
        if not low - exact <= value <= high + exact:
            text = _place(name, where[k], tensor)
            ends = (0.0 if abs(end) <= exact else end for end in (low, high))
            wrong.append(AtKink(text, float(tensor.reshape(-1)[where[k][0]]), value, *ends))
    return wrong, int(settled.sum())


def _place(name: str, place: Place, tensor: Tensor) -> str:
    if len(place) > 2:
        first = np.unravel_index(place[0], tuple(tensor.shape))[0]
        return f"all of {name}[{first}] together"
    return " and ".join(name + place_text(i, tensor.shape) for i in place) + (" together" if len(place) > 1 else "")


def _moved(tensor: Tensor, place: Place) -> Tensor:
    way = torch.zeros(tensor.numel(), dtype=torch.float64)
    way[list(place)] = 1
    return way.reshape(tensor.shape)
