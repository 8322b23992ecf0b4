"""Checks of inputs far from 0, of NaN, and of large batches, on tiny layers that are wrong in one way."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from check.asking import NUMBER, asked, of
from torch import Tensor, nn

import laminar as lm
from laminar.check.outcome import Status

# ── inputs far from 0 ────────────────────────────────────────────────────────────────────────────────────────────────────

DIFFERENCES = (
    "Take differences before squares and sums: (x - x.mean()).square().mean() or torch.var in place of "
    "x.square().mean() - x.mean().square()"
)


class Standardized(lm.Layer):
    """Standardizes by E[x²] - E[x]²."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        variance = x.square().mean(-1, keepdim=True) - mean.square()
        return (x - mean) / torch.sqrt(variance.clamp(min=0) + 1e-3)


class Batch(nn.BatchNorm1d):
    """Keeps the variance that E[x²] - E[x]² gives."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.running_var is not None:
            found = x.square().mean(0) - x.mean(0).square()
            self.running_var.copy_((0.9 * self.running_var + 0.1 * found).detach())
        return x - x.mean(0) if self.training else x


def test_a_variance_of_large_numbers_that_cancel() -> None:
    """In what goes out, and in what is kept."""
    for layer, what in ((Standardized(), "the output"), (Batch(40), "the state 'running_var'")):
        outcome = asked("offset-inputs", layer, 40)
        assert outcome.status is Status.FAIL
        assert re.fullmatch(rf"float32 within {NUMBER} of float64, for inputs of 1000 ± 1", outcome.expected)
        assert re.fullmatch(rf"{what} is off by {NUMBER} of its size", outcome.found)
        assert outcome.fix == DIFFERENCES


@pytest.mark.parametrize("layer", [nn.LayerNorm(6), nn.BatchNorm1d(6), of(lambda x: x - x.mean(-1, keepdim=True))], ids=str)
def test_differences_before_squares(layer: nn.Module) -> None:
    assert asked("offset-inputs", layer, 6).status is Status.PASS


# ── NaN ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

KEEPS_NAN = (
    "Use what keeps NaN: torch.relu, clamp, maximum, mean; torch.where(x < 0, 0, x), as NaN < 0 is false. If it is taken out on "
    'purpose, say so: declares = ("nan",)'
)


class Ramp(lm.Layer):
    """max(x, 0) by comparison."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.0)


def test_nan_that_is_silenced() -> None:
    for layer, operation in ((Ramp(), "where"), (of(lambda x: (2 * x).nan_to_num()), "nan_to_num")):
        outcome = asked("nan-in", layer, 40)
        assert outcome.status is Status.FAIL
        assert outcome.expected == "NaN out, for an observation that is NaN"
        assert re.fullmatch(r"numbers in (\d+) of \1 outputs that follow it, 0 for one", outcome.found)
        assert outcome.cause == f"{operation} is given NaN there and returns none"
        assert outcome.fix == KEEPS_NAN


def test_a_single_nan_that_is_silenced() -> None:
    for function in (lambda x: x.nanmean(-1), lambda x: torch.fmax(x[:, 0], x[:, 1])):
        outcome = asked("nan-in", of(function), 2)
        assert outcome.expected == "NaN out, for a single input that is NaN"
        assert re.fullmatch(rf"numbers in 1 of 1 outputs that follow it, {NUMBER} for one", outcome.found)
        assert re.fullmatch(r"(nansum|fmax) is given NaN there and returns none", outcome.cause)


def test_nan_taken_out_on_purpose_or_refused_aloud() -> None:
    outcome = asked("nan-in", Ramp(), 5, declares=["nan"])
    assert (outcome.status, outcome.summary) == (Status.NOT_APPLICABLE, "declares that it takes NaN out")

    def strict(x: Tensor) -> Tensor:
        if x.isnan().any():
            raise ValueError("NaN")
        return x

    outcome = asked("nan-in", of(strict), 5)
    assert (outcome.status, outcome.summary) == (Status.PASS, "refused aloud: ValueError")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[..., 1:3],
        lambda x: x.relu(),
        lambda x: x.cummax(-1).values,
        lambda x: x.sort(-1).values,
        lambda x: x[..., ::2],
    ],
    ids=["crop", "ramp", "largest so far", "sort", "stride"],
)
def test_outputs_that_follow_part_of_the_input(function: Callable[[Tensor], Tensor]) -> None:
    assert asked("nan-in", of(function), 7).status is Status.PASS


