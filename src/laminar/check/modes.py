"""Training and inference: both run, give the same shapes, and reach every module inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from laminar.check.base import Check, register
from laminar.check.blame import own_line
from laminar.check.comparing import gap
from laminar.check.outcome import Finding, failed, noted, passed
from laminar.check.running import run
from laminar.check.subject import Subject
from laminar.check.words import listed, mode_name, said, shapes_text

__all__ = ["Modes"]


@register
class Modes(Check):
    """Both modes run with the same shapes; `train()` and `eval()` return the module and reach all that runs in it."""

    name = "modes"
    group = "contract"
    expects = "a layer that runs in training and in inference mode"

    def run(self, subject: Subject) -> Finding:
        zs: list[list[Tensor]] = []
        hidden: list[nn.Module] = []
        for training in (True, False):
            module = subject.built(training=training)
            try:
                with _unreached(module, hidden):
                    zs.append(run(module, subject.data()))
            except Exception as error:
                line = own_line(error)
                fix = f"Look at {line}" if line else f"Call it after train({training}) and read the traceback"
                return failed(expected=f"an output in {mode_name(training)} mode", found=said(error), fix=fix)
        in_training, in_inference = (shapes_text(z.shape for z in of_mode) for of_mode in zs)
        finding = _switched(module)
        if finding:
            return finding
        if in_training != in_inference:
            expected = f"{in_training} in inference mode, as in training"
            return failed(expected=expected, found=in_inference, fix="Return the same shapes in both modes")
        if hidden:
            finding = _of_hidden(subject, zs[1])
        return finding or passed(f"{in_training} in training and in inference")


def _switched(module: nn.Module) -> Finding | None:
    """Return that `train()` or `eval()` does not do what it does for other modules."""
    for training in (False, True, False):
        method, returned = ("train()", module.train()) if training else ("eval()", module.eval())
        if returned is not module:
            found = "None" if returned is None else type(returned).__name__
            fix = "End train with: return super().train(mode)"
            return failed(expected=f"{method} to return the module", found=found, fix=fix)
        if training and not module.training:  # frozen as a whole; parts may be frozen too
            return noted("it stays in inference mode after train()")
        others = [] if training else [name or type(sub).__name__ for name, sub in module.named_modules() if sub.training]
        if others:
            return failed(
                expected="every module in it to be in inference mode after eval()",
                found=f"{listed([repr(name) for name in others])} still in training mode",
                fix="Call super().train(mode) in train: it reaches all modules inside",
            )
    return None


@contextmanager
def _unreached(module: nn.Module, found: list[nn.Module], *, switch_off: bool = False) -> Iterator[None]:
    """Note in `found` what runs in training mode inside, though `module` is in inference mode; turn that off if wanted."""
    known = set(module.modules())
    new: list[nn.Module] = []

    def note(sub: nn.Module, _: Any) -> None:
        if sub.training and sub not in known:
            new.append(sub)
            sub.training = not switch_off

    handle = register_module_forward_pre_hook(note)
    try:
        yield
    finally:
        handle.remove()
        for sub in new:
            sub.training = True
    found.extend(new if not module.training else [])


def _of_hidden(subject: Subject, before: Sequence[Tensor]) -> Finding | None:
    """Return the failure that a module runs that `eval()` does not reach, and that this changes the output `before`."""
    module = subject.built(training=False)
    hidden: list[nn.Module] = []
    with _unreached(module, hidden, switch_off=True):
        after = run(module, subject.data())
    change = gap(after, before).difference
    if not change:
        return None
    return failed(
        expected="eval() to reach every module that runs",
        found=f"{listed(sorted({type(sub).__name__ for sub in hidden}))} still in training mode, output off by {change:.2g}",
        fix="Create it in __init__ and assign it to an attribute of self, or put it into nn.ModuleList or nn.ModuleDict",
    )
