"""Many seeds in one program: the numbers of each are those of a training alone, whatever becomes of the others."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar import optimizers
from laminar.comparison import together
from laminar.comparison.joint import Joint
from laminar.comparison.protocol import make_protocol
from laminar.comparison.runs import Run
from laminar.comparison.store import Store
from laminar.comparison.task import Task, build, execute
from laminar.comparison.together import Grouping, can_train_together, execute_together, worth_it
from laminar.comparison.worker import work
from laminar.errors import ArgumentError
from laminar.optimizers import SGD
from laminar.schedules import ExponentialDecay

SEEDS = [0, 1, 2]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks wait for a second thread longer than it helps them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def data(n: int = 130, *shape: int) -> tuple[Tensor, Tensor]:
    """Return observations of two classes."""
    x = torch.randn(n, *(shape or (1, 6, 6)), generator=torch.Generator().manual_seed(3))
    return x, (x.flatten(1).sum(1) > 0).long()


def network(
    *,
    optimizer: Any = "sgdm",
    last: Any = "auto",
    hidden: Any = (),
    loss: str = "sparse_categorical_crossentropy",
    precision: Any = "float32",
) -> Any:
    """Return a function that builds a small perceptron."""

    def built() -> lm.Sequential:
        end = [L.Dense(2), L.Softmax()] if last == "auto" else last()
        model = lm.Sequential([L.Flatten(), L.Dense(5), *(layer() for layer in hidden), L.Activation("tanh"), *end])
        model.compile(optimizer, loss, ["accuracy"], device="cpu", precision=precision)
        return model

    return built


def deep() -> lm.Sequential:
    """Return R5's layers, small: adapted statistics, batch normalization, an ELU with a derivative of its own."""
    elu = L.ELU("uniform", learnable=True)
    model = lm.Sequential(
        [L.Normalization("zerocenter"), L.Conv2D(3, 3), L.BatchNormalization(), elu, L.Flatten(), L.Dense(2), L.Softmax()]
    )
    model.compile("sgdm", "sparse_categorical_crossentropy", ["accuracy", "f1"], device="cpu")
    return model


def task(builder: Callable[..., Any], *, train: Any = None, test: Any = None, **fit: Any) -> Task:
    """Return a comparison of two variants that are the same."""
    protocol = make_protocol(["a", "b"], metric="accuracy", margin=0.01, seeds=8, target=0.9)
    fit = {"epochs": 2, "batch_size": 32, **fit}
    return Task(protocol, {"a": builder, "b": builder}, data() if train is None else train, test or data(70), fit)


def alone(of: Task, index: int) -> lm.Model:
    """Return the network of one run, trained by `fit`."""
    x, y, weight = of.training_data(index)
    model = build(of.builders["a"], of.protocol.seed_of(index), "a")
    model.fit(x, y, **of.fit_arguments("a", index, weight))
    return model


def at_once(of: Task) -> Joint:
    """Return the trainings of several runs, done."""
    triples = [of.training_data(index) for index in SEEDS]
    models = [build(of.builders["a"], of.protocol.seed_of(index), "a") for index in SEEDS]
    joint = Joint(models, triples, [of.fit_arguments("a", i, triple[2]) for i, triple in zip(SEEDS, triples, strict=True)])
    joint.train()
    return joint


def assert_same(of: Task, tolerance: float) -> Joint:
    """Assert that every number of every training is that of a training alone, and return the joint one."""
    joint = at_once(of)
    for k, index in enumerate(SEEDS):
        model, history = alone(of, index), joint.figures(k)
        assert history is not None
        assert model.history is not None
        for mine, theirs in ((history.history, model.history.history), (history.iterations, model.history.iterations)):
            assert list(mine) == list(theirs)
            for name in mine:
                np.testing.assert_allclose(mine[name], theirs[name], rtol=0, atol=tolerance, err_msg=name)
        own, common = model.state_dict(), joint.models[k].state_dict()
        for name, value in own.items():
            torch.testing.assert_close(common[name], value, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")
        assert not joint.models[k].training
    return joint


# ── the same numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_fifty_steps_are_the_same_to_rounding_in_single_precision() -> None:
    assert_same(task(deep, epochs=10), 1e-5)


def test_fifty_steps_are_the_same_in_double_precision() -> None:
    torch.set_default_dtype(torch.float64)
    x, y = data()
    joint = assert_same(task(deep, epochs=10, train=(x.double(), y)), 1e-12)
    assert len(joint.history.iterations["loss"]) == 50
    assert joint.models[0].state_dict()["conv2d.weight"].dtype is torch.float64


@pytest.mark.parametrize(
    "name",
    [
        "sgd",
        "nesterov",
        "adam",
        "adamw",
        "rmsprop",
        "adagrad",
        "adadelta",
        "adamax",
        "nadam",
        "decayed",
        "ema",
        "clipvalue",
        "schedule",
        "torch",
    ],
)
def test_optimizers_that_treat_each_number_by_itself_make_the_same_steps(name: str) -> None:
    special = {
        "decayed": SGD(0.1, momentum=0.9, decay=0.1, weight_decay=0.01),
        "ema": SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=4),
        "clipvalue": SGD(0.1, clipvalue=0.01),
        "schedule": optimizers.Adam(ExponentialDecay(0.01, 3, 0.5)),
        "torch": functools.partial(torch.optim.AdamW, lr=0.01),
    }
    torch.set_default_dtype(torch.float64)
    x, y = data()
    of = task(network(optimizer=special.get(name, name)), train=(x.double(), y))
    assert can_train_together(of, "a") is None
    assert_same(of, 1e-12)


