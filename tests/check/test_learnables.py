"""What a layer learns: the optimizer finds it, and it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from check.asking import asked
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

import laminar as lm
from laminar import layers as L
from laminar.check.outcome import Outcome, Status

Make = Callable[[], nn.Module]
SHARED = nn.Parameter(torch.full((3,), 2.0))


def words(outcome: Outcome) -> tuple[str, str, str, str]:
    return outcome.expected, outcome.found, outcome.cause, outcome.fix


# ── registered ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Shift(lm.Layer):
    """Adds a learnable number to each feature."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.shift = self.learnable(shape[-1], init="zeros")

    def forward(self, x: Tensor) -> Any:
        return x + self.shift


class ShiftInTuple(Shift):
    """The number stands in a tuple in a dict."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.parts = {"shift": (self.learnable(shape[-1], init="zeros"),)}

    def forward(self, x: Tensor) -> Any:
        return x + self.parts["shift"][0]


class ShiftPlain(Shift):
    """The number is a tensor that asks for a gradient."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.start = torch.zeros(shape[-1], requires_grad=True)

    def forward(self, x: Tensor) -> Any:
        return x + self.start


class Mix(nn.Module):
    """A linear map of the features."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Any:
        z: Tensor = self.map(x)
        return z


class MixOfList(Mix):
    """Two linear maps in a plain list, and one that is registered."""

    def __init__(self) -> None:
        super().__init__()
        self.more = [nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3, bias=False)]

    def forward(self, x: Tensor) -> Any:
        for layer in self.more:
            x = layer(x)
        return super().forward(x)


class MixWithBuffer(Mix):
    """A buffer that asks for a gradient."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(3, requires_grad=True))

    def forward(self, x: Tensor) -> Any:
        return super().forward(x) * self.scale


class MixOfGlobal(Mix):
    """A factor that is a global variable."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x) * SHARED


class MixOfProduct(Mix):
    """A product is kept in place of the parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(3)) * 2

    def forward(self, x: Tensor) -> Any:
        return super().forward(x) * self.factor


class Helper:
    """No module, but it keeps a parameter."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(torch.ones(3))


class MixOfHelper(Mix):
    """A helper that is no module has the factor."""

    def __init__(self) -> None:
        super().__init__()
        self.helper = Helper()

    def forward(self, x: Tensor) -> Any:
        return super().forward(x) * self.helper.weight


def mix_of_closure() -> nn.Module:
    weight = nn.Parameter(torch.ones(3))

    class MixOfClosure(Mix):
        """The factor is a variable around the class."""

        def forward(self, x: Tensor) -> Any:
            return super().forward(x) * weight

    return MixOfClosure()


REGISTERED = "every learnable in parameters(), where the optimizer finds it"

UNREGISTERED: list[Any] = [
    (
        ShiftInTuple,
        "not in parameters(): \"parts['shift'][0]\" (3,)",
        "torch does not look into self.parts['shift'], which is a plain tuple",
        "Wrap both: self.parts = nn.ModuleDict(...), and in it self.parts['shift'] = nn.ParameterList(...)",
    ),
    (ShiftPlain, "not in parameters(): 'start' (3,)", "", "Assign a parameter: self.start = self.learnable((3,))"),
    (
        MixOfList,
        "not in parameters(): 'more[0]', a module Linear with 2 learnables and 'more[2]', a module Linear with 1 learnable",
        "torch does not look into self.more, which is a plain list",
        "Wrap it: self.more = nn.ModuleList(...)",
    ),
    (
        MixWithBuffer,
        "not in parameters(): the buffer 'scale' (3,), which asks for a gradient",
        "",
        "Declare it as nn.Parameter, or give it no gradient: self.scale.requires_grad_(False)",
    ),
    (
        MixOfGlobal,
        "not in parameters(): the global variable SHARED (3,)",
        "",
        "Create it in __init__ and assign it to an attribute of self",
    ),
    (
        MixOfProduct,
        "not in parameters(): a parameter (3,) behind 'factor'",
        "self.factor is a result, computed once; the parameter behind it is kept nowhere",
        "Keep the parameter itself in an attribute, and compute self.factor from it in forward",
    ),
    (
        MixOfHelper,
        "not in parameters(): 'helper.weight' (3,)",
        "torch does not look into self.helper, which is no nn.Module",
        "Derive Helper from nn.Module",
    ),
    (
        mix_of_closure,
        "not in parameters(): the variable weight around MixOfClosure.forward (3,)",
        "",
        "Create it in __init__ and assign it to an attribute of self",
    ),
]


@pytest.mark.parametrize(("make", "found", "cause", "fix"), UNREGISTERED, ids=lambda v: getattr(v, "__name__", ""))
def test_a_learnable_that_no_optimizer_finds(make: Make, found: str, cause: str, fix: str) -> None:
    outcome = asked("learnables-registered", make, (3,))
    assert words(outcome) == (REGISTERED, found, cause, fix)


# ── used ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class ShiftUnused(Shift):
    """The number is declared and not added."""

    def forward(self, x: Tensor) -> Any:
        return x * 2


class ShiftRounded(Shift):
    """The number is rounded: it matters, and cannot learn."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.shift = self.learnable(shape[-1], init=3.0)

    def forward(self, x: Tensor) -> Any:
        return x + self.shift.round()


