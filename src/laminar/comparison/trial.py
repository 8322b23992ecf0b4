"""A few steps of some networks of a variant together and alone: do they compute the same, and which is faster?

Nothing is concluded from the names of classes: what is claimed of a variant has been seen of it.
"""

from __future__ import annotations

import copy
import inspect
import math
import statistics
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from laminar import seeding
from laminar.comparison.joint import Joint
from laminar.comparison.task import Clock, Task, build
from laminar.errors import ArgumentError, complaint
from laminar.fit.batches import Order
from laminar.fit.forward import forward
from laminar.fit.side_by_side import column
from laminar.model import Model

__all__ = ["difference", "seconds_of_steps"]

_TRIED = (0, 1)  # pairs whose seeds are tried
_RATE = 0.1  # in the optimizers' trial: a schedule may begin at 0, where nothing moves
_MAGNITUDES = (1e-2, 1.0, 1e4)  # of its gradients, rising: the bound of a rule that clips lies somewhere between
_UNEVEN = 30.0  # how much larger the second network's are, so that what mixes the two is seen in the first


def difference(task: Task, variant: str) -> str | None:
    """Return what would be different if networks of a variant were trained together, as a reason not to; None if nothing.

    Two networks are trained for some steps both ways, on the first observations. Compared are the losses, the gradients of the
    last step, the buffers, and the loss on the same data afterwards, each to the square root of the precision. Parameters are
    not, because Adam makes a whole step of the rounding of a gradient that is 0; instead the optimizers of both ways are given
    the same gradients, and their steps compared.

    Args:
        task: the comparison.
        variant: whose networks.

    Raises:
        Exception: whatever is said of a network that cannot be trained so.
    """
    if task.callbacks(variant):
        return "callbacks look after one network at a time"
    few = _Few(task, variant, _TRIED, 2, rest=True)
    alone = [few.model(k) for k in range(len(_TRIED))]
    if any(type(model).fit is not Model.fit for model in alone):
        return "its networks have a fit of their own"
    for k, model in enumerate(alone):
        model.fit(*few.data[k][:2], **few.given[k])
    if drawn := _draws(alone[0], few.data[0][0]):
        return f"it draws random numbers in training ({drawn}'s), which would be others"
    joint = few.joint()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*performance drop")  # torch has no batched form of an operation
        joint.train()
    found = [_other_numbers(model, joint, k) or _other_losses(model, joint, k, few.data[k]) for k, model in enumerate(alone)]
    found.append(_other_steps(alone, joint))
    return next((f"{what} would be others" for what in found if what), None)


def seconds_of_steps(task: Task, variant: str, indexes: Sequence[int]) -> tuple[float, float]:
    """Return the seconds of four steps of a network alone, and of several together, divided by their number.

    Medians of three, interleaved, after one that is not counted; no more are made where in that one each network took twice as
    long together.

    Args:
        task: the comparison.
        variant: whose networks.
        indexes: the pairs whose networks are to be trained together.

    Raises:
        Exception: whatever is said of a network that cannot be trained so.
    """
    few = _Few(task, variant, indexes, 4)
    model, joint = few.model(0), few.joint()
    alone: list[float] = []
    together: list[float] = []
    while len(alone) < 4 and not (alone and together[0] > 2 * alone[0]):
        clocks = Clock(), Clock()
        model.fit(*few.data[0][:2], **few.given[0], callbacks=clocks[0])
        joint.train([clocks[1]])
        alone.append(clocks[0].elapsed[-1])
        together.append(clocks[1].elapsed[-1] / len(indexes))
    return statistics.median(alone[1:] or alone), statistics.median(together[1:] or together)


