"""How far a run in a lower precision is from one in float64, and how far rounding alone can bring it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from laminar.check.running import Gradients, copied, gradients, output_gradients, real
from laminar.check.subject import Subject
from laminar.shapes import Shape

__all__ = [
    "BFLOAT16",
    "FLOAT32",
    "Bounds",
    "Deviation",
    "comparable_modes",
    "compared",
    "described",
    "floats",
    "given_shapes",
    "largest",
    "learnables_of",
    "lower",
    "modes_of",
    "persistent",
    "reference",
    "rounded",
    "short",
    "worst",
]

_UNDERFLOW = 1e-30  # of no matter: float32 ends at 1e-38, and a product of two such numbers before
_AFFORDABLE = 60_000  # numbers in the inputs of one observation that are still run as they were given


@dataclass(frozen=True)
class Bounds:
    """How far rounding may bring a result from the right one.

    Attributes:
        share: of an output's largest number, for what is rounded on the way.
        slack: times the change that rounding inputs and learnables makes in float64. A layer that magnifies what it is given
            is allowed as much more.
        gradient: share of a gradient's length, likewise; `share` where None.
        most: share of an output's largest number that is too much for a layer by itself, whatever it magnifies: it can compute
            what is delicate in a higher precision. That holds where the error is large throughout, not at some points.
    """

    share: float
    slack: float
    gradient: float | None = None
    most: float = math.inf


FLOAT32 = Bounds(share=1e-4, slack=30.0)
BFLOAT16 = Bounds(share=0.06, slack=4.0, most=0.1)


@dataclass(frozen=True)
class Deviation:
    """How far one result is from the right one.

    Attributes:
        what: the result in words, "the gradient of x".
        error: as a share of its size.
        allowed: what rounding can explain, as a share of its size.
        lack: what it is where there is no number to compare, so that the error is infinite.
    """

    what: str
    error: float
    allowed: float
    lack: str = "not finite"

    @property
    def fits(self) -> bool:
        """Whether rounding explains it."""
        return self.error <= self.allowed

    @property
    def excess(self) -> float:
        """How often the error holds what is allowed."""
        return self.error / self.allowed if self.error < math.inf else math.inf


def short(number: float) -> str:
    """Return a number in two digits, as tables have it.

    >>> [short(n) for n in (0.0, 0.000123, 0.25, 1e4, 12.34, float("inf"))]
    ['0', '0.00012', '0.25', '1e+04', '12', 'inf']
    """
    return f"{number:.2g}"


def described(deviation: Deviation) -> str:
    """Return a deviation in words."""
    if deviation.error == math.inf:
        return f"{deviation.what} is {deviation.lack}"
    return f"{deviation.what} is off by {short(deviation.error)} of its size"


def worst(found: Sequence[Deviation]) -> Deviation | None:
    """Return the deviation that rounding explains least; None where it explains all."""
    return max((d for d in found if not d.fits), key=lambda d: d.excess, default=None)


def largest(found: Sequence[Deviation]) -> str:
    """Return the largest error among deviations, as tables have it."""
    return short(max((d.error for d in found), default=0.0))


def floats(zs: Sequence[Tensor]) -> list[Tensor]:
    """Return those of `zs` that are no whole numbers; complex ones as pairs of real ones."""
    return [z for z in map(real, zs) if z.is_floating_point()]


def modes_of(subject: Subject) -> tuple[bool, ...]:
    """Return the modes (True is training) in which the layer is a function of its own, and draws nothing if it can be."""
    if "random" in subject.traits:
        return (False,)
    return (True, False) if subject.traits & {"modes", "batch", "state"} else (True,)


def comparable_modes(subject: Subject) -> tuple[bool, ...]:
    """Return those of them in which runs in different dtypes draw the same: nothing."""
    return () if "always random" in subject.traits else modes_of(subject)


def given_shapes(subject: Subject) -> tuple[Shape, ...]:
    """Return the shapes as given where those can be afforded, else the smaller ones: what adds up shows in long sums only."""
    return subject.given if sum(map(math.prod, subject.given)) <= _AFFORDABLE else subject.shapes


def reference(subject: Subject, *, training: bool, shapes: Sequence[Shape] | None = None) -> nn.Module:
    """Return the layer in float64."""
    return subject.built(torch.float64, training=training, shapes=shapes)


def lower(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy of `module` with its floating-point tensors in `dtype`."""
    return copied(module).to(dtype)


def rounded(module: nn.Module, xs: Sequence[Tensor], dtype: torch.dtype) -> tuple[nn.Module, list[Tensor]]:
    """Return layer and inputs in float64 again, all their numbers rounded to `dtype`."""
    return lower(module, dtype).double(), [x.to(dtype).double() if x.is_floating_point() else x for x in xs]


