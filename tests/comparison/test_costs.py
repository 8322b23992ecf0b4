"""The costs of a comparison, from runs whose times are made up, and worked out by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laminar.comparison.costs import Manner, cost_table, pareto, seconds_to_target
from laminar.comparison.protocol import Protocol, make_protocol
from laminar.comparison.runs import Run

HERE = {"threads": "2", "device": "cpu", "host": "barn"}


def protocol(*names: str, **more: Any) -> Protocol:
    settings: dict[str, Any] = {"metric": "accuracy", "margin": 0.01, "seeds": 20} | more
    return make_protocol(names or ("base", "other"), **settings)


def run(variant: str, index: int, seconds: float = 1.0, **more: Any) -> Run:
    settings: dict[str, Any] = {"value": 0.9, "parameters": 100, "environment": HERE} | more
    return Run(variant, index, 7 + index, seconds=seconds, **settings)


def runs(variant: str, seconds: Iterable[float], **more: Any) -> list[Run]:
    return [run(variant, k, s, **more) for k, s in enumerate(seconds)]


# ── times ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_median_and_the_ratio() -> None:
    table = cost_table([*runs("base", [1, 2, 4]), *runs("other", [2, 8, 4])], protocol())
    assert [(c.variant, c.seconds, c.finished) for c in table.costs] == [("base", 2, 3), ("other", 4, 3)]
    (ratio,) = table.ratios
    assert (ratio.variant, ratio.baseline, ratio.pairs) == ("other", "base", 3)
    assert ratio.ratio == pytest.approx((2 * 4 * 1) ** (1 / 3))


def test_the_interval_of_the_ratio_by_hand() -> None:
    """Logarithms log 2, log 4, log 8: mean log 4, standard deviation log 2; t of 2 degrees of freedom at 97.5 % is 4.302653."""
    (ratio,) = cost_table([*runs("base", [1, 1, 1]), *runs("other", [2, 4, 8])], protocol()).ratios
    half = 4.302653 * math.log(2) / math.sqrt(3)
    assert ratio.ratio == pytest.approx(4)
    assert (ratio.low, ratio.high) == pytest.approx((4 * math.exp(-half), 4 * math.exp(half)), rel=1e-6)


def test_what_slows_a_pair_down_as_a_whole_is_not_in_the_ratio() -> None:
    load = np.exp(np.random.default_rng(0).normal(0, 1, 12))
    (ratio,) = cost_table([*runs("base", load), *runs("other", 1.5 * load)], protocol()).ratios
    assert (ratio.low, ratio.ratio, ratio.high) == pytest.approx((1.5, 1.5, 1.5))


@pytest.mark.parametrize(
    "other",
    [
        {"together": 20},
        {"environment": HERE | {"threads": "1"}},
        {"environment": HERE | {"host": "attic"}},
        {"environment": HERE | {"device": "NVIDIA H100"}},
        {"status": "diverged", "value": None},
        {"status": "failed", "value": None},
        {"seconds": 0.0},
    ],
    ids=["together", "threads", "host", "device", "diverged", "failed", "no time"],
)
def test_pairs_that_cannot_be_compared_are_left_out_of_the_ratio(other: dict[str, Any]) -> None:
    pairs = [*runs("base", [1, 1, 1]), *runs("other", [2, 2]), run("other", 2, **({"seconds": 90} | other))]
    (ratio,) = cost_table(pairs, protocol()).ratios
    assert (ratio.pairs, ratio.ratio) == (2, 2)


def test_pairs_of_a_manner_that_both_share_count_each_in_its_own() -> None:
    attic = {"environment": HERE | {"host": "attic"}}
    pairs = [run("base", 0, 1), run("base", 1, 10, **attic), run("other", 0, 2), run("other", 1, 20, **attic)]
    (ratio,) = cost_table(pairs, protocol()).ratios
    assert ratio.pairs == 2
    assert ratio.ratio == pytest.approx(2)


def test_too_few_pairs_have_no_interval() -> None:
    (one,) = cost_table([*runs("base", [1]), *runs("other", [2, 2])], protocol()).ratios
    assert (one.pairs, one.ratio, one.low, one.high) == (1, 2, None, None)
    (none,) = cost_table(runs("base", [1]), protocol()).ratios
    assert (none.pairs, none.ratio, none.low, none.high) == (0, None, None, None)


def test_times_are_those_of_the_manner_that_most_runs_share() -> None:
    at_once = [run("base", k, 0.1, together=20) for k in (3, 4)]
    cost = cost_table([*runs("base", [1, 2, 3]), *at_once], protocol()).costs[0]
    assert cost.manner == Manner(1, "2", "cpu", "barn")
    assert (cost.finished, cost.others, cost.seconds) == (5, 2, 2)


def test_failed_runs_have_no_cost() -> None:
    broken = [run("base", 2, 900, status="diverged", value=None), run("base", 3, 900, status="failed", value=None)]
    cost, none = cost_table([*runs("base", [1, 2], memory=5), *broken, run("other", 0, status="failed")], protocol()).costs
    assert (cost.finished, cost.failed, cost.seconds, cost.value, cost.memory) == (2, 2, 1.5, 0.9, 5)
    assert (none.failed, none.seconds, none.parameters, none.manner, none.value) == (1, None, None, None, None)


def test_each_contrast_has_its_ratio() -> None:
    three = protocol("a", "b", "c", baseline=[("c", "a"), ("c", "b")])
    table = cost_table([*runs("a", [1, 1]), *runs("b", [2, 2]), *runs("c", [4, 4])], three)
    assert [(r.variant, r.baseline, r.ratio) for r in table.ratios] == [("c", "a", 4), ("c", "b", 2)]


# ── the target ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def watched(index: int, values: Sequence[float | None], **more: Any) -> Run:
    elapsed = [2.0 * (k + 1) for k in range(len(values))]
    return run("base", index, elapsed[-1], history={"val_accuracy": list(values)}, elapsed=elapsed, **more)


def test_the_first_epoch_that_reaches_the_target() -> None:
    timed = protocol(target=0.8)
    assert seconds_to_target(watched(0, [0.5, 0.8, 0.7, 0.9]), timed) == 4.0
    assert seconds_to_target(watched(0, [None, 0.9]), timed) == 4.0  # the first was not finite
    assert seconds_to_target(watched(0, [0.5, 0.7]), timed) == math.inf
    assert seconds_to_target(watched(0, [0.9]), protocol()) is None
    assert seconds_to_target(run("base", 0), timed) is None


def test_a_loss_reaches_its_target_from_above() -> None:
    timed = protocol(metric="loss", target=0.3)
    assert not timed.higher_is_better
    falling = run("base", 0, history={"val_loss": [0.5, 0.3]}, elapsed=[1.0, 2.0])
    assert seconds_to_target(falling, timed) == 2.0


def test_runs_that_never_reach_it_are_counted_and_take_longer_than_any() -> None:
    fast, slow, never = [0.9], [0.1, 0.1, 0.9], [0.1]
    timed = protocol(target=0.8)
    cost = cost_table([watched(k, v) for k, v in enumerate([fast, slow, never])], timed).costs[0]
    assert (cost.reached, cost.missed, cost.to_target) == (2, 1, 6.0)
    cost = cost_table([watched(k, v) for k, v in enumerate([fast, never])], timed).costs[0]
    assert (cost.reached, cost.missed, cost.to_target) == (1, 1, None)
    cost = cost_table([watched(0, fast)], protocol()).costs[0]
    assert (cost.reached, cost.missed, cost.to_target) == (0, 0, None)


# ── the rest ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_parameters_memory_and_evaluation() -> None:
    given = zip((None, 30, 20), (5.0, 7.0, 9.0), strict=True)
    cost = cost_table([run("base", k, memory=m, evaluation=e) for k, (m, e) in enumerate(given)], protocol()).costs[0]
    assert (cost.parameters, cost.memory, cost.evaluation) == (100, 30, 7.0)


def test_the_table_goes_through_json() -> None:
    table = cost_table([*runs("base", [1, 2]), *runs("other", [2, 4])], protocol())
    plain = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    assert plain["costs"][0]["manner"] == {"together": 1, "threads": "2", "device": "cpu", "host": "barn"}
    assert plain["costs"][1]["seconds"] == 3
    assert plain["ratios"][0]["ratio"] == pytest.approx(2)
    assert json.dumps(cost_table([], protocol()).to_dict(), allow_nan=False)


# ── Pareto ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_front_goes_by_the_cost_that_is_asked_for() -> None:
    three = protocol("a", "b", "c")
    made = [
        *runs("a", [1, 1], value=0.90, parameters=300),
        *runs("b", [2, 2], value=0.95, parameters=200),
        *runs("c", [3, 3], value=0.93, parameters=100),
    ]
    table = cost_table(made, three)
    assert table.front() == ["a", "b"]
    assert table.front("parameters") == ["b", "c"]
    assert table.front("memory") == []  # it was not measured
    assert cost_table(made[:4], three).front() == ["a", "b"]  # of which there are runs


def test_equals_do_not_dominate_each_other() -> None:
    assert pareto({"a": (0.9, 1.0), "b": (0.9, 1.0), "c": (0.9, 2.0)}, higher_is_better=True) == ["a", "b"]
    assert pareto({"a": (0.9, 1.0), "b": (0.2, 2.0)}, higher_is_better=False) == ["a", "b"]


numbers = st.integers(0, 4).map(float)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8), st.booleans())
def test_the_front_by_its_definition(points: list[tuple[float, float]], higher: bool) -> None:
    named = {str(k): p for k, p in enumerate(points)}
    front = pareto(named, higher_is_better=higher)

    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        value = a[0] - b[0] if higher else b[0] - a[0]
        return value >= 0 and a[1] <= b[1] and (value > 0 or a[1] < b[1])

    assert front
    for name, point in named.items():
        assert (name in front) == (not any(beats(other, point) for other in points))
