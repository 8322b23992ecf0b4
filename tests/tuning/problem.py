"""A search so small that it takes seconds: points told apart by the product of two coordinates; also as a program to kill."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import laminar as lm
from laminar import layers as L
from laminar.model import Model
from laminar.tuning.result import Tuning

_X = np.random.default_rng(0).normal(size=(208, 3)).astype(np.float32)
_Y = (_X[:, 0] * _X[:, 1] > 0).astype(np.int64)
TRAIN, VALIDATION, TEST = (_X[:80], _Y[:80]), (_X[80:144], _Y[80:144]), (_X[144:], _Y[144:])
DEFAULT = {"units": 3, "learning_rate": 0.01, "activation": "relu"}


def suggested(trial: Any) -> dict[str, Any]:
    """Return what a trial suggests."""
    return {
        "units": trial.suggest_int("units", 1, 16),
        "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1.0, log=True),
        "activation": trial.suggest_categorical("activation", ["relu", "elu"]),
    }


def net(trial: Any) -> Model:
    """Return a compiled network."""
    of = suggested(trial)
    model = lm.Sequential([L.Dense(of["units"], activation=of["activation"]), L.Dense(2, activation="softmax")])
    model.compile(lm.optimizers.SGD(of["learning_rate"]), "sparse_categorical_crossentropy", ["accuracy"], device="cpu")
    return model


def tuned(build: Callable[..., Any] = net, **options: Any) -> Tuning:
    """Return a search of a few short trainings, in memory and without a word, where `options` do not say otherwise."""
    usual: dict[str, Any] = {
        "metric": "accuracy",
        "trials": 4,
        "store": None,
        "verbose": 0,
        "epochs": 2,
        "batch_size": 16,
        "pruner": "none",
    }
    return lm.tune(build, TRAIN, VALIDATION, **usual | options)


def main() -> None:
    """Search in a store, under a name, for so many trials."""
    store, name, trials = sys.argv[1:]
    tuned(store=store, name=name, trials=int(trials), default=DEFAULT, verbose=2)


if __name__ == "__main__":
    main()