def compared(module: nn.Module, xs: Sequence[Tensor], dtype: torch.dtype, bounds: Bounds) -> list[Deviation]:
    """Return how far a run in `dtype` is from float64, each of them on the same rounded numbers.

    Args:
        module: in float64.
        xs: its inputs, in float64.
        dtype: the lower one.
        bounds: what rounding may do in it.

    Returns:
        Outputs, gradients, and what the layer keeps.
    """
    if next(module.children(), None) is not None:
        bounds = replace(bounds, most=math.inf)
    low, unrounded = lower(module, dtype), copied(module)
    exact, near = rounded(module, xs, dtype)
    found = gradients(low, [x.to(dtype) if x.is_floating_point() else x for x in xs])
    dz = [d.double() for d in output_gradients([z for z in found.outputs if z.is_floating_point()])]
    right, moved = gradients(exact, near, dz=dz), gradients(unrounded, xs, dz=dz)
    states = zip(low.named_buffers(), exact.buffers(), unrounded.buffers(), strict=True)
    kept = [_of_output(f"the state {n!r}", b, r, m, bounds=bounds) for (n, b), r, m in states if b.is_floating_point()]
    return [*deviations(found, right, moved, [*near, *learnables_of(exact)], bounds), *kept]


def deviations(
    found: Gradients, right: Gradients, moved: Gradients, sources: Sequence[Tensor], bounds: Bounds
) -> list[Deviation]:
    """Return how far outputs and gradients are from the right ones, by the largest output and by the gradient's length.

    Args:
        found: the run in question.
        right: the same in float64.
        moved: in float64, from inputs and learnables that differ from those of `right` as rounding makes them differ.
        sources: inputs and learnables of `right`, in the order of their gradients.
        bounds: what rounding may do.
    """
    several = len(floats(right.outputs)) > 1
    outputs = zip(floats(found.outputs), floats(right.outputs), floats(moved.outputs), strict=True)
    result = [_of_output(f"output {i}" if several else "the output", *three, bounds=bounds) for i, three in enumerate(outputs)]
    length = math.sqrt(sum(float(_finite(z).square().sum()) for z in floats(right.outputs)))
    named = zip(right.named().items(), found.named().values(), moved.named().values(), sources, strict=True)
    for (name, g), f, m, source in named:
        if g is None and f is None:
            continue
        size = float(source.double().square().mean().sqrt()) if source.numel() else 0.0
        natural = length / size if size else 0.0
        result.append(_of_gradient(f"the gradient of {name}", (f, g, m), natural, bounds))
    return result


def persistent(measure: Callable[[int], list[Deviation]]) -> list[Deviation]:
    """Return the deviations that `measure(seed)` finds on every one of three batches.

    A number close to a kink may fall on its other side by rounding; the next batch has others there.
    """
    found = measure(0)
    for seed in (1, 2):
        if all(d.fits for d in found):
            break
        found = [min(pair, key=lambda d: d.excess) for pair in zip(found, measure(seed), strict=True)]
    return found


def learnables_of(module: nn.Module) -> list[Tensor]:
    """Return what learns, in the order of its gradients."""
    return [p.detach() for p in module.parameters() if p.requires_grad]


def _finite(z: Tensor) -> Tensor:
    return z.double().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def _of_output(what: str, found: Tensor, right: Tensor, moved: Tensor, *, bounds: Bounds) -> Deviation:
    if found.shape != right.shape:
        return Deviation(what, math.inf, bounds.share, f"of shape {tuple(found.shape)}, not {tuple(right.shape)}")
    counts = right.isfinite() & moved.isfinite()  # a layer that masks by infinity, or overflows there, is another's question
    if not bool(counts.any()):
        return Deviation(what, 0.0, bounds.share)
    f, r, m = (t[counts].double() for t in (found, right, moved))
    size = float(r.abs().max()) + _UNDERFLOW
    allowed = bounds.share + bounds.slack * float((m - r).abs().max()) / size
    if not bool(f.isfinite().all()):
        return Deviation(what, math.inf, allowed)
    throughout = float((f - r).norm()) > bounds.most / 4 * float(r.norm())
    return Deviation(what, float((f - r).abs().max()) / size, min(allowed, bounds.most) if throughout else allowed)


def _of_gradient(
    what: str, three: tuple[Tensor | None, Tensor | None, Tensor | None], natural: float, bounds: Bounds
) -> Deviation:
    found, right, moved = three
    share = bounds.share if bounds.gradient is None else bounds.gradient
    if found is None or right is None or moved is None:
        lack = "missing" if found is None else "missing in float64"
        return Deviation(what, math.inf, share, lack)
    r, m, f = right.double(), moved.double(), found.double()
    if not bool(r.isfinite().all() and m.isfinite().all()):  # that is what extreme-inputs asks about
        return Deviation(what, 0.0, share)
    # a gradient that is 0 by the layer's nature, as a key's bias in attention has it, is rounding in any other precision:
    # its size is then what a gradient between these inputs and outputs would usually be
    size = max(float(r.norm()), natural) + _UNDERFLOW
    error = float((f - r).norm()) / size if bool(f.isfinite().all()) else math.inf
    return Deviation(what, error, share + bounds.slack * float((m - r).norm()) / size)
