"""What is kept in training: it comes to stand still, and then inference does what training does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import NamedTuple

import torch
from torch import Tensor

from laminar.check.base import Check, register
from laminar.check.comparing import Gap, gap
from laminar.check.outcome import Finding, failed, not_applicable, passed
from laminar.check.running import run
from laminar.check.subject import Subject

__all__ = ["RunningStatistics"]

_BATCH = 64  # a variance divided by n is then one divided by n - 1, but for 1.6 %
_CLOSE = 0.05  # what inference may differ from training: that factor, in several layers one behind the other
_ROUNDS = 30
_NOTHING = 1e-6
_LATER = 20  # batches after which a mean over all batches is moved little by one more

_ADD_UP = "Let the weights of old and new add up to 1: running = 0.9 * running + 0.1 * new"

Buffers = dict[str, Tensor]


class _Kept:
    """A module whose buffers are read and set, with one batch that is shown to it again and again."""

    def __init__(self, subject: Subject) -> None:
        self._module = subject.built()
        self.xs = tuple(_uneven(x) if subject.any_numbers else x for x in subject.data(_BATCH))
        self._other = subject.data(_BATCH, seed=1)
        self.start = self._buffers()

    def _buffers(self) -> Buffers:
        return {name: buffer.clone() for name, buffer in self._module.named_buffers()}

    def _load(self, buffers: Buffers) -> None:
        for name, buffer in self._module.named_buffers():
            buffer.copy_(buffers[name])

    def outputs(self, buffers: Buffers, *, training: bool) -> list[Tensor]:
        """Return the outputs for the batch, with these numbers in the buffers."""
        self._load(buffers)
        self._module.train(training)
        return run(self._module, self.xs)

    def step(self, buffers: Buffers, *, other: bool = False) -> Buffers:
        """Return what the buffers are after a batch in training: the usual one, or another one."""
        self._load(buffers)
        self._module.train()
        run(self._module, self._other if other else self.xs)
        return self._buffers()

    @property
    def fits(self) -> bool:
        """Whether every buffer keeps its shape."""
        after = self.step(self.start)
        return all(after[n].shape == b.shape for n, b in self.start.items())

    @cached_property
    def used(self) -> list[str]:
        """The buffers that have a part in inference."""
        right = self.outputs(self.start, training=False)
        names = [n for n, b in self.start.items() if b.is_floating_point() and b.numel()]
        return [n for n in names if gap(self.outputs(_moved(self.start, n), training=False), right).seen]

    @cached_property
    def moving(self) -> list[str]:
        """Those of them that become something else by another batch."""
        one, other = self.step(self.start), self.step(self.start, other=True)
        return [n for n in self.used if gap([one[n]], [other[n]]).seen]

    def weight(self, name: str, at: Buffers) -> float | None:
        """Return the share of a buffer's old value in the new one; None where the new one is no weighted mean."""
        plain = self.step(at)
        shares = []
        for factor in (1.0, 2.0):
            pushed = _moved(at, name, factor)
            shares.append((self.step(pushed)[name] - plain[name]).double() / (pushed[name] - at[name]).double())
        one, two = shares
        even = float(one.max() - one.min()) < 1e-3 and float((one - two).abs().max()) < 1e-3
        if not even:
            return None
        share = float(one.mean())
        return None if abs(share) < _NOTHING and self._follows_others(name, at, plain) else share

    def _follows_others(self, name: str, at: Buffers, plain: Buffers) -> bool:
        """Return whether a buffer is computed anew from other buffers, as an entry of a codebook from its sum and count."""
        others = [n for n in self.moving if n != name]
        return any(gap([self.step(_moved(at, n))[name]], [plain[name]]).seen for n in others)

    def settled(self) -> Buffers:
        """Return the buffers after the batch was shown until they stand still, or for many rounds.

        A weighted mean w·old + u moves towards u / (1 - w), which is where it is put at once.
        """
        at = self.start
        for _ in range(_ROUNDS):
            after = self.step(at)
            for name in self.moving:
                share = self.weight(name, at)
                if share is not None and abs(1 - share) > 1e-5:
                    after[name] = ((after[name].double() - share * at[name].double()) / (1 - share)).to(after[name])
            still = not any(gap([after[n]], [at[n]]).relative > 1e-3 for n in self.moving)
            at = after
            if still:
                break
        return at

    def later(self) -> Buffers:
        """Return the buffers after some more batches."""
        at = self.start
        for _ in range(_LATER):
            at = self.step(at)
        return at

    def apart(self, buffers: Buffers, training: list[Tensor]) -> Gap:
        """Return how far inference with these buffers is from the output in training."""
        return gap(self.outputs(buffers, training=False), training)


