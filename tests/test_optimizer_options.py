"""What all optimizers can do: clip gradients, keep running means; what they print, and what they refuse."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from torch.nn import Parameter

from laminar.errors import ArgumentError, UnknownNameError
from laminar.optimizers import OPTIMIZERS, SGD, SGDM, Adam, AdamW, Muon, Optimizer, RMSprop, put_averages_in_place
from laminar.schedules import CosineDecay

Array: TypeAlias = np.ndarray[Any, Any]


def parameters(*values: Any) -> list[Parameter]:
    return [Parameter(torch.tensor(v, dtype=torch.float64)) for v in values]


def step(optimizer: torch.optim.Optimizer, ps: list[Parameter], gs: list[Any]) -> None:
    for p, g in zip(ps, gs, strict=True):
        p.grad = torch.tensor(g, dtype=torch.float64)
    optimizer.step()


# ── clipping ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

GRADIENTS = [[3.0, 4.0], [0.3, -0.4], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ({"clipnorm": 1.0}, [[0.6, 0.8], [0.3, -0.4], [0.0, 0.0]]),
        ({"clipnorm": 10.0}, GRADIENTS),
        ({"clipvalue": 0.35}, [[0.35, 0.35], [0.3, -0.35], [0.0, 0.0]]),
        ({"global_clipnorm": 1.0}, [[3 / 25.25**0.5, 4 / 25.25**0.5], [0.3 / 25.25**0.5, -0.4 / 25.25**0.5], [0.0, 0.0]]),
        ({"global_clipnorm": 10.0}, GRADIENTS),
    ],
    ids=str,
)
def test_clipped_gradients(option: dict[str, float], expected: list[list[float]]) -> None:
    """Keras' three rules, computed by hand: by parameter, by number, over all parameters; short gradients stay as they are."""
    ps = parameters([0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0])
    optimizer = SGD(1.0, **option).create(ps)  # type: ignore[arg-type]
    step(optimizer, ps[:3], GRADIENTS)  # the last one has no gradient
    np.testing.assert_allclose([(-p).tolist() for p in ps[:3]], expected, rtol=1e-6, atol=1e-12)
    assert ps[3].tolist() == [0.0]


def test_the_penalty_is_not_clipped() -> None:
    """Weight decay pulls as strongly as it says, as in Keras."""
    (w,) = parameters([[100.0]])
    optimizer = SGD(1.0, clipnorm=1.0, weight_decay=0.1).create([w])
    step(optimizer, [w], [[[5.0]]])
    assert w.item() == pytest.approx(100 - 1 - 10)


def test_clipping_without_gradients_does_nothing() -> None:
    (w,) = parameters([1.0])
    SGD(1.0, clipnorm=1.0).create([w]).step()
    assert w.tolist() == [1.0]


# ── running means ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("every", [None, 2])
@pytest.mark.parametrize("description", ["sgd", "sgdm", "adam", "rmsprop", "adadelta", "adagrad", "muon"])
def test_running_means(description: str, every: int | None) -> None:
    """mean ← m·mean + (1 − m)·w from the first step's w; every second step it takes the place of w. Against NumPy."""
    options = {"use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": every}
    plain, averaged = OPTIMIZERS[description], type(OPTIMIZERS[description])(0.1, **options)  # type: ignore[call-arg]
    plain = type(plain)(0.1)  # type: ignore[call-arg]
    (w,), (v,) = parameters([[1.0, -2.0]]), parameters([[1.0, -2.0]])
    with_means, without = averaged.create([w]), plain.create([v])
    rng = np.random.default_rng(0)
    mean: Array | None = None
    for n in range(1, 7):
        g = rng.normal(size=(1, 2))
        step(with_means, [w], [g])
        step(without, [v], [g])
        now = v.detach().numpy().copy()
        mean = now if mean is None else 0.75 * mean + 0.25 * now
        if every and n % every == 0:
            v.data.copy_(torch.from_numpy(mean))
        np.testing.assert_allclose(w.detach().numpy(), v.detach().numpy(), rtol=1e-12)
    put_averages_in_place(with_means)
    assert mean is not None
    np.testing.assert_allclose(w.detach().numpy(), mean, rtol=1e-12)


def test_means_are_saved_with_the_optimizer() -> None:
    """Two steps, saved and loaded, two more: as four; the count of steps is saved too."""
    ends = []
    for interrupted in (False, True):
        (w,) = parameters([1.0, 2.0])
        description = Adam(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3)
        optimizer = description.create([w])
        for n in range(4):
            if interrupted and n == 2:
                state = pickle.loads(pickle.dumps(optimizer.state_dict()))
                optimizer = description.create([w])
                optimizer.load_state_dict(state)
            step(optimizer, [w], [[1.0 + n, -1.0]])
        put_averages_in_place(optimizer)
        ends.append(w.tolist())
    assert ends[0] == ends[1]


