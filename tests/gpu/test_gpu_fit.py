"""What `fit` promises, on a GPU: the numbers of the CPU, and a device that is never waited for between two rows of the table."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import laminar as lm
from laminar import layers as L
from laminar.errors import DivergedError
from laminar.optimizers import SGDM

pytestmark = pytest.mark.gpu


def data(n: int = 100, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Return images (n, 1, 8, 8) and class numbers, on the CPU."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 1, 8, 8, dtype=dtype, generator=generator), torch.randint(4, (n,), generator=generator)


def network() -> lm.Sequential:
    """Return a network with every kind of parameter, a hand-written backward, and statistics of the data."""
    layers = [L.Normalization("zscore"), L.Conv2D(3, 3), L.BatchNormalization(), L.ELU("uniform", learnable=True)]
    return lm.Sequential([*layers, L.Flatten(), L.Dense(4, "softmax")]).build((1, 8, 8), seed=3)  # type: ignore[return-value]


def compiled(model: lm.Sequential, device: str, **settings: Any) -> lm.Sequential:
    model.compile(SGDM(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"], device=device, **settings)
    return model


def assert_close(one: nn.Module, other: nn.Module, rtol: float, atol: float) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a.cpu(), b.cpu(), rtol=rtol, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


# ── the same numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_training_gives_the_weights_and_figures_of_the_cpu() -> None:
    """In float64, over shuffled batches, with weights of observations and validation: alike to rounding."""
    x, y = data(dtype=torch.float64)
    runs = {}
    for device in ("cpu", "cuda"):
        model = compiled(network().double(), device)
        history = model.fit(
            x, y, epochs=3, batch_size=16, seed=0, validation_split=0.2, sample_weight=torch.linspace(0.5, 1.5, 100), verbose=0
        )
        runs[device] = model, history
    (cpu, on_cpu), (gpu, on_gpu) = runs["cpu"], runs["cuda"]
    assert {p.device.type for p in gpu.parameters()} == {"cuda"}
    assert_close(gpu, cpu, rtol=1e-8, atol=1e-10)
    for name, values in on_cpu.history.items():
        assert on_gpu.history[name] == pytest.approx(values, rel=1e-6), name
    assert on_gpu.iterations["loss"] == pytest.approx(on_cpu.iterations["loss"], rel=1e-9)
    assert gpu.evaluate(x, y) == pytest.approx(cpu.evaluate(x, y), rel=1e-6)
    torch.testing.assert_close(gpu.predict(x), cpu.predict(x))


@pytest.mark.parametrize("form", ["numpy", "cpu tensor", "gpu tensor", "dataset", "loader", "list"])
def test_data_may_be_anywhere(form: str) -> None:
    """And predictions come back to the host."""
    x, y = data()
    source: Any = {
        "numpy": (x.numpy(), y.numpy()),
        "cpu tensor": (x, y),
        "gpu tensor": (x.cuda(), y.cuda()),
        "dataset": (TensorDataset(x, y),),
        "loader": (DataLoader(TensorDataset(x, y), 16, pin_memory=True),),
        "list": ([(x[i : i + 16], y[i : i + 16]) for i in range(0, 100, 16)],),
    }[form]
    model = compiled(network(), "cuda")
    history = model.fit(*source, epochs=2, batch_size=16, shuffle=False, class_weight=[1.0, 2.0, 1.0, 1.0], verbose=0)
    assert len(history.iterations["loss"]) == 14
    assert all(np.isfinite(history.iterations["loss"]))
    out = model.predict(source[0])
    if form in ("cpu tensor", "gpu tensor"):
        assert isinstance(out, Tensor)
        assert out.device.type == "cpu"
    else:
        assert isinstance(out, np.ndarray)
    assert out.shape == (100, 4)
    assert model.classify(source[0]).shape == (100,)


def test_statistics_of_the_data_are_those_of_the_cpu() -> None:
    x, y = data()
    models = [compiled(network(), device) for device in ("cpu", "cuda")]
    for model in models:
        model.fit(x * 100 + 5, y, verbose=0)
    for name in ("shift", "scale"):
        torch.testing.assert_close(getattr(models[0][0], name), getattr(models[1][0], name).cpu())


# ── the device is not waited for ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("optimizer", ["sgdm", "adam"])
def test_no_synchronization_between_two_rows(optimizer: str) -> None:
    """CUDA itself raises where a step waits: batches cut by index, metrics, dropout, running statistics, ELU by hand."""

    class Between(lm.Callback):
        """Forbids waiting from the 2nd iteration to the 40th; rows come at the 1st and the 41st."""

        def on_batch_end(self, model: nn.Module, state: Any) -> None:
            if state.iteration == 2:
                torch.cuda.set_sync_debug_mode("error")
            elif state.iteration == 40:
                torch.cuda.set_sync_debug_mode("default")

    x, y = data(410)
    layers = [L.Normalization(), L.Conv2D(3, 3), L.BatchNormalization(), L.ELU("uniform", learnable=True), L.MaxPooling2D(2)]
    model = lm.Sequential([*layers, L.Flatten(), L.Dropout(0.2), L.Dense(4, "softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy", "top_2_accuracy"], device="cuda")
    try:
        history = model.fit(
            x, y, batch_size=10, log_every=41, callbacks=[Between()], sample_weight=torch.rand(410), seed=0, verbose=0
        )
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(history.iterations["accuracy"]) == 41


def test_the_debug_mode_of_the_test_above_does_raise() -> None:
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchronizing"):
            torch.ones(3, device="cuda").sum().item()
    finally:
        torch.cuda.set_sync_debug_mode("default")


# ── half precision ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_hand_written_backward_under_autocast(dtype: torch.dtype) -> None:
    """Gradients of a network with ELU by hand, against the same network with torch's derivative, both under autocast."""

    class Auto(L.ELU):
        """ELU for autograd."""

        backward = lm.Layer.backward
        has_memory = False

        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # without memory, that is the point
            return super().forward(x)[0]

    x, y = (t.cuda() for t in data())
    gradients = []
    for kind in (L.ELU, Auto):
        model = lm.Sequential([L.Conv2D(3, 3), kind("uniform", learnable=True, name="elu"), L.Flatten(), L.Dense(4)])
        model.build((1, 8, 8), seed=0).cuda()
        scaler = torch.amp.GradScaler("cuda", enabled=dtype is torch.float16)
        with torch.autocast("cuda", dtype=dtype):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())
        gradients.append({name: p.grad / scaler.get_scale() for name, p in model.named_parameters()})  # type: ignore[operator]
    for name, gradient in gradients[0].items():
        other = gradients[1][name]
        assert (gradient - other).norm() <= 0.03 * other.norm() + 1e-6, name


