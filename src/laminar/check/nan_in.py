"""NaN among the inputs: it has to come out, and not to vanish."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from laminar.check.base import Check, register
from laminar.check.blame import of_checker
from laminar.check.outcome import Finding, failed, not_applicable, noted, passed
from laminar.check.precision import floats, modes_of, short
from laminar.check.running import copied, run
from laminar.check.subject import Subject
from laminar.check.watching import loses_nan

__all__ = ["NanIn"]

_BATCH = 4
_ONE = 1  # the observation that is, or holds, NaN
_PLACES = 4  # numbers that are NaN each for itself
_SMALL = 1e-3  # changes what follows the input, and hardly which of several numbers is the largest
_OTHERS = (8.0, -8.0)  # what a number is changed to, to see what depends on it


@register
class NanIn(Check):
    """NaN in gives NaN out: where an observation is NaN, and where a single number of it is."""

    name = "nan-in"
    group = "numerics"
    expects = "inputs with NaN to run"
    needs = ("modes", "deep-copy")

    def run(self, subject: Subject) -> Finding:
        if not subject.continuous:
            return not_applicable("whole numbers come in")
        if "nan" in subject.traits:
            return not_applicable("declares that it takes NaN out")
        depending = 0
        for training in modes_of(subject):
            trial = _Nan(subject, training=training)
            try:
                counted, failure = trial.whole()
                failure = failure or trial.single()
            except Exception as error:
                if of_checker(error):
                    raise
                return passed(f"refused aloud: {type(error).__name__}")
            if failure is not None:
                return failure
            depending = max(depending, counted)
        if not depending:
            return not_applicable("no output follows the input")
        return passed(f"NaN in all {depending} outputs that follow an observation of NaN")


class _Nan:
    """The layer in one mode, and what of one observation's output depends on what."""

    def __init__(self, subject: Subject, *, training: bool) -> None:
        self._subject = subject
        self._training = training
        self._module = subject.built(training=training)
        self._changes = "state" in subject.traits
        self._axes = subject.batch_axes
        self._xs = subject.data(_BATCH)
        self._usual = self._outputs(self._xs)

    def whole(self) -> tuple[int, Finding | None]:
        """Return how many outputs follow an observation, and a failure where fewer are NaN though that one is.

        They are counted and not compared one by one: of NaN, a maximum with its place may take another place.
        """
        following = int(self._depends([self._with(lambda x, i: x[_ONE] * (1 + _SMALL) + _SMALL)]).sum())
        broken = self._with(lambda x, i: torch.full_like(x[_ONE], math.nan))
        after = self._outputs(broken)
        lost = following - int((~after.isfinite()).sum())
        if lost <= 0:
            return following, None
        found = f"numbers in {lost} of {following} outputs that follow it"
        return 0, self._failure("an observation that is NaN", found, after[after.isfinite()], broken)

    def single(self) -> Finding | None:
        """Return a failure where no output that depends on a number is NaN though that number is."""
        for i in self._subject.continuous:
            numbers = self._xs[i][_ONE].numel()
            for place in range(0, numbers, max(1, -(-numbers // _PLACES))):
                depends = self._depends([self._put(i, place, value) for value in _OTHERS])
                if not bool(depends.any()):
                    continue
                broken = self._put(i, place, math.nan)
                after = self._outputs(broken)
                if not bool(after.isfinite().all()):
                    continue
                found = f"numbers in {int(depends.sum())} of {int(depends.sum())} outputs that follow it"
                return self._failure("a single input that is NaN", found, after[depends], broken)
        return None

    def _failure(self, what: str, found: str, values: Tensor, broken: Sequence[Tensor]) -> Finding:
        operation = loses_nan(self._module, broken)
        if operation.startswith("_scaled_dot_product"):
            return noted("torch's scaled_dot_product_attention makes 0 of NaN where keys are as few as here")
        mode = "" if self._training else " in inference"
        return failed(
            expected=f"NaN out, for {what}{mode}",
            found=f"{found}, {short(float(values[0]))} for one",
            cause=f"{operation} is given NaN there and returns none" if operation else "",
            fix="Use what keeps NaN: torch.relu, clamp, maximum, mean; torch.where(x < 0, 0, x), as NaN < 0 is false. If it is "
            'taken out on purpose, say so: declares = ("nan",)',
        )

    def _outputs(self, xs: Sequence[Tensor]) -> Tensor:
        """Return what the observation gives, in one line."""
        zs = run(copied(self._module) if self._changes else self._module, xs)
        kept = floats([z if a is None else z.select(a, _ONE) for z, a in zip(zs, self._axes, strict=True)])
        return torch.cat([z.flatten() for z in kept]) if kept else torch.zeros(0)

    def _depends(self, changed: Sequence[Sequence[Tensor]]) -> Tensor:
        """Return which outputs are others for any of the changed inputs."""
        usual = self._usual
        moved = torch.zeros_like(usual, dtype=torch.bool)
        for xs in changed:
            moved |= self._outputs(xs) != usual
        return moved & usual.isfinite()

    def _with(self, values: Callable[[Tensor, int], Tensor]) -> list[Tensor]:
        xs = [x.clone() for x in self._xs]
        for i in self._subject.continuous:
            xs[i][_ONE] = values(xs[i], i)
        return xs

    def _put(self, i: int, place: int, value: float) -> list[Tensor]:
        xs = [x.clone(memory_format=torch.contiguous_format) for x in self._xs]
        xs[i][_ONE].view(-1)[place] = value
        return xs
