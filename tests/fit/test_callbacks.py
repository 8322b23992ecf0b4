"""Callbacks, and trainings that end otherwise than planned: what is told, and what is kept."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.errors import DivergedError, GradientError
from laminar.fit.progress import Progress, Row
from laminar.optimizers import SGDM


def data(n: int = 50, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Return images (n, 1, 8, 8) in float64 and class numbers."""
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(n, 1, 8, 8, dtype=torch.float64, generator=generator),
        torch.randint(classes, (n,), generator=generator),
    )


def network(*end: nn.Module) -> lm.Sequential:
    """Return a built float64 network with every kind of parameter: kernels, biases, scales, alphas."""
    layers = [L.Conv2D(3, 3), L.BatchNormalization(), L.ELU("uniform", learnable=True), L.Flatten(), L.Dense(4), *end]
    return lm.Sequential(layers).build((1, 8, 8), seed=3).double()


class Recording(Progress):
    """Keeps the remarks, and counts how often it was ended."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stops = 0

    def start(self, **told: Any) -> None: ...

    def tick(self, epoch: int, iteration: int) -> None: ...

    def row(self, row: Row) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stop(self) -> None:
        self.stops += 1


@pytest.fixture
def progress(monkeypatch: pytest.MonkeyPatch) -> Recording:
    recording = Recording()
    monkeypatch.setattr("laminar.model.make_progress", lambda verbose: recording)
    return recording


# ── callbacks ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Diary(lm.Callback):
    """Writes every hook down."""

    def __init__(self, name: str, diary: list[Any]) -> None:
        self.name, self.diary = name, diary

    def on_train_begin(self, model: Any, state: Any) -> None:
        self.diary.append((self.name, "train begins", state.epoch, state.iteration))

    def on_epoch_begin(self, model: Any, state: Any) -> None:
        self.diary.append((self.name, "epoch begins", state.epoch, state.iteration))

    def on_batch_end(self, model: Any, state: Any) -> None:
        assert model.training
        self.diary.append((self.name, "batch ends", state.epoch, state.iteration))

    def on_epoch_end(self, model: Any, state: Any) -> None:
        assert len(state.history.history["loss"]) == len(state.history.history["val_loss"]) == state.epoch
        assert model.history is state.history
        self.diary.append((self.name, "epoch ends", state.epoch, state.iteration))

    def on_train_end(self, model: Any, state: Any) -> None:
        self.diary.append((self.name, "train ends", state.epoch, state.iteration))


def test_hooks_run_in_order() -> None:
    diary: list[Any] = []
    x, y = data(4)
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=2, batch_size=2, validation_data=(x, y), callbacks=[Diary("a", diary), Diary("b", diary)], verbose=0)
    expected = [
        ("train begins", 0, 0),
        ("epoch begins", 1, 0), ("batch ends", 1, 1), ("batch ends", 1, 2), ("epoch ends", 1, 2),
        ("epoch begins", 2, 2), ("batch ends", 2, 3), ("batch ends", 2, 4), ("epoch ends", 2, 4),
        ("train ends", 2, 4),
    ]  # fmt: skip
    assert diary == [(name, *entry) for entry in expected for name in ("a", "b")]


def stop_in(hook: str, iteration: int) -> lm.Callback:
    """Return a callback that ends the training in the given hook, from `iteration` on."""

    def stop(self: Any, model: Any, state: Any) -> None:
        if state.iteration >= iteration:
            state.stop = "enough is enough"

    callback: lm.Callback = type("Stop", (lm.Callback,), {hook: stop})()
    return callback


@pytest.mark.parametrize(
    ("hook", "iteration", "done", "epochs"),
    [
        ("on_train_begin", 0, 0, 0),
        ("on_epoch_begin", 10, 10, 1),
        ("on_batch_end", 13, 13, 2),
        ("on_epoch_end", 20, 20, 2),
    ],
)
def test_a_callback_ends_the_training(progress: Recording, hook: str, iteration: int, done: int, epochs: int) -> None:
    """`state.stop` is obeyed in every hook; the history says why, and the epoch cut short is in it."""
    x, y = data()
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy")
    history = model.fit(x, y, epochs=5, batch_size=5, callbacks=[stop_in(hook, iteration)], verbose=0)
    assert history.stopped == "enough is enough"
    assert len(history.iterations.get("loss", [])) == done
    assert len(history.history.get("loss", [])) == len(history.epoch) == epochs
    assert progress.notes == [f"Stopped after iteration {done}: enough is enough. What was learned is kept."]
    assert progress.stops == 1
    assert not model.training


def test_an_exception_in_a_callback_ends_the_display_and_leaves_the_network_usable(progress: Recording) -> None:
    class Fails(lm.Callback):
        def on_epoch_end(self, model: Any, state: Any) -> None:
            raise KeyError("mine")

    x, y = data()
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(KeyError, match="mine"):
        model.fit(x, y, callbacks=Fails())
    assert progress.stops == 1
    assert not model.training
    assert model.history is not None
    assert len(model.history.iterations["loss"]) == 1


# ── a loss that is not finite ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_diverging_loss_is_told_with_step_and_parameter() -> None:
    """x² under a learning rate of 1e38: the second step's loss overflows. The figures before it are in the history."""
    x, y = torch.ones(8, 1), torch.zeros(8, 1)
    model = lm.Sequential([L.Dense(1, kernel_initializer="ones", name="only")]).build((1,))
    model.compile(SGDM(1e38, momentum=0.0, weight_decay=0.0), "mse")
    with pytest.raises(DivergedError) as e:
        model.fit(x, y, epochs=3, batch_size=4, log_every=3, shuffle=False, verbose=0)
    assert str(e.value) == (
        "loss became inf at epoch 1, step 2 (last finite 1 at step 1). First non-finite gradient at step 2: 'only.weight'. "
        "Possible fix: lower learning_rate (now 1e+38) or set clipnorm=1.0."
    )
    assert model.history is not None
    assert model.history.iterations == {"loss": [1.0], "learning_rate": [1e38]}
    assert not model.training


