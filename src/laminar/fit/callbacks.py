"""Callbacks: what others may do while a network trains."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from torch import nn

from laminar.fit.state import State

__all__ = ["Callback", "interruptible"]


class Callback:
    """Override what you need; set `state.stop` to a reason to end the training after the current iteration.

    `on_batch_end` is called at every iteration only where a subclass defines it: figures of the current iteration may still
    be on the device at that point, so it costs time to read them.

    >>> class StopAt(Callback):
    ...     def on_epoch_end(self, model, state):
    ...         if state.history.history["loss"][-1] < 0.1:
    ...             state.stop = "the loss is below 0.1"
    """

    def on_train_begin(self, model: nn.Module, state: State) -> None:
        """Run before the first iteration."""

    def on_epoch_begin(self, model: nn.Module, state: State) -> None:
        """Run before the first iteration of an epoch."""

    def on_batch_end(self, model: nn.Module, state: State) -> None:
        """Run after an iteration."""

    def on_epoch_end(self, model: nn.Module, state: State) -> None:
        """Run after an epoch and its validation; its figures are in `state.history`."""

    def on_train_end(self, model: nn.Module, state: State) -> None:
        """Run after the last iteration, also when the training was stopped."""


@contextmanager
def interruptible(state: State) -> Iterator[None]:
    """Let the first Ctrl-C end the training at the next iteration, and a second one at once.

    Outside the main thread, where Python delivers no signals, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
        if state.stop is not None:
            raise KeyboardInterrupt
        state.stop = "Ctrl-C"

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
