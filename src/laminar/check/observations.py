"""One observation does not see the others of its batch, nor its place among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from laminar.check.base import Check, register
from laminar.check.comparing import Gap, declare, gap, taken
from laminar.check.outcome import Finding, failed, not_applicable, passed
from laminar.check.running import run
from laminar.check.subject import BATCH, Subject
from laminar.check.words import mode_name

__all__ = ["BatchOrder", "ObservationsIndependent", "coupled_in_training"]

_EVERYONE = tuple(range(BATCH))
_ORDER = (2, 0, 3, 1)
_NO_AXIS = "no tensor of its output has an axis of observations"

Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class _Seen:
    """One observation that another batch gives other numbers.

    Attributes:
        observation: which.
        change: what was done to the batch, in words that follow "when".
        by: how much its output changed.
        others: the observations that were replaced; none where it was only taken out or moved.
    """

    observation: int
    change: str
    by: Gap
    others: tuple[int, ...] = ()


class _Company:
    """A module in one mode, and its outputs for batches that have observations in common."""

    def __init__(self, subject: Subject, *, training: bool, change: Callable[[nn.Module], None] | None = None) -> None:
        self._copy = partial(subject.built, training=training)
        self._change = change
        self.axes = subject.batch_axes
        self.mode = mode_name(training)
        self.xs, self.ys = subject.data(), subject.data(seed=1)
        self._any_numbers = subject.any_numbers
        self._first = self.outputs(self.xs)
        self._drawn = torch.get_rng_state()
        torch.manual_seed(0)
        self.draws = not torch.equal(self._drawn, torch.get_rng_state())

    def outputs(self, xs: Batch) -> list[Tensor]:
        """Return the outputs of a copy, the same numbers being drawn each time."""
        module = self._copy()
        if self._change is not None:
            self._change(module)
        return run(module, xs)

    @property
    def as_before(self) -> bool:
        """Whether the last run drew as many numbers as the first."""
        return torch.equal(self._drawn, torch.get_rng_state())

    def replaced(self, observations: Sequence[int], by: Batch) -> Batch:
        """Return the batch with some of its observations replaced by those of another."""
        chosen = torch.zeros(BATCH, dtype=torch.bool)
        chosen[list(observations)] = True
        pairs = zip(self.xs, by, strict=True)
        return tuple(torch.where(chosen.view(-1, *(1,) * (x.dim() - 1)), y, x) for x, y in pairs)

    def change(self, observation: int, xs: Batch) -> Gap:
        """Return how far the output of an observation in the batch `xs` is from that in the first batch."""
        return self._change_in(self.outputs(xs), observation, at=observation)

    def _change_in(self, zs: Sequence[Tensor], observation: int, *, at: int) -> Gap:
        return gap(taken(zs, self.axes, [at]), taken(self._first, self.axes, [observation]))

    def dependence(self) -> list[_Seen]:
        """Return who changes when a single one of the others is replaced."""
        found = []
        for j in _EVERYONE:
            zs = self.outputs(self.replaced([j], self.ys))
            if not self.as_before:
                return []
            for i in _EVERYONE:
                by = self._change_in(zs, i, at=i)
                if i != j and by.seen:
                    found.append(_Seen(i, f"observation {j} is replaced by another", by, (j,)))
        return found

    def among_extremes(self) -> _Seen | None:
        """Return whether observation 0 changes among huge numbers, or among NaN."""
        if not self._any_numbers:
            return None
        kinds: dict[str, Callable[[Tensor], Tensor]] = {
            "the others are 10 000 times as large": lambda x: 1e4 * x,
            "the others are NaN": lambda x: torch.full_like(x, float("nan")),
        }
        for change, make in kinds.items():
            xs = self.replaced(_EVERYONE[1:], tuple(make(y) for y in self.ys))
            try:
                zs = self.outputs(xs)
            except Exception:  # refused, which is an answer as well
                continue
            by = self._change_in(zs, 0, at=0)
            if by.seen and self.as_before:
                return _Seen(0, change, by, _EVERYONE[1:])
        return None

    def alone(self) -> _Seen | None:
        """Return who changes when it is alone, in a batch of one."""
        for i in _EVERYONE if not self.draws else ():
            try:
                zs = self.outputs(tuple(x[i : i + 1] for x in self.xs))
            except Exception:  # a batch of one is refused: the contract's checks say so
                continue
            if [z.dim() for z in zs] != [z.dim() for z in self._first]:  # and so they do of an axis that is lost
                continue
            by = self._change_in(zs, i, at=0)
            if by.seen and not by.shapes:
                return _Seen(i, "it is alone in the batch", by)
        return None

    def reordered(self) -> Gap:
        """Return how far the outputs of the batch in another order are from the outputs in that order."""
        return gap(
            taken(self.outputs(tuple(x[list(_ORDER)] for x in self.xs)), self.axes, _EVERYONE),
            taken(self._first, self.axes, _ORDER),
        )


def coupled_in_training(subject: Subject) -> bool:
    """Return whether, in training, an observation changes when another one is replaced."""
    return bool(_Company(subject, training=True).dependence())


@register
class ObservationsIndependent(Check):
    """An observation's output is the same in any company, in inference, and in training unless "batch" is declared."""

    name = "observations-independent"
    group = "behaviour"
    expects = "a layer that runs on a batch in which an observation was replaced"
    needs = ("modes", "deterministic")

    def run(self, subject: Subject) -> Finding:
        if "always batch" in subject.traits:
            return not_applicable('declares "always batch"')
        if not any(axis is not None for axis in subject.batch_axes):
            return not_applicable(_NO_AXIS)
        texts = ["the same in any company: in inference"]
        for training in (False, True) if "batch" not in subject.traits else (False,):
            company = _Company(subject, training=training)
            seen = company.dependence()
            worst = max(seen, key=lambda s: s.by.relative) if seen else company.among_extremes() or company.alone()
            if worst is not None:
                return _failure(subject, company, seen, worst)
            texts += [" and in training"] if training else []
        return passed("".join(texts) + ('; declares "batch" in training' if "batch" in subject.traits else ""))


