"""Running a module so that two runs can be compared: the same seeds, inputs of their own, gradients by name."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from laminar.layers.base import Layer
from laminar.seeding import seed_all
from laminar.snapshots import lazy_twins

__all__ = ["Gradients", "copied", "gradients", "leaves", "output_gradients", "real", "run", "without_backward"]


@dataclass(frozen=True)
class Gradients:
    """Outputs of one run and the gradients it gave.

    Attributes:
        outputs: detached.
        inputs: one for each input; None where it is no float or got none.
        learnables: by name of the parameter; None where it got none.
    """

    outputs: list[Tensor]
    inputs: list[Tensor | None]
    learnables: dict[str, Tensor | None]

    def named(self) -> dict[str, Tensor | None]:
        """Return every gradient by the name of what it belongs to: "x" (or "x0", "x1"), then the learnables."""
        single = len(self.inputs) == 1
        return {**{"x" if single else f"x{i}": g for i, g in enumerate(self.inputs)}, **self.learnables}


def leaves(z: Any) -> list[Tensor]:
    """Return the tensors of an output, in order."""
    return [leaf for leaf in tree_leaves(z) if isinstance(leaf, Tensor)]


def copied(module: nn.Module) -> nn.Module:
    """Return a deep copy, also of a module of torch that waits for a shape."""
    return copy.deepcopy(module, lazy_twins(module))


def run(module: nn.Module, xs: Sequence[Tensor], *, seed: int = 0) -> list[Tensor]:
    """Return the tensors of `module(*xs)`, run without gradients on clones of `xs`, global generators seeded before."""
    seed_all(seed)
    with torch.no_grad():
        return leaves(module(*(x.clone() for x in xs)))


def output_gradients(zs: Sequence[Tensor], *, seed: int = 3) -> list[Tensor]:
    """Return normal numbers in the shapes and dtypes of the outputs, the same each time."""
    random = torch.Generator().manual_seed(seed)
    drawn = (torch.randn(z.shape, generator=random, dtype=torch.float64) for z in zs)
    return [d.to(z.dtype).to(z.device) for d, z in zip(drawn, zs, strict=True)]


def gradients(module: nn.Module, xs: Sequence[Tensor], *, seed: int = 0, dz: Sequence[Tensor] | None = None) -> Gradients:
    """Return outputs and gradients of one run on `xs` (clones that keep strides), global generators seeded before.

    Args:
        module: in the mode in which it is to run.
        xs: its inputs.
        seed: of the global generators.
        dz: one output gradient for each floating-point output, passed over where it has none; the usual normal numbers where
            None.
    """
    seed_all(seed)
    inputs = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in xs]
    with torch.enable_grad():
        # one step away from the leaves: a layer that writes into its input then does so here as it does inside a network
        zs = leaves(module(*(x * 1 if x.requires_grad else x for x in inputs)))
        floats = [z for z in zs if z.is_floating_point()]
        given = output_gradients(floats) if dz is None else dz
        pairs = [(z, d) for z, d in zip(floats, given, strict=True) if z.requires_grad]
        asked = [*(x for x in inputs if x.requires_grad), *(p for p in module.parameters() if p.requires_grad)]
        if pairs and asked:
            results = torch.autograd.grad([z for z, _ in pairs], asked, [d for _, d in pairs], allow_unused=True)
            found: Iterator[Tensor | None] = iter(results)
        else:
            found = iter([None] * len(asked))
    of_inputs = [next(found) if x.requires_grad else None for x in inputs]
    of_learnables: dict[str, Tensor | None] = {n: next(found) for n, p in module.named_parameters() if p.requires_grad}
    return Gradients([z.detach() for z in zs], of_inputs, of_learnables)


def real(z: Tensor) -> Tensor:
    """Return `z`; of complex numbers the pairs of real ones."""
    return torch.view_as_real(z.resolve_conj()) if z.is_complex() else z


def without_backward(layer: nn.Module) -> nn.Module:
    """Return the same layer for autograd to differentiate: its class, less `backward`; it shares all tensors.

    What has no backward of its own is returned itself.
    """
    if not (isinstance(layer, Layer) and layer._overrides_backward):
        return layer
    forward_only = type(type(layer).__name__, (type(layer),), {"backward": Layer.backward, "has_memory": layer.has_memory})
    twin: Layer = object.__new__(forward_only)
    twin.__dict__.update(layer.__dict__)
    return twin
