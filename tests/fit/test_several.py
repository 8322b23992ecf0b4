"""Several outputs in training: against a loop by hand, figures by name, targets in a tuple or by name, refusals."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, LabelError, LayerError

NAMES = ["loss", "kind_loss", "amount_loss", "kind_accuracy", "amount_mean_absolute_error", "amount_mean_squared_error"]


def data(n: int = 40) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 6, generator=generator), (
        torch.randint(3, (n,), generator=generator),
        torch.randn(n, 2, generator=generator),
    )


def network(as_dict: bool = False) -> lm.Model:
    x = lm.Input(6)
    h = L.Dense(8, activation="tanh")(x)
    kind, amount = L.Dense(3, activation="softmax", name="kind")(h), L.Dense(2, name="amount")(h)
    model = lm.Model(x, {"kind": kind, "amount": amount} if as_dict else [kind, amount])
    model.compile(
        lm.optimizers.SGD(0.1),
        {"amount": "mse", "kind": "sparse_categorical_crossentropy"},
        metrics={"kind": "accuracy", "amount": ["mae", "mse"]},
        loss_weights=[1.0, 0.5],
    )
    return model


def test_training_equals_a_loop_by_hand() -> None:
    """Weights after three epochs, and every figure; the softmax is left out in training, as with one output."""
    model, (x, (k, a)) = network().build(seed=0), data()
    hand = copy.deepcopy(model)
    history = model.fit(
        x, (k, a), epochs=3, batch_size=16, shuffle=False, validation_data=(x, {"amount": a, "kind": k}), verbose=0
    )
    figures: list[list[Tensor]] = []
    for _ in range(3):
        for i in range(0, 40, 16):
            h = torch.tanh(F.linear(x[i : i + 16], hand.dense.weight, hand.dense.bias))
            logits, amount = F.linear(h, hand.kind.weight, hand.kind.bias), hand.amount(h)
            one, two = F.cross_entropy(logits, k[i : i + 16]), F.mse_loss(amount, a[i : i + 16])
            hand.zero_grad()
            (one + 0.5 * two).backward()
            with torch.no_grad():
                for p in hand.parameters():
                    p -= 0.1 * p.grad
            right = (logits.argmax(1) == k[i : i + 16]).float().mean()
            figures.append([one + 0.5 * two, one, two, right, (amount - a[i : i + 16]).abs().mean(), two])
    for mine, theirs in zip(model.parameters(), hand.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert list(history.iterations) == [*NAMES, "learning_rate"]
    for name, column in zip(NAMES, zip(*figures, strict=True), strict=True):
        torch.testing.assert_close(torch.tensor(history.iterations[name]), torch.stack(column).detach(), rtol=1e-4, atol=1e-5)
    assert set(history.history) == {*NAMES, *(f"val_{n}" for n in NAMES), "learning_rate"}
    found = model.evaluate(x, [k, a])
    assert list(found) == NAMES
    for name in NAMES:
        assert found[name] == pytest.approx(history.history[f"val_{name}"][-1], rel=1e-5)
    assert found["loss"] == pytest.approx(found["kind_loss"] + 0.5 * found["amount_loss"], rel=1e-5)


def test_a_nest_of_outputs_is_predicted_as_it_is() -> None:
    """Also with outputs in a dict whose names are not in order, streams of batches, and weights of observations."""
    model, (x, (k, a)) = network(as_dict=True), data()
    model.fit(x.numpy(), {"kind": k.numpy(), "amount": a.numpy()}, epochs=2, seed=0, verbose=0)
    found = model.predict(x.numpy())
    assert list(found) == ["kind", "amount"]
    assert (found["kind"].shape, found["amount"].shape, type(found["kind"])) == ((40, 3), (40, 2), np.ndarray)
    np.testing.assert_allclose(found["kind"].sum(1), 1, rtol=1e-5)
    stream = [(x[i : i + 8], (k[i : i + 8], a[i : i + 8])) for i in range(0, 40, 8)]
    whole = model.evaluate(x, (k, a))
    for name, value in model.evaluate(stream).items():
        assert value == pytest.approx(whole[name], rel=1e-4)
    halves = torch.cat([torch.ones(20), torch.zeros(20)])
    half = model.evaluate(x[:20], (k[:20], a[:20]))
    weighted = model.evaluate(x, (k, a), sample_weight=halves)
    for name in ("loss", "kind_loss", "amount_loss"):
        assert weighted[name] == pytest.approx(half[name] / 2, rel=1e-4)
    history = model.fit(x, (k, a), validation_split=0.25, epochs=1, verbose=0)
    assert "val_amount_loss" in history.history


def test_one_loss_for_all_outputs() -> None:
    x = lm.Input(6)
    model = lm.Model(x, [L.Dense(2, name="a")(x), L.Dense(1, name="b")(x)])
    model.compile("adam", "mse", metrics="mae")
    history = model.fit(data()[0], (data()[1][1], data()[0][:, :1]), epochs=1, verbose=0)
    assert list(history.iterations)[:5] == ["loss", "a_loss", "b_loss", "a_mean_absolute_error", "b_mean_absolute_error"]


def test_a_share_of_targets_in_a_list_or_by_name_is_held_back() -> None:
    x, (k, a) = data()
    figures = []
    for targets in ((k, a), [k, a], {"amount": a, "kind": k}):
        model = network()
        model.compile("sgd", ["sparse_categorical_crossentropy", "mse"])
        figures.append(model.fit(x, targets, validation_split=0.25, shuffle=False, seed=0, verbose=0).history)
    assert figures[0] == figures[1] == figures[2]
    assert "val_amount_loss" in figures[0]


def test_what_is_refused() -> None:
    model, (x, (k, a)) = network(), data()

    def message(function: Callable[[], Any], kind: type[Exception]) -> str:
        with pytest.raises(kind) as e:
            function()
        return str(e.value)

    each = "expected one for each output: 'kind', 'amount', received"
    fix = "Pass a list in this order, or a dict by name."
    assert message(lambda: model.compile("sgd", ["mse"]), ArgumentError) == f"compile(loss=): {each} 1. {fix}"
    assert (
        message(lambda: model.compile("sgd", {"kinds": "mse"}), ArgumentError)
        == f"compile(loss=): {each} a dict of 'kinds'. {fix}"
    )
    assert (
        message(lambda: model.compile("sgd", "mse", loss_weights=[1]), ArgumentError)
        == f"compile(loss_weights=): {each} 1. {fix}"
    )
    assert message(lambda: model.compile("sgd", "mse", metrics=["mae"]), ArgumentError) == f"compile(metrics=): {each} 1. {fix}"
    assert message(lambda: model.fit(x, k, verbose=0), ArgumentError) == f"y: {each} Tensor. {fix}"
    assert message(lambda: model.fit(x, (k + 1, a), verbose=0), LabelError).startswith("y[0]: expected")
    assert message(lambda: model.fit(x, (k, a), class_weight={0: 1.0, 1: 1.0, 2: 2.0}, verbose=0), ArgumentError) == (
        "fit(class_weight=): expected a network with one output, received 2. Pass sample_weight instead."
    )
    assert message(lambda: lm.Sequential([L.Dense(1)]).compile("sgd", "mse", loss_weights=[1]), ArgumentError) == (
        "compile(loss_weights=): expected several outputs of a network made from inputs and outputs, received another network. "
        "Leave it out, or write Model(inputs, [a, b])."
    )
    assert message(lambda: model.classify(x), LayerError) == (
        "Model.classify: expected a network with one output, received 2 outputs. Use predict, and argmax(1) of those that are classes."
    )
