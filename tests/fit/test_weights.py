"""Weights of observations and classes, against losses weighted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import laminar as lm
from laminar import layers as L
from laminar.optimizers import SGDM

N, BATCH = 22, 8


def arrays() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, 5)).astype(np.float32), rng.integers(0, 3, N)


def weighted_by_hand(weight: Tensor, epochs: int = 2) -> list[float]:
    """Train with Σ wᵢ·lᵢ / B by hand, and return the losses."""
    x, y = (torch.from_numpy(a) for a in arrays())
    model = lm.Sequential([L.Dense(6, "tanh"), L.Dense(3)]).build((5,), seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(epochs):
        for a, b, w in zip(x.split(BATCH), y.split(BATCH), weight.split(BATCH), strict=True):
            loss = (F.cross_entropy(model(a), b, reduction="none") * w).sum() / len(b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def weighted(**settings: Any) -> list[float]:
    x, y = settings.pop("data", arrays())
    model = lm.Sequential([L.Dense(6, "tanh"), L.Dense(3, "softmax")])
    model.compile(SGDM(0.1, momentum=0.0, weight_decay=0.0), "sparse_categorical_crossentropy")
    options = {"epochs": 2, "batch_size": BATCH, "shuffle": False, "seed": 0, "verbose": 0}
    return model.fit(x, y, **options, **settings).iterations["loss"]


def test_sample_and_class_weights_are_those_of_a_loss_weighted_by_hand() -> None:
    """Alone and multiplied; from a dict, a list, and with one-hot labels; from a Dataset that yields them."""
    x, y = arrays()
    sample = torch.linspace(0, 2, N)
    by_class = {0: 0.5, 1: 2.0, 2: 3.0}
    of_class = torch.tensor([by_class[int(label)] for label in y])
    close = {"rel": 1e-5}
    assert weighted(sample_weight=sample.numpy()) == pytest.approx(weighted_by_hand(sample), **close)
    assert weighted(sample_weight=sample.tolist()) == pytest.approx(weighted_by_hand(sample), **close)
    for labels in (y, np.eye(3)[y]):
        assert weighted(data=(x, labels), class_weight=by_class) == pytest.approx(weighted_by_hand(of_class), **close)
    assert weighted(class_weight=[0.5, 2.0, 3.0]) == pytest.approx(weighted_by_hand(of_class), **close)
    both = weighted(sample_weight=sample, class_weight=by_class)
    assert both == pytest.approx(weighted_by_hand(sample * of_class), **close)
    triples = TensorDataset(torch.from_numpy(x), torch.from_numpy(y), sample)
    assert weighted(data=(triples, None)) == pytest.approx(weighted_by_hand(sample), **close)
    loader = DataLoader(triples, BATCH)
    assert weighted(data=(loader, None), class_weight=by_class) == pytest.approx(both, **close)


def test_class_weights_of_yes_and_no() -> None:
    """A single output: labels are 0 and 1, (N,) or (N, 1)."""
    x, y = arrays()
    yes = (y == 1).astype(np.int64)
    expected = np.where(yes, 5.0, 0.5)
    losses = []
    for labels, settings in [
        (yes, {"sample_weight": expected}),
        (yes, {"class_weight": {0: 0.5, 1: 5.0}}),
        (yes[:, None].astype(np.float32), {"class_weight": {0: 0.5, 1: 5.0}}),
    ]:
        model = lm.Sequential([L.Dense(1, "sigmoid")])
        model.compile("sgd", "binary_crossentropy")
        losses.append(model.fit(x, labels, seed=0, verbose=0, **settings).iterations["loss"])
    assert losses[0] == losses[1] == losses[2]


def test_a_callers_zero_weights_leave_observations_out() -> None:
    x, y = arrays()
    weight = np.ones(N)
    weight[5:] = 0
    model = lm.Sequential([L.Dense(3)]).build((5,), seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    few, all_of_them = model.evaluate(x[:5], y[:5]), model.evaluate(x, y, sample_weight=weight)
    assert all_of_them["loss"] == pytest.approx(few["loss"] * 5 / N)
    assert all_of_them["accuracy"] == pytest.approx(model.evaluate(x, y)["accuracy"])  # metrics are not weighted
