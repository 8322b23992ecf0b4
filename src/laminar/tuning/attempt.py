"""One trial: a network built from what Optuna suggests, trained, validated after every epoch, and ended early where it lags."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import nn

from laminar import seeding
from laminar.comparison.runs import plain
from laminar.comparison.task import as_triple, drawn, fresh, made
from laminar.errors import ArgumentError, DivergedError, StoreError, complaint
from laminar.fit.callbacks import INTERRUPTED, Callback
from laminar.fit.state import State
from laminar.model import Model
from laminar.names import unknown_name
from laminar.tuning.trials import Outcome

if TYPE_CHECKING:
    import optuna

__all__ = ["Search", "Seen", "attempt"]

Seen: TypeAlias = "weakref.WeakValueDictionary[int, Any]"
"""Modules and parameters that are still held somewhere, by their ids."""

Told = Callable[[int, float], object]
"""Is given epoch and metric, while a network trains."""


@dataclass(frozen=True)
class Search:
    """Everything that a process needs to run any trial.

    Attributes:
        build: function of an Optuna trial that returns a compiled network.
        train: (x, y), (x, y, weight), a source of batches, or a function of the seed that returns one of these.
        validation: (x, y), (x, y, weight) or a source of batches.
        metric: the figure of the validation data that is searched for.
        higher_is_better: of the metric.
        trials: how many there are to be.
        seed: the root of every seed.
        default: parameters of trial 0, which is never pruned; None for none.
        sampler: a name, or a sampler of Optuna's.
        pruner: a name, or a pruner of Optuna's.
        fit: further arguments of `Model.fit`.
    """

    build: Callable[[Any], Any]
    train: Any
    validation: Any
    metric: str
    higher_is_better: bool
    trials: int
    seed: int = 0
    default: Mapping[str, Any] | None = None
    sampler: Any = "tpe"
    pruner: Any = "median"
    fit: Mapping[str, Any] = field(default_factory=dict)

    def seed_of(self, place: int) -> int:
        """Return the seed of the training of trial `place`."""
        return seeding.derive(self.seed, "trial", place)


class _Report(Callback):
    """Tells Optuna the metric after every epoch, and ends the training when the pruner says so."""

    def __init__(self, trial: optuna.Trial, metric: str, prunable: bool, told: Told) -> None:
        self.trial, self.metric, self.prunable, self.told = trial, metric, prunable, told
        self.pruned = False

    def on_train_begin(self, model: nn.Module, state: State) -> None:
        known = [name.removeprefix("val_") for name in state.figures if name.startswith("val_")]
        if self.metric not in known:
            raise unknown_name("tune(metric=): figure", self.metric, known)

    def on_epoch_end(self, model: nn.Module, state: State) -> None:
        history = state.history
        if not history.epoch or history.epoch[-1] != state.epoch or state.stop == INTERRUPTED:
            return
        value = history.history[f"val_{self.metric}"][-1]
        self.told(state.epoch, value)
        self.trial.report(value, state.epoch)
        if self.prunable and state.epoch < state.epochs and self.trial.should_prune():
            self.pruned = True
            state.stop = "pruned"


def attempt(search: Search, trial: optuna.Trial, seed: int, told: Told, *, default: bool, strict: bool, seen: Seen) -> Outcome:
    """Run one trial and return how it ended.

    Args:
        search: what is searched for.
        trial: which Optuna has begun.
        seed: of the training.
        told: is given epoch and metric after every epoch.
        default: whether these are the default parameters, whose training is never ended early.
        strict: whether a failure other than divergence and pruning is raised, instead of being a result.
        seen: the parts of the networks of the trials before; those of this one are added.

    Raises:
        ArgumentError: if this network has a layer that learns in common with one before.
        KeyboardInterrupt: if Ctrl-C ended the training: a trial that was cut short is none.
        StoreError, optuna.exceptions.OptunaError: if the store fails.
    """
    import optuna

    begun = time.perf_counter()
    report = _Report(trial, search.metric, not default, told)
    model: Model | None = None
    outcome = Outcome()
    shared: ArgumentError | None = None
    try:
        model = made(lambda: search.build(trial), seed, "tune(build)")
        shared = _shared(model, seen)
        if shared is not None:
            raise shared
        value = _trained(search, model, seed, report)
        if report.pruned:
            outcome = Outcome("pruned")
        elif value is None or not math.isfinite(value):
            outcome = Outcome("diverged", error=f"{search.metric} on the validation data is {value}")
        else:
            outcome = Outcome("finished", float(value))
    except optuna.TrialPruned as e:  # the user's function may refuse what was suggested
        outcome = Outcome("pruned", error=str(e) or None)
    except DivergedError as e:
        outcome = Outcome("diverged", error=str(e))
    except (StoreError, optuna.exceptions.OptunaError):
        raise
    except Exception as e:
        if strict or e is shared:
            raise
        outcome = Outcome("failed", error=f"{type(e).__name__}: {e}")
    history = plain({} if model is None or model.history is None else model.history.history)
    return replace(outcome, seconds=time.perf_counter() - begun, history=history)


def _shared(model: Model, seen: Seen) -> ArgumentError | None:
    """Return what is wrong with a network that has a part which an earlier one has had, and which learns; note its parts."""
    for path, module in model.named_modules():
        learned = [p for p in module.parameters(recurse=False) if p.requires_grad]
        if learned and any(seen.get(id(part)) is part for part in (module, *learned)):
            received = f"layer {path!r} of an earlier trial's" if path else "that of an earlier trial"
            fix = "Make it inside of the function: what one trial has learned must not reach the next"
            return ArgumentError(complaint("tune(build)", expected="a new network for each trial", received=received, fix=fix))
    seen.update({id(part): part for part in (*model.modules(), *model.parameters())})
    return None


def _trained(search: Search, model: Model, seed: int, report: _Report) -> float | None:
    """Return the metric of the network after its training; None where the training was ended early."""
    x, y, weight = drawn(search.train, seed, "tune(train=)")
    arguments: dict[str, Any] = {**search.fit, "verbose": 0, "seed": seed, "validation_data": search.validation}
    arguments["callbacks"] = [*fresh(search.fit.get("callbacks", ())), report]
    if weight is not None:
        arguments["sample_weight"] = weight
    history = model.fit(x, y, **arguments)
    if history.stopped == INTERRUPTED:
        raise KeyboardInterrupt
    if report.pruned:
        return None
    x, y, weight = as_triple(search.validation, "tune(validation=)")
    return model.evaluate(x, y, sample_weight=weight)[search.metric]
