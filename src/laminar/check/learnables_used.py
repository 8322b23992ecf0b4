"""Every learnable changes the output, and learns where it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from laminar.check.base import Check, register
from laminar.check.comparing import numbers
from laminar.check.graph import called, graph_leaves
from laminar.check.outcome import Finding, failed, not_applicable, noted, passed
from laminar.check.running import copied, gradients, run, without_backward
from laminar.check.subject import BATCH, Subject
from laminar.check.words import listed, named
from laminar.seeding import generator

__all__ = ["LearnablesUsed"]

_ROUNDING = 1e-10  # of the output's size: what is less is not the learnable's doing, in float64
_TRIES = 3  # other batches, for a learnable that not every observation needs


@dataclass
class _Use:
    """What was seen of one learnable.

    Attributes:
        training: largest change of the output in training mode, divided by the output's size, when it was moved.
        inference: the same in inference mode.
        gradient: the largest number of its gradient in training; None where autograd finds no path to it.
        forward: whether autograd finds a path to it from the output of forward, whatever backward says.
    """

    training: float = 0.0
    inference: float = 0.0
    gradient: float | None = None
    forward: bool = False

    @property
    def right(self) -> bool:
        """Whether it changes the output and learns."""
        return self.training > _ROUNDING and bool(self.gradient)


@register
class LearnablesUsed(Check):
    """Every learnable changes the output when it is moved, and then has a gradient."""

    name = "learnables-used"
    group = "contract"
    expects = "a layer that runs in float64"

    def run(self, subject: Subject) -> Finding:
        module = subject.built(torch.float64)
        learnables = {n: p for n, p in module.named_parameters() if p.requires_grad and p.is_floating_point()}
        if not learnables:
            return not_applicable("it has no learnables that learn")
        if not any(z.is_floating_point() for z in run(copied(module), subject.data(dtype=torch.float64))):
            return not_applicable("its output has no numbers that could have a gradient")
        uses = _observed(subject, module, learnables)
        for finding in (_detached(uses, learnables, subject), _unused(uses, learnables)):
            if finding:
                return finding
        idle = [named(n, learnables[n]) for n, use in uses.items() if max(use.training, use.inference) <= _ROUNDING]
        if idle:
            return noted(f"{listed(idle)}: takes part in forward, but does not change the output here")
        least = min(uses, key=lambda n: max(uses[n].training, uses[n].inference))
        change = max(uses[least].training, uses[least].inference)
        return passed(f"each of {len(uses)} changes the output, by {change:.2g} of its size or more, and has a gradient")


def _observed(subject: Subject, module: nn.Module, learnables: dict[str, nn.Parameter]) -> dict[str, _Use]:
    uses = {name: _Use() for name in learnables}
    _look(uses, module, subject.data(dtype=torch.float64), list(uses))
    for seed in range(1, 1 + _TRIES):
        doubtful = [name for name, use in uses.items() if not use.right]
        if not doubtful:
            break
        xs = subject.data(4 * BATCH, torch.float64, seed=seed)
        module.train()
        _look(uses, module, xs, doubtful, seed)
        for name in _in_forward(module, xs, seed):
            uses[name].forward = True
        module.eval()
        before = run(copied(module), xs, seed=seed)
        for name in doubtful:
            uses[name].inference = max(uses[name].inference, _change(module, xs, name, seed, before))
    return uses


def _look(uses: dict[str, _Use], module: nn.Module, xs: Sequence[Tensor], names: Sequence[str], seed: int = 0) -> None:
    """Note what one batch in training mode shows of the learnables `names`."""
    found = gradients(copied(module), xs, seed=seed)
    before = run(copied(module), xs, seed=seed)
    for name in names:
        use, gradient = uses[name], found.learnables[name]
        use.training = max(use.training, _change(module, xs, name, seed, before))
        if gradient is not None:
            use.gradient = max(use.gradient or 0.0, float(gradient.abs().max()))


def _in_forward(module: nn.Module, xs: Sequence[Tensor], seed: int) -> list[str]:
    """Return the learnables to which autograd finds a path from the output of forward."""
    module = copied(module)
    names = {id(p): name for name, p in module.named_parameters() if p.requires_grad and p.is_floating_point()}
    try:
        zs = called(without_backward(module), xs, seed=seed)
    except RuntimeError:  # a forward that autograd cannot follow: all may have a part in it
        return list(names.values())
    return [names[id(t)] for t in graph_leaves(zs) if id(t) in names]


def _change(module: nn.Module, xs: Sequence[Tensor], name: str, seed: int, before: Sequence[Tensor]) -> float:
    """Return by how much the output changes from `before` when one learnable is moved, divided by the output's size."""
    moved = copied(module)
    p = moved.get_parameter(name)
    size = float(p.detach().square().mean().sqrt()) or 1.0
    drawn = torch.rand(p.shape, generator=generator(0, "used", name), dtype=p.dtype)
    with torch.no_grad():
        p.add_(drawn * (0.5 * size))
    after = run(moved, xs, seed=seed)
    return max((_difference(a, b) for a, b in zip(before, after, strict=True)), default=0.0)


def _difference(a: Tensor, b: Tensor) -> float:
    if a.shape != b.shape:
        return float("inf")
    a, b = numbers(a), numbers(b)
    finite = a.isfinite() & b.isfinite()
    size = float(a[finite].abs().max()) if finite.any() else 0.0
    change = float((a - b)[finite].abs().max()) if finite.any() else 0.0
    return change / size if size else change


def _detached(uses: dict[str, _Use], learnables: dict[str, nn.Parameter], subject: Subject) -> Finding | None:
    """Return the failure that a learnable matters in training and does not learn."""
    cut = [name for name, use in uses.items() if use.training > _ROUNDING and not use.gradient]
    if not cut:
        return None
    name, use = cut[0], uses[cut[0]]
    missing = "None" if use.gradient is None else "0"
    one = f"moved by half its size, {named(name, learnables[name])} changes the output by {use.training:.2g} of its size"
    found = f"{one}; its gradient is {missing}" + (f"; so with {listed([repr(n) for n in cut[1:]])}" if cut[1:] else "")
    if subject.handwritten and use.gradient is not None:
        fix = f"Return dL/d{name} from backward"
        return failed(expected="a gradient for each learnable that changes the output", found=found, fix=fix)
    return failed(
        expected="a gradient for each learnable that changes the output",
        found=found,
        cause="its value reaches the output past autograd" if use.gradient is None else "",
        fix=f"Compute with self.{name} itself: no .data, .detach(), .item(), no_grad, comparison or rounding in between",
    )


def _unused(uses: dict[str, _Use], learnables: dict[str, nn.Parameter]) -> Finding | None:
    """Return the failure that a learnable has no part in what training sees."""
    idle = [name for name, use in uses.items() if use.training <= _ROUNDING and not use.forward]
    if not idle:
        return None
    names = listed([named(name, learnables[name]) for name in idle])
    only = [name for name in idle if uses[name].inference > _ROUNDING]
    if only:
        found = f"{listed([named(n, learnables[n]) for n in only])}: moved, it changes the output in inference mode only"
        fix = f"Use self.{only[0]} in training too, or declare it as a buffer: it never learns"
        return failed(expected="each learnable to have a part in training", found=found, fix=fix)
    found = f"{names}: moved by half of its size, the output stays the same in both modes"
    fix = f"Use self.{idle[0]} in forward, or remove it"
    return failed(expected="each learnable to change the output", found=found, fix=fix)
