"""What the tests of callbacks share: a training whose figures are given, and a small real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.fit.pace import Pace
from laminar.fit.state import State

__all__ = ["Figures", "network", "numbers", "replay"]


def replay(
    callback: lm.Callback,
    figures: Mapping[str, Sequence[float]],
    *,
    rate: float = 0.1,
    model: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> tuple[list[float], State]:
    """Run the hooks over epochs with these figures; return the rate after each epoch, and the state at the end."""
    if optimizer is None:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate)
    network = nn.Identity() if model is None else model
    epochs = len(next(iter(figures.values())))
    state = State(epochs, None, Pace(optimizer), [*figures, "learning_rate"])
    callback.on_train_begin(network, state)
    rates = []
    for state.epoch in range(1, epochs + 1):
        callback.on_epoch_begin(network, state)
        for name, values in figures.items():
            state.history.history.setdefault(name, []).append(values[state.epoch - 1])
        state.history.history.setdefault("learning_rate", []).append(state.learning_rate)
        state.history.epoch.append(state.epoch)
        callback.on_epoch_end(network, state)
        rates.append(state.learning_rate)
        if state.stop is not None:
            break
    callback.on_train_end(network, state)
    return rates, state


class Figures(lm.Callback):
    """Adds given figures to those of a real training."""

    def __init__(self, **figures: Sequence[float]) -> None:
        self.figures = figures

    def on_train_begin(self, model: Any, state: Any) -> None:
        state.figures.extend(self.figures)

    def on_epoch_end(self, model: Any, state: Any) -> None:
        for name, values in self.figures.items():
            state.history.history.setdefault(name, []).append(values[state.epoch - 1])


def network() -> lm.Sequential:
    """Return a compiled network that has parameters, buffers and momentum."""
    model = lm.Sequential([L.Dense(4, "tanh"), L.BatchNormalization(), L.Dense(1)]).build((3,), seed=1)
    model.compile("sgdm", "mse", metrics=["mae"])
    return model


def numbers(n: int = 12) -> tuple[Tensor, Tensor]:
    """Return inputs (n, 3) and targets (n, 1)."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(n, 3, generator=generator), torch.randn(n, 1, generator=generator)