def _uneven(x: Tensor) -> Tensor:
    """Return x with another mean, none of them 0, and another deviation, none of them 1, in each channel."""
    if x.dim() < 2 or not x.is_floating_point():
        return x
    channel = (torch.arange(x.shape[1]) % 5).to(x.dtype).view(-1, *(1,) * (x.dim() - 2))
    return x * (2 + channel / 2) + 3 + channel


def _moved(buffers: Buffers, name: str, factor: float = 1.0) -> Buffers:
    value = buffers[name]
    return {**buffers, name: value + factor * 0.5 * max(float(value.abs().max()), 1.0)}


@register
class RunningStatistics(Check):
    """What a batch normalization keeps converges to what training computes with, and no single batch replaces most of it."""

    name = "running-statistics"
    group = "behaviour"
    expects = "a layer that runs in training many times"
    needs = ("modes", "deterministic")

    def run(self, subject: Subject) -> Finding:
        if "always state" in subject.traits:
            return not_applicable('declares "always state": what it keeps is not a statistic of training')
        coupled = "batch" in subject.traits and "always batch" not in subject.traits
        if not (coupled or subject.changing):
            return not_applicable("training changes no buffer")
        kept = _Kept(subject)
        if not kept.fits:
            return not_applicable("a buffer has a number for each observation")
        if not (kept.moving or (coupled and kept.used)):
            return not_applicable("inference uses nothing that batches in training change")
        weights = {}
        for name in kept.moving:
            share = kept.weight(name, kept.start)
            if share is not None and share < 0.5:
                share = kept.weight(name, kept.later())
            if share is not None and share < 0.5 and (coupled or share > _NOTHING):  # a memory of inputs may be written anew
                return _replaced(name, share)
            weights[name] = share
        replaced = max((1 - share for share in weights.values() if share is not None), default=None)
        text = "" if replaced is None else f"one batch replaces {100 * replaced:.3g} % of what is kept"
        draws = bool({"random", "always random"} & subject.declared)
        if draws or not (coupled or "modes" not in subject.traits):
            return passed(text or "it stands still")
        return _compared(kept, text)


def _replaced(name: str, share: float) -> Finding:
    return failed(
        expected="one batch to replace less than half of what is kept",
        found=f"it replaces {100 * (1 - share):.3g} % of {name!r}, which keeps {100 * share:.3g} % of what it was",
        fix="Exchange the weights: running = 0.9 * running + 0.1 * new. A momentum of 0.1 is the weight of the new value in "
        "torch, of the old one in Keras",
    )


def _compared(kept: _Kept, text: str) -> Finding:
    at = kept.settled()
    training = kept.outputs(at, training=True)
    by = kept.apart(at, training)
    if by.relative <= _CLOSE:
        equal = f"shown one batch for long, inference equals training up to {100 * by.relative:.2g} %"
        return passed(f"{equal}; {text}" if text else equal)
    idle = [n for n in kept.used if n not in kept.moving]
    if not kept.moving:
        names = " and ".join(map(repr, idle))
        return failed(
            expected="inference to equal training, shown one batch for long",
            found=f"they differ {by}: inference uses {names}, and training changes nothing",
            fix="Write to the buffer in training: self.mean.lerp_(mean, 0.1), with the underscore",
        )
    repair = next(_repairs(kept, at, training, by), None)
    return failed(
        expected="inference to equal training, shown one batch until what is kept stands still",
        found=f"they differ {by}",
        cause=repair.cause if repair else "",
        fix=repair.fix if repair else "Let training keep just what inference uses: running = 0.9 * running + 0.1 * new",
    )