def test_a_maximum_put_back_in_its_place() -> None:
    """Of NaN, the first is the largest: the others' places are 0, as they are of numbers."""

    def unpooled(x: Tensor) -> Tensor:
        z, places = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(z, places, 2)

    assert asked("nan-in", of(unpooled), (2, 6, 6)).status is Status.PASS


def test_what_torchs_attention_loses_is_a_note() -> None:
    class Attention(nn.Module):
        def forward(self, q: Tensor, k: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, k, k)

    outcome = asked("nan-in", Attention(), (2, 2), (2, 2))
    lost = F.scaled_dot_product_attention(torch.full((1, 2, 2), torch.nan), *[torch.ones(1, 2, 2)] * 2).isfinite().all()
    assert outcome.status is (Status.NOTE if lost else Status.PASS)


# ── large batches ────────────────────────────────────────────────────────────────────────────────────────────────────────

PIECES = "Look at what is counted or cut by the batch: pieces and their rest, index dtypes, buffers of a fixed size"


class Pieces(torch.autograd.Function):
    """x w, the gradient of w in whole pieces of 64 observations."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        whole = len(x) // 64 * 64 or len(x)
        return dz * weight, (dz * x)[:whole].sum(0)


class Scaled(lm.Layer):
    """x w."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.w = self.learnable(shape)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = Pieces.apply(x, self.w)
        return z


def test_observations_of_a_large_batch_that_are_treated_otherwise() -> None:
    expected = "in a batch of 4099 what a few of its observations give in a batch of their own"
    halves = of(lambda x: x if len(x) < 1000 else x.bfloat16().to(x.dtype))
    for layer, what in ((Scaled(), "the gradient of w"), (halves, "the output")):
        outcome = asked("large-batch", layer, 5)
        assert (outcome.status, outcome.expected, outcome.fix) == (Status.FAIL, expected, PIECES)
        assert re.fullmatch(rf"{what} is off by {NUMBER} of its size", outcome.found)


def test_statistics_of_a_large_batch_in_few_bits() -> None:
    class Centred(nn.Module):
        """Takes the mean square of the batch out; adds it up in bfloat16 where the batch is large."""

        def forward(self, x: Tensor) -> Tensor:
            total = x.square().sum(0)
            if len(x) > 1000 and x.dtype == torch.float32:
                total = total.bfloat16().to(x.dtype)
            return x - total / len(x)

    outcome = asked("large-batch", Centred(), 5, declares=["always batch"])
    assert outcome.status is Status.FAIL
    assert re.fullmatch(rf"float32 within {NUMBER} of float64 in a batch of 4099", outcome.expected)
    assert outcome.fix == "Add up by torch.sum, mean or a matrix product, which add in pairs, or in float64"


def test_outputs_that_are_complex_or_follow_nothing() -> None:
    outcome = asked("nan-in", of(torch.fft.rfft), 8)
    assert outcome.summary == "NaN in all 8 outputs that follow an observation of NaN", "two of five have no imaginary part"
    outcome = asked("nan-in", of(lambda x: torch.zeros(len(x), 2)), 8)
    assert (outcome.status, outcome.summary) == (Status.NOT_APPLICABLE, "no output follows the input")


def test_what_loops_over_its_observations_gets_fewer_of_them() -> None:
    """Each of them takes four operations more."""
    outcome = asked("large-batch", of(lambda x: torch.stack([(o.sin() + 1).square() for o in x])), 4)
    assert outcome.summary.startswith("2053 observations: ")
    assert asked("large-batch", of(lambda x: (x.sin() + 1).square()), 4).summary.startswith("4099 observations: ")