@pytest.mark.parametrize(
    "fit",
    [
        {"shuffle": "once", "drop_last": True},
        {"shuffle": False},
        {"validation_split": 0.25},
        {"class_weight": {0: 1.0, 1: 3.0}},
        {"batch_size": 500},
        {"log_every": 1},
    ],
    ids=["once", "unshuffled", "split", "class_weight", "one batch", "log_every"],
)
def test_the_arguments_of_fit_hold_for_each(fit: dict[str, Any]) -> None:
    of = task(deep, **fit)
    of = Task(make_protocol(["a", "b"], metric="accuracy", margin=0.01, seeds=8), of.builders, of.train, of.test, of.fit)
    assert_same(of, 1e-5)


def test_weights_and_data_of_each_seed_are_used() -> None:
    x, y = data(200)

    def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor]:
        index = torch.randperm(200, generator=torch.Generator().manual_seed(seed % 1000))[:100]
        return x[index], y[index], torch.rand(100, generator=torch.Generator().manual_seed(seed % 999))

    assert_same(task(deep, train=drawn), 1e-5)


def test_slow_layers_and_frozen_ones_stay_so() -> None:
    def builder() -> lm.Sequential:
        model: lm.Sequential = network()()
        model.build((1, 6, 6))  # from the seed of the run, which `build` has set
        model["dense"].learning_rate_factor = 0.1  # type: ignore[assignment]  # a descriptor of the layer
        model["dense_1"].freeze("bias")  # type: ignore[operator]  # a method of the layer
        return model

    assert_same(task(builder), 1e-5)


def test_several_inputs_and_arrays_of_numpy_are_taken() -> None:
    def builder() -> lm.Model:
        a, b = lm.Input((4,)), lm.Input((3,))
        model = lm.Model([a, b], L.Dense(2)(L.Concatenate()([a, b])))
        model.compile("sgdm", "sparse_categorical_crossentropy", ["accuracy"], device="cpu")
        return model

    rng = np.random.default_rng(0)
    pair = (rng.normal(size=(90, 4)), rng.normal(size=(90, 3)))
    y = rng.integers(2, size=90)
    assert_same(task(builder, train=(pair, y), test=(pair, y)), 1e-5)


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_runs_are_those_of_execute() -> None:
    of = task(deep, epochs=3)
    runs = execute_together(of, "a", [2, 0, 5])
    for run, index in zip(runs, [2, 0, 5], strict=True):
        other = execute(of, "a", index)
        assert (run.variant, run.index, run.seed, run.status, run.error) == ("a", index, other.seed, "finished", None)
        assert (run.together, other.together, run.parameters, run.memory) == (3, 1, other.parameters, other.memory)
        assert (run.memory is not None) == (index == 0)
        assert run.value == pytest.approx(other.value, abs=1e-5)
        assert run.figures == pytest.approx(other.figures, abs=1e-5)
        assert list(run.history) == list(other.history)
        for name, values in run.history.items():
            assert values == pytest.approx(other.history[name], abs=1e-5)
        assert len(run.elapsed) == 3
        assert run.elapsed == sorted(run.elapsed)
        assert run.seconds == run.elapsed[-1] > 0
        assert run.evaluation is not None
        assert Run.from_dict(run.to_dict()) == run
    assert runs[0].elapsed == runs[1].elapsed, "each is said to have taken its share of the common time"


