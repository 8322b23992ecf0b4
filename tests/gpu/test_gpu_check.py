"""The layer checker where there is a GPU: layers really move there, costs are measured there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.check.outcome import Outcome, Status
from laminar.storages import peak

pytestmark = pytest.mark.gpu


def outcome(check: str, layer: Any, *shapes: tuple[int, ...]) -> Outcome:
    """Return what one check says."""
    return lm.check_layer(layer, *shapes, checks=[check], show=False)[check]


class PlainAttribute(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.tensor([1.0, 2.0, 3.0])

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class MadeOnTheCpu(lm.Layer):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.arange(3.0)


class OtherOnAGpu(lm.Layer):
    """What no stand-in can show: a branch on the kind of device."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if x.is_cuda else x


class KeepsTooMuch(lm.Layer):
    """Keeps four tensors that its backward does not need."""

    def forward(self, x: Tensor) -> Any:
        return 2 * x, tuple(x + i for i in range(4))

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: Any) -> Tensor:
        return 2 * dz


def test_what_stays_on_the_cpu_is_named() -> None:
    found = outcome("device-moves", PlainAttribute, (3,))
    assert found.status is Status.FAIL
    assert found.expected == "every tensor of the layer on the GPU after .to(device)"
    assert "Expected all tensors to be on the same device" in found.found
    assert found.cause == "self.gain stayed on the CPU: moved as well, the layer runs"
    assert found.fix == 'Register it: self.register_buffer("gain", ...)'


def test_what_is_made_on_the_cpu_is_named() -> None:
    found = outcome("device-moves", MadeOnTheCpu, (3,))
    assert found.status is Status.FAIL
    assert found.cause.startswith("a tensor is made on the CPU during the call (test_gpu_check.py, line ")
    assert found.fix == "Make it where the input is: torch.zeros(..., device=x.device)"


def test_another_result_on_the_gpu_is_named() -> None:
    found = outcome("device-moves", OtherOnAGpu, (3,))
    assert found.status is Status.FAIL
    assert found.expected == "the same output and gradients on both devices"
    assert found.found.startswith("the output differs by up to ")


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.Linear(3, 4), (3,)),
        (lambda: nn.Conv2d(3, 4, 3), (3, 6, 5)),
        (lambda: nn.BatchNorm2d(3), (3, 5, 6)),
        (lambda: nn.LSTM(3, 4, batch_first=True), (5, 3)),
        (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (5, 4)),
        (lambda: nn.Dropout(), (8,)),
        (lambda: nn.Embedding(10, 3), (7,)),
        (lambda: L.ELU("uniform", learnable=True), (3, 5, 6)),
        (lambda: L.LSTM(3, stateful=True), (5, 2)),
        (lambda: L.BatchNormalization(), (3, 5, 6)),
    ],
)
def test_right_layers_move(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    found = outcome("device-moves", make, shape)
    assert found.status is Status.PASS, found
    assert " moved to the GPU and back: " in found.summary


def test_right_layers_have_no_failure() -> None:
    for layer, shape in ((L.ELU("uniform", learnable=True), (20, 24, 24)), (nn.BatchNorm2d(3), (3, 5, 6))):
        report = lm.check_layer(layer, shape, checks=["placement", "cost"], show=False)
        assert report.failures == []


def test_memory_is_that_of_the_allocator() -> None:
    x = torch.ones(1 << 20, device="cuda")
    assert peak(lambda: [x + i for i in range(3)], [x]) == 3 * (4 << 20)
    found = outcome("memory", KeepsTooMuch, (1 << 16,))
    assert found.status is Status.NOTE
    assert "its own keeps 5.24 MB more: compute it again in backward, or delete backward" in found.summary
    assert found.summary.startswith("batch of 4: ")
