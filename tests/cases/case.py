"""`Case`: how to make a layer, and what it is shown."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

import laminar as lm
from laminar.seeding import seeded
from laminar.shapes import Shape, trace


@dataclass(frozen=True)
class Case:
    """How to make a layer, and what it is shown.

    Attributes:
        cls: the class.
        shape: of one observation, without the batch axis; a tuple of shapes for a layer with several inputs.
        arguments: of its constructor.
        options: keyword arguments of its constructor.
        prepare: what is done with a new layer before it is used, given observations.
        random: whether it draws in training.
        draws: whether its initial values are drawn, so that they depend on the seed.
        whole: where not 0, its input is whole numbers below it.
        scale: of the input's standard deviation.
        alone: whether, once built, it also takes one observation without a batch axis, as under vmap.
        vmaps: whether vmap runs over it at all.
        stateful: whether an observation's output depends on earlier calls.
        loose: how much wider its bounds in bfloat16 are.
        compiles: whether `torch.compile` takes it whole, without a break in the graph.
        zero_gradient: whether a learnable's gradient is 0 whatever it is, a key's bias for example: rounding is then measured
            by the largest of all.
    """

    cls: type[lm.Layer]
    shape: Any
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[..., object] | None = None
    random: bool = False
    draws: bool = False
    whole: int = 0
    scale: float = 1.0
    alone: bool = True
    vmaps: bool = True
    stateful: bool = False
    loose: float = 1.0
    compiles: bool = True
    zero_gradient: bool = False

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """One shape for each input."""
        return self.shape if self.shape and isinstance(self.shape[0], tuple) else (self.shape,)

    @property
    def dtype(self) -> torch.dtype | None:
        """Of the inputs, where it is not that of the learnables."""
        return torch.int64 if self.whole else None

    def fresh(self) -> lm.Layer:
        arguments, options = copy.deepcopy((self.arguments, self.options))  # a layer inside is new each time, too
        return self.cls(*arguments, **options)

    def data(self, batch: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
        """Return one tensor for each input, the same each time."""
        generator = torch.Generator().manual_seed(batch)
        if self.whole:
            return tuple(torch.randint(self.whole, (batch, *s), generator=generator) for s in self.shapes)
        drawn = (torch.randn(batch, *s, generator=generator, dtype=torch.float64) for s in self.shapes)
        return tuple((x * self.scale).to(dtype) for x in drawn)

    def built(self, dtype: torch.dtype = torch.float32) -> lm.Layer:
        """Return a layer with learnables that are nobody's special values: no zero bias, no scale of one."""
        layer = self.fresh()
        with seeded(1):
            trace(layer, *self.shapes, dtype=self.dtype or dtype)
        if self.prepare:
            self.prepare(layer, *self.data(20, dtype))
        layer = layer.to(dtype)
        if any(True for _ in layer.buffers()) and not (self.prepare or self.stateful):
            layer(*self.data(20, dtype))  # running statistics that are no zeros and ones
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for p in layer.parameters():
                p.add_(torch.rand(p.shape, generator=generator, dtype=torch.float64).to(dtype) * 0.5)
        return layer

    def __str__(self) -> str:
        return repr(self.fresh()).replace("\n", " ")


def leaves(z: Any) -> list[Tensor]:
    """Return the tensors of an output, in order."""
    return [leaf for leaf in tree_leaves(z) if isinstance(leaf, Tensor)]
