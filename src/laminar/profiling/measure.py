"""The figures of a profile: steps watched, steps as they are, and what they would take at best."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from laminar.fit.convert import Batch
from laminar.profiling.machine import Machine, clock, measured
from laminar.profiling.result import ProfileRow
from laminar.profiling.watch import Call, Key, Watch
from laminar.shapes import Trace

__all__ = ["Measured", "Subject", "measure"]

_WARM = 3  # steps before any is measured


@dataclass
class Subject:
    """A network that is being trained, with one batch.

    Attributes:
        model: the network, which changes.
        watched: learns from a batch operation by operation, so that layers can be told apart.
        step: learns from a batch as `fit` does, compiled or as a graph, say.
        optimizer: torch's, of its parameters.
        batch: the batch.
        trace: of one observation, for the multiplications.
        device: where.
    """

    model: nn.Module
    watched: Callable[[Batch], Any]
    step: Callable[[Batch], Any]
    optimizer: torch.optim.Optimizer
    batch: Batch
    trace: Trace
    device: torch.device

    def run(self) -> None:
        """Take a step that can be watched."""
        self.watched(self.batch)

    def seconds(self, batch: Batch) -> float:
        """Return how long a step on `batch` takes."""
        start = clock(self.device)
        self.step(batch)
        return clock(self.device) - start


@dataclass
class Measured:
    """What was found: the rows, and the seconds of a step that nobody watched."""

    rows: tuple[ProfileRow, ...]
    step: float
    machine: Machine


def measure(subject: Subject, repeats: int) -> Measured:
    """Take `repeats` steps that are watched, and then as many as `fit` takes them."""
    now = partial(clock, subject.device)
    for _ in range(_WARM):
        subject.run()
    watches = []
    for _ in range(repeats):
        watch = Watch(subject.model, now)
        watch.step(subject.run, subject.optimizer)
        watches.append(watch)
    keeping = Watch(subject.model, now)
    keeping.memory(
        subject.run, _storages([*subject.model.parameters(), *subject.model.buffers(), *tree_leaves(subject.batch.x)])
    )
    for _ in range(_WARM):
        subject.step(subject.batch)
    plain = [subject.seconds(subject.batch) for _ in range(repeats)]
    machine = measured(subject.device)
    return Measured(_rows(subject, watches, keeping, machine), statistics.median(plain), machine)


def _storages(tensors: Sequence[Any]) -> set[int]:
    return {t.untyped_storage()._cdata for t in tensors if isinstance(t, Tensor)}


def _rows(subject: Subject, watches: Sequence[Watch], keeping: Watch, machine: Machine) -> tuple[ProfileRow, ...]:
    """Return a row for each layer that was called, then loss, update and what is left."""
    times: list[tuple[Key, float, float]] = []
    for key, call in watches[-1].calls.items():
        each = [w.calls[key] for w in watches if key in w.calls]
        if call.inside and not _does_something(call, each):
            continue
        times.append((key, statistics.median(c.forward for c in each), statistics.median(c.backward for c in each)))
    loss, update = (statistics.median(getattr(w, name) for w in watches) for name in ("loss", "update"))
    left = statistics.median(w.total for w in watches) - sum(f + b for _, f, b in times) - loss - update
    others = [("(loss)", loss), ("(update)", update), ("(everything else)", max(left, 0.0))]
    total = sum(f + b for _, f, b in times) + sum(t for _, t in others)
    operations = _operations(subject.trace)
    rows = []
    for key, forward, backward in times:
        call = watches[-1].calls[key]
        flops, moved = _work(key, call, operations, subject.batch.size)
        kept = keeping.calls[key].kept if key in keeping.calls else 0
        known = not call.inside
        rows.append(
            ProfileRow(
                " + ".join(p or "(the network)" for p in key),
                " + ".join(type(m).__name__ for m in call.modules),
                forward,
                backward,
                (forward + backward) / total,
                kept,
                call.made,
                flops if known else None,
                moved if known else None,
                machine.floor(flops, moved) if known and (flops or moved) else None,
            )
        )
    return (*rows, *(ProfileRow(name, "", t, 0.0, t / total) for name, t in others))


def _does_something(call: Call, each: Sequence[Call]) -> bool:
    """Return whether a layer that calls others has operations of its own: autograd then came to it in the backward pass."""
    return any(c.backward for c in each) and bool(call.made)


def _operations(trace: Trace) -> dict[str, int]:
    """Return the multiplications with addition of each place for one observation, those of the layers inside included."""
    found: dict[str, int] = {}
    for record in trace.records:
        found[record.path] = found.get(record.path, 0) + record.multiply_adds
    return found


def _work(key: Key, call: Call, operations: dict[str, int], batch: int) -> tuple[int, int]:
    """Return the floating-point operations of a row, and the bytes that it reads and writes at least.

    Backward multiplies as often as forward for the gradient of the input, and again for that of the weights. Forward reads
    input and weights and writes the output; backward reads the output's gradient, the input and the weights, and writes the
    gradients.
    """
    learns = any(p.requires_grad for m in call.modules for p in m.parameters())
    weights = sum(p.nbytes for m in call.modules for p in m.parameters())
    products = 2 * batch * sum(operations.get(path, 0) for path in key)
    flops = products * (1 + call.feeds_back + learns)
    if not call.made:  # a view
        return flops, 0
    forward = call.read + weights + call.made
    backward = 0
    if call.feeds_back or learns:
        backward = call.made + call.read + weights * (call.feeds_back + learns) + call.read * call.feeds_back
    return flops, forward + backward
