"""When a step is recorded, launched, recorded anew or left to eager: with stand-ins for CUDA, which this file needs not.

What a graph computes is tested on a GPU (tests/gpu); here a recording is a function that learns from its batch as ever.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.fit.engines import cuda_graph
from laminar.fit.engines.recordable import _of_hooks, _of_optimizer
from laminar.optimizers import SGD, Muon

BEGINNING = 'engine "cuda_graph" is not used for this network, which is computed operation by operation: '


class Recording:
    """Stands in for a recorded step; fails to be made where `broken` says so."""

    made: list[int]
    launched: list[int]
    broken: Exception | None

    def __init__(self, aim: Any, pace: Any, batch: Any, stream: Any, settings: Any) -> None:
        if Recording.broken is not None:
            raise Recording.broken
        Recording.made.append(batch.size)
        self.settings, self.gradients_apart, self._aim, self._optimizer = settings, False, aim, pace.optimizer

    def __call__(self, batch: Any) -> tuple[Tensor, Tensor]:
        Recording.launched.append(batch.size)
        self.gradients_apart = False
        self._optimizer.zero_grad()
        losses, output = self._aim(batch)
        losses.backward()
        self._optimizer.step()
        return losses.detach(), output.detach()


@pytest.fixture(autouse=True)
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything of CUDA that is asked for do nothing."""
    Recording.made, Recording.launched, Recording.broken = [], [], None
    stream = SimpleNamespace(wait_stream=lambda other: None)
    generator = SimpleNamespace(clone_state=lambda: "state", graphsafe_set_state=lambda state: None)
    monkeypatch.setattr(cuda_graph, "_Recorded", Recording)
    monkeypatch.setattr(cuda_graph, "hindrance", lambda model, pace: _of_optimizer(pace) or _of_hooks(model))
    for name, stand_in in {
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": lambda chosen: contextlib.nullcontext(),
        "current_device": lambda: 0,
        "default_generators": [generator],
        "get_sync_debug_mode": lambda: 0,
        "set_sync_debug_mode": lambda mode: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    kept: list[str] = []
    monkeypatch.setattr(cuda_graph.CudaGraphStep, "_say", lambda self, reason: kept.append(reason))
    return kept


def network(*more: nn.Module) -> lm.Sequential:
    """Without dropout, which draws on the host here."""
    layers = [L.Dense(5), L.BatchNormalization(), *more, L.Dense(3, "softmax")]
    return lm.Sequential(layers).build((6,), seed=0)  # type: ignore[return-value]


def losses(model: Any, engine: Any, optimizer: Any = None, **settings: Any) -> list[float]:
    """Train for two epochs of six batches of 8 and one of 4."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(52, 6, generator=generator), torch.randint(3, (52,), generator=generator)
    model.compile(optimizer or SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", device="cpu", engine=engine)
    return model.fit(x, y, epochs=2, batch_size=8, seed=3, verbose=0, **settings).iterations["loss"]


class At(lm.Callback):
    def __init__(self, iteration: int, what: Any) -> None:
        self.iteration, self.what = iteration, what

    def on_batch_end(self, model: nn.Module, state: Any) -> None:
        if state.iteration == self.iteration:
            self.what(model)


def test_three_steps_warm_up_and_other_sizes_are_eager(notes: list[str]) -> None:
    assert losses(network(), "cuda_graph") == losses(network(), "auto")
    assert (Recording.made, Recording.launched, notes) == ([8], [8] * 9, [])


def test_iterations_are_counted() -> None:
    model = network()
    losses(model, "cuda_graph")
    assert model._learner._pace.iterations == 14  # type: ignore[union-attr]


def freeze(model: Any) -> None:
    model[0].trainable = False


def decay(model: Any) -> None:
    model._learner._pace.optimizer.param_groups[0]["weight_decay"] = 0.1


@pytest.mark.parametrize("change", [freeze, decay])
def test_what_is_changed_is_recorded_anew(change: Any, notes: list[str]) -> None:
    found, expected = (losses(network(), engine, callbacks=At(5, change)) for engine in ("cuda_graph", "auto"))
    assert found == expected
    assert (Recording.made, len(Recording.launched), notes) == ([8, 8], 9 - 3, [])


def test_a_learning_rate_is_no_reason_to_record_anew(notes: list[str]) -> None:
    losses(network(), "cuda_graph", SGD(lambda n: 0.1 / (1 + n)))
    assert (Recording.made, notes) == ([8], [])


def test_changes_again_and_again(notes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graph, "_WARM_UP", 0)
    monkeypatch.setattr(cuda_graph, "_RECORDINGS", 3)
    monkeypatch.setattr(cuda_graph.CudaGraphStep, "__init__", with_stream(cuda_graph.CudaGraphStep.__init__))

    class Always(lm.Callback):
        def on_batch_end(self, model: Any, state: Any) -> None:
            model._learner._pace.optimizer.param_groups[0]["weight_decay"] = 0.001 * state.iteration

    found, expected = (losses(network(), engine, callbacks=Always()) for engine in ("cuda_graph", "auto"))
    assert found == expected
    assert len(Recording.made) == 3
    assert notes == ["it would have to be recorded for the 4th time, as its settings change again and again"]


def with_stream(original: Any) -> Any:
    def made(self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        self._stream = torch.cuda.Stream()

    return made


def test_a_recording_that_fails(notes: list[str]) -> None:
    Recording.broken = RuntimeError("not permitted\nwhen stream is capturing")
    assert losses(network(), "cuda_graph") == losses(network(), "auto")
    assert (Recording.made, notes) == ([], ["RuntimeError: not permitted"])


class Counts(L.Layer):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


class DrawsOnTheHost(L.Layer):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rand(())


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (Counts, "a step changes attributes of 'counts' in Python"),
        (DrawsOnTheHost, "a step draws random numbers on the host (torch's)"),
    ],
)
def test_layers_that_no_graph_can_repeat(layer: Any, reason: str, notes: list[str]) -> None:
    assert losses(network(layer()), "cuda_graph") == losses(network(layer()), "auto")
    assert (Recording.made, notes) == ([], [reason])


def test_waiting_is_a_reason_and_other_warnings_stay(notes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    class Waits(L.Layer):
        def forward(self, x: Tensor) -> Tensor:
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
            warnings.warn("something else", stacklevel=1)
            return x

    monkeypatch.setattr(cuda_graph, "generator_states", dict)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        losses(network(Waits()), "cuda_graph")
    assert notes == ["a step waits for the device"]
    texts = [str(warning.message) for warning in told]
    assert texts.count("something else") == texts.count("called a synchronizing CUDA operation") + 1


def test_hooks_and_optimizers_are_looked_at_before(notes: list[str]) -> None:
    losses(network(), "cuda_graph", Muon(1e-3))
    hooked = network()
    hooked[0].register_forward_hook(lambda module, args, output: None)
    losses(hooked, "cuda_graph")
    assert Recording.made == []
    assert notes == [
        "the step of MuonAndAdamW is not known to be the same operations each time",
        "'dense' has hooks, which a graph does not call",
    ]
