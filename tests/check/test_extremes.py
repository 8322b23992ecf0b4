"""The check of extreme inputs: what overflows, 0/0, infinity times 0; and what is infinite by its nature."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from check.asking import NUMBER, asked, of, shape_of
from torch import Tensor, nn

import laminar as lm
from laminar.check.outcome import Status

SMALL_EXP = (
    "Keep the argument of exp small: subtract the maximum first, clamp it (torch.exp(x.clamp(max=0)) where only x < 0 is "
    "used), or call softplus, logsumexp or log_softmax, which do"
)
DIVISOR = "Keep the divisor from 0: add a small number, x / (norm + 1e-6), or clamp it, norm.clamp(min=1e-6)"


class Exponential(lm.Layer):
    """x above 0, exp(x) - 1 below: the ELU by where."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, torch.exp(x) - 1)


def test_infinity_times_0_in_the_branch_not_taken() -> None:
    outcome = asked("extreme-inputs", Exponential(), 5)
    assert outcome.status is Status.FAIL
    assert shape_of(outcome.expected) == "a finite gradient, as float64 has it (# there), for inputs of #"
    assert outcome.found == (
        "NaN in 20 of 20 numbers of the gradient of x, at [0, 0] for one; also for 8 others of 22 kinds of inputs"
    )
    assert (outcome.cause, outcome.fix) == ("the first result that is not finite is that of exp", SMALL_EXP)


def test_an_output_that_overflows_on_the_way() -> None:
    """In float32 only, or in float64 as well, where what is lost is small before it is lost."""
    for layer, status in (
        (of(lambda x: torch.log(1 + torch.exp(x))), "inf"),
        (of(lambda x: torch.exp(x) / torch.exp(x).sum(-1, keepdim=True)), "NaN"),
    ):
        outcome = asked("extreme-inputs", layer, 5)
        assert outcome.status is Status.FAIL
        assert re.fullmatch(rf"finite outputs, as float64 has it \({NUMBER} there\), for inputs of 100", outcome.expected)
        assert outcome.found.startswith(f"{status} in 20 of 20 outputs, at [0, 0] first; also for ")
        assert (outcome.cause, outcome.fix) == ("the first result that is not finite is that of exp", SMALL_EXP)
    outcome = asked("extreme-inputs", of(lambda x: (x.half() * x.half()).to(x.dtype)), 5)
    assert outcome.expected == (
        "finite outputs, as for inputs 1/2 as large (float64 gives 2.2e+04), for inputs of which every second is 300"
        if "every second" in outcome.expected
        else "finite outputs, as for inputs 1/2 as large (float64 gives 2.2e+04), for inputs of 300"
    )
    assert outcome.cause == "the first result that is not finite is that of mul"
    assert outcome.fix == "Rearrange the formula so that nothing on the way is larger than what goes in and comes out"


class Unit(lm.Layer):
    """Each vector by its length."""

    def forward(self, x: Tensor) -> Tensor:
        return x / x.square().sum(-1, keepdim=True).sqrt()


def test_0_by_0() -> None:
    for layer in (Unit(), of(lambda x: torch.sin(x) / x)):
        outcome = asked("extreme-inputs", layer, 5)
        assert re.fullmatch(
            rf"finite outputs, as close to 0 \({NUMBER} for inputs of 1e-60\), for inputs of 0", outcome.expected
        )
        assert outcome.found.startswith("NaN in 20 of 20 outputs, at [0, 0] first")
        assert (outcome.cause, outcome.fix) == ("the first result that is not finite is that of div", DIVISOR)


def test_a_deviation_of_equal_numbers() -> None:
    outcome = asked("extreme-inputs", of(lambda x: (x - x.mean(-1, keepdim=True)) / x.var(-1, keepdim=True).sqrt()), 4)
    assert outcome.status is Status.FAIL
    assert outcome.found.startswith("NaN in ")
    assert outcome.fix == DIVISOR


