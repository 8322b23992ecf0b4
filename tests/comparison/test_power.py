"""Power against published tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from laminar.comparison.power import pairs_needed, power_of_t


@pytest.mark.parametrize(
    ("effect", "alpha", "power", "pairs"),
    [
        # G*Power 3 (Faul et al. 2007), difference from a constant or of matched pairs, two-sided; Cohen's small, medium, large.
        (0.2, 0.05, 0.8, 199),
        (0.5, 0.05, 0.8, 34),
        (0.8, 0.05, 0.8, 15),
        (0.5, 0.05, 0.95, 54),
    ],
)
def test_pairs_needed_in_published_tables(effect: float, alpha: float, power: float, pairs: int) -> None:
    assert pairs_needed(effect, 1.0, power, alpha) == pairs


def test_the_documented_power_of_r() -> None:
    """R's help of power.t.test: n = 20, delta = 1, sd = 1, two samples, has power 0.8689528; its paired twin is asked here.

    A two-sample t-test with n in each group has 2n - 2 degrees of freedom and shift delta sqrt(n/2); so the documented figure
    checks the noncentral t that both share, and the paired figure follows from it.
    """
    edge = stats.t.isf(0.025, 38)
    assert stats.nct.sf(edge, 38, (20 / 2) ** 0.5) == pytest.approx(0.8689528, abs=1e-7)
    assert power_of_t(0.5, 34) == pytest.approx(0.8077775, abs=1e-6)  # pwr.t.test(n = 34, d = .5, type = "paired")


@given(st.floats(0.05, 3.0), st.integers(2, 60))
def test_power_rises_with_pairs_and_effect_and_starts_at_alpha(effect: float, n: int) -> None:
    assert power_of_t(0.0, n) == pytest.approx(0.05)
    assert power_of_t(effect, n) == power_of_t(-effect, n)
    assert power_of_t(effect, n + 1) >= power_of_t(effect, n) - 1e-9
    assert power_of_t(effect * 1.1, n) >= power_of_t(effect, n) - 1e-9


@given(st.floats(0.1, 5.0))
def test_the_pairs_are_the_fewest_and_have_no_unit(effect: float) -> None:
    n = pairs_needed(effect, 1.0)
    assert power_of_t(effect, n) >= 0.8 > power_of_t(effect, n - 1)
    assert pairs_needed(effect / 1000, 0.001) == n


def test_where_scipy_gives_nan() -> None:
    """Far out SciPy's noncentral t has no answer; ours is 1."""
    assert power_of_t(5.0, 6) == pytest.approx(1.0)
    assert power_of_t(1e15, 6) == 1.0
    assert power_of_t(1.0, 1) == 0.0
    assert pairs_needed(1e15, 1.0) == 2
    assert pairs_needed(0.01, 0.0) == 2


def test_noise_that_no_number_of_pairs_outweighs() -> None:
    """A variant that all but diverges has a loss of 1e36 in one run and of 1e34 in the next."""
    assert pairs_needed(0.01, 1e36) is None
    assert pairs_needed(0.01, float("inf")) is None
    assert pairs_needed(1e-4, 1.0) == pytest.approx((stats.norm.isf(0.025) + stats.norm.isf(0.2)) ** 2 * 1e8, rel=1e-5)
