"""Training by CUDA graphs, in bfloat16 and by torch's compiler on a GPU: the way of eager float32, and no waiting for the device."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from engines.ten import NETWORKS, SETTINGS, trained
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.optimizers import SGD, Adam, AdamW, Muon, RMSprop
from laminar.schedules import CosineDecay

pytestmark = pytest.mark.gpu

RECORDED = "engine: cuda_graph, recorded for batches of 16"
BEGINNING = 'engine "cuda_graph" is not used for this network, which is computed operation by operation: '


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "laminar.engine")
    return caplog


def data(n: int = 72) -> tuple[Tensor, Tensor]:
    """Return images in batches of 16 with a last one of 8, and class numbers."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 1, 8, 8, generator=generator), torch.randint(4, (n,), generator=generator)


def network(*more: nn.Module) -> lm.Sequential:
    layers = [L.Conv2D(3, 3), L.BatchNormalization(), L.ELU("uniform", learnable=True), *more, L.Dropout(0.2), L.Flatten()]
    return lm.Sequential([*layers, L.Dense(4, "softmax")]).build((1, 8, 8), seed=3)  # type: ignore[return-value]


def losses(engine: Any, optimizer: Any = "sgdm", model: Any = None, epochs: int = 4, **settings: Any) -> list[float]:
    model = model or network()
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"], device="cuda", engine=engine)
    return model.fit(*data(), epochs=epochs, batch_size=16, seed=5, verbose=0, **settings).iterations["loss"]


# -- the same way ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_fifty_steps_of_a_graph(name: str, setting: str, told: pytest.LogCaptureFixture) -> None:
    """In float64, over last batches of 8, with schedules, clipping, running means, frozen layers, dropout, augmentation."""
    (own, figures), (eager, expected) = (
        trained(name, setting, e, torch.float64, images=88, device="cuda") for e in ("cuda_graph", "eager")
    )
    assert told.messages == [RECORDED]
    for key, values in expected.items():
        torch.testing.assert_close(figures[key], values, rtol=1e-5, atol=1e-7, msg=lambda m, n=key: f"{n}: {m}")
    for key, value in eager.state_dict().items():
        torch.testing.assert_close(own.state_dict()[key], value, rtol=1e-4, atol=1e-6, msg=lambda m, n=key: f"{n}: {m}")


@pytest.mark.parametrize("engine", ["eager", "cuda_graph", "compiled"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_fifty_steps_stay_near_those_of_the_cpu(name: str, precision: str, engine: str) -> None:
    """Without random numbers, which are others on a GPU; TF32 and bfloat16 have few bits."""
    setting = "adam, schedule, clipped, averaged"
    if name in ("dropout", "augmented"):
        pytest.skip("draws other numbers on a GPU than on the CPU")
    _, expected = trained(name, setting, "eager", torch.float32)
    _, figures = trained(name, setting, engine, torch.float32, device="cuda", precision=precision)
    torch.testing.assert_close(figures["loss"], expected["loss"], rtol=0, atol=0.03)


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.05),
        SGD(CosineDecay(0.1, 20), momentum=0.9, nesterov=True, weight_decay=1e-3),
        Adam(1e-2, clipvalue=0.01, amsgrad=True),
        AdamW(CosineDecay(1e-2, 20), global_clipnorm=0.5),
        RMSprop(1e-3, momentum=0.5),
        "adadelta",
        "adamax",
        "nadam",
        Adam(1e-2, use_ema=True, ema_momentum=0.5, decay=0.1),
    ],
    ids=repr,
)
def test_optimizers(optimizer: Any, told: pytest.LogCaptureFixture) -> None:
    found = losses("cuda_graph", optimizer)
    assert told.messages == [RECORDED]
    torch.testing.assert_close(found, losses("eager", optimizer), rtol=1e-3, atol=1e-4)


