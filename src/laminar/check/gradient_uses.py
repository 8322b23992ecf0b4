"""The gradient in all that is done with it: taken in other layouts, differentiated again, frozen in part, used twice."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import torch
from torch import Tensor

from laminar.check.base import Check, register
from laminar.check.blame import of_checker, own_line
from laminar.check.measured import Measured, modes_of, refusal
from laminar.check.outcome import Finding, failed, not_applicable, passed
from laminar.check.second_derivative import Unclear, second_of
from laminar.check.slopes import Point
from laminar.check.subject import Subject
from laminar.check.uses import LAYOUTS, Layout, after_backward, call, different, frozen, pulled
from laminar.check.words import listed, said

__all__ = ["Frozen", "GradientLayouts", "SecondDerivative", "UsedTwice"]

_FROZEN_ALONE = 6  # learnables that are frozen one by one


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
                if of_checker(error):
                    raise
                refused = said(error)
                line = own_line(error)
                strides = "contiguous" in refused or "stride" in refused
                fix = "Make it contiguous() first" if strides else "Let backward take any strides"
                fix = "Use reshape() in place of view() in backward" if "view" in refused else fix
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
            right = pulled(point.module, [plain], [[d.clone(memory_format=torch.contiguous_format) for d in dz]])
            point.restore()
            made = call(point.module, [_asking(x) for x in xs])
        except Exception as error:
            if of_checker(error):
                raise
            return None
        if not all(map(_close, made.outputs, plain.outputs)) or not all(bool(z.isfinite().all()) for z in plain.outputs):
            return None
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
    needs = ("learnables-stable", "gradient-differences", "gradient-scale")

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
            if of_checker(error):
                raise
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
            if of_checker(error):
                raise
            return not_applicable(f"a second call does not work by itself: {said(error)}")
        point.restore()
        calls = [call(point.module, list(map(_asking, x)), seed=i) for i, x in enumerate(xs)]
        if not all(map(_close, [z for c in calls for z in c.outputs], outputs)):
            return not_applicable("its output changes from call to call: no-hidden-state says so")
        text = different(pulled(point.module, calls, [point.output_gradients, point.output_gradients]), total)
        if not text:
            return passed("two calls in one graph: the sum of both gradients; .grad gets each once")
        return failed(
            expected=self.expects,
            found=text,
            cause=self._cause(point, xs, alone[0]),
            fix="Hand what backward needs, and what forward drew, to it by memory (return z, memory) or ctx.save_for_backward"
            if _draws_in_backward(point)
            else "Hand what backward needs to it by memory (return z, memory) or ctx.save_for_backward, not by an attribute",
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
        if _draws_in_backward(point):
            return "backward draws random numbers of its own, others than those of forward"
        point.restore()
        made = [call(point.module, list(map(_asking, x)), seed=i) for i, x in enumerate(xs)]
        named = pulled(point.module, made[:1], [point.output_gradients])
        first = {n if n in point.learnables else f"{n} of call 1": g for n, g in named.items()}
        if not different(first, alone):
            return ""
        return "once it was called again, the gradient of the first call is another: something is kept from the last call"


def _asking(x: Tensor) -> Tensor:
    return x.detach().requires_grad_(x.is_floating_point())


def _draws_in_backward(point: Point) -> bool:
    point.restore()
    made = call(point.module, list(map(_asking, point.xs)))
    before = torch.get_rng_state()
    pulled(point.module, [made], [point.output_gradients])
    return not torch.equal(before, torch.get_rng_state())


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-9, atol=1e-11, equal_nan=True)


def _inputs(mode: Measured) -> list[str]:
    return [n for n in mode.names if n not in mode.point.learnables]


def _summed(gradients: dict[str, Tensor | None], point: Point) -> dict[str, Tensor | None]:
    return {n: g if g is None or n in point.learnables else g.sum() for n, g in gradients.items()}
