"""Variants that are trained in different ways: each with arguments of fit of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import laminar as lm
from laminar import layers as L
from laminar.comparison.checked import networks
from laminar.comparison.compare import make_task
from laminar.comparison.fingerprint import fingerprint
from laminar.comparison.task import execute
from laminar.errors import LaminarError

X = np.random.default_rng(0).normal(size=(96, 3)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


def net() -> lm.Sequential:
    model = lm.Sequential([L.Dense(2)])
    model.compile(lm.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Slower(lm.Callback):
    """Halves the rate after each epoch."""

    def on_epoch_end(self, model: Any, state: Any) -> None:
        state.learning_rate /= 2


def task(own: Any, **fit: Any) -> Any:
    variants = {"plain": net, "other": (net, own)}
    return make_task(variants, (X, Y), (X, Y), metric="loss", margin=0.01, seeds=8, **fit)


def test_each_variant_is_trained_in_its_own_way() -> None:
    declared = task({"batch_size": 32, "epochs": 3, "callbacks": Slower}, epochs=2)
    plain, other = execute(declared, "plain", 0), execute(declared, "other", 0)
    assert len(plain.history["loss"]) == 2
    assert other.history["learning_rate"] == [0.1, 0.05, 0.025]
    model = lm.Sequential([L.Dense(2)])
    model.compile(lm.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(X, Y, batch_size=32, epochs=3, callbacks=Slower(), seed=plain.seed, verbose=0)
    assert history.history["loss"] == other.history["loss"]


def test_it_is_part_of_what_is_declared() -> None:
    declared = task({"batch_size": 32}, epochs=2)
    assert declared.protocol.own == {"other": {"batch_size": "32"}}
    texts = {fingerprint(t, networks(t))[0] for t in (declared, task({"batch_size": 48}, epochs=2), task({}, epochs=2))}
    assert len(texts) == 3
    found = lm.compare(
        {"plain": net, "other": (net, {"batch_size": 32})},
        (X, Y),
        (X, Y),
        metric="loss",
        margin=0.01,
        seeds=8,
        store=None,
        verbose=0,
    )
    assert "'other' has batch_size=32 of its own" in found.again
    assert found["other"].word == "better"  # three steps in place of one


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"batchsize": 3},
            "compare(variants=): fit of variant 'other': argument 'batchsize' is unknown. Did you mean 'batch_size'? Known: "
            "batch_size, callbacks, class_weight, drop_last, epochs, log_every, shuffle, validation_data, validation_split, verbose.",
        ),
        (
            {"seed": 3},
            "compare(variants=): fit of variant 'other'(seed=): expected none: the seeds of runs come from that of the "
            "comparison, received int. Leave it out.",
        ),
        (
            {"epochs": 0},
            "compare(variants=): fit of variant 'other'(epochs=): expected a whole number of at least 1, received 0. Pass 1 or more.",
        ),
        (
            3,
            f"compare(variants=): variant 'other': expected a function, or a pair of it and arguments of fit by name, received "
            f'({net!r}, 3). Pass (make, {{"batch_size": 32}}).',
        ),
    ],
    ids=["unknown", "seed", "epochs", "pair"],
)
def test_what_cannot_work_is_said(given: Any, message: str) -> None:
    with pytest.raises(LaminarError) as caught:
        task(given)
    assert str(caught.value) == message
