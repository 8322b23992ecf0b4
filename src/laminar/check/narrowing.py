"""Whether float64 goes through a narrower dtype on the way: then a change that only float64 can hold changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from laminar.check.outcome import Finding, failed
from laminar.check.precision import floats, reference
from laminar.check.running import copied, gradients, run
from laminar.check.subject import Subject
from laminar.seeding import generator

__all__ = ["narrowed"]

_TINY = 1e-10  # plain to see in float64, lost in anything narrower
# with a change that each can hold; numbers of bfloat16 are numbers of float16 as well, so they are asked about before
_NARROWER = ((torch.float32, 1e-6), (torch.bfloat16, 6e-2), (torch.float16, 1e-2))
_LARGE = 0.3  # changes all that depends on the input
_FEW, _MANY = 0.2, 0.5  # shares of the outputs that change
_ENOUGH = 4  # numbers that tell something
_SMALLER = 2.0**-10  # steps of a fixed size, as of a layer that rounds on purpose, do not shrink with the input


def narrowed(subject: Subject, *, training: bool) -> Finding | None:
    """Return the failure where outputs or gradients of float64 are rounded to a narrower dtype, else None."""
    module = reference(subject, training=training)
    xs = subject.data(8, torch.float64)
    for of_inputs in (True, False) if subject.continuous else (False,):
        found = _narrow_output(module, xs, of_inputs=of_inputs, on_purpose="surrogate" in subject.traits)
        if found is not None:
            return found
    named = {name: g for name, g in gradients(copied(module), xs).named().items() if g is not None and g.numel()}
    # a gradient that is 0 by the layer's nature consists of a few last bits: those are numbers of any dtype
    negligible = 1e-6 * max((float(g.abs().max()) for g in named.values()), default=0.0)
    for name, g in named.items():
        if int((g.abs() > negligible).sum()) >= _ENOUGH and _representable(g, torch.float32):
            return failed(
                expected="gradients computed in float64, where everything is given in float64",
                found=f"the gradient of {name} has numbers of float32 only",
                fix=_FIX,
            )
    return None


_FIX = (
    "Replace .float() and dtype=torch.float32 by the dtype of the input; for float32 at least, by "
    "torch.promote_types(x.dtype, torch.float32)"
)


def _narrow_output(module: nn.Module, xs: Sequence[Tensor], *, of_inputs: bool, on_purpose: bool) -> Finding | None:
    what = "inputs" if of_inputs else "learnables"
    base = _outputs(module, xs)

    def changed(size: float, scale: float = 1.0) -> int:
        before = base if scale == 1.0 else _outputs(*_scaled(module, xs, scale, of_inputs=of_inputs))
        after = _outputs(*_nudged(*_scaled(module, xs, scale, of_inputs=of_inputs), size, of_inputs=of_inputs))
        return int((before != after).sum())

    depending = changed(_LARGE)
    tiny = changed(_TINY)
    if depending < _ENOUGH or tiny > _FEW * depending:
        return None
    for dtype, size in _NARROWER:
        many = changed(size)
        if many < _MANY * depending or not _goes_through(module, xs, base, dtype, of_inputs=of_inputs):
            continue
        if dtype != torch.float32 and (on_purpose or changed(size, _SMALLER) < _MANY * depending):
            continue
        name = str(dtype).removeprefix("torch.")
        return failed(
            expected="outputs computed in float64, where everything is given in float64",
            found=f"{what} changed by {_TINY:g} of themselves change {tiny} of {depending} outputs, by {size:g} {many}: "
            f"numbers are rounded to {name} on the way",
            fix=_FIX,
        )
    return None


def _outputs(module: nn.Module, xs: Sequence[Tensor]) -> Tensor:
    zs = [z.double().flatten() for z in floats(run(copied(module), xs))]
    return torch.cat(zs).nan_to_num() if zs else torch.zeros(0, dtype=torch.float64)


def _scaled(module: nn.Module, xs: Sequence[Tensor], scale: float, *, of_inputs: bool) -> tuple[nn.Module, Sequence[Tensor]]:
    if of_inputs:
        return module, [x * scale if x.is_floating_point() else x for x in xs]
    other = copied(module)
    with torch.no_grad():
        for p in other.parameters():
            if p.is_floating_point():
                p.mul_(scale)
    return other, xs


def _nudged(module: nn.Module, xs: Sequence[Tensor], size: float, *, of_inputs: bool) -> tuple[nn.Module, Sequence[Tensor]]:
    """Return layer and inputs with inputs, or learnables, a little larger or smaller, each as it is drawn."""
    random = generator(0, "nudged")

    def factors(t: Tensor) -> Tensor:
        return 1 + size * (2.0 * torch.randint(2, t.shape, generator=random).double() - 1)

    if of_inputs:
        return module, [x * factors(x) if x.is_floating_point() else x for x in xs]
    other = copied(module)
    with torch.no_grad():
        for p in other.parameters():
            if p.is_floating_point():
                p.mul_(factors(p).to(p))
    return other, xs


def _goes_through(module: nn.Module, xs: Sequence[Tensor], base: Tensor, dtype: torch.dtype, *, of_inputs: bool) -> bool:
    """Return whether outputs are numbers of `dtype`, or what goes in may as well be rounded to it."""
    if _representable(base, dtype):
        return True
    if of_inputs:
        return bool((_outputs(module, [x.to(dtype).double() if x.is_floating_point() else x for x in xs]) == base).all())
    return bool((_outputs(copied(module).to(dtype).double(), xs) == base).all())


def _representable(t: Tensor, dtype: torch.dtype) -> bool:
    return torch.equal(t.to(dtype).to(t.dtype), t)
