"""The checks of the gradient: each names faults in a layer of Laminar and in a module of torch, and lets right ones pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from check.gradient_layers import (
    Applied,
    AsPower,
    Breaks,
    ByNumPy,
    Constant,
    DetachedDivisor,
    Detaches,
    DividedByBatch,
    EachMaximum,
    FirstObservation,
    Float32Only,
    Gain,
    HalfDetached,
    InPlace,
    Latest,
    Leaky,
    MeanOfBatch,
    MinusGain,
    Missing,
    Narrow,
    NeedsBoth,
    Negative,
    NothingAtZero,
    NoTwo,
    Once,
    OnlyTogether,
    Remembers,
    RootOfSquare,
    Strided,
    Unfreezes,
    Views,
    Weighted,
    WritesGrad,
    WrongInInference,
    WrongPower,
    WrongShape,
)
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.check.outcome import Status
from laminar.check.report import CheckReport


@dataclass(frozen=True)
class Case:
    """A layer with a fault, the check that names it, and what that check says, word for word."""

    check: str
    layer: Callable[[], nn.Module]
    shape: tuple[int, ...]
    expected: str
    found: str
    cause: str
    fix: str

    def __str__(self) -> str:
        return f"{self.check}: {type(self.layer()).__name__} {getattr(self.layer(), 'function', None) or ''}"


FAULTS = [
    Case(
        "backward-autograd",
        Missing,
        (5,),
        "the gradients that autograd makes of forward, in x",
        "20 of 20 numbers of x are wrong, most of all x[2, 3]: 4.37169 instead of 2.2451",
        "",
        "Correct the gradient of x in backward",
    ),
    Case(
        "backward-autograd",
        FirstObservation,
        (5,),
        "the gradients that autograd makes of forward, in gain",
        "5 of 5 numbers of gain are wrong, most of all gain[1]: 0.0628265 instead of 2.71361",
        "",
        "Correct the gradient of gain in backward",
    ),
    Case(
        "backward-autograd",
        Narrow,
        (5,),
        "the gradients that autograd makes of forward, in x",
        "18 of 20 numbers of x are wrong, most of all x[0, 2]: -2.18925023 instead of -2.18925046",
        "every number of the gradient of x fits into float32, off by 8e-08 of the largest: it is computed in float32",
        "Correct the gradient of x in backward",
    ),
    Case(
        "backward-autograd",
        WrongShape,
        (5,),
        "the gradients that autograd makes of forward",
        "GradientError: layer 'wrong_shape' (WrongShape): expected the gradient of 'gain' to have shape (5,), received (4, 5)",
        "",
        "Sum over the axes along which it was broadcast",
    ),
    Case(
        "gradient-differences",
        Missing,
        (5,),
        "the gradients that central differences give, in x",
        "20 of 20 numbers of x are wrong, most of all x[2, 3]: 4.37169 instead of 2.2451",
        "",
        "Correct the gradient of x in backward",
    ),
    Case(
        "gradient-differences",
        WrongShape,
        (5,),
        "the gradients that central differences give",
        "GradientError: layer 'wrong_shape' (WrongShape): expected the gradient of 'gain' to have shape (5,), received (4, 5)",
        "",
        "Sum over the axes along which it was broadcast",
    ),
    Case(
        "gradient-differences",
        lambda: Applied(WrongPower),
        (5,),
        "the gradients that central differences give, in x",
        "20 of 20 numbers of x are wrong, most of all x[2, 3]: 6.55753 instead of -11.7012",
        "the gradient of x lacks the factor x",
        "Correct the gradient of x in WrongPower.backward",
    ),
    Case(
        "gradient-differences",
        DetachedDivisor,
        (5,),
        "the gradients that central differences give, in x",
        "20 of 20 numbers of x are wrong, most of all x[2, 3]: -0.0970618 instead of 0.00575821",
        "",
        "Take detach(), .data, no_grad() and conversions to NumPy or to numbers out of what forward does with x",
    ),
    Case(
        "gradient-differences",
        ByNumPy,
        (5,),
        "the gradients that central differences give, in x",
        "x has none; at x[2, 3] it is 4.37169",
        "",
        "Take detach(), .data, no_grad() and conversions to NumPy or to numbers out of what forward does with x",
    ),
    Case(
        "gradient-differences",
        WrongInInference,
        (5,),
        "the gradients that central differences give, in x",
        "in inference mode: 20 of 20 numbers of x are wrong, most of all x[0, 4]: 1.77919 instead of 0.432753",
        "",
        "Take detach(), .data, no_grad() and conversions to NumPy or to numbers out of what forward or predict does with x",
    ),
    Case(
        "gradient-scale",
        NoTwo,
        (5,),
        "the gradient of x that central differences give",
        "the gradient of x is 1/2 times it",
        "the gradient of x has the constant factor 1/2: the same for other data and other sizes",
        "Multiply the gradient of x by 2",
    ),
    Case(
        "gradient-scale",
        MeanOfBatch,
        (5,),
        "the gradient of gain that central differences give",
        "the gradient of gain is 1/4 times it",
        "the gradient of gain is a mean over the batch where the sum belongs: 1/4 with 4 observations, 1/7 with 7",
        "Sum the gradient of gain over the batch: sum(), not mean()",
    ),
    Case(
        "gradient-scale",
        MinusGain,
        (5,),
        "the gradient of gain that central differences give",
        "the gradient of gain is -1 times it",
        "the sign of the gradient of gain is turned",
        "Turn the sign of the gradient of gain",
    ),
    Case(
        "gradient-scale",
        lambda: Applied(Negative),
        (5,),
        "the gradient of x that central differences give",
        "the gradient of x is -1 times it",
        "the sign of the gradient of x is turned",
        "Turn the sign of the gradient of x",
    ),
    Case(
        "gradient-scale",
        lambda: Applied(DividedByBatch),
        (5,),
        "the gradient of x that central differences give",
        "the gradient of x is 1/4 times it",
        "the gradient of x is divided by the length of the batch: 1/4 with 4 observations, 1/7 with 7",
        "Do not divide the gradient of x by the length of the batch",
    ),
    Case(
        "gradient-scale",
        HalfDetached,
        (5,),
        "the gradient of x that central differences give",
        "the gradient of x is 1/2 times it",
        "the gradient of x has the constant factor 1/2: the same for other data and other sizes",
        "Take detach(), .data, no_grad() and conversions to NumPy or to numbers out of what forward does with x",
    ),
    Case(
        "gradient-kinks",
        NothingAtZero,
        (5,),
        "a gradient of -0.998418 to -0.249605 at x[3, 4] = 0, between the slopes to both sides",
        "0",
        "",
        "Take the slope of one side at 0: one of the pieces must include it",
    ),
    Case(
        "gradient-kinks",
        EachMaximum,
        (5,),
        "a gradient of 0.803276 at all of x[0] together, equal to -1.52781, between the slopes to both sides",
        "4.01638 (2 of 7 numbers)",
        "each of the equal numbers by itself is right: only their sum is wrong",
        "Share the gradient among equal numbers, or give it to one of them",
    ),
    Case(
        "gradient-kinks",
        lambda: Applied(AsPower),
        (5,),
        "a gradient of 0 at x[3, 4] = 0, between the slopes to both sides",
        "nan",
        "",
        "Keep 0/0 and 0·inf out of the gradient at 0: choose the input of the function, not its result",
    ),
    Case(
        "gradient-kinks",
        RootOfSquare,
        (5,),
        "a gradient of -0.998418 to 0.998418 at x[3, 4] = 0, between the slopes to both sides",
        "nan",
        "",
        "Keep 0/0 and 0·inf out of the gradient at 0: choose the input of the function, not its result",
    ),
    Case(
        "gradient-layouts",
        Views,
        (3, 5),
        "the gradients of contiguous tensors, for an output gradient transposed in memory",
        "RuntimeError: view size is not compatible with input tensor's size and stride (at least one dimension spans across two contiguous ...",
        "",
        "Use reshape() in place of view() in backward: gradient_layers.py, line {N}: return 2 * self.gain * x * dz, (dz.view(-1, x.shape[-1]) * x.reshape(-1, x.shape[-1]) ** 2).sum(0)",
    ),
    Case(
        "gradient-layouts",
        lambda: Applied(Strided),
        (5,),
        "the gradients of contiguous tensors, for an output gradient transposed in memory",
        "the gradient of x is off by 22.0024, whose largest number is 11.7012",
        "",
        "Write backward without strides: no as_strided, no data_ptr; new tensors by torch.empty(x.shape)",
    ),
    Case(
        "second-derivative",
        Detaches,
        (5,),
        "a slope of the gradient of 3.75259 along a direction of x, by differences; or a refusal",
        "2.24316",
        "",
        "Compute in backward with what autograd follows (saved tensors, no .data, no constants of forward), or refuse with once_differentiable",
    ),
    Case(
        "second-derivative",
        lambda: Applied(Constant),
        (5,),
        "a slope of the gradient of 3.84106 along a direction of x, by differences; or a refusal",
        "none: autograd sees a constant",
        "",
        "Compute in Constant.backward with what autograd follows (saved tensors, no .data, no constants of forward), or refuse with once_differentiable",
    ),
    Case(
        "second-derivative",
        lambda: Applied(Breaks),
        (5,),
        "a second derivative, or a refusal that says so",
        "ValueError: no such table",
        "",
        "Decorate backward of the autograd function with once_differentiable",
    ),
    Case(
        "frozen",
        OnlyTogether,
        (5,),
        "all other gradients as before, with gain frozen",
        "the gradient of x is off by 2.24157, whose largest number is 2.24157",
        "",
        "Compute each gradient on its own condition: that of gain must not decide over others",
    ),
    Case(
        "frozen",
        lambda: Weighted(NeedsBoth),
        (5,),
        "gradients for all that is not frozen, and no exception",
        "with w frozen: RuntimeError: both are needed",
        "",
        'Let backward do without the gradient of w: gradient_layers.py, line {N}: raise RuntimeError("both are needed")',
    ),
    Case(
        "frozen",
        Unfreezes,
        (5,),
        "no gradient for w, with w frozen",
        "one for w",
        "",
        "Leave requires_grad and .grad to the user: the layer must not set them",
    ),
    Case(
        "used-twice",
        Remembers,
        (5,),
        "for two calls in one graph the sum of both gradients",
        "the gradient of x of call 1 is off by 5.5063, whose largest number is 4.66799",
        "once it was called again, the gradient of the first call is another: something is kept from the last call",
        "Hand what backward needs to it by memory (return z, memory) or ctx.save_for_backward, not by an attribute",
    ),
    Case(
        "used-twice",
        lambda: Applied(Latest),
        (5,),
        "for two calls in one graph the sum of both gradients",
        "the gradient of x of call 1 is off by 11.3238, whose largest number is 11.7012",
        "once it was called again, the gradient of the first call is another: something is kept from the last call",
        "Hand what backward needs to it by memory (return z, memory) or ctx.save_for_backward, not by an attribute",
    ),
    Case(
        "used-twice",
        lambda: Weighted(WritesGrad),
        (5,),
        "in .grad, after backward(), the gradient that the layer returns to autograd",
        "the gradient of w is off by 1.74401, whose largest number is 1.74401",
        "something other than autograd writes or adds to .grad",
        "Return the gradient from backward and leave .grad to autograd",
    ),
]


def asked(layer: Any, *shapes: Any, **options: Any) -> CheckReport:
    return lm.check_layer(layer, *shapes, show=False, **{"checks": ["gradient"], **options})


@pytest.mark.parametrize("case", FAULTS, ids=str)
def test_a_fault_is_named(case: Case) -> None:
    outcome = asked(case.layer, case.shape, checks=[case.check])[case.check]
    assert outcome.status is Status.FAIL
    said = [re.sub(r"line \d+:", "line {N}:", text) for text in (outcome.expected, outcome.found, outcome.cause, outcome.fix)]
    assert said == [case.expected, case.found, case.cause, case.fix]


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


def test_the_layer_is_as_before() -> None:
    layer = Gain()
    layer(torch.ones(2, 5))
    layer.freeze("gain")
    before = {n: p.clone() for n, p in layer.named_parameters()}
    asked(layer, (5,))
    assert all(torch.equal(before[n], p) for n, p in layer.named_parameters())
    assert not layer.gain.requires_grad
    assert layer.gain.grad is None
