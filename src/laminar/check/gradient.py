"""The gradient of a layer, in float64: against autograd, against differences, and at kinks."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence

import torch

from laminar.check.base import Check, register
from laminar.check.blame import own_line
from laminar.check.elsewhere import wrong_elsewhere
from laminar.check.factors import constant_text
from laminar.check.kinks import AtKink, at_kinks, at_ties, outside
from laminar.check.measured import Measured, modes_of, refusal
from laminar.check.mistakes import Mistake, Right, compared, likely_cause
from laminar.check.outcome import Finding, failed, not_applicable, passed
from laminar.check.scaled import factor_of, scaled
from laminar.check.subject import Subject
from laminar.check.words import advised, listed, said

__all__ = ["BackwardAutograd", "GradientDifferences", "GradientKinks", "GradientScale"]

_SCALED = "wrong by a factor only: gradient-scale says which"


class _AgainstTruth(Check):
    """What the checks have in common that measure the gradient itself."""

    group = "gradient"
    tells_errors = False
    """Whether it is this check that says what the layer raises instead of gradients."""

    def run(self, subject: Subject) -> Finding:
        reason = refusal(subject)
        if reason:
            return not_applicable(reason)
        modes = modes_of(subject)
        for mode in modes:
            if mode.error and not self.tells_errors:
                return not_applicable("there is no gradient: gradient-differences says why")
            if mode.error:
                return _raised(mode, mode.error, self.expects)
        return self.measure(subject, modes)

    @abc.abstractmethod
    def measure(self, subject: Subject, modes: Sequence[Measured]) -> Finding:
        """Return the answer for a layer whose gradients could be taken."""


@register
class BackwardAutograd(_AgainstTruth):
    """The layer's own backward gives what autograd makes of its forward."""

    name = "backward-autograd"
    expects = "the gradients that autograd makes of forward"
    tells_errors = True

    def run(self, subject: Subject) -> Finding:
        if not subject.handwritten:
            return not_applicable("no backward of its own")
        return super().run(subject)

    def measure(self, subject: Subject, modes: Sequence[Measured]) -> Finding:
        largest = 0.0
        for mode in modes:
            reason, mistakes, rights = self._mistakes(mode)
            if reason:
                return not_applicable(reason)
            others = [m for m in mistakes if m.name not in scaled(subject, mode)] if mistakes else []
            if others:
                return _wrong(mode, others, rights, self.expects)
            if mistakes:
                return not_applicable(_SCALED)
            largest = max([largest, *(_off(mode, n, rights[n]) for n in mode.names)])
        return passed(f"{listed(modes[0].names)}: off by {largest:.0e} of the largest number{_modes_text(modes)}")

    def _mistakes(self, mode: Measured) -> tuple[str, list[Mistake], dict[str, Right]]:
        try:
            _ = mode.autograd
        except Exception as error:
            return f"autograd cannot differentiate forward: {said(error)}", [], {}
        rights = {name: mode.from_autograd(name) for name in mode.names}
        found = (compared(n, mode.found[n], rights[n], tuple(mode.point.tensors[n].shape)) for n in mode.names)
        mistakes = [m for m in found if m]
        if mistakes and not mode.autograd_is_right():
            return "forward hides something from autograd, whose gradient is not that of central differences", [], {}
        return "", mistakes, rights


@register
class GradientDifferences(_AgainstTruth):
    """The gradient in use is the slope that central differences see, for inputs and learnables, in both modes."""

    name = "gradient-differences"
    expects = "the gradients that central differences give"
    tells_errors = True

    def measure(self, subject: Subject, modes: Sequence[Measured]) -> Finding:
        numbers, kinks, largest = 0, 0, 0.0
        for mode in modes:
            mistakes = mode.mistakes()
            others = [m for m in mistakes if m.name not in scaled(subject, mode)] if mistakes else []
            rights = {n: mode.right(n) for n in mode.names}
            if others:
                return _wrong(mode, others, rights, self.expects)
            if mistakes:
                return not_applicable(_SCALED)
            numbers += sum(len(r.where) for r in rights.values())
            kinks += sum(mode.undecided(n) for n in mode.names)
            finding = wrong_elsewhere(subject, mode)
            if finding:
                return finding
            largest = max([largest, *(_off(mode, n, rights[n]) for n in mode.names)])
        if kinks > numbers / 2:
            return not_applicable(f"the function is not smooth, or not finite, at {kinks} of {numbers} numbers")
        left = f"; {kinks} left out, at kinks or hidden by rounding" if kinks else ""
        grain = modes[0].point.grain
        rounded = f"; inside it rounds to {grain:.0e}, as float32 does" if grain else ""
        text = f"{numbers} numbers of {listed(modes[0].names)}: off by {largest:.0e} of the largest"
        return passed(text + _modes_text(modes) + left + rounded)


@register
class GradientScale(_AgainstTruth):
    """No gradient is a constant times the right one: a sign, the size of the batch, a 2."""

    name = "gradient-scale"
    expects = "gradients that are 1 times those of central differences"

    def measure(self, subject: Subject, modes: Sequence[Measured]) -> Finding:
        for mode in modes:
            wrong = scaled(subject, mode)
            if wrong:
                found = listed([f"the gradient of {s.name} is {constant_text(s.factor)} times it" for s in wrong.values()])
                first = next(iter(wrong.values()))
                return failed(
                    expected=f"the gradient of {listed(list(wrong))} that central differences give",
                    found=mode.where + found,
                    cause=first.cause,
                    fix=first.fix if mode.written_by else _take_out(mode, first.name),
                )
        others = [m.name for mode in modes for m in mode.mistakes()]
        if others:
            return passed(f"{listed(sorted(set(others)))}: wrong, but by no common factor")
        factors = {n: c for n in modes[0].names if (c := factor_of(modes[0], n))}
        if not factors:
            return not_applicable("there is no gradient that differences tell from 0")
        return passed(f"{listed(list(factors))}: 1 times the right one, to {max(abs(c - 1) for c in factors.values()):.0e}")


