"""Several trainings of one variant, from several seeds, made ready as `Model.fit` makes one ready, for one common loop."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from laminar.errors import ArgumentError, complaint
from laminar.fit import adapt, arguments
from laminar.fit.batches import Batches, Order, SideBySide
from laminar.fit.callbacks import Callback
from laminar.fit.learner import Learner
from laminar.fit.loop import Run, train
from laminar.fit.plan import OnePlan
from laminar.fit.progress import make_progress
from laminar.fit.side_by_side import Recorders, Stacked, column, step_of_all
from laminar.fit.state import History
from laminar.model import Model

__all__ = ["Joint"]


@dataclass(frozen=True)
class _Part:
    """One of the trainings.

    Attributes:
        batches: in the order of its seed.
        held: the validation data, None where there is none.
        plan: how its network is trained and evaluated.
        validate: evaluates its network on the validation data.
    """

    batches: Batches
    held: Batches | None
    plan: OnePlan
    validate: Callable[[], dict[str, float]] | None


class Joint:
    """Trainings that differ in their seeds (and perhaps their data), and in nothing else, as one.

    Each has what it would have alone: initial values, order of the batches, statistics of the data, figures.

    Args:
        models: compiled, not built yet; afterwards built, and their numbers lie in common tensors until `train` is through.
        data: (x, y, weight) of each; where all are the same objects, they are converted once.
        given: arguments of `Model.fit` for each, without callbacks; those but the seed and the weights are the same.

    Attributes:
        models: the networks.
        stacked: their common tensors.
        optimizer: of the common tensors.
        history: figures of all of them; `figures` gives those of one.

    Raises:
        ArgumentError: if they are not of one kind.
        LaminarError: what else `Model.fit` says of networks, data and arguments.
    """

    def __init__(self, models: Sequence[Model], data: Sequence[tuple[Any, ...]], given: Sequence[Mapping[str, Any]]) -> None:
        bound = [_bound(m, d, g) for m, d, g in zip(models, data, given, strict=True)]
        shared = all(a is b for other in data[1:] for a, b in zip(data[0], other, strict=True))
        self._parts: list[_Part] = []
        for model, options in zip(models, bound, strict=True):
            self._parts.append(_part(model, options, self._parts[0] if shared and self._parts else None))
        recipe, head = models[0]._compiled("fit"), models[0]._head
        assert head is not None  # a plan for one output has found it
        _of_one_kind(models)
        self.models = list(models)
        self._pace = Learner().pace(recipe.optimizer, models[0], f"{type(models[0]).__name__}.fit")
        self.optimizer = self._pace.optimizer
        self.stacked = Stacked(models)
        self.stacked.take_over(self.optimizer)
        self._step = step_of_all(self.stacked, recipe.loss, head, self._pace)
        self._options = bound[0]
        self.history = History()
        self._recorders = self._fresh_recorders()

    def _fresh_recorders(self) -> Recorders:
        return Recorders([part.plan.recorder() for part in self._parts])

    def train(self, callbacks: Sequence[Callback] = ()) -> None:
        """Train all of them for the epochs that were asked for; once more where it is called again.

        Raises:
            DivergedError: if the loss of none of them is finite any longer.
        """
        epochs, every = arguments.whole_numbers("fit", epochs=self._options["epochs"], log_every=self._options["log_every"])
        self.history, self._recorders = History(), self._fresh_recorders()
        run = Run(
            self.models[0],
            self._pace,
            self._step,
            SideBySide([part.batches for part in self._parts]),
            self._recorders,  # type: ignore[arg-type]  # it stands for one
            self._validate if self._parts[0].validate else None,
            callbacks,
            make_progress(0),
            every,
            self.history,
        )
        try:
            train(run, epochs, "")
        finally:
            for model in self.models:
                model.eval()

    def figures(self, number: int) -> History | None:
        """Return the history of one of the trainings, as `Model.fit` would return it; None if its loss was not finite."""
        whole = self.history
        if number in self._recorders.lost:
            return None
        names = {name: column(number, name) for name in self._parts[number].plan.recorder().names}
        validated = {f"val_{name}": f"val_{key}" for name, key in names.items()}
        rate = {"learning_rate": "learning_rate"}
        return History(
            {name: whole.history[key] for name, key in {**names, **validated, **rate}.items() if key in whole.history},
            {name: whole.iterations[key] for name, key in {**names, **rate}.items()},
            list(whole.epoch),
            whole.seconds / len(self.models),
            whole.stopped,
        )

    def _validate(self) -> dict[str, float]:
        figures = [{} if part.validate is None else part.validate() for part in self._parts]
        return {column(k, name): value for k, found in enumerate(figures) for name, value in found.items()}


def _bound(model: Model, data: tuple[Any, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every argument of `Model.fit`, with its own defaults."""
    bound = inspect.signature(Model.fit).bind(model, data[0], data[1], **given)
    bound.apply_defaults()
    return bound.arguments


def _part(model: Model, options: Mapping[str, Any], known: _Part | None) -> _Part:
    """Return a training made ready as `Model.fit` does it; the data of `known`, if given, are cut in another order."""
    recipe, seed = model._compiled("fit"), options["seed"]
    (size,) = arguments.whole_numbers("fit", batch_size=options["batch_size"])
    order = Order(size, arguments.shuffle_of(options["shuffle"]), options["drop_last"], seed)
    if known is None:
        y = options["y"] if options["y"] is None else model._arranged_targets(options["y"])
        whole = model._arranged(options["x"]), y, options["sample_weight"]
        training, validation = arguments.parts(whole, options["validation_data"], options["validation_split"])
    else:
        training, validation = (known.batches, None, None), None if known.held is None else (known.held, None, None)
    with arguments.noise(seed, recipe.device, "data"):
        batches = model._batches(training, order, recipe.device, class_weight=options["class_weight"], seed=seed)
        adapt.adapt(model, batches)
        plan = model._plan(recipe, batches)
        if not isinstance(plan, OnePlan):
            raise _refused("networks with one output", "several outputs")
        if plan.execution.bfloat16:
            raise _refused("float32", "bfloat16")
        if plan.execution.engine in ("compiled", "cuda_graph"):
            raise _refused('engine="auto" or "eager"', f'"{plan.execution.engine}"')
        held = None if validation is None else model._batches(validation, Order(size), recipe.device)
        validate = None if held is None else model._validation((held, None, None), recipe, plan)
    return _Part(batches, held, plan, validate)


def _of_one_kind(models: Sequence[Model]) -> None:
    """Refuse networks that differ in anything that can be read off them: layers, loss, metrics, optimizer, learning rates."""
    kinds = {_kind(model) for model in models}
    if len(kinds) > 1:
        raise _refused("networks that differ in their seeds alone", f"{len(kinds)} kinds")


def _kind(model: Model) -> str:
    recipe = model._compiled("fit")
    groups = Learner().pace(recipe.optimizer, model, "fit").optimizer.param_groups
    numbers = {p: i for i, p in enumerate(model.parameters())}
    settings = [{**group, "params": [numbers[p] for p in group["params"]]} for group in groups]
    text = repr((model, recipe.optimizer, recipe.loss, recipe.metrics, recipe.engine, settings))
    return re.sub(r" at 0x[0-9a-f]+", "", text)  # where a function lies in memory says nothing


def _refused(expected: str, received: str) -> ArgumentError:
    fix = "Train them one after the other"
    return ArgumentError(complaint("training several seeds at once", expected=expected, received=received, fix=fix))
