"""What a training run is and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from laminar.fit.forward import Engine
from laminar.fit.pace import Pace
from laminar.fit.precision import Precision
from laminar.losses import Loss
from laminar.metrics import Metric
from laminar.optimizers import Optimizer

__all__ = ["History", "Recipe", "State"]


@dataclass(frozen=True)
class Recipe:
    """What `compile` fixed: how the network learns and what is reported."""

    optimizer: Optimizer
    loss: Loss
    metrics: Sequence[str | Metric | Callable[[Tensor, Tensor], Any]]
    device: torch.device
    engine: Engine
    precision: Precision


@dataclass
class History:
    """Every figure of a training run.

    Attributes:
        history: figure -> one number for each epoch ("loss", "accuracy", "val_loss", "learning_rate", ...). The training
            figures are means over the observations of the epoch, taken while the weights changed, as in Keras.
        iterations: figure -> one number for each iteration, of its mini-batch ("learning_rate": that of its step).
        epoch: the epochs that ended, from 1; the last one may have been cut short, where `stopped` says why.
        seconds: elapsed time of the whole run.
        waited: for each epoch, the share of its time that training waited for data, in [0, 1].
        stopped: why the run ended before its time; None if it did not.

    >>> h = History({"loss": [2.0, 1.0]}, epoch=[1, 2])
    >>> h.history["loss"][-1], h
    (1.0, History(2 epochs, 0.0 s: loss 1.0000))
    """

    history: dict[str, list[float]] = field(default_factory=dict)
    iterations: dict[str, list[float]] = field(default_factory=dict)
    epoch: list[int] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str | None = None
    waited: list[float] = field(default_factory=list, compare=False)

    def __repr__(self) -> str:
        """Return the last figures in one line."""
        figures = ", ".join(f"{name} {values[-1]:.4f}" for name, values in self.history.items() if values)
        epochs = f"{len(self.epoch)} epoch" if len(self.epoch) == 1 else f"{len(self.epoch)} epochs"
        return f"History({epochs}, {self.seconds:.1f} s: {figures or 'no figures'})"


@dataclass
class State:
    """Where a running fit stands; handed to callbacks, which may set `stop` and `learning_rate`.

    Attributes:
        epochs: how many epochs were asked for.
        total: iterations in all, None while unknown (a stream whose length is not told).
        pace: the optimizer and its learning rate.
        figures: the names of the figures that every epoch will have in the history. A callback that adds one of its own to
            `history.history` in `on_epoch_end` appends its name in `on_train_begin`; those passed after it may then use it.
        epoch: the current epoch, from 1.
        iteration: iterations done, over the whole run.
        history: the figures so far.
        stop: a reason to end after this iteration; None to go on.
        note: shows a remark among the rows of the table, to a person who watches.
    """

    epochs: int
    total: int | None
    pace: Pace
    figures: list[str] = field(default_factory=list)
    epoch: int = 0
    iteration: int = 0
    history: History = field(default_factory=History)
    stop: str | None = None
    note: Callable[[str], None] = print

    @property
    def learning_rate(self) -> float:
        """The base learning rate of the next step; set it to change that, for all parameters in proportion.

        Raises:
            ArgumentError: when it is set to something that is no number of at least 0, or while a schedule drives it.
        """
        return self.pace.rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.pace.rate = value

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Torch's optimizer, for those who save and restore its `state_dict`."""
        return self.pace.optimizer
