"""The checks of the gradient: right layers pass, and what does not apply is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from check.gradient_layers import (
    Applied,
    Float32Only,
    Gain,
    InPlace,
    Leaky,
    Missing,
    NoTwo,
    Once,
    WrongPower,
    WrongShape,
)
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.check.outcome import Status
from laminar.check.report import CheckReport


def asked(layer: Any, *shapes: Any, **options: Any) -> CheckReport:
    return lm.check_layer(layer, *shapes, show=False, **{"checks": ["gradient"], **options})


# -- right layers ---------------------------------------------------------------------------------------------------------

RIGHT: list[tuple[Callable[[], nn.Module], Any]] = [
    (lambda: L.ELU("uniform", learnable=True), (3, 4, 5)),
    (lambda: L.Dense(3), (6,)),
    (lambda: nn.Conv2d(3, 4, 3), (3, 6, 5)),
    (lambda: nn.BatchNorm2d(3), (3, 4, 5)),
    (lambda: nn.LayerNorm(6), (6,)),
    (lambda: nn.LSTM(4, 3, batch_first=True), (5, 4)),
    (lambda: nn.MultiheadAttention(4, 2, batch_first=True), ((3, 4), (3, 4), (3, 4))),
    (lambda: nn.MaxPool2d(2), (2, 4, 4)),
    (lambda: nn.AdaptiveMaxPool1d(2), (2, 6)),
    (lambda: nn.LPPool2d(2, 2), (2, 4, 4)),
    (lambda: nn.Dropout(0.3), (8,)),
    (nn.GLU, (6,)),
    (lambda: nn.Softmax(-1), (5,)),
    (nn.Hardtanh, (6,)),
    (nn.ReLU6, (6,)),
    (nn.Hardshrink, (6,)),
    (nn.Softshrink, (6,)),
    (nn.Hardsigmoid, (6,)),
    (nn.Hardswish, (6,)),
    (lambda: nn.Threshold(0.5, 2.0), (6,)),
    (nn.RReLU, (6,)),
    (lambda: nn.PReLU(3), (3, 4)),
    (lambda: nn.Embedding(7, 3), (4,)),
    (lambda: nn.Bilinear(3, 4, 2), ((3,), (4,))),
    (Gain, (5,)),
    (Leaky, (5,)),
    (lambda: Applied(Once), (5,)),
    (InPlace, (5,)),
]


@pytest.mark.parametrize(("layer", "shape"), RIGHT, ids=lambda v: type(v()).__name__ if callable(v) else "")
def test_a_right_layer_passes(layer: Callable[[], nn.Module], shape: Any) -> None:
    shapes = shape if isinstance(shape[0], tuple) else (shape,)
    report = asked(layer, *shapes)
    assert report.failures == []
    assert report["used-twice"].status is Status.PASS
    assert report["gradient-differences"].status is Status.PASS


def test_what_a_right_layer_is_told() -> None:
    report = asked(Gain, (5,))
    told = {o.check: re.sub(r"\de-\d\d", "?", o.summary) for o in report.outcomes}
    assert told == {
        "backward-autograd": "x and gain: off by ? of the largest number",
        "gradient-differences": "25 numbers of x and gain: off by ? of the largest",
        "gradient-scale": "x and gain: 1 times the right one, to ?",
        "gradient-kinks": "17 numbers at 0, ±1/2, ±1, ±3, ±6 and in ties: between the slopes to both sides",
        "gradient-layouts": "the same gradients for 6 layouts, transposed and expanded",
        "second-derivative": "right in 4 directions",
        "frozen": "gain: alone and together, and the input",
        "used-twice": "two calls in one graph: the sum of both gradients; .grad gets each once",
    }


# -- where a question does not arise --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "check", "reason"),
    [
        (nn.Tanh, "backward-autograd", "no backward of its own"),
        (nn.Tanh, "frozen", "no learnables"),
        (
            InPlace,
            "backward-autograd",
            "forward hides something from autograd, whose gradient is not that of central differences",
        ),
        (NoTwo, "backward-autograd", "wrong by a factor only: gradient-scale says which"),
        (NoTwo, "gradient-differences", "wrong by a factor only: gradient-scale says which"),
        (WrongShape, "gradient-kinks", "there is no gradient: gradient-differences says why"),
        (WrongShape, "used-twice", "there is no gradient: gradient-differences says why"),
        (
            Float32Only,
            "gradient-differences",
            "it does not run in float64: RuntimeError: expected m1 and m2 to have the same dtype, but got: double != float",
        ),
    ],
)
def test_not_applicable(layer: Callable[[], nn.Module], check: str, reason: str) -> None:
    outcome = asked(layer, (5,), checks=[check])[check]
    assert (outcome.status, outcome.summary) == (Status.NOT_APPLICABLE, reason)


def test_a_surrogate_is_not_measured() -> None:
    report = asked(lambda: Applied(WrongPower), (5,), declares=["surrogate"])
    assert report.passed
    skipped = {o.check for o in report.outcomes if o.summary == "declared: its gradient is not that of its function"}
    assert skipped == {"gradient-differences", "gradient-scale", "gradient-kinks", "second-derivative"}


def test_a_wrong_gradient_without_a_common_factor_is_no_matter_of_scale() -> None:
    assert asked(Missing, (5,))["gradient-scale"].summary == "x: wrong, but by no common factor"


def test_a_factor_of_one_batch_alone_is_no_factor() -> None:
    class Scalar(lm.Layer):
        """One learnable number, whose gradient is wrong in another way for each batch."""

        def build(self, shape: tuple[int, ...]) -> None:
            self.s = self.learnable((), init=0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.s * x

        def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
            return self.s * dz, (dz * x.abs()).sum()

    report = asked(Scalar, (5,))
    assert report["gradient-scale"].summary == "s: wrong, but by no common factor"
    assert report["backward-autograd"].status is Status.FAIL


def test_an_output_that_changes_from_call_to_call_is_no_fault_of_the_gradient() -> None:
    class Counting(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x * self.calls

    report = asked(Counting, (5,))
    assert report.passed
    reason = "its output changes from call to call with the same seed: no-hidden-state and deterministic tell more"
    assert report["used-twice"].summary == report["gradient-differences"].summary == reason


def test_a_layer_that_computes_in_float32_is_measured_as_far_as_that_goes() -> None:
    class Narrower(nn.Module):
        def __init__(self, *, wrong: bool) -> None:
            super().__init__()
            self.wrong = wrong

        def forward(self, x: Tensor) -> Tensor:
            y = torch.tanh(x.float())
            return ((y + y.detach()) / 2 if self.wrong else y).to(x.dtype)

    right = asked(lambda: Narrower(wrong=False), (8,))
    assert right.failures == []
    assert "as float32 does" in right["gradient-differences"].summary
    wrong = asked(lambda: Narrower(wrong=True), (8,))["gradient-scale"]
    assert wrong.found == "the gradient of x is 1/2 times it"


def test_two_digits_are_too_few_for_differences() -> None:
    class Short(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(x.bfloat16()).to(x.dtype)

    reason = "inside it rounds to 4e-03 of its output: differences do not see slopes"
    assert asked(Short, (8,))["gradient-differences"].summary == reason


def test_one_wrong_number_among_many_is_found() -> None:
    class OneWrong(lm.Layer):
        """x², right but for one number of 2 000: a sample of them would hardly show it, directions do."""

        def forward(self, x: Tensor) -> Tensor:
            return x**2

        def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
            dx = 2 * x * dz
            dx[0, 123] += 1
            return dx

    outcome = asked(OneWrong, (500,), checks=["gradient-differences"])["gradient-differences"]
    assert outcome.found.startswith("1 of 2000 numbers of x are wrong, most of all x[0, 123]: ")


def test_the_factor_follows_the_lengths_of_the_output() -> None:
    class MeanOfMap(lm.Layer):
        """x[1:] + bias; the bias' gradient is a mean over the rows that are left."""

        def build(self, shape: tuple[int, ...]) -> None:
            self.bias = self.learnable(shape[0], init="ones")

        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, 1:] + self.bias[:, None, None]

        def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
            return nn.functional.pad(dz, (0, 0, 1, 0)), dz.mean(2).sum((0, 2))

    outcome = asked(MeanOfMap, (3, 6, 5), checks=["gradient-scale"])["gradient-scale"]
    assert outcome.cause == "the gradient of bias is a mean over the output height where the sum belongs"
    assert outcome.fix == "Sum the gradient of bias over the output height: sum(), not mean()"


