"""R15's perceptron on CIFAR-10, searched: optimizer, rate, units, activation, batch normalization.

As in R15's listing, the last fifth of the training images is validated on, and the rate falls where the validation loss does
not; the test images are left for the confirmation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from laminar import layers as L
from laminar.callbacks import Callback, ReduceLROnPlateau
from laminar.data import cifar10
from laminar.layers.base import Layer
from laminar.optimizers import SGD, Adam, Optimizer
from laminar.sequential import Sequential
from laminar.studies.perceptron import flat

__all__ = ["DEFAULT", "callbacks", "perceptron_network", "search"]

DEFAULT = {
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "units_1": 20,
    "units_2": 15,
    "activation": "relu",
    "batch_norm": False,
}
"""R15's settings."""

_VALIDATED = 10_000  # training images that the search looks at


def perceptron_network(trial: Any) -> Sequential:
    """Return R15's network with what an Optuna trial suggests, compiled.

    >>> from optuna.trial import FixedTrial
    >>> [layer.units for layer in perceptron_network(FixedTrial(DEFAULT))]
    [20, 15, 10]
    """
    activation = trial.suggest_categorical("activation", ["relu", "elu", "tanh"])
    batch_norm = trial.suggest_categorical("batch_norm", [False, True])
    layers: list[Layer] = []
    for name in ("units_1", "units_2"):
        layers.append(L.Dense(trial.suggest_int(name, 10, 64, log=True), activation=activation))
        layers += [L.BatchNormalization()] if batch_norm else []
    model = Sequential([*layers, L.Dense(10, activation="softmax")])
    rate = trial.suggest_float("learning_rate", 1e-4, 0.3, log=True)
    kinds: dict[str, Callable[[], Optimizer]] = {
        "sgd": lambda: SGD(rate, decay=1e-6, momentum=0.9, nesterov=True),
        "adam": lambda: Adam(rate),
    }
    optimizer = kinds[trial.suggest_categorical("optimizer", list(kinds))]()
    model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def callbacks() -> list[Callback]:
    """Return what the listing trains with: the rate is divided by ten after five epochs without a lower validation loss."""
    return [ReduceLROnPlateau(monitor="val_loss", factor=0.1, patience=5)]


def search() -> dict[str, Any]:
    """Return the arguments of `lm.tune`: 40 trials of R15's 20 epochs, the winner confirmed on the test images.

    Raises:
        FileError: if the data are neither there nor to be had.
    """
    from optuna.pruners import MedianPruner

    training, test = cifar10()
    x, y = flat(training)
    return {
        "build": perceptron_network,
        "train": (x[:-_VALIDATED], y[:-_VALIDATED]),
        "validation": (x[-_VALIDATED:], y[-_VALIDATED:]),
        "test": flat(test),
        "metric": "accuracy",
        "default": DEFAULT,
        "trials": 40,
        "pruner": MedianPruner(n_startup_trials=6, n_warmup_steps=3),
        "confirm": 10,
        "margin": 0.01,
        "epochs": 20,
        "batch_size": 128,
        "callbacks": callbacks,
    }
