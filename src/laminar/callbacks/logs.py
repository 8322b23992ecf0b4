"""Figures written to a table on disk while a network trains."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from laminar.errors import ArgumentError, FileError, complaint
from laminar.fit.callbacks import Callback
from laminar.fit.state import State

__all__ = ["CSVLogger"]


class CSVLogger(Callback):
    """Writes a row of figures to a CSV file at the end of every epoch.

    The first column is the epoch, from 1; the others are the figures of the history, in its order. A row is in the file as soon
    as its epoch has ended, whatever happens to the program after that.

    Args:
        filename: the file; its folder must be there.
        separator: one character between two columns.
        append: add rows to the file, if it is there, rather than start it anew.

    Raises:
        ArgumentError: if an argument cannot work; before the first step, if rows are to be added to a file of other columns.
        FileError: before the first step, if the file cannot be written.

    Source: Keras 3.

    >>> import tempfile, torch
    >>> import laminar as lm
    >>> from laminar import layers as L
    >>> net = lm.Sequential([L.Dense(1, kernel_initializer="ones")])
    >>> net.compile("sgd", "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = CSVLogger(f"{folder}/log.csv")
    ...     _ = net.fit(torch.ones(4, 1), torch.ones(4), epochs=2, callbacks=log, verbose=0)
    ...     print(Path(f"{folder}/log.csv").read_text())
    epoch,loss,learning_rate
    1,0.0,0.01
    2,0.0,0.01
    <BLANKLINE>
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        if not isinstance(separator, str) or len(separator) != 1 or separator in '\r\n"':
            fix = 'Pass separator=";", for example'
            raise ArgumentError(
                complaint("CSVLogger(separator=)", expected="one character", received=f"{separator!r}", fix=fix)
            )
        self.path, self.separator, self.append = Path(filename), separator, append

    def on_train_begin(self, model: nn.Module, state: State) -> None:
        """Write the header, if the file has none."""
        columns = ["epoch", *state.figures]
        there = self._header() if self.append else []
        if not there:
            self._write(columns, "w")
        elif there != columns:
            expected, received = f"a file of the columns {', '.join(columns)}", ", ".join(there)
            where, fix = f"CSVLogger({str(self.path)!r}, append=True)", "Choose another file"
            raise ArgumentError(complaint(where, expected=expected, received=received, fix=fix))
        elif not self.path.read_bytes().endswith(b"\n"):  # the last row was not ended
            self._write([], "a")

    def on_epoch_end(self, model: nn.Module, state: State) -> None:
        """Write a row."""
        history = state.history
        if history.epoch and history.epoch[-1] == state.epoch:
            self._write([state.epoch, *(history.history[name][-1] for name in state.figures)], "a")

    def _header(self) -> list[str]:
        """Return the columns of the file; none where there is no file."""
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                return next(csv.reader(file, delimiter=self.separator), [])
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._refused(error) from error

    def _write(self, row: Sequence[object], mode: str) -> None:
        try:  # opened for each row: nothing is left to be written or closed when a training ends with an error
            with self.path.open(mode, newline="", encoding="utf-8") as file:
                csv.writer(file, delimiter=self.separator, lineterminator="\n").writerow(row)
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> FileError:
        where, received = f"CSVLogger({str(self.path)!r})", error.strerror or str(error)
        fix = "Choose another path" if self.path.parent.exists() else f"Make the folder first: mkdir -p '{self.path.parent}'"
        return FileError(complaint(where, expected="a file that can be written", received=received, fix=fix))
