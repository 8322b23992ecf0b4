"""Holm's procedure against published numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laminar.comparison.multiple import holm, holm_levels

ps = st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=8)


def test_by_hand() -> None:
    """5 x 0.01, 4 x 0.02, 3 x 0.03; then 2 x 0.04 and 0.05 are smaller than what came before."""
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])


def test_a_published_example() -> None:
    """Wikipedia's article on the Holm-Bonferroni method: four hypotheses with p = 0.01, 0.04, 0.03, 0.005 at alpha 0.05: the first and the fourth are rejected, no other."""
    adjusted = holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [p <= 0.05 for p in adjusted] == [True, False, False, True]


def stepped(ps: list[float], alpha: float) -> list[bool]:
    """Return what Holm rejects, by his own words: from the smallest p on, until one is above alpha / those left."""
    rejected = [False] * len(ps)
    for k, place in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        if ps[place] > alpha / (len(ps) - k):
            break
        rejected[place] = True
    return rejected


@given(ps)
def test_adjusted_p_values_reject_what_the_steps_reject(ps: list[float]) -> None:
    adjusted, levels = holm(ps), holm_levels(ps, 0.05)
    assert [p <= level for p, level in zip(ps, levels, strict=True)] == [p <= 0.05 for p in adjusted]
    if all(abs(p - 0.05) > 1e-12 for p in adjusted):
        assert [p <= 0.05 for p in adjusted] == stepped(ps, 0.05)


@given(ps)
def test_levels_lie_between_bonferroni_and_alone(ps: list[float]) -> None:
    assert all(0.05 / len(ps) * 0.999999 <= level <= 0.05000001 for level in holm_levels(ps, 0.05))


def test_rounding_does_not_part_levels_from_adjusted_p_values() -> None:
    """3 x 0.01666... is 0.05, and 0.05 x 0.0204... / 0.05 is a digit less than 0.0204..."""
    ps = [0.021474303603315766, 0.05 / 6, 3.2e-06, 0.020492265340255764, 1e-06, 0.05 / 3]
    adjusted = holm(ps)
    assert adjusted[3] == 0.05
    assert all(p <= level for p, level in zip(ps, holm_levels(ps, 0.05), strict=True))


def test_one_contrast_costs_nothing() -> None:
    assert holm([0.03]) == [0.03]
    assert holm_levels([0.7], 0.05) == pytest.approx([0.05])
    assert holm([1.0, 1.0]) == [1.0, 1.0]
