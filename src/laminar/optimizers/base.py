"""What an optimizer is before it has parameters, and the optimizers that people bring along."""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from torch.nn import Parameter

from laminar.errors import ArgumentError, complaint
from laminar.optimizers.fused import SameLayout, fusible

__all__ = ["Factory", "Groups", "Optimizer", "Ready", "Rule"]

Groups: TypeAlias = list[dict[str, Any]]


class Optimizer(ABC):
    """A description of an optimizer, without parameters yet; one description can make optimizers for many networks."""

    @abstractmethod
    def create(self, weights: Sequence[Parameter], others: Sequence[Parameter] = ()) -> torch.optim.Optimizer:
        """Return torch's optimizer for these parameters.

        Args:
            weights: parameters that `weight_decay` applies to.
            others: parameters it does not apply to: biases, scales, alphas.

        Raises:
            ArgumentError: if there are no parameters at all.
        """


class Rule(Optimizer):
    """What the named optimizers share: arguments checked, parameters grouped, the fast kernel where it is right."""

    has_fused: ClassVar[bool] = False

    learning_rate: float
    weight_decay: float

    def __post_init__(self) -> None:
        self._number("learning_rate", above=0)
        self._number("weight_decay")
        self._check()

    def _check(self) -> None:
        """Check the arguments that only this optimizer has."""

    def _number(self, name: str, *, above: float | None = None, below: float = math.inf) -> None:
        """Refuse the argument `name` if it is not a number above `above` (or at least 0) and below `below`."""
        value = getattr(self, name)
        good = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if good and (value > above if above is not None else value >= 0) and value < below:
            return
        low = "of at least 0" if above is None else f"above {above:g}"
        expected = f"a number {low}" + (f" and below {below:g}" if below < math.inf else "")
        where, fix = f"{type(self).__name__}({name}=)", f"Pass {name}={getattr(type(self), name)!r}, for example"
        raise ArgumentError(complaint(where, expected=expected, received=repr(value), fix=fix))

    def create(self, weights: Sequence[Parameter], others: Sequence[Parameter] = ()) -> torch.optim.Optimizer:
        """See `Optimizer.create`; decayed and other parameters become two groups only if there is decay."""
        _some(weights, others)
        parts = [(weights, self.weight_decay), (others, 0.0)] if self.weight_decay else [([*weights, *others], 0.0)]
        groups = [{"params": list(part), "weight_decay": decay} for part, decay in parts if part]
        fused = self.has_fused and fusible([*weights, *others])
        optimizer = self._make(groups, fused)
        if fused:
            guard = SameLayout()
            optimizer.register_step_pre_hook(guard)
            optimizer.register_load_state_dict_post_hook(guard.forget)
        return optimizer

    @abstractmethod
    def _make(self, groups: Groups, fused: bool) -> torch.optim.Optimizer:
        """Return torch's optimizer for `groups`, each of which says its own weight decay."""


def _some(weights: Sequence[Parameter], others: Sequence[Parameter]) -> None:
    """Refuse a network without parameters."""
    if not weights and not others:
        raise ArgumentError(
            complaint(
                "optimizer",
                expected="at least one parameter to train",
                received="none",
                fix='Unfreeze a layer, or add one with learnables, such as Dense(10, activation="softmax")',
            )
        )


@dataclass(frozen=True, eq=False)
class Ready(Optimizer):
    """A torch optimizer that already holds the network's parameters; `create` returns it after checking that it does.

    Raises:
        ArgumentError: on `create`, if it holds other parameters, or misses one that is to be trained.

    >>> w = torch.nn.Parameter(torch.zeros(2))
    >>> sgd = torch.optim.SGD([w], lr=0.1)
    >>> Ready(sgd).create([w]) is sgd
    True
    """

    optimizer: torch.optim.Optimizer

    def create(self, weights: Sequence[Parameter], others: Sequence[Parameter] = ()) -> torch.optim.Optimizer:
        """See `Optimizer.create`; the optimizer's own groups and decay stay as they are."""
        _some(weights, others)
        held = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        foreign = len(held - {id(p) for p in (*weights, *others)})
        missing = sum(p.requires_grad and id(p) not in held for p in (*weights, *others))
        if foreign or missing:
            where, name = "optimizer", type(self.optimizer).__name__
            expected = "the parameters of this network and no others"
            received = f"{name} with {foreign} that are not its and without {missing} to be trained"
            fix = f"Give it model.parameters() after model.build, or pass functools.partial(torch.optim.{name}, lr=...)"
            raise ArgumentError(complaint(where, expected=expected, received=received, fix=fix))
        return self.optimizer


@dataclass(frozen=True)
class Factory(Optimizer):
    """A function from the list of parameters to a torch optimizer, which is given what `model.parameters()` would be.

    Raises:
        ArgumentError: on `create`, if it returns something else.

    >>> import functools
    >>> adamw = functools.partial(torch.optim.AdamW, lr=1e-3)
    >>> type(Factory(adamw).create([torch.nn.Parameter(torch.zeros(2))])).__name__
    'AdamW'
    """

    function: Callable[[list[Parameter]], torch.optim.Optimizer]

    def create(self, weights: Sequence[Parameter], others: Sequence[Parameter] = ()) -> torch.optim.Optimizer:
        """See `Optimizer.create`; a decay set in the function is its own affair and reaches all parameters."""
        _some(weights, others)
        optimizer = self.function([*weights, *others])
        if not isinstance(optimizer, torch.optim.Optimizer):
            expected = "a function that returns a torch.optim.Optimizer"
            received = f"one that returns {type(optimizer).__name__}"
            fix = "Pass functools.partial(torch.optim.AdamW, lr=1e-3), for example"
            raise ArgumentError(complaint("optimizer", expected=expected, received=received, fix=fix))
        return optimizer
