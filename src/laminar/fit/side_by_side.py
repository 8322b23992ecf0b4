"""Several networks of one kind in one loop: their numbers in common tensors, a step of all of them, the figures of each.

`loop.train` runs them as it runs one network. What they share is what the loop looks after: the number of steps, the learning
rate, the epochs. What each has of its own lies along the first axis of every tensor, and passes no number to the others, so
that a network whose loss is no longer finite does not concern them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from laminar.errors import ArgumentError, complaint
from laminar.fit.aim import objective
from laminar.fit.convert import Batch
from laminar.fit.dense_chain import AtOnce, dense_chain
from laminar.fit.head import Head
from laminar.fit.pace import Pace
from laminar.fit.recorder import Figures, Recorder
from laminar.fit.steps import EagerStep, Step
from laminar.losses import Loss

__all__ = ["Recorders", "Stacked", "column", "step_of_all"]


class Stacked:
    """Networks of one kind, parameter k of each in one tensor (S, ...), of which every network holds its part.

    So whatever changes the tensors changes the networks, and each can be evaluated on its own at any time.

    Args:
        models: built, on one device.

    Attributes:
        models: the networks.
        parameters: name -> (S, ...), leaves that learn where the networks' do.
        buffers: name -> (S, ...).

    Raises:
        ArgumentError: if they differ in the names, shapes or dtypes of what they hold, or in what of it learns.

    >>> one, other = nn.Linear(2, 3), nn.Linear(2, 3)
    >>> both = Stacked([one, other])
    >>> with torch.no_grad():
    ...     _ = both.parameters["bias"][1].fill_(7)
    >>> both.parameters["weight"].shape, other.bias.data
    (torch.Size([2, 3, 2]), tensor([7., 7., 7.]))
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        kinds = {tuple((n, t.shape, t.dtype, t.requires_grad) for n, t in _held(m).items()) for m in models}
        if len(kinds) > 1:
            fix = "Train them one after the other"
            raise ArgumentError(
                complaint("Stacked(models)", expected="networks of one kind", received=f"{len(kinds)} kinds", fix=fix)
            )
        self.models = list(models)
        held = [_held(m) for m in models]
        own = dict(models[0].named_parameters())
        self.parameters: dict[str, nn.Parameter] = {}
        self.buffers: dict[str, Tensor] = {}
        for name, first in held[0].items():
            whole = torch.stack([tensors[name].detach() for tensors in held])
            for tensors, part in zip(held, whole.unbind(), strict=True):
                tensors[name].data = part
            if name in own:
                self.parameters[name] = nn.Parameter(whole, requires_grad=first.requires_grad)
            else:
                self.buffers[name] = whole

    def take_over(self, optimizer: torch.optim.Optimizer) -> None:
        """Let an optimizer that was made for the first network, and has not stepped yet, serve all of them."""
        whole: dict[Tensor, nn.Parameter] = {p: self.parameters[name] for name, p in self.models[0].named_parameters()}
        for group in optimizer.param_groups:
            group["params"] = [whole[p] for p in group["params"]]
        for p in list(optimizer.state):
            kept = optimizer.state.pop(p)
            optimizer.state[whole[p]] = {key: self._for_all(value, p) for key, value in kept.items()}

    def _for_all(self, value: Any, p: Tensor) -> Any:
        """Return what an optimizer keeps of `p`, once for each network where it is a number for each number of `p`."""
        alike = isinstance(value, Tensor) and value.shape == p.shape
        return torch.stack([value] * len(self.models)) if alike else value

    def part(self) -> None:
        """Give every network memory of its own again, with the numbers as they are."""
        for model in self.models:
            for tensor in _held(model).values():
                tensor.data = tensor.detach().clone()


