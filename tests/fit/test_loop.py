"""`fit` against loops written by hand: the same weights to the bit, the same figures, no waiting for the device in between."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError
from laminar.fit.progress import Progress, Row
from laminar.metrics import CustomMetric
from laminar.optimizers import SGDM

N, BATCH = 50, 16


def data(n: int = N, classes: int = 4) -> tuple[Tensor, Tensor]:
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


class Seen(nn.Module):
    """Passes its input on and keeps what it was in training."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.batches.append(x.detach().clone())
        return x


def by_hand(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Callable[[], Iterator[tuple[Tensor, Tensor]]],
    epochs: int,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> list[float]:
    """Train as everybody does, and return the losses."""
    losses = []
    model.train()
    for _ in range(epochs):
        for x, y in batches():
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            optimizer.step()
            losses.append(value.item())
    return losses


def in_order(x: Tensor, y: Tensor, size: int = BATCH) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
    return lambda: iter(zip(x.split(size), y.split(size), strict=True))


def decayed(model: nn.Module, **settings: Any) -> torch.optim.SGD:
    """Return SGD with an L2 factor on parameters of two axes or more."""
    weights = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": weights, "weight_decay": 1e-2}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, **settings)


def assert_same_weights(one: nn.Module, other: nn.Module) -> None:
    pairs = zip(one.state_dict().items(), other.state_dict().values(), strict=True)
    assert [name for (name, a), b in pairs if not torch.equal(a, b)] == []


# ── the same bits ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("end", [(), (L.Softmax(),), (nn.Softmax(dim=1),)], ids=["logits", "Softmax", "nn.Softmax"])
def test_fit_gives_the_bits_of_a_loop_written_by_hand(end: tuple[nn.Module, ...]) -> None:
    """A network that ends in softmax is trained on its logits, so all three ends are the same training."""
    x, y = data()
    ours, theirs = network(*copy.deepcopy(end)), network()
    ours.compile(SGDM(0.05, momentum=0.9, weight_decay=1e-2), "sparse_categorical_crossentropy")
    history = ours.fit(x, y, epochs=3, batch_size=BATCH, shuffle=False, verbose=0)
    losses = by_hand(theirs, decayed(theirs, lr=0.05, momentum=0.9, fused=True), in_order(x, y), epochs=3)
    assert_same_weights(ours, theirs)
    assert history.iterations["loss"] == losses


def test_shuffled_batches_and_a_torch_optimizer_give_those_bits_too() -> None:
    """The batches that the network saw, replayed by hand."""
    x, y = data()
    label_of = {tuple(row.flatten().tolist()): label for row, label in zip(x, y, strict=True)}
    ours, theirs = network(), network()
    seen = Seen()
    chain = lm.Sequential([seen, ours])
    chain.compile(functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9), nn.CrossEntropyLoss())
    chain.fit(x, y, epochs=2, batch_size=BATCH, seed=5, verbose=0)
    replayed = [(b, torch.stack([label_of[tuple(row.flatten().tolist())] for row in b])) for b in seen.batches]
    assert [len(b) for b in seen.batches] == [16, 16, 16, 2] * 2
    by_hand(theirs, torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9), lambda: iter(replayed), epochs=1)
    assert_same_weights(ours, theirs)