class _Repair(NamedTuple):
    """What makes inference right, and so tells what was wrong."""

    cause: str
    fix: str


def _repairs(kept: _Kept, at: Buffers, training: list[Tensor], by: Gap) -> Iterator[_Repair]:
    """Yield every change of the buffers with which inference equals training."""

    def right(names: Sequence[str], change: Callable[[Tensor], Tensor]) -> bool:
        found = kept.apart({**at, **{n: change(at[n]) for n in names}}, training)
        return found.relative <= min(_CLOSE, by.relative / 5)

    for name in kept.moving:
        for change, holds, word in _POWERS:
            if right([name], change):
                yield _Repair(f"inference is right with the {word} of {name!r}, which holds {holds}", f"Keep the {word}")
    shares = {name: kept.weight(name, at) for name in kept.moving}
    for name, share in shares.items():
        if share is not None and share > 1 - _NOTHING:
            by_one = gap([kept.step(at)[name]], [at[name]])
            yield _Repair(
                f"{name!r} keeps {100 * share:.3g} % of what it was and still changes {by_one}, at each batch", _ADD_UP
            )
    settling = [name for name, share in shares.items() if share is None or share <= 1 - _NOTHING]
    together = [settling] if len(settling) > 1 else []
    for names in [*([n] for n in settling), *together]:
        factor = _factor(kept, names, at, training)
        if right(names, partial(torch.mul, torch.tensor(factor))):
            share, settle = shares[names[0]], "settle" if len(names) > 1 else "settles"
            what = " and ".join(map(repr, names))
            total = "" if share is None else f": the weights of old and new add up to {share + (1 - share) / factor:.3g}"
            yield _Repair(f"{what} {settle} at {1 / factor:.3g} times the right value{total}", _ADD_UP)
    for name in kept.used:
        for word, values in _moments(kept.xs, at[name]):
            if kept.apart({**at, name: values}, training).relative <= min(_CLOSE, by.relative / 5):
                holds = "holds something else" if name in kept.moving else "training never changes"
                cause = f"inference is right with the batch's {word} in {name!r}, which {holds}"
                yield _Repair(cause, f"Keep the {word} of the batch in {name!r}")


_POWERS: list[tuple[Callable[[Tensor], Tensor], str, str]] = [
    (torch.square, "its root", "square"),
    (lambda v: v.clamp(min=0).sqrt(), "its square", "root"),
    (lambda v: 1 / v, "1 over it", "reciprocal"),
    (torch.neg, "its negative", "negative"),
]


def _factor(kept: _Kept, names: Sequence[str], at: Buffers, training: list[Tensor]) -> float:
    """Return the factor from 1/100 to 100 with which the named buffers bring inference nearest to training."""

    def error(power: float) -> float:
        return kept.apart({**at, **{n: at[n] * 10**power for n in names}}, training).difference

    powers = [i / 10 for i in range(-20, 21)]
    best = min(powers, key=error)
    low, high = best - 0.1, best + 0.1
    for _ in range(20):  # the error has one minimum in between
        third = (high - low) / 3
        low, high = (low, high - third) if error(low + third) < error(high - third) else (low + third, high)
    return float(10 ** ((low + high) / 2))


def _moments(xs: Sequence[Tensor], like: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield mean and variance of the batch for each channel, where the buffer has a number for each."""
    for x in xs:
        axes = [i for i in range(x.dim()) if i != 1]
        if x.is_floating_point() and x.dim() > 1 and x.shape[1] == like.numel():
            for word, values in (("mean", x.mean(axes)), ("variance", x.var(axes, correction=0))):
                yield word, values.to(like).view_as(like)