def _held(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, each once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


class _Objective(nn.Module):
    """The loss of a network as a module, whose parameters can be given from outside."""

    def __init__(self, model: nn.Module, loss: Loss, head: Head) -> None:
        super().__init__()
        self.model = model
        self._run = objective(model, loss, head)

    def forward(self, x: Any, y: Any, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._run(Batch(x, y, weight))


def step_of_all(stacked: Stacked, loss: Loss, head: Head, pace: Pace) -> Step:
    """Return what is done with a batch (S, B, ...): `EagerStep` for each network, in one program.

    Args:
        stacked: the networks.
        loss: as `compile` was told.
        head: how to read the output of the first network.
        pace: of the common tensors.

    Returns:
        a step whose loss is (S,), and whose output is (S, B, ...). A network that draws random numbers in training is
        refused by it, with torch's RuntimeError: the draws would not be those of a training alone.
    """
    tensors = {**stacked.parameters, **stacked.buffers}
    run = dense_chain(stacked.models[0], tensors, loss, head) or _by_vmap(stacked.models[0], tensors, loss, head)
    return EagerStep(run, pace, Tensor.sum)  # no network's loss depends on another's numbers: each gets the gradient of its own


def _by_vmap(model: nn.Module, tensors: dict[str, Tensor], loss: Loss, head: Head) -> AtOnce:
    """Return what computes the losses of networks of any kind at once."""
    whole = _Objective(model, loss, head)
    named = {f"model.{name}": t for name, t in tensors.items()}

    def of_one(tensors: dict[str, Tensor], x: Any, y: Any, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = functional_call(whole, tensors, (x, y, weight))
        return found

    def run(batch: Batch) -> tuple[Tensor, Tensor]:
        axes = (0, 0, 0, None if batch.weight is None else 0)
        found: tuple[Tensor, Tensor] = vmap(of_one, axes, randomness="error")(named, batch.x, batch.y, batch.weight)
        return found

    return run


def column(number: int, name: str) -> str:
    """Return what the figure `name` of one of the networks is called in the common history."""
    return f"{number}/{name}"


class Recorders:
    """A recorder for each network, and the mean loss of those whose loss is finite.

    Args:
        recorders: of the networks, in order.

    Attributes:
        names: the figures of an iteration.
        lost: numbers of the networks whose loss was not finite at some time; their figures are looked at no longer.
    """

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self._recorders = list(recorders)
        self.names = ["loss", *(column(k, name) for k, r in enumerate(recorders) for name in r.names)]
        self.lost: set[int] = set()

    def add(self, loss: Tensor, output: Tensor, target: Tensor, size: int, rate: float | Tensor) -> None:
        """Note an iteration; see `Recorder.add`, with an axis for the networks in front."""
        parts = zip(self._recorders, loss.unbind(), output.unbind(), target.unbind(), strict=True)
        for recorder, value, z, y in parts:
            recorder.add(value, z, y, size, rate)

    def flush(self) -> Figures:
        """Return the figures since the last flush, and forget them; nan is every figure that is not finite."""
        figures = [recorder.flush() for recorder in self._recorders]
        columns: dict[str, list[float]] = {}
        for k, found in enumerate(figures):
            if not all(map(math.isfinite, found.columns["loss"])):
                self.lost.add(k)
            for name, values in found.columns.items():
                columns[column(k, name)] = [value if math.isfinite(value) else math.nan for value in values]
        losses = zip(*(columns[column(k, "loss")] for k in range(len(figures))), strict=True)
        return Figures({"loss": [_mean(each) for each in losses], **columns}, figures[0].sizes, figures[0].rates)

    def end_epoch(self) -> dict[str, float]:
        """Return the epoch's figures that are no means of its iterations', and begin to gather anew."""
        left = [(k, recorder) for k, recorder in enumerate(self._recorders) if k not in self.lost]
        return {column(k, name): value for k, recorder in left for name, value in recorder.end_epoch().items()}


def _mean(values: Sequence[float]) -> float:
    """Return the mean of those that are numbers; nan where none is."""
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan
