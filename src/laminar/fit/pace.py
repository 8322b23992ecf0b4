"""The learning rate of a training, from one step to the next."""

from __future__ import annotations

import math
import numbers
from typing import Any

import torch
from torch import Tensor

from laminar.errors import ArgumentError, complaint

__all__ = ["Pace"]


class Pace:
    """Knows the base learning rate of the next step, and changes it.

    Every group of the optimizer keeps the ratio of its own rate to the base rate, which is that of the first group.

    Args:
        optimizer: torch's optimizer of the network's parameters.

    >>> w, b = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    >>> sgd = torch.optim.SGD([{"params": [w]}, {"params": [b], "lr": 0.2}], lr=0.1)
    >>> pace = Pace(sgd)
    >>> pace.rate = 0.01
    >>> pace.rate, sgd.param_groups[1]["lr"]
    (0.01, 0.02)
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def rate(self) -> float:
        """The base learning rate of the next step.

        Raises:
            ArgumentError: when it is set to something that is not a number above or equal to 0.
        """
        return float(self.optimizer.param_groups[0]["lr"])

    @rate.setter
    def rate(self, value: float) -> None:
        if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 <= value < math.inf:
            fix = "Set state.learning_rate = 0.001, for example"
            raise ArgumentError(
                complaint("state.learning_rate", expected="a number of at least 0", received=repr(value), fix=fix)
            )
        self._apply(float(value))

    def _apply(self, value: float) -> None:
        groups = self.optimizer.param_groups
        base = float(groups[0]["lr"])
        for group in groups:
            now = float(group["lr"])
            _write(group, value if now == base else value * (now / base))


def _write(group: dict[str, Any], value: float) -> None:
    """Give a group its rate; a rate in a tensor stays in that tensor, which a compiled step may hold."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(value)
    else:
        group["lr"] = value
