"""Checks of dtypes and of autocast on tiny layers that are wrong in one way; layers of torch on which no check of numbers fails."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from check.asking import NUMBER, asked, of, shape_of
from torch import Tensor, nn

import laminar as lm
from laminar.check.outcome import Status

CASTS = (
    "Make new tensors in the dtype of the input, by x.new_zeros(...) or dtype=x.dtype, and cast by .to(x.dtype) instead of "
    ".float(), .double() or a dtype written out"
)
WIDER = (
    "Replace .float() and dtype=torch.float32 by the dtype of the input; for float32 at least, by "
    "torch.promote_types(x.dtype, torch.float32)"
)
KEPT = "outputs in the dtype of inputs and learnables, in float64, float32 and bfloat16"


# ── dtypes ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Shifted(lm.Layer):
    """Adds a learned number to each feature, as float32."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.shift = self.learnable(shape[-1])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift.float()


class Table(nn.Module):
    """Multiplies by a table that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.linspace(1, 2, 15).reshape(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.table


class Slow(lm.Layer):
    """x w; the gradient of x goes through float32."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.w = self.learnable(shape[-1])

    def forward(self, x: Tensor) -> Tensor:
        return x * self.w

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        return (dz * self.w).float(), (dz * x).sum(tuple(range(x.dim() - 1)))


def test_an_output_in_another_dtype() -> None:
    for layer in (Shifted(), of(lambda x: x + torch.ones(5, dtype=torch.float32))):
        outcome = asked("dtypes", layer, 5)
        assert outcome.status is Status.FAIL
        assert (outcome.expected, outcome.found) == (KEPT, "bfloat16 in, float32 out")
        assert (outcome.cause, outcome.fix) == ("", CASTS)
    assert asked("dtypes", of(lambda x: x.double()), 5).found == "float32 in, float64 out; bfloat16 in, float64 out"


def test_a_tensor_that_is_left_behind() -> None:
    outcome = asked("dtypes", Table(), 5)
    assert outcome.found.startswith("float64 raises RuntimeError: expected m1 and m2 to have the same dtype")
    assert "; bfloat16 raises RuntimeError: " in outcome.found
    assert outcome.cause == "the tensor in the plain attribute 'table' is not converted with the layer"
    assert outcome.fix == "Register it, so that .to() reaches it: self.register_buffer('table', tensor)"


def test_tensors_in_a_list_that_are_left_behind() -> None:
    class Tables(Table):
        def __init__(self) -> None:
            super().__init__()
            self.tables = [self.table]
            del self.table

        def __getattr__(self, name: str) -> Any:
            return self.tables[0] if name == "table" else super().__getattr__(name)

    outcome = asked("dtypes", Tables(), 5)
    assert outcome.cause == "the tensor in the plain attribute 'tables[0]' is not converted with the layer"
    assert outcome.fix == "Register each tensor of self.tables by itself: self.register_buffer(name, tensor)"


def test_the_cause_is_not_claimed_where_another_fault_remains() -> None:
    class Both(Table):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.zeros(3)

    outcome = asked("dtypes", Both(), 5)
    assert (outcome.status, outcome.cause, outcome.fix) == (Status.FAIL, "", CASTS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "function",
    [
        lambda x, dtype: torch.tanh(x.to(dtype)).to(x.dtype),
        lambda x, dtype: torch.tanh(x.to(dtype).to(x.dtype)),
        lambda x, dtype: (x * 3).to(dtype).to(x.dtype),
    ],
    ids=["all of it", "only what comes in", "only what goes out"],
)
def test_float64_that_is_rounded_on_the_way(function: Callable[[Tensor, torch.dtype], Tensor], dtype: torch.dtype) -> None:
    outcome = asked("dtypes", of(lambda x: function(x, dtype)), 9)
    assert outcome.status is Status.FAIL
    assert outcome.expected == "outputs computed in float64, where everything is given in float64"
    assert shape_of(outcome.found) == (
        "inputs changed by # of themselves change # of # outputs, by # #: numbers are rounded to "
        f"{str(dtype).removeprefix('torch.')} on the way"
    )
    assert outcome.fix == WIDER


def test_learnables_that_are_rounded_on_the_way() -> None:
    class Rounded(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.weight.float().to(x.dtype))

    outcome = asked("dtypes", Rounded(4, 9, bias=False), 4)
    assert outcome.found.startswith("learnables changed by 1e-10 of themselves change 0 of ")
    assert outcome.found.endswith(": numbers are rounded to float32 on the way")


