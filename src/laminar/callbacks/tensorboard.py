"""Figures for TensorBoard."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

from torch import nn

from laminar.errors import DivergedError, MissingPackageError, complaint
from laminar.fit.callbacks import Callback
from laminar.fit.state import State
from laminar.layers.core import positive

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["TensorBoard"]


class TensorBoard(Callback):
    """Writes the figures of every epoch, and where wanted of iterations and parameters, for TensorBoard to show.

    The training's figures are in the run `train`, the validation's in the run `validation`, under the same tags, so that their
    curves share a picture: `epoch_loss`, `epoch_accuracy`, `epoch_learning_rate` over epochs from 1, `batch_loss` over
    iterations from 1, and histograms named after the parameters. Look at them with `tensorboard --logdir logs`.

    Args:
        log_dir: the folder; it is made if it is not there. One folder a training: TensorBoard joins what it finds in one.
        histogram_freq: epochs between two sets of histograms of all parameters; 0 for none.
        update_freq: "epoch"; or a number n, to write the figures of every n-th iteration as well ("batch" is 1). They are
            written when their epoch ends, so that no step waits for them.

    Raises:
        MissingPackageError: if TensorBoard is not installed: `pip install "laminar[tensorboard]"`.
        ArgumentError: if an argument cannot work.

    Source: Keras 3, by way of `torch.utils.tensorboard.SummaryWriter`.

    >>> callback = TensorBoard("logs/run1")  # doctest: +SKIP
    """

    def __init__(
        self, log_dir: str | os.PathLike[str] = "logs", histogram_freq: int = 0, update_freq: str | int = "epoch"
    ) -> None:
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = positive("TensorBoard(histogram_freq=)", histogram_freq, least=0)
        words = {"epoch": 0, "batch": 1}
        known = isinstance(update_freq, str) and update_freq in words
        self._every = words[str(update_freq)] if known else positive("TensorBoard(update_freq=)", update_freq)
        if importlib.util.find_spec("tensorboard") is None:
            fix = 'Type: pip install "laminar[tensorboard]"'
            raise MissingPackageError(
                complaint("TensorBoard", expected="the package tensorboard", received="none installed", fix=fix)
            )
        self._writers: dict[str, SummaryWriter] = {}
        self._written = 0  # iterations

    def on_train_begin(self, model: nn.Module, state: State) -> None:
        """Open the files."""
        from torch.utils.tensorboard import SummaryWriter

        self._close()
        self._written = 0
        runs = ["train"] + ["validation"] * any(name.startswith("val_") for name in state.figures)
        self._writers = {run: SummaryWriter(os.path.join(self.log_dir, run)) for run in runs}

    def on_epoch_end(self, model: nn.Module, state: State) -> None:
        """Write the figures of the epoch."""
        self._write_iterations(state)
        history = state.history
        if history.epoch and history.epoch[-1] == state.epoch:
            for name in state.figures:
                run = "validation" if name.startswith("val_") else "train"
                tag = f"epoch_{name.removeprefix('val_')}"
                self._writers[run].add_scalar(tag, history.history[name][-1], state.epoch)
            if self.histogram_freq and state.epoch % self.histogram_freq == 0:
                for name, parameter in model.named_parameters():
                    self._writers["train"].add_histogram(name.replace(".", "/"), parameter.detach(), state.epoch)
        for writer in self._writers.values():
            writer.flush()  # so that a program that is killed loses nothing

    def on_divergence(self, model: nn.Module, state: State, error: DivergedError) -> None:
        """Write the figures of the iterations up to there."""
        self._write_iterations(state)
        self._close()

    def on_train_end(self, model: nn.Module, state: State) -> None:
        """Close the files."""
        self._close()

    def _write_iterations(self, state: State) -> None:
        columns = state.history.iterations
        done = len(columns.get("loss", ()))
        for i in range(self._written, done if self._every else self._written):
            if (i + 1) % self._every == 0:
                for name, values in columns.items():
                    self._writers["train"].add_scalar(f"batch_{name}", values[i], i + 1)
        self._written = done

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
