"""Inputs far out, tiny, zero and equal: where the function and its slope are finite, output and gradient are to be, too."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from laminar.check.base import Check, register
from laminar.check.blame import of_checker
from laminar.check.outcome import Finding, failed, not_applicable, passed
from laminar.check.precision import floats, modes_of, short
from laminar.check.running import copied, gradients, output_gradients, run
from laminar.check.subject import Subject
from laminar.check.watching import SLOPE, makes_nonfinite

__all__ = ["ExtremeInputs"]

_FLOAT32_ENDS = 3.4e38
_SLOW = 1e30  # what grows fast enough to leave float64 within a doubling of its input is past this before it does
_HALVINGS = 14  # bring 1e4 below 1
_LOOKED_AT = 4  # numbers of a gradient that are compared with differences
_BATCH = 4

Arrange = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Pattern:
    """Inputs made from normal numbers.

    Attributes:
        text: what they are, after "for inputs".
        arrange: makes them.
        signs: which signs the large numbers among them have.
        vanishing: whether they are 0 or almost 0.
        only: the input that is so; all where None.
    """

    text: str
    arrange: Arrange
    signs: frozenset[int]
    vanishing: bool = False
    only: int | None = None

    def of(self, xs: Sequence[Tensor]) -> list[Tensor]:
        """Return the inputs, made from normal ones."""
        return [self.arrange(x) if x.is_floating_point() and self.only in (None, i) else x for i, x in enumerate(xs)]

    def alone(self, i: int) -> _Pattern:
        """Return the same of input i only, the others being normal."""
        return _Pattern(f"{self.text} in input {i}", self.arrange, self.signs, self.vanishing, i)


def _all(value: float) -> Arrange:
    return lambda x: torch.full_like(x, value)


def _signed(value: float) -> Arrange:
    return lambda x: torch.where(x < 0, -value, value).to(x)


def _every_second(value: float) -> Arrange:
    def arrange(x: Tensor) -> Tensor:
        index = torch.arange(x.numel(), device=x.device).reshape(x.shape)
        return torch.where(index % 2 == 0, value, x).to(x)

    return arrange


def _patterns() -> Iterator[_Pattern]:
    yield _Pattern("as usual", lambda x: x, frozenset({0}))
    for size in (100.0, 300.0, 1e4):
        for sign in (1, -1):
            value, signs = sign * size, frozenset({sign})
            yield _Pattern(f"of {value:g}", _all(value), signs)
            yield _Pattern(f"of which every second is {value:g}", _every_second(value), signs | {0})
        yield _Pattern(f"of {size:g} and {-size:g}", _signed(size), frozenset({1, -1}))
    yield _Pattern("of 0", _all(0.0), frozenset(), vanishing=True)
    yield _Pattern("of -0", _all(-0.0), frozenset(), vanishing=True)
    yield _Pattern("of which every second is 0", _every_second(0.0), frozenset({0}), vanishing=True)
    yield _Pattern("of 1e-30", _all(1e-30), frozenset({1}), vanishing=True)
    yield _Pattern("of 1e-30 and -1e-30", _signed(1e-30), frozenset({1, -1}), vanishing=True)
    yield _Pattern("that are all 1", _all(1.0), frozenset({1}))


_PATTERNS = tuple(_patterns())


@register
class ExtremeInputs(Check):
    """Far out, at 0 and near it, and for equal inputs, output and gradient are finite where the function and its slope are."""

    name = "extreme-inputs"
    group = "numerics"
    expects = "inputs of up to ±10000, of 0 and of ±1e-30 to run"
    needs = ("learnables-registered", "modes", "deep-copy")

    def run(self, subject: Subject) -> Finding:
        if not subject.continuous:
            return not_applicable("whole numbers come in")
        counted = 0
        for training in modes_of(subject):
            trial = _Trial(subject, training=training)
            if not trial.usual:
                return not_applicable("its output is not finite for ordinary inputs: pass sample=")
            patterns = trial.patterns
            if not any(p.signs - {0} or p.vanishing for p in patterns):
                return not_applicable("its domain ends where ordinary inputs end")
            wrong = [(p, w) for p in patterns if (w := trial.wrong(p)) is not None]
            counted += len(patterns)
            if wrong:
                return _failure(trial, wrong, len(patterns))
        return passed(f"finite for {counted} kinds of inputs: up to ±10000, 0, ±1e-30, equal")


@dataclass(frozen=True)
class _Wrong:
    """What is wrong for one pattern: what was found where, what is right there, and whether that is in the backward pass."""

    found: str
    right: str
    backward: bool


class _Trial:
    """The layer in one mode, in float32 and in float64, on arranged inputs."""

    def __init__(self, subject: Subject, *, training: bool) -> None:
        self.training = training
        self.usual_inputs = subject.data(_BATCH)
        self._layer = subject.built(training=training)
        self._exact = copied(self._layer).double()
        self._changes = "state" in subject.traits
        self._several = len(subject.continuous) > 1
        self._inputs = subject.continuous
        self._finite = [z.isfinite() for z in self.outputs(self.usual_inputs)]
        self.usual = any(bool(f.any()) for f in self._finite)

    @cached_property
    def patterns(self) -> list[_Pattern]:
        """The patterns within the layer's domain: a sign is out of it if numbers moderately larger than usual give NaN."""
        inside = frozenset(sign for sign in (1, -1) if self._takes(sign))
        usual = (0,) if bool(all(f.all() for f in self._finite)) else ()
        kept = [p for p in _PATTERNS if p.signs <= inside | set(usual) | ({0} if len(inside) == 2 else set())]
        if not inside:
            kept = [p for p in kept if not p.vanishing]
        alone = [p.alone(i) for p in kept if 0 not in p.signs for i in self._inputs] if self._several else []
        return kept + alone

    def _takes(self, sign: int) -> bool:
        largest = 2.0 * max(float(x.abs().max()) for x in self.usual_inputs if x.is_floating_point() and x.numel())
        pattern = _Pattern("", _every_second(sign * largest), frozenset())
        try:
            zs = self.outputs(pattern.of(self.usual_inputs), exact=True)
        except Exception as error:
            if of_checker(error):
                raise
            return False
        return all(bool(z.isfinite()[f].all()) for z, f in zip(zs, self._finite, strict=True) if z.shape == f.shape)

    def module(self, *, exact: bool = False) -> nn.Module:
        """Return the layer, in float64 if `exact`; a copy where a run changes it."""
        module = self._exact if exact else self._layer
        return copied(module) if self._changes else module

    def outputs(self, xs: Sequence[Tensor], *, exact: bool = False) -> list[Tensor]:
        """Return the floating-point outputs of a run."""
        return floats(run(self.module(exact=exact), _in_dtype(xs, exact)))

    # -- outputs --------------------------------------------------------------------------------------------------------

    def wrong(self, pattern: _Pattern) -> _Wrong | None:
        """Return what is wrong with output or gradient, else None."""
        xs = pattern.of(self.usual_inputs)
        found = gradients(self.module(), xs)
        zs = floats(found.outputs)
        for i, z in enumerate(zs):
            bad = ~z.isfinite()
            if i < len(self._finite) and self._finite[i].shape == z.shape:
                bad &= self._finite[i]
            if bool(bad.any()):
                wrong = self._wrong_output(pattern, xs, i, z, bad)
                if wrong is not None:
                    return wrong
        if not all(bool(z.isfinite().all()) for z in zs):
            return None
        for index, (name, g) in enumerate(found.named().items()):
            if g is not None and not bool(g.isfinite().all()):
                wrong = self._wrong_gradient(xs, index, name, g)
                if wrong is not None:
                    return wrong
        return None

    def _wrong_output(self, pattern: _Pattern, xs: Sequence[Tensor], i: int, z: Tensor, bad: Tensor) -> _Wrong | None:
        exact = self.outputs(xs, exact=True)[i]
        known = bad & (exact.abs() <= _FLOAT32_ENDS)
        if bool(known.any()):
            return _wrong_at(z, known, f"as float64 has it ({short(float(exact[known][0]))} there)")
        open_ = bad & ~exact.isfinite()
        if not bool(open_.any()):
            return None
        near = self._finite_limit(i, open_, pattern) if pattern.vanishing else self._slow_growth(xs, i, open_)
        return None if near is None else _wrong_at(z, *near)

    def _finite_limit(self, i: int, bad: Tensor, pattern: _Pattern) -> tuple[Tensor, str] | None:
        """Return where the output is NaN, or tends to a finite number as the inputs tend to 0."""
        at = self.outputs(pattern.of(self.usual_inputs), exact=True)[i]
        near, nearer = (self.outputs(self._vanishing(pattern, size), exact=True)[i] for size in (1e-30, 1e-60))
        settled = bad & near.isfinite() & nearer.isfinite() & (nearer.abs() <= 1.5 * near.abs() + 1e-20)
        if bool(settled.any()):
            return settled, f"as close to 0 ({short(float(nearer[settled][0]))} for inputs of 1e-60)"
        undefined = bad & at.isnan()
        return (undefined, "or a quotient by 0 kept out") if bool(undefined.any()) else None

    def _vanishing(self, pattern: _Pattern, size: float) -> list[Tensor]:
        signs = [torch.where(x < 0, -1.0, 1.0).double() for x in self.usual_inputs]
        arranged = pattern.of([x.double() if x.is_floating_point() else x for x in self.usual_inputs])
        pairs = zip(arranged, signs, strict=True)
        return [torch.where(x.abs() <= 1e-20, size * s, x) if x.is_floating_point() else x for x, s in pairs]

    def _slow_growth(self, xs: Sequence[Tensor], i: int, bad: Tensor) -> tuple[Tensor, str] | None:
        """Return where the output is small for the last of the halved inputs that float64 takes, so that it need not be lost.

        Inputs that differ a little tell a quotient of 0 by 0, which is NaN where all are equal, from a pole, which is infinite.
        """
        apart = self.outputs([_apart(x) if x.is_floating_point() else x for x in xs], exact=True)[i]
        undefined = bad & self._scaled(xs, 1.0)[i].isnan() & (apart.abs() < _SLOW)
        if bool(undefined.any()):
            return undefined, f"as for inputs that differ by a thousandth ({short(float(apart[undefined][0]))} there)"
        for factor in (0.999, 1.001):
            bad = bad & ~self._scaled(xs, factor)[i].isfinite()
        for n in range(1, _HALVINGS + 1):
            near = self._scaled(xs, 0.5**n)[i]
            small = bad & (near.abs() < _SLOW)
            if bool(small.any()):
                return small, f"as for inputs 1/{2**n} as large (float64 gives {short(float(near[small][0]))})"
            bad = bad & ~near.isfinite()
        return None

    def _scaled(self, xs: Sequence[Tensor], factor: float) -> list[Tensor]:
        return self.outputs([x.double() * factor if x.is_floating_point() else x for x in xs], exact=True)

    # -- gradients ------------------------------------------------------------------------------------------------------

    def _wrong_gradient(self, xs: Sequence[Tensor], index: int, name: str, g: Tensor) -> _Wrong | None:
        """Return what is wrong with a gradient that is not finite, where that of the function is."""
        exact = list(gradients(self.module(exact=True), _in_dtype(xs, True)).named().values())[index]
        bad = ~g.isfinite()
        places = bad.flatten().nonzero().flatten()
        for place in places[:: max(1, len(places) // _LOOKED_AT)][:_LOOKED_AT].tolist():
            value = math.nan if exact is None else float(exact.flatten()[place])
            if abs(value) <= _FLOAT32_ENDS:
                right = f"as float64 has it ({short(value)} there)"
            else:
                slopes = self._slopes(xs, index, place)
                if slopes is None:
                    continue
                right = f"as differences have it ({' and '.join(dict.fromkeys(short(s) for s in slopes))} there)"
            count = f"{int(bad.sum())} of {bad.numel()}"
            first = tuple(int(k) for k in torch.unravel_index(torch.tensor(place), g.shape))
            what = "NaN" if bool(g.flatten()[place].isnan()) else "inf"
            text = f"{what} in {count} numbers of the gradient of {name}, at {list(first)} for one"
            return _Wrong(text, f"a finite gradient, {right}", backward=True)
        return None

    def _slopes(self, xs: Sequence[Tensor], index: int, place: int) -> tuple[float, float] | None:
        """Return the one-sided slopes at one number; None where they grow as the steps shrink, or are not there."""
        found = []
        for side in (-1.0, 1.0):
            coarse, fine = (self._difference(xs, index, place, side * step) for step in (1e-2, 1e-8))
            if not math.isfinite(fine) or not math.isfinite(coarse) or abs(fine) > 2.5 * abs(coarse) + 1e-4:
                return None
            found.append(fine + 0.0)  # no -0
        return found[0], found[1]

    def _difference(self, xs: Sequence[Tensor], index: int, place: int, step: float) -> float:
        inputs = [x.clone() for x in _in_dtype(xs, True)]
        module = copied(self._exact)
        tensors = [*inputs, *(p for p in module.parameters() if p.requires_grad)]
        before = self._total(module, inputs)
        at = torch.unravel_index(torch.tensor(place), tensors[index].shape)
        moved = step * max(1.0, abs(float(tensors[index][at])))
        with torch.no_grad():
            tensors[index][at] += moved
        return (self._total(module, inputs) - before) / moved

    def _total(self, module: nn.Module, xs: Sequence[Tensor]) -> float:
        zs = [z for z in run(copied(module) if self._changes else module, xs) if z.is_floating_point()]
        return sum(float((z * dz).sum()) for z, dz in zip(zs, output_gradients(zs), strict=True))


def _apart(x: Tensor) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return x.double() * (1 + 1e-3 * torch.rand(x.shape, generator=random, dtype=torch.float64))


def _in_dtype(xs: Sequence[Tensor], exact: bool) -> list[Tensor]:
    return [x.double() if exact and x.is_floating_point() else x for x in xs]


def _wrong_at(z: Tensor, bad: Tensor, right: str) -> _Wrong:
    first = [int(k) for k in bad.nonzero()[0]]
    what = "NaN" if bool(z[bad].isnan().any()) else "inf"
    found = f"{what} in {int(bad.sum())} of {bad.numel()} outputs, at {first} first"
    return _Wrong(found, f"finite outputs, {right}", backward=False)


def _failure(trial: _Trial, wrong: Sequence[tuple[_Pattern, _Wrong]], asked: int) -> Finding:
    pattern, first = wrong[0]
    operation = makes_nonfinite(trial.module(), pattern.of(trial.usual_inputs), trial.usual_inputs, backward=first.backward)
    others = f"; also for {len(wrong) - 1} others of {asked} kinds of inputs" if len(wrong) > 1 else ""
    mode = "" if trial.training else " in inference"
    return failed(
        expected=f"{first.right}, for inputs {pattern.text}{mode}",
        found=first.found + others,
        cause=f"the first result that is not finite is that of {operation}" if operation else "",
        fix=_fix(operation, pattern, first),
    )


_FIXES = {
    ("exp", "expm1", "cosh", "sinh", "pow", "square"): "Keep the argument of {0} small: subtract the maximum first, clamp it "
    "(torch.exp(x.clamp(max=0)) where only x < 0 is used), or call softplus, logsumexp or log_softmax, which do",
    ("div", "reciprocal", "rsqrt"): "Keep the divisor from 0: add a small number, x / (norm + 1e-6), or clamp it, "
    "norm.clamp(min=1e-6)",
    ("log", "log2", "log10", "log1p"): "Keep the argument of {0} from 0: by log_softmax, logsigmoid or logsumexp in place of "
    "the logarithm of what they give, or by clamp(min=1e-6)",
    ("sqrt", "norm", "linalgvectornorm", "std"): "Add a small number inside the root: torch.sqrt(y.square().sum() + 1e-12)",
}


def _fix(operation: str, pattern: _Pattern, wrong: _Wrong) -> str:
    slope, name = operation.startswith(SLOPE), operation.removeprefix(SLOPE)
    if name == "pow" and (slope or pattern.vanishing):
        name = "sqrt"
    for names, text in _FIXES.items():
        if name in names and not (slope and name == "exp"):
            return text.format(name)
    if wrong.backward:
        return (
            "Keep the branches of torch.where that are not taken finite, too: it multiplies their gradient by 0, and infinity "
            "times 0 is NaN"
        )
    return "Rearrange the formula so that nothing on the way is larger than what goes in and comes out"
