"""Weights written to disk while a network trains."""

from __future__ import annotations

import os
import re
from pathlib import Path
from string import Formatter

from torch import nn

from laminar.callbacks.monitor import Monitor, number
from laminar.errors import ArgumentError, FileError, complaint
from laminar.fit.callbacks import Callback
from laminar.fit.checkpoint import save_weights
from laminar.fit.state import State
from laminar.layers.core import positive
from laminar.names import unknown_name

__all__ = ["ModelCheckpoint"]

_WHERE = "ModelCheckpoint(filepath=)"


class ModelCheckpoint(Callback):
    """Writes the network's weights to a safetensors file, whole or not at all, every epoch or every so many iterations.

    Weights are parameters and buffers; `model.load_weights` reads them. Folders that are not there are made.

    Args:
        filepath: ends in .safetensors; may hold `{epoch}` (from 1), `{iteration}` (done so far) and figures of the history,
            with a format: "run/{epoch:02d}-{val_loss:.4f}.safetensors". Without such a field each file replaces the last.
        monitor: a figure of the history; matters with `save_best_only`.
        verbose: 1 to be told of each file among the rows of the table.
        save_best_only: write only epochs whose figure is better than that of all before.
        mode: "min" or "max" says which is better; "auto" goes by the figure's name.
        save_freq: "epoch", or a number of iterations, counted over the whole training; figures are not known then.
        initial_value_threshold: with `save_best_only`, what the first file's figure must be better than.

    Attributes:
        best: the best figure so far; None before there is one.

    Raises:
        ArgumentError: if an argument cannot work; before the first step, if the figure is one of validation data that are
            not there.
        UnknownNameError: before the first step, if no figure is called as `monitor` or a field of `filepath`.
        FileError: if a file cannot be written.

    Source: Keras 3.

    >>> import tempfile, torch
    >>> import laminar as lm
    >>> from laminar import layers as L
    >>> net = lm.Sequential([L.Dense(1, kernel_initializer="ones")])
    >>> net.compile("sgd", "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     keep = ModelCheckpoint(folder + "/{epoch:02d}-{loss:.3f}.safetensors", monitor="loss")
    ...     _ = net.fit(torch.ones(4, 1), torch.ones(4), epochs=2, callbacks=keep, verbose=0)
    ...     sorted(file.name for file in Path(folder).iterdir())
    ['01-0.000.safetensors', '02-0.000.safetensors']
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        self.filepath = os.fspath(filepath)
        self._fields = _fields(self.filepath)
        self._every = _every(save_freq)
        self.save_best_only, self.verbose = save_best_only, verbose
        self._monitor = Monitor("ModelCheckpoint", monitor, mode) if save_best_only else None
        where = "ModelCheckpoint(initial_value_threshold=)"
        self.threshold = None if initial_value_threshold is None else number(where, initial_value_threshold, 0.5)
        self.best = self.threshold
        if self._every and save_best_only:
            where, received = "ModelCheckpoint(save_freq=)", f"{self._every} iterations"
            expected, fix = '"epoch" with save_best_only=True, because figures belong to epochs', "Leave one of them out"
            raise ArgumentError(complaint(where, expected=expected, received=received, fix=fix))

    def on_train_begin(self, model: nn.Module, state: State) -> None:
        """Start afresh."""
        if self._monitor is not None:
            self._monitor.check(state)
        known = ["epoch", "iteration", *(() if self._every else state.figures)]
        for field in self._fields:
            if field not in known:
                raise unknown_name(f"{_WHERE}: field", field, known)
        self.best = self.threshold

    def on_batch_end(self, model: nn.Module, state: State) -> None:
        """Save, if it is the turn of this iteration."""
        if self._every and state.iteration % self._every == 0:
            self._save(model, state)

    def on_epoch_end(self, model: nn.Module, state: State) -> None:
        """Save, if it is the turn of this epoch."""
        ended = bool(state.history.epoch) and state.history.epoch[-1] == state.epoch
        if self._every or not ended:
            return
        if self._monitor is not None:
            value = self._monitor.value(state)
            if value is None or not self._monitor.better(value, self.best):
                return
            self.best = value
        self._save(model, state)

    def _save(self, model: nn.Module, state: State) -> None:
        figures = {} if self._every else {name: values[-1] for name, values in state.history.history.items() if values}
        path = Path(self.filepath.format(**{**figures, "epoch": state.epoch, "iteration": state.iteration}))
        self._write(model, path)
        if self.verbose:
            state.note(f"Epoch {state.epoch}: saved {path}.")

    def _write(self, model: nn.Module, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            received = error.strerror or str(error)
            raise FileError(
                complaint(f"{_WHERE}: {str(path)!r}", expected="a folder", received=received, fix="Choose another path")
            ) from error
        save_weights(model, path)


def _fields(filepath: str) -> list[str]:
    """Return the names of the fields in a path, having tried its formats on numbers."""
    if not filepath.endswith(".safetensors"):
        stem = re.sub(r"(\.weights)?\.(h5|hdf5|keras|pt|pth|ckpt)$", "", filepath) or "weights"
        expected, fix = "a name that ends in .safetensors", f"Pass '{stem}.safetensors'"
        raise ArgumentError(complaint(_WHERE, expected=expected, received=f"{filepath!r}", fix=fix))
    try:
        names = [name for _, name, _, _ in Formatter().parse(filepath) if name is not None]
        filepath.format(**{name: 1 if name in ("epoch", "iteration") else 0.5 for name in names})
    except (ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        expected, fix = "fields as in '{epoch:02d}-{val_loss:.4f}.safetensors'", "Write them so"
        received = f"{filepath!r} ({error})"
        raise ArgumentError(complaint(_WHERE, expected=expected, received=received, fix=fix)) from error
    return names


def _every(save_freq: str | int) -> int:
    """Return the number of iterations between two files; 0 for "epoch"."""
    where = "ModelCheckpoint(save_freq=)"
    if isinstance(save_freq, str):
        if save_freq != "epoch":
            expected, fix = '"epoch" or a number of iterations', 'Pass save_freq="epoch"'
            raise ArgumentError(complaint(where, expected=expected, received=f"{save_freq!r}", fix=fix))
        return 0
    return positive(where, save_freq)
