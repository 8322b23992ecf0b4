"""Which engine takes the steps of a training."""

from __future__ import annotations

import logging
from collections.abc import Callable

from laminar.fit.aim import Aim
from laminar.fit.engines.compiled import Compiled
from laminar.fit.engines.cuda_graph import CudaGraphStep
from laminar.fit.engines.short import ShortStep
from laminar.fit.in_parts import InParts
from laminar.fit.pace import Pace
from laminar.fit.steps import EagerStep, Step

__all__ = ["eager_step", "make_step"]

_log = logging.getLogger("laminar.engine")


def eager_step(aim: Aim, pace: Pace, note: Callable[[str], None]) -> EagerStep:
    """Return a step that runs operation by operation.

    Args:
        aim: what is made small.
        pace: the optimizer of the network's parameters, and its learning rate.
        note: told what a person should know.
    """
    return EagerStep(aim, pace, aim.whole, InParts(aim.model, aim.losses, note))


def make_step(aim: Aim, pace: Pace, note: Callable[[str], None]) -> Step:
    """Return what is done with a batch, by the engine that `aim.execution` names.

    "auto" is "cuda_graph" on a GPU, and operation by operation elsewhere, but for small perceptrons.

    Args:
        aim: what is made small.
        pace: the optimizer of the network's parameters, and its learning rate.
        note: told what a person should know: also that an engine that was asked for is not used, and why.
    """
    engine = aim.execution.engine
    if engine == "compiled":
        return EagerStep(_compiled(aim, pace, note), pace, aim.whole, InParts(aim.model, aim.losses, note))
    eager = eager_step(aim, pace, note)
    if engine == "auto" and ShortStep.suits(aim):
        return ShortStep(aim, eager)
    on_gpu = any(p.device.type == "cuda" for p in aim.model.parameters())
    if engine == "cuda_graph" or (engine == "auto" and on_gpu):
        return CudaGraphStep(aim, pace, eager, note if engine == "cuda_graph" else _log.debug)
    return eager


def _compiled(aim: Aim, pace: Pace, note: Callable[[str], None]) -> Compiled:
    """Return the network's program, that of the fit before where there is one: compiling takes seconds."""
    kept = pace.program
    if not isinstance(kept, Compiled) or kept.aim.model is not aim.model or kept.aim.execution != aim.execution:
        kept = pace.program = Compiled(aim)
    kept.tell(note)
    return kept
