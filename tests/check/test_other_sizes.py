"""Other heights, widths and lengths: what runs, what is refused, and by which rule the output grows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from check.asking import asked
from torch import Tensor, nn
from torch.nn import functional as F

import laminar as lm
from laminar import layers as L
from laminar.check.misfits import misfit
from laminar.check.outcome import Outcome, Status
from laminar.errors import ShapeError
from laminar.layers.arithmetic import Arithmetic

Make = Callable[[], nn.Module]


def words(outcome: Outcome) -> tuple[str, str, str, str]:
    return outcome.expected, outcome.found, outcome.cause, outcome.fix


# ── faulty ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


class DownAndUp(nn.Module):
    """Half as large, and twice as large again."""

    def forward(self, x: Tensor) -> Any:
        return F.interpolate(F.avg_pool2d(x, 2), scale_factor=2)


class DeepDownAndUp(nn.Module):
    """An eighth as long, and eight times as long again."""

    def forward(self, x: Tensor) -> Any:
        return F.interpolate(F.avg_pool1d(x, 8), scale_factor=8)


class Trimmed(lm.Layer):
    """Drops the last step of odd lengths."""

    def forward(self, x: Tensor) -> Any:
        return x[..., : x.shape[-1] // 2 * 2]


class SkipDoesNotFit(nn.Module):
    """Adds what went down and up to the input."""

    def forward(self, x: Tensor) -> Any:
        return x + F.interpolate(F.avg_pool1d(x, 2), scale_factor=2)


class Pairs(lm.Layer):
    """Means of pairs of steps, by reshape; it has no check_input."""

    def forward(self, x: Tensor) -> Any:
        return x.reshape(*x.shape[:-1], x.shape[-1] // 2, 2).mean(-1)


class PairsRefused(Pairs):
    """The same, with a refusal."""

    def check_input(self, shape: tuple[int, ...]) -> None:
        if shape[-1] % 2:
            raise ShapeError("pairs: expected an even length, received an odd one. Pad it.")


class PairsOfTorch(nn.Module):
    """The same as a module of torch: torch's error is its refusal."""

    def forward(self, x: Tensor) -> Any:
        return x.reshape(*x.shape[:-1], x.shape[-1] // 2, 2).mean(-1)


class Shrinking(lm.Layer):
    """The remainder by 3, and 1."""

    def forward(self, x: Tensor) -> Any:
        return x[..., : x.shape[-1] % 3 + 1]


class IntoTheBatch(nn.Module):
    """Rows of five, whatever comes."""

    def forward(self, x: Tensor) -> Any:
        return x.reshape(-1, 3, 5)


class WrongPromise(lm.Layer):
    """Every second step, the first included; its arithmetic says otherwise."""

    def forward(self, x: Tensor) -> Any:
        return x[..., ::2]

    def arithmetic(self, shape: tuple[int, ...]) -> Arithmetic:
        return Arithmetic((*shape[:-1], shape[-1] // 2), 0, ("half",))


class WrongCount(lm.Layer):
    """A factor for each feature; its arithmetic says one for all."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.factor = self.learnable(shape[-1])

    def forward(self, x: Tensor) -> Any:
        return x * self.factor

    def arithmetic(self, shape: tuple[int, ...]) -> Arithmetic:
        return Arithmetic(shape, 1, ("1 factor",))


class MeanBySizeOfBuild(lm.Layer):
    """Divides by the number of positions that it was built for."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.positions = shape[1] * shape[2]
        self.gain = self.learnable(shape[0], init="ones")

    def forward(self, x: Tensor) -> Any:
        return x.sum((2, 3)) / self.positions * self.gain


KEPT_FIX = "Pad or crop the output to the input's length, or refuse the lengths that do not divide"
FAULTY: list[Any] = [
    (
        DownAndUp,
        (3, 6, 5),
        "the length kept for all inputs or for none: 6 → 6 for (3, 6, 5)",
        "7 → 6 for (3, 7, 5)",
        "",
        KEPT_FIX,
    ),
    (
        DeepDownAndUp,
        (3, 9),
        "the length kept for all inputs or for none: 16 → 16 for (3, 16)",
        "17 → 16 for (3, 17)",
        "",
        KEPT_FIX,
    ),
    (Trimmed, (3, 8), "the length kept for all inputs or for none: 8 → 8 for (3, 8)", "9 → 8 for (3, 9)", "", KEPT_FIX),
    (
        SkipDoesNotFit,
        (3, 8),
        "an output for (3, 9), as for (3, 10), or a refusal",
        "RuntimeError: The size of tensor a (9) must match the size of tensor b (8) at non-singleton dimension 2",
        "two results inside do not fit each other: add of (2, 3, 9) and (2, 3, 8)",
        "Bring both to one size, or crop or pad one to the other's, for odd lengths too",
    ),
    (
        Pairs,
        (3, 8),
        "an output for (3, 9), as for (3, 10), or a ShapeError",
        "RuntimeError: shape '[2, 3, 4, 2]' is invalid for input of size 54",
        "",
        "Define check_input(self, shape): raise a laminar.errors.ShapeError for a shape that the layer cannot take",
    ),
    (
        Shrinking,
        (3, 8),
        "an output for (3, 9) that is no smaller than the one for (3, 8)",
        "(3, 1), after (3, 3)",
        "",
        "Compute the output's length from the input's, or refuse the lengths that do not divide",
    ),
    (
        IntoTheBatch,
        (3, 5),
        "2 outputs for 2 observations of (6, 5)",
        "(4, 3, 5)",
        "",
        "Give the batch axis its length from x.shape[0], and -1 to an axis of the observation",
    ),
    (
        WrongPromise,
        (3, 8),
        "(3, 4) for (3, 9), as explain says",
        "(3, 5)",
        "",
        "Correct arithmetic(shape), or the sizes in forward",
    ),
    (
        WrongCount,
        (8,),
        "a count of 1 in learnables for (8,), as explain says",
        "8",
        "",
        "Correct the count in arithmetic(shape), or what build declares",
    ),
    (
        MeanBySizeOfBuild,
        (3, 6, 5),
        "the same for (3, 7, 5) from a layer built for (3, 6, 5) as from one built for (3, 7, 5)",
        "an output that is off by 0.17, with the same learnables",
        "",
        "Take sizes from x.shape in forward, not from what build kept; or refuse other sizes in check_input",
    ),
]


@pytest.mark.parametrize(("make", "shape", "expected", "found", "cause", "fix"), FAULTY)
def test_a_size_that_goes_wrong(make: Make, shape: tuple[int, ...], expected: str, found: str, cause: str, fix: str) -> None:
    assert words(asked("other-sizes", make, shape)) == (expected, found, cause, fix)


# ── right ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class SayingSo(Trimmed):
    """Drops the last step of odd lengths, and its arithmetic says so."""

    def arithmetic(self, shape: tuple[int, ...]) -> Arithmetic:
        return Arithmetic((*shape[:-1], shape[-1] // 2 * 2), 0, ("even",))


class AtMost(nn.Module):
    """The first eight steps."""

    def forward(self, x: Tensor) -> Any:
        return x[..., :8]


class Squares(nn.Module):
    """Height and width have to be equal."""

    def forward(self, x: Tensor) -> Any:
        return x @ x


class TwoLengths(nn.Module):
    """A sequence, halved, beside one that is half as long."""

    def forward(self, a: Tensor, b: Tensor) -> Any:
        return F.avg_pool1d(a, 2) + b


class Positions(nn.Module):
    """Adds to each of at most eight steps what was learned for it."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(8, 3))

    def forward(self, x: Tensor) -> Any:
        return x + self.table[: x.shape[1]]


IMAGE, SERIES = (4, 8, 6), (4, 8)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.Conv2d(4, 3, 3, stride=2, padding=1), IMAGE),
        (lambda: nn.ConvTranspose2d(4, 3, 4, stride=2, padding=3), IMAGE),
        (lambda: nn.MaxPool2d(2, ceil_mode=True), IMAGE),
        (lambda: nn.PixelShuffle(2), IMAGE),
        (lambda: nn.PixelUnshuffle(2), IMAGE),
        (lambda: nn.AdaptiveAvgPool2d((8, None)), IMAGE),
        (lambda: nn.Upsample(scale_factor=1.5), IMAGE),
        (lambda: nn.Upsample(size=(8, 7)), IMAGE),
        (lambda: nn.Unfold(3), IMAGE),
        (lambda: nn.ReflectionPad2d(2), IMAGE),
        (lambda: nn.ZeroPad2d(-1), IMAGE),
        (lambda: nn.BatchNorm2d(4), IMAGE),
        (lambda: nn.Flatten(), IMAGE),
        (lambda: nn.GLU(1), SERIES),
        (lambda: nn.LSTM(8, 2, batch_first=True), SERIES),
        (lambda: nn.LazyConv1d(3, 2), SERIES),
        (lambda: L.Conv2D(3, 3, strides=2, padding="same"), IMAGE),
        (lambda: L.MaxPooling2D(2), IMAGE),
        (lambda: L.Conv2DTranspose(3, 3, strides=2), IMAGE),
        (lambda: L.UpSampling2D(2), IMAGE),
        (lambda: L.GlobalAveragePooling2D(), IMAGE),
        (lambda: L.LSTM(3), SERIES),
        (lambda: L.Bidirectional(L.GRU(3)), SERIES),
        (PairsRefused, SERIES),
        (PairsOfTorch, SERIES),
        (SayingSo, SERIES),
        (AtMost, SERIES),
        (Squares, (3, 5, 5)),
        (Positions, (5, 3)),
    ],
)  # fmt: skip
def test_right_sizes(make: Make, shape: tuple[int, ...]) -> None:
    assert asked("other-sizes", make, shape).status is Status.PASS
    assert asked("other-sizes", make(), shape).status is Status.PASS


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (lambda: nn.MultiheadAttention(8, 2, batch_first=True), ((5, 8), (7, 8), (7, 8))),
        (lambda: L.Add(), (IMAGE, IMAGE)),
        (lambda: L.Concatenate(), ((4, 8, 6), (2, 8, 6))),
        (TwoLengths, ((3, 7), (3, 3))),
    ],
)
def test_right_sizes_of_several_inputs(make: Make, shapes: Any) -> None:
    assert asked("other-sizes", make, *shapes).status is Status.PASS


@pytest.mark.parametrize(
    ("make", "shape", "reason"),
    [
        (lambda: nn.Linear(8, 3), (8,), "its input has no axis for a height, a width or a length"),
        (lambda: nn.Embedding(5, 3), (4,), "its input is not any numbers, and comes in one size"),
        (lambda: nn.LayerNorm([4, 8]), (4, 8), "it takes no other size: RuntimeError: Given normalized_shape=[4, 8], expected input with shape [*, 4, 8], but got input of size[2, 5, 8]"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, 3)), (4, 8), "it takes no other size: RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x40 and 32x3)"),
    ],
)  # fmt: skip
def test_where_there_is_no_other_size(make: Make, shape: tuple[int, ...], reason: str) -> None:
    outcome = asked("other-sizes", make, shape)
    assert (outcome.status, outcome.summary) == (Status.NOT_APPLICABLE, reason)


def test_it_says_what_it_saw() -> None:
    outcome = asked("other-sizes", lambda: nn.PixelUnshuffle(2), (3, 6, 4))
    assert outcome.summary == (
        "(3, 6, 4) → (12, 3, 2) to (3, 12, 4) → (12, 6, 2); (3, 6, 4) → (12, 3, 2) to (3, 6, 10) → (12, 3, 5); "
        "8 refused: RuntimeError: pixel_unshuffle expects height to be divisible by downscale_factor, but input.size(-2)=7 is not divisible by 2"
    )


# ── what does not fit ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_misfit_is_of_two_results() -> None:
    """A learnable that does not fit was made for one size: no misfit."""
    assert misfit(SkipDoesNotFit(), [torch.zeros(2, 3, 7)]) == ("add", [(2, 3, 7), (2, 3, 6)])
    assert misfit(SkipDoesNotFit(), [torch.zeros(2, 3, 8)]) is None
    assert misfit(Positions(), [torch.zeros(2, 9, 3)]) is None
    assert misfit(PairsOfTorch(), [torch.zeros(2, 3, 7)]) is None
    assert misfit(Masked(), [torch.zeros(2, 9, 3)]) is None, "nor a part of a mask that is as long as the longest input"


class Masked(nn.Module):
    """Mixes steps with earlier ones, by a mask for up to eight of them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(8, 8).tril())

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[1]
        return (x @ x.mT).masked_fill(self.get_buffer("mask")[:steps, :steps] == 0, -math.inf).softmax(-1) @ x


def test_a_longest_input_is_no_fault() -> None:
    assert asked("other-sizes", Masked, (6, 3)).status is Status.PASS
