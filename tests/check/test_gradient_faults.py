"""The checks of the gradient: each names faults in a layer of Laminar and in a module of torch, word for word."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
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
    HalfDetached,
    Latest,
    MeanOfBatch,
    MinusGain,
    Missing,
    Narrow,
    NeedsBoth,
    Negative,
    NothingAtZero,
    NoTwo,
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
from torch.nn import functional as F

import laminar as lm
from laminar.check.outcome import Status


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


@pytest.mark.parametrize("case", FAULTS, ids=str)
def test_a_fault_is_named(case: Case) -> None:
    outcome = lm.check_layer(case.layer, case.shape, checks=[case.check], show=False)[case.check]
    assert outcome.status is Status.FAIL
    said = [re.sub(r"line \d+:", "line {N}:", text) for text in (outcome.expected, outcome.found, outcome.cause, outcome.fix)]
    assert said == [case.expected, case.found, case.cause, case.fix]


class HalvesOfPairs(lm.Layer):
    """Means of pairs of steps; an odd one out is left away, but not by backward."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool1d(x, 2)

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return F.interpolate(dz, size=x.shape[-1]) / 2


def test_a_backward_for_even_lengths_only() -> None:
    outcome = lm.check_layer(HalvesOfPairs(), (3, 6), checks=["gradient-differences"], show=False)["gradient-differences"]
    assert outcome.expected == "right gradients for inputs of (3, 7), too"
    assert " of 84 numbers of x are wrong, most of all x[" in outcome.found
    assert outcome.cause == "for (3, 6) they are right"
    assert outcome.fix == ("Let backward take sizes from its inputs; mind what is left over where a length does not divide")
