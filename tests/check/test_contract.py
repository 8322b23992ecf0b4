"""It builds, says what it is, and runs in both modes, for any number of observations, with the shapes of the meta device."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Self

import pytest
import torch
from check.asking import asked
from torch import Tensor, nn
from torch.nn import functional as F

import laminar as lm
from laminar import layers as L
from laminar.check.outcome import Outcome, Status

Make = Callable[[], nn.Module]


def words(outcome: Outcome) -> tuple[str, str, str]:
    return outcome.expected, outcome.found, outcome.fix


# ── builds ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Doubled(lm.Layer):
    """Twice the input."""

    def forward(self, x: Tensor) -> Any:
        return 2 * x


class WrongBuild(Doubled):
    """Takes the channels from an axis that is not there."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.factor = self.learnable(shape[3], init="ones")


class WrongForward(nn.Module):
    """Adds what does not fit."""

    def forward(self, x: Tensor) -> Any:
        return x + torch.ones(7)


class WrongPredict(WrongBuild):
    """Runs in training mode only; it has to be built."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.factor = self.learnable(shape[0], init="ones")

    def predict(self, x: Tensor) -> Any:
        return x * self.factors  # type: ignore[operator]  # the mistake


class ReturnsNothing(nn.Module):
    """Forgets the return."""

    def forward(self, x: Tensor) -> Any:
        x * 2


BUILDS = "a layer that builds from the shape and runs in training mode on (4, 5, 6)"


@pytest.mark.parametrize(
    ("make", "found", "line"),
    [
        (
            WrongBuild,
            "IndexError: tuple index out of range",
            'self.factor = self.learnable(shape[3], init="ones")',
        ),
        (
            WrongForward,
            "RuntimeError: The size of tensor a (6) must match the size of tensor b (7) at non-singleton dimension 2",
            "return x + torch.ones(7)",
        ),
    ],
)
def test_a_layer_that_does_not_run(make: Make, found: str, line: str) -> None:
    outcome = asked("builds", make, (5, 6))
    assert (outcome.expected, outcome.found) == (BUILDS, found)
    assert re.fullmatch(rf"Look at test_contract\.py, line \d+: {re.escape(line)}", outcome.fix)


def test_a_layer_that_is_built_and_runs_in_training_only() -> None:
    outcome = asked("builds", WrongPredict, (5, 6))
    assert outcome.expected == BUILDS.replace("training", "inference")
    assert outcome.found == "AttributeError: 'WrongPredict' object has no attribute 'factors'"


def test_a_layer_that_returns_nothing() -> None:
    want = ("a tensor from forward in training mode", "none", "Return the output from forward")
    assert words(asked("builds", ReturnsNothing, (5,))) == want
    of_template = asked("builds", type("Silent", (Doubled,), {"forward": ReturnsNothing.forward}), (5,))
    assert of_template.found.startswith(
        "LayerError: layer 'silent' (Silent): expected forward to return a tensor, received None"
    )


def test_builds_says_the_shapes() -> None:
    assert asked("builds", Doubled, (5, 6)).summary == "(4, 5, 6) → (4, 5, 6)"
    assert (
        asked("builds", nn.LSTM(6, 2, batch_first=True), (5, 6)).summary == "(4, 5, 6) → (4, 5, 2) and (1, 4, 2) and (1, 4, 2)"
    )
    large = asked("builds", Doubled, (20, 24, 24)).summary
    assert large == "(4, 3, 6, 5) → (4, 3, 6, 5); as given: (2, 20, 24, 24) → (2, 20, 24, 24)"


# ── described ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_description_of_its_own() -> None:
    assert asked("described", Doubled, (3,)).summary == "doubled: Twice the input."
    silent = type("Tripled", (Doubled,), {})
    outcome = asked("described", silent, (3,))
    assert (outcome.status, outcome.summary) == (
        Status.NOTE,
        "Tripled has no docstring of its own; say in one sentence what it does",
    )
    stated = type("Tripled", (Doubled,), {"description": property(lambda self: "Three times the input")})
    assert asked("described", stated, (3,)).summary == "tripled: Three times the input"
    plain = type("Plain", (nn.Identity,), {})
    assert asked("described", plain, (3,)).summary == "Plain has no docstring of its own; say in one sentence what it does"
    assert asked("described", nn.Identity, (3,)).summary.startswith("Identity: ")


def test_a_name() -> None:
    layer = Doubled()
    layer.name = ""
    outcome = asked("described", layer, (3,))
    assert (outcome.status, outcome.summary) == (Status.NOTE, "its name is ''; pass one on: super().__init__(name=name)")


# ── modes ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Half(nn.Module):
    """Dropout, kept in one way or another."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Any:
        return self.drop(x)