def test_a_logarithm_at_zero_is_no_kink() -> None:
    class Logarithm(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(x)

    report = asked(Logarithm, (6,), sample=lambda batch, g: torch.rand(batch, 6, generator=g) + 0.5)
    assert report.failures == []
    assert asked(Logarithm, (6,), checks=["gradient-kinks"]).failures == [], "0 and negative numbers among the inputs"


def test_what_writes_into_its_input_is_not_blamed_here() -> None:
    report = asked(lambda: nn.ReLU(inplace=True), (6,))
    assert report.failures == []
    assert report["used-twice"].status is Status.PASS
    assert report["gradient-layouts"].summary == "the same gradients for 4 layouts, transposed and expanded"


def test_layouts_on_which_the_output_is_not_finite_say_nothing() -> None:
    class Standardized(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True)

    report = asked(Standardized, (6,), checks=["gradient-layouts"])
    assert report["gradient-layouts"].summary == "the same gradients for 5 layouts, transposed and expanded"


def test_the_layer_is_as_before() -> None:
    layer = Gain()
    layer(torch.ones(2, 5))
    layer.freeze("gain")
    before = {n: p.clone() for n, p in layer.named_parameters()}
    asked(layer, (5,))
    assert all(torch.equal(before[n], p) for n, p in layer.named_parameters())
    assert not layer.gain.requires_grad
    assert layer.gain.grad is None


class WritesThere(torch.autograd.Function):
    """A square, whose backward writes into the output gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return dz.mul_(2 * x)


def test_a_backward_that_writes_into_the_output_gradient() -> None:
    """It is wrong for one that sum() made, whose numbers lie in one place; used twice it adds up."""
    report = asked(lambda: Applied(WritesThere), (5,), skip=["second-derivative"])
    assert [o.check for o in report.failures] == ["gradient-layouts"]
    assert report["gradient-layouts"].expected.endswith("for an output gradient expanded along the batch")


class WithTotal(nn.Module):
    """The layer's output, and one number for the whole batch, as a term of a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.linear(x)
        return z, z.square().mean()


def test_an_output_may_be_a_single_number() -> None:
    report = asked(WithTotal(), (5,))
    assert report.failures == []
    assert report["gradient-layouts"].status is Status.PASS


class DrawsAgain(lm.Layer):
    """Dropout whose backward draws another mask."""

    declares = ("random",)

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) > 0.4)

    def predict(self, x: Tensor) -> Tensor:
        return x

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return dz * (torch.rand_like(x) > 0.4)