def test_equal_numbers_other_than_0() -> None:
    def standardized(x: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        return (x - mean) / (x.std(-1, keepdim=True) + (mean == 0))

    outcome = asked("extreme-inputs", of(standardized), 4)
    assert re.fullmatch(
        rf"finite outputs, as for inputs that differ by a thousandth \({NUMBER} there\), for inputs of 100", outcome.expected
    )
    assert (outcome.cause, outcome.fix) == ("the first result that is not finite is that of div", DIVISOR)


def test_an_infinite_slope_times_0() -> None:
    for function in (lambda x: x.square().sqrt(), lambda x: x.square().sum(-1).sqrt(), lambda x: (x**4).sum(-1) ** 0.25):
        outcome = asked("extreme-inputs", of(function), 5)
        assert re.fullmatch(
            rf"a finite gradient, as differences have it \({NUMBER} and {NUMBER} there\), for inputs of 0", outcome.expected
        )
        assert outcome.found.startswith("NaN in 20 of 20 numbers of the gradient of x, at [0, 0] for one; also for ")
        assert re.fullmatch("the first result that is not finite is that of the slope of (sqrt|pow)", outcome.cause)
        assert outcome.fix == "Add a small number inside the root: torch.sqrt(y.square().sum() + 1e-12)"


def test_a_gradient_that_is_not_finite_even_for_usual_inputs() -> None:
    outcome = asked("extreme-inputs", of(lambda x: torch.where(x > 0, torch.sqrt(x), 0 * x)), 5)
    assert outcome.expected.endswith(", for inputs as usual")
    assert outcome.cause == "the first result that is not finite is that of sqrt"


def test_the_gradient_of_a_learnable_alone() -> None:
    class Power(nn.Module):
        """|x| to a learned power: at 0 its slope by the power is 0, and log(0) times 0 is not."""

        def __init__(self) -> None:
            super().__init__()
            self.p = nn.Parameter(torch.tensor(2.0))

        def forward(self, x: Tensor) -> Tensor:
            y = x.detach().abs()
            return torch.where(y > 0, torch.exp(self.p * torch.log(y)), 0 * y)

    outcome = asked("extreme-inputs", Power(), 5)
    assert outcome.expected == "a finite gradient, as differences have it (0 there), for inputs of 0"
    assert outcome.found.startswith("NaN in 1 of 1 numbers of the gradient of p, at [] for one")


def test_in_inference_too() -> None:
    class Gate(lm.Layer):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(x)

        def predict(self, x: Tensor) -> Tensor:
            return torch.exp(x) / (1 + torch.exp(x))

    outcome = asked("extreme-inputs", Gate(), 5)
    assert outcome.expected == "finite outputs, as float64 has it (1 there), for inputs of 100 in inference"


RIGHT: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "exp of exp": lambda x: torch.exp(torch.exp(x)),
    "square": torch.square,
    "tenth power": lambda x: x**10 - x**9,
    "square root": torch.sqrt,
    "signed root": lambda x: x.sign() * x.abs().sqrt(),
    "cube root": lambda x: x.sign() * x.abs() ** (1 / 3),
    "root of a ramp": lambda x: x.relu().sqrt(),
    "logarithm": torch.log,
    "logarithm of the size": lambda x: x.abs().log(),
    "x log x": lambda x: torch.xlogy(x.abs(), x.abs()),
    "inverse": lambda x: 1 / x,
    "inverse square": lambda x: 1 / x.square(),
    "gamma": torch.lgamma,
    "tangent": torch.tan,
    "logit": torch.logit,
    "bell": lambda x: torch.exp(-x.square()),
    "norm": lambda x: torch.linalg.vector_norm(x, dim=-1),
    "deviation": lambda x: x.std(-1),
    "masked": lambda x: x.masked_fill(torch.arange(6) > 2, -torch.inf),
    "masked softmax": lambda x: x.masked_fill(torch.arange(6) > 2, -torch.inf).softmax(-1),
}


def test_a_mask_of_infinity_is_not_blamed() -> None:
    """Only exp makes +inf; the mask's -inf is there for ordinary inputs, too."""

    def shares(x: Tensor) -> Tensor:
        parts = torch.exp(x.masked_fill(torch.arange(6) > 2, -torch.inf))
        return parts / parts.sum(-1, keepdim=True)

    outcome = asked("extreme-inputs", of(shares), 6)
    assert outcome.cause == "the first result that is not finite is that of exp"
    assert outcome.fix.startswith("Keep the argument of exp small")


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_infinite_by_its_nature_is_right(name: str) -> None:
    assert asked("extreme-inputs", of(RIGHT[name]), 6).status in (Status.PASS, Status.NOT_APPLICABLE)


def test_inputs_of_ones_own_keep_to_their_domain() -> None:
    """Shares, whose logarithm of odds has none beyond 0 and 1; and names of rows, given as floats."""

    def shares(batch: int, random: torch.Generator) -> Tensor:
        return torch.rand(batch, 5, generator=random) * 0.8 + 0.1

    odds = of(lambda x: torch.log(x / (1 - x)))
    outcome = asked("extreme-inputs", odds, 5, sample=shares)
    assert (outcome.status, outcome.summary) == (Status.NOT_APPLICABLE, "its domain ends where ordinary inputs end")
    table = torch.linspace(1, 2, 12).reshape(4, 3)
    rows = of(lambda x: table.to(x.dtype)[x[..., 0].long()] * x[..., :3])
    assert (
        asked("extreme-inputs", rows, 5, sample=lambda n, r: torch.rand(n, 5, generator=r) * 3).status is Status.NOT_APPLICABLE
    )
    outcome = asked("offset-inputs", rows, 5, sample=lambda n, r: torch.rand(n, 5, generator=r) * 3)
    assert outcome.summary == "inputs of 1000 ± 1 are refused: IndexError"
