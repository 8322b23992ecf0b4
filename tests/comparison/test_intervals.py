"""Intervals against SciPy, and the inversion of a test against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from laminar.comparison.intervals import bca_interval, clopper_pearson, expanded, lower_end, t_interval
from laminar.comparison.permutation import SignFlips

# Darwin's maize: Student's interval is published as 0.03 to 41.8 eighths of an inch (Fisher 1935, section 20).
ZEA_MAYS = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def test_students_interval() -> None:
    assert t_interval(ZEA_MAYS) == pytest.approx((0.03, 41.84), abs=0.005)
    test = stats.ttest_1samp(ZEA_MAYS, 0.0).confidence_interval(0.9)
    assert t_interval(ZEA_MAYS, 0.9) == pytest.approx((test.low, test.high))


@pytest.mark.parametrize("n", [5, 10, 20])
def test_the_bootstrap_is_scipys_at_the_expanded_level(n: int) -> None:
    d = np.random.default_rng(n).exponential(size=n)
    theirs = stats.bootstrap((d,), np.mean, confidence_level=expanded(0.95, n), n_resamples=4999, method="BCa", rng=1)
    ours = bca_interval(d.tolist(), rng=np.random.default_rng(1), resamples=4999)
    assert ours == pytest.approx((theirs.confidence_interval.low, theirs.confidence_interval.high))


def test_the_expansion_is_hesterbergs() -> None:
    """Hesterberg (2015), table 5: a nominal one-sided 2.5 % becomes 0.0010, 0.0086 and 0.0159 at n = 5, 10 and 20."""
    tails = [(1 - expanded(0.95, n)) / 2 for n in (5, 10, 20)]
    assert tails == pytest.approx([0.0010, 0.0086, 0.0159], abs=6e-5)
    assert expanded(0.95, 100_000) == pytest.approx(0.95, abs=1e-5)
    assert expanded(0.95, 2) < 1


def test_few_or_equal_values() -> None:
    rng = np.random.default_rng(0)
    assert bca_interval([0.25] * 6, rng=rng) == (0.25, 0.25)
    assert t_interval([0.25] * 6) == (0.25, 0.25)
    assert bca_interval([1.0, 2.0], rng=rng) == (1.0, 2.0)
    low, high = bca_interval([0.0] * 9 + [1.0], rng=rng)
    assert 0.0 == low < 0.1 < high


@given(st.integers(1, 40), st.data())
def test_clopper_pearson_is_scipys(n: int, data: st.DataObject) -> None:
    wins = data.draw(st.integers(0, n))
    level = data.draw(st.sampled_from([0.8, 0.95, 0.99]))
    theirs = stats.binomtest(wins, n).proportion_ci(level, "exact")
    assert clopper_pearson(wins, n, level) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def subset_means(d: list[float]) -> list[float]:
    """Return the means of all subsets but the empty one, sorted."""
    n = len(d)
    picked = (np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1
    return sorted((picked @ np.asarray(d) / picked.sum(1)).tolist())


@given(st.lists(st.floats(-5, 5).map(lambda x: round(x, 3)), min_size=6, max_size=10, unique=True))
def test_the_inverted_sign_flip_test_ends_at_means_of_subsets(d: list[float]) -> None:
    """Hartigan (1969), Using subsample values as typical values: the k-th smallest mean of a subset, k = alpha / 2 · 2^n."""
    flips = SignFlips(d)
    means = subset_means(d)
    k = math.floor(0.05 / 2 * 2 ** len(d) + 1e-9)
    low = lower_end(lambda centre: 2 * flips.above(centre), 0.05, d)
    assert low == pytest.approx(means[k - 1], abs=1e-6)
    high = -lower_end(lambda centre: 2 * flips.below(-centre), 0.05, [-x for x in d])
    assert high == pytest.approx(means[-k], abs=1e-6)


def test_too_few_pairs_have_no_bound() -> None:
    flips = SignFlips([1.0, 2.0, 3.0, 4.0, 5.0])
    assert lower_end(lambda centre: 2 * flips.above(centre), 0.05, [1.0, 2.0, 3.0, 4.0, 5.0]) == -math.inf


def test_where_all_pairs_were_lost_to_failures() -> None:
    flips = SignFlips([math.inf] * 8)
    assert lower_end(lambda centre: 2 * flips.above(centre), 0.05, [math.inf] * 8) == math.inf


def test_anchors_lie_on_the_side_that_their_own_p_says() -> None:
    """However coarsely the end is found, a centre that is asked first is never on the wrong side of it."""
    d = [0.3, 0.1, 0.2, 0.25, 0.15, 0.18, 0.22]
    flips = SignFlips(d)
    edge = lower_end(lambda centre: 2 * flips.above(centre), 0.05, d)
    for anchor in (edge - 1e-10, edge + 1e-10):
        low = lower_end(lambda centre: 2 * flips.above(centre), 0.05, d, [anchor])
        assert (low > anchor) == (2 * flips.above(anchor) <= 0.05)


def test_equal_differences_have_an_interval_of_one_point() -> None:
    flips = SignFlips([0.3] * 8)
    assert lower_end(lambda centre: 2 * flips.above(centre), 0.05, [0.3] * 8, [0.0]) == pytest.approx(0.3, abs=1e-15)
