"""The optimizer that a network keeps from one fit to the next."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from laminar.compiler import without_compiler
from laminar.errors import ArgumentError, complaint
from laminar.fit.pace import Pace
from laminar.layers.factors import learning_rate_factors
from laminar.optimizers import Optimizer

__all__ = ["Learner"]


class Learner:
    """Makes torch's optimizer from its description, and keeps it, its state and its pace for as long as it serves.

    So a second fit goes on where the first one stood: with the momentum, the learning rate, and the count of iterations that
    schedules and decay go by. `compile` starts all of it anew.

    A copy of a Learner (deepcopy, pickle) carries the state and makes the optimizer anew: torch drops an optimizer's hooks
    when it is copied, and the fast kernels need theirs.
    """

    def __init__(self) -> None:
        self._pace: Pace | None = None
        self._parameters: list[nn.Parameter] = []
        self._state: dict[str, Any] | None = None

    def pace(self, description: Optimizer, model: nn.Module, where: str) -> Pace:
        """Return the optimizer of the fits before, or a new one, which takes over the state of parameters it shares with that.

        Args:
            description: what `compile` was told.
            model: the network. Its frozen parameters belong to it too: they may learn in the next fit.
            where: who asks, for the message.

        Raises:
            ArgumentError: if no parameter learns, or the optimizer is of another kind than training needs.
        """
        parameters = list(model.parameters())
        by_name = learning_rate_factors(model)
        factors = {p: by_name[name] for name, p in model.named_parameters()}
        _need_learning(factors, where)
        held = self._pace
        if held is not None and _same(self._parameters, parameters) and _serves(held.optimizer, parameters):
            held.set_factors(factors)
            return held
        new = Pace(_create(description, model), description)
        if held is not None and type(held.optimizer) is type(new.optimizer):
            new.take_over(held)
        elif self._state is not None and _same(self._parameters, parameters):
            new.load_state_dict(self._state)
        new.set_factors(factors)
        self._pace, self._parameters, self._state = new, parameters, None
        return new

    def __getstate__(self) -> dict[str, Any]:
        state = self._state if self._pace is None else self._pace.state_dict()
        return {"_pace": None, "_parameters": self._parameters, "_state": state}


def _need_learning(factors: dict[nn.Parameter, float], where: str) -> None:
    """Refuse a network in which nothing would change."""
    learning = [p for p in factors if p.requires_grad]
    if any(factors[p] for p in learning):
        return
    received, fix = "none", "Add a layer with weights, such as Dense"
    if learning:
        received, fix = f"{len(learning)}, all with learning_rate_factor 0", "Give a layer learning_rate_factor = 1"
    elif factors:
        received, fix = f"{len(factors)}, all frozen", "Unfreeze a layer: layer.trainable = True"
    raise ArgumentError(complaint(where, expected="a parameter that learns", received=received, fix=fix))


def _create(description: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """Return torch's optimizer of the network's parameters."""
    tables = {p for module in model.modules() if _looks_up(module) for p in module.parameters(recurse=False)}
    # biases, scales and alphas have one axis; the L2 factor is for weights only
    weights = [p for p in model.parameters() if p.dim() >= 2 and p not in tables]
    others = [p for p in model.parameters() if p.dim() < 2 and p not in tables]
    with without_compiler():
        optimizer = description.create(weights, others, [p for p in model.parameters() if p in tables])
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        expected, fix = "one that steps without a closure", 'Pass "adam", for example'
        raise ArgumentError(complaint("optimizer", expected=expected, received=type(optimizer).__name__, fix=fix))
    return optimizer


def _looks_up(module: nn.Module) -> bool:
    """Return whether the module's weights are a table that whole numbers are looked up in."""
    return isinstance(module, nn.Embedding | nn.EmbeddingBag) or bool(getattr(module, "takes_whole_numbers", False))


def _same(some: Sequence[nn.Parameter], others: Sequence[nn.Parameter]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def _serves(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter]) -> bool:
    """Return whether the optimizer holds every parameter that learns; a user's function may have left frozen ones out."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return all(id(p) in held for p in parameters if p.requires_grad)
