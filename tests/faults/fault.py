"""`Fault`: a layer with one mistake in it, and the same layer without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

__all__ = ["Fault"]


@dataclass(frozen=True)
class Fault:
    """A layer with one mistake in it, the same layer without, and the check that has to name the mistake.

    Attributes:
        name: the mistake in a few words, "sum over the batch forgotten".
        check: the name of the check that has to fail, because it is the one that says what is wrong.
        faulty: makes the layer with the mistake.
        repaired: makes the same layer without.
        shape: of one observation, without the batch axis; a tuple of shapes for a layer with several inputs.
        options: of `check_layer`: what the layer declares, or inputs of its own.
    """

    name: str
    check: str
    faulty: Callable[[], nn.Module]
    repaired: Callable[[], nn.Module]
    shape: Any
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """One shape for each input."""
        return self.shape if self.shape and isinstance(self.shape[0], tuple) else (self.shape,)

    def __str__(self) -> str:
        return f"{self.check}: {self.name}"
