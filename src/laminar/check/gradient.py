"""The gradient of a layer, in float64: against autograd, against differences, at kinks, and in all that is done with it."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from laminar.check.base import Check, register
from laminar.check.blame import own_line
from laminar.check.factors import constant_text
from laminar.check.kinks import AtKink, at_kinks, at_ties, outside
from laminar.check.measured import Measured, modes_of, refusal
from laminar.check.mistakes import Mistake, Right, compared, likely_cause
from laminar.check.outcome import Finding, failed, not_applicable, passed
from laminar.check.scaled import factor_of, scaled
from laminar.check.second import Unclear, second_of
from laminar.check.slopes import Point
from laminar.check.subject import Subject
from laminar.check.uses import LAYOUTS, Layout, after_backward, call, different, frozen, pulled
from laminar.check.words import listed, said
from laminar.errors import LaminarError

__all__ = [
    "BackwardAutograd",
    "Frozen",
    "GradientDifferences",
    "GradientKinks",
    "GradientLayouts",
    "GradientScale",
    "SecondDerivative",
    "UsedTwice",
]

_FROZEN_ALONE = 6  # learnables that are frozen one by one
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
            rights = {name: mode.from_autograd(name) for name in mode.names}
        except Exception as error:
            return f"autograd cannot differentiate forward: {said(error)}", [], {}
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
                seen += settled
                if wrong:
                    return _at_kinks_wrong(mode, wrong, settled)
        if not seen:
            return not_applicable("there is no number at which both slopes exist and the gradient is right elsewhere")
        return passed(f"{seen} numbers at 0, ±1/2, ±1, ±3, ±6 and in ties: between the slopes to both sides")


class _Used(Check):
    """What the checks have in common that compare the gradients in use with themselves."""

    group = "gradient"

    def run(self, subject: Subject) -> Finding:
        reason = refusal(subject, by_differences=False)
        if reason:
            return not_applicable(reason)
        mode = modes_of(subject)[0]
        if mode.error:
            return not_applicable("there is no gradient: gradient-differences says why")
        return self.measure(subject, mode)

    @abc.abstractmethod
    def measure(self, subject: Subject, mode: Measured) -> Finding:
        """Return the answer for a layer whose gradients could be taken."""


@register
class GradientLayouts(_Used):
    """The gradients depend on the numbers alone, not on how input and output gradient lie in memory."""

    name = "gradient-layouts"
    expects = "the same gradients for any strides"

    def measure(self, subject: Subject, mode: Measured) -> Finding:
        agreed = []
        for layout in LAYOUTS:
            try:
                refused = self._difference(mode.point, layout)
            except Exception as error:
                refused = said(error)
                line = own_line(error)
                fix = "Use reshape() in place of view() in backward" if "view" in refused else "Make it contiguous() first"
                return failed(
                    expected=f"the gradients of contiguous tensors, for {layout.text}",
                    found=refused,
                    fix=f"{fix}: {line}" if line else fix,
                )
            if refused:
                return failed(
                    expected=f"the gradients of contiguous tensors, for {layout.text}",
                    found=refused,
                    fix="Write backward without strides: no as_strided, no data_ptr; new tensors by torch.empty(x.shape)",
                )
            if refused is not None:
                agreed.append(layout)
        if not agreed:
            return not_applicable("its forward takes no other layout, or gives another output for it: non-contiguous says so")
        return passed(f"the same gradients for {len(agreed)} layouts, transposed and expanded")

    def _difference(self, point: Point, layout: Layout) -> str | None:
        """Return what differs in a layout, "" if nothing does; None where forward itself does not take it."""
        xs = [layout.laid_out(x) if layout.of_input else x.clone() for x in point.xs]
        dz = [d.clone() if layout.of_input else layout.laid_out(d) for d in point.output_gradients]
        try:
            point.restore()
            plain = call(point.module, [_asking(x.contiguous().clone()) for x in xs])
            point.restore()
            made = call(point.module, [_asking(x) for x in xs])
        except Exception:
            return None
        if not all(map(_close, made.outputs, plain.outputs)) or not all(bool(z.isfinite().all()) for z in plain.outputs):
            return None
        right = pulled(point.module, [plain], [[d.contiguous() for d in dz]])
        found = pulled(point.module, [made], [dz])
        if layout.of_input and layout.constant:  # of equal numbers the sum is settled, not which of them gets a maximum's share
            found, right = _summed(found, point), _summed(right, point)
        rounding = 1e-9 * max(float(d.abs().max()) for d in point.output_gradients if d.numel())
        return different(found, right, tolerance=max(1e-7, 1e3 * point.grain), floor=rounding)


@register
class SecondDerivative(_Used):
    """The second derivative is right, or refused in words; not silently zero."""

    name = "second-derivative"
    expects = "a second derivative, or a refusal that says so"
    needs = ("gradient-differences", "gradient-scale")

    def measure(self, subject: Subject, mode: Measured) -> Finding:
        if "surrogate" in subject.traits:
            return not_applicable("declared: its gradient is not that of its function")
        try:
            second = second_of(mode)
        except Unclear as error:
            cause = error.__cause__ or error
            fix = "Decorate backward of the autograd function with once_differentiable"
            return failed(expected=self.expects, found=said(cause), fix=fix)
        if second.refused:
            return passed(f"refused: {second.refused}")
        if second.wrong:
            name, found, right = second.wrong
            where = mode.written_by or "forward"
            fix = f"Compute in {where} with what autograd follows (saved tensors, no .data, no constants of forward)"
            return failed(
                expected=f"a slope of the gradient of {right:.6g} along a direction of {name}, by differences; or a refusal",
                found="none: autograd sees a constant" if second.silent else f"{found:.6g}",
                fix=f"{fix}, or refuse with once_differentiable",
            )
        if not second.compared:
            return not_applicable("the gradient jumps wherever it was looked at")
        if second.size == 0:
            return passed("0, as by differences: the gradient does not change")
        return passed(f"right in {second.compared} directions")


@register
class Frozen(_Used):
    """What is frozen gets no gradient, and everything else the same as before."""

    name = "frozen"
    expects = "gradients for all that is not frozen, and no exception"

    def measure(self, subject: Subject, mode: Measured) -> Finding:
        learnables = list(mode.point.learnables)
        if not learnables:
            return not_applicable("no learnables")
        before = after_backward(mode.point)
        alone = [[n] for n in learnables[:_FROZEN_ALONE]] if len(learnables) > 1 else []
        for names in [*alone, learnables, []]:
            finding = self._with(mode, names, before)
            if finding:
                return finding
        return passed(f"{listed(learnables)}: alone and together, and the input")

    def _with(self, mode: Measured, names: list[str], before: dict[str, Tensor | None]) -> Finding | None:
        """Return what goes wrong with some learnables frozen, or, without names, with an input that asks for no gradient."""
        case = f"{listed(names)} frozen" if names else "an input that asks for no gradient"
        still = names or _inputs(mode)
        try:
            with frozen(mode.module, names):
                found = after_backward(mode.point, inputs=bool(names))
        except Exception as error:
            line = own_line(error)
            fix = f"Let backward do without the gradient of {listed(still)}" + (f": {line}" if line else "")
            return failed(expected=self.expects, found=f"with {case}: {said(error)}", fix=fix)
        given = [n for n in still if found[n] is not None]
        if given:
            fix = "Leave requires_grad and .grad to the user: the layer must not set them"
            return failed(expected=f"no gradient for {listed(still)}, with {case}", found=f"one for {listed(given)}", fix=fix)
        text = different(found, {n: g for n, g in before.items() if n not in still})
        if not text:
            return None
        fix = f"Compute each gradient on its own condition: that of {listed(still)} must not decide over others"
        return failed(expected=f"all other gradients as before, with {case}", found=text, fix=fix)


@register
class UsedTwice(_Used):
    """Two calls in one graph give the sum of their gradients, and `.backward()` adds each once to `.grad`."""

    name = "used-twice"
    expects = "for two calls in one graph the sum of both gradients"

    def measure(self, subject: Subject, mode: Measured) -> Finding:
        twice = different(after_backward(mode.point), mode.found)
        if twice:
            return failed(
                expected="in .grad, after backward(), the gradient that the layer returns to autograd",
                found=twice,
                cause="something other than autograd writes or adds to .grad",
                fix="Return the gradient from backward and leave .grad to autograd",
            )
        point = mode.point
        xs = [point.xs, list(subject.data(point.xs[0].shape[0], torch.float64, seed=1))]
        try:
            alone, outputs = self._alone(point, xs)
            total = {**alone[0], **alone[1], **self._sums(alone)}
        except Exception as error:
            return not_applicable(f"a second call does not work by itself: {said(error)}")
        point.restore()
        calls = [call(point.module, list(map(_asking, x)), seed=i) for i, x in enumerate(xs)]
        if not all(map(_close, [z for c in calls for z in c.outputs], outputs)):
            return not_applicable("its output changes from call to call: no-hidden-state says so")
        text = different(pulled(point.module, calls, [point.output_gradients] * 2), total)
        if not text:
            return passed("two calls in one graph: the sum of both gradients; .grad gets each once")
        return failed(
            expected=self.expects,
            found=text,
            cause=self._cause(point, xs, alone[0]),
            fix="Hand what backward needs to it by memory (return z, memory) or ctx.save_for_backward, not by an attribute",
        )

    def _alone(self, point: Point, xs: Sequence[Sequence[Tensor]]) -> tuple[list[dict[str, Tensor | None]], list[Tensor]]:
        """Return the gradients of each call, taken before the next, and all outputs."""
        point.restore()
        found, outputs = [], []
        for i, x in enumerate(xs):
            made = call(point.module, list(map(_asking, x)), seed=i)
            named = pulled(point.module, [made], [point.output_gradients])
            found.append({n if n in point.learnables else f"{n} of call {i + 1}": g for n, g in named.items()})
            outputs += made.outputs
        return found, outputs

    def _sums(self, alone: Sequence[dict[str, Tensor | None]]) -> dict[str, Tensor | None]:
        both = {n: [g for g in (alone[0][n], alone[1][n]) if g is not None] for n in alone[0] if n in alone[1]}
        return {n: sum(found[1:], found[0]) if found else None for n, found in both.items()}

    def _cause(self, point: Point, xs: Sequence[Sequence[Tensor]], alone: dict[str, Tensor | None]) -> str:
        point.restore()
        made = [call(point.module, list(map(_asking, x)), seed=i) for i, x in enumerate(xs)]
        named = pulled(point.module, made[:1], [point.output_gradients])
        first = {n if n in point.learnables else f"{n} of call 1": g for n, g in named.items()}
        if not different(first, alone):
            return ""
        return "once it was called again, the gradient of the first call is another: something is kept from the last call"


def _asking(x: Tensor) -> Tensor:
    return x.detach().requires_grad_(x.is_floating_point())


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-9, atol=1e-11, equal_nan=True)


def _inputs(mode: Measured) -> list[str]:
    return [n for n in mode.names if n not in mode.point.learnables]


def _summed(gradients: dict[str, Tensor | None], point: Point) -> dict[str, Tensor | None]:
    return {n: g if g is None or n in point.learnables else g.sum() for n, g in gradients.items()}


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
    if isinstance(error, LaminarError):  # it says itself what to do, in its last sentence
        text, _, fix = str(error).strip().rstrip(".").rpartition(". ")
        return failed(expected=expected, found=f"{mode.where}{type(error).__name__}: {text or fix}", fix=fix)
    line = own_line(error)
    fix = f"Look at {line}" if line else "Call backward() on the sum of its output and read the traceback"
    return failed(expected=expected, found=f"{mode.where}{said(error)}", fix=fix)


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
