"""A whole training step as one CUDA graph: recorded once, then launched for each batch without a word from the host.

What is recorded is the way from inputs to updated parameters: forward, loss, backward, clipping, the optimizer's step, running
means of the weights. What changes from step to step lies in memory that the graph reads: the batch, and the learning rate of
each group of parameters. Random numbers go on from step to step, as torch lets a graph move its generator forward.

Source: "CUDA semantics: CUDA graphs, whole-network capture", PyTorch documentation.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from laminar.fit.aim import Aim
from laminar.fit.convert import Batch
from laminar.fit.engines.form import form_of
from laminar.fit.engines.recordable import capturable, hindrance, settings_of
from laminar.fit.pace import Pace
from laminar.fit.steps import EagerStep, Step
from laminar.seeding import generator_states
from laminar.snapshots import Before

__all__ = ["CudaGraphStep"]

_WARM_UP = 3  # steps before recording, so that libraries have set themselves up and the optimizer's state is there
_RECORDINGS = 8  # of one fit, after which it is no use any more
_log = logging.getLogger("laminar.engine")


class CudaGraphStep(Step):
    """A step that is recorded after a few of its kind, and then launched as a whole.

    Batches of another size than the first one's, such as a last one that is not full, are learned from operation by operation.
    When something that was recorded is changed (a layer frozen, weight decay set, hooks registered), it is recorded anew.

    Args:
        aim: what is made small.
        pace: the optimizer of the network's parameters, and its learning rate.
        eager: does the same operation by operation.
        note: told why there is no graph, where there is none.
    """

    def __init__(self, aim: Aim, pace: Pace, eager: EagerStep, note: Callable[[str], None]) -> None:
        self._aim, self._pace, self._eager, self._note = aim, pace, eager, note
        self._modules, self._parameters = list(aim.model.modules()), list(aim.model.parameters())
        self._refused = hindrance(aim.model, pace)
        self._stream: torch.cuda.Stream | None = None
        self._recorded: _Recorded | None = None
        self._form: Any = None
        self._warm, self._recordings = 0, 0
        if self._refused:
            self._say(self._refused)

    def __call__(self, batch: Batch) -> tuple[Any, Any]:
        """See `Step`."""
        if self._refused:
            return self._eager(batch)
        form = form_of(batch)
        if self._form is None:
            self._form = form
        if form != self._form:
            return self._one_by_one(batch)
        settings = settings_of(self._modules, self._parameters, self._pace.optimizer)
        if self._recorded is not None and settings != self._recorded.settings:
            self._recorded, self._warm = None, 0
        if self._recorded is None and (self._warm < _WARM_UP or not self._record(batch, settings)):
            return self._warm_up(batch)
        assert self._recorded is not None  # or there would have been no recording
        losses, output = self._recorded(batch)
        self._pace.iterations += 1
        return losses, output

    def finish(self) -> None:
        """See `Step`."""
        self._eager.finish()

    def _one_by_one(self, batch: Batch) -> tuple[Any, Any]:
        if self._recorded is not None:
            self._recorded.gradients_apart = True
        with capturable(self._pace.optimizer):
            return self._eager(batch)

    def _warm_up(self, batch: Batch) -> tuple[Any, Any]:
        """Learn from a batch on the stream that is to be recorded; in the last step before that, look at what the step does."""
        if self._refused:
            return self._one_by_one(batch)
        self._stream = self._stream or torch.cuda.Stream()
        here, last = torch.cuda.current_stream(), self._warm == _WARM_UP - 1
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            found, reason = _watched(lambda: self._one_by_one(batch), self._aim) if last else (self._one_by_one(batch), None)
        here.wait_stream(self._stream)
        self._warm += 1
        if reason is not None:
            self._refuse(reason)
        return found

    def _record(self, batch: Batch, settings: Any) -> bool:
        """Record a step, without doing it; return whether that went well."""
        self._recordings += 1
        reason = hindrance(self._aim.model, self._pace)
        if reason is None and self._recordings > _RECORDINGS:
            reason = f"it would have to be recorded for the {self._recordings}th time, as its settings change again and again"
        if reason is None:
            assert self._stream is not None  # there was a warm-up
            generator = torch.cuda.default_generators[torch.cuda.current_device()]
            before = generator.clone_state()
            try:
                self._recorded = _Recorded(self._aim, self._pace, batch, self._stream, settings)
            except Exception as error:
                generator.graphsafe_set_state(before)  # it may believe that recording goes on, and draw nothing outside of it
                reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        if reason is not None:
            self._refuse(reason)
            return False
        _log.info("engine: cuda_graph, recorded for batches of %d", batch.size)
        return True

    def _refuse(self, reason: str) -> None:
        """Go on operation by operation."""
        self._refused, self._recorded = reason, None
        self._say(reason)

    def _say(self, reason: str) -> None:
        text = f'engine "cuda_graph" is not used for this network, which is computed operation by operation: {reason}'
        _log.info(text)
        self._note(text)


class _Recorded:
    """A recorded step: the graph, and the memory that it reads and writes.

    Args:
        aim: what is made small.
        pace: the optimizer, and its learning rate.
        batch: one of those that it is for.
        stream: to record on.
        settings: what must not change.

    Attributes:
        settings: as given.
        gradients_apart: whether the parameters hold other gradients than the graph writes.
    """

    def __init__(self, aim: Aim, pace: Pace, batch: Batch, stream: torch.cuda.Stream, settings: Any) -> None:
        self.settings, self.gradients_apart = settings, False
        self._inputs: tuple[Any, Any, Any] = tree_map(_clone, (batch.x, batch.y, batch.weight))
        optimizer = pace.optimizer
        # a rate that is in a tensor already stays there
        self._groups = [group for group in optimizer.param_groups if not isinstance(group["lr"], Tensor)]
        self._rates = [float(group["lr"]) for group in self._groups]
        device = tree_leaves(self._inputs)[0].device
        self._rates_there = [torch.tensor(rate, dtype=torch.float32, device=device) for rate in self._rates]
        self._graph = torch.cuda.CUDAGraph()
        for p in aim.model.parameters():
            p.grad = None  # so that the graph makes those that it writes
        with (
            torch.cuda.stream(torch.cuda.current_stream()),  # to come back to where recording fails
            self._rates_lent(),
            capturable(optimizer),
            # only this thread is watched: others may be pinning memory for the next batches
            torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"),
        ):
            losses, output = aim(Batch(*self._inputs))
            aim.whole(losses).backward()
            optimizer.step()
        self._losses, self._output = losses.detach(), tree_map(Tensor.detach, output)
        self._gradients = [(p, p.grad) for p in aim.model.parameters()]

    def __call__(self, batch: Batch) -> tuple[Tensor, Any]:
        """Learn from a batch; return the losses and the output, in memory of their own."""
        for here, there in zip(tree_leaves(self._inputs), tree_leaves((batch.x, batch.y, batch.weight)), strict=True):
            if here is not None:
                here.copy_(there, non_blocking=True)
        for i, group in enumerate(self._groups):
            if group["lr"] != self._rates[i]:
                self._rates[i] = group["lr"]
                self._rates_there[i].fill_(group["lr"])
        if self.gradients_apart:
            for p, gradient in self._gradients:
                p.grad = gradient
            self.gradients_apart = False
        self._graph.replay()
        return self._losses.clone(), tree_map(torch.clone, self._output)

    @contextmanager
    def _rates_lent(self) -> Iterator[None]:
        """Let the optimizer read its rates from the device inside."""
        before = [group["lr"] for group in self._groups]
        try:
            for group, rate in zip(self._groups, self._rates_there, strict=True):
                group["lr"] = rate
            yield
        finally:
            for group, rate in zip(self._groups, before, strict=True):
                group["lr"] = rate


def _clone(t: Tensor | None) -> Tensor | None:
    return None if t is None else t.clone()


def _watched(step: Callable[[], Any], aim: Aim) -> tuple[Any, str | None]:
    """Return what a step returns, and what of it a graph would not do again; None where there is no such thing."""
    drawn, before = generator_states(), Before(aim.model)
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = step()
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    reason = None
    others = [name for name, state in generator_states().items() if state != drawn[name]]
    names = {module: name for name, module in aim.model.named_modules()}
    if any("synchronizing CUDA operation" in str(warning.message) for warning in told):
        reason = "a step waits for the device"
    elif others:
        reason = f"a step draws random numbers on the host ({' and '.join(others)}'s)"
    elif changed := [names.get(module, type(module).__name__) for module in before.changed()]:
        reason = f"a step changes attributes of {changed[0]!r} in Python"
    for warning in told:
        if "synchronizing CUDA operation" not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return found, reason