def test_it_is_found_at_the_next_row_and_says_when_it_happened() -> None:
    """Rows come every 3 iterations; the loss overflows at step 2 of epoch 1 of 4 steps."""
    x, y = torch.ones(16, 1), torch.zeros(16, 1)
    model = lm.Sequential([L.Dense(1, kernel_initializer="ones", use_bias=False)]).build((1,))
    model.compile(SGDM(1e30, momentum=0.0, weight_decay=0.0), "mse", metrics=["mae"])
    with pytest.raises(DivergedError) as e:
        model.fit(x, y, epochs=3, batch_size=4, log_every=3, shuffle=False, verbose=0)
    assert str(e.value) == (
        "loss became inf at epoch 1, step 2 (last finite 1 at step 1). First non-finite gradient at step 3: 'dense.weight'. "
        "Possible fix: lower learning_rate (now 1e+30) or set clipnorm=1.0."
    )
    assert model.history is not None
    assert {name: len(values) for name, values in model.history.iterations.items()} == {
        "loss": 1, "mean_absolute_error": 1, "learning_rate": 1,
    }  # fmt: skip


def test_an_infinite_loss_with_finite_gradients_does_not_blame_a_parameter() -> None:
    model = lm.Sequential([L.Dense(1)]).build((1,))
    model.compile("sgd", lambda p, y: (p - y).sum() * 0 + math.inf)
    with pytest.raises(DivergedError) as e:
        model.fit(torch.ones(4, 1), torch.ones(4, 1), verbose=0)
    assert str(e.value) == (
        "loss became inf at epoch 1, step 1. All gradients are finite. "
        "Possible fix: look at the scale of inputs and targets, or put Normalization('zscore') first."
    )


def test_a_failure_inside_a_step_says_where_in_the_training_it_was() -> None:
    """torch's batch normalization refuses a batch of one; the message is torch's, and a note says which batch, and what helps."""
    model = lm.Sequential([nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training") as e:
        model.fit(torch.randn(9, 3), torch.randint(2, (9,)), batch_size=4, verbose=0)
    assert e.value.__notes__ == [
        "This happened in epoch 1 at iteration 3, on a batch of 1. "
        "It holds one observation: drop_last=True or another batch_size avoids that."
    ]
    model.fit(torch.randn(9, 3), torch.randint(2, (9,)), batch_size=4, drop_last=True, verbose=0)


def test_a_backward_without_a_gradient_is_named_while_training() -> None:
    class Forgets(lm.Layer):
        def build(self, shape: tuple[int, ...]) -> None:
            self.scale = self.learnable(shape[0], init="ones")
            self.shift = self.learnable(shape[0], init="zeros")

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale + self.shift

        def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Any:
            return dz * self.scale, (dz * x).sum(0)

    model = lm.Sequential([Forgets(), L.Dense(2)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(GradientError) as e:
        model.fit(torch.randn(9, 3), torch.randint(2, (9,)), verbose=0)
    assert str(e.value) == (
        "layer 'forgets' (Forgets): expected backward to return dx and 2 gradients ('scale', 'shift'), "
        "received dx and 1. Return one gradient for each learnable, in the order declared."
    )
