"""The memory of a training step on a GPU: what is counted tensor by tensor is what the allocator hands out."""

from __future__ import annotations

import pytest
import torch

import laminar as lm
from laminar import layers as L
from laminar.comparison.memory import step_memory
from laminar.fit.progress import Silent
from laminar.optimizers import SGD
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


def test_what_does_not_fit_is_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small share of the GPU's memory: the training is that of the whole batch, which all of its memory holds."""
    notes: list[str] = []
    monkeypatch.setattr(Silent, "note", lambda self, text: notes.append(text))
    x, y = torch.randn(256, 3, 64, 64), torch.randint(10, (256,))

    def trained() -> lm.Sequential:
        layers = [layer for _ in range(4) for layer in (L.Conv2D(64, 3, padding="same"), L.ELU())]  # 268 MB each
        model = lm.Sequential([*layers, L.GlobalAveragePooling2D(), L.Dense(10)])
        model.compile(SGD(0.1), "sparse_categorical_crossentropy", ["accuracy"], device="cuda", engine="eager")
        model.fit(x, y, batch_size=256, epochs=3, seed=0, verbose=0, shuffle=False)
        return model

    whole = trained()
    assert notes == []
    torch.cuda.empty_cache()
    free_for_us = torch.cuda.memory_reserved() + 1.2e9
    torch.cuda.set_per_process_memory_fraction(free_for_us / torch.cuda.get_device_properties(0).total_memory)
    try:
        parts = trained()
        predicted = parts.predict(x, batch_size=256)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(notes) == 1
    assert notes[0].startswith("Ran out of memory at a batch of 256: from now on computed in ")
    assert notes[0].endswith("; the updates stay the same.")
    assert parts.history is not None
    assert whole.history is not None
    assert parts.history.iterations["loss"] == pytest.approx(whole.history.iterations["loss"], rel=1e-4)
    torch.testing.assert_close(predicted, whole.predict(x), rtol=1e-3, atol=1e-4)
