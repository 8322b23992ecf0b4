"""The probability that one run beats another, and its interval."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from laminar.comparison.superiority import superiority

d = st.lists(st.sampled_from([-math.inf, -1.5, -0.2, 0.0, 0.1, 2.0, math.inf]), min_size=1, max_size=30)


def test_wins_are_counted_and_ties_half() -> None:
    assert superiority([1.0, 2.0, 0.0, -1.0])[0] == 0.625
    assert superiority([math.inf, -math.inf, 0.0, 0.0])[0] == 0.5
    assert superiority([]) == (0.5, 0.0, 1.0)


@pytest.mark.parametrize(("wins", "n"), [(0, 6), (3, 10), (10, 10), (17, 20)])
def test_the_interval_is_the_binomial_one(wins: int, n: int) -> None:
    interval = stats.binomtest(wins, n).proportion_ci(0.95, "exact")
    expected = (wins / n, interval.low, interval.high)
    assert superiority([1.0] * wins + [-1.0] * (n - wins)) == pytest.approx(expected, abs=1e-12)


@given(d)
def test_swapping_the_variants_mirrors_it(differences: list[float]) -> None:
    p, low, high = superiority(differences)
    q, below, above = superiority([-x for x in differences])
    assert (q, below, above) == pytest.approx((1 - p, 1 - high, 1 - low))
    assert superiority(differences, higher_is_better=False) == (q, below, above)
    assert 0 <= low <= p <= high <= 1


@pytest.mark.parametrize("n", [5, 10, 20])
def test_coverage_with_ties_by_enumeration(n: int) -> None:
    """For every share of ties and of wins, the probabilities of all outcomes with an interval that holds the truth."""
    intervals = {
        (wins, ties): superiority([1.0] * wins + [0.0] * ties + [-1.0] * (n - wins - ties))[1:]
        for wins in range(n + 1)
        for ties in range(n + 1 - wins)
    }
    for tie in (0.0, 0.1, 0.3, 0.6, 0.9):
        for share in (0.02, 0.1, 0.25, 0.4, 0.5, 0.7, 0.95):
            win = share * (1 - tie)
            truth = win + tie / 2
            outcomes = stats.multinomial(n, [win, tie, 1 - win - tie])
            covered = sum(
                outcomes.pmf([wins, ties, n - wins - ties])
                for (wins, ties), (low, high) in intervals.items()
                if low <= truth <= high
            )
            assert covered >= 0.95