def test_logits_that_overflow_softmax_are_trained_on_all_the_same() -> None:
    """exp(2000) is infinite; the loss on logits is not."""
    x, y = torch.eye(4, dtype=torch.float64) * 2000, torch.tensor([1, 0, 3, 2])
    model = lm.Sequential([L.Dense(4, kernel_initializer=torch.eye(4)), L.Softmax()]).build((4,)).double()
    model.compile("sgd", "sparse_categorical_crossentropy")
    history = model.fit(x, y, epochs=1, batch_size=4, verbose=0)
    assert history.iterations["loss"] == [F.cross_entropy(x, y).item()] == [2000.0]
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_regression_in_float64_keeps_the_targets_digits() -> None:
    """Targets go through float64, not through torch's default float32."""
    x, y = data()
    target = y.double() / 3
    ours, theirs = network(L.Dense(1, kernel_initializer="ones")), network(L.Dense(1, kernel_initializer="ones"))
    ours.compile(functools.partial(torch.optim.SGD, lr=0.01), "mse", engine="eager")
    ours.fit(x, target.numpy(), epochs=2, batch_size=BATCH, shuffle=False, verbose=0)
    batches = in_order(x, target[:, None])
    by_hand(theirs, torch.optim.SGD(theirs.parameters(), lr=0.01), batches, epochs=2, loss=F.mse_loss)
    assert_same_weights(ours, theirs)


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_history_holds_every_figure_of_a_loop_written_by_hand() -> None:
    """Each iteration's loss and accuracy; the epoch's are means over its observations, so the last, small batch counts less."""
    x, y = data()
    ours, theirs = network(L.Softmax()), network()
    ours.compile(SGDM(0.05, weight_decay=1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = ours.fit(x, y, epochs=2, batch_size=BATCH, shuffle=False, verbose=0, log_every=3)
    accuracies = []

    def loss(output: Tensor, target: Tensor) -> Tensor:
        accuracies.append((output.argmax(1) == target).double().mean().item())
        return F.cross_entropy(output, target)

    losses = by_hand(theirs, decayed(theirs, lr=0.05, momentum=0.9, fused=True), in_order(x, y), 2, loss)
    sizes = [16, 16, 16, 2]
    assert history.iterations["loss"] == losses
    assert history.iterations["accuracy"] == pytest.approx(accuracies)
    for name, figures in history.iterations.items():
        assert len(figures) == 8
        if name != "learning_rate":
            means = [np.average(figures[i : i + 4], weights=sizes) for i in (0, 4)]
            assert history.history[name] == pytest.approx(means, rel=1e-12)
    assert history.epoch == [1, 2]
    assert history.stopped is None
    assert history.history["learning_rate"] == [0.05, 0.05]


def test_figures_of_a_metric_are_those_of_its_own_batch_whenever_they_are_computed() -> None:
    """Batches are judged together, many at a time; a function that returns one figure for all is asked batch by batch."""
    x, y = data()
    seen = network(), network()

    def worst(prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction.argmax(1) - target).abs().max().double()

    kinds = ["accuracy", "top_2_accuracy", CustomMetric(worst)]
    histories = []
    for model, log_every in zip(seen, (1, 1000), strict=True):
        model.compile(SGDM(0.01), "sparse_categorical_crossentropy", metrics=kinds)
        histories.append(model.fit(x, y, epochs=2, batch_size=BATCH, shuffle=False, verbose=0, log_every=log_every))
    assert histories[0].iterations == histories[1].iterations
    assert set(histories[0].iterations) == {"loss", "accuracy", "top_2_accuracy", "worst", "learning_rate"}
    assert all(value == int(value) for value in histories[0].iterations["worst"])


def test_figures_are_the_same_when_outputs_are_too_large_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then metrics are computed before the row is due: here after every second batch."""
    x, y = data()
    histories = []
    for most in (1 << 20, 100):
        monkeypatch.setattr("laminar.fit.recorder._MOST_KEPT", most)
        model = network(L.Softmax())
        model.compile(SGDM(0.01), "sparse_categorical_crossentropy", metrics=["accuracy", CustomMetric(lambda p, t: p.amax())])
        histories.append(model.fit(x, y, epochs=2, batch_size=BATCH, seed=0, verbose=0).iterations)
    assert histories[0] == histories[1]


def test_the_learning_rate_of_an_iteration_is_the_one_its_step_was_taken_with() -> None:
    """A callback lowers it after every batch; nothing is written down before ten iterations have gone by."""

    class Halve(lm.Callback):
        def on_batch_end(self, model: Any, state: Any) -> None:
            optimizer.param_groups[0]["lr"] /= 2

    x, y = data()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    history = model.fit(x, y, epochs=1, batch_size=5, log_every=10, callbacks=[Halve()], verbose=0)
    assert history.iterations["learning_rate"] == [2.0**-i for i in range(10)]
    assert history.history["learning_rate"] == [2.0**-9]


def test_a_learning_rate_in_a_tensor_is_noted_as_it_was() -> None:
    """A schedule may write to it before anybody reads it."""
    rate = torch.tensor(1.0)

    class Halve(lm.Callback):
        def on_batch_end(self, model: Any, state: Any) -> None:
            rate.mul_(0.5)

    x, y = data()
    model = network()
    model.compile(torch.optim.SGD(model.parameters(), lr=rate, foreach=False), "sparse_categorical_crossentropy")
    history = model.fit(x, y, batch_size=10, callbacks=[Halve()], verbose=0)
    assert history.iterations["learning_rate"] == [1.0, 0.5, 0.25, 0.125, 0.0625]


def test_published_counts_of_iterations() -> None:
    """R5: 30 epochs of 5,000 observations in batches of 128 without the partial one are 39 an epoch, 1,170 in all."""

    class OneEpoch(lm.Callback):
        def on_epoch_end(self, model: Any, state: Any) -> None:
            assert state.total == 1170
            state.stop = "seen enough"

    x, y = torch.randn(5000, 2), torch.randint(2, (5000,))
    model = lm.Sequential([L.Dense(2)]).build((2,))
    model.compile("sgd", "sparse_categorical_crossentropy")
    history = model.fit(x, y, epochs=30, batch_size=128, drop_last=True, verbose=0, callbacks=OneEpoch())
    assert len(history.iterations["loss"]) == 39


class Recording(Progress):
    """Keeps what the loop tells."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.ticks: list[tuple[int, int]] = []
        self.started: dict[str, Any] = {}
        self.stops = 0

    def start(self, **told: Any) -> None:
        self.started = told

    def tick(self, epoch: int, iteration: int) -> None:
        self.ticks.append((epoch, iteration))

    def row(self, row: Row) -> None:
        self.rows.append(row)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stop(self) -> None:
        self.stops += 1


@pytest.fixture
def progress(monkeypatch: pytest.MonkeyPatch) -> Recording:
    recording = Recording()
    monkeypatch.setattr("laminar.model.make_progress", lambda verbose: recording)
    return recording


class Endless:
    """Batches without a length, as a stream has them."""

    def __init__(self, x: Tensor, y: Tensor, size: int) -> None:
        self.pairs = list(zip(x.split(size), y.split(size), strict=True))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.pairs)


def test_rows_come_at_the_first_iteration_every_so_often_and_after_validation(progress: Recording) -> None:
    """10 iterations an epoch; a row at 1, at every 4th, and at the end of an epoch with its validation figures."""
    x, y = data()
    model = network()
    model.compile(SGDM(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=2, batch_size=5, log_every=4, validation_data=(x[:7], y[:7]))
    assert [(row.epoch, row.iteration) for row in progress.rows] == [
        (1, 1), (1, 4), (1, 8), (1, 10), (2, 12), (2, 16), (2, 20),
    ]  # fmt: skip
    figures = [set(row.figures) for row in progress.rows]
    assert figures[0] == {"loss", "accuracy"}
    assert figures[3] == figures[6] == {"loss", "accuracy", "val_loss", "val_accuracy"}
    for row in progress.rows:
        assert row.figures["loss"] == history.iterations["loss"][row.iteration - 1]
        assert row.learning_rate == 0.01
    assert progress.rows[3].figures["val_loss"] == history.history["val_loss"][0]
    assert progress.started == {
        "epochs": 2,
        "iterations": 20,
        "columns": ["loss", "accuracy", "val_loss", "val_accuracy"],
        "title": "Training on cpu with 50 observations",
    }
    assert progress.rows[0].remaining is not None
    assert progress.rows[-1].remaining == 0.0
    assert progress.stops == 1
    assert progress.ticks[-1] == (2, 20)


def test_without_validation_the_last_iteration_has_a_row_and_none_comes_twice(progress: Recording) -> None:
    """In memory, as a stream without a length, and in an epoch of a single batch."""
    x, y = data()
    expected = {"array": [1, 5, 10, 15, 20], "stream": [1, 5, 10, 15, 20], "one batch": [1, 2]}
    for name, rows in expected.items():
        progress.rows.clear()
        model = network()
        model.compile("sgd", "sparse_categorical_crossentropy")
        if name == "stream":
            model.fit(Endless(x, y, 5), epochs=2, log_every=5)
        else:
            model.fit(x, y, epochs=2, batch_size=5 if name == "array" else 64, log_every=5)
        assert [row.iteration for row in progress.rows] == rows, name


def test_a_stream_tells_its_length_after_the_first_epoch(progress: Recording) -> None:
    x, y = data()
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(Endless(x, y, 5), epochs=2, log_every=5)
    assert progress.started["iterations"] is None
    assert progress.started["title"] == "Training on cpu with a stream"
    assert [row.remaining is None for row in progress.rows] == [True, True, True, False, False]


# ── the device is not waited for ─────────────────────────────────────────────────────────────────────────────────────────────


class Waits(TorchDispatchMode):
    """Counts operations that bring a number to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # copies to the CPU cannot be told from others on a machine without a GPU; reading a value can
        self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)
        self.count += func is torch.ops.aten.nonzero.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["sgdm", "adam"])
def test_nothing_is_read_from_the_device_between_two_rows(monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    """Over 38 steps with metrics: not one scalar is read, no tensor becomes a list or an array, none is asked for its truth."""
    read: list[str] = []
    waits = Waits()

    class Between(lm.Callback):
        def on_batch_end(self, model: Any, state: Any) -> None:
            if state.iteration == 2:
                waits.__enter__()
                for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
                    original = getattr(Tensor, name)
                    monkeypatch.setattr(Tensor, name, lambda t, *a, _n=name, _o=original: (read.append(_n), _o(t, *a))[1])
            if state.iteration == 40:
                monkeypatch.undo()
                waits.__exit__(None, None, None)

    x, y = torch.randn(410, 6), torch.randint(3, (410,))
    model = lm.Sequential([L.Dense(8, "relu"), L.BatchNormalization(), L.ELU(), L.Dropout(0.1), L.Dense(3, "softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy", "top_2_accuracy"])
    history = model.fit(x, y, batch_size=10, log_every=41, callbacks=[Between()], verbose=0, sample_weight=torch.rand(410))
    assert (waits.count, read) == (0, [])
    assert len(history.iterations["loss"]) == 41
    with waits:  # the counter does count
        float(torch.ones(1))
    assert waits.count == 1


# ── the learning rate in callbacks' hands ────────────────────────────────────────────────────────────────────────────────────


def test_a_callback_reads_and_sets_the_learning_rate() -> None:
    """It holds from the next step on, and every group follows in proportion; the optimizer is there to be saved."""
    seen: list[float] = []

    class Halve(lm.Callback):
        def on_batch_end(self, model: Any, state: Any) -> None:
            seen.append(state.learning_rate)
            state.learning_rate /= 2
            assert state.optimizer is optimizer

    x, y = data()
    model = network()
    groups = [{"params": [p]} if p.dim() > 1 else {"params": [p], "lr": 3.0} for p in model.parameters()]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    history = model.fit(x, y, epochs=1, batch_size=5, callbacks=[Halve()], verbose=0)
    assert history.iterations["learning_rate"] == seen == [2.0**-i for i in range(10)]
    assert {group["lr"] for group in optimizer.param_groups} == {2.0**-10, 3 * 2.0**-10}


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), True, "fast"])
def test_a_learning_rate_that_is_none_is_refused(value: Any) -> None:
    class Wrong(lm.Callback):
        def on_epoch_begin(self, model: Any, state: Any) -> None:
            state.learning_rate = value

    x, y = data()
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ArgumentError) as e:
        model.fit(x, y, callbacks=[Wrong()], verbose=0)
    assert str(e.value) == (
        f"state.learning_rate: expected a number of at least 0, received {value!r}. "
        "Set state.learning_rate = 0.001, for example."
    )
