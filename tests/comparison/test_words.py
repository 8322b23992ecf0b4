"""Verdicts as sentences: each form literally, and none that claims more than its numbers."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laminar.comparison.protocol import Protocol, make_protocol
from laminar.comparison.verdicts import Verdict, judge
from laminar.comparison.words import sentence

INF = math.inf
DIGITS = make_protocol(["with BN", "without BN"], metric="accuracy", margin=0.002, seeds=20)
LOSS = make_protocol(["with BN", "without BN"], metric="loss", margin=0.01, seeds=20)

WORSE = Verdict(
    variant="without BN", baseline="with BN", word="worse", pairs=20, usable=20, unused=0, wins=0, ties=0, losses=20,
    failed=0, baseline_failed=0, difference=-0.00704, low=-0.00861, high=-0.00548, t_low=-0.0086, t_high=-0.0055,
    bca_low=-0.0086, bca_high=-0.0055, p=2e-6, p_holm=2e-6, p_equivalence=1.0, superiority=(0.0, 0.0, 0.17), effect=-2.1,
    noise=0.0033, needed=24, decided=True,
)  # fmt: skip
UNDECIDED = replace(
    WORSE, word="undecided", wins=9, losses=11, difference=-0.0010, low=-0.0045, high=0.0025, p=0.4, p_holm=0.4, noise=0.007
)


def test_a_difference() -> None:
    assert sentence(WORSE, DIGITS) == "without BN is worse by 0.70 points (0.55 to 0.86), 20 of 20 seeds"
    better = replace(WORSE, word="better", wins=19, losses=1, difference=0.00704, low=0.00548, high=0.00861)
    assert sentence(better, DIGITS) == "without BN is better by 0.70 points (0.55 to 0.86), 19 of 20 seeds"


def test_units_of_the_metric() -> None:
    loss = replace(WORSE, difference=0.0123, low=0.0101, high=0.0145)
    assert sentence(loss, LOSS) == "without BN is worse by 0.0123 (0.0101 to 0.0145), 20 of 20 seeds"
    large = replace(WORSE, difference=12345.6, low=11000.2, high=13690.8)
    assert sentence(large, LOSS) == "without BN is worse by 12,346 (11,000 to 13,691), 20 of 20 seeds"


def test_an_end_is_never_rounded_to_nothing() -> None:
    close = replace(WORSE, low=-0.0086, high=-0.00004)
    assert sentence(close, DIGITS) == "without BN is worse by 0.704 points (0.004 to 0.860), 20 of 20 seeds"


def test_no_upper_bound() -> None:
    open_ended = replace(WORSE, low=-INF)
    assert sentence(open_ended, DIGITS) == "without BN is worse by 0.70 points (at least 0.55), 20 of 20 seeds"


def test_equivalent() -> None:
    same = replace(UNDECIDED, word="equivalent", difference=0.0003, low=-0.0005, high=0.0011, p_equivalence=0.01)
    assert sentence(same, DIGITS) == "without BN is equivalent: it differs by less than 0.20 points (−0.05 to +0.11), 20 seeds"
    small = replace(WORSE, word="equivalent", difference=-0.0005, low=-0.0008, high=-0.0002, p_equivalence=0.01)
    assert (
        sentence(small, DIGITS)
        == "without BN is equivalent: worse by 0.050 points (0.020 to 0.080), which is less than 0.20 points, 20 of 20 seeds"
    )
    zero = replace(same, difference=0.0, low=0.0, high=0.0, wins=0, ties=20, losses=0, noise=0.0)
    assert (
        sentence(zero, DIGITS)
        == "without BN is equivalent: the same accuracy in all of 20 seeds; it differs by less than 0.20 points"
    )


def test_undecided() -> None:
    assert sentence(UNDECIDED, DIGITS) == (
        "without BN is undecided after 20 seeds: the difference is −0.10 points (−0.45 to +0.25); "
        "about 370 more seeds would probably decide"
    )
    sure = replace(UNDECIDED, noise=0.0001)
    assert sentence(sure, DIGITS) == "without BN is undecided after 20 seeds: the difference is −0.10 points (−0.45 to +0.25)"
    hopeless = replace(UNDECIDED, noise=0.7)
    assert sentence(hopeless, DIGITS).endswith("; more than 10,000 more seeds would be needed")


def test_not_yet_decided() -> None:
    running = replace(UNDECIDED, pairs=4, usable=4, decided=False, low=-INF, high=INF)
    assert sentence(running, DIGITS) == (
        "without BN is not yet decided after 4 of 20 seeds: the difference is −0.10 points (too few pairs for a bound)"
    )
    begun = replace(running, pairs=0, usable=0, wins=0, losses=0, difference=None)
    assert sentence(begun, DIGITS) == "without BN is not yet decided after 0 of 20 seeds"
    half = replace(running, low=-0.0045)
    assert sentence(half, DIGITS).endswith("the difference is −0.10 points (at least −0.45)")
    other = replace(running, high=0.0025)
    assert sentence(other, DIGITS).endswith("the difference is −0.10 points (at most +0.25)")


def test_failures() -> None:
    lost = replace(WORSE, pairs=10, usable=10, losses=10, failed=3, low=-INF)
    assert sentence(lost, DIGITS) == "without BN is worse, 10 of 10 seeds; it diverged or failed in 3 of 10 runs, with BN in 0"
    open_ = replace(UNDECIDED, pairs=10, usable=10, wins=6, losses=4, failed=3, low=-INF)
    assert sentence(open_, DIGITS) == (
        "without BN is undecided after 10 seeds, better in 6, worse in 4; it diverged or failed in 3 of 10 runs, with BN in 0"
    )
    both = replace(WORSE, usable=18, losses=18, ties=2, failed=2, baseline_failed=2)
    assert sentence(both, DIGITS) == (
        "without BN is worse by 0.70 points (0.55 to 0.86), 18 of 20 seeds; it diverged or failed in 2 of 20 runs, with BN in 2"
    )


def test_invalid() -> None:
    invalid = replace(UNDECIDED, word="invalid", pairs=15, usable=0, failed=15, baseline_failed=15)
    assert sentence(invalid, DIGITS) == (
        "without BN has no verdict: both diverged or failed in 15 of 15 seeds, which leaves at most 5, and a verdict needs 6"
    )


def test_the_baseline_is_named_where_there_are_several() -> None:
    several = make_protocol(
        ["a", "with BN", "without BN"],
        metric="accuracy",
        margin=0.002,
        seeds=20,
        baseline=[("without BN", "with BN"), ("with BN", "a")],
    )
    assert sentence(WORSE, several) == "without BN is worse than with BN by 0.70 points (0.55 to 0.86), 20 of 20 seeds"
    assert sentence(UNDECIDED, several).startswith("without BN is undecided against with BN after 20 seeds")
    same = replace(UNDECIDED, word="equivalent", low=-0.0005, high=0.0011)
    assert sentence(same, several).startswith("without BN is equivalent to with BN: it differs")


@given(st.integers(0, 2**32 - 1), st.sampled_from([DIGITS, LOSS]), st.sampled_from([0.0, 0.001, 0.02]), st.integers(0, 20))
@settings(max_examples=15)
def test_a_sentence_is_no_bolder_than_its_verdict(seed: int, protocol: Protocol, effect: float, seeds: int) -> None:
    rng = np.random.default_rng(seed)
    runs = {
        "with BN": dict(enumerate(rng.normal(0.9, 0.004, seeds).tolist())),
        "without BN": dict(enumerate(rng.normal(0.9 + effect, 0.004, seeds).tolist())),
    }
    (verdict,) = judge(runs, protocol)
    told = sentence(verdict, protocol)
    said = {word for word in ("better", "worse", "equivalent", "decided") if re.search(rf"\b(un)?{word}\b", told.split(",")[0])}
    if verdict.word in ("better", "worse"):
        assert said == {verdict.word}
    elif verdict.word == "equivalent":
        assert "equivalent" in said
        assert ("better" in said or "worse" in said) == (verdict.p_holm <= 0.05)
    else:
        assert said == {"decided"}
    assert not re.search(r"nan|None|inf\b", told)


@pytest.mark.parametrize("low", [0.0, -0.00001])
def test_a_rounded_zero_has_no_sign(low: float) -> None:
    assert "−0.00 " not in sentence(replace(UNDECIDED, low=low - 0.01, difference=low), DIGITS)


def test_losses_that_all_but_diverge() -> None:
    """No number of pairs would find the margin in such noise; the verdict does not need to know it."""
    runs = {"with BN": {k: 0.3 + k / 100 for k in range(8)}, "without BN": {k: 10.0 ** (29 + k) for k in range(8)}}
    (verdict,) = judge(runs, replace(LOSS, seeds=8, stop="fixed"))
    assert (verdict.word, verdict.needed) == ("worse", None)
    assert sentence(verdict, replace(LOSS, seeds=8)).endswith("8 of 8 seeds")
    undecided = {**runs, "with BN": {k: 10.0 ** (36 - k) for k in range(8)}}
    (verdict,) = judge(undecided, replace(LOSS, seeds=8, stop="fixed"))
    assert sentence(verdict, replace(LOSS, seeds=8)).endswith("; more than 10,000 more seeds would be needed")
