"""What is wrong with variants, data and settings is said before the first run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, LaminarError

X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


def network(*layers: Any) -> lm.Sequential:
    model = lm.Sequential([*layers, L.Dense(2)])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def refused(variants: Any = None, train: Any = (X, Y), test: Any = (X, Y), **options: Any) -> str:
    variants = variants or {"plain": network, "deep": lambda: network(L.Dense(3))}
    settings: dict[str, Any] = {"metric": "accuracy", "margin": 0.01, "seeds": 6, "store": None, "verbose": 0} | options
    with pytest.raises(LaminarError) as error:
        lm.compare(variants, train, test, **settings)
    return str(error.value)


def shared_layer() -> Callable[[], lm.Sequential]:
    shared = L.Dense(3)
    return lambda: network(shared)


def shared_network() -> Callable[[], lm.Sequential]:
    shared = network()
    return lambda: shared


@pytest.mark.parametrize(
    ("make", "received"),
    [(shared_layer, "layer 'dense' in both of two networks"), (shared_network, "layer 'dense' in both of two networks")],
)
def test_runs_that_would_go_on_from_what_others_have_learned(make: Any, received: str) -> None:
    """Else the first run starts from its seed, and each later one from the end of the one before."""
    assert refused({"plain": network, "shared": make()}) == (
        f"compare(variants=): variant 'shared': expected a new network from each call, received {received}. Make it inside "
        "of the function: what one run has learned must not reach the next."
    )


def test_what_does_not_learn_may_be_shared() -> None:
    activation, frozen = L.ReLU(), L.Dense(3)
    network(frozen).build((3,))
    frozen.requires_grad_(requires_grad=False)
    variants = {"plain": network, "shared": lambda: network(frozen, activation)}
    found = lm.compare(variants, (X, Y), (X, Y), metric="accuracy", margin=0.01, seeds=6, store=None, verbose=0)
    assert all(run.status == "finished" for run in found.runs)


@pytest.mark.parametrize("side", ["train", "test"])
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, "x: expected numbers, received None. Pass an array or a tensor."),
        ("digits.csv", "x: expected numbers, received text (dtype <U10). Read the data first."),
        (X, "y: expected labels, received none. Pass y, or data that yields (x, y)."),
        (
            iter([(X, Y)]),
            "x: expected something that can be iterated again for every epoch, received a list_iterator, which can be iterated "
            "once. Pass list(x), or an object with an __iter__ method.",
        ),
    ],
    ids=["None", "a name", "no labels", "an iterator"],
)
def test_what_is_no_data(side: str, data: Any, text: str) -> None:
    """Else every run fails of it, one after the other."""
    assert refused(**{side: data}) == f"compare({side}=), variant 'plain': {text}"


@pytest.mark.parametrize("callbacks", [3, lambda: 3])
def test_what_is_no_callback(callbacks: Any) -> None:
    text = "fit(callbacks=): expected instances of laminar.Callback, received int. Derive its class from laminar.Callback."
    assert refused(callbacks=callbacks) == text
    with pytest.raises(ArgumentError) as error:
        network().fit(X, Y, callbacks=3)
    assert str(error.value) == text


@pytest.mark.parametrize("callbacks", [None, lambda: None], ids=["None", "a function"])
def test_no_callbacks(callbacks: Any) -> None:
    variants = {"plain": network, "deep": lambda: network(L.Dense(3))}
    options: dict[str, Any] = {"metric": "accuracy", "margin": 0.01, "seeds": 6, "store": None, "verbose": 0}
    found = lm.compare(variants, (X, Y), (X, Y), callbacks=callbacks, **options)
    assert all(run.status == "finished" for run in found.runs)


def test_what_is_no_store() -> None:
    assert refused(store=3) == (
        'store: expected a file or a PostgreSQL URL, received 3. Pass "laminar.db", "postgresql://user@host/database", or None '
        "for memory."
    )


def test_a_result_says_why_runs_failed_and_its_report_makes_its_folder(tmp_path: Path) -> None:
    variants = {"plain": network, "deep": lambda: network(L.Dense(3))}
    options: dict[str, Any] = {"metric": "accuracy", "margin": 0.01, "seeds": 6, "store": None, "verbose": 0, "seed": -1}
    found = lm.compare(variants, (X, Y), (X, Y), callbacks=lm.callbacks.EarlyStopping(), **options)
    why = "ArgumentError: EarlyStopping(monitor=): expected validation data, received 'val_loss' without them."
    for name in variants:
        assert f"1 run of {name!r} did not finish: {why}" in str(found)
        assert f"1 run of {name!r} did not finish: {why}" in found.to_markdown()
    assert found.report(tmp_path / "new" / "folder" / "report.html").is_file()
