"""What a layer learns stays the same object from call to call, and belongs to that layer alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from check.asking import asked
from torch import Tensor, nn

import laminar as lm
from laminar.check.outcome import Outcome, Status

Make = Callable[[], nn.Module]


def words(outcome: Outcome) -> tuple[str, str, str, str]:
    return outcome.expected, outcome.found, outcome.cause, outcome.fix


class Mix(nn.Module):
    """A linear map of the features."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Any:
        z: Tensor = self.map(x)
        return z


# ── lasting ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class ShiftMadeInForward(lm.Layer):
    """The number is made in the first call."""

    def forward(self, x: Tensor) -> Any:
        if not hasattr(self, "shift"):
            self.shift = self.learnable(x.shape[-1], init="zeros")
        return x + self.shift


class ShiftOfTheClass(lm.Layer):
    """The number is an attribute of the class."""

    shift = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Any:
        return x + self.shift


class MixOfDefault(Mix):
    """Another map is a default argument."""

    def __init__(self, other: nn.Module = nn.Linear(3, 3)) -> None:  # noqa: B008  # the mistake
        super().__init__()
        self.other = other

    def forward(self, x: Tensor) -> Any:
        return super().forward(x) + self.other(x)


class MixAgain(Mix):
    """The weight is replaced by a parameter with the same numbers when the batch is large."""

    def forward(self, x: Tensor) -> Any:
        if len(x) > 5:
            self.map.weight = nn.Parameter(self.map.weight.detach())
        return super().forward(x)


class MixTiedByData(Mix):
    """Two maps that are to have one weight: two parameters on the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self.back = nn.Linear(3, 3)
        self.back.weight = nn.Parameter(self.map.weight.data)

    def forward(self, x: Tensor) -> Any:
        z: Tensor = self.back(super().forward(x))
        return z


class MixMadeEachTime(Mix):
    """Another map is made in every call."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x) + nn.Linear(3, 3, device=x.device, dtype=x.dtype)(x)


class MixMadeForInference(Mix):
    """A parameter is made in the first call in inference mode."""

    def forward(self, x: Tensor) -> Any:
        if not self.training and not hasattr(self, "scale"):
            self.scale = nn.Parameter(torch.ones(3))
        return super().forward(x)


MADE = "no learnable made by a call"
OWN = "learnables of its own for each layer"
PASSING: list[Any] = [
    (
        ShiftMadeInForward,
        MADE,
        "the first call in training mode with a batch of 4 made 'shift' (3,)",
        "",
        "Create it in build(shape): an optimizer was given parameters() before",
    ),
    (
        MixMadeForInference,
        MADE,
        "a call in inference mode with a batch of 4 made 'scale' (3,)",
        "",
        "Create it in __init__: an optimizer was given parameters() before",
    ),
    (
        MixMadeEachTime,
        MADE,
        "the first call in training mode with a batch of 4 made a parameter (3, 3) and a parameter (3,) and computed with it",
        "",
        "Create it in __init__ and assign it to an attribute of self",
    ),
    (
        MixAgain,
        "the same parameters after a call",
        "a call in training mode with a batch of 7 put another parameter in the place of 'map.weight' (3, 3)",
        "",
        "Keep the parameter and change its numbers: with torch.no_grad(): self.map.weight.copy_(...)",
    ),
    (
        MixTiedByData,
        "numbers of its own for each learnable",
        "'back.weight' and 'map.weight': two parameters on the same memory, which an optimizer changes twice",
        "",
        "Assign one nn.Parameter to both attributes to tie them, or clone() the values to part them",
    ),
    (
        ShiftOfTheClass,
        OWN,
        "the class attribute ShiftOfTheClass.shift (3,), in common with every other ShiftOfTheClass",
        "",
        "Create it in build(shape), anew for each layer",
    ),
    (
        MixOfDefault,
        OWN,
        "'other.weight' (3, 3) and 'other.bias' (3,), in common with every other MixOfDefault",
        "it is the default value of an argument, other.weight in MixOfDefault.__init__",
        "Create it in __init__, anew for each layer",
    ),
]


@pytest.mark.parametrize(("make", "expected", "found", "cause", "fix"), PASSING, ids=lambda v: getattr(v, "__name__", ""))
def test_a_learnable_that_does_not_last(make: Make, expected: str, found: str, cause: str, fix: str) -> None:
    assert words(asked("learnables-stable", make, (3,))) == (expected, found, cause, fix)


@pytest.mark.parametrize("make", [MixOfDefault, ShiftOfTheClass], ids=lambda make: make.__name__)
def test_what_an_instance_has_in_common_with_others(make: Make) -> None:
    """A copy of the instance does not show it, its class does."""
    assert words(asked("learnables-stable", make(), (3,))) == words(asked("learnables-stable", make, (3,)))


def test_two_parameters_on_one_memory_in_an_instance() -> None:
    """A deep copy parts them."""
    assert words(asked("learnables-stable", MixTiedByData(), (3,))) == words(asked("learnables-stable", MixTiedByData, (3,)))


class Tied(Mix):
    """Two maps have one weight, the same object."""

    def __init__(self) -> None:
        super().__init__()
        self.back = nn.Linear(3, 3)
        self.back.weight = self.map.weight

    def forward(self, x: Tensor) -> Any:
        z: Tensor = self.back(super().forward(x))
        return z


class MixWithTemplate(Mix):
    """Each layer copies the template that its class keeps."""

    template: ClassVar[nn.Module] = nn.Linear(3, 3)

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(3, 3)
        self.other.load_state_dict(self.template.state_dict())

    def forward(self, x: Tensor) -> Any:
        return super().forward(x) + self.other(x)


@pytest.mark.parametrize("make", [Tied, MixWithTemplate], ids=lambda make: make.__name__)
def test_tied_weights_and_templates_are_right(make: Make) -> None:
    for check in ("learnables-registered", "learnables-stable"):
        assert asked(check, make, (3,)).status is Status.PASS
        assert asked(check, make(), (3,)).status is Status.PASS


def test_a_factory_whose_layers_share_a_part() -> None:
    """The part is left as it was."""
    shared = nn.Linear(3, 3)
    before = shared.weight.clone()
    outcome = asked("learnables-stable", lambda: nn.Sequential(shared, nn.ReLU()), (3,))
    assert outcome.found == "'0.weight' (3, 3) and '0.bias' (3,), in common with every other Sequential"
    assert torch.equal(shared.weight, before)
