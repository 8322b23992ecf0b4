"""Copies of a layer: in memory, by pickle, through saved weights; what stands in the way is named."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar.check.outcome import Outcome, Status

NO_HISTORY = (
    "RuntimeError: Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  "
    "If you were ..."
)


def outcome(check: str, layer: Any, **options: Any) -> Outcome:
    """Return what one check says of a layer on (3,)."""
    return lm.check_layer(layer, (3,), checks=[check], show=False, **options)[check]


def says(check: str, layer: Any) -> tuple[str, str, str, str]:
    """Return the texts of a failure."""
    found = outcome(check, layer)
    assert found.status is Status.FAIL, found.summary
    return found.expected, found.found, found.cause, found.fix


class Weighted(nn.Module):
    """z = x · w."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.w


# ── deep-copy ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class SharesItsWeight(Weighted):
    def __deepcopy__(self, memo: dict[int, Any]) -> SharesItsWeight:
        other = SharesItsWeight()
        other.w = self.w
        return other


class KeepsItsOutput(Weighted):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen = [x * self.w]
        return self.seen[0] + 0


class KeepsItDetached(KeepsItsOutput):
    def forward(self, x: Tensor) -> Tensor:
        z = x * self.w
        self.seen = [z.detach()]
        return z + 0


class ClosesOverItself(Weighted):
    def __init__(self) -> None:
        super().__init__()
        self.scaled: Any = lambda x: x * self.w

    def forward(self, x: Tensor) -> Any:
        return self.scaled(x)


class HoldsALock(Weighted):
    def __init__(self) -> None:
        super().__init__()
        self.options = {"lock": threading.Lock()}


class ForgetsItsFactor(Weighted):
    factor = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.factor = 2.0

    def forward(self, x: Tensor) -> Tensor:
        return x * self.w * self.factor

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "factor"}


def test_deep_copy_of_a_shared_weight() -> None:
    for layer in (SharesItsWeight, SharesItsWeight()):
        assert says("deep-copy", layer) == (
            "a copy with tensors of its own",
            "self.w in the same memory in both",
            "",
            "Leave __deepcopy__ as nn.Module has it",
        )


def test_deep_copy_after_a_call_that_keeps_its_output() -> None:
    assert says("deep-copy", KeepsItsOutput) == (
        "a layer that copy.deepcopy copies",
        NO_HISTORY,
        "self.seen[0] is kept with the graph of its computation: detached, the layer is copied",
        "Keep no output on self, or keep self.seen[0] detached: z.detach(); update buffers under torch.no_grad()",
    )
    assert outcome("deep-copy", KeepsItDetached).status is Status.PASS


class BufferWithItsGraph(Weighted):
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean.detach() + 0.1 * (x * self.w).mean(0)
        return x * self.w - self.mean.detach()


def test_deep_copy_of_a_buffer_with_its_graph() -> None:
    _, _, cause, fix = says("deep-copy", BufferWithItsGraph)
    assert cause == "self.mean is kept with the graph of its computation: detached, the layer is copied"
    assert fix == "Keep no output on self, or keep self.mean detached: z.detach(); update buffers under torch.no_grad()"


def test_deep_copy_of_a_function_that_goes_on_using_the_original() -> None:
    for layer in (ClosesOverItself, ClosesOverItself()):
        assert says("deep-copy", layer) == (
            "a copy that uses its own tensors",
            "self.scaled of the copy uses self.w of the original",
            "self.scaled is a function made inside a method, and a function is not copied with the layer",
            "Make it a method; or pass it what it needs, self.scaled(x, self.w)",
        )


def test_deep_copy_of_what_cannot_be_copied() -> None:
    assert says("deep-copy", HoldsALock) == (
        "a layer that copy.deepcopy copies",
        "TypeError: cannot pickle '_thread.lock' object",
        "self.options['lock'] (lock) cannot be copied",
        "Keep only what can be copied",
    )


def test_copies_that_lose_something() -> None:
    expected, found, cause, fix = says("deep-copy", ForgetsItsFactor)
    assert (expected, cause) == ("the same output and gradients from a copy", "")
    assert found.startswith("the output differs by up to ")
    assert fix == "Keep what forward needs in attributes of the layer"
    expected, found, cause, fix = says("pickle", ForgetsItsFactor)
    assert (expected, cause) == ("the same output and gradients after pickle", "")
    assert found.startswith("the output differs by up to ")
    assert fix == "Keep what forward needs in attributes of the layer; look at __getstate__"


class ByTheClock(Weighted):
    def forward(self, x: Tensor) -> Tensor:
        return x * self.w * (1 + time.perf_counter() % 1)


def test_copies_of_what_differs_anyway() -> None:
    found = outcome("deep-copy", ByTheClock)
    assert found.status is Status.NOT_APPLICABLE
    assert found.summary == "nothing shared; the layer itself gives something else each time"


