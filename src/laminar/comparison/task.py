"""A comparison that can be run: the functions that build the variants, the data, and what one run is."""

from __future__ import annotations

import copy
import inspect
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from torch import nn

from laminar import seeding
from laminar.comparison.environment import environment
from laminar.comparison.memory import memory_of_run
from laminar.comparison.protocol import Protocol
from laminar.comparison.runs import Run
from laminar.errors import ArgumentError, DivergedError, NotCompiledError, complaint
from laminar.fit import arguments
from laminar.fit.callbacks import INTERRUPTED, Callback
from laminar.fit.state import State
from laminar.model import Model

__all__ = [
    "Builder",
    "Clock",
    "Task",
    "as_triple",
    "build",
    "drawn",
    "execute",
    "finished",
    "fresh",
    "made",
    "tested",
    "with_seed",
]

Builder = Callable[..., Model]


@dataclass(frozen=True)
class Task:
    """Everything that a process needs to run any part of a comparison.

    Attributes:
        protocol: what was declared.
        builders: variant -> function that returns a compiled network; it may take the seed.
        train: (x, y), (x, y, weight), a source of batches, or a function of the seed that returns one of these, so that runs
            differ in their data, too.
        test: (x, y), (x, y, weight) or a source of batches.
        fit: further arguments of `Model.fit`; `callbacks` may be a function that makes them, or is copied for every run.
        own: variant -> those that its trainings have instead, or beside.
    """

    protocol: Protocol
    builders: Mapping[str, Builder]
    train: Any
    test: Any
    fit: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def training_data(self, index: int) -> tuple[Any, Any, Any]:
        """Return (x, y, weight) of the runs of pair `index`."""
        return drawn(self.train, self.protocol.seed_of(index), "compare(train=)")

    def fit_of(self, variant: str) -> dict[str, Any]:
        """Return the arguments of `Model.fit` that were given for a variant."""
        return {**self.fit, **self.own.get(variant, {})}

    def callbacks(self, variant: str) -> list[Callback]:
        """Return callbacks that no other run has."""
        return fresh(self.fit_of(variant).get("callbacks", ()))

    def fit_arguments(self, variant: str, index: int, weight: Any) -> dict[str, Any]:
        """Return the arguments of `Model.fit` for a run, beside its data and its callbacks.

        Args:
            variant: that is trained.
            index: of the pair.
            weight: of the observations, as `training_data` has it.
        """
        given = {"verbose": 0, **self.fit_of(variant), "seed": self.protocol.seed_of(index)}
        given.pop("callbacks", None)
        if weight is not None:
            given["sample_weight"] = weight
        if self.protocol.target is not None:
            given["validation_data"] = self.test
        return given


class Clock(Callback):
    """The seconds of training at the end of each epoch, without what comes between two epochs."""

    def __init__(self) -> None:
        self.elapsed: list[float] = []
        self._begun = self._last = 0.0

    def on_epoch_begin(self, model: nn.Module, state: State) -> None:
        """Begin to count."""
        self._begun = self._last = time.perf_counter()

    def on_batch_end(self, model: nn.Module, state: State) -> None:
        """Note the time."""
        self._last = time.perf_counter()

    def on_epoch_end(self, model: nn.Module, state: State) -> None:
        """Add the epoch's seconds; what came after its last batch is none of them."""
        self.elapsed.append((self.elapsed[-1] if self.elapsed else 0.0) + self._last - self._begun)


def build(builder: Builder, seed: int, name: str) -> Model:
    """Return the network of one run, compiled.

    Raises:
        ArgumentError: if the function returns something else.
        NotCompiledError: if it is not compiled.
    """
    return made(with_seed(builder, seed, name), seed, _variant(name))


def with_seed(builder: Builder, seed: int, name: str) -> Callable[[], Any]:
    """Return `builder` as a function without arguments: it gets the seed if it has an argument "seed", or one that it needs.

    Another argument with a default keeps that: `lambda units=units: make(units)` in a loop is no function of the seed.

    Raises:
        ArgumentError: if it is no function, or needs more.
    """
    expected, fix = "a function that builds a compiled network", "Pass one that takes nothing, or the seed"
    if isinstance(builder, nn.Module) or not callable(builder):
        if isinstance(builder, nn.Module):
            fix = "Write lambda: ... or def around what makes it, so that each run has a new one"
        raise ArgumentError(complaint(_variant(name), expected=expected, received=type(builder).__name__, fix=fix))
    try:
        parameters = inspect.signature(builder).parameters.values()
    except (TypeError, ValueError):  # a callable of C, which tells nothing
        return builder
    if any(p.name == "seed" and p.kind is not p.POSITIONAL_ONLY for p in parameters):
        return lambda: builder(seed=seed)
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(needed) > 1 or any(p.kind is p.KEYWORD_ONLY for p in needed):
        received = f"one that needs {', '.join(p.name for p in needed)}"
        raise ArgumentError(complaint(_variant(name), expected=expected, received=received, fix=fix))
    return (lambda: builder(seed)) if needed else builder


def _variant(name: str) -> str:
    return f"compare(variants=): variant {name!r}"


