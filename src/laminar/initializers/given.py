"""Values that people bring along."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.initializers.base import Initializer

__all__ = ["Given"]


@dataclass(frozen=True, eq=False)
class Given(Initializer):
    """A copy of a tensor or array, or of what a function of the shape returns; it must have the learnable's shape.

    A function draws from wherever it likes: a seed given to Laminar does not reach it.

    Raises:
        ArgumentError: if the function returns neither tensor, array nor number.
        ShapeError: if the shape is another one: nothing is broadcast.

    >>> Given(lambda shape: torch.arange(shape[0]))((3,))
    tensor([0., 1., 2.])
    """

    source: torch.Tensor | np.ndarray[Any, Any] | Callable[[tuple[int, ...]], Any]
    exact = True

    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Copy the tensor; or ask the function, check its answer, and copy that."""
        shape = tuple(values.shape)
        where, given = "initial values", self.source
        if callable(given):
            where = f"initializer '{getattr(given, '__name__', type(given).__name__)}'"
            given = given(shape)
            if isinstance(given, numbers.Real):
                return values.fill_(float(given))
        if isinstance(given, np.ndarray):
            given = torch.from_numpy(given)
        if not isinstance(given, torch.Tensor):
            expected, received = "a tensor, an array or a number", type(given).__name__
            raise ArgumentError(complaint(where, expected=expected, received=received, fix=f"Return torch.zeros({shape}), say"))
        if given.shape != values.shape:
            expected, received = f"shape {shape}", f"{tuple(given.shape)}"
            raise ShapeError(complaint(where, expected=expected, received=received, fix=f"Give it the shape {shape}"))
        return values.copy_(given)
