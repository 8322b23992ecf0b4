"""The fingerprint of a study: another one for whatever changes what is computed, the same one in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparison.small import TEST, TRAIN, still, wide
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import laminar as lm
from laminar import layers as L
from laminar.comparison.checked import networks
from laminar.comparison.compare import make_task
from laminar.comparison.digest import digest
from laminar.comparison.fingerprint import fingerprint, study_name
from laminar.model import Model

FACTOR = 2.0


class Times(lm.Layer):
    """Multiplies."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:  # (B, F)
        return x * self.factor


class TimesTwo(Times):
    """Multiplies by a number that stands outside."""

    def forward(self, x: Tensor) -> Tensor:  # (B, F)
        return x * FACTOR


def chain(
    *middle: nn.Module,
    units: int = 4,
    optimizer: Any = "sgd",
    loss: Any = "sparse_categorical_crossentropy",
    metrics: Any = "accuracy",
) -> Model:
    model = lm.Sequential([L.Dense(units), *middle, L.Dense(2, activation="softmax")])
    model.compile(optimizer, loss, metrics=metrics, device="cpu")
    return model


def taken(
    other: Callable[..., Any] = chain, train: Any = TRAIN, test: Any = TEST, **options: Any
) -> tuple[str, tuple[str, ...]]:
    """Return the fingerprint of a comparison, and its notes."""
    usual = {"metric": "accuracy", "margin": 0.01, "seeds": 8}
    task = make_task({"one": chain, "other": other}, train, test, **usual | options)
    return fingerprint(task, networks(task))


def parts(text: str) -> dict[str, str]:
    """Return part -> digest."""
    return dict(part.split(" ") for part in text.split(", "))  # type: ignore[misc]  # each has two words


USUAL = taken()


def test_the_same_comparison_has_the_same_fingerprint() -> None:
    assert taken() == USUAL == (USUAL[0], ())
    for options in ({"seeds": 99}, {"margin": 0.5}, {"stop": "fixed"}, {"baseline": "other"}):
        assert taken(**options) == USUAL, "a longer study goes on with the runs of a shorter one"
    copied = tuple(np.asfortranarray(part) for part in TRAIN)
    assert taken(train=copied) == USUAL
    assert taken(train=tuple(map(torch.from_numpy, TRAIN)))[0] != "", "tensors are data, too"


def same_code() -> Model:
    return chain()


def with_hook() -> Model:
    model = chain()
    model.layers[0].register_forward_hook(lambda module, args, output: output * 2)
    return model


def with_initial_value() -> Model:
    model = chain().build((3,), seed=0)
    with torch.no_grad():
        model.layers[0].weight[0, 0] += 1e-3
    return model


class Double(Times):
    """Has a method of the same name that computes something else."""

    def forward(self, x: Tensor) -> Tensor:  # (B, F)
        return x + x * self.factor


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (chain, lambda: chain(units=5)),
        (chain, lambda: chain(L.ReLU())),
        (lambda: chain(L.Dropout(0.1)), lambda: chain(L.Dropout(0.2))),
        (lambda: chain(L.ELU(alpha=1.0)), lambda: chain(L.ELU(alpha=0.5))),
        (lambda: chain(Times(1.0)), lambda: chain(Times(2.0))),
        (lambda: chain(Times()), lambda: chain(Double())),
        (lambda: chain(nn.LeakyReLU(0.1)), lambda: chain(nn.LeakyReLU(0.2))),
        (chain, lambda: chain(optimizer=lm.optimizers.SGD(0.02))),
        (lambda: chain(optimizer=lm.optimizers.SGD(0.02)), lambda: chain(optimizer=lm.optimizers.SGD(0.02, clipnorm=1.0))),
        (chain, lambda: chain(loss=torch.nn.CrossEntropyLoss())),
        (chain, lambda: chain(metrics=["accuracy", _error(1)])),
        (lambda: chain(metrics=["accuracy", _error(1)]), lambda: chain(metrics=["accuracy", _error(2)])),
        (chain, with_hook),
        (chain, with_initial_value),
    ],
    ids=["units", "layer", "rate", "alpha", "setting", "code", "torch", "optimizer", "clipping", "loss", "metrics", "function", "hook", "initial value"],
)  # fmt: skip
def test_another_network(one: Callable[..., Any], other: Callable[..., Any]) -> None:
    first, second = parts(taken(one)[0]), parts(taken(other)[0])
    assert first["networks"] != second["networks"]
    assert (first["data"], first["settings"]) == (second["data"], second["settings"])


def _error(power: int) -> lm.metrics.Metric:
    return lm.metrics.CustomMetric(lambda prediction, target: (prediction.argmax(1) != target).float() ** power, name="error")


def test_the_same_network_from_another_function() -> None:
    assert taken(same_code) == taken(partial(chain)) == USUAL


def test_a_number_that_code_reads_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    before = taken(lambda: chain(TimesTwo()))
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert taken(lambda: chain(TimesTwo())) != before


@pytest.mark.parametrize(
    "options",
    [{"epochs": 3}, {"class_weight": {0: 1.0, 1: 2.0}}, {"metric": "loss"}, {"seed": 1}, {"target": 0.9}, {"callbacks": [lm.callbacks.EarlyStopping("loss")]}],
    ids=["epochs", "class_weight", "metric", "seed", "target", "callbacks"],
)  # fmt: skip
def test_other_settings(options: dict[str, Any]) -> None:
    assert parts(taken(**options)[0])["settings"] != parts(USUAL[0])["settings"]


def test_settings_of_a_callback() -> None:
    patient = [taken(callbacks=[lm.callbacks.EarlyStopping("loss", patience=p)])[0] for p in (1, 1, 2)]
    assert patient[0] == patient[1] != patient[2]


