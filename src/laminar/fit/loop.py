"""The training loop. It waits for the device when a row of the table is due, and at no other time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from laminar.errors import DivergedError
from laminar.fit.batches import Batches
from laminar.fit.callbacks import INTERRUPTED, Callback, interruptible
from laminar.fit.convert import Batch
from laminar.fit.pace import Pace
from laminar.fit.progress import Progress, Row
from laminar.fit.recorder import Recorder
from laminar.fit.state import History, State
from laminar.fit.steps import Step
from laminar.fit.threads import suited
from laminar.optimizers import Rule, put_averages_in_place

__all__ = ["Run", "train"]

_TICK = 0.1  # seconds between two moves of the bar
_MUCH, _LONG = 0.2, 1.0  # share of an epoch that is much to wait, and seconds of an epoch that is worth a word


@dataclass
class Run:
    """What a training run is made of.

    Attributes:
        model: the network, built and on its device.
        pace: torch's optimizer of its parameters, and the learning rate.
        step: what is done with a batch.
        batches: where they come from.
        recorder: keeps the figures.
        validate: returns the validation figures after an epoch; None where there is no validation data.
        callbacks: what else happens.
        progress: what a person sees.
        log_every: iterations between two rows of the table.
        history: where the figures go, so that they are there whatever ends the run.
    """

    model: nn.Module
    pace: Pace
    step: Step
    batches: Batches
    recorder: Recorder
    validate: Callable[[], dict[str, float]] | None
    callbacks: Sequence[Callback]
    progress: Progress
    log_every: int
    history: History = field(default_factory=History)
    _sums: dict[str, float] = field(default_factory=dict)  # over the observations of the epoch so far
    _seen: int = 0
    _shown: int = 0  # the iteration of the last row of the table
    _started: float = 0.0
    _told_of_waiting: bool = False


def train(run: Run, epochs: int, title: str) -> None:
    """Train for `epochs` epochs, or until a callback, Ctrl-C or a loss that is not finite ends it.

    Raises:
        DivergedError: if the loss is nan or infinite; `run.model` then holds what the last step left.
    """
    steps = run.batches.steps
    names = run.recorder.names
    columns = [*names, *(f"val_{n}" for n in names)] if run.validate else names
    total = None if steps is None else steps * epochs
    figures = [*columns, "learning_rate"]
    state = State(epochs, total, run.pace, figures, history=run.history, note=run.progress.note)
    run.progress.start(epochs=epochs, iterations=state.total, columns=columns, title=title)
    run._started = time.perf_counter()
    try:
        with interruptible(state), suited(run.model, run.batches.observations, steps):
            try:
                _epochs(run, state)
            except KeyboardInterrupt:  # somewhere in the middle of things
                state.stop = INTERRUPTED
                _flush(run, state)
                _even_out(run)
            except DivergedError as error:
                if not _ends_well(run, state, error):
                    raise
            except Exception:
                with suppress(Exception):  # a device that failed gives no figures; what it said is the error
                    _flush(run, state)
                _even_out(run)
                raise
        if state.stop is not None:
            run.progress.note(f"Stopped after iteration {state.iteration}: {state.stop}. What was learned is kept.")
        put_averages_in_place(run.pace.optimizer)
        for callback in run.callbacks:
            callback.on_train_end(run.model, state)
    finally:
        state.history.seconds = time.perf_counter() - run._started
        state.history.stopped = state.stop
        run.progress.stop()


def _ends_well(run: Run, state: State, error: DivergedError) -> bool:
    """Return whether a callback makes a plain stop of a loss that is not finite."""
    before, state.stop = state.stop, None
    for callback in run.callbacks:
        callback.on_divergence(run.model, state, error)
    if state.stop is None:
        state.stop = before
        return False
    return True


def _epochs(run: Run, state: State) -> None:
    for callback in run.callbacks:
        callback.on_train_begin(run.model, state)
    for epoch in range(1, state.epochs + 1):
        if state.stop is not None:
            return
        state.epoch = epoch
        run.pace.begin_epoch(run.batches.steps)
        for callback in run.callbacks:
            callback.on_epoch_begin(run.model, state)
        if state.stop is not None:
            return
        run.model.train()
        run.batches.waited, began = 0.0, time.perf_counter()
        _iterate(run, state)
        _note_waiting(run, state, time.perf_counter() - began)
        run.pace.end_epoch()
        if state.total is None and state.stop is None:  # a stream has now told its length
            state.total = state.iteration * state.epochs
        figures = _end_epoch(run, state)
        last = epoch == state.epochs or state.stop is not None
        if figures or (run._shown != state.iteration and (last or _is_due(run, state.iteration))):
            _row(run, state, figures)
        for callback in run.callbacks:
            callback.on_epoch_end(run.model, state)


def _iterate(run: Run, state: State) -> None:
    """Go through one epoch."""
    each_batch = [c for c in run.callbacks if type(c).on_batch_end is not Callback.on_batch_end]
    next_tick = 0.0
    add, step, log_every, pace = run.recorder.add, run.step, run.log_every, run.pace
    for batch in run.batches.epoch(state.epoch):
        try:
            rate = pace.begin_step()
            loss, output = step(batch)
        except Exception as error:
            error.add_note(_place(state, batch))
            raise
        add(loss, output, batch.y, batch.size, rate)
        state.iteration += 1
        for callback in each_batch:
            callback.on_batch_end(run.model, state)
        if (state.iteration % log_every == 0 or state.iteration == 1) and not _ends_epoch(run, state):
            _flush(run, state)
            _row(run, state, {})
        now = time.perf_counter()
        if now >= next_tick:
            next_tick = now + _TICK
            run.progress.tick(state.epoch, state.iteration)
        if state.stop is not None:
            break
    step.finish()
    run.progress.tick(state.epoch, state.iteration)
    _flush(run, state)


def _note_waiting(run: Run, state: State, seconds: float) -> None:
    """Note how much of the epoch's iterations was waiting for data; say it, once, where it is much."""
    share = run.batches.waited / seconds if seconds else 0.0  # a clock may stand still for an epoch that is short enough
    state.history.waited.append(share)
    if share > _MUCH and seconds > _LONG and not run._told_of_waiting:
        run._told_of_waiting = True
        run.progress.note(f"Training waited for data {share:.0%} of the time (epoch {state.epoch}). {run.batches.advice}")


