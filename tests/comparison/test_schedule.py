"""What is still to run."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from laminar.comparison.protocol import Protocol, make_protocol
from laminar.comparison.schedule import pending
from laminar.comparison.verdicts import judge


def declared(variants: list[str], seeds: int = 8, stop: str = "early") -> Protocol:
    return make_protocol(variants, metric="accuracy", margin=0.01, seeds=seeds, stop=stop)


def test_pairs_come_one_after_the_other() -> None:
    assert pending({}, declared(["a", "b", "c"], 2)) == [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("b", 1), ("c", 1)]


def test_gaps_are_filled_first() -> None:
    values = {"a": {0: 0.9, 2: 0.9}, "b": {1: 0.9, 2: 0.8}}
    assert pending(values, declared(["a", "b"], 4)) == [("b", 0), ("a", 1), ("a", 3), ("b", 3)]


def test_nothing_is_left_when_all_have_run() -> None:
    values = {name: dict.fromkeys(range(8), 0.9) for name in "ab"}
    assert pending(values, declared(["a", "b"], stop="fixed")) == []


def test_a_variant_whose_verdict_is_known_is_left_out() -> None:
    """b is far worse and decided after few pairs; c needs more, and with it the baseline."""
    rng = np.random.default_rng(0)
    values = {
        "a": {k: 0.95 + 0.01 * rng.normal() for k in range(10)},
        "b": {k: 0.55 + 0.01 * rng.normal() for k in range(10)},
        "c": {k: 0.951 + 0.01 * rng.normal() for k in range(10)},
    }
    protocol = declared(["a", "b", "c"], 20)
    assert [v.decided for v in judge(values, protocol)] == [True, False]
    assert {name for name, _ in pending(values, protocol)} == {"a", "c"}
    fixed = declared(["a", "b", "c"], 20, "fixed")
    assert {name for name, _ in pending(values, fixed)} == {"a", "b", "c"}


def test_an_early_end_leaves_nothing() -> None:
    values = {"a": {k: 0.9 + k / 1000 for k in range(10)}, "b": dict.fromkeys(range(10), 0.5)}
    assert pending(values, declared(["a", "b"], 20)) == []


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.01, 0.05]))
@settings(max_examples=3)
def test_whoever_makes_the_runs_in_whatever_order_the_verdicts_are_the_same(seed: int, effect: float) -> None:
    """Runs made in the order of `pending`, and runs that several workers make ahead of it and hand in late."""
    rng = np.random.default_rng(seed)
    protocol = declared(["a", "b", "c"], 12)
    every = {
        "a": rng.normal(0.9, 0.01, 12),
        "b": rng.normal(0.9 + effect, 0.01, 12),
        "c": rng.normal(0.91, 0.01, 12),
    }

    def made(ahead: int) -> dict[str, dict[int, float]]:
        values: dict[str, dict[int, float]] = {name: {} for name in every}
        while left := pending(values, protocol):
            name, index = left[rng.integers(min(ahead, len(left)))]
            values[name][index] = float(every[name][index])
        return values

    alone, together = (judge(made(ahead), protocol) for ahead in (1, 7))
    for one, other in zip(alone, together, strict=True):
        assert (one.word, one.pairs, one.p, one.low, one.high) == (other.word, other.pairs, other.p, other.low, other.high)
        assert one.decided
        assert other.decided