class HalfInList(Half):
    """Dropout in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.drops = [nn.Dropout(0.5)]

    def forward(self, x: Tensor) -> Any:
        return self.drops[0](x)


class HalfInForward(lm.Layer):
    """Dropout made in each call."""

    def forward(self, x: Tensor) -> Any:
        return nn.Dropout(0.5)(x)


class ReturnsNone(Half):
    """Its train() forgets to return."""

    def train(self, mode: bool = True) -> None:  # type: ignore[override]  # the mistake
        super().train(mode)


class NotPassedOn(Half):
    """Its train() does not reach what is inside."""

    def train(self, mode: bool = True) -> Self:
        self.training = mode
        return self


class ShapeOfMode(lm.Layer):
    """Another shape in inference."""

    def forward(self, x: Tensor) -> Any:
        return x

    def predict(self, x: Tensor) -> Any:
        return x[..., :1]


class BrokenInInference(nn.Module):
    """Fails in inference."""

    def forward(self, x: Tensor) -> Any:
        return x if self.training else x + torch.ones(7)


WATCHED = "Create it in __init__ and assign it to an attribute of self, or put it into nn.ModuleList or nn.ModuleDict"
MODES: list[Any] = [
    (HalfInList, "eval() to reach every module that runs", "Dropout still in training mode, output off by 1.8", WATCHED),
    (HalfInForward, "eval() to reach every module that runs", "Dropout still in training mode, output off by 1.8", WATCHED),
    (ReturnsNone, "eval() to return the module", "None", "End train with: return super().train(mode)"),
    (
        NotPassedOn,
        "every module in it to be in inference mode after eval()",
        "'drop' still in training mode",
        "Call super().train(mode) in train: it reaches all modules inside",
    ),
    (ShapeOfMode, "(4, 6) in inference mode, as in training", "(4, 1)", "Return the same shapes in both modes"),
]


@pytest.mark.parametrize(("make", "expected", "found", "fix"), MODES)
def test_a_mode_that_goes_wrong(make: Make, expected: str, found: str, fix: str) -> None:
    assert words(asked("modes", make, (6,))) == (expected, found, fix)


def test_a_mode_that_raises() -> None:
    outcome = asked("modes", BrokenInInference, (6,))
    mismatch = "RuntimeError: The size of tensor a (6) must match the size of tensor b (7) at non-singleton dimension 1"
    assert (outcome.expected, outcome.found) == ("an output in inference mode", mismatch)
    assert outcome.fix.endswith(": return x if self.training else x + torch.ones(7)")


class HarmlessInList(Half):
    """A module in a plain list that is the same in both modes."""

    def __init__(self) -> None:
        super().__init__()
        self.acts = [nn.ReLU()]

    def forward(self, x: Tensor) -> Any:
        return self.acts[0](self.drop(x))


class FrozenPart(nn.Module):
    """Batch normalization that stays in inference mode, for fine-tuning."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Any:
        return self.norm(x)


class FrozenWhole(Half):
    """Never in training mode."""

    def train(self, mode: bool = True) -> Self:
        return super().train(False)


