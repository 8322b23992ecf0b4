"""Callbacks against Keras': both are driven with the same figures and must do the same at the same epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from callbacks.support import replay
from hypothesis import given
from hypothesis import strategies as st
from parity.support import keras, parity
from torch import nn

import laminar as lm

# Keras 3.15 turns its own variables into arrays in a way that NumPy 2 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")

# Keras compares in float32: figures that float32 holds exactly, and differences that are no rounding away from min_delta.
FIGURES = st.lists(st.integers(0, 24).map(lambda n: n / 16), min_size=1, max_size=40)
DELTAS = st.sampled_from([0.0, 1e-4, 0.03, 0.09, -0.09])
MODES = st.sampled_from([("val_loss", "auto"), ("val_accuracy", "auto"), ("loss", "min"), ("mine", "max"), ("mine", "min")])
AUTO = {"val_accuracy": "max"}  # what Keras finds in the metrics of a compiled model, which its stand-in below has not


class Model:
    """What Keras' callbacks ask of a model; its weight tells the epoch."""

    def __init__(self, rate: float) -> None:
        self.optimizer = keras.optimizers.SGD(rate)
        self.stop_training = False
        self.weights: list[Any] = [0]
        self.saved: list[str] = []

    def get_weights(self) -> list[Any]:
        return list(self.weights)

    def set_weights(self, weights: list[Any]) -> None:
        self.weights = weights

    def save(self, path: str, overwrite: bool) -> None:
        self.saved.append(path)


def replay_keras(callback: Any, name: str, values: list[float], rate: float = 0.1) -> tuple[list[float], Model]:
    """Do what `callbacks.support.replay` does, with Keras."""
    model = Model(rate)
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(values):
        callback.on_epoch_begin(epoch)
        model.weights = [epoch + 1]
        callback.on_epoch_end(epoch, {name: value})
        rates.append(float(model.optimizer.learning_rate))
        if model.stop_training:
            break
    callback.on_train_end()
    return rates, model


class Epoch(lm.Callback):
    """Makes the weight of a network tell the epoch, before another callback looks at it."""

    def __init__(self, then: lm.Callback) -> None:
        self.then = then

    def on_train_begin(self, model: Any, state: Any) -> None:
        self.then.on_train_begin(model, state)

    def on_epoch_end(self, model: Any, state: Any) -> None:
        with torch.no_grad():
            model.weight.fill_(state.epoch)
        self.then.on_epoch_end(model, state)

    def on_train_end(self, model: Any, state: Any) -> None:
        self.then.on_train_end(model, state)


@parity
@given(
    values=FIGURES,
    monitor=MODES,
    factor=st.sampled_from([0.1, 0.5, 0.9]),
    patience=st.integers(0, 4),
    cooldown=st.integers(0, 4),
    min_delta=DELTAS,
    min_lr=st.sampled_from([0.0, 1e-3, 0.02, 0.5]),
)
def test_reduce_lr_on_plateau(
    values: list[float], monitor: tuple[str, str], factor: float, patience: int, cooldown: int, min_delta: float, min_lr: float
) -> None:
    (name, mode), options = monitor, {"factor": factor, "patience": patience, "cooldown": cooldown, "min_lr": min_lr}
    rates, _ = replay(lm.callbacks.ReduceLROnPlateau(name, mode=mode, min_delta=min_delta, **options), {name: values})
    theirs = keras.callbacks.ReduceLROnPlateau(name, mode=AUTO.get(name, mode), min_delta=min_delta, **options)
    np.testing.assert_allclose(rates, replay_keras(theirs, name, values)[0], rtol=1e-5)


@parity
@given(
    values=FIGURES,
    monitor=MODES,
    patience=st.integers(0, 4),
    min_delta=DELTAS,
    baseline=st.none() | st.sampled_from([0.3, 0.8, 1.2]),
    restore=st.booleans(),
    start=st.integers(0, 4),
)
def test_early_stopping(
    values: list[float],
    monitor: tuple[str, str],
    patience: int,
    min_delta: float,
    baseline: float | None,
    restore: bool,
    start: int,
) -> None:
    (name, mode), options = monitor, {"patience": patience, "baseline": baseline, "restore_best_weights": restore}
    model = nn.Linear(1, 1)
    own = lm.callbacks.EarlyStopping(name, min_delta, mode=mode, start_from_epoch=start, **options)
    epochs, state = replay(Epoch(own), {name: values}, model=model)
    theirs = keras.callbacks.EarlyStopping(name, min_delta, mode=AUTO.get(name, mode), start_from_epoch=start, **options)
    wanted, stopped = replay_keras(theirs, name, values)
    assert len(epochs) == len(wanted)
    assert (state.stop is not None) == stopped.stop_training
    assert model.weight.item() == stopped.weights[0]


@parity
@given(values=FIGURES, monitor=MODES, threshold=st.none() | st.sampled_from([0.3, 0.8]), best_only=st.booleans())
def test_model_checkpoint(values: list[float], monitor: tuple[str, str], threshold: float | None, best_only: bool) -> None:
    """The same epochs are written, under the same names; what is in a file of ours is another test's."""
    (name, mode), saved = monitor, list[str]()
    options = {"save_best_only": best_only, "initial_value_threshold": threshold, "mode": mode}
    pattern = f"{{epoch:02d}}-{{{name}:.4f}}"
    own = lm.callbacks.ModelCheckpoint(f"{pattern}.safetensors", name, **options)
    own._write = lambda model, path: saved.append(path.stem)  # type: ignore[method-assign]  # not to the disk
    replay(own, {name: values})
    options["mode"] = AUTO.get(name, mode)
    _, model = replay_keras(keras.callbacks.ModelCheckpoint(f"{pattern}.keras", name, **options), name, values)
    assert saved == [path.removesuffix(".keras") for path in model.saved]


@parity
@given(
    rates=st.lists(st.floats(1e-6, 2), min_size=1, max_size=9),
    kind=st.sampled_from(["epoch", "epoch, lr", "epoch, lr=None"]),
)
def test_learning_rate_scheduler(rates: list[float], kind: str) -> None:
    schedule: Any = {
        "epoch": lambda epoch: rates[epoch],
        "epoch, lr": lambda epoch, lr: 0.5 * lr + rates[epoch],
        "epoch, lr=None": lambda epoch, lr=None: 0.5 * lr + rates[epoch],
    }[kind]
    values = [0.0] * len(rates)
    own, _ = replay(lm.callbacks.LearningRateScheduler(schedule), {"loss": values})
    theirs, _ = replay_keras(keras.callbacks.LearningRateScheduler(schedule), "loss", values)
    np.testing.assert_allclose(own, theirs, rtol=1e-5)


def test_every_metric_of_keras_tells_which_way_is_better_as_ours_do_by_name() -> None:
    looked_at = 0
    for kind in vars(keras.metrics).values():
        try:
            metric = kind()
        except TypeError:  # no metric, or one with arguments of its own
            continue
        direction = getattr(metric, "_direction", None)
        if direction is not None:
            stop = lm.callbacks.EarlyStopping(metric.name, patience=9)
            replay(stop, {metric.name: [1.0, 2.0]})
            assert stop.best_epoch == (2 if direction == "up" else 1), metric.name
            looked_at += 1
    assert looked_at > 20