class _Burst(L.Layer):
    """Turns into infinity, after some steps, in networks whose first bias began above a number."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.steps = self.state(1, init="zeros")
        self.fuse = self.state(1, init=lambda size: torch.rand(size, generator=lm.seeding.ambient_generator("fuse")))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
        return x / ((self.fuse < 0.5) | (self.steps < 4)).to(x)


def bursting() -> lm.Sequential:
    """Return a network that diverges at its fourth step from about half of the seeds."""
    return network(hidden=[_Burst])()  # type: ignore[no-any-return]  # a Sequential


def test_a_network_that_diverges_does_not_disturb_the_others() -> None:
    of = task(bursting, epochs=3)
    others = [execute(of, "a", index) for index in range(6)]
    assert {run.status for run in others} == {"finished", "diverged"}, "or there is nothing to see"
    for run, other in zip(execute_together(of, "a", range(6)), others, strict=True):
        assert (run.status, run.error) == (other.status, other.error)
        assert run.together == (6 if run.status == "finished" else 1)
        assert run.figures == pytest.approx(other.figures, abs=1e-5)
        assert list(run.history) == list(other.history)


def test_where_all_diverge_each_says_what_it_says_alone() -> None:
    of = task(network(optimizer=SGD(1e30), last=lambda: [L.Dense(1)], loss="mse"), epochs=4)
    x, y = data()
    of = Task(of.protocol, of.builders, (x, y.float()), (x, y.float()), of.fit)
    runs = execute_together(of, "a", SEEDS)
    assert [(run.status, run.together) for run in runs] == [("diverged", 1)] * 3
    assert [run.error for run in runs] == [execute(of, "a", index).error for index in SEEDS]


def test_what_cannot_be_trained_together_is_trained_alone() -> None:
    of = task(network(hidden=[lambda: L.Dropout(0.5)]))
    runs = execute_together(of, "a", SEEDS)
    assert [run.together for run in runs] == [1, 1, 1]
    assert [run.value for run in runs] == [execute(of, "a", index).value for index in SEEDS]


def test_the_generators_stay_as_they_are() -> None:
    of = task(network(), epochs=1)
    before = lm.seeding.generator_states()
    assert can_train_together(of, "a") is None
    execute_together(of, "a", SEEDS)
    assert lm.seeding.generator_states() == before


def test_an_interrupted_training_is_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    of = task(network())
    steps = itertools.count()

    class Interrupted(together.Clock):
        def on_batch_end(self, model: nn.Module, state: Any) -> None:
            if next(steps) == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(together, "Clock", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute_together(of, "a", SEEDS)


# ── reasons ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Counts(nn.Module):
    """Counts its calls in a plain attribute, and goes by that."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return x * (1 + 0.1 * self.calls)


class _NumPyNoise(nn.Module):
    """Noise that no vmap notices."""

    def forward(self, x: Tensor) -> Tensor:
        return x + float(np.random.normal()) if self.training else x  # noqa: NPY002  # the global generator is the point


