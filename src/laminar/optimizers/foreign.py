"""The torch optimizers that people bring along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import Parameter

from laminar.errors import ArgumentError, complaint
from laminar.optimizers.base import Optimizer, need_some

__all__ = ["Factory", "Ready"]


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

    def create(
        self, weights: Sequence[Parameter], others: Sequence[Parameter] = (), tables: Sequence[Parameter] = ()
    ) -> torch.optim.Optimizer:
        """See `Optimizer.create`; the optimizer's own groups and decay stay as they are."""
        need_some(weights, others, tables)
        own = [*weights, *others, *tables]
        held = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        foreign = len(held - {id(p) for p in own})
        missing = sum(p.requires_grad and id(p) not in held for p in own)
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
        ArgumentError: on `create`, if it returns something else, or an optimizer of parameters it was not given.

    >>> import functools
    >>> adamw = functools.partial(torch.optim.AdamW, lr=1e-3)
    >>> type(Factory(adamw).create([torch.nn.Parameter(torch.zeros(2))])).__name__
    'AdamW'
    """

    function: Callable[[list[Parameter]], torch.optim.Optimizer]

    def create(
        self, weights: Sequence[Parameter], others: Sequence[Parameter] = (), tables: Sequence[Parameter] = ()
    ) -> torch.optim.Optimizer:
        """See `Optimizer.create`; a decay set in the function is its own affair and reaches all parameters."""
        need_some(weights, others, tables)
        optimizer = self.function([*weights, *others, *tables])
        if not isinstance(optimizer, torch.optim.Optimizer):
            expected = "a function that returns a torch.optim.Optimizer"
            received = f"one that returns {type(optimizer).__name__}"
            fix = "Pass functools.partial(torch.optim.AdamW, lr=1e-3), for example"
            raise ArgumentError(complaint("optimizer", expected=expected, received=received, fix=fix))
        own = {id(p) for p in (*weights, *others, *tables)}
        foreign = sum(id(p) not in own for group in optimizer.param_groups for p in group["params"])
        if foreign:  # such as a function that leaves its argument aside, when the network has been copied
            name, expected = type(optimizer).__name__, "a function that uses the parameters it is given, and no others"
            received, fix = f"{name} with {foreign} others", f"Pass lambda parameters: torch.optim.{name}(parameters, lr=...)"
            raise ArgumentError(complaint("optimizer", expected=expected, received=received, fix=fix))
        return optimizer
