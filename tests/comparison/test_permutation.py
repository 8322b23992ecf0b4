"""The sign-flip test against enumeration, SciPy and Darwin's maize."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from laminar.comparison import permutation
from laminar.comparison.permutation import EXACT_UP_TO, SignFlips, centred, sign_flip_p

# Darwin (1876), The effects of cross and self fertilisation: crossed - self-fertilized, in eighths of an inch.
ZEA_MAYS = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]

steps = st.integers(-40, 40).map(lambda k: k / 16)  # exact in binary, with ties and zeros
samples = st.lists(steps, min_size=1, max_size=9)


def enumerated(d: list[float], centre: float = 0.0) -> float:
    """Return the two-sided p-value by its definition: the share of all signs with a sum at least as far from 0."""
    x = np.asarray(d) - centre
    sums = [abs(float(np.dot(signs, x))) for signs in itertools.product((1, -1), repeat=len(x))]
    as_far = [s >= abs(float(x.sum())) - 1e-9 for s in sums]
    return sum(as_far) / len(as_far)


def test_darwins_maize() -> None:
    """Fisher (1935) counted 863 of 32,768 on one side, and 1,726 on both: p = 0.0527, where t says 0.0497."""
    assert sign_flip_p(ZEA_MAYS) == 1726 / 32768
    t = stats.ttest_1samp(ZEA_MAYS, 0.0)
    assert (round(float(t.statistic), 3), round(float(t.pvalue), 4)) == (2.148, 0.0497)


@given(samples, steps)
def test_it_is_the_share_of_all_signs(d: list[float], centre: float) -> None:
    assert sign_flip_p(d, centre) == pytest.approx(enumerated(d, centre), abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 8, 11])
def test_it_agrees_with_scipy(n: int) -> None:
    d = np.random.default_rng(n).normal(0.4, 1.0, n)
    test = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided")
    assert sign_flip_p(d) == pytest.approx(test.pvalue, abs=1e-12)


@given(samples, steps, st.sampled_from([0.001, 0.7, 3.0, 1e6]))
def test_mirroring_and_scaling_change_nothing(d: list[float], centre: float, scale: float) -> None:
    p = sign_flip_p(d, centre)
    assert sign_flip_p([-x for x in d], -centre) == p
    assert sign_flip_p([scale * x for x in d], scale * centre) == p


@given(samples)
def test_differences_of_exactly_zero_say_nothing(d: list[float]) -> None:
    assert sign_flip_p([*d, 0.0, 0.0]) == sign_flip_p(d)


def test_all_zero_is_no_evidence_at_zero_and_all_of_it_elsewhere() -> None:
    assert sign_flip_p([0.0] * 8) == 1.0
    assert sign_flip_p([0.0] * 8, 0.01) == 2 / 2**8


def test_accuracies_are_steps_whatever_their_rounding() -> None:
    """Equal differences of unequal accuracies differ in their last digits, and must count as equal."""
    steps_of = [(0.98, 0.97), (0.95, 0.96), (0.91, 0.90), (0.3, 0.29), (0.53, 0.52), (0.77, 0.78), (0.11, 0.10), (0.2, 0.2)]
    d = [a - b for a, b in steps_of]
    assert len(set(np.abs(d))) > 2  # they do differ
    assert sign_flip_p(d) == sign_flip_p([1, -1, 1, 1, 1, -1, 1, 0])
    assert centred([0.97 - 0.96], 0.01).tolist() == [0.0]


def test_the_one_sided_p_never_falls_as_the_centre_rises() -> None:
    flips = SignFlips(ZEA_MAYS)
    p = [flips.above(centre) for centre in (-math.inf, *range(-70, 80, 3), math.inf)]
    assert p == sorted(p)
    assert (p[0], p[-1]) == (1 / 2**15, 1.0)
    assert flips.below(5.0) == SignFlips([-d for d in ZEA_MAYS]).above(-5.0)


def test_one_lost_pair_outweighs_all_others() -> None:
    won = [0.5, 0.4, 0.9, 0.2, 0.6, 0.3, 0.7, 0.8]
    assert sign_flip_p(won) == 2 / 2**8
    assert sign_flip_p([*won, -math.inf]) == 1.0  # the same sign as the lost one: half of all
    assert sign_flip_p([*won, -math.inf]) == sign_flip_p([*won, -100.0])
    assert sign_flip_p([-math.inf] * 6) == 2 / 2**6
    assert SignFlips([math.inf, math.inf, 1.0]).above(50.0) == SignFlips([100.0, 100.0, -1.0]).above(0.0)


def test_above_thirty_pairs_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted and drawn, the same p-value but for the error of 99,999 draws."""
    d = np.random.default_rng(0).normal(0.5, 1.0, EXACT_UP_TO)
    counted = sign_flip_p(d)
    monkeypatch.setattr(permutation, "EXACT_UP_TO", EXACT_UP_TO - 1)
    drawn = sign_flip_p(d)
    assert 0.01 < counted < 0.1
    assert 0 < abs(drawn - counted) < 5 * math.sqrt(2 * counted / 99_999)


def test_what_is_drawn_is_the_same_every_time_and_never_zero() -> None:
    d = np.linspace(0.1, 1.0, 50)
    assert sign_flip_p(d) == 2 / 100_000
    assert sign_flip_p(d - 0.5) == sign_flip_p(d - 0.5)
    assert sign_flip_p([*d, -math.inf]) > 0.9
    assert sign_flip_p([*d[:45], *[-math.inf] * 14]) < 0.001
    flips = SignFlips(d)
    p = [flips.above(centre) for centre in (-math.inf, -1.0, 0.0, 0.4, 0.5, 0.6, 2.0, math.inf)]
    assert p == sorted(p)
    assert p[-1] == 1.0