@pytest.mark.parametrize(
    "make", [Half, HarmlessInList, FrozenPart, lambda: L.Dropout(0.5), lambda: nn.BatchNorm1d(6), lambda: nn.LazyLinear(3)]
)
def test_right_modes(make: Make) -> None:
    outcome = asked("modes", make, (6,))
    assert (outcome.status, outcome.summary[:6]) == (
        Status.PASS,
        "(4, 6)" if not isinstance(make(), nn.LazyLinear) else "(4, 3)",
    )


def test_a_layer_that_is_frozen_as_a_whole() -> None:
    outcome = asked("modes", FrozenWhole, (6,))
    assert (outcome.status, outcome.summary) == (Status.NOTE, "it stays in inference mode after train()")


# ── batch sizes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class MeanOfAll(lm.Layer):
    """The mean over the batch as well."""

    def forward(self, x: Tensor) -> Any:
        return x.mean((0, 1))


class Squeezed(nn.Module):
    """Drops every axis of length 1."""

    def forward(self, x: Tensor) -> Any:
        return x.mean(1, keepdim=True).squeeze()


class OfFour(nn.Module):
    """Made for batches of four."""

    def forward(self, x: Tensor) -> Any:
        return x.reshape(4, -1) if len(x) < 7 else x.reshape(len(x), -1)


class OfFirst(lm.Layer):
    """Keeps the size of its first batch."""

    def forward(self, x: Tensor) -> Any:
        self.batch = getattr(self, "batch", len(x))
        return x.reshape(self.batch, -1) if len(x) < 3 else x.reshape(len(x), -1)


class Unbiased(lm.Layer):
    """Divides by the standard deviation over the batch, with n - 1."""

    declares = ("batch",)

    def forward(self, x: Tensor) -> Any:
        return (x - x.mean(0)) / (x.std(0) + 1e-3) if self.training else x


BATCH_FIX = "Take the batch size from x.shape[0] in forward, and name the axis in squeeze(dim), mean(dim), reshape(len(x), ...)"
BATCHES: list[Any] = [
    (
        MeanOfAll,
        "an output for every observation: an axis of length 4 for a batch of 4",
        "(6,), and no axis that grows with the batch",
        "Reduce over the axes of one observation only, which start at axis 1",
    ),
    (Squeezed, "(1, 6) for (1, 5, 6) in training mode", "(6,)", BATCH_FIX),
    (
        OfFour,
        "an output for a batch of 5",
        "RuntimeError: shape '[4, -1]' is invalid for input of size 150, for (5, 5, 6) in inference mode",
        BATCH_FIX,
    ),
    (
        OfFirst,
        "an output for a batch of 1",
        "RuntimeError: shape '[4, -1]' is invalid for input of size 30, for (1, 5, 6) in training mode",
        BATCH_FIX,
    ),
    (
        Unbiased,
        "numbers for a batch of 1 in training mode, or an error that refuses it",
        "30 of 30 are NaN or infinite",
        "A single observation has no variance: use var(correction=0), or refuse it in forward",
    ),
]


@pytest.mark.parametrize(("make", "expected", "found", "fix"), BATCHES)
def test_a_batch_that_goes_wrong(make: Make, expected: str, found: str, fix: str) -> None:
    assert words(asked("batch-sizes", make, (5, 6))) == (expected, found, fix)


ALL_SIZES = "1, 2, 3, 4, 7, 16: an output for every observation"


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.LSTM(6, 2, batch_first=True), (5, 6)),
        (lambda: nn.MultiheadAttention(6, 2, batch_first=True), ((5, 6), (5, 6), (5, 6))),
        (lambda: nn.BatchNorm2d(3), (3, 4, 5)),
        (lambda: nn.Embedding(5, 3), (4,)),
        (lambda: nn.PixelUnshuffle(2), (3, 4, 6)),
        (lambda: L.Residual(L.Dense(6)), (6,)),
        (lambda: L.GRU(3), (5, 6)),
    ],
)
def test_right_batches(make: Make, shape: Any) -> None:
    outcome = asked("batch-sizes", make, *(shape if isinstance(shape[0], tuple) else (shape,)))
    assert (outcome.status, outcome.summary) == (Status.PASS, ALL_SIZES)


