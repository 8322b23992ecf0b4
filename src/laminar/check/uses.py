"""The gradients of one point taken in other ways: other strides, frozen learnables, several calls, `.backward()`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from laminar.check.running import leaves
from laminar.check.slopes import Point
from laminar.layers.base import Layer
from laminar.seeding import seed_all

__all__ = ["LAYOUTS", "Call", "Layout", "after_backward", "call", "different", "frozen", "pulled"]

Named = dict[str, Tensor | None]


@dataclass(frozen=True)
class Call:
    """One call of a module that autograd follows.

    Attributes:
        inputs: what to ask the gradients of.
        outputs: its floating-point outputs.
    """

    inputs: list[Tensor]
    outputs: list[Tensor]


def call(module: nn.Module, xs: Sequence[Tensor], *, seed: int = 0) -> Call:
    """Return a call of `module` on `xs` with the strides that they have; global generators seeded before."""
    seed_all(seed)
    with torch.enable_grad():
        return Call(list(xs), [z for z in leaves(module(*map(_one_step, xs))) if z.is_floating_point()])


def _one_step(x: Tensor) -> Tensor:
    """Return x one step away from the leaf, as a layer gets it inside a network: it may write there."""
    expanded = any(stride == 0 and n > 1 for stride, n in zip(x.stride(), x.shape, strict=True))
    return x * 1 if x.requires_grad and not expanded else x  # x * 1 keeps strides, but for those of 0


def pulled(module: nn.Module, calls: Sequence[Call], dzs: Sequence[Sequence[Tensor]]) -> Named:
    """Return the gradients of one or several calls in one backward pass, by name; with several, "x of call 2" and so on.

    Args:
        module: what was called.
        calls: its calls.
        dzs: the output gradients of each call.
    """
    pairs = [(z, d) for c, dz in zip(calls, dzs, strict=True) for z, d in zip(c.outputs, dz, strict=True) if z.requires_grad]
    asked: dict[str, Tensor] = {}
    for k, c in enumerate(calls):
        floats = {f"x{i}" if len(c.inputs) > 1 else "x": x for i, x in enumerate(c.inputs) if x.is_floating_point()}
        asked.update({f"{n} of call {k + 1}" if len(calls) > 1 else n: x for n, x in floats.items() if x.requires_grad})
    asked.update({n: p for n, p in module.named_parameters() if p.requires_grad and p.is_floating_point()})
    if not pairs or not asked:
        return dict.fromkeys(asked)
    found = torch.autograd.grad([z for z, _ in pairs], list(asked.values()), [d for _, d in pairs], allow_unused=True)
    return dict(zip(asked, found, strict=True))


def different(
    found: Mapping[str, Tensor | None], right: Mapping[str, Tensor | None], *, tolerance: float = 1e-7, floor: float = 0.0
) -> str:
    """Return which gradient is furthest from the right one, and by how much; "" where all agree.

    Args:
        found: by name.
        right: by name; what `found` lacks is not compared.
        tolerance: of the largest number of each; a sum that is 0 but for rounding is measured by the largest of all.
        floor: what is no difference in any case.
    """
    largest = max((float(g.abs().max()) for g in right.values() if g is not None and g.numel()), default=0.0)
    worst, text = 0.0, ""
    for name in [n for n in right if n in found]:
        a, b = (None if g is None else g.detach() for g in (found[name], right[name]))
        like = a if b is None else b
        if like is None:
            continue
        zero = torch.zeros_like(like)
        a, b = zero if a is None else a, zero if b is None else b
        off, size = float((a - b).abs().max()) if a.numel() else 0.0, float(b.abs().max()) if b.numel() else 0.0
        if off <= tolerance * size + 1e-2 * tolerance * largest + floor:
            continue
        share = off / (size or largest or 1.0)
        if not share <= worst:
            worst = share
            amount = f"the gradient of {name} is off by {off:.6g}" if found[name] is not None else f"no gradient of {name}"
            text = f"{amount}, whose largest number is {size:.6g}"
    return text


# -- layouts --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """Another way for the same numbers to lie in memory.

    Attributes:
        text: what is laid out so, in words.
        of_input: whether it is the input, or the output gradient.
        first: how many observations differ; the others are copies of them. All where 0.
        constant: whether all numbers are one.
    """

    text: str
    of_input: bool
    first: int = 0
    constant: bool = False

    def laid_out(self, x: Tensor) -> Tensor:
        """Return the numbers of x, or the first of them again and again, with strides of this layout."""
        if not x.is_floating_point() or not x.dim():
            return x
        if self.constant:
            return x.reshape(-1)[:1].clone().reshape((1,) * x.dim()).expand(x.shape)
        if self.first:
            return x[:1].clone().expand(x.shape)
        order = tuple(reversed(range(x.dim())))
        return x.permute(order).contiguous().permute(order)


LAYOUTS = (
    Layout("an input transposed in memory", True),
    Layout("an output gradient transposed in memory", False),
    Layout("an input expanded along the batch", True, first=1),
    Layout("an output gradient expanded along the batch", False, first=1),
    Layout("an input expanded from one number", True, constant=True),
    Layout("an output gradient expanded from one number, as sum() gives it", False, constant=True),
)


# -- frozen ---------------------------------------------------------------------------------------------------------------


@contextmanager
def frozen(module: nn.Module, names: Sequence[str]) -> Iterator[None]:
    """Freeze learnables inside the block, as `Layer.freeze` does where they are those of a layer."""
    learns = {n: p.requires_grad for n, p in module.named_parameters()}
    before = [(part, set(part._frozen)) for part in module.modules() if isinstance(part, Layer)]
    for name in names:
        owner, _, last = name.rpartition(".")
        holder = module.get_submodule(owner)
        if isinstance(holder, Layer):
            holder.freeze(last)
        else:
            module.get_parameter(name).requires_grad_(False)
    try:
        yield
    finally:
        for name, p in module.named_parameters():
            p.requires_grad_(learns[name])
            p.grad = None
        for part, kept in before:
            part._frozen = kept


def after_backward(point: Point, *, inputs: bool = True) -> Named:
    """Return what `.backward()` leaves in `.grad`, by name.

    Args:
        point: the module and its inputs.
        inputs: whether they ask for a gradient.
    """
    module = point.module
    point.restore()
    for p in module.parameters():
        p.grad = None
    xs = [x.clone().requires_grad_(inputs and x.is_floating_point()) for x in point.xs]
    made = call(module, xs)
    pairs = [(z, d) for z, d in zip(made.outputs, point.output_gradients, strict=True) if z.requires_grad]
    if pairs:
        torch.autograd.backward([z for z, _ in pairs], [d for _, d in pairs])
    names = iter(point.tensors)
    found: Named = {next(names): x.grad for x in xs if x.is_floating_point()}
    found.update({n: p.grad for n, p in module.named_parameters()})
    for p in module.parameters():
        p.grad = None
    return found