def _failure(subject: Subject, company: _Company, seen: list[_Seen], worst: _Seen) -> Finding:
    training = company.mode == "training"
    cause, fix = _cause(subject, company, seen, worst)
    word = "batch" if training else "always batch"
    return failed(
        expected=f"the output of an observation to be the same in {company.mode}, whatever else is in the batch",
        found=f"observation {worst.observation} changes {worst.by}, when {worst.change}",
        cause=cause,
        fix=fix or f"Compute over the axes of one observation, which are those after axis 0. {declare(word)}",
    )


def _cause(subject: Subject, company: _Company, seen: list[_Seen], worst: _Seen) -> tuple[str, str]:
    """Return why, and what to change; "" for what could not be verified."""
    others = [sub for sub in subject.built().modules() if getattr(sub, "batch_first", True) is False]
    if others:
        right = _Company(subject, training=company.mode == "training", change=_batch_first)
        if not right.dependence():
            kind = type(others[0]).__name__
            return f"{kind} has batch_first=False: it takes axis 0 for the steps", f"Pass batch_first=True to {kind}"
    if not worst.others:
        if company.reordered().seen:
            return (
                "its output depends on its place in the batch",
                "Count positions along an axis of the observation, not axis 0",
            )
        return (
            "its output depends on the number of observations",
            "Divide by nothing that counts the observations, as x.shape[0]",
        )
    if {(s.observation, *s.others) for s in seen} == {(i, (i - 1) % BATCH) for i in _EVERYONE}:
        return "each observation depends on the one before it in the batch", ""
    return _through_moments(company, worst) if len(seen) == BATCH * (BATCH - 1) else "", ""


def _batch_first(module: nn.Module) -> None:
    for sub in module.modules():
        if getattr(sub, "batch_first", True) is False:
            setattr(sub, "batch_first", True)  # noqa: B010  # no attribute that nn.Module would have


def _through_moments(company: _Company, worst: _Seen) -> str:
    """Return whether the others are seen through their mean alone, or through mean and variance alone."""
    i = worst.observation
    others = [j for j in _EVERYONE if j != i]
    if not all(x.is_floating_point() for x in company.xs):
        return ""
    means = [x[others].mean(0, keepdim=True) for x in company.xs]
    spread = tuple(m + 2 * (x - m) for x, m in zip(company.xs, means, strict=True))
    mirrored = tuple(2 * m - x for x, m in zip(company.xs, means, strict=True))
    if not company.change(i, company.replaced(others, spread)).seen:
        return "it depends on the others through their mean alone: with another spread about it nothing changes"
    if not company.change(i, company.replaced(others, mirrored)).seen:
        return "with the others mirrored about their mean, which keeps their mean and variance, nothing changes"
    return ""


@register
class BatchOrder(Check):
    """The batch in another order gives the outputs in that order, in both modes."""

    name = "batch-order"
    group = "behaviour"
    expects = "a layer that runs on the batch in another order"
    needs = ("modes", "deterministic")

    def run(self, subject: Subject) -> Finding:
        if not any(axis is not None for axis in subject.batch_axes):
            return not_applicable(_NO_AXIS)
        compared = []
        for training in (False, True):
            company = _Company(subject, training=training)
            if company.draws:
                continue
            compared.append(company.mode)
            by = company.reordered()
            if by.seen:
                return failed(
                    expected=f"the batch in another order to give the same outputs in that order, in {company.mode}",
                    found=f"the observations {', '.join(map(str, _ORDER))} of a batch, in this order, differ {by}",
                    fix="Let axis 0 be: positions, shifts and sums over steps belong to the axes after it",
                )
        if not compared:
            return not_applicable("it draws other numbers for each place in the batch")
        return passed(f"the outputs follow the order of the batch in {' and '.join(compared)}")
