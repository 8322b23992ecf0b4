"""What is declared before the first run: what is compared with what, by which metric, how precisely, and when it ends."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from laminar import seeding
from laminar.callbacks.monitor import Monitor, number
from laminar.errors import ArgumentError, complaint
from laminar.fit import arguments
from laminar.metrics import METRICS
from laminar.names import closest, unknown_name

__all__ = ["Contrast", "Protocol", "Stop", "larger_is_better", "make_protocol"]

Stop = Literal["early", "fixed"]
Contrast = tuple[str, str]
"""A variant and the one it is compared with."""


@dataclass(frozen=True)
class Protocol:
    """What a comparison has declared before its first run.

    Attributes:
        variants: their names, in order.
        contrasts: (variant, baseline) for each verdict that is asked for.
        metric: the figure of the test data that is compared.
        higher_is_better: of the metric.
        margin: the smallest difference that matters, in units of the metric; differences that are surely smaller are
            equivalent.
        seeds: pairs at most.
        stop: "early" (looks after every pair, and spends runs where they are still needed) or "fixed" (all of them).
        seed: the root of every seed.
        alpha: how often a verdict of a difference may be wrong under no difference, over all contrasts together.
        target: a value of the metric whose reaching is timed; None where none was given.
        fit: argument -> what it is, as text, of every training.
        own: variant -> argument -> what it is instead in its trainings; None where no variant has any.
    """

    variants: tuple[str, ...]
    contrasts: tuple[Contrast, ...]
    metric: str
    higher_is_better: bool
    margin: float
    seeds: int
    stop: Stop = "early"
    seed: int = 0
    alpha: float = 0.05
    target: float | None = None
    fit: Mapping[str, str] | None = None
    own: Mapping[str, Mapping[str, str]] | None = None

    def seed_of(self, index: int) -> int:
        """Return the seed that all runs of pair `index` share."""
        return seeding.derive(self.seed, "run", index)

    def to_dict(self) -> dict[str, Any]:
        """Return the protocol as values that JSON knows."""
        plain = asdict(self)
        return plain | {"variants": list(self.variants), "contrasts": [list(pair) for pair in self.contrasts]}

    def continued(self, declared: Mapping[str, Any]) -> Protocol:
        """Return the protocol with what a study was last declared with where that may change as it goes on.

        >>> short = make_protocol(["a", "b"], metric="accuracy", margin=0.01, seeds=8)
        >>> short.continued(short.to_dict() | {"seeds": 30}).seeds
        30
        """
        pairs: list[Contrast] = [(variant, baseline) for variant, baseline in declared["contrasts"]]
        kept = {name: declared[name] for name in ("margin", "seeds", "stop", "alpha", "target")}
        return replace(self, contrasts=tuple(pairs), **kept)


def make_protocol(
    variants: Sequence[str],
    *,
    metric: str,
    margin: float,
    seeds: int,
    baseline: str | Sequence[Contrast] | None = None,
    stop: str = "early",
    seed: int = 0,
    direction: str = "auto",
    target: float | None = None,
    fit: Mapping[str, str] | None = None,
    own: Mapping[str, Mapping[str, str]] | None = None,
) -> Protocol:
    """Return the protocol, its arguments checked.

    Args:
        variants: names, at least two.
        metric: name of the figure.
        margin: in units of the metric, above 0.
        seeds: pairs at most.
        baseline: the variant that each other is compared with (the first where None), or pairs (variant, baseline).
        stop: "early" or "fixed".
        seed: the root of every seed.
        direction: "max" or "min" is better; "auto" goes by the metric's name.
        target: a value of the metric whose reaching is timed.
        fit: arguments of `Model.fit`, as text.
        own: those of single variants, as text.

    Raises:
        ArgumentError: on an argument that cannot work.
        UnknownNameError: if `baseline` names no variant.

    >>> make_protocol(["a", "b", "c"], metric="accuracy", margin=0.01, seeds=10, baseline="b").contrasts
    (('a', 'b'), ('c', 'b'))
    """
    names = tuple(variants)
    if len(names) < 2 or not all(isinstance(name, str) and name for name in names):
        received = f"{list(names)!r}"
        fix = 'Pass {"with": make_one, "without": make_other}'
        raise ArgumentError(complaint("compare(variants=)", expected="two or more by name", received=received, fix=fix))
    if stop not in ("early", "fixed"):
        fix = 'Pass stop="early" to end as soon as the verdicts are known'
        raise ArgumentError(complaint("compare(stop=)", expected='"early" or "fixed"', received=repr(stop), fix=fix))
    (count,) = arguments.whole_numbers("compare", seeds=seeds)
    larger = larger_is_better("compare", metric, direction)
    return Protocol(
        names,
        _contrasts(names, baseline),
        metric,
        larger,
        number("compare(margin=)", margin, 0.002, above=0.0),
        count,
        "early" if stop == "early" else "fixed",
        _root(seed),
        target=None if target is None else number("compare(target=)", target, 0.9),
        fit=fit,
        own=own,
    )


def _root(seed: Any) -> int:
    try:
        return operator.index(seed)
    except TypeError as error:
        fix = "Pass seed=0, say"
        raise ArgumentError(complaint("compare(seed=)", expected="a whole number", received=repr(seed), fix=fix)) from error


def larger_is_better(who: str, metric: Any, direction: Any) -> bool:
    """Return whether larger values of a metric are better.

    Args:
        who: the function that was given it, for messages.
        metric: the name of a figure.
        direction: "max" or "min" is better; "auto" goes by the name.

    Raises:
        ArgumentError: if it is none of these, or the name does not tell.

    >>> larger_is_better("compare", "loss", "auto")
    False
    """
    if not isinstance(metric, str):
        fix = 'Pass metric="accuracy", as compile(metrics=) has it'
        raise ArgumentError(complaint(f"{who}(metric=)", expected="the name of a figure", received=repr(metric), fix=fix))
    if direction not in ("auto", "min", "max"):
        expected, fix = '"auto", "min" or "max"', 'Pass direction="min" where smaller is better'
        raise ArgumentError(complaint(f"{who}(direction=)", expected=expected, received=repr(direction), fix=fix))
    try:
        return Monitor(who, metric, direction).larger
    except ArgumentError:
        expected = f'"min" or "max", because {metric!r} does not tell which is better'
        meant = closest(metric, METRICS)
        fix = 'Pass direction="max" where larger is better' + (f', or metric="{meant}" if that is meant' if meant else "")
        raise ArgumentError(complaint(f"{who}(direction=)", expected=expected, received='"auto"', fix=fix)) from None


def _contrasts(names: tuple[str, ...], baseline: str | Sequence[Contrast] | None) -> tuple[Contrast, ...]:
    if baseline is None or isinstance(baseline, str):
        base = names[0] if baseline is None else baseline
        pairs: list[Any] = [(name, base) for name in names if name != base]
    else:
        pairs = [
            tuple(p) if isinstance(p, Iterable) else p for p in (baseline if isinstance(baseline, Iterable) else [baseline])
        ]
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2 or pair[0] == pair[1]:
            fix = 'Pass baseline="without", or baseline=[("with", "without")]'
            raise ArgumentError(complaint("compare(baseline=)", expected="two variants", received=repr(pair), fix=fix))
        for name in pair:
            if name not in names:
                raise unknown_name("compare(baseline=): variant", name, names)
    if len(set(pairs)) != len(pairs) or not pairs:
        fix = "Name each pair once"
        raise ArgumentError(complaint("compare(baseline=)", expected="pairs of variants", received=repr(pairs), fix=fix))
    return tuple(pairs)
