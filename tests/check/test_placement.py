"""Checks of the group placement: faulty layers are named with cause and fix, right ones of several families pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.check.devices import StandIn
from laminar.check.outcome import Outcome, Status

GPU = torch.cuda.is_available()
on_the_stand_in = pytest.mark.skipif(GPU, reason="the texts are those of the device acted out on the CPU")


def outcome(check: str, layer: Any, *shapes: Sequence[int], **options: Any) -> Outcome:
    """Return what one check says."""
    return lm.check_layer(layer, *shapes, checks=[check], show=False, **options)[check]


def says(found: Outcome) -> tuple[str, str, str, str]:
    """Return the texts of a failure."""
    assert found.status is Status.FAIL, found.summary
    return found.expected, found.found, found.cause, found.fix


def line_of(code: str) -> str:
    """Return how a text names the line of this file that holds `code`, and the code."""
    lines = Path(__file__).read_text().splitlines()
    return f"test_placement.py, line {1 + next(i for i, line in enumerate(lines) if line.strip() == code)}: {code}"


# ── right layers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Any:
        return self.b(torch.tanh(self.a(x)))


class WithTables(nn.Module):
    """Makes what it needs where x is: numbers, ramps, masks; keeps a constant that is not saved."""

    ramp: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ramp", torch.arange(3.0) + 1, persistent=False)
        self.factor = torch.tensor(2.0)  # a single number mixes with any device

    def forward(self, x: Tensor) -> Tensor:
        given = torch.tensor([1.0, 2.0, 3.0], device=x.device) + x.new_tensor([0.5, 0.5, 0.5])
        table = torch.zeros(3, device=x.device)
        table[torch.tensor([0, 2])] = 1.0  # indices may stay on the CPU
        return x * self.factor * self.ramp + given * table + torch.arange(3, device=x.device)


class ByFrequency(nn.Module):
    """Conjugates that torch only notes on a tensor go along."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x, dim=-1) * torch.view_as_complex(self.w), n=x.shape[-1], dim=-1)


RIGHT: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...]]] = {
    "Linear": (lambda: nn.Linear(3, 4), ((3,),)),
    "LazyLinear": (lambda: nn.LazyLinear(3), ((5,),)),
    "Conv2d": (lambda: nn.Conv2d(3, 4, 3), ((3, 6, 5),)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), ((3, 5, 6),)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), ((4, 5),)),
    "LSTM": (lambda: nn.LSTM(3, 4, batch_first=True), ((5, 3),)),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2, batch_first=True), ((5, 4), (5, 4), (5, 4))),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), ((5, 4),)),
    "Embedding": (lambda: nn.Embedding(10, 3), ((7,),)),
    "Dropout": (lambda: nn.Dropout(), ((8,),)),
    "weight_norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), ((3,),)),
    "Tied": (Tied, ((3,),)),
    "WithTables": (WithTables, ((3,),)),
    "ByFrequency": (ByFrequency, ((4,),)),
    "L.ELU": (lambda: L.ELU("uniform", learnable=True), ((3, 5, 6),)),
    "L.Conv2D": (lambda: L.Conv2D(4, 3), ((3, 6, 5),)),
    "L.BatchNormalization": (lambda: L.BatchNormalization(), ((3, 5, 6),)),
    "L.LSTM": (lambda: L.LSTM(3, stateful=True), ((5, 2),)),
    "L.MultiHeadAttention": (lambda: L.MultiHeadAttention(2, 2), ((5, 4),)),
}
MAY_FAIL = ("device-moves", "channels-last", "non-contiguous", "deep-copy", "pickle", "state-dict", "vmap")


@pytest.mark.parametrize("name", RIGHT)
def test_right_layers_pass(name: str) -> None:
    make, shapes = RIGHT[name]
    report = lm.check_layer(make, *shapes, checks=MAY_FAIL, show=False)
    assert report.failures == []
    statuses = {o.check: o.status for o in report.outcomes}
    assert [c for c in ("device-moves", "non-contiguous", "deep-copy", "state-dict") if statuses[c] is not Status.PASS] == []
    assert (statuses["channels-last"] is Status.PASS) == any(len(shape) == 3 for shape in shapes)


