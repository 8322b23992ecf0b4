"""Callbacks: what others may do while a network trains."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

from torch import nn

from laminar.errors import DivergedError
from laminar.fit.state import State
from laminar.layers.words import check_words

__all__ = ["INTERRUPTED", "Callback", "interruptible"]

INTERRUPTED = "Ctrl-C"  # the reason that History gives

_ELSEWHERE = {
    "save_weights_only": ("none: weights are all that is saved", "Leave it out"),
    "period": ("none: it is save_freq", 'Pass save_freq="epoch", or a number of iterations'),
    "epsilon": ("none: it is min_delta", "Pass min_delta=1e-4, say"),
}
"""Words of Keras' callbacks: what is expected instead, and the fix."""


class Callback:
    """Override what you need; set `state.stop` to a reason to end the training after the current iteration.

    `on_batch_end` is called at every iteration only where a subclass defines it: figures of the current iteration may still
    be on the device at that point, so it costs time to read them.

    The hooks run in this order, those of several callbacks in the order in which they were passed. Where the training ends
    with an exception, no hook runs after it; the figures up to there are in `model.history`.

    Source: Keras 3's `Callback`, with (model, state) in place of (epoch, logs).

    >>> class StopAt(Callback):
    ...     def on_epoch_end(self, model, state):
    ...         if state.history.history["loss"][-1] < 0.1:
    ...             state.stop = "the loss is below 0.1"
    """

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Look at the names of the arguments, in the one place that all constructors share."""
        check_words(cls, options, _ELSEWHERE)
        return super().__new__(cls)

    def on_train_begin(self, model: nn.Module, state: State) -> None:
        """Run before the first iteration."""

    def on_epoch_begin(self, model: nn.Module, state: State) -> None:
        """Run before the first iteration of an epoch."""

    def on_batch_end(self, model: nn.Module, state: State) -> None:
        """Run after an iteration."""

    def on_epoch_end(self, model: nn.Module, state: State) -> None:
        """Run after an epoch and its validation; its figures are in `state.history`."""

    def on_divergence(self, model: nn.Module, state: State, error: DivergedError) -> None:
        """Run when the loss is no longer finite, in place of the hooks of that epoch that are still to come.

        `fit` raises `error` after this, unless a callback sets `state.stop`: then the training ends as any other that is
        stopped, with the figures of all iterations before in `state.history.iterations`.
        """

    def on_train_end(self, model: nn.Module, state: State) -> None:
        """Run after the last iteration, also when the training was stopped."""


@contextmanager
def interruptible(state: State) -> Iterator[None]:
    """Let the first Ctrl-C end the training at the next iteration, and a second one at once.

    Outside the main thread, where Python delivers no signals, nothing is changed; nor where Ctrl-C is ignored, as in a job in
    the background, or handled by a program around Python.
    """
    handled = threading.current_thread() is threading.main_thread()
    if not handled or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield
        return

    def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
        if state.stop == INTERRUPTED:
            raise KeyboardInterrupt
        state.stop = INTERRUPTED

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