def made(make: Callable[[], Any], seed: int, where: str) -> Model:
    """Return the compiled network that `make` makes from `seed`; the global generators are left as they were.

    Args:
        make: a user's function.
        seed: of initial values, and of whatever else the function draws.
        where: whose function it is, for messages.

    Raises:
        ArgumentError: if the function returns something else.
        NotCompiledError: if it is not compiled.
    """
    with seeding.preserved(), seeding.seeded(seed):  # what builds itself at once draws from the run's seed, too
        seeding.seed_all(seeding.derive(seed, "construction"))
        model = make()
    if not isinstance(model, Model):
        fix = "Return lm.Sequential([...]) after its compile()"
        raise ArgumentError(complaint(where, expected="a compiled network", received=type(model).__name__, fix=fix))
    if model._recipe is None:
        fix = "Call model.compile(...) in the function"
        raise NotCompiledError(complaint(where, expected="a compiled network", received="one without a loss", fix=fix))
    return model


def fresh(callbacks: Any) -> list[Callback]:
    """Return callbacks that no other run has: what the function `callbacks` makes, or copies of those it holds."""
    given = callbacks() if callable(callbacks) and not isinstance(callbacks, Callback) else callbacks
    return [copy.deepcopy(c) for c in arguments.callback_list(given)]


def execute(task: Task, variant: str, index: int) -> Run:
    """Train one variant with the seed of pair `index`, and test it. A training that fails is a result.

    Raises:
        KeyboardInterrupt: if Ctrl-C ended the training: a run that was cut short is none.
    """
    protocol = task.protocol
    seed = protocol.seed_of(index)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    begun = time.perf_counter()
    run = Run(variant, index, seed, started=started, environment=environment())
    clock = Clock()
    model: Model | None = None
    try:
        x, y, weight = task.training_data(index)
        model = build(task.builders[variant], seed, variant)
        history = model.fit(x, y, **task.fit_arguments(variant, index, weight), callbacks=[*task.callbacks(variant), clock])
        if history.stopped == INTERRUPTED:
            raise KeyboardInterrupt
        return finished(task, model, (x, y, weight), replace(run, elapsed=clock.elapsed))
    except DivergedError as error:
        run = replace(run, status="diverged", error=str(error))
    except Exception as error:
        run = replace(run, status="failed", error=f"{type(error).__name__}: {error}")
    return replace(run, history=_figures(model), elapsed=clock.elapsed, seconds=time.perf_counter() - begun)


def finished(task: Task, model: Model, data: tuple[Any, Any, Any], run: Run) -> Run:
    """Return `run`, whose training has ended as it should, with what the network is, took and does on the test data.

    Args:
        task: the comparison.
        model: the trained network.
        data: (x, y, weight) of the training.
        run: with the seconds of its epochs.
    """
    # that of the first run tells that of the others, and costs as much as a few steps
    memory = None if run.index else memory_of_run(model, data, task.fit_of(run.variant))
    run = replace(run, parameters=sum(p.numel() for p in model.parameters()), memory=memory)
    return tested(task, model, replace(run, seconds=run.elapsed[-1] if run.elapsed else 0.0))


def tested(task: Task, model: Model, run: Run) -> Run:
    """Return `run` with what the trained network does on the test data."""
    x, y, weight = as_triple(task.test, "compare(test=)")
    begun = time.perf_counter()
    figures = dict(model.evaluate(x, y) if weight is None else model.evaluate(x, y, sample_weight=weight))
    seconds = time.perf_counter() - begun
    value = figures[task.protocol.metric]
    run = replace(
        run,
        figures=figures,
        history=_figures(model),
        evaluation=len(x) / seconds if hasattr(x, "__len__") else None,
    )
    if not math.isfinite(value):
        return replace(run, status="diverged", error=f"{task.protocol.metric} on the test data is {value}")
    return replace(run, value=float(value))


def _figures(model: Model | None) -> dict[str, list[float]]:
    """Return figure -> a number for each epoch so far."""
    history = None if model is None else model.history
    return {} if history is None else {name: list(values) for name, values in history.history.items()}


def drawn(train: Any, seed: int, where: str) -> tuple[Any, Any, Any]:
    """Return (x, y, weight) of the run of `seed`, for which `train` may be a function.

    Raises:
        ArgumentError: if it is no data.
    """
    if callable(train) and not hasattr(train, "__iter__") and not hasattr(train, "__getitem__"):
        train = train(seed)
    return as_triple(train, where)


def as_triple(given: Any, where: str) -> tuple[Any, Any, Any]:
    """Return (x, y, weight); y and weight are None where `given` is a source of batches.

    Raises:
        ArgumentError: if it is neither.
    """
    listed = isinstance(given, list) and len(given) in (2, 3) and all(hasattr(part, "__array__") for part in given)
    if isinstance(given, tuple) or listed:  # any other list is one of batches
        if len(given) not in (2, 3):
            fix = "Pass (x, y)"
            received = f"{len(given)} things"
            raise ArgumentError(complaint(where, expected="(x, y) or (x, y, weight)", received=received, fix=fix))
        return given[0], given[1], given[2] if len(given) == 3 else None
    return given, None, None
