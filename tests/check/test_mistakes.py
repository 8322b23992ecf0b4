"""What is said of wrong numbers: how many, the worst of them, and what they have in common."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from laminar.check.mistakes import Mistake, Right, compared, likely_cause


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exactly(right: Tensor) -> Right:
    flat = right.reshape(-1)
    return Right(torch.arange(len(flat)), flat, torch.full_like(flat, 1e-9))


def mistake(found: Tensor | None, right: Tensor, name: str = "x") -> Mistake:
    made = compared(name, found, exactly(right), tuple(right.shape))
    assert made is not None
    return made


def cause(found: Tensor, right: Tensor, **xs: Tensor) -> str:
    return likely_cause([mistake(found, right)], {"x": found}, {"x": exactly(right)}, xs)


def test_a_right_gradient_is_no_mistake() -> None:
    right = normal(3, 4)
    assert compared("x", right.clone(), exactly(right), (3, 4)) is None
    assert compared("x", None, exactly(torch.zeros(3)), (3,)) is None, "no gradient, where it is 0"


def test_what_nobody_knows_is_not_compared() -> None:
    right = Right(torch.tensor([0, 2]), torch.tensor([float("nan"), 1.0]), torch.tensor([0.0, 0.5]))
    assert compared("x", torch.tensor([7.0, 8.0, 1.4]), right, (3,)) is None


def test_the_worst_number_is_named() -> None:
    right = torch.zeros(2, 3, dtype=torch.float64)
    found = right.clone()
    found[0, 1], found[1, 2] = 0.5, -2
    assert str(mistake(found, right)) == "2 of 6 numbers of x are wrong, most of all x[1, 2]: -2 instead of 0"
    found[0, 0] = torch.nan
    assert str(mistake(found, right)) == "3 of 6 numbers of x are wrong, most of all x[0, 0]: nan instead of 0"


def test_one_number_alone_and_none_at_all() -> None:
    one = torch.tensor(2.0, dtype=torch.float64)
    assert str(mistake(one + 1, one)) == "x is 3 instead of 2"
    assert str(mistake(None, torch.tensor([1.0, -4.0]))) == "x has none; at x[1] it is -4"


def test_numbers_that_look_alike_get_more_digits() -> None:
    right = torch.tensor([1.0], dtype=torch.float64)
    assert str(mistake(right + 1e-8, right)) == "x[0] is 1.00000001 instead of 1"


def test_transposed_mirrored_averaged() -> None:
    right = normal(4, 4)
    assert cause(right.T.contiguous(), right) == "the gradient of x is the right one transposed (axes 0 and 1)"
    assert cause(normal(2, 3, 5).flip(2), normal(2, 3, 5)) == "the gradient of x is the right one mirrored along axis 2"
    mirrored = normal(2, 3, 5).flip(1, 2)
    assert cause(mirrored, normal(2, 3, 5)) == "the gradient of x is the right one mirrored along axes 1 and 2"
    averaged = right.mean(0, keepdim=True).expand(4, 4)
    assert cause(averaged, right) == "the gradient of x is the mean of the right one along axis 0"
    rolled = right[:, [1, 2, 3, 0]]
    assert cause(rolled, right) == "summed over axis 1 the gradient of x is right: it is shared out wrongly along it"


def test_a_factor_that_is_missing_or_too_many() -> None:
    right, w = normal(4, 5), normal(4, 5, seed=1)
    assert cause(right / w, right, x=normal(4, 5, seed=2), w=w) == "the gradient of x lacks the factor w"
    assert cause(right * w, right, x=normal(4, 5, seed=2), w=w) == "the gradient of x has w as a factor too many"


def test_two_gradients_swapped() -> None:
    a, b = normal(5), normal(5, seed=1)
    found, rights = {"a": b, "b": a}, {"a": exactly(a), "b": exactly(b)}
    mistakes = [mistake(b, a, "a"), mistake(a, b, "b")]
    assert likely_cause(mistakes, found, rights, {}) == "the gradients of a and b are swapped"


def test_zero_everywhere() -> None:
    assert cause(torch.zeros(3, 4, dtype=torch.float64), normal(3, 4)) == "the gradient of x is 0 everywhere"


def test_computed_in_float32() -> None:
    right = normal(3, 4)
    text = cause(right.float().double(), right)
    assert text.startswith("every number of the gradient of x fits into float32, off by ")
    assert text.endswith(" of the largest: it is computed in float32")


@pytest.mark.parametrize(("side", "text"), [(-1, "≤ 0"), (1, "> 0")])
def test_only_on_one_side(side: int, text: str) -> None:
    right, x = normal(5, 6), normal(5, 6, seed=3)
    found = torch.where(x * side > 0, right * right + 1, right)
    assert cause(found, right, x=x) == f"the gradient of x is wrong only where x {text}"


def test_a_few_numbers_on_one_side_are_chance() -> None:
    right, x = normal(5, 6), normal(5, 6, seed=3)
    found = right.clone()
    found[x > 1.2] += 1
    assert cause(found, right, x=x) == ""


def test_only_at_one_index() -> None:
    right = normal(3, 4, 5)
    found = right.clone()
    found[:, 3] = found[:, 3] ** 2 + 1
    assert cause(found, right) == "the gradient of x is wrong only at index 3 of axis 1"


def test_no_cause_without_a_pattern() -> None:
    assert cause(normal(4, 5, seed=1), normal(4, 5)) == ""
