"""Everything that can be wrong with a comparison, found before its first run."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset, IterableDataset

from laminar import seeding
from laminar.comparison.task import Task, as_triple, build
from laminar.fit import arguments
from laminar.fit.batches import Order
from laminar.fit.convert import about
from laminar.model import Model
from laminar.names import unknown_name

__all__ = ["networks"]

_TESTED = 256  # observations that an untrained network is asked about
_AT_A_TIME = 512


def networks(task: Task) -> dict[str, Model]:
    """Return every variant as pair 0 starts, having looked at all data, and asked each for its figures.

    A source that can be read only from its beginning to its end is not looked into; what is wrong with it is then said by the
    first run.

    Raises:
        UnknownNameError: if a variant was not compiled with the metric.
        LaminarError: what else building and evaluating say of the variants and the data.
    """
    seed = task.protocol.seed_of(0)
    found = {}
    for name, builder in task.builders.items():
        model = build(builder, seed, name)
        with seeding.preserved():
            _ready(task, name, model, seed)
        found[name] = model
    return found


def _ready(task: Task, name: str, model: Model, seed: int) -> None:
    recipe = model._compiled("compare")
    x, y, weight = task.training_data(0)
    if _is_readable(x, y):
        with about(f"compare(train=), variant {name!r}"), arguments.noise(seed, recipe.device, "data"):
            data = model._arranged(x), None if y is None else model._arranged_targets(y), weight
            model._batches(data, Order(_AT_A_TIME), recipe.device, class_weight=task.fit.get("class_weight"), seed=seed)
    x, y, weight = as_triple(task.test, "compare(test=)")
    if not _is_readable(x, y):
        return
    with about(f"compare(test=), variant {name!r}"):
        model._batches((model._arranged(x), y, weight), Order(_AT_A_TIME), recipe.device, seed=seed)
        if y is None:
            return
        step = max(1, _length(x) // _TESTED)
        few = {} if weight is None else {"sample_weight": _part(weight, step)}
        figures = model.evaluate(_part(model._arranged(x), step), _part(model._arranged_targets(y), step), **few)
    if task.protocol.metric not in figures:
        raise unknown_name(f"compare(metric=): figure of variant {name!r}", task.protocol.metric, figures)


def _is_readable(x: Any, y: Any) -> bool:
    """Return whether looking at the data changes nothing in it."""
    return y is not None or (isinstance(x, Dataset) and not isinstance(x, IterableDataset))


def _length(x: Any) -> int:
    while isinstance(x, tuple | dict):
        x = next(iter(x.values() if isinstance(x, dict) else x))
    return len(x)


def _part(values: Any, step: int) -> Any:
    """Return every so many observations, of each of several inputs."""
    if isinstance(values, tuple):
        return tuple(_part(value, step) for value in values)
    if isinstance(values, dict):
        return {name: _part(value, step) for name, value in values.items()}
    return values[::step]