class _Few:
    """The first observations of the training data of some pairs, and the arguments of a short training on them.

    Args:
        task: the comparison.
        variant: whose networks are built.
        indexes: the pairs.
        steps: full batches.
        rest: whether a smaller batch is to follow, and the validation to be looked at, where the trainings have these.

    Raises:
        ArgumentError: if the data are a stream, which has an order of its own.
    """

    def __init__(self, task: Task, variant: str, indexes: Sequence[int], steps: int, *, rest: bool = False) -> None:
        self._task, self._variant, self._indexes = task, variant, indexes
        options = {name: p.default for name, p in inspect.signature(Model.fit).parameters.items()} | task.fit_of(variant)
        size = int(options["batch_size"])
        count = size * steps + (size // 2 if rest and not options["drop_last"] else 0)
        known: dict[int, Any] = {}  # what several pairs share stays the same object
        self.data = [_first(task.training_data(index), count, known) for index in indexes]
        self.given: list[Mapping[str, Any]] = []
        for index, (_, _, weight) in zip(indexes, self.data, strict=True):
            given = task.fit_arguments(variant, index, weight) | {"epochs": 1, "verbose": 0}
            given.pop("validation_split", None)
            held = given.pop("validation_data", None)
            if held is not None and rest:
                given["validation_data"] = tuple(_first(held, size, known))
            self.given.append(given)

    def model(self, k: int) -> Model:
        """Return the network of one of the pairs, compiled."""
        return build(self._task.builders[self._variant], self._task.protocol.seed_of(self._indexes[k]), self._variant)

    def joint(self) -> Joint:
        """Return the trainings of all the pairs as one."""
        return Joint([self.model(k) for k in range(len(self._indexes))], self.data, self.given)


def _first(value: Any, count: int, known: dict[int, Any]) -> Any:
    """Return the first observations of arrays, nested in tuples."""
    if value is None:
        return None
    if isinstance(value, tuple | list):
        return tuple(_first(part, count, known) for part in value)
    if not hasattr(value, "__array__"):
        fix = "Train them one after the other"
        received = f"a {type(value).__name__}"
        raise ArgumentError(complaint("training several seeds at once", expected="arrays", received=received, fix=fix))
    if id(value) not in known:
        known[id(value)] = value[:count]
    return known[id(value)]


def _draws(model: Model, x: Any) -> str | None:
    """Return whose global generator a pass in training draws from; None if from none."""
    recipe = model._compiled("fit")
    batch = model._batches((model._arranged(x), None, None), Order(len(x)), recipe.device, labelled=False).example()
    copied = copy.deepcopy(model).train()
    with seeding.preserved(), torch.no_grad():
        before = seeding.generator_states()
        forward(copied, batch.x)
        return next((name for name, state in seeding.generator_states().items() if state != before[name]), None)


def _other_numbers(model: nn.Module, joint: Joint, k: int) -> str | None:
    """Return which numbers of network `k` are not those of `model`, trained alone."""
    whole = joint.stacked.parameters
    own = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    common = {name: p.grad[k] for name, p in whole.items() if p.grad is not None}
    largest = max((float(g.abs().max()) for g in own.values()), default=0.0)
    if own.keys() != common.keys() or not all(_alike(own[name], common[name], largest) for name in own):
        return "its gradients"
    if not all(_alike(b, joint.stacked.buffers[name][k]) for name, b in model.named_buffers()):
        return "its buffers"
    return None


def _other_losses(model: Model, joint: Joint, k: int, data: tuple[Any, Any, Any]) -> str | None:
    assert model.history is not None
    own, common = model.history.iterations["loss"], joint.history.iterations[column(k, "loss")]
    precision = next(model.parameters())
    if not _alike(precision.new_tensor(own), precision.new_tensor(common)):
        return "its losses"
    seen = [m.evaluate(data[0], data[1])["loss"] for m in (model, joint.models[k])]
    return None if _alike(precision.new_tensor(seen[0]), precision.new_tensor(seen[1])) else "what it has learned"


def _other_steps(alone: Sequence[Model], joint: Joint) -> str | None:
    """Return whether an optimizer of common tensors makes other steps than one for each network; all are moved."""
    paces = [model._learner.pace(model._compiled("fit").optimizer, model, "fit") for model in alone]
    optimizers = [joint.optimizer, *(pace.optimizer for pace in paces)]
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] = group["lr"].fill_(_RATE) if isinstance(group["lr"], Tensor) else _RATE
    generator = torch.Generator().manual_seed(0)
    learning = {name: p for name, p in joint.stacked.parameters.items() if p.grad is not None}
    own = [dict(model.named_parameters()) for model in alone]
    for magnitude in _MAGNITUDES:
        for name, p in learning.items():
            gradient = magnitude * torch.randn(p.shape, generator=generator, dtype=torch.float64)
            gradient[1] *= _UNEVEN
            p.grad = gradient.to(p)
            for k, parameters in enumerate(own):
                parameters[name].grad = p.grad[k].clone()
        before = {name: p.detach().clone() for name, p in learning.items()}, [_values(p, learning) for p in own]
        for optimizer in optimizers:
            optimizer.step()
        for name, p in learning.items():
            for k, parameters in enumerate(own):
                step, common = parameters[name].detach() - before[1][k][name], (p.detach() - before[0][name])[k]
                rounding = 8 * torch.finfo(p.dtype).eps * float(parameters[name].detach().abs().max())
                if not _alike(step, common, float(step.abs().max()) + rounding / math.sqrt(torch.finfo(p.dtype).eps)):
                    return "the steps of its optimizer"
    return None


def _values(parameters: Mapping[str, Tensor], names: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: parameters[name].detach().clone() for name in names}


def _alike(one: Tensor, other: Tensor, scale: float | None = None) -> bool:
    """Return whether two tensors are equal but for the square root of their precision, measured by `scale`."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    largest = float(one.abs().max()) if scale is None and one.numel() else scale or 0.0
    return torch.allclose(one, other, rtol=0.0, atol=math.sqrt(torch.finfo(one.dtype).eps) * largest, equal_nan=True)
