"""The second derivative of a layer against differences of its first, along random directions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.check.blame import of_checker, own_line
from laminar.check.measured import Measured
from laminar.check.running import leaves
from laminar.check.words import said
from laminar.errors import LaminarError
from laminar.seeding import seed_all

__all__ = ["Second", "Unclear", "second_of"]

_DIRECTIONS = 2
_CLEAR = re.compile(r"differentiat|derivative|not implemented|second|double.?backward|backward of a backward", re.IGNORECASE)


class Unclear(Exception):
    """Autograd stopped at the second derivative without saying that this is why."""


@dataclass(frozen=True)
class Second:
    """What became of the second derivative.

    Attributes:
        refused: the text of a clear refusal; "" where there is none.
        silent: whether there is no graph to differentiate, and yet the first derivative changes.
        wrong: for the worst direction: what is moved, what autograd says, what differences say; None where all agree.
        compared: in how many directions it was right.
        size: of the largest slope by differences.
    """

    refused: str = ""
    silent: bool = False
    wrong: tuple[str, float, float] | None = None
    compared: int = 0
    size: float = 0.0


def second_of(mode: Measured) -> Second:
    """Return how the second derivative of a layer compares with differences of its first.

    Raises:
        Unclear: if it fails without saying that it is the second derivative that it lacks.
    """
    weights = _drawn(mode, 17)
    try:
        graph, found = _by_autograd(mode, weights)
    except Exception as error:
        if of_checker(error):
            raise
        clear = isinstance(error, LaminarError | NotImplementedError) or _CLEAR.search(str(error))
        by_torch = not own_line(error) and "inplace" not in str(error)  # none of the layer's lines: not its own to mend
        if clear or by_torch:
            return Second(refused=said(error).split(". ")[0])
        raise Unclear from error
    wrong, compared, size = None, 0, 0.0
    largest_off = 0.0
    for name in mode.names:
        for k in range(_DIRECTIONS):
            way = _drawn(mode, 100 + k)[name]
            central, spread, rounding = _slope(mode, weights, name, way)
            gradient = found.get(name)
            along = 0.0 if gradient is None else float((gradient * way).sum())
            norm = 0.0 if gradient is None else float(gradient.norm())
            slack = 1e-5 * max(abs(central), norm) + 2 * spread + rounding
            if not slack <= 1e-2 * max(abs(central), norm, 1e4 * rounding):
                continue  # the first derivative jumps nearby
            compared += 1
            size = max(size, abs(central))
            off = abs(along - central)
            if not off <= slack and not off <= largest_off:
                wrong, largest_off = (name, along, central), off
    return Second(silent=not graph and wrong is not None, wrong=wrong, compared=compared, size=size)


def _drawn(mode: Measured, seed: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {n: torch.randn(t.shape, generator=random, dtype=torch.float64) for n, t in mode.point.tensors.items()}


def _by_autograd(mode: Measured, weights: dict[str, Tensor]) -> tuple[bool, dict[str, Tensor | None]]:
    """Return whether the first derivative depends on anything for autograd, and the gradient of its sum times `weights`."""
    point = mode.point
    point.restore()
    seed_all(0)
    with torch.enable_grad():
        xs = [x.clone().requires_grad_(x.is_floating_point()) for x in point.xs]
        zs = [z for z in leaves(point.module(*(x * 1 if x.requires_grad else x for x in xs))) if z.is_floating_point()]
        learn = [p for p in point.module.parameters() if p.requires_grad and p.is_floating_point()]
        asked = dict(zip(mode.names, [*(x for x in xs if x.requires_grad), *learn], strict=True))
        # output gradients ask too, as in a network: once_differentiable refuses only where they do
        dz = [d.clone().requires_grad_() for d in point.output_gradients]
        pairs = [(z, d) for z, d in zip(zs, dz, strict=True) if z.requires_grad]
        if not pairs:
            return False, {}
        first = torch.autograd.grad(
            [z for z, _ in pairs], list(asked.values()), [d for _, d in pairs], create_graph=True, allow_unused=True
        )
        parts = [(g * weights[n]).sum() for n, g in zip(asked, first, strict=True) if g is not None and g.requires_grad]
        if not parts:
            return False, {}
        for p in learn:
            p.grad = None  # a backward may have written there
        torch.autograd.backward(sum(parts[1:], parts[0]))  # grad() would not come by the refusal of once_differentiable
    found = {n: t.grad for n, t in asked.items()}
    for p in point.module.parameters():
        p.grad = None
    return any(g is not None for g in found.values()), found


def _slope(mode: Measured, weights: dict[str, Tensor], name: str, way: Tensor) -> tuple[float, float, float]:
    """Return the slope of the first derivative times `weights`, half of what its two sides differ by, and its rounding."""
    point = mode.point
    kept = point.tensors[name].clone()
    rows = []
    for step in (point.step, -point.step):
        point.move({name: kept + step * way})
        rows.append(_flat(mode, mode.again()))
    point.move({name: kept})
    base, scale = _flat(mode, mode.found), _flat(mode, weights)
    right, left = (rows[0] - base) / point.step, (base - rows[1]) / point.step
    central = float((scale * (right + left)).sum()) / 2
    rounding = max(point.grain, 1e-15) * float(base.abs().max()) * float(scale.norm()) / point.step if base.numel() else 0.0
    return central, float((scale * (right - left)).abs().sum()) / 2, rounding


def _flat(mode: Measured, gradients: Mapping[str, Tensor | None]) -> Tensor:
    given = ((gradients[n], t) for n, t in mode.point.tensors.items())
    return torch.cat([(torch.zeros_like(t) if g is None else g.double()).reshape(-1) for g, t in given])
