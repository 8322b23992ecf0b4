"""ReduceLROnPlateau and LearningRateScheduler; `tests/parity/test_callbacks.py` compares them with Keras."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from callbacks.support import network, numbers, replay
from torch import nn

import laminar as lm
from laminar.callbacks import LearningRateScheduler, ReduceLROnPlateau
from laminar.errors import ArgumentError, UnknownNameError


def test_row_15s_call_divides_the_rate_by_ten_after_five_epochs_on_a_plateau() -> None:
    losses = [2.0, 1.5, *[1.5] * 5, *[1.4] * 6]
    rates, _ = replay(ReduceLROnPlateau(monitor="val_loss", factor=0.1, patience=5), {"val_loss": losses}, rate=0.01)
    assert rates == pytest.approx([0.01] * 6 + [0.001] * 6 + [0.0001])


def test_cooldown_and_the_smallest_rate() -> None:
    options: dict[str, Any] = {"factor": 0.5, "patience": 1, "cooldown": 2, "min_lr": 0.02}
    rates, _ = replay(ReduceLROnPlateau("loss", **options), {"loss": [1.0] * 12}, rate=0.1)
    assert rates == pytest.approx([0.1, *[0.05] * 2, *[0.025] * 2, *[0.02] * 7], rel=1e-12)


@pytest.mark.parametrize("kind", ["groups", "tensor", "factory"])
def test_optimizers_of_torch_that_people_bring_along(kind: str) -> None:
    """Two groups keep their ratio, a rate in a tensor stays in it, a function makes one: the steps are taken with the new rate."""
    x, y = numbers()
    model = network()
    first, *others = model.parameters()
    rate = torch.tensor(0.1)
    made: Any = {
        "groups": lambda: torch.optim.SGD([{"params": others}, {"params": [first], "lr": 0.4}], lr=0.1),
        "tensor": lambda: torch.optim.Adam(model.parameters(), lr=rate, capturable=False, foreach=False),
        "factory": lambda: functools.partial(torch.optim.RMSprop, lr=0.1),
    }[kind]()
    model.compile(made, "mse")
    reduce = ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)
    history = model.fit(x, y, epochs=3, callbacks=reduce, verbose=0)
    assert history.history["learning_rate"] == pytest.approx([0.1, 0.1, 0.05])
    if kind == "groups":
        assert [group["lr"] for group in made.param_groups] == pytest.approx([0.025, 0.1])
    if kind == "tensor":
        assert rate.item() == pytest.approx(0.025)


def test_it_tells_of_a_reduction(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = numbers()
    reduce = ReduceLROnPlateau("loss", patience=1, min_delta=1e9, verbose=1)
    network().fit(x, y, epochs=2, callbacks=reduce, verbose=2)
    assert r"Epoch 2: loss is on a plateau, learning rate 0.01 \u2192 0.001." in capsys.readouterr().out


@pytest.mark.parametrize("make", [lambda: ReduceLROnPlateau("loss"), lambda: LearningRateScheduler(lambda epoch: 0.1)])
def test_a_rate_that_a_schedule_drives_is_refused_before_the_first_step(make: Any) -> None:
    x, y = numbers()
    model = network()
    model.compile(lm.optimizers.SGD(lm.schedules.ExponentialDecay(0.1, 10, 0.5)), "mse")
    with pytest.raises(ArgumentError, match="schedule"):
        model.fit(x, y, callbacks=make(), verbose=0)
    assert model.history is not None
    assert not any(model.history.iterations.values())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"factor": 1.0}, "ReduceLROnPlateau(factor=): expected a number above 0 and below 1, received 1.0. Pass factor=0.1, for example."),
        ({"factor": 0}, "ReduceLROnPlateau(factor=): expected a number above 0 and below 1, received 0. Pass factor=0.1, for example."),
        ({"patience": -1}, "ReduceLROnPlateau(patience=): expected a whole number of at least 0, received -1. Pass 0 or more."),
        ({"cooldown": 0.5}, "ReduceLROnPlateau(cooldown=): expected a whole number of at least 0, received 0.5. Pass 0 or more."),
        ({"min_lr": -0.1}, "ReduceLROnPlateau(min_lr=): expected a number of at least 0, received -0.1. Pass min_lr=1e-06, for example."),
    ],
)  # fmt: skip
def test_arguments_that_cannot_work(options: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as e:
        ReduceLROnPlateau(**options)
    assert str(e.value) == text


def test_an_unknown_figure() -> None:
    x, y = numbers()
    with pytest.raises(UnknownNameError) as e:
        network().fit(x, y, callbacks=ReduceLROnPlateau("lose", mode="min"), verbose=0)
    assert str(e.value) == (
        "ReduceLROnPlateau(monitor=): figure 'lose' is unknown. Did you mean 'loss'? Known: learning_rate, loss, mean_absolute_error."
    )


# ── LearningRateScheduler ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (lambda epoch: 0.1 / (1 + epoch), [0.1, 0.05, 0.1 / 3]),
        (lambda epoch, lr: lr * 0.5, [0.005, 0.0025, 0.00125]),
        (lambda epoch, lr=None: np.float32(0.5), [0.5] * 3),
        (functools.partial(lambda scale, epoch: scale * epoch, 2), [0.0, 2.0, 4.0]),
    ],
)
def test_the_rate_is_what_the_function_says(schedule: Any, rates: list[float]) -> None:
    """The epoch counts from 0, as in Keras."""
    x, y = numbers()
    history = network().fit(x, y, epochs=3, callbacks=LearningRateScheduler(schedule), verbose=0)
    assert history.history["learning_rate"] == pytest.approx(rates)


def test_an_error_inside_the_function_is_the_users_own() -> None:
    """Also a TypeError, which must not be taken for a function of another signature."""

    def schedule(epoch: int, lr: float) -> float:
        return len(epoch)  # type: ignore[arg-type]  # what is tested

    x, y = numbers()
    with pytest.raises(TypeError, match=r"object of type 'int' has no len\(\)"):
        network().fit(x, y, callbacks=LearningRateScheduler(schedule), verbose=0)


@pytest.mark.parametrize("wrong", [None, "0.1", -1.0, math.nan, True])
def test_a_function_that_returns_no_rate(wrong: Any) -> None:
    x, y = numbers()
    with pytest.raises(ArgumentError) as e:
        network().fit(x, y, callbacks=LearningRateScheduler(lambda epoch: wrong), verbose=0)
    assert str(e.value) == (
        f"LearningRateScheduler(schedule=), epoch 0: expected a number of at least 0, received {wrong!r}. "
        "Return a rate such as 0.01 from the function."
    )


def three(a: int, b: int, c: int) -> float:
    return 0.1


@pytest.mark.parametrize(("wrong", "received"), [(0.1, "0.1"), (three, "one of (a, b, c)")])
def test_something_that_is_no_such_function(wrong: Any, received: str) -> None:
    with pytest.raises(ArgumentError) as e:
        LearningRateScheduler(wrong)
    assert str(e.value) == (
        f"LearningRateScheduler(schedule=): expected a function of (epoch) or (epoch, rate), received {received}. "
        "Pass lambda epoch: 0.1 * 0.5 ** (epoch // 10), for example."
    )


def test_the_rate_stays_for_the_next_fit() -> None:
    """As in Keras: the optimizer is the network's, and the callback has set its rate."""
    x, y = numbers()
    model = network()
    model.fit(x, y, callbacks=LearningRateScheduler(lambda epoch: 0.5), verbose=0)
    assert model.fit(x, y, verbose=0).history["learning_rate"] == [0.5]
    assert isinstance(model, nn.Module)