def test_batch_normalization_may_refuse_a_single_observation_in_training() -> None:
    outcome = asked("batch-sizes", lambda: nn.BatchNorm1d(6), (6,))
    assert (outcome.status, outcome.summary) == (Status.PASS, f"{ALL_SIZES}; a batch of 1 is refused in training")


def test_a_state_of_each_observation_may_refuse_another_batch() -> None:
    outcome = asked("batch-sizes", lambda: L.LSTM(3, stateful=True), (5, 2))
    remark = "another batch size is refused while a state of each observation is kept"
    assert outcome.status is Status.PASS
    assert outcome.summary.startswith(f"{ALL_SIZES}; {remark}")


def test_a_penalty_beside_the_output() -> None:
    class WithPenalty(nn.Module):
        """The output, and the mean of its square."""

        def forward(self, x: Tensor) -> Any:
            return x, x.square().mean()

    outcome = asked("batch-sizes", WithPenalty, (6,))
    assert (outcome.status, outcome.summary) == (Status.NOTE, f"{ALL_SIZES}, but for output 1, which has no axis for them")


# ── the meta device ──────────────────────────────────────────────────────────────────────────────────────────────────────


class OtherOnMeta(nn.Module):
    """Guesses where it cannot compute."""

    def forward(self, x: Tensor) -> Any:
        return x.new_empty(x.shape[0], 9) if x.is_meta else F.avg_pool1d(x, 2).flatten(1)


class OtherOnMetaInTraining(lm.Layer):
    """Guesses in training."""

    def forward(self, x: Tensor) -> Any:
        return x.flatten(1) if x.is_meta and self.training else x


class OfValues(nn.Module):
    """Reads a number."""

    def forward(self, x: Tensor) -> Any:
        return x * 2 if x.sum().item() > 0 else x


META_FIX = "Compute shapes from x.shape alone, in the same way on every device"
META: list[Any] = [
    (OtherOnMeta, "(4, 6), the shape of the real output", "(4, 9) on the meta device in training mode", META_FIX),
    (OtherOnMetaInTraining, "(4, 3, 5), the shape of the real output", "(4, 15) on the meta device in training mode", META_FIX),
]


@pytest.mark.parametrize(("make", "expected", "found", "fix"), META)
def test_a_shape_that_is_another_on_meta(make: Make, expected: str, found: str, fix: str) -> None:
    assert words(asked("meta-shape", make, (3, 5))) == (expected, found, fix)


def test_a_shape_that_needs_values() -> None:
    outcome = asked("meta-shape", OfValues, (3, 5))
    assert outcome.status is Status.NOTE
    assert (
        outcome.summary
        == "shapes are found by running it on zeros; on the meta device: RuntimeError: Tensor.item() cannot be called on meta tensors"
    )


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.LSTM(6, 2, batch_first=True), (5, 6)),
        (lambda: nn.Conv2d(3, 4, 3), (3, 6, 5)),
        (lambda: nn.Embedding(5, 3), (4,)),
        (lambda: nn.LazyLinear(2), (4,)),
        (lambda: L.Conv2D(4, 3), (3, 6, 5)),
        (lambda: L.LSTM(3, return_state=True), (5, 6)),
        (lambda: L.Embedding(5, 3), (4,)),
        (lambda: L.ELU("uniform", learnable=True), (3, 5, 5)),
    ],
)
def test_right_shapes_on_meta(make: Make, shape: tuple[int, ...]) -> None:
    assert asked("meta-shape", make, shape).status is Status.PASS
    assert asked("meta-shape", make(), shape).status is Status.PASS


class NoPair(lm.Layer):
    """Its backward takes a memory that forward does not return."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: Any) -> Tensor:
        return 2 * dz


def test_an_error_of_laminar_gives_its_own_advice() -> None:
    outcome = lm.check_layer(NoPair(), 4, show=False)["builds"]
    assert outcome.found.endswith("expected forward to return (z, memory), because backward takes a memory, received Tensor")
    assert outcome.fix == "Return the pair, or define backward(self, x, z, dz)"