def test_a_gradient_that_is_rounded_on_the_way() -> None:
    class Backward(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 3

        @staticmethod
        def backward(ctx: Any, dz: Tensor) -> Tensor:  # type: ignore[override]
            return (dz * 3).float().to(dz.dtype)

    def tripled(x: Tensor) -> Tensor:
        z: Tensor = Backward.apply(x)
        return z

    for layer in (Slow(), of(tripled)):
        outcome = asked("dtypes", layer, 5)
        assert outcome.expected == "gradients computed in float64, where everything is given in float64"
        assert (outcome.found, outcome.fix) == ("the gradient of x has numbers of float32 only", WIDER)


@pytest.mark.parametrize(
    "function",
    [
        torch.sign,
        torch.round,
        lambda x: torch.round(x * 256) / 256,
        lambda x: (x > 0).to(x.dtype),
        lambda x: 1000 + 1e-3 * x,
        lambda x: x.clamp(-0.01, 0.01),
        lambda x: x.argmax(-1, keepdim=True).to(x.dtype),
    ],
    ids=["sign", "round", "steps", "above 0", "large and small", "clamp", "argmax"],
)
def test_what_has_steps_or_hardly_follows_is_not_taken_for_rounding(function: Callable[[Tensor], Tensor]) -> None:
    assert asked("dtypes", of(function), 20).status is Status.PASS


def test_a_bias_that_a_normalization_takes_out_has_no_gradient_to_be_judged() -> None:
    layer = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    assert asked("dtypes", layer, (3, 6, 5)).status is Status.PASS


class Counted(lm.Layer):
    """The mean of a long series, added up step by step: (L, C) -> (C,)."""

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x[:, 0])
        for t in range(x.shape[1]):
            total = total + x[:, t].square()
        return total / x.shape[1]


def test_bfloat16_that_loses_too_much_also_where_only_the_shape_given_shows_it() -> None:
    """Angles of bfloat16; and a sum that is not lossy over the few steps of the smaller shape."""
    for layer, shape in ((of(lambda x: torch.sin(x * 50)), (6,)), (Counted(), (800, 2))):
        outcome = asked("dtypes", layer, shape)
        assert shape_of(outcome.expected) == "bfloat16 within # of float64, on the same numbers"
        assert shape_of(outcome.found) == "the output is off by # of its size"
        assert outcome.fix == (
            "Subtract before squaring or adding, and add up long sums by torch.sum or in float32: x.float()...to(x.dtype)"
        )


def test_a_dtype_that_torch_lacks_is_no_fault() -> None:
    outcome = asked("dtypes", nn.LocalResponseNorm(3), (5, 4, 4))
    assert re.fullmatch(rf"float32 within {NUMBER} of float64; torch has no bfloat16 for it", outcome.summary)
    assert asked("autocast", nn.LocalResponseNorm(3), (5, 4, 4)).status is Status.PASS