@register
class GradientKinks(_AgainstTruth):
    """At kinks (0, where pieces meet, ties) the gradient is finite and between the slopes to both sides."""

    name = "gradient-kinks"
    expects = "a finite gradient between the slopes to both sides"

    def measure(self, subject: Subject, modes: Sequence[Measured]) -> Finding:
        seen = 0
        if not subject.continuous:
            return not_applicable("its inputs are whole numbers")
        for mode in modes:
            if mode.point.grain:
                return not_applicable("inside it rounds as float32 does: one-sided slopes say nothing")
            point, places = at_kinks(subject, mode)
            if point.error:
                return failed(expected=self.expects, found=said(point.error), fix="Call it on zeros and read the traceback")
            elsewhere = {m.name for m in mode.mistakes()}
            for name in point.names:
                if name in elsewhere:
                    continue
                gradient = point.found[name]
                broken = [] if gradient is None else torch.nonzero(~gradient.reshape(-1).isfinite())[:5].tolist()
                wrong, settled = outside(point, name, [*places.get(name, []), *map(tuple, broken)])
                seen += settled
                if wrong:
                    return _at_kinks_wrong(mode, wrong, settled)
            constant, whole = at_ties(subject, mode)
            for name, groups in whole.items() if not constant.error else ():
                wrong, settled = outside(constant, name, groups if name not in elsewhere else [])
                if wrong and not mode.written_by:
                    # of ties that meet again, as those of a maximum over steps in a sum, the slopes to both sides are no bounds
                    wrong = [w for w in wrong if "together" in w.place or not math.isfinite(w.found)]
                seen += settled
                if wrong:
                    return _at_kinks_wrong(mode, wrong, settled)
        if not seen:
            return not_applicable("there is no number at which both slopes exist and the gradient is right elsewhere")
        return passed(f"{seen} numbers at 0, ±1/2, ±1, ±3, ±6 and in ties: between the slopes to both sides")


def _at_kinks_wrong(mode: Measured, wrong: Sequence[AtKink], settled: int) -> Finding:
    first = wrong[0]
    values = sorted({w.value for w in wrong})
    together = "together" in first.place
    more = f" ({len(wrong)} of {settled} numbers)" if len(wrong) > 1 else ""
    side = f"{first.low:.6g}" if math.isclose(first.low, first.high, rel_tol=1e-4) else f"{first.low:.6g} to {first.high:.6g}"
    cause, fix = "", f"Take the slope of one side at {first.value:g}: one of the pieces must include it"
    if not math.isfinite(first.found):
        fix = f"Keep 0/0 and 0·inf out of the gradient at {first.value:g}: choose the input of the function, not its result"
    if all("together" in w.place for w in wrong):
        cause = "each of the equal numbers by itself is right: only their sum is wrong"
        fix = "Share the gradient among equal numbers, or give it to one of them"
    elif len(wrong) > 1 and len(values) == 1:
        cause = f"it is wrong only at {values[0]:g}"
    place = f"{first.place}, equal to {first.value:g}" if together else f"{first.place} = {first.value:g}"
    return failed(
        expected=f"a gradient of {side} at {place}, between the slopes to both sides",
        found=f"{mode.where}{first.found:.6g}{more}",
        cause=cause,
        fix=fix,
    )


def _raised(mode: Measured, error: Exception, expected: str) -> Finding:
    line = own_line(error)
    found, fix = advised(
        error, f"Look at {line}" if line else "Call backward() on the sum of its output and read the traceback"
    )
    return failed(expected=expected, found=mode.where + found, fix=fix)


def _wrong(mode: Measured, mistakes: Sequence[Mistake], rights: dict[str, Right], expected: str) -> Finding:
    first = mistakes[0]
    cause = likely_cause(mistakes, mode.found, rights, mode.point.tensors)
    return failed(
        expected=f"{expected}, in {listed([m.name for m in mistakes])}",
        found=mode.where + "; ".join(map(str, mistakes[:3])),
        cause=cause,
        fix=_fix(mode, first),
    )


def _fix(mode: Measured, mistake: Mistake) -> str:
    written = mode.written_by
    if written:
        return f"Correct the gradient of {mistake.name} in {written}"
    return _take_out(mode, mistake.name)


def _take_out(mode: Measured, name: str) -> str:
    way = "forward" if mode.training else "forward or predict"
    return f"Take detach(), .data, no_grad() and conversions to NumPy or to numbers out of what {way} does with {name}"


def _off(mode: Measured, name: str, right: Right) -> float:
    """Return how far the gradient is off where it is known, relative to the largest number."""
    found = mode.found[name]
    finite = right.values.isfinite() & (right.slack <= 1e-3 * right.values.nan_to_num().abs().max())
    if found is None or not bool(finite.any()):
        return 0.0
    size = float(right.values[finite].abs().max())
    off = float((found.double().reshape(-1)[right.where][finite] - right.values[finite]).abs().max())
    return off / size if size else 0.0


def _modes_text(modes: Sequence[Measured]) -> str:
    return ", in both modes" if len(modes) > 1 else ""