def test_other_data() -> None:
    x, y = TRAIN
    moved = x.copy()
    moved[-1, -1] += 1e-6
    for train, test in (((moved, y), TEST), ((x, 1 - y), TEST), (TRAIN, (TEST[0][:-1], TEST[1][:-1])), ((x, y, y + 1.0), TEST)):
        changed = parts(taken(train=train, test=test)[0])
        assert changed["data"] != parts(USUAL[0])["data"]
        assert changed["settings"] == parts(USUAL[0])["settings"]


def test_what_is_no_array_is_its_kind_and_length_and_says_so() -> None:
    dataset = TensorDataset(*map(torch.from_numpy, TRAIN))
    text, notes = taken(train=dataset)
    assert notes == ()
    text, notes = taken(train=DataLoader(dataset, batch_size=8))
    assert text != taken(train=DataLoader(dataset, batch_size=7))[0]
    assert notes == (
        "train is a DataLoader: the fingerprint holds its type and length, so it cannot tell other data of that length.",
    )
    text, notes = taken(train=lambda seed: TRAIN)
    assert notes == ("train is a function: the fingerprint holds its code, and not what it reads.",)
    assert text != taken(train=lambda seed: (TRAIN[0], TRAIN[1]))[0]


def test_the_name_of_a_study_without_one() -> None:
    task = make_task({"with": wide, "without": still}, TRAIN, TEST, metric="accuracy", margin=0.01, seeds=8)
    assert study_name(task, "a").startswith("with, without ")
    assert study_name(task, "a") != study_name(task, "b")
    many = make_task({f"variant {k}": wide for k in range(40)}, TRAIN, TEST, metric="accuracy", margin=0.01, seeds=20)
    assert study_name(many, "a").startswith("variant 0, variant 1, variant 2, variant 3, variant 4, ... ")


# ── digests ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Settings:
    """Holds something."""

    value: Any
    other: Any = None


def test_equal_values_have_equal_digests_whatever_object_they_are() -> None:
    shared = (1, 2)
    assert digest([shared, shared]) == digest([(1, 2), (*shared,)])
    assert digest({"b", "a", "c"}) == digest({"c", "b", "a"})
    assert digest(Settings([1])) == digest(Settings([1])) != digest(Settings([2]))
    assert digest(np.float32(1)) == digest(np.float32(1)) != digest(np.float64(1))
    assert digest(torch.zeros(2)) != digest(torch.zeros(2, 1)) != digest(torch.zeros(2, dtype=torch.float64))
    assert digest(torch.arange(6).reshape(2, 3).T) == digest(torch.arange(6).reshape(2, 3).T.contiguous())
    assert digest(torch.ones(2, dtype=torch.bfloat16)) != digest(torch.zeros(2, dtype=torch.bfloat16))
    assert digest(torch.device("cpu")) == digest(torch.device("meta")), "where it runs is not what it is"
    assert digest(["ab", "c"]) != digest(["a", "bc"])
    assert digest(np.array(["x", None], dtype=object)) != digest(np.array(["y", None], dtype=object))


def test_what_holds_itself_and_what_cannot_be_pickled() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    other: list[Any] = [2]
    other.append(other)
    assert digest(ring) == digest(ring) != digest(other)
    with Path(os.devnull).open() as file:
        assert digest([file, 1]) != digest([file, 2])


def test_code_counts_and_comments_do_not() -> None:
    def made(source: str) -> Any:
        names: dict[str, Any] = {"__name__": "somewhere"}
        exec(source, names)
        return names["f"]

    plain = made("def f(x):\n    return x + 1")
    assert digest(plain) == digest(made("\n\n\ndef f(x):\n    '''Say.'''\n    # why\n    return x + 1"))
    assert digest(plain) != digest(made("def f(x):\n    return x + 2"))
    assert digest(plain) != digest(made("def f(x, y=3):\n    return x + 1"))
    assert digest(made("def f(x):\n    return [i for i in x if i in {'a', 'b'}]")) == digest(
        made("def f(x):\n    return [i for i in x if i in {'b', 'a'}]")
    )
    assert digest(made("k = 1\ndef f(x):\n    return x + k")) != digest(made("k = 2\ndef f(x):\n    return x + k"))
    assert digest(partial(plain, 1)) != digest(partial(plain, 2))
    assert digest(torch.relu) != digest(torch.sigmoid)


PROGRAM = """
import sys
sys.path[:0] = ["tests"]
import comparison.test_fingerprint as t
import laminar as lm
from laminar import layers as L

class Own(lm.Layer):
    kinds = frozenset({"a", "b", "c"})
    def forward(self, x):
        return x * 2 if "a" in {"a", "b", "c", "d"} else x

def branched():
    i = lm.Input((3,))
    h = L.Dense(4)(i)
    model = lm.Model(i, L.Dense(2)(h * 2 + L.Dense(4)(h).relu()))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy", lambda p, y: (p.argmax(1) == y).float()])
    return model

def own():
    return t.chain(Own(), L.Dropout(0.2), optimizer=lm.optimizers.Adam(lm.schedules.CosineDecay(0.1, 100)))

first = t.taken(own, callbacks=lambda: [lm.callbacks.EarlyStopping("loss")]), t.taken(branched)
assert first == (t.taken(own, callbacks=lambda: [lm.callbacks.EarlyStopping("loss")]), t.taken(branched))
print(first)
"""


@pytest.mark.slow
def test_the_same_in_every_process() -> None:
    root = Path(__file__).resolve().parents[2]
    said = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            cwd=root,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert "networks " in said.pop()