def test_a_frozen_parameter_has_no_mean_until_it_learns() -> None:
    """Its first mean is what its first step leaves."""
    w, frozen = parameters([1.0], [1.0])
    optimizer = Adam(0.5, use_ema=True, ema_momentum=0.5).create([w, frozen])
    step(optimizer, [w], [[1.0]])
    put_averages_in_place(optimizer)
    assert frozen.tolist() == [1.0]
    step(optimizer, [w, frozen], [[1.0], [1.0]])
    before = frozen.item()
    put_averages_in_place(optimizer)
    assert frozen.item() == before != 1.0


# ── descriptions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "description",
    [
        SGD(),
        SGDM(0.1, clipnorm=1.0),
        AdamW(weight_decay=0.0),
        Adam(CosineDecay(0.1, 100), use_ema=True, ema_overwrite_frequency=5),
        Muon(decay=1e-3),
    ],
    ids=str,
)
def test_what_is_printed_makes_an_equal_one(description: Optimizer) -> None:
    names = {type(description).__name__: type(description), "CosineDecay": CosineDecay}
    assert eval(repr(description), names) == description == copy.deepcopy(description)
    assert pickle.loads(pickle.dumps(description)) == description


def test_only_what_was_set_is_printed_of_the_options() -> None:
    assert repr(SGD(0.1)) == "SGD(learning_rate=0.1, momentum=0.0, nesterov=False)"
    assert (
        repr(SGD(0.1, clipvalue=0.5, decay=1e-6))
        == "SGD(learning_rate=0.1, momentum=0.0, nesterov=False, decay=1e-06, clipvalue=0.5)"
    )
    assert repr(SGDM()) == "SGDM(learning_rate=0.01, momentum=0.9, weight_decay=0.0001)"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: SGD(lr=0.01),  # type: ignore[call-arg]
            ArgumentError,
            "SGD(lr=): expected the name 'learning_rate', received 'lr'. Write learning_rate=0.01.",
        ),
        (
            lambda: RMSprop(alpha=0.9),  # type: ignore[call-arg]
            ArgumentError,
            "RMSprop(alpha=): expected the name 'rho', received 'alpha'. Write rho=0.9.",
        ),
        (
            lambda: SGD(momentun=0.9),  # type: ignore[call-arg]
            UnknownNameError,
            "SGD: argument 'momentun' is unknown. Did you mean 'momentum'? Known: clipnorm, clipvalue, decay, ema_momentum, "
            "ema_overwrite_frequency, global_clipnorm, gradient_accumulation_steps, learning_rate, momentum, nesterov, use_ema, weight_decay.",
        ),
        (
            lambda: SGD(clipnorm=0.0),
            ArgumentError,
            "SGD(clipnorm=): expected a number above 0, received 0.0. Pass clipnorm=1.0, for example.",
        ),
        (
            lambda: SGD(clipnorm=1.0, clipvalue=0.5),
            ArgumentError,
            "SGD(clipvalue=): expected one way to clip, and clipnorm is set, received 0.5. Leave one of them out, for example.",
        ),
        (
            lambda: SGD(CosineDecay(0.1, 10), decay=0.1),
            ArgumentError,
            "SGD(decay=): expected 0 beside a schedule, which says itself how the rate falls, received 0.1. "
            "Leave it out, for example.",
        ),
        (
            lambda: SGD(ema_overwrite_frequency=5),
            ArgumentError,
            "SGD(ema_overwrite_frequency=): expected a whole number of at least 1, with use_ema=True, received 5. "
            "Leave it out, for example.",
        ),
        (
            lambda: SGD(use_ema=True, ema_momentum=1.0),
            ArgumentError,
            "SGD(ema_momentum=): expected a number of at least 0 and below 1, received 1.0. Pass ema_momentum=0.99, for example.",
        ),
        (
            lambda: SGD(decay=-1.0),
            ArgumentError,
            "SGD(decay=): expected a number of at least 0, received -1.0. Pass decay=0.0, for example.",
        ),
        (
            lambda: Muon(ns_steps=0),
            ArgumentError,
            "Muon(ns_steps=): expected a whole number of at least 1 and below 100, received 0. Pass ns_steps=5, for example.",
        ),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as e:
        call()
    assert str(e.value) == message
