"""The training loop. It waits for the device when a row of the table is due, and at no other time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from laminar.errors import DivergedError
from laminar.fit.batches import Batches
from laminar.fit.callbacks import Callback, interruptible
from laminar.fit.progress import Progress, Row
from laminar.fit.recorder import Recorder
from laminar.fit.state import History, State
from laminar.fit.steps import Step

__all__ = ["Run", "train"]

_TICK = 0.1  # seconds between two moves of the bar


@dataclass
class Run:
    """What a training run is made of.

    Attributes:
        model: the network, built and on its device.
        optimizer: torch's optimizer of its parameters.
        step: what is done with a batch.
        batches: where they come from.
        recorder: keeps the figures.
        validate: returns the validation figures after an epoch; None where there is no validation data.
        callbacks: what else happens.
        progress: what a person sees.
        log_every: iterations between two rows of the table.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: Step
    batches: Batches
    recorder: Recorder
    validate: Callable[[], dict[str, float]] | None
    callbacks: Sequence[Callback]
    progress: Progress
    log_every: int
    _sums: list[float] = field(default_factory=list)
    _seen: int = 0
    _sizes: list[int] = field(default_factory=list)


def train(run: Run, epochs: int, title: str) -> History:
    """Train for `epochs` epochs, or until a callback, Ctrl-C or a loss that is not finite ends it.

    Raises:
        DivergedError: if the loss is nan or infinite; `run.model` then holds what the last step left.
    """
    steps = run.batches.steps
    state = State(epochs, None if steps is None else steps * epochs)
    names = run.recorder.names
    columns = [*names, *(f"val_{n}" for n in names)] if run.validate else names
    run.progress.start(epochs=epochs, iterations=state.total, columns=columns, title=title)
    started = time.perf_counter()
    try:
        with interruptible(state):
            try:
                _epochs(run, state, started)
            except KeyboardInterrupt:
                state.stop = state.stop or "Ctrl-C"
        if state.stop is not None:
            _flush(run, state)
            run.progress.note(f"Stopped by {state.stop} after iteration {state.iteration}: what was learned is kept.")
        for callback in run.callbacks:
            callback.on_train_end(run.model, state)
    finally:
        state.history.seconds = time.perf_counter() - started
        state.history.stopped = state.stop
        run.progress.stop()
    return state.history


def _epochs(run: Run, state: State, started: float) -> None:
    for callback in run.callbacks:
        callback.on_train_begin(run.model, state)
    for epoch in range(1, state.epochs + 1):
        state.epoch = epoch
        for callback in run.callbacks:
            callback.on_epoch_begin(run.model, state)
        run.model.train()
        last = _iterate(run, state, started)
        if state.total is None and state.stop is None:  # a stream has now told its length
            state.total = state.iteration * state.epochs
        figures = _end_epoch(run, state)
        if figures or epoch == state.epochs or state.stop is not None or state.iteration % run.log_every == 0:
            _row(run, state, started, {**last, **figures})
        for callback in run.callbacks:
            callback.on_epoch_end(run.model, state)
        if state.stop is not None:
            return


def _iterate(run: Run, state: State, started: float) -> dict[str, float]:
    """Go through one epoch; return the figures of its last iteration that are not in the table yet."""
    each_batch = [c for c in run.callbacks if type(c).on_batch_end is not Callback.on_batch_end]
    next_tick = 0.0
    sizes, add, step, log_every = run._sizes, run.recorder.add, run.step, run.log_every
    for batch in run.batches.epoch(state.epoch):
        loss, output = step(batch)
        state.iteration += 1
        sizes.append(batch.size)
        add(loss, output, batch.y)  # type: ignore[arg-type]  # step refuses a batch without y
        for callback in each_batch:
            callback.on_batch_end(run.model, state)
        if state.iteration == 1 or (state.iteration % log_every == 0 and not _ends_epoch(run, state)):
            _row(run, state, started, _flush(run, state))
        now = time.perf_counter()
        if now >= next_tick:
            next_tick = now + _TICK
            run.progress.tick(state.epoch, state.iteration)
        if state.stop is not None:
            break
    run.progress.tick(state.epoch, state.iteration)
    return _flush(run, state)


def _ends_epoch(run: Run, state: State) -> bool:
    """Return whether the epoch's own row follows, so that this iteration is not shown twice."""
    return run.batches.steps is not None and state.iteration == run.batches.steps * state.epoch


def _flush(run: Run, state: State) -> dict[str, float]:
    """Bring the figures of the iterations since the last flush to the host; return those of the last one."""
    rows = run.recorder.flush()
    names = run.recorder.names
    history = state.history.iterations
    first = state.iteration - len(rows) + 1
    for i, (size, values) in enumerate(zip(run._sizes, rows, strict=True)):
        if not math.isfinite(values[0]):
            raise _diverged(run, state, first + i, values[0])
        for name, value in zip(names, values, strict=True):
            history.setdefault(name, []).append(value)
        run._sums = [s + v * size for s, v in zip(run._sums or [0.0] * len(values), values, strict=True)]
        run._seen += size
    run._sizes.clear()
    rate = float(run.optimizer.param_groups[0]["lr"])
    history.setdefault("learning_rate", []).extend([rate] * len(rows))
    return dict(zip(names, rows[-1], strict=True)) if rows else _last(history, names)


def _last(history: dict[str, list[float]], names: Sequence[str]) -> dict[str, float]:
    return {name: history[name][-1] for name in names if history.get(name)}


def _end_epoch(run: Run, state: State) -> dict[str, float]:
    """Note the epoch's figures in the history; return the validation's."""
    history = state.history.history
    if run._seen:
        for name, total in zip(run.recorder.names, run._sums, strict=True):
            history.setdefault(name, []).append(total / run._seen)
        history.setdefault("learning_rate", []).append(float(run.optimizer.param_groups[0]["lr"]))
        state.history.epoch.append(state.epoch)
    run._sums, run._seen = [], 0
    if run.validate is None:
        return {}
    figures = {f"val_{name}": value for name, value in run.validate().items()}
    for name, value in figures.items():
        history.setdefault(name, []).append(value)
    return figures


def _row(run: Run, state: State, started: float, figures: dict[str, float]) -> None:
    elapsed = time.perf_counter() - started
    remaining = None
    if state.total is not None and state.iteration:
        remaining = elapsed / state.iteration * (state.total - state.iteration)
    rate = float(run.optimizer.param_groups[0]["lr"])
    run.progress.row(Row(state.epoch, state.iteration, elapsed, remaining, figures, rate))


def _diverged(run: Run, state: State, iteration: int, value: float) -> DivergedError:
    steps = run.batches.steps
    losses = state.history.iterations.get("loss", [])
    epoch = state.epoch if steps is None else (iteration - 1) // steps + 1
    before = f" (last finite {losses[-1]:.4g} at step {iteration - 1})" if losses else ""
    culprit = next((n for n, p in run.model.named_parameters() if p.grad is not None and not _finite(p.grad)), None)
    found = f"First non-finite gradient at step {state.iteration}: {culprit!r}." if culprit else "All gradients are finite."
    rate = float(run.optimizer.param_groups[0]["lr"])
    return DivergedError(
        f"loss became {value} at epoch {epoch}, step {iteration}{before}. {found} "
        f"Possible fix: lower learning_rate (now {rate:g})."
    )


def _finite(t: Tensor) -> bool:
    return bool(torch.isfinite(t).all())
