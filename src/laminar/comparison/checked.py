"""Everything that can be wrong with a comparison, found before its first run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch.utils.data import DataLoader, Dataset, IterableDataset

from laminar import seeding
from laminar.comparison.task import Task, as_triple, build
from laminar.errors import ArgumentError, complaint
from laminar.fit import arguments
from laminar.fit.adapt import adapt
from laminar.fit.batches import Order
from laminar.fit.convert import about
from laminar.model import Model
from laminar.names import unknown_name

__all__ = ["ask", "check_apart", "networks", "ready"]

Triple = tuple[Any, Any, Any]

_TESTED = 256  # observations that an untrained network is asked about
_AT_A_TIME = 512


def networks(task: Task) -> dict[str, Model]:
    """Return every variant as pair 0 starts, having looked at all data, and asked each for its figures.

    A source that can be read only from its beginning to its end is not looked into; what is wrong with its batches is then said
    by the first run.

    Raises:
        ArgumentError: if a function gives each run the same layer, which would go on from what others have learned.
        UnknownNameError: if a variant was not compiled with the metric.
        LaminarError: what else building and evaluating say of the variants and the data.
    """
    seed = task.protocol.seed_of(0)
    found = {}
    for name, builder in task.builders.items():
        model = build(builder, seed, name)
        with seeding.preserved():
            _ready(task, name, model, seed)
        check_apart(model, build(builder, seed, name), f"compare(variants=): variant {name!r}")
        found[name] = model
    return found


def check_apart(model: Model, other: Model, where: str) -> None:
    """Refuse two networks of one function that learn in the same place.

    Args:
        model: what one call returned, built.
        other: what another call returned.
        where: who asks, for messages.

    Raises:
        ArgumentError: naming the layer that they share.
    """
    parts = {id(part) for part in (*other.modules(), *other.parameters())}
    for path, module in model.named_modules():
        learned = [p for p in module.parameters(recurse=False) if p.requires_grad]
        if learned and (id(module) in parts or any(id(p) in parts for p in learned)):
            received = f"layer {path!r} in both of two networks" if path else "the same network twice"
            fix = "Make it inside of the function: what one run has learned must not reach the next"
            raise ArgumentError(complaint(where, expected="a new network from each call", received=received, fix=fix))


def _ready(task: Task, name: str, model: Model, seed: int) -> None:
    variant = f", variant {name!r}"
    ready(
        model,
        (task.training_data(0), f"compare(train=){variant}"),
        (as_triple(task.test, "compare(test=)"), f"compare(test=){variant}"),
        (task.protocol.metric, f"compare(metric=): figure of variant {name!r}"),
        seed=seed,
        class_weight=task.fit_of(name).get("class_weight"),
    )


def ready(
    model: Model,
    train: tuple[Triple, str],
    test: tuple[Triple, str],
    metric: tuple[str, str],
    *,
    seed: int,
    class_weight: Any = None,
) -> None:
    """Build a network for its data, adapt it to them, and ask it for a figure, as far as looking at the data changes nothing.

    Args:
        model: compiled.
        train: (x, y, weight), and where they come from, for messages.
        test: the same of what it is evaluated on.
        metric: a figure, and who asks for it, for messages.
        seed: of initial values.
        class_weight: as in `Model.fit`.

    Raises:
        UnknownNameError: if the network was not compiled with the metric.
        LaminarError: what else building and evaluating say of network and data.
    """
    recipe = model._compiled("compare")
    (x, y, weight), where = train
    if _is_readable(x, y):
        with about(where), arguments.noise(seed, recipe.device, "data"):
            data = model._arranged(x), None if y is None else model._arranged_targets(y), weight
            adapt(model, model._batches(data, Order(_AT_A_TIME), recipe.device, class_weight=class_weight, seed=seed))
    ask(model, test, metric, seed=seed)


def ask(model: Model, test: tuple[Triple, str], metric: tuple[str, str], *, seed: int) -> None:
    """Look at the data that a built network is evaluated on, and ask it for a figure; arguments and errors as for `ready`."""
    recipe = model._compiled("compare")
    (x, y, weight), where = test
    if not _is_readable(x, y):
        return
    with about(where):
        model._batches((model._arranged(x), y, weight), Order(_AT_A_TIME), recipe.device, seed=seed)
        if y is None:
            return
        step = max(1, _length(x) // _TESTED)
        few = {} if weight is None else {"sample_weight": _part(weight, step)}
        figures = model.evaluate(_part(model._arranged(x), step), _part(model._arranged_targets(y), step), **few)
    if metric[0] not in figures:
        raise unknown_name(metric[1], metric[0], figures)


def _is_readable(x: Any, y: Any) -> bool:
    """Return whether looking at the data changes nothing in it; what is no data at all may be looked at, too."""
    if y is not None or hasattr(x, "__array__"):
        return True
    if isinstance(x, Dataset | DataLoader):
        return not isinstance(x, IterableDataset | DataLoader)
    return not isinstance(x, Iterable) or isinstance(x, str | Mapping) or iter(x) is iter(x)


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