def test_a_network_in_bfloat16_trains() -> None:
    x, y = data()
    model = lm.Sequential([L.Flatten(), L.Dense(32), L.ELU("uniform", learnable=True), L.Dense(4)]).build((1, 8, 8), seed=0)
    model.bfloat16()
    model.compile(SGDM(0.05), "sparse_categorical_crossentropy", device="cuda")
    losses = model.fit(x, y, epochs=20, batch_size=25, seed=0, verbose=0).history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert model.predict(x).dtype == torch.bfloat16


# ── seeds, copies, files, places ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_seed_repeats_a_training_and_leaves_the_generators_alone() -> None:
    """Dropout is drawn on the GPU; matrix products of one shape are repeatable there, so the bits are the same."""
    x, y = data()
    results = []
    torch.cuda.manual_seed(3)
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    for _ in range(2):
        model = lm.Sequential([L.Flatten(), L.Dense(16), L.Dropout(0.5), L.Dense(4)])
        model.compile("sgdm", "sparse_categorical_crossentropy", device="cuda")
        results.append(model.fit(x, y, epochs=3, batch_size=20, seed=7, verbose=0).iterations["loss"])
    assert results[0] == results[1]
    assert torch.equal(before[0], torch.get_rng_state())
    assert torch.equal(before[1], torch.cuda.get_rng_state())


def test_a_copy_trains_on_as_the_original_does() -> None:
    x, y = data()
    model = compiled(network(), "cuda")
    model.fit(x, y, seed=0, verbose=0)
    twin = copy.deepcopy(model)
    for each in (model, twin):
        each.fit(x, y, epochs=2, seed=1, verbose=0)
    assert_close(model, twin, rtol=1e-4, atol=1e-6)


def test_weights_travel_between_devices(tmp_path: Path) -> None:
    x, y = data()
    model = compiled(network(), "cuda")
    model.fit(x, y, verbose=0)
    model.save_weights(tmp_path / "w.safetensors")
    other = network()
    other.load_weights(tmp_path / "w.safetensors")
    assert {p.device.type for p in other.parameters()} == {"cpu"}
    torch.testing.assert_close(compiled(other, "cpu").predict(x), model.predict(x), rtol=1e-2, atol=1e-3)  # TF32
    model.load_weights(tmp_path / "w.safetensors")
    assert {p.device.type for p in model.parameters()} == {"cuda"}


def test_auto_is_the_gpu_and_a_network_without_compile_stays_where_it_is() -> None:
    x, y = data()
    model = network()
    model["normalization"].adapt(x)
    model.predict(x)
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    unbuilt = lm.Sequential([L.Flatten(), L.Dense(4)])
    unbuilt.predict(x)
    assert {p.device.type for p in unbuilt.parameters()} == {"cpu"}
    compiled(model, "auto").evaluate(x, y)
    assert {p.device.type for p in model.parameters()} == {"cuda"}


def test_tensors_of_a_loss_go_along() -> None:
    """Class weights given to torch's loss on the CPU."""
    x, y = data()
    model = lm.Sequential([L.Flatten(), L.Dense(4)])
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0, 4.0]))
    model.compile(functools.partial(torch.optim.SGD, lr=0.01), loss, device="cuda")
    model.fit(x, y, verbose=0)


def test_momenta_follow_a_network_that_moves() -> None:
    """Trained on the CPU, compiled anew for the GPU, and the other way round."""
    x, y = data()
    model = compiled(network(), "cpu")
    for device in ("cpu", "cuda", "cpu"):
        compiled(model, device).fit(x, y, epochs=2, verbose=0)
        assert {p.device.type for p in model.parameters()} == {device}


def test_a_diverging_loss_is_told() -> None:
    x, y = torch.ones(16, 1), torch.zeros(16, 1)
    model = lm.Sequential([L.Dense(1, kernel_initializer="ones", use_bias=False)]).build((1,))
    model.compile(SGDM(1e30, momentum=0.0, weight_decay=0.0), "mse", device="cuda")
    with pytest.raises(DivergedError) as e:
        model.fit(x, y, epochs=3, batch_size=4, log_every=3, shuffle=False, verbose=0)
    assert str(e.value) == (
        "loss became inf at epoch 1, step 2 (last finite 1 at step 1). First non-finite gradient at step 3: 'dense.weight'. "
        "Possible fix: lower learning_rate (now 1e+30) or set clipnorm=1.0."
    )