def test_whole_numbers_alone_have_no_dtype() -> None:
    class OneHot(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.one_hot(x, 5).float()

    outcome = asked("dtypes", OneHot(), 3, sample=lambda batch, random: torch.randint(5, (batch, 3), generator=random))
    assert (outcome.status, outcome.summary) == (Status.NOT_APPLICABLE, "whole numbers come in, and nothing is learned")


# ── autocast ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

RUNS = "forward and backward to run under torch.autocast in bfloat16, with learnables in float32"


class Product(torch.autograd.Function):
    """x w, whose backward multiplies what comes with what was kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        return dz @ weight.T, x.T @ dz


class Projection(lm.Layer):
    """Projects to three features."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.weight = self.learnable((shape[-1], 3))

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = Product.apply(x, self.weight)
        return z


class Collected(nn.Module):
    """Writes a projection into a tensor made before."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[..., :3]).index_add(0, torch.arange(len(x)), x @ self.weight)


class Cast(lm.Layer):
    """Casts its weights for autocast, and cuts them off."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.weight = self.learnable((shape[-1], 3))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.detach().bfloat16() if torch.is_autocast_enabled("cpu") else self.weight
        return x @ weight


def test_two_dtypes_that_meet_under_autocast() -> None:
    fix = "Cast to one dtype what is combined: y.to(x.dtype) in forward; dz.to(weight.dtype) in a backward of your own"
    for layer, found in (
        (Projection(), "RuntimeError: expected m1 and m2 to have the same dtype, but got: c10::BFloat16 != float"),
        (Collected(), "RuntimeError: index_add_(): self (Float) and source (BFloat16) must have the same scalar type"),
    ):
        outcome = asked("autocast", layer, 4)
        assert (outcome.status, outcome.expected, outcome.found, outcome.fix) == (Status.FAIL, RUNS, found, fix)


def test_a_gradient_lost_under_autocast() -> None:
    outcome = asked("autocast", Cast(), 4)
    assert outcome.expected == "results within 0.06 of float64 under autocast"
    assert outcome.found == "the gradient of weight is missing"
    assert (
        outcome.fix
        == "Cast by .to(dtype), which autograd follows, not by .data or .detach(); keep to float32 what may overflow"
    )


def test_numbers_lost_under_autocast() -> None:
    class Differences(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            wide = torch.promote_types(x.dtype, torch.float32)
            y = F.linear(x.to(wide), self.weight.to(wide))
            return ((y + 300) - 300).to(x.dtype)

    outcome = asked("autocast", Differences(4, 3), 4)
    assert shape_of(outcome.found) == "the output is off by # of its size"
    assert outcome.fix == "Compute what is delicate in float32: with torch.autocast(x.device.type, enabled=False), on x.float()"


# ── right ones ───────────────────────────────────────────────────────────────────────────────────────────────────────────

ACTIVATIONS = [
    *(nn.ELU(), nn.Hardshrink(), nn.Hardsigmoid(), nn.Hardtanh(), nn.Hardswish(), nn.LeakyReLU(), nn.LogSigmoid(), nn.PReLU()),
    *(nn.ReLU(), nn.ReLU6(), nn.RReLU(), nn.SELU(), nn.CELU(), nn.GELU(), nn.GELU("tanh"), nn.Sigmoid(), nn.SiLU(), nn.Mish()),
    *(nn.Softplus(), nn.Softshrink(), nn.Softsign(), nn.Tanh(), nn.Tanhshrink(), nn.Threshold(0.1, 2.0), nn.GLU(1)),
    *(nn.Softmin(-1), nn.Softmax(-1), nn.LogSoftmax(-1)),
]
OTHERS: list[tuple[nn.Module, Any]] = [
    (nn.Linear(7, 5), (7,)),
    (nn.Conv2d(3, 4, 3), (3, 7, 8)),
    (nn.ConvTranspose2d(3, 4, 3, 2), (3, 5, 6)),
    (nn.BatchNorm2d(3), (3, 5, 6)),
    (nn.BatchNorm2d(3, track_running_stats=False), (3, 5, 6)),
    (nn.InstanceNorm2d(3), (3, 5, 6)),
    (nn.LayerNorm(6), (6,)),
    (nn.GroupNorm(2, 4), (4, 5, 5)),
    (nn.RMSNorm(6), (6,)),
    (nn.LocalResponseNorm(3), (5, 4, 4)),
    (nn.LSTM(8, 4, batch_first=True), (7, 8)),
    (nn.GRU(8, 4, batch_first=True, bidirectional=True), (7, 8)),
    (nn.MultiheadAttention(8, 2, batch_first=True), ((6, 8), (5, 8), (5, 8))),
    (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (6, 8)),
    (nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True), (6, 8)),
    (nn.MaxPool2d(2), (3, 6, 6)),
    (nn.MaxPool2d(2, return_indices=True), (3, 6, 6)),
    (nn.AvgPool2d(2), (3, 6, 6)),
    (nn.LPPool2d(2, 2), (3, 6, 6)),
    (nn.AdaptiveMaxPool2d(2), (3, 6, 7)),
    (nn.FractionalMaxPool2d(2, 3), (3, 6, 7)),
    (nn.Dropout(), (9,)),
    (nn.AlphaDropout(), (9,)),
    (nn.Embedding(10, 3), (7,)),
    (nn.Bilinear(3, 4, 5), ((3,), (4,))),
    (nn.CosineSimilarity(), ((6,), (6,))),
    (nn.PairwiseDistance(), ((6,), (6,))),
    (nn.Sequential(*(nn.Sequential(nn.Linear(16, 16), nn.Tanh()) for _ in range(20))), (16,)),
    (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(4)),
        (3, 12, 12),
    ),
]


@pytest.mark.parametrize(("layer", "shape"), [*((a, (4, 6)) for a in ACTIVATIONS), *OTHERS], ids=str)
def test_of_torch(layer: nn.Module, shape: Any) -> None:
    report = lm.check_layer(layer, shape, checks=["numerics"], show=False)
    assert [(o.check, o.summary) for o in report.failures] == []


def test_complex_numbers_have_no_bfloat16() -> None:
    outcome = asked("dtypes", of(lambda x: torch.complex(x[:, :3], x[:, 3:]).square().real), 6)
    assert outcome.status is Status.PASS
    assert outcome.summary.endswith("; torch has no bfloat16 for it")
