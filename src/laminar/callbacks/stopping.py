"""Callbacks that end a training before its time."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from laminar.callbacks.monitor import Monitor, number
from laminar.errors import ArgumentError, DivergedError, complaint
from laminar.fit.callbacks import Callback
from laminar.fit.state import State
from laminar.layers.core import positive

__all__ = ["EarlyStopping", "TerminateOnNaN"]


class EarlyStopping(Callback):
    """Ends the training when a figure has stopped to improve.

    An epoch improves on the best one so far if its figure is better by more than `min_delta`. After `patience` epochs in a row
    that do not, the training ends; never after the first epoch. `state.stop` and `history.stopped` say why.

    Args:
        monitor: a figure of the history.
        min_delta: a change that is not larger than this counts as none.
        patience: epochs without improvement to wait for.
        verbose: 1 to be told, among the rows of the table, which epoch's weights are restored.
        mode: "min" or "max" says which is better; "auto" goes by the figure's name.
        baseline: an improvement counts only if the figure is better than this, too.
        restore_best_weights: whether the network ends with the parameters and buffers of the best epoch, whatever ended the
            training but an exception. The optimizer's state stays that of the last step.
        start_from_epoch: epochs at the start that are not looked at.

    Attributes:
        best: the best figure so far; None before there is one.
        best_epoch: its epoch, from 1; 0 before there is one.

    Raises:
        ArgumentError: if an argument cannot work; before the first step, if the figure is one of validation data that are
            not there.
        UnknownNameError: before the first step, if no figure has that name.

    Source: Prechelt 1998, "Early stopping — but when?"; the rule is that of Keras 3.

    >>> import torch
    >>> import laminar as lm
    >>> from laminar import layers as L
    >>> net = lm.Sequential([L.Dense(1)])
    >>> net.compile("sgd", "mse")
    >>> stop = EarlyStopping(monitor="loss", min_delta=1e9, patience=3)
    >>> history = net.fit(torch.ones(4, 2), torch.ones(4), epochs=50, callbacks=stop, verbose=0)
    >>> len(history.epoch), history.stopped
    (4, 'loss has not improved for 3 epochs (the best is that of epoch 1)')
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        self._monitor = Monitor("EarlyStopping", monitor, mode, min_delta)
        self.patience = positive("EarlyStopping(patience=)", patience, least=0)
        self.baseline = None if baseline is None else number("EarlyStopping(baseline=)", baseline, 0.5)
        self.start_from_epoch = positive("EarlyStopping(start_from_epoch=)", start_from_epoch, least=0)
        self.verbose, self.restore_best_weights = verbose, restore_best_weights
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.best_epoch = 0
        self._wait = 0
        self._kept: dict[str, Any] | None = None

    def on_train_begin(self, model: nn.Module, state: State) -> None:
        """Start afresh."""
        self._monitor.check(state)
        self._reset()

    def on_epoch_end(self, model: nn.Module, state: State) -> None:
        """Compare the epoch with the best one."""
        value = self._monitor.value(state)
        if value is None or state.epoch <= self.start_from_epoch:
            return
        self._wait += 1
        if self.best_epoch == 0 or self._monitor.better(value, self.best):
            self.best, self.best_epoch = value, state.epoch
            if self.restore_best_weights:
                self._kept = _copied(model.state_dict())
            if self.baseline is None or self._monitor.better(value, self.baseline):
                self._wait = 0
            return
        if self._wait >= self.patience and state.epoch > 1:
            state.stop = self._reason()

    def _reason(self) -> str:
        epochs = "1 epoch" if self._wait == 1 else f"{self._wait} epochs"
        if self.baseline is None or (self.best is not None and self._monitor.better(self.best, self.baseline)):
            return f"{self._monitor.figure} has not improved for {epochs} (the best is that of epoch {self.best_epoch})"
        return f"{self._monitor.figure} has not improved on the baseline {self.baseline:g} for {epochs}"

    def on_train_end(self, model: nn.Module, state: State) -> None:
        """Restore the best epoch's weights, if that is wanted."""
        if self._kept is None:
            return
        model.load_state_dict(self._kept)
        self._kept = None
        if self.verbose:
            state.note(f"Restored the weights of epoch {self.best_epoch}, the best in {self._monitor.figure}.")


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    """Return a state dict that no training changes."""
    return {name: value.clone() if isinstance(value, Tensor) else copy.deepcopy(value) for name, value in values.items()}


class TerminateOnNaN(Callback):
    """Makes a plain stop of a loss that is nan or infinite, where `fit` would raise `DivergedError`.

    `fit` then returns the history, with the figures of every iteration before in `history.iterations`, and with what the error
    would have said in `history.stopped`; the epoch under way is not in `history.history`. The weights are what the last step
    left, most likely nan, unless another callback puts better ones back: `EarlyStopping(restore_best_weights=True)`. A loss
    that is not finite is found when the next row of the table is due, every `log_every` iterations.

    Args:
        raise_error: True to let `fit` raise the error, as it does without this callback.

    Raises:
        ArgumentError: if `raise_error` is neither True nor False.

    Source: Keras 3.

    >>> import torch
    >>> import laminar as lm
    >>> from laminar import layers as L
    >>> net = lm.Sequential([L.Dense(1, kernel_initializer="ones")])
    >>> net.compile(lm.optimizers.SGD(1e38), "mse")
    >>> history = net.fit(torch.ones(4, 1), torch.zeros(4), epochs=3, callbacks=TerminateOnNaN(), verbose=0)
    >>> history.iterations["loss"], history.stopped.partition(" (")[0]
    ([1.0], 'loss became inf at epoch 2, step 2')
    """

    def __init__(self, raise_error: bool = False) -> None:
        if not isinstance(raise_error, bool):
            fix = "Write TerminateOnNaN()"
            raise ArgumentError(
                complaint("TerminateOnNaN(raise_error=)", expected="True or False", received=f"{raise_error!r}", fix=fix)
            )
        self.raise_error = raise_error

    def on_divergence(self, model: nn.Module, state: State, error: DivergedError) -> None:
        """End the training."""
        if not self.raise_error:
            state.stop = str(error).rstrip(".")