class ShiftWithoutItsGradient(Shift):
    """A hand-written backward returns zeros for the number."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        return dz, torch.zeros_like(self.shift)


class ShiftUnusedByHand(ShiftUnused):
    """The number is not added, and the hand-written backward gives it a gradient of 0, which is right."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * dz, torch.zeros_like(self.shift)


class MixWithSpare(Mix):
    """A linear map that nothing calls."""

    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(3, 2)


class MixDetached(Mix):
    """Weight and bias are read from .data."""

    def forward(self, x: Tensor) -> Any:
        return F.linear(x, self.map.weight.data, self.map.bias.data) * self.map.bias.norm()


class MixInInferenceOnly(Mix):
    """The map is used in inference mode only."""

    def forward(self, x: Tensor) -> Any:
        return x if self.training else super().forward(x)


USED = "each learnable to change the output"
GRADIENT = "a gradient for each learnable that changes the output"
UNUSED: list[Any] = [
    (
        ShiftUnused,
        USED,
        "'shift' (3,): moved by half of its size, the output stays the same in both modes",
        "",
        "Use self.shift in forward, or remove it",
    ),
    (
        ShiftUnusedByHand,
        USED,
        "'shift' (3,): moved by half of its size, the output stays the same in both modes",
        "",
        "Use self.shift in forward, or remove it",
    ),
    (
        MixWithSpare,
        USED,
        "'spare.weight' (2, 3) and 'spare.bias' (2,): moved by half of its size, the output stays the same in both modes",
        "",
        "Use self.spare.weight in forward, or remove it",
    ),
    (
        ShiftRounded,
        GRADIENT,
        "moved by half its size, 'shift' (3,) changes the output by 0.2 of its size; its gradient is 0",
        "",
        "Compute with self.shift itself: no .data, .detach(), .item(), no_grad, comparison or rounding in between",
    ),
    (
        ShiftWithoutItsGradient,
        GRADIENT,
        "moved by half its size, 'shift' (3,) changes the output by 0.068 of its size; its gradient is 0",
        "",
        "Return dL/dshift from backward",
    ),
    (
        MixDetached,
        GRADIENT,
        "moved by half its size, 'map.weight' (3, 3) changes the output by 0.45 of its size; its gradient is None",
        "its value reaches the output past autograd",
        "Compute with self.map.weight itself: no .data, .detach(), .item(), no_grad, comparison or rounding in between",
    ),
    (
        MixInInferenceOnly,
        "each learnable to have a part in training",
        "'map.weight' (3, 3) and 'map.bias' (3,): moved, it changes the output in inference mode only",
        "",
        "Use self.map.weight in training too, or declare it as a buffer: it never learns",
    ),
]


@pytest.mark.parametrize(("make", "expected", "found", "cause", "fix"), UNUSED, ids=lambda v: getattr(v, "__name__", ""))
def test_a_learnable_that_does_not_learn(make: Make, expected: str, found: str, cause: str, fix: str) -> None:
    assert words(asked("learnables-used", make, (3,))) == (expected, found, cause, fix)


