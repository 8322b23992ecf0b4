"""The optimizer that a network keeps from one fit to the next."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from laminar.errors import ArgumentError, complaint
from laminar.optimizers import Optimizer

__all__ = ["Learner"]


class Learner:
    """Makes torch's optimizer from its description, and keeps it, with its state, for as long as it serves.

    A copy of a Learner (deepcopy, pickle) carries the state and makes the optimizer anew: torch drops an optimizer's hooks
    when it is copied, and the fast kernels need theirs.
    """

    def __init__(self) -> None:
        self._optimizer: torch.optim.Optimizer | None = None
        self._parameters: list[nn.Parameter] = []
        self._state: dict[str, Any] | None = None

    def optimizer(self, description: Optimizer, parameters: Sequence[nn.Parameter], where: str) -> torch.optim.Optimizer:
        """Return the optimizer of the fits before, or a new one, which takes over the state of parameters it shares with that.

        Args:
            description: what `compile` was told.
            parameters: all of the network's, also frozen ones: they may learn in the next fit.
            where: who asks, for the message.

        Raises:
            ArgumentError: if no parameter learns, or the optimizer is of another kind than training needs.
        """
        if not any(p.requires_grad for p in parameters):
            raise ArgumentError(
                complaint(
                    where,
                    expected="a parameter that learns",
                    received=f"{len(parameters)}, all frozen" if parameters else "none",
                    fix="Unfreeze a layer: layer.trainable = True" if parameters else "Add a layer with weights, such as Dense",
                )
            )
        held = self._optimizer
        if held is not None and _same(self._parameters, parameters) and _serves(held, parameters):
            return held
        # biases, scales and alphas have one axis; the L2 factor is for weights only
        new = description.create([p for p in parameters if p.dim() >= 2], [p for p in parameters if p.dim() < 2])
        if held is not None and type(held) is type(new):
            new.state.update({p: held.state[p] for group in new.param_groups for p in group["params"] if p in held.state})
        elif self._state is not None and _same(self._parameters, parameters):
            new.load_state_dict(self._state)
        closure = inspect.signature(new.step).parameters.get("closure")
        if closure is not None and closure.default is closure.empty:
            expected, fix = "one that steps without a closure", 'Pass "adam", for example'
            raise ArgumentError(complaint("optimizer", expected=expected, received=type(new).__name__, fix=fix))
        self._optimizer, self._parameters, self._state = new, list(parameters), None
        return new

    def __getstate__(self) -> dict[str, Any]:
        state = self._state if self._optimizer is None else self._optimizer.state_dict()
        return {"_optimizer": None, "_parameters": self._parameters, "_state": state}


def _same(some: Sequence[nn.Parameter], others: Sequence[nn.Parameter]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def _serves(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter]) -> bool:
    """Return whether the optimizer holds every parameter that learns; a user's function may have left frozen ones out."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return all(id(p) in held for p in parameters if p.requires_grad)
