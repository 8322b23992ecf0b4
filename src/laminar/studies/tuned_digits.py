"""R5's network with batch normalization, searched: optimizer, rate, filters, kernel, activation and more, on synthetic digits.

A fifth of the training images, the last ones, are what the search looks at; the test images are left for the confirmation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from laminar import layers as L
from laminar.data import digits
from laminar.layers.base import Layer
from laminar.optimizers import SGDM, Adam, Optimizer
from laminar.sequential import Sequential
from laminar.studies.digits import FIT

__all__ = ["DEFAULT", "digits_network", "search"]

DEFAULT = {
    "optimizer": "sgdm",
    "learning_rate": 0.01,
    "weight_decay": 1e-4,
    "filters": 20,
    "kernel": 5,
    "activation": "elu that learns",
    "batch_norm": True,
}
"""R5's settings."""

_VALIDATED = 1000  # training images that the search looks at


def digits_network(trial: Any) -> Sequential:
    """Return R5's network with what an Optuna trial suggests, compiled.

    >>> from optuna.trial import FixedTrial
    >>> [layer.name for layer in digits_network(FixedTrial(DEFAULT))]
    ['normalization', 'conv2d', 'batch_normalization', 'elu', 'flatten', 'dense', 'softmax']
    """
    filters, kernel = trial.suggest_int("filters", 8, 32, step=4), trial.suggest_categorical("kernel", [3, 5, 7])
    activations: dict[str, Callable[[], Layer]] = {
        "elu that learns": lambda: L.ELU("uniform", learnable=True),
        "elu": L.ELU,
        "relu": L.ReLU,
    }
    activation = activations[trial.suggest_categorical("activation", list(activations))]()
    normalization: list[Layer] = [L.BatchNormalization()] if trial.suggest_categorical("batch_norm", [True, False]) else []
    model = Sequential(
        [
            L.Normalization("zerocenter"),
            L.Conv2D(filters, kernel),
            *normalization,
            activation,
            L.Flatten(),
            L.Dense(10),
            L.Softmax(),
        ]
    )
    rate = trial.suggest_float("learning_rate", 1e-4, 0.3, log=True)
    decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    kinds: dict[str, Callable[[], Optimizer]] = {
        "sgdm": lambda: SGDM(rate, momentum=0.9, weight_decay=decay),
        "adam": lambda: Adam(rate, weight_decay=decay),
    }
    optimizer = kinds[trial.suggest_categorical("optimizer", list(kinds))]()
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def search() -> dict[str, Any]:
    """Return the arguments of `lm.tune`: 40 trials of R5's length, the winner confirmed on the test images."""
    from optuna.pruners import MedianPruner

    (x, y), test = digits()
    return {
        "build": digits_network,
        "train": (x[:-_VALIDATED], y[:-_VALIDATED]),
        "validation": (x[-_VALIDATED:], y[-_VALIDATED:]),
        "test": test,
        "metric": "accuracy",
        "default": DEFAULT,
        "trials": 40,
        "pruner": MedianPruner(n_startup_trials=6, n_warmup_steps=5),
        "confirm": 10,
        "margin": 0.002,
        **FIT,
    }