def test_a_backward_that_draws() -> None:
    report = asked(DrawsAgain(), (20,))
    assert report["gradient-layouts"].status is Status.PASS
    assert report["used-twice"].cause == "backward draws random numbers of its own, others than those of forward"


class MadeByTheCall(nn.Module):
    """Makes its part when it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.linear: nn.Linear | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.linear = self.linear or nn.Linear(x.shape[-1], 4, dtype=x.dtype)
        z: Tensor = self.linear(x)
        return z


def test_learnables_made_by_a_call_leave_the_second_derivative_open() -> None:
    report = lm.check_layer(MadeByTheCall, 5, checks=["gradient"], show=False)
    assert report["second-derivative"].summary == "means nothing while learnables-stable fails"


class SumOfSteps(lm.Layer):
    """a times the sum over the steps so far; backward takes z for the sum, which is right while a is 1."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.a = self.learnable((), init="ones")

    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(-1) * self.a

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        return dz.flip(-1).cumsum(-1).flip(-1) * self.a, (dz * z).sum()


def test_a_factor_that_is_a_learnable() -> None:
    outcome = asked(SumOfSteps(), (6,))["gradient-scale"]
    assert re.fullmatch(r"the factor of the gradient of a is a, [\d.]+ here", outcome.cause)
    assert outcome.fix == "Take the factor a, which changes as it learns, out of the gradient of a"


class LargestOverSteps(nn.Module):
    """A map, the maximum over the steps, and a map of these."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Linear(3, 16), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.after(self.before(x).amax(1))
        return z


def test_ties_that_meet_again_in_a_sum() -> None:
    assert asked(LargestOverSteps, (30, 3), checks=["gradient-kinks"]).failures == []