def test_auto_is_a_graph(told: pytest.LogCaptureFixture) -> None:
    torch.testing.assert_close(losses("auto"), losses("eager"), rtol=1e-3, atol=1e-4)
    assert told.messages == [RECORDED]


def test_several_outputs(told: pytest.LogCaptureFixture) -> None:
    x, y = data()
    found = []
    for engine in ("cuda_graph", "eager"):
        inputs = lm.Input((1, 8, 8))
        flat = L.Flatten()(L.Conv2D(4, 3)(inputs))
        model = lm.Model(inputs, [L.Dense(4, "softmax", name="digit")(flat), L.Dense(1, name="sum")(flat)]).build(seed=0)
        model.compile("adam", ["sparse_categorical_crossentropy", "mse"], device="cuda", engine=engine)  # type: ignore[arg-type]
        found.append(model.fit(x, [y, x.mean((1, 2, 3))], epochs=3, batch_size=16, seed=1, verbose=0).iterations)
    assert told.messages == [RECORDED]
    assert found[0].keys() == found[1].keys()
    for name, values in found[1].items():
        torch.testing.assert_close(found[0][name], values, rtol=1e-3, atol=1e-4)


# -- what changes in the middle -------------------------------------------------------------------------------------------


class At(lm.Callback):
    """Does something once, after an iteration."""

    def __init__(self, iteration: int, what: Callable[[Any, Any], None]) -> None:
        self.iteration, self.what = iteration, what

    def on_batch_end(self, model: nn.Module, state: Any) -> None:
        if state.iteration == self.iteration:
            self.what(model, state)


def freeze(model: Any, state: Any) -> None:
    model[0].trainable = False


def slow_down(model: Any, state: Any) -> None:
    state.learning_rate = 1e-4


def halve_the_weights(model: Any, state: Any) -> None:
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.5)


@pytest.mark.parametrize("what", [freeze, slow_down, halve_the_weights])
def test_what_a_callback_does_is_heeded(what: Any, told: pytest.LogCaptureFixture) -> None:
    found, expected = (losses(e, callbacks=At(9, what)) for e in ("cuda_graph", "eager"))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert told.messages == [RECORDED] * (2 if what is freeze else 1)


def test_gradients_are_there_for_callbacks() -> None:
    seen: dict[str, list[float]] = {}
    for engine in ("cuda_graph", "eager"):
        norms: list[Tensor] = []

        class Look(lm.Callback):
            def on_batch_end(self, model: Any, state: Any, norms: list[Tensor] = norms) -> None:
                norms.append(torch.stack([p.grad.norm() for p in model.parameters()]).sum())

        losses(engine, callbacks=Look())
        seen[engine] = torch.stack(norms).tolist()
    torch.testing.assert_close(seen["cuda_graph"], seen["eager"], rtol=1e-3, atol=1e-4)


def test_a_second_fit_goes_on() -> None:
    x, y = data()
    found = []
    for engine in ("cuda_graph", "eager"):
        model = network()
        first = losses(engine, "adam", model)
        found.append(first + model.fit(x, y, epochs=2, batch_size=16, seed=6, verbose=0).iterations["loss"])
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)


# -- what stands in the way -----------------------------------------------------------------------------------------------


class ReadsNumbers(L.Layer):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if not x.is_meta and x.mean().item() > 0 else x


class DrawsOnTheHost(L.Layer):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.is_meta else x * torch.rand(()).item()


class Counts(L.Layer):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * (1 + 0.01 * self.calls)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (ReadsNumbers, "a step waits for the device"),
        (DrawsOnTheHost, "a step draws random numbers on the host (torch's)"),
        (Counts, "a step changes attributes of 'counts' in Python"),
    ],
)
def test_layers_that_no_graph_can_repeat(layer: Any, reason: str, told: pytest.LogCaptureFixture) -> None:
    found, expected = (losses(e, model=network(layer())) for e in ("cuda_graph", "eager"))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert told.messages == [BEGINNING + reason]


