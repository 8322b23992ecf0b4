"""Forward, loss and backward by torch's compiler; the update stays torch's fused one, which a compiled one does not beat."""

from __future__ import annotations

import logging
import time
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from laminar.fit.aim import Aim
from laminar.fit.convert import Batch
from laminar.fit.engines.form import form_of
from laminar.fit.forward import computed
from laminar.fit.portions import is_out_of_memory
from laminar.fit.undo import Undo
from laminar.kernels.switch import enabled
from laminar.layers.hooks import has_hooks

__all__ = ["Compiled"]

_log = logging.getLogger("laminar.engine")


class Compiled:
    """The losses and the output of a batch, by a program that torch has compiled for batches of the first one's size.

    The network is taken whole or not at all, and draws the random numbers that it draws otherwise. The first batch is computed
    operation by operation as well, and the losses are compared. Where something fails, or is another number, everything goes
    on operation by operation, and that is told; so are batches of other sizes, such as a last one that is not full.

    Args:
        aim: what is computed.
    """

    def __init__(self, aim: Aim) -> None:
        self.aim = aim
        self._modules = list(aim.model.modules())
        self._note: Callable[[str], None] = lambda text: None
        self._form: Any = None
        self._reason: str | None = None  # for not being used
        # torch keeps what it has compiled, and how often, with a function's code: this one is for this network alone
        code = _losses_and_output.__code__
        own = types.FunctionType(code.replace(), _losses_and_output.__globals__, closure=_losses_and_output.__closure__)
        # the numbers that torch draws, in the order that it draws them in: that of memory, which stays as it is
        options: dict[str, Any] = {"fallback_random": True, "layout_optimization": False}
        self._run = torch.compile(own, fullgraph=True, dynamic=False, options=options)

    def __call__(self, batch: Batch) -> tuple[Tensor, Any]:
        """Return the losses and the output (B, ...) of a batch, with their graph."""
        if self._reason is not None or any(map(has_hooks, self._modules)):  # hooks see what they would see otherwise
            return self.aim(batch)
        form = form_of(batch)
        if self._form is None:
            return self._first(batch, form)
        if form != self._form:
            return self.aim(batch)
        try:
            return self._compute(batch)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            found = self.aim(batch)  # which says what is wrong with the network or the data, if it is that
            self._refuse(_words(error))
            return found

    def _compute(self, batch: Batch) -> tuple[Tensor, Any]:
        with self.aim.logits(), enabled(False):
            found: tuple[Tensor, Any] = self._run(self.aim, batch.x, batch.y, batch.weight)
            return found

    def _first(self, batch: Batch, form: Any) -> tuple[Tensor, Any]:
        """Compile for batches like this one."""
        undo = Undo(self.aim.model)
        undo.note()
        with torch.no_grad():
            expected = self.aim(batch)[0]  # where the network or the data is wrong, this says so
        undo.put_back()
        began = time.perf_counter()
        try:
            found = self._compute(batch)
        except Exception as error:
            undo.put_back()
            if is_out_of_memory(error):
                raise
            self._refuse(_words(error))
            return self.aim(batch)
        if not torch.allclose(found[0].detach(), expected, rtol=_tolerance(self.aim, expected), equal_nan=True):
            undo.put_back()
            self._refuse(f"the compiled loss of the first batch is {found[0].tolist()} instead of {expected.tolist()}")
            return self.aim(batch)
        self._form = form
        _log.info("engine: compiled, in %.1f s", time.perf_counter() - began)
        return found

    def tell(self, note: Callable[[str], None]) -> None:
        """Let `note` be told if the program is not used, now or later."""
        self._note = note
        if self._reason is not None:
            self._refuse(self._reason)

    def _refuse(self, reason: str) -> None:
        """Go on operation by operation."""
        self._reason = reason
        text = f'engine "compiled" is not used for this network, which is computed operation by operation: {reason}'
        _log.info(text)
        self._note(text)


def _losses_and_output(aim: Aim, x: Any, y: Any, weight: Tensor | None) -> tuple[Tensor, Any]:
    """Return what is compiled."""
    output = aim.outputs(computed(aim.model, x, aim.execution))
    return aim.losses(output, Batch(x, y, weight)), output


def _tolerance(aim: Aim, losses: Tensor) -> float:
    """Return by what share losses may differ that are computed in another order."""
    return 0.05 if aim.execution.bfloat16 else 1e-3 if losses.dtype == torch.float32 else 1e-6


def _words(error: Exception) -> str:
    """Return the first line of what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"
