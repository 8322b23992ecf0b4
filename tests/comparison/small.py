"""Variants so small that a comparison of them takes seconds: points told apart by the sign of a coordinate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import laminar as lm
from laminar import layers as L
from laminar.model import Model

_X = np.random.default_rng(0).normal(size=(192, 3)).astype(np.float32)
_Y = (_X[:, 0] > 0).astype(np.int64)
TRAIN, TEST = (_X[:96], _Y[:96]), (_X[96:], _Y[96:])


def net(units: int = 8, rate: float = 0.5, *, extra: bool = False) -> Model:
    """Return a compiled network; with `extra`, a batch normalization in between."""
    middle = [L.BatchNormalization()] if extra else []
    model = lm.Sequential([L.Dense(units, activation="tanh"), *middle, L.Dense(2, activation="softmax")])
    model.compile(lm.optimizers.SGD(rate), "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    return model


def wide() -> Model:
    """Return one that learns."""
    return net(16)


def still() -> Model:
    """Return one that learns nothing."""
    return net(16, 1e-9)


def diverging() -> Model:
    """Return one whose loss is soon no number."""
    model = lm.Sequential([L.Dense(16, activation="relu"), L.Dense(2, activation="softmax")])
    model.compile(lm.optimizers.SGD(1e30), "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    return model


def compared(variants: dict[str, Callable[..., Any]], **options: Any) -> Any:
    """Return a comparison of a few short runs, in memory and without a word, where `options` do not say otherwise."""
    usual = {"metric": "accuracy", "margin": 0.01, "seeds": 6, "store": None, "verbose": 0, "epochs": 2, "batch_size": 16}
    return lm.compare(variants, TRAIN, TEST, **usual | options)