# ── device-moves ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Gain(nn.Module):
    """z = x · gain, the gain in an attribute of the kind that `keep` makes."""

    def __init__(self, keep: Callable[[Tensor], Any], take: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.gain = keep(torch.tensor([1.0, 2.0, 3.0]))
        self.take = take

    def forward(self, x: Tensor) -> Tensor:
        return x * self.take(self.gain)


class ModulesInAList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = [nn.PReLU(3)]

    def forward(self, x: Tensor) -> Any:
        return self.parts[0](x)


class OfTheClass(lm.Layer):
    GAIN = torch.tensor([1.0, 2.0, 3.0])

    def forward(self, x: Tensor) -> Tensor:
        return x * self.GAIN


class MadeOnTheCpu(lm.Layer):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.arange(3.0)


class MadeInBackward(lm.Layer):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return dz * torch.full((3,), 2.0)


class GivesZeros(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(x.shape)


class ByNumpy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.from_numpy(x.detach().numpy())


class CachesARamp(lm.Layer):
    """Makes its ramp in the first call, where that is."""

    def __init__(self) -> None:
        super().__init__()
        self.ramp: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.ramp is None:
            self.ramp = torch.arange(3.0, device=x.device)
        return x + self.ramp


class MovesOnce(lm.Layer):
    """Moves its ramp to where x is, unless x is on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.ramp = torch.arange(3.0)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            self.ramp = self.ramp.to(x.device)
        return x + self.ramp


class Stays(nn.Linear):
    """Does not go along."""

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        return self


STAYED = "{} stayed on the CPU: moved as well, the layer runs"
MADE = "a tensor is made on the CPU during the call ({}): made on the device of x, the layer runs"
MUL = "mul got a tensor (4, 3) on the second device and one (3,) on the CPU"
DEVICE_FAULTS: list[tuple[Callable[[], nn.Module], str, str, str]] = [
    (
        lambda: Gain(lambda t: t, lambda held: held),
        MUL,
        STAYED.format("self.gain"),
        'Register it: self.register_buffer("gain", ...)',
    ),
    (
        lambda: Gain(lambda t: {"a": (t,)}, lambda held: held["a"][0]),
        MUL,
        STAYED.format("self.gain['a'][0]"),
        "Register each tensor of self.gain by itself, with self.register_buffer(name, tensor)",
    ),
    (
        lambda: Gain(lambda t: [nn.Parameter(t)], lambda held: held[0]),
        MUL,
        STAYED.format("self.gain[0]"),
        "Keep the learnables of self.gain in an nn.ParameterList, or each in an attribute of its own",
    ),
    (
        ModulesInAList,
        "prelu_kernel got a tensor (4, 3) on the second device and one (1, 3) on the CPU",
        STAYED.format("self.parts[0].weight"),
        "Keep the modules of self.parts in an nn.ModuleList or nn.ModuleDict",
    ),
    (OfTheClass, MUL, STAYED.format("self.GAIN"), 'Register it: self.register_buffer("GAIN", ...)'),
    (
        CachesARamp,
        "add got a tensor (4, 3) on the second device and one (3,) on the CPU",
        STAYED.format("self.ramp"),
        "Make self.ramp anew in each call, on the device of x",
    ),
    (
        MadeOnTheCpu,
        "add got a tensor (4, 3) on the second device and one (3,) on the CPU",
        MADE.format(line_of("return x + torch.arange(3.0)")),
        "Make it where the input is: torch.zeros(..., device=x.device)",
    ),
    (
        MadeInBackward,
        MUL,
        MADE.format(line_of("return dz * torch.full((3,), 2.0)")),
        "Make it where the input is: torch.zeros(..., device=x.device)",
    ),
    (
        GivesZeros,
        "the output on the CPU, for an input that is not",
        "a tensor is made on the CPU during the call: made on the device of x, the layer runs",
        "Make it where the input is: torch.zeros(..., device=x.device)",
    ),
    (
        ByNumpy,
        "can't convert a tensor on another device to numpy. Use Tensor.cpu() to copy it to host memory first",
        "",
        "Compute with torch in place of NumPy, which knows no device ({})".format(
            line_of("return x + torch.from_numpy(x.detach().numpy())")
        ),
    ),
    (
        lambda: Stays(3, 3),
        "'weight' and 'bias' still on the CPU",
        "",
        "Leave to() and _apply() as nn.Module has them",
    ),
]


@on_the_stand_in
@pytest.mark.parametrize("number", range(len(DEVICE_FAULTS)))
def test_device_moves_names_what_stays(number: int) -> None:
    make, found, cause, fix = DEVICE_FAULTS[number]
    expected = "every tensor of the layer on a second device after .to(device)"
    assert says(outcome("device-moves", make, (3,))) == (expected, found, cause, fix)


@on_the_stand_in
def test_device_moves_sees_what_does_not_come_back() -> None:
    assert says(outcome("device-moves", MovesOnce, (3,))) == (
        "a layer that also comes back from a device",
        'DeviceError on the CPU, after .to(device), a call and .to("cpu")',
        "self.ramp stayed on a second device",
        "Keep no tensor from call to call, or register it as a buffer",
    )


@on_the_stand_in
def test_device_moves_tells_what_was_moved() -> None:
    found = outcome("device-moves", nn.BatchNorm2d(3), (3, 5, 6))
    assert found.summary == "5 tensors moved to a second device (acted out on the CPU) and back: equal, bit for bit"


def test_on_the_stand_in_two_devices_do_not_mix() -> None:
    device = StandIn()
    x = device.send(torch.ones(2, 3))
    with device.active():
        assert device.fetch(torch.zeros(2, 3, device=x.device) + x).tolist() == [[1.0] * 3] * 2
        assert (x.sum().item(), bool(x.sum() > 5)) == (6.0, True)
        assert device.holds(x.nonzero())
        assert device.holds(torch.ones(3).to(x))
        assert not device.holds(x.cpu())
        mixtures: list[Callable[[], Tensor]] = [
            lambda: x @ torch.ones(3, 2),
            lambda: nn.functional.linear(x, torch.ones(4, 3)),
            lambda: torch.cat([x, torch.ones(2, 3)]),
            lambda: torch.ones(2)[x[:, 0] > 0],
            lambda: torch.tensor(1.0).add_(x.sum()),
            lambda: torch.rand(3, device=x.device, generator=torch.Generator()),
        ]
        for mixed in mixtures:
            with pytest.raises(RuntimeError, match=r"second device|another device"):
                mixed()


class NumbersInBackward(MadeInBackward):
    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return dz * torch.tensor([2.0, 2.0, 2.0], device=dz.device)


@on_the_stand_in
def test_device_moves_says_what_only_a_gpu_could_tell() -> None:
    found = outcome("device-moves", NumbersInBackward, (3,))
    assert found.status is Status.NOT_APPLICABLE
    assert found.summary == (
        "cannot be told without a GPU: numbers were turned into a tensor on the device, whose values only a GPU has"
    )


# ── memory layouts ───────────────────────────────────────────────────────────────────────────────────────────────────────


class ByView(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], -1)


class ByViewOnceContiguous(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.contiguous().view(x.shape[0], -1)


class ByPlaceInMemory(lm.Layer):
    """Looks at numbers by their place in memory."""

    def forward(self, x: Tensor) -> Tensor:
        return x.as_strided(x.shape, torch.empty(x.shape).stride()) * 2


BY_AXES = "Look at numbers by their axes, not by their place in memory: no as_strided, storage or data_ptr; reshape for view"
NO_VIEW = "RuntimeError: view size is not compatible with input tensor's size and stride (at least one dimension spans across two contiguous ..."


def test_layouts_that_a_view_refuses() -> None:
    cause = f"raised in {line_of('return x.view(x.shape[0], -1)')}"
    fix = "Use reshape(...) for view(...)"
    expected = "the same output for an input that is not contiguous (axes in another order in memory)"
    assert says(outcome("non-contiguous", ByView, (3, 5, 4))) == (expected, NO_VIEW, cause, fix)
    expected = "the same output for an input in torch.channels_last"
    assert says(outcome("channels-last", ByView, (3, 5, 4))) == (expected, NO_VIEW, cause, fix)
    for check in ("non-contiguous", "channels-last"):
        assert outcome(check, ByViewOnceContiguous, (3, 5, 4)).status is Status.PASS


def test_layouts_that_give_other_numbers() -> None:
    expected, found, cause, fix = says(outcome("non-contiguous", ByPlaceInMemory, (3, 5, 4)))
    assert expected == "the same output for an input that is not contiguous (axes in another order in memory)"
    assert found.startswith("the output differs by up to ")
    assert (cause, fix) == ("", BY_AXES)
    expected, found, cause, fix = says(outcome("channels-last", ByPlaceInMemory, (3, 5, 4)))
    assert expected == "the same output for an input in torch.channels_last"
    assert found.startswith("the output differs by up to ")
    assert (cause, fix) == ("", BY_AXES)


def test_channels_last_is_for_images() -> None:
    found = outcome("channels-last", nn.Linear(3, 4), (3,))
    assert (found.status, found.summary) == (Status.NOT_APPLICABLE, "no input of shape (C, H, W)")