def _place(state: State, batch: Batch) -> str:
    alone = " It holds one observation: drop_last=True or another batch_size avoids that." if batch.size == 1 else ""
    return f"This happened in epoch {state.epoch} at iteration {state.iteration + 1}, on a batch of {batch.size}.{alone}"


def _is_due(run: Run, iteration: int) -> bool:
    return iteration == 1 or iteration % run.log_every == 0


def _ends_epoch(run: Run, state: State) -> bool:
    """Return whether the epoch's own row follows, so that this iteration is not shown twice."""
    return run.batches.steps is not None and state.iteration == run.batches.steps * state.epoch


def _flush(run: Run, state: State) -> None:
    """Bring the figures of the iterations since the last flush to the host."""
    figures = run.recorder.flush()
    iterations = state.history.iterations
    before = len(iterations.get("loss", ()))
    losses = figures.columns["loss"]
    good = next((i for i, value in enumerate(losses) if not math.isfinite(value)), len(losses))
    for name, values in figures.columns.items():
        iterations.setdefault(name, []).extend(values[:good])
        total = math.fsum(value * size for value, size in zip(values[:good], figures.sizes, strict=False))
        run._sums[name] = run._sums.get(name, 0.0) + total
    iterations.setdefault("learning_rate", []).extend(figures.rates[:good])
    run._seen += sum(figures.sizes[:good])
    if good < len(losses):
        raise _diverged(run, state, before + good + 1, losses[good])


def _end_epoch(run: Run, state: State) -> dict[str, float]:
    """Note the epoch's figures in the history; return the validation's."""
    figures = {f"val_{name}": value for name, value in run.validate().items()} if run.validate else {}
    if run._seen:
        means = {name: total / run._seen for name, total in run._sums.items()} | run.recorder.end_epoch()
        for name, value in {**means, **figures, "learning_rate": state.history.iterations["learning_rate"][-1]}.items():
            state.history.history.setdefault(name, []).append(value)
        state.history.epoch.append(state.epoch)
    run._sums, run._seen = {}, 0
    return figures


def _even_out(run: Run) -> None:
    """Cut figures to one length where Ctrl-C came between the noting of two of them."""
    history = run.history
    own = [history.iterations.get(name, []) for name in (*run.recorder.names, "learning_rate")]
    shortest = min(map(len, own))
    for values in own:
        del values[shortest:]
    for values in history.history.values():
        del values[len(history.epoch) :]
    del history.waited[len(history.epoch) :]


def _row(run: Run, state: State, figures: dict[str, float]) -> None:
    """Add a row with the figures of the last iteration, and those given."""
    elapsed = time.perf_counter() - run._started
    remaining = None
    if state.total is not None and state.iteration:
        remaining = elapsed / state.iteration * (state.total - state.iteration)
    iterations = state.history.iterations
    last = {name: iterations[name][-1] for name in run.recorder.names if iterations.get(name)}
    run.progress.row(
        Row(state.epoch, state.iteration, elapsed, remaining, {**last, **figures}, iterations["learning_rate"][-1])
    )
    run._shown = state.iteration


def _diverged(run: Run, state: State, iteration: int, value: float) -> DivergedError:
    steps = run.batches.steps
    losses = state.history.iterations.get("loss", [])
    epoch = state.epoch if steps is None else (iteration - 1) // steps + 1
    before = f" (last finite {losses[-1]:.4g} at step {iteration - 1})" if losses else ""
    culprit = next((n for n, p in run.model.named_parameters() if p.grad is not None and not _finite(p.grad)), None)
    rate = run.pace.rate
    found = f"First non-finite gradient at step {state.iteration}: {culprit!r}." if culprit else "All gradients are finite."
    fix = f"lower learning_rate (now {rate:g})"
    if isinstance(run.pace.description, Rule) and not run.pace.description.clips:
        fix += " or set clipnorm=1.0"
    if iteration == 1:  # which no learning rate has had to do with
        fix = "look at the scale of inputs and targets, or put Normalization('zscore') first"
    return DivergedError(f"loss became {value} at epoch {epoch}, step {iteration}{before}. {found} Possible fix: {fix}.")


def _finite(t: Tensor) -> bool:
    return bool(torch.isfinite(t).all())
