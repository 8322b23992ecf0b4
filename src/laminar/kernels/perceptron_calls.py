"""The kernel for several dense layers and normalizations in a row called on tensors, without derivatives."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from torch import Tensor

from laminar.kernels.calls import at

__all__ = ["BLOCK", "Bend", "Stage", "backward", "forward", "predict"]


BLOCK = 32
"""Observations that `predict` takes through all stages at a time; source/perceptron.h has the same number."""


class Bend(IntEnum):
    """What a stage does to its result; source/perceptron.h has the same numbers."""

    NONE = 0
    RELU = 1
    TANH = 2
    SIGMOID = 3
    SOFTMAX = 4


class Stage(NamedTuple):
    """A dense layer, or a normalization over the batch, and the activation behind it.

    Attributes:
        features: numbers that an observation comes with.
        units: numbers that it leaves with.
        bend: the activation.
        dense: a dense layer with weight (units, features); else a normalization with weight (units,). Bias is (units,).
        own: whether the normalization takes mean and variance of the batch, which then has several observations.
        momentum: share of these that the running ones take.
        epsilon: added to the variance.
    """

    features: int
    units: int
    bend: Bend
    dense: bool
    own: bool = False
    momentum: float = 0.0
    epsilon: float = 0.0


@functools.lru_cache(maxsize=256)
def _told(stages: tuple[Stage, ...]) -> tuple[Any, Any]:
    """Return the stages as the kernel reads them: what they do, and the settings of normalizations."""
    kinds = [n for s in stages for n in (0 if s.dense else 1, s.features, s.units, int(s.bend), int(s.own))]
    paces = [f for s in stages for f in (s.momentum, s.epsilon)]
    return (ctypes.c_int64 * len(kinds))(*kinds), (ctypes.c_double * len(paces))(*paces)


def _places(tensors: Sequence[Tensor | None]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*map(at, tensors))


def forward(calls: Any, x: Tensor, stages: tuple[Stage, ...], tensors: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
    """Return what the last stage makes of x (B, features), (B, units), and what `backward` needs of all of them.

    Args:
        calls: the library.
        x: (B, features).
        stages: what is done.
        tensors: of every stage weight, bias, running mean and running variance, those that it has.
    """
    kinds, paces = _told(stages)
    count, n = len(stages), len(x)
    out = x.new_empty(n, stages[-1].units)
    kept = x.new_empty(calls.perceptron_kept(kinds, count, n))
    room = x.new_empty(calls.perceptron_room(kinds, count, n))
    calls.perceptron_forward(at(x), at(out), at(kept), at(room), _places(tensors), kinds, paces, count, n)
    return out, kept


def predict(calls: Any, x: Tensor, stages: tuple[Stage, ...], tensors: Sequence[Tensor | None], threads: int) -> Tensor:
    """Return what `forward` returns first, computed by several threads; normalizations are by the running statistics."""
    kinds, paces = _told(stages)
    out = x.new_empty(len(x), stages[-1].units)
    room = x.new_empty(calls.perceptron_predict_room(kinds, len(stages), len(x), threads))
    calls.perceptron_predict(at(x), at(out), at(room), _places(tensors), kinds, paces, len(stages), len(x), threads)
    return out


def backward(
    calls: Any,
    given: tuple[Tensor, Tensor, Tensor],
    stages: tuple[Stage, ...],
    tensors: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Return the gradients of x and of `tensors`, of those that are needed; running statistics have none.

    Args:
        calls: the library.
        given: x, what `forward` kept, and the gradient of its result.
        stages: what was done, normalizations by their own statistics.
        tensors: as `forward` took them.
        needed: for x and for each of them.
    """
    x, kept, slopes = given
    kinds, _ = _told(stages)
    count, n = len(stages), len(x)
    made = [t.new_empty(t.shape) if need and t is not None else None for t, need in zip((x, *tensors), needed, strict=True)]
    room = x.new_empty(calls.perceptron_room(kinds, count, n))
    both = _places(tensors), _places(made[1:])
    calls.perceptron_backward(at(x), at(slopes), at(kept), at(made[0]), at(room), *both, kinds, count, n)
    return made
