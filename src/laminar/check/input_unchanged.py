"""A call writes to nothing that it was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from laminar.check.base import Check, register
from laminar.check.blame import of_checker
from laminar.check.comparing import gap
from laminar.check.outcome import Finding, failed, passed
from laminar.check.running import leaves, output_gradients
from laminar.check.settings import settings
from laminar.check.subject import Subject
from laminar.check.words import mode_name

__all__ = ["InputUnchanged"]


@dataclass(frozen=True)
class _Held:
    """A tensor that a call may read and not write, as it was before."""

    what: str
    tensor: Tensor
    value: Tensor
    version: int

    @classmethod
    def of(cls, what: str, tensor: Tensor) -> _Held:
        return cls(what, tensor, tensor.detach().clone(), tensor._version)

    @property
    def written(self) -> str:
        """How it was changed; "" where it was not."""
        if self.tensor.shape != self.value.shape:
            return f"its shape became {tuple(self.tensor.shape)}"
        by = gap([self.tensor], [self.value])
        if by.difference:
            changed = int((self.tensor != self.value).sum())
            return f"{changed} of its {self.value.numel()} numbers changed {by}"
        return "it was written to, with the same numbers this time" if self.tensor._version != self.version else ""


_NEW = "Compute a new tensor, z = x + 1 and not x += 1"
_LEARNABLE = "Compute a new tensor from it, as w = self.weight.clamp(-1, 1); only the optimizer writes to learnables"


class _Handed:
    """One call of a module, forward and backward, with all that it was handed noted before."""

    def __init__(self, module: nn.Module, xs: Sequence[Tensor], *, gradients: bool) -> None:
        self._module, self._gradients = module, gradients
        floats = [x.is_floating_point() and gradients for x in xs]
        self._leaves = [x.clone().requires_grad_(f) for x, f in zip(xs, floats, strict=True)]
        # one step away from the leaves, as inside a network: a leaf that wants a gradient refuses to be written to
        self._xs = [x * 1 if f else x for x, f in zip(self._leaves, floats, strict=True)]
        single = len(xs) == 1
        self._inputs = [_Held.of("the input" if single else f"input {i}", x) for i, x in enumerate(self._xs)]
        self._learnables = [_Held.of(f"the learnable {n!r}", p) for n, p in module.named_parameters()]

    def first_written(self) -> tuple[_Held, str] | None:
        """Return what was written to, and by what."""
        torch.set_grad_enabled(self._gradients)
        zs = leaves(self._module(*self._xs))
        torch.set_grad_enabled(True)
        written = self._written("forward", [*self._inputs, *self._learnables])
        reached = [z for z in zs if z.requires_grad]
        asked = [t for t in [*self._leaves, *self._module.parameters()] if t.requires_grad]
        if written or not (self._gradients and reached and asked):
            return written
        dz = output_gradients(reached)
        given = [_Held.of("the output gradient", d) for d in dz]
        torch.autograd.grad(reached, asked, dz, allow_unused=True)
        return self._written("backward", [*given, *self._inputs, *self._learnables])

    def _written(self, step: str, held: Sequence[_Held]) -> tuple[_Held, str] | None:
        return next(((h, step) for h in held if h.written), None)


@register
class InputUnchanged(Check):
    """Forward and backward write neither to what they are given, nor to learnables, nor to settings of the whole program."""

    name = "input-unchanged"
    group = "behaviour"
    expects = "a layer that runs forward and backward"
    needs = ("modes",)

    def run(self, subject: Subject) -> Finding:
        torch.set_grad_enabled(True)
        before = settings()
        for training in (False, True):
            mode = mode_name(training)
            finding = _settings_changed(before, subject.built(training=training), subject.data(), mode)
            finding = finding or _changed_in_float64(before, subject, training=training)
            if finding is not None:
                return finding
            for gradients in (True, False):
                found = _Handed(subject.built(training=training), subject.data(), gradients=gradients).first_written()
                if found is not None:
                    return _written(subject, training, gradients, mode, *found)
        return passed("input, output gradient, learnables and settings are as they were")


def _changed_in_float64(before: dict[str, Any], subject: Subject, *, training: bool) -> Finding | None:
    """Return the failure that a setting follows the input, as a default dtype may; what raises is the question of dtypes."""
    try:
        module, xs = subject.built(torch.float64, training=training), subject.data(dtype=torch.float64)
        return _settings_changed(before, module, xs, mode_name(training))
    except Exception as error:
        if of_checker(error):
            raise
        return None


def _settings_changed(before: dict[str, Any], module: nn.Module, xs: Sequence[Tensor], mode: str) -> Finding | None:
    module(*(x.clone() for x in xs))
    changed = {name: value for name, value in settings().items() if value != before[name]}
    if not changed:
        return None
    name, value = next(iter(changed.items()))
    return failed(
        expected=f"{name} to be {before[name]} after a call in {mode}, as before",
        found=f"{value}",
        fix="Set nothing that holds for the whole program, or only in a with-block, as torch.no_grad()",
    )


def _written(subject: Subject, training: bool, gradients: bool, mode: str, held: _Held, step: str) -> Finding:
    parts = [sub for sub in subject.built().modules() if getattr(sub, "inplace", False)]
    cause, fix = "", _LEARNABLE if held.what.startswith("the learnable") else _NEW
    if parts:
        module = subject.built(training=training)
        for sub in module.modules():
            if getattr(sub, "inplace", False):
                setattr(sub, "inplace", False)  # noqa: B010  # no attribute that nn.Module would have
        if _Handed(module, subject.data(), gradients=gradients).first_written() is None:
            kind = type(parts[0]).__name__
            cause, fix = f"{kind} has inplace=True", f"Pass inplace=False to {kind}, or give it a tensor that nobody else has"
    if held.what == "the output gradient":
        fix = "Compute a new tensor in backward: dz belongs to the layer behind, and to others"
    return failed(
        expected=f"{held.what} to be as before, after {step} in {mode}",
        found=held.written,
        cause=cause,
        fix=fix,
    )
