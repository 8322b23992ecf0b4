"""A profile made: measured, and looked at for what to try."""

from __future__ import annotations

import os

import torch
from torch import nn

from laminar.fit.forward import Execution
from laminar.fit.precision import bfloat16_units
from laminar.kernels.library import library
from laminar.layers.hooks import has_hooks
from laminar.profiling.hints import Facts, hints
from laminar.profiling.measure import Subject, measure
from laminar.profiling.result import Profile

__all__ = ["profiled"]

_LEAST = 2  # observations of which there is a half
_WARM = 3  # steps before any is measured


def profiled(subject: Subject, execution: Execution, repeats: int) -> Profile:
    """Return the profile of a network that learns from one batch; the network changes.

    Args:
        subject: the network and the batch.
        execution: how the network is computed.
        repeats: steps that are measured.
    """
    found = measure(subject, repeats)
    size, half = subject.batch.size, None
    if size >= _LEAST:
        half = _of_half(subject, repeats)
    facts = Facts(
        batch=size,
        half=half,
        engine=execution.engine,
        bfloat16=execution.bfloat16,
        faster_bfloat16=bfloat16_units(subject.device.type) is not None,
        kernels=_has_kernels(subject),
        threads_wait=os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE",
        load=_load(),
        fused_update=_is_fused(subject.optimizer),
        hooked=tuple(name.replace(".", "/") for name, m in subject.model.named_modules() if name and has_hooks(m)),
    )
    where = f"batch of {size}, {subject.device.type}, {'bfloat16' if execution.bfloat16 else 'float32'}"
    title = f"{type(subject.model).__name__}, {where}, engine={execution.engine!r}"
    return Profile(title, found.rows, found.step, found.machine, hints(found.rows, facts))


def _of_half(subject: Subject, repeats: int) -> float:
    """Return how much of a step's time a step on half the batch takes: the shortest of some against the shortest of others."""
    whole = subject.batch
    part = whole.parts(-(-whole.size // 2))[0]
    for _ in range(_WARM):
        subject.step(part)
    pairs = [(subject.seconds(part), subject.seconds(whole)) for _ in range(repeats)]
    return min(a for a, _ in pairs) / min(b for _, b in pairs)


def _has_kernels(subject: Subject) -> bool:
    own: nn.Parameter | None = next(subject.model.parameters(), None)
    return own is not None and subject.device.type == "cpu" and library(own.dtype) is not None


def _load() -> float:
    """Return how many processes want to run, for each core; 0 where the system does not tell."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except OSError:
        return 0.0


def _is_fused(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an update is one call, or torch has none of that kind for the optimizer."""
    return all(group.get("fused", True) for group in optimizer.param_groups)