class _LARS(torch.optim.Optimizer):
    """Steps as long as the parameter, along the gradient: a rule with a norm over each tensor."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.01})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # without a closure
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p -= group["lr"] * (p.norm() + 0.1) * p.grad / (p.grad.norm() + 1e-9)


def seeded(seed: int) -> Any:
    """Return a network whose learning rate depends on the seed."""
    return network(optimizer=SGD(0.1 + seed % 7))()


def several() -> lm.Model:
    """Return a network with two outputs."""
    x = lm.Input((1, 6, 6))
    h = L.Flatten()(x)
    model = lm.Model(x, [L.Dense(2)(h), L.Dense(2)(h)])
    model.compile("sgdm", "sparse_categorical_crossentropy", device="cpu")
    return model


ALONE = "Train them one after the other."
REASONS: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "dropout": (
        network(hidden=[lambda: L.Dropout(0.5)]),
        {},
        "it draws random numbers in training (torch's), which would be others",
    ),
    "noise of NumPy": (
        network(hidden=[_NumPyNoise]),
        {},
        "it draws random numbers in training (NumPy's), which would be others",
    ),
    "a plain attribute": (network(hidden=[_Counts]), {}, "what it has learned would be others"),
    "clipnorm": (network(optimizer=SGD(0.1, clipnorm=0.01)), {}, "its gradients would be others"),
    "clipnorm out of reach": (network(optimizer=SGD(0.1, clipnorm=1000.0)), {}, "the steps of its optimizer would be others"),
    "global_clipnorm": (network(optimizer=SGD(0.1, global_clipnorm=10.0)), {}, "the steps of its optimizer would be others"),
    "a norm": (network(optimizer=lambda p: _LARS(p)), {}, "its gradients would be others"),
    "muon": (network(optimizer="muon"), {}, "ValueError: Param gradient must be a 2D matrix"),
    "callbacks": (network(), {"callbacks": lm.callbacks.EarlyStopping()}, "callbacks look after one network at a time"),
    "settings by seed": (
        seeded,
        {},
        "ArgumentError: training several seeds at once: expected networks that differ in their seeds alone, received 2 kinds. "
        + ALONE,
    ),
    "bfloat16": (
        network(precision="bfloat16"),
        {},
        "ArgumentError: training several seeds at once: expected float32, received bfloat16. " + ALONE,
    ),
    "several outputs": (
        several,
        {},
        "ArgumentError: training several seeds at once: expected networks with one output, received several outputs. " + ALONE,
    ),
}


@pytest.mark.parametrize("name", list(REASONS))
def test_what_would_be_different_is_the_reason_not_to(name: str) -> None:
    builder, fit, reason = REASONS[name]
    of = task(builder, **fit)
    if name == "several outputs":
        x, y = data()
        of = Task(make_protocol(["a", "b"], metric="loss", margin=0.1, seeds=8), of.builders, (x, (y, y)), (x, (y, y)), of.fit)
    assert can_train_together(of, "a") == reason


def test_a_stream_is_a_reason() -> None:
    x, y = data()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 32)
    reason = "ArgumentError: training several seeds at once: expected arrays, received a DataLoader. " + ALONE
    assert can_train_together(task(network(), train=loader), "a") == reason


def test_networks_of_several_widths_are_refused() -> None:
    def builder(seed: int) -> Any:
        model = lm.Sequential([L.Flatten(), L.Dense(2)])
        model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"], device="cpu")
        model.build((1, 6, 6))
        model[1].weight.requires_grad_(seed % 2 == 0)  # which nobody can read off the network's repr
        return model

    of = task(builder)
    assert len({of.protocol.seed_of(i) % 2 for i in SEEDS}) == 2, "or there is nothing to see"
    with pytest.raises(ArgumentError) as caught:
        at_once(of)
    expected = "Stacked(models): expected networks of one kind, received 2 kinds. Train them one after the other."
    assert str(caught.value) == expected


# ── when ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_faster_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    of = task(network())
    assert worth_it(of, "a", SEEDS) in (True, False), "it has been timed"
    for seconds, faster in (((1.0, 0.5), True), ((0.5, 1.0), False)):
        monkeypatch.setattr(together, "seconds_of_steps", lambda *_, found=seconds: found)
        assert worth_it(of, "a", SEEDS) is faster


def test_runs_are_grouped_where_there_is_time_to_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[int]]] = []

    def worth(_task: Task, variant: str, indexes: Any) -> bool:
        asked.append((variant, list(indexes)))
        return True

    monkeypatch.setattr(together, "worth_it", worth)
    monkeypatch.setattr(together, "can_train_together", lambda _task, variant: None if variant == "a" else "a reason")
    grouping = Grouping(task(network()))
    wanted = [(name, index) for index in range(1, 8) for name in ("a", "b")]
    short, long = ([Run(name, 0, 7, value=0.5, seconds=s) for name in ("a", "b")] for s in (0.1, 60.0))
    assert grouping.beside(("a", 1), wanted, []) == [], "the first run is made alone"
    assert grouping.beside(("a", 1), wanted, short) == []
    assert asked == []
    assert grouping.beside(("a", 1), wanted, long) == [("a", index) for index in range(2, 6)]
    assert grouping.beside(("a", 6), wanted, long) == [("a", 7)]
    assert grouping.beside(("b", 1), wanted, long) == []
    assert asked == [("a", [1, 2, 3, 4, 5])], "each variant is tried once"


def test_a_worker_claims_and_records_what_it_trains_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "_TRIFLE", 0.0)
    monkeypatch.setattr(together, "worth_it", lambda *_: True)
    of = task(network(), epochs=1)
    store = Store(None)
    store.open_study("two", of.protocol.to_dict(), "the same")
    taken = ("a", 3)
    assert store.claim("two", [taken]) == taken
    recorded: list[Run] = []

    def report(run: Run) -> None:
        recorded.append(run)
        if run.variant == "a" and run.index == 5:
            store.record("two", execute(of, *taken))  # by whoever had claimed it

    work(of, store, "two", report=report)
    runs = store.runs("two")
    assert len(runs) == len({(run.variant, run.index) for run in runs}) == 16
    at_once = {(run.variant, run.index): run.together for run in recorded}
    assert [at_once[name, 0] for name in "ab"] == [1, 1], "the first of each tells what there is to gain"
    assert [at_once["a", index] for index in (1, 2, 4, 5)] == [4] * 4
    assert [at_once["b", index] for index in range(1, 6)] == [5] * 5