# ── pickle ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pickle_names_the_lambda() -> None:
    assert says("pickle", ClosesOverItself) == (
        "a layer that pickle takes: pickle",
        "AttributeError: Can't pickle local object 'ClosesOverItself.__init__.<locals>.<lambda>'",
        "self.scaled is a lambda, which has no name to find it by",
        "Make it a method, or a function at the top of its module",
    )


def test_pickle_names_what_it_cannot_take() -> None:
    assert says("pickle", HoldsALock) == (
        "a layer that pickle takes: pickle",
        "TypeError: cannot pickle '_thread.lock' object",
        "self.options['lock'] (lock) cannot be pickled",
        "Leave it out in __getstate__, or make self.options['lock'] when it is needed",
    )


def test_pickle_is_not_asked_of_what_python_or_torch_cannot_pickle() -> None:
    class Local(Weighted):
        pass

    found = outcome("pickle", Local)
    assert found.status is Status.NOT_APPLICABLE
    assert found.summary == "Local is made inside a function: pickle takes only what stands at the top of a module"
    found = outcome("pickle", lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)))
    assert found.status is Status.NOT_APPLICABLE
    assert found.summary == "torch saves parametrized modules by state_dict() alone"


# ── state-dict ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class RunningMean(lm.Layer):
    """Subtracts a running mean, which is a plain number or tensor."""

    def __init__(self, start: Any) -> None:
        super().__init__()
        self.mean = start

    def forward(self, x: Tensor) -> Any:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * (x.detach().mean() + 3)
        return x - self.mean


class RunningMeanKept(lm.Layer):
    """The same in a buffer."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.mean = self.state()

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean.mul_(0.9).add_(x.detach().mean() + 3, alpha=0.1)
        return x - self.mean


class TwoUnsaved(nn.Module):
    """Draws a projection and an offset, one in an attribute, the other in a buffer that is not saved."""

    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.projection = torch.randn(3)
        self.register_buffer("offset", torch.randn(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.projection + self.offset


class LateBuffer(nn.Module):
    center: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "center"):
            self.register_buffer("center", x.detach().mean(0))
        return x - self.center


class WithExtraState(Weighted):
    def get_extra_state(self) -> dict[str, int]:
        return {"version": 1}

    def set_extra_state(self, state: Any) -> None:
        pass


@pytest.mark.parametrize("start", [0.0, torch.zeros(1)])
def test_state_dict_without_the_running_mean(start: Any) -> None:
    expected, found, cause, fix = says("state-dict", lambda: RunningMean(start))
    assert expected == "the same output from the weights read back"
    assert found.startswith("the output differs by up to ")
    assert cause == "self.mean is not in the state_dict: put there by hand, the output is the same"
    assert fix == 'Keep it in a buffer: self.register_buffer("mean", ...)'
    kept = outcome("state-dict", RunningMeanKept)
    assert (kept.status, kept.summary) == (Status.PASS, "1 tensor saved and read back: output equal, bit for bit")


def test_state_dict_without_what_was_drawn() -> None:
    _, _, cause, fix = says("state-dict", TwoUnsaved)
    assert cause == "self.projection and self.offset are not in the state_dict: put there by hand, the output is the same"
    assert fix == 'Keep it in a buffer: self.register_buffer("projection", ...)'
    found = outcome("state-dict", TwoUnsaved())  # an instance: what its constructor drew is copied with it
    assert found.status is Status.NOTE
    assert (
        found.summary
        == "equal, but self.projection is not saved and matters: right only if the constructor makes the same again"
    )


def test_state_dict_with_what_a_new_layer_does_not_have() -> None:
    assert says("state-dict", LateBuffer) == (
        "a state_dict that a layer made anew takes",
        'Unexpected key(s) in state_dict: "center".',
        "",
        "Register learnables and buffers in __init__ or build, always the same ones",
    )


def test_state_dict_with_more_than_tensors() -> None:
    found = outcome("state-dict", WithExtraState)
    assert found.status is Status.NOTE
    assert found.summary == "'_extra_state' is no tensor: safetensors, and with it save_weights, cannot keep it"


# ── as they are given ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("make", [Weighted, KeepsItsOutput, ClosesOverItself, ForgetsItsFactor, TwoUnsaved])
def test_the_layer_given_is_left_as_it_was(make: Callable[[], nn.Module]) -> None:
    layer = make()
    attributes, values = dict(layer.__dict__), [t.clone() for t in [*layer.parameters(), *layer.buffers()]]
    lm.check_layer(layer, (3,), checks=["placement", "cost"], show=False)
    assert layer.__dict__ == attributes
    assert all(torch.equal(a, b) for a, b in zip(values, [*layer.parameters(), *layer.buffers()], strict=True))
