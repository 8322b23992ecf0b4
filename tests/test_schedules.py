"""Schedules against their formulas in words, what they refuse, and how they print themselves."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from laminar import schedules as S
from laminar.errors import ArgumentError, UnknownNameError
from laminar.optimizers import SGD


def test_time_based_decay_is_the_documents() -> None:
    """R6: lr = lr₀ / (1 + decay·iterations)."""
    schedule = S.InverseTimeDecay(0.01, 1, 1e-2)
    assert [schedule(n) for n in (0, 1, 100)] == [0.01, 0.01 / 1.01, 0.005]


def test_one_cycle_in_epochs_ends_with_the_last_one() -> None:
    """Its last step is the end of the last epoch; in iterations it is the last iteration."""
    schedule = S.OneCycle(1.0, 10, div_factor=10, final_div_factor=10, per="epoch")
    assert [round(schedule(n), 6) for n in (0, 3, 10, 12)] == [0.1, 1.0, 0.01, 0.01]


def test_one_cycle_whose_way_up_is_one_step_starts_at_the_top() -> None:
    """Where torch divides by zero."""
    assert S.OneCycle(1.0, 10, pct_start=0.1)(0) == 1.0


def test_piecewise_constant_in_epochs_changes_with_the_epoch() -> None:
    """In iterations Keras' rule holds: the step after `boundary` iterations still has the rate before."""
    values = [0.1, 0.01]
    assert [S.PiecewiseConstantDecay([2], values)(n) for n in (1, 2, 3)] == [0.1, 0.1, 0.01]
    assert [S.PiecewiseConstantDecay([2], values, per="epoch")(n) for n in (1.99, 2.0)] == [0.1, 0.01]


ALL: list[S.Schedule] = [
    S.ExponentialDecay(0.1, 10, 0.5, staircase=True),
    S.StepDecay(0.1, 10),
    S.InverseTimeDecay(0.1, 10, 0.5, per="epoch"),
    S.PolynomialDecay(0.1, 10),
    S.CosineDecay(0.0, 10, warmup_target=0.1, warmup_steps=5),
    S.CosineDecayRestarts(0.1, 10),
    S.PiecewiseConstantDecay([10, 20], [0.1, 0.01, 0.001]),
    S.OneCycle(0.1, 10, anneal_strategy="linear"),
]


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: type(s).__name__)
def test_what_is_printed_makes_an_equal_one(schedule: S.Schedule) -> None:
    """And so do copies and pickles."""
    assert eval(repr(schedule), vars(S)) == schedule
    assert copy.deepcopy(schedule) == schedule == pickle.loads(pickle.dumps(schedule))
    assert all(isinstance(schedule(n), float) for n in range(50))


def test_every_schedule_is_looked_at() -> None:
    classes = {
        v for v in vars(S).values() if isinstance(v, type) and issubclass(v, S.Schedule) and not v.__name__.startswith("_")
    }
    assert classes - {S.Schedule, S.Function} == {type(s) for s in ALL}


def test_functions() -> None:
    """A plain function is a schedule of iterations and prints its name; Function counts epochs too."""

    def slower(n: float) -> float:
        return 0.1 / (1 + n)

    assert repr(SGD(slower)).startswith("SGD(learning_rate=Function(test_functions.<locals>.slower), ")
    assert repr(S.Function(slower, per="epoch")).endswith("slower, per='epoch')")
    assert S.Function(math.sqrt)(4) == 2.0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: S.ExponentialDecay(-0.1, 10, 0.5),
            ArgumentError,
            "ExponentialDecay(initial_learning_rate=): expected a number of at least 0, received -0.1. "
            "Pass initial_learning_rate=1.0, for example.",
        ),
        (
            lambda: S.StepDecay(0.1, 0),
            ArgumentError,
            "StepDecay(decay_steps=): expected a number above 0, received 0. Pass decay_steps=1.0, for example.",
        ),
        (
            lambda: S.StepDecay(0.1, 10, gamma=0.5),  # type: ignore[call-arg]
            UnknownNameError,
            "StepDecay: argument 'gamma' is unknown. Known: decay_rate, decay_steps, initial_learning_rate, per.",
        ),
        (
            lambda: S.StepDecay(0.1, 10, per="step"),  # type: ignore[arg-type]
            ArgumentError,
            'StepDecay(per=): expected "iteration" or "epoch", received \'step\'. Pass per="epoch", for example.',
        ),
        (
            lambda: S.CosineDecay(0.1, 10, warmup_steps=5),
            ArgumentError,
            "CosineDecay(warmup_steps=): expected a warmup_target to warm up to, received 5. "
            "Pass warmup_target=0.1, with initial_learning_rate=0, for example.",
        ),
        (
            lambda: S.CosineDecay(0.1, 10, warmup_target="high"),  # type: ignore[arg-type]
            ArgumentError,
            "CosineDecay(warmup_target=): expected a number of at least 0 or None, received 'high'. "
            "Pass warmup_target=1.0, for example.",
        ),
        (
            lambda: S.CosineDecayRestarts(0.1, 10, t_mul=0.5),
            ArgumentError,
            "CosineDecayRestarts(t_mul=): expected a number of at least 1, received 0.5. Pass t_mul=2.0, for example.",
        ),
        (
            lambda: S.PiecewiseConstantDecay([10, 5], [1, 2, 3]),
            ArgumentError,
            "PiecewiseConstantDecay(boundaries=): expected numbers that rise, received (10, 5). Pass [5, 10], for example.",
        ),
        (
            lambda: S.PiecewiseConstantDecay([10], [0.1]),
            ArgumentError,
            "PiecewiseConstantDecay(values=): expected 2 rates for 1 boundaries, received (0.1,). "
            "Pass boundaries=[100], values=[0.1, 0.01], for example.",
        ),
        (
            lambda: S.PiecewiseConstantDecay(10, [0.1]),  # type: ignore[arg-type]
            ArgumentError,
            "PiecewiseConstantDecay(boundaries=): expected a list of numbers of at least 0, received 10. "
            "Pass boundaries=[100], values=[0.1, 0.01], for example.",
        ),
        (
            lambda: S.OneCycle(0.1, 100, pct_start=1.0),
            ArgumentError,
            "OneCycle(pct_start=): expected a number above 0 and below 1, received 1.0. Pass pct_start=0.3, for example.",
        ),
        (
            lambda: S.OneCycle(0.1, 100, pct_start=0.6, three_phase=True),
            ArgumentError,
            "OneCycle(pct_start=): expected at most 0.5 with three_phase=True, to be back before the end, received 0.6. "
            "Pass pct_start=0.3, for example.",
        ),
        (
            lambda: S.OneCycle(0.1, 100, anneal_strategy="cosine"),  # type: ignore[arg-type]
            ArgumentError,
            'OneCycle(anneal_strategy=): expected "cos" or "linear", received \'cosine\'. '
            'Pass anneal_strategy="cos", for example.',
        ),
        (
            lambda: S.Function(0.1),  # type: ignore[arg-type]
            ArgumentError,
            "Function(function=): expected a function from iterations to a rate, received 0.1. "
            "Pass lambda n: 0.1 / (1 + n), for example.",
        ),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as e:
        call()
    assert str(e.value) == message
