"""What a layer costs: bytes counted exactly, figures and notes; no time is asserted."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.check import cost
from laminar.check.outcome import Outcome, Status
from laminar.storages import format_bytes, peak, saved

on_the_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU's allocator rounds up: bytes are exact on the CPU")


def outcome(check: str, layer: Any, *shapes: tuple[int, ...]) -> Outcome:
    """Return what one check says."""
    return lm.check_layer(layer, *(shapes or [(250,)]), checks=[check], show=False)[check]


class Doubled(lm.Layer):
    """z = 2 x; nothing has to be kept for it."""

    def forward(self, x: Tensor) -> Any:
        return 2 * x


class KeepsTooMuch(Doubled):
    """Keeps four tensors that its backward does not need."""

    def forward(self, x: Tensor) -> Any:
        return 2 * x, tuple(x + i for i in range(4))

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: Any) -> Tensor:
        return 2 * dz


class MakesTooMuch(lm.Layer):
    """z = exp(x), kept by both backwards; its own makes four tensors at once."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        parts = [dz * z / 4 for _ in range(4)]
        return parts[0] + parts[1] + parts[2] + parts[3]


class Exponential(MakesTooMuch):
    """The same with no more than is needed."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return dz * z


class Laborious(MakesTooMuch):
    """The same, with a hundred times the work in backward."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        for _ in range(100):
            y = x.exp()
        return dz * y


class NotForAutograd(lm.Layer):
    """Its forward changes what autograd would keep, so there is no backward of autograd's to compare with."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.exp()
        z = y * y
        y.zero_()
        return z

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return 2 * dz * z


# ── counting ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_most_bytes_at_once() -> None:
    x = torch.ones(1000)

    def chain() -> Tensor:
        y = x + 1  # 4000
        y = y * 2  # 8000 until the first is gone
        del y
        return torch.ones(500)

    assert peak(chain, [x]) == 8000
    assert peak(lambda: [x + i for i in range(5)], [x]) == 20_000
    assert peak(lambda: x.view(10, 100).t()[2:], [x]) == 0, "views have no memory of their own"
    assert peak(lambda: x.add_(1), [x]) == 0
    assert peak(lambda: None, []) == 0


def test_the_bytes_kept_for_backward() -> None:
    x = torch.ones(1000, requires_grad=True)
    w = torch.ones(1000, requires_grad=True)
    assert saved(lambda: x * w, [x, w]) == 0, "inputs and learnables are there anyway"
    assert saved(lambda: (x * w).exp(), [x, w]) == 4000
    assert saved(lambda: (x.exp() * w.exp()).sin(), [x, w]) == 12_000
    with torch.no_grad():
        assert saved(lambda: x.exp(), [x]) == 0


def test_sizes_as_people_read_them() -> None:
    assert [format_bytes(n) for n in (0, 999, 1000, 49_152, 2_400_000, 3 * 10**9)] == [
        "0 B",
        "999 B",
        "1 kB",
        "49.2 kB",
        "2.4 MB",
        "3 GB",
    ]


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@on_the_cpu
def test_memory_of_a_backward_that_keeps_more_than_autograd() -> None:
    found = outcome("memory", KeepsTooMuch)
    assert found.status is Status.NOTE
    assert found.summary == (
        "batch of 4: 24 kB at most, 20 kB of it kept for backward; with autograd's backward 20 kB and 0 B: "
        "its own keeps 20 kB more: compute it again in backward, or delete backward"
    )


@on_the_cpu
def test_memory_of_a_backward_that_makes_more_than_autograd() -> None:
    found = outcome("memory", MakesTooMuch)
    assert found.status is Status.NOTE
    assert found.summary == (
        "batch of 4: 28 kB at most, 4 kB of it kept for backward; with autograd's backward 8 kB and 4 kB: "
        "its own needs 20 kB more at once: make fewer tensors in backward, or delete backward"
    )


@on_the_cpu
def test_memory_of_right_layers() -> None:
    figures = "batch of 4: 8 kB at most, 4 kB of it kept for backward"
    found = outcome("memory", Exponential)
    assert (found.status, found.summary) == (Status.PASS, f"{figures}; with autograd's backward 8 kB and 4 kB")
    found = outcome("memory", Doubled)
    assert (found.status, found.summary) == (Status.PASS, "batch of 4: 8 kB at most, 0 B of it kept for backward")
    found = outcome("memory", nn.Flatten(), (5, 2))
    assert (found.status, found.summary) == (Status.PASS, "batch of 4: 0 B at most, 0 B of it kept for backward")
    found = outcome("memory", NotForAutograd)
    assert found.status is Status.PASS
    assert "autograd" not in found.summary


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

MS = r"\d+(\.\d+)? ms"
BATCH = rf"batch of \d+: forward {MS}, backward {MS}"
QUARTILES = r"\(quartiles \d+\.\d\d to \d+\.\d\d\)"
NOTE = (
    rf"a step takes \d+\.\d\d × as long with its own backward {QUARTILES}: delete backward, or compute less in it "
    rf"\({BATCH}; with autograd's backward forward {MS}, backward {MS}\)"
)


def test_time_is_never_a_failure() -> None:
    for layer in (Exponential, Laborious, L.ELU("uniform", learnable=True)):
        found = outcome("time", layer, (3, 8, 8))
        passed = rf"{BATCH}; with autograd's backward forward {MS}, backward {MS}; a step \d+\.\d\d × as long {QUARTILES}"
        assert re.fullmatch(NOTE if found.status is Status.NOTE else passed, found.summary), found.summary
    for module, shape in ((nn.Linear(3, 4), (3,)), (nn.Embedding(10, 3), (7,)), (nn.Flatten(), (2, 3)), (NotForAutograd, (5,))):
        found = outcome("time", module, shape)
        assert found.status is Status.PASS
        assert re.fullmatch(BATCH, found.summary), found.summary


def test_the_verdict_follows_the_quartiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """With measured times put in: slower in every quarter is a note, slower in the middle alone is none."""
    autograd = ([1e-3] * 4, [1e-3] * 4)
    monkeypatch.setattr(cost, "_measured", lambda steps: [([1e-3] * 4, [2e-3, 2.2e-3, 1.9e-3, 2e-3]), autograd])
    found = outcome("time", Exponential, (3, 8, 8))
    assert found.status is Status.NOTE
    assert found.summary.startswith(
        "a step takes 1.50 × as long with its own backward (quartiles 1.46 to 1.58): delete backward, or compute less in it "
    )
    assert found.summary.endswith(
        "forward 1.00 ms, backward 2.00 ms; with autograd's backward forward 1.00 ms, backward 1.00 ms)"
    )
    monkeypatch.setattr(cost, "_measured", lambda steps: [([1e-3] * 4, [2e-3, 2e-3, 0.5e-3, 1.2e-3]), autograd])
    found = outcome("time", Exponential, (3, 8, 8))
    assert found.status is Status.PASS
    assert found.summary.endswith("; a step 1.30 × as long (quartiles 0.84 to 1.50)")


def test_what_cannot_be_measured_is_no_failure() -> None:
    for check in ("time", "memory"):
        found = outcome(check, nn.ReLU(inplace=True), (3,))
        assert found.status is Status.NOT_APPLICABLE
        assert found.summary == (
            "a step raises RuntimeError: a leaf Variable that requires grad is being used in an in-place operation"
        )
