"""The memory of a training step on a GPU: what is counted tensor by tensor is what the allocator hands out."""

from __future__ import annotations

import pytest
import torch

import laminar as lm
from laminar import layers as L
from laminar.comparison.memory import step_memory
from laminar.storages import counted, peak

pytestmark = pytest.mark.gpu


def network(device: str) -> lm.Sequential:
    model = lm.Sequential([L.Dense(2048, "relu"), L.Dense(1024, "relu"), L.Dense(10)])
    model.compile("sgdm", "sparse_categorical_crossentropy", device=device)
    return model


def test_the_allocator_agrees() -> None:
    """Beyond what it held before; it rounds each tensor up to 512 bytes, and its kernels may ask for work space."""
    x, y = torch.rand(4096, 1024, device="cuda"), torch.randint(10, (4096,), device="cuda")
    layers = torch.nn.Sequential(torch.nn.Linear(1024, 2048), torch.nn.ReLU(), torch.nn.Linear(2048, 10)).cuda()
    known = [*layers.parameters(), x, y]

    def gradients() -> None:
        layers.zero_grad()
        torch.nn.functional.cross_entropy(layers(x), y).backward()

    gradients()  # what cuBLAS keeps for itself is there now
    layers.zero_grad()
    by_tensors = counted(gradients, known)
    layers.zero_grad()
    by_allocator = peak(gradients, known)
    assert 0.9 * by_allocator <= by_tensors <= 1.02 * by_allocator


def test_it_is_the_figure_of_the_cpu() -> None:
    x, y = torch.rand(512, 1024), torch.randint(10, (512,))
    cpu, gpu = (step_memory(network(device), x, y) for device in ("cpu", "cuda"))
    assert gpu == pytest.approx(cpu, rel=0.05)
