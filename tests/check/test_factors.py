"""Factors: found where there is one, and told in words."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from laminar.check.factors import Axis, common_factor, constant_text, power_of, product_text

FACTORS = st.floats(0.01, 100) | st.floats(-100, -0.01)
NUMBERS = st.lists(st.floats(-10, 10), min_size=2, max_size=6).filter(lambda v: max(map(abs, v)) > 0.1)


@given(c=FACTORS, numbers=NUMBERS)
def test_a_factor_is_found(c: float, numbers: list[float]) -> None:
    right = torch.tensor(numbers, dtype=torch.float64)
    found = common_factor(c * right, right, tolerance=1e-9)
    assert found == pytest.approx(c, rel=1e-12)


@given(c=FACTORS, numbers=NUMBERS, off=st.floats(0.01, 1))
def test_one_number_that_does_not_follow_is_enough(c: float, numbers: list[float], off: float) -> None:
    right = torch.tensor([*numbers, 1.0], dtype=torch.float64)
    found = c * right
    found[-1] += off * found.abs().max()
    assert common_factor(found, right, tolerance=1e-6) is None


@pytest.mark.parametrize("found", [[0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0]])
def test_no_factor_of_nothing_and_of_what_is_not_finite(found: list[float]) -> None:
    right = torch.tensor([1.0, 2.0])
    assert common_factor(torch.tensor(found), right, tolerance=1e-6) is None
    assert common_factor(right, torch.tensor(found), tolerance=1e-6) is None


@given(n=st.integers(1, 9), m=st.integers(10, 30), c=FACTORS, power=st.sampled_from([-1, 0, 1]))
def test_the_power_with_which_a_factor_follows_a_length(n: int, m: int, c: float, power: int) -> None:
    assert power_of(c * n**power, c * m**power, (n, m)) == power
    assert power_of(c, 1.01 * c * (m / n) ** 2, (n, m)) is None


def test_constants_in_words() -> None:
    assert [constant_text(c) for c in (2.0, -0.5, 4 / 3, 1e-9, math.pi)] == ["2", "-1/2", "4/3", "1e-09", "3.14159"]


def test_products_in_words() -> None:
    axes = [Axis("batch", 4, -1), Axis("height", 6, -1), Axis("channels", 3, 1)]
    text, rest = product_text(2 * 3 / (4 * 6), axes)
    assert (text, rest) == ("channels / batch / height", 2.0)
    assert product_text(5.0, []) == ("1", 5.0)
