"""Verdicts: each word from the numbers that call for it, and never against the interval beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laminar.comparison.evidence import one_sided_evidence
from laminar.comparison.permutation import sign_flip_p
from laminar.comparison.protocol import Protocol, make_protocol
from laminar.comparison.verdicts import LOOKING, Verdict, judge, least_pairs, refuse_too_few
from laminar.errors import TooFewRunsError

INF = math.inf


def declared(seeds: int, stop: str = "fixed", *, variants: int = 2, metric: str = "accuracy", margin: float = 0.01) -> Protocol:
    names = ["base", *(f"other {k}" for k in range(1, variants))]
    return make_protocol(names, metric=metric, margin=margin, seeds=seeds, stop=stop)


def verdicts(protocol: Protocol, *runs: Sequence[float]) -> list[Verdict]:
    """Return the verdicts on runs of the baseline and of each other variant."""
    return judge({name: dict(enumerate(r)) for name, r in zip(protocol.variants, runs, strict=True)}, protocol)


def noisy(seed: int, mean: float = 0.9, sd: float = 0.005, n: int = 20) -> list[float]:
    values: list[float] = np.random.default_rng(seed).normal(mean, sd, n).tolist()
    return values


# ── how many pairs it takes ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("stop", "variants", "pairs"),
    [("fixed", 2, 6), ("fixed", 3, 7), ("fixed", 6, 8), ("early", 2, 6), ("early", 3, 7), ("early", 6, 9)],
)
def test_the_least_pairs_can_decide_and_one_fewer_cannot(stop: str, variants: int, pairs: int) -> None:
    assert least_pairs(declared(20, stop, variants=variants)) == pairs
    for seeds, can in ((pairs - 1, False), (pairs, True)):
        protocol = declared(seeds, stop, variants=variants)
        runs = [[0.5] * seeds, *([[0.9] * seeds] * (variants - 1))]
        assert all((v.word == "better") == can for v in verdicts(protocol, *runs))


def test_too_few_runs_are_refused() -> None:
    with pytest.raises(TooFewRunsError) as error:
        refuse_too_few(declared(5))
    assert str(error.value) == "5 paired seeds give at best p = 0.0625, so alpha = 0.05 cannot be reached. Run 6 or more."
    with pytest.raises(TooFewRunsError) as error:
        refuse_too_few(declared(1, "early"))
    assert str(error.value) == "1 paired seed gives at best p = 1, so alpha = 0.05 cannot be reached. Run 6 or more."
    with pytest.raises(TooFewRunsError) as error:
        refuse_too_few(declared(6, variants=4))
    assert (
        str(error.value)
        == "6 paired seeds give at best p = 0.0312, so alpha = 0.05 over 3 contrasts (Holm: 0.0167 for the first) "
        "cannot be reached. Run 7 or more."
    )
    refuse_too_few(declared(6))
    refuse_too_few(declared(6, "early"))


# ── the words ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stop", ["fixed", "early"])
def test_better_and_worse(stop: str) -> None:
    (better,) = verdicts(declared(20, stop), noisy(0), noisy(1, 0.93))
    (worse,) = verdicts(declared(20, stop), noisy(1, 0.93), noisy(0))
    assert (better.word, worse.word) == ("better", "worse")
    assert (better.low, better.high, better.p) == (-worse.high, -worse.low, worse.p)
    assert 0 < better.low < better.difference < better.high  # type: ignore[operator]  # a mean there is
    assert (better.wins, worse.losses) == (better.pairs, worse.pairs)


def test_lower_may_be_better() -> None:
    (verdict,) = verdicts(declared(20, metric="loss"), noisy(0, 0.3), noisy(1, 0.2))
    assert verdict.word == "better"
    assert verdict.high < 0
    assert (verdict.wins, verdict.losses) == (20, 0)
    assert verdict.superiority[0] == 1.0


@pytest.mark.parametrize("stop", ["fixed", "early"])
def test_equivalent(stop: str) -> None:
    (verdict,) = verdicts(declared(20, stop), noisy(0), noisy(1))
    assert verdict.word == "equivalent"
    assert -0.01 < verdict.low < verdict.high < 0.01


def test_equivalent_wins_over_a_difference_that_is_smaller_than_the_margin() -> None:
    (verdict,) = verdicts(declared(20), noisy(0, sd=0.001), noisy(1, 0.903, 0.001))
    assert verdict.word == "equivalent"
    assert verdict.p_holm <= 0.05
    assert 0 < verdict.low < verdict.high < 0.01


@pytest.mark.parametrize("stop", ["fixed", "early"])
def test_undecided(stop: str) -> None:
    (verdict,) = verdicts(declared(20, stop), noisy(0, sd=0.05), noisy(1, sd=0.05))
    assert (verdict.word, verdict.decided, verdict.pairs) == ("undecided", True, 20)
    assert verdict.low < -0.01 or verdict.high > 0.01
    assert verdict.low < 0 < verdict.high
    assert verdict.needed is not None
    assert verdict.needed > 20


def test_nothing_is_decided_before_the_end_of_a_fixed_comparison() -> None:
    (verdict,) = verdicts(declared(20), noisy(0)[:19], noisy(1, 0.99)[:19])
    assert (verdict.word, verdict.decided, verdict.pairs) == ("undecided", False, 19)
    assert (verdict.low, verdict.high, verdict.p) == (-INF, INF, 1.0)


def test_no_runs_at_all() -> None:
    (verdict,) = judge({}, declared(20, "early"))
    assert (verdict.word, verdict.pairs, verdict.difference, verdict.p) == ("undecided", 0, None, 1.0)
    assert json.loads(json.dumps(verdict.to_dict(), allow_nan=False))["low"] is None


def test_differences_of_exactly_zero() -> None:
    (verdict,) = verdicts(declared(8), [0.9] * 8, [0.9] * 8)
    assert (verdict.word, verdict.p, verdict.p_equivalence) == ("equivalent", 1.0, 2 / 2**8)
    assert (verdict.low, verdict.high, verdict.t_low, verdict.bca_high) == (0.0, 0.0, 0.0, 0.0)
    assert (verdict.ties, verdict.effect, verdict.noise) == (8, None, 0.0)


# ── the tests behind them ────────────────────────────────────────────────────────────────────────────────────────────────


def test_fixed_is_the_sign_flip_test() -> None:
    a, b = noisy(0), noisy(1, 0.902)
    (verdict,) = verdicts(declared(20), a, b)
    d = np.subtract(b, a)
    assert verdict.p == sign_flip_p(d)
    assert verdict.p_equivalence == max(sign_flip_p(d, 0.01), sign_flip_p(d, -0.01))


def test_early_is_the_evidence_and_at_the_end_the_sign_flips_with_what_is_left_of_alpha() -> None:
    a, b = noisy(0, n=20), noisy(4, 0.903, n=20)
    d = np.subtract(b, a)
    (verdict,) = verdicts(declared(20, "early", margin=0.001), a, b)
    evidence = 2 / LOOKING * math.exp(-one_sided_evidence(d)[0].max())
    assert verdict.pairs == 20
    assert verdict.p == pytest.approx(min(evidence, sign_flip_p(d) / (1 - LOOKING)))
    (before,) = verdicts(declared(21, "early", margin=0.001), a, b)
    assert before.p == pytest.approx(min(1.0, evidence))


def test_an_early_verdict_is_kept_and_later_pairs_are_not_used() -> None:
    good = [0.95 + k / 1000 for k in range(20)]
    (verdict,) = verdicts(declared(20, "early"), [0.9] * 20, good)
    assert verdict.pairs < 20
    assert verdict.unused == 20 - verdict.pairs
    (other,) = verdicts(declared(20, "early"), [0.9] * 20, good[: verdict.pairs] + [0.0] * verdict.unused)
    assert other == verdict


def test_a_gap_is_not_looked_beyond() -> None:
    runs = {"base": dict.fromkeys(range(20), 0.9), "other 1": {k: 0.99 for k in range(20) if k != 3}}
    (verdict,) = judge(runs, declared(20, "early"))
    assert (verdict.pairs, verdict.unused, verdict.decided) == (3, 16, False)


def test_runs_beyond_the_declared_seeds_do_not_count() -> None:
    a, b = noisy(0, n=30), noisy(1, 0.91, n=30)
    assert verdicts(declared(20), a, b) == verdicts(declared(20), a[:20], b[:20])


def test_holm_over_contrasts() -> None:
    """One alone would be found; of three, Holm asks for more."""
    base = [0.9] * 12
    clear = [0.9 + k / 1000 for k in (*range(1, 12), -12)]  # Wilcoxon's table has p = 0.034 for 12 against the rest
    others = [clear, *([0.9 + sign * k / 1000 for k in range(6) for sign in (1, -1)] for _ in range(2))]
    alone = verdicts(declared(12, margin=0.002), base, others[0])
    together = verdicts(declared(12, variants=4, margin=0.002), base, *others)
    assert alone[0].p == together[0].p
    assert alone[0].p == alone[0].p_holm
    assert together[0].p_holm == pytest.approx(3 * alone[0].p)
    assert 0.05 / 3 < alone[0].p == pytest.approx(0.034, abs=0.0005)
    assert (alone[0].word, together[0].word) == ("better", "undecided")
    assert together[0].low < 0 < alone[0].low


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("metric", "lost"), [("accuracy", -INF), ("loss", INF)])
@pytest.mark.parametrize("stop", ["fixed", "early"])
def test_a_variant_that_always_fails_is_worse(stop: str, metric: str, lost: float) -> None:
    (verdict,) = verdicts(declared(20, stop, metric=metric), noisy(0), [lost] * 20)
    assert verdict.word == "worse"
    assert verdict.failed == verdict.pairs == verdict.losses
    assert (verdict.low, verdict.high) == (lost, lost)
    assert (verdict.difference, verdict.t_low, verdict.noise, verdict.needed) == (None, None, None, None)
    (mirrored,) = verdicts(declared(20, stop, metric=metric), [lost] * 20, noisy(0))
    assert (mirrored.word, mirrored.baseline_failed) == ("better", mirrored.pairs)


@pytest.mark.parametrize("stop", ["fixed", "early"])
def test_one_lost_pair_forbids_equivalence(stop: str) -> None:
    (verdict,) = verdicts(declared(20, stop), noisy(0, sd=0.001), [-INF, *noisy(1, sd=0.001)[1:]])
    assert (verdict.word, verdict.p_equivalence, verdict.low) == ("undecided", 1.0, -INF)
    assert verdict.failed == 1
    (balanced,) = verdicts(declared(20, stop), [*noisy(0)[:-1], -INF], [-INF, *noisy(1)[1:]])
    assert (balanced.word, balanced.low, balanced.high) == ("undecided", -INF, INF)


def test_pairs_in_which_both_failed_say_nothing() -> None:
    """They are ties, and the other pairs decide as if these were not there."""
    a, b = noisy(0, n=12), noisy(1, n=12)
    (alone,) = verdicts(declared(12), a, b)
    (with_ties,) = verdicts(declared(16), [-INF] * 4 + a, [-INF] * 4 + b)
    assert (with_ties.word, with_ties.p, with_ties.p_equivalence) == (alone.word, alone.p, alone.p_equivalence)
    assert (with_ties.low, with_ties.high) == (alone.low, alone.high)
    assert (with_ties.pairs, with_ties.usable, with_ties.ties, with_ties.failed) == (16, 12, 4, 4)


@pytest.mark.parametrize("stop", ["fixed", "early"])
def test_both_failing_everywhere_is_invalid_as_soon_as_it_is_certain(stop: str) -> None:
    (verdict,) = verdicts(declared(20, stop), [-INF] * 20, [-INF] * 20)
    assert (verdict.word, verdict.decided, verdict.usable) == ("invalid", True, 0)
    assert (verdict.low, verdict.high, verdict.p) == (-INF, INF, 1.0)
    if stop == "early":
        assert verdict.pairs == 20 - least_pairs(declared(20, stop)) + 1


# ── what holds always ────────────────────────────────────────────────────────────────────────────────────────────────────

steps = st.integers(-60, 60).map(lambda k: 0.9 + k / 1024)
value = st.one_of(steps, steps, steps, steps, st.just(-INF))
runs_of = st.lists(value, min_size=12, max_size=12)
stops = st.sampled_from(["fixed", "early"])


def consistent(verdict: Verdict, margin: float) -> None:
    """Assert that word, p and interval of one verdict do not contradict each other."""
    assert verdict.low <= verdict.high
    assert verdict.wins + verdict.ties + verdict.losses == verdict.pairs
    apart = verdict.low > 0 or verdict.high < 0
    within = -margin < verdict.low and verdict.high < margin
    if verdict.word in ("better", "worse"):
        assert apart
        assert verdict.p_holm <= 0.05
        assert (verdict.low > 0) == (verdict.word == "better")
    elif verdict.word == "equivalent":
        assert within
        assert verdict.p_equivalence <= 0.05
        assert apart == (verdict.p_holm <= 0.05)
    else:
        assert not apart
        assert not within
        assert min(verdict.p_holm, verdict.p_equivalence) > 0.05
    lost = verdict.failed + verdict.baseline_failed > 2 * (verdict.pairs - verdict.usable)
    if verdict.difference is not None and not lost and verdict.word != "invalid":
        assert verdict.low - 1e-9 <= verdict.difference <= verdict.high + 1e-9


@given(runs_of, runs_of, runs_of, stops)
@settings(max_examples=20)
def test_word_p_and_interval_never_contradict_each_other(a: list[float], b: list[float], c: list[float], stop: str) -> None:
    for shift in (0.0, 0.06):
        for verdict in verdicts(declared(12, stop, variants=3, margin=0.04), a, b, [x + shift for x in c]):
            consistent(verdict, 0.04)


@given(runs_of, runs_of, stops, st.sampled_from([0.0, 0.03, 0.08]))
@settings(max_examples=15)
def test_swapping_the_variants_mirrors_everything(a: list[float], b: list[float], stop: str, shift: float) -> None:
    b = [x + shift for x in b]
    (one,), (other,) = verdicts(declared(12, stop, margin=0.04), a, b), verdicts(declared(12, stop, margin=0.04), b, a)
    opposite = {"better": "worse", "worse": "better"}
    assert other.word == opposite.get(one.word, one.word)
    assert (other.pairs, other.wins, other.losses, other.ties) == (one.pairs, one.losses, one.wins, one.ties)
    assert (other.p, other.p_equivalence) == pytest.approx((one.p, one.p_equivalence))
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-7)
    if one.difference is not None:
        assert other.difference == pytest.approx(-one.difference)


@given(st.lists(steps, min_size=12, max_size=12), st.lists(steps, min_size=12, max_size=12), stops)
@settings(max_examples=15)
def test_the_unit_does_not_matter(a: list[float], b: list[float], stop: str) -> None:
    (one,) = verdicts(declared(12, stop, margin=0.04), a, b)
    (other,) = verdicts(declared(12, stop, margin=40.0), [1000 * x for x in a], [1000 * x for x in b])
    assert (other.word, other.pairs) == (one.word, one.pairs)
    assert (other.p, other.p_equivalence) == pytest.approx((one.p, one.p_equivalence))
    assert (other.low, other.high) == pytest.approx((1000 * one.low, 1000 * one.high), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("stop", ["fixed", "early"])
def test_false_verdicts_of_a_difference_are_as_rare_as_declared(stop: str) -> None:
    """Differences of equal variants, in steps and with ties; the whole of `judge` with Holm over two contrasts."""
    rng = np.random.default_rng(0)
    protocol = declared(12, stop, variants=3, margin=0.002)
    false = 0
    for _ in range(100):
        runs = [np.round(rng.normal(0.9, 0.004, 12), 3).tolist() for _ in range(3)]
        false += any(v.word in ("better", "worse") for v in verdicts(protocol, *runs))
    assert false <= 11  # 5 expected at most; 12 or more would come once in 200 times


def test_numbers_beside_the_word() -> None:
    a, b = noisy(0), noisy(1, 0.91)
    (verdict,) = verdicts(declared(20), a, b)
    d = np.subtract(b, a)
    pooled = math.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / 2)
    assert verdict.difference == pytest.approx(d.mean())
    assert verdict.noise == pytest.approx(d.std(ddof=1))
    assert verdict.effect == pytest.approx(d.mean() / pooled)
    assert (verdict.wins, verdict.ties, verdict.losses) == ((d > 0).sum(), 0, (d < 0).sum())
    assert verdict.superiority[0] == (d > 0).mean()
    plain = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    assert plain["superiority"] == list(verdict.superiority)
    assert plain["word"] == verdict.word