class Router(nn.Module):
    """Each observation goes to one of eight maps."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(3, 3) for _ in range(8))

    def forward(self, x: Tensor) -> Any:
        which = ((x.sum(-1).abs() * 100).long() % 8).tolist()
        return torch.stack([self.maps[i](row) for i, row in zip(which, x, strict=True)])


class NoisyMix(Mix):
    """A learnable amount of noise in training."""

    def __init__(self) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor) -> Any:
        z = super().forward(x)
        return z + self.amount * torch.randn_like(z) if self.training else z


class MixStartingAtZero(Mix):
    """The map is added times a factor that starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Any:
        return x + self.factor * super().forward(x)


@pytest.mark.parametrize("make", [Router, NoisyMix, MixStartingAtZero], ids=lambda make: make.__name__)
def test_a_learnable_that_not_every_call_needs(make: Make) -> None:
    assert asked("learnables-used", make, (3,)).status is Status.PASS


def test_a_bias_that_batch_normalization_takes_away_again() -> None:
    """In training it changes nothing and its gradient is 0; in inference it matters."""
    outcome = asked("learnables-used", lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), (3,))
    assert outcome.status is Status.PASS


def test_a_learnable_without_effect_that_has_a_part_in_forward() -> None:
    """Softmax takes away what all keys have in common."""
    outcome = asked("learnables-used", lambda: L.MultiHeadAttention(2, 2), (3, 4))
    assert (outcome.status, outcome.summary) == (
        Status.NOTE,
        "'key_bias' (4,): takes part in forward, but does not change the output here",
    )


def test_a_learnable_of_an_output_without_gradient() -> None:
    class Winner(Mix):
        """The place of the largest number."""

        def forward(self, x: Tensor) -> Any:
            return super().forward(x).argmax(-1)

    outcome = asked("learnables-used", Winner, (3,))
    assert (outcome.status, outcome.summary) == (
        Status.NOT_APPLICABLE,
        "its output has no numbers that could have a gradient",
    )


def test_frozen_learnables_do_not_have_to_learn() -> None:
    layer = nn.Linear(3, 2).requires_grad_(False)
    assert asked("learnables-used", layer, (3,)).summary == "it has no learnables that learn"


# ── right ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def weight_normed() -> nn.Module:
    layer: nn.Module = parametrizations.weight_norm(nn.Linear(3, 2))
    return layer


class Alias(Mix):
    """A list with what is registered already, and functions without learnables."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = [self.map, nn.ReLU()]

    def forward(self, x: Tensor) -> Any:
        for layer in self.maps:
            x = layer(x)
        return x


RIGHT: list[tuple[Make, tuple[int, ...]]] = [
    (lambda: nn.Linear(3, 2), (3,)),
    (lambda: nn.Conv2d(2, 3, 3), (2, 5, 6)),
    (lambda: nn.LSTM(3, 2, num_layers=2, batch_first=True, dropout=0.3), (5, 3)),
    (lambda: nn.BatchNorm2d(3), (3, 4, 5)),
    (lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)), (3,)),
    (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (5, 4)),
    (lambda: nn.LazyLinear(3), (4,)),
    (lambda: nn.PReLU(3), (3, 4, 4)),
    (weight_normed, (3,)),
    (Alias, (3,)),
    (lambda: L.Dense(3, activation="relu"), (4,)),
    (lambda: L.Conv2D(3, 3), (2, 5, 6)),
    (lambda: L.LSTM(2), (5, 3)),
    (lambda: L.BatchNormalization(), (3, 4, 4)),
    (lambda: L.Residual(L.Dense(4)), (4,)),
    (lambda: L.ELU("uniform", learnable=True), (3, 5, 5)),
    (Shift, (3,)),
]


@pytest.mark.parametrize("check", ["learnables-registered", "learnables-used", "learnables-stable"])
@pytest.mark.parametrize(("make", "shape"), RIGHT)
def test_right_learnables(make: Make, shape: tuple[int, ...], check: str) -> None:
    """Made anew, and given as an instance."""
    assert asked(check, make, shape).status is Status.PASS
    assert asked(check, make(), shape).status is Status.PASS
