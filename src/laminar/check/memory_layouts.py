"""How inputs lie in memory: channels last, with gaps, with their axes in another order."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from laminar.check.base import Check, register
from laminar.check.blame import own_line
from laminar.check.comparing import ROUNDING
from laminar.check.differences import SAME, largest_difference
from laminar.check.outcome import Finding, failed, not_applicable, passed
from laminar.check.running import copied, gradients, leaves, run
from laminar.check.subject import Subject
from laminar.check.words import said
from laminar.seeding import seed_all

__all__ = ["ChannelsLast", "NonContiguous"]


@register
class ChannelsLast(Check):
    """Images whose channels lie next to each other in memory give the same output and gradients."""

    name = "channels-last"
    group = "placement"
    expects = "the same output for an input in torch.channels_last"
    needs = ("deterministic",)

    def run(self, subject: Subject) -> Finding:
        if not any(x.dim() == 4 for x in subject.data(1)):
            return not_applicable("no input of shape (C, H, W)")
        worst = SAME
        for training in _modes(subject):
            module = subject.built(training=training)
            other = copied(module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
            xs = [x.to(memory_format=torch.channels_last) if x.dim() == 4 else x for x in subject.data()]
            want = gradients(module, subject.data())
            try:
                seen = gradients(other, xs)
            except Exception as error:
                return _refused(self.expects, error)
            found = largest_difference(seen, want)
            if found.error > ROUNDING:
                return failed(expected=self.expects, found=found.text, fix=_BY_AXES)
            worst = max(worst, found, key=lambda d: d.error)
        return passed(f"output and gradients: {worst.sameness}")


@register
class NonContiguous(Check):
    """Inputs with gaps in memory, or with their axes in another order there, give the same output."""

    name = "non-contiguous"
    group = "placement"
    expects = "the same output for an input that is not contiguous"
    needs = ("deterministic",)

    def run(self, subject: Subject) -> Finding:
        worst = SAME
        for training in _modes(subject):
            module = subject.built(training=training)
            for layout, lay in _LAYOUTS.items():
                one, other = copied(module), copied(module)
                xs = subject.data()
                want = run(one, xs)
                laid = [lay(x) for x in xs]
                try:
                    seed_all(0)
                    with torch.no_grad():
                        seen = leaves(other(*laid))
                except Exception as error:
                    return _refused(f"{self.expects} ({layout})", error)
                found = largest_difference(seen, want)
                if found.error > ROUNDING:
                    return failed(expected=f"{self.expects} ({layout})", found=found.text, fix=_BY_AXES)
                worst = max(worst, found, key=lambda d: d.error)
        return passed(f"{', '.join(_LAYOUTS)}: {worst.sameness}")


def _transposed(x: Tensor) -> Tensor:
    return x.transpose(0, -1).contiguous().transpose(0, -1)


def _with_gaps(x: Tensor) -> Tensor:
    wide = torch.zeros(*x.shape[:-1], 2 * x.shape[-1], dtype=x.dtype) if x.dim() else x
    wide[..., ::2] = x
    return wide[..., ::2]


_LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "axes in another order in memory": _transposed,
    "every second number of a larger tensor": _with_gaps,
}
_BY_AXES = "Look at numbers by their axes, not by their place in memory: no as_strided, storage or data_ptr; reshape for view"


def _modes(subject: Subject) -> tuple[bool, ...]:
    """Return the modes in which two layouts can be compared: what is drawn for one is not what is drawn for the other."""
    return (False,) if "random" in subject.traits else (True, False)


def _refused(expected: str, error: Exception) -> Finding:
    """Return the failure of a layer that takes contiguous inputs and not this one."""
    line = own_line(error)
    fix = "Use reshape(...) for view(...)" if "view" in str(error) else "Call x.contiguous() first where the layer needs it"
    return failed(expected=expected, found=said(error), cause=f"raised in {line}" if line else "", fix=fix)