def test_optimizers_that_no_graph_can_repeat(told: pytest.LogCaptureFixture) -> None:
    losses("cuda_graph", Muon(1e-3))
    losses("cuda_graph", SGD(0.1, gradient_accumulation_steps=2))
    assert told.messages == [
        BEGINNING + "the step of MuonAndAdamW is not known to be the same operations each time",
        BEGINNING + "an update is made from 2 batches",
    ]


def test_hooks_that_come_later_are_called(told: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def hook(model: Any, state: Any) -> None:
        model[0].register_forward_hook(lambda module, args, output: calls.append(len(output)))

    losses("cuda_graph", callbacks=At(9, hook))
    assert len(calls) == 20 - 9
    assert told.messages == [RECORDED, BEGINNING + "'conv2d' has hooks, which a graph does not call"]


def test_random_numbers_go_on_after_a_recording_that_failed(
    monkeypatch: pytest.MonkeyPatch, told: pytest.LogCaptureFixture
) -> None:
    """Something that only recording forbids: the step itself passes every look that is taken before."""

    class Fails(L.Layer):
        def forward(self, x: Tensor) -> Tensor:
            if not x.is_meta and torch.cuda.is_current_stream_capturing():
                raise RuntimeError("not while recording")
            return x

    found, expected = (losses(e, model=network(Fails())) for e in ("cuda_graph", "eager"))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert told.messages == [BEGINNING + "RuntimeError: not while recording"]


# -- no waiting -----------------------------------------------------------------------------------------------------------


class Between(lm.Callback):
    """Forbids waiting between two iterations."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last

    def on_batch_end(self, model: nn.Module, state: Any) -> None:
        if state.iteration == self.first:
            torch.cuda.set_sync_debug_mode("error")
        elif state.iteration == self.last:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("engine", ["eager", "cuda_graph"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "optimizer",
    [SGD(CosineDecay(0.1, 100), momentum=0.9, global_clipnorm=1.0), Adam(1e-3, use_ema=True, clipnorm=1.0)],
    ids=["sgd", "adam"],
)
def test_no_synchronization_between_two_rows(engine: Any, precision: Any, optimizer: Any) -> None:
    """Rows come at the 1st and the 60th iteration; a recording, before the 5th, empties the device once."""
    x, y = data(600)
    layers = [L.RandomFlip(), L.RandomTranslation(0.1, 0.1), L.Cutout(2), L.Conv2D(3, 3), L.BatchNormalization(), L.ReLU()]
    model = lm.Sequential([*layers, L.Dropout(0.2), L.Flatten(), L.Dense(4, "softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"], device="cuda", engine=engine, precision=precision)
    try:
        model.fit(x, y, batch_size=10, log_every=60, callbacks=Between(6, 59), seed=0, verbose=0)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_predictions_are_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = data(600)
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy", device="cuda")
    expected = model.predict(x)
    original = torch.cuda.synchronize
    waits: list[int] = []

    def synchronize(device: Any = None) -> None:
        waits.append(1)
        torch.cuda.set_sync_debug_mode("default")
        original(device)

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)

    class Forbids(L.Layer):
        def forward(self, x: Tensor) -> Tensor:
            if x.is_cuda:
                torch.cuda.set_sync_debug_mode("error")
            return x

    guarded = lm.Sequential([Forbids(), *model]).build((1, 8, 8))
    guarded.compile("sgd", "sparse_categorical_crossentropy", device="cuda")
    guarded.predict(x[:2])
    waits.clear()
    try:
        found = guarded.predict(x, batch_size=50)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert waits == [1]
    torch.testing.assert_close(found, expected)


def test_weights_of_convolutions_lie_channels_last_in_bfloat16() -> None:
    x, y = data()
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", device="cuda", precision="bfloat16")
    model.fit(x, y, epochs=2, verbose=0)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(p.dtype == torch.float32 for p in model.parameters())
