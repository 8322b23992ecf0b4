"""Callbacks that change the learning rate from epoch to epoch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from torch import nn

from laminar.callbacks.monitor import Monitor, number
from laminar.errors import ArgumentError, complaint
from laminar.fit.callbacks import Callback
from laminar.fit.state import State
from laminar.layers.core import is_number, positive

__all__ = ["LearningRateScheduler", "ReduceLROnPlateau"]


class ReduceLROnPlateau(Callback):
    """Multiplies the learning rate by `factor` when a figure has not improved for `patience` epochs: η ← max(factor·η, min_lr).

    The groups of an optimizer that have rates of their own keep their ratio to the base rate.

    Args:
        monitor: a figure of the history.
        factor: what the rate is multiplied by, above 0 and below 1.
        patience: epochs in a row without improvement to wait for.
        verbose: 1 to be told of each reduction among the rows of the table.
        mode: "min" or "max" says which is better; "auto" goes by the figure's name.
        min_delta: a change that is not larger than this counts as none.
        cooldown: epochs after a reduction in which none are counted.
        min_lr: the rate never falls below this.

    Raises:
        ArgumentError: if an argument cannot work; before the first step, if the figure is one of validation data that are
            not there; before the first step, if a schedule drives the rate.
        UnknownNameError: before the first step, if no figure has that name.

    Source: rows R6 and R15 of the mission; the rule is that of Keras 3.

    >>> import torch
    >>> import laminar as lm
    >>> from laminar import layers as L
    >>> net = lm.Sequential([L.Dense(1, kernel_initializer="ones")])
    >>> net.compile(lm.optimizers.SGD(0.01), "mse")
    >>> reduce = ReduceLROnPlateau(monitor="loss", factor=0.5, patience=2)
    >>> history = net.fit(torch.ones(4, 1), torch.ones(4), epochs=6, callbacks=reduce, verbose=0)
    >>> history.history["learning_rate"]
    [0.01, 0.01, 0.01, 0.005, 0.005, 0.0025]
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        self._monitor = Monitor("ReduceLROnPlateau", monitor, mode, min_delta)
        self.factor = number("ReduceLROnPlateau(factor=)", factor, 0.1, above=0, below=1)
        self.patience = positive("ReduceLROnPlateau(patience=)", patience, least=0)
        self.cooldown = positive("ReduceLROnPlateau(cooldown=)", cooldown, least=0)
        self.min_lr = number("ReduceLROnPlateau(min_lr=)", min_lr, 1e-6, least=0)
        self.verbose = verbose
        self._reset()

    def _reset(self) -> None:
        self._best: float | None = None
        self._wait = self._cooling = 0

    def on_train_begin(self, model: nn.Module, state: State) -> None:
        """Start afresh."""
        self._monitor.check(state)
        state.learning_rate = state.learning_rate  # a rate that a schedule drives is refused now, not epochs later
        self._reset()

    def on_epoch_end(self, model: nn.Module, state: State) -> None:
        """Compare the epoch with the best one."""
        value = self._monitor.value(state)
        if value is None:
            return
        if self._cooling:
            self._cooling -= 1
            self._wait = 0
        if self._monitor.better(value, self._best):
            self._best, self._wait = value, 0
        elif not self._cooling:
            self._wait += 1
            if self._wait >= self.patience and state.learning_rate > self.min_lr:
                self._reduce(state)

    def _reduce(self, state: State) -> None:
        before = state.learning_rate
        state.learning_rate = max(before * self.factor, self.min_lr)
        self._cooling, self._wait = self.cooldown, 0
        if self.verbose:
            rates = f"learning rate {before:g} → {state.learning_rate:g}"
            state.note(f"Epoch {state.epoch}: {self._monitor.figure} is on a plateau, {rates}.")


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of every epoch to what a function says.

    Args:
        schedule: called with the epoch, from 0 as in Keras, and, where it takes a second argument, the rate so far; returns
            the rate, a number of at least 0.
        verbose: 1 to be told each epoch's rate among the rows of the table.

    Raises:
        ArgumentError: if `schedule` is no such function; at the start of an epoch, if it returns something else; before the
            first step, if the optimizer has a schedule of its own.

    Source: row R6 of the mission; Keras 3.

    >>> import torch
    >>> import laminar as lm
    >>> from laminar import layers as L
    >>> net = lm.Sequential([L.Dense(1)])
    >>> net.compile(lm.optimizers.SGD(0.01), "mse")
    >>> halve = LearningRateScheduler(lambda epoch, lr: lr if epoch < 2 else lr * 0.5)
    >>> history = net.fit(torch.ones(4, 1), torch.ones(4), epochs=4, callbacks=halve, verbose=0)
    >>> history.history["learning_rate"]
    [0.01, 0.01, 0.005, 0.0025]
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        self._takes_rate = _takes_rate(schedule)
        self.schedule, self.verbose = schedule, verbose

    def on_train_begin(self, model: nn.Module, state: State) -> None:
        """Refuse a rate that a schedule drives."""
        state.learning_rate = state.learning_rate

    def on_epoch_begin(self, model: nn.Module, state: State) -> None:
        """Set the rate."""
        epoch = state.epoch - 1
        rate: Any = self.schedule(epoch, state.learning_rate) if self._takes_rate else self.schedule(epoch)
        if not is_number(rate) or not 0 <= rate < math.inf:
            where, fix = f"LearningRateScheduler(schedule=), epoch {epoch}", "Return a rate such as 0.01 from the function"
            raise ArgumentError(complaint(where, expected="a number of at least 0", received=repr(rate), fix=fix))
        state.learning_rate = float(rate)
        if self.verbose:
            state.note(f"Epoch {state.epoch}: learning rate {state.learning_rate:g}.")


def _takes_rate(schedule: Any) -> bool:
    """Return whether the function takes (epoch, rate) rather than (epoch)."""
    expected = "a function of (epoch) or (epoch, rate)"
    fix = "Pass lambda epoch: 0.1 * 0.5 ** (epoch // 10), for example"
    received = f"{schedule!r}"
    if callable(schedule):
        try:
            signature = inspect.signature(schedule)
        except ValueError:  # a builtin that does not tell
            return False
        for arguments in ((0, 0.1), (0,)):
            try:
                signature.bind(*arguments)
            except TypeError:
                continue
            return len(arguments) == 2
        received = f"one of ({', '.join(signature.parameters)})"
    raise ArgumentError(complaint("LearningRateScheduler(schedule=)", expected=expected, received=received, fix=fix))
