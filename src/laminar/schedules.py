"""Learning rates that change while a network trains: each schedule is a function from the steps done to a rate.

Pass one as the `learning_rate` of an optimizer. Names, arguments and figures are those of `keras.optimizers.schedules`, and of
`torch.optim.lr_scheduler` for `OneCycle`. What a schedule counts are iterations, over all fits of a compiled network; with
`per="epoch"` it counts epochs, and within an epoch the share of it that is done: 2.5 in the middle of the third.

>>> import laminar as lm
>>> schedule = lm.schedules.StepDecay(0.1, decay_steps=30, per="epoch")
>>> lm.optimizers.SGD(schedule, momentum=0.9).learning_rate
StepDecay(initial_learning_rate=0.1, decay_steps=30, decay_rate=0.1, per='epoch')
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, TypeAlias

from laminar.settings import Settings

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "Function",
    "InverseTimeDecay",
    "OneCycle",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "Rate",
    "Schedule",
    "StepDecay",
]


@dataclass(frozen=True, repr=False)
class Schedule(Settings, ABC):
    """A learning rate as a function of how far the training has come. Derive from it, or pass a plain function.

    Args:
        per: "iteration" or "epoch": what is counted, and so the unit of every number of steps.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: row R6 of the mission.

    >>> @dataclass(frozen=True, repr=False)
    ... class Halving(Schedule):
    ...     first: float
    ...
    ...     def __call__(self, count):
    ...         return self.first / 2**count
    >>> Halving(0.1, per="epoch"), Halving(0.1)(3)
    (Halving(first=0.1, per='epoch'), 0.0125)
    """

    per: Literal["iteration", "epoch"] = field(default="iteration", kw_only=True)

    def __post_init__(self) -> None:
        if self.per not in ("iteration", "epoch"):
            self._refuse("per", '"iteration" or "epoch"', 'Pass per="epoch"')
        self._check()

    def _check(self) -> None:
        """Check the arguments that only this schedule has."""

    @abstractmethod
    def __call__(self, count: float) -> float:
        """Return the rate of the step that follows `count` iterations (or epochs, with parts of one)."""


Rate: TypeAlias = float | Schedule | Callable[[int], float]
"""What an optimizer takes as `learning_rate`: a number, a schedule, or a function from iterations done to a rate."""


@dataclass(frozen=True, repr=False)
class Function(Schedule):
    """A plain function as a schedule; optimizers put one around functions by themselves.

    Args:
        function: takes the iterations done (with `per="epoch"` the epochs, a float) and returns the rate.
        per: as in `Schedule`.

    >>> Function(lambda n: 0.1 / (1 + n))(4)
    0.02
    """

    function: Callable[[int], float]

    def _check(self) -> None:
        if not callable(self.function) or isinstance(self.function, type):
            self._refuse("function", "a function from iterations to a rate", "Pass lambda n: 0.1 / (1 + n)")

    def __call__(self, count: float) -> float:
        """See the class."""
        return self.function(count)  # type: ignore[arg-type]  # a float for a function that counts epochs

    def __repr__(self) -> str:
        """Return the function's name in place of its address."""
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        return f"Function({name}{'' if self.per == 'iteration' else ', per=' + repr(self.per)})"


@dataclass(frozen=True, repr=False)
class _Falling(Schedule):
    """What schedules share that start from a rate and know after how many steps it has fallen by how much."""

    initial_learning_rate: float
    decay_steps: float

    def _check(self) -> None:
        self._number("initial_learning_rate")
        self._number("decay_steps", above=0)


@dataclass(frozen=True, repr=False)
class ExponentialDecay(_Falling):
    """η = η₀·r^(n/s); with `staircase`, n/s is rounded down, so that the rate falls at every s steps.

    Args:
        initial_learning_rate: η₀.
        decay_steps: s, the steps in which the rate is multiplied by r.
        decay_rate: r.
        staircase: whether it falls in steps.
        per: as in `Schedule`.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: row R6 of the mission.

    >>> [round(ExponentialDecay(0.1, 10, 0.5)(n), 4) for n in (0, 5, 10)]
    [0.1, 0.0707, 0.05]
    """

    decay_rate: float
    staircase: bool = False

    def _check(self) -> None:
        super()._check()
        self._number("decay_rate", above=0)

    def __call__(self, count: float) -> float:
        """See the class."""
        done = count / self.decay_steps
        return self.initial_learning_rate * self.decay_rate ** (math.floor(done) if self.staircase else done)


@dataclass(frozen=True, repr=False)
class StepDecay(_Falling):
    """η = η₀·r^⌊n/s⌋: the rate is multiplied by r at every s steps, usually epochs.

    Args:
        initial_learning_rate: η₀.
        decay_steps: s.
        decay_rate: r.
        per: as in `Schedule`.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: row R6 of the mission; `torch.optim.lr_scheduler.StepLR`.

    >>> [StepDecay(0.5, 30, 0.5, per="epoch")(n) for n in (0, 29.9, 30, 60)]
    [0.5, 0.5, 0.25, 0.125]
    """

    decay_rate: float = 0.1

    def _check(self) -> None:
        super()._check()
        self._number("decay_rate", above=0)

    def __call__(self, count: float) -> float:
        """See the class."""
        return self.initial_learning_rate * self.decay_rate ** math.floor(count / self.decay_steps)


@dataclass(frozen=True, repr=False)
class InverseTimeDecay(_Falling):
    """Time-based: η = η₀ / (1 + r·n/s); with `staircase`, n/s is rounded down.

    An optimizer's `decay=r` is this with s = 1, on a rate that callbacks may still change.

    Args:
        initial_learning_rate: η₀.
        decay_steps: s.
        decay_rate: r, at least 0.
        staircase: whether it falls in steps.
        per: as in `Schedule`.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: rows R6 and R20 of the mission.

    >>> InverseTimeDecay(0.1, 1, 0.01)(100)
    0.05
    """

    decay_rate: float
    staircase: bool = False

    def _check(self) -> None:
        super()._check()
        self._number("decay_rate")

    def __call__(self, count: float) -> float:
        """See the class."""
        done = count / self.decay_steps
        return self.initial_learning_rate / (1 + self.decay_rate * (math.floor(done) if self.staircase else done))


@dataclass(frozen=True, repr=False)
class PolynomialDecay(_Falling):
    """η = (η₀ − η₁)·(1 − n/s)^p + η₁ until n = s, and η₁ from there.

    Args:
        initial_learning_rate: η₀.
        decay_steps: s.
        end_learning_rate: η₁.
        power: p, above 0; 1 is a straight line.
        cycle: go on beyond s with the smallest multiple of s that is not passed yet in place of s.
        per: as in `Schedule`.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: row R6 of the mission.

    >>> [PolynomialDecay(0.5, 8, 0.25)(n) for n in (0, 4, 8, 9)]
    [0.5, 0.375, 0.25, 0.25]
    """

    end_learning_rate: float = 0.0001
    power: float = 1.0
    cycle: bool = False

    def _check(self) -> None:
        super()._check()
        self._number("end_learning_rate")
        self._number("power", above=0)

    def __call__(self, count: float) -> float:
        """See the class."""
        steps = self.decay_steps
        if self.cycle:
            steps *= max(1, math.ceil(count / steps))
        left: float = (1 - min(count / steps, 1.0)) ** self.power
        return (self.initial_learning_rate - self.end_learning_rate) * left + self.end_learning_rate


@dataclass(frozen=True, repr=False)
class CosineDecay(_Falling):
    """η = η₀·((1 − α)·(1 + cos(π·n/s))/2 + α) until n = s, and α·η₀ from there; a linear warm-up may come before.

    With a `warmup_target` the rate first goes from η₀ to that target in `warmup_steps`, and then falls from the target.

    Args:
        initial_learning_rate: η₀.
        decay_steps: s, without those of the warm-up.
        alpha: α, the share of the rate that is left at the end.
        warmup_target: the rate at the end of the warm-up; None for no warm-up.
        warmup_steps: how long it takes.
        per: as in `Schedule`.

    Raises:
        ArgumentError: if an argument is out of its range, or there are warm-up steps without a target.

    Source: Loshchilov & Hutter 2017, "SGDR", equation 5 without restarts; Goyal et al. 2017 for the warm-up; row R6.

    >>> cosine = CosineDecay(0.0, 100, warmup_target=0.1, warmup_steps=10)
    >>> [round(cosine(n), 4) for n in (0, 5, 10, 60, 110, 200)]
    [0.0, 0.05, 0.1, 0.05, 0.0, 0.0]
    """

    alpha: float = 0.0
    warmup_target: float | None = None
    warmup_steps: float = 0

    def _check(self) -> None:
        super()._check()
        self._number("alpha")
        self._number("warmup_target", optional=True)
        self._number("warmup_steps")
        if self.warmup_steps and self.warmup_target is None:
            self._refuse(
                "warmup_steps", "a warmup_target to warm up to", "Pass warmup_target=0.1, with initial_learning_rate=0"
            )

    def __call__(self, count: float) -> float:
        """See the class."""
        top = self.initial_learning_rate
        if self.warmup_target is not None:
            if count < self.warmup_steps:
                return top + (self.warmup_target - top) * count / self.warmup_steps
            top, count = self.warmup_target, count - self.warmup_steps
        return top * ((1 - self.alpha) * _half_cosine(min(count / self.decay_steps, 1.0)) + self.alpha)


@dataclass(frozen=True, repr=False)
class CosineDecayRestarts(Schedule):
    """η = η₀·((1 − α)·mⁱ·(1 + cos(π·c))/2 + α), with c the share done of the period i, which is s·tⁱ long.

    Args:
        initial_learning_rate: η₀.
        first_decay_steps: s, the length of the first period.
        t_mul: t, at least 1: how much longer each period is than the one before.
        m_mul: m, how much higher (or lower) it starts.
        alpha: α, the share of the rate that is left before a restart.
        per: as in `Schedule`.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: Loshchilov & Hutter 2017, "SGDR: Stochastic gradient descent with warm restarts", equation 5; row R6.

    >>> [round(CosineDecayRestarts(0.1, 10)(n), 4) for n in (0, 5, 9, 10, 20, 29, 30)]
    [0.1, 0.05, 0.0024, 0.1, 0.05, 0.0006, 0.1]
    """

    initial_learning_rate: float
    first_decay_steps: float
    t_mul: float = 2.0
    m_mul: float = 1.0
    alpha: float = 0.0

    def _check(self) -> None:
        self._number("initial_learning_rate")
        self._number("first_decay_steps", above=0)
        self._number("t_mul")
        if self.t_mul < 1:  # the periods would shrink to nothing before the training ends
            self._refuse("t_mul", "a number of at least 1", "Pass t_mul=2.0")
        self._number("m_mul")
        self._number("alpha")

    def __call__(self, count: float) -> float:
        """See the class."""
        period, done = self._place(count / self.first_decay_steps)
        height: float = self.m_mul**period
        return self.initial_learning_rate * ((1 - self.alpha) * height * _half_cosine(done) + self.alpha)

    def _place(self, done: float) -> tuple[int, float]:
        """Return the number of the period, from 0, and the share of it that is done, for `done` first periods."""
        t = self.t_mul
        if t == 1:
            return math.floor(done), done - math.floor(done)
        period = max(0, math.floor(math.log1p(done * (t - 1)) / math.log(t)))
        start = (t**period - 1) / (t - 1)
        if done >= start + t**period:  # the logarithm was rounded to below a whole number
            period, start = period + 1, start + t**period
        elif done < start:  # or above
            period, start = period - 1, start - t ** (period - 1)
        return period, (done - start) / t**period


@dataclass(frozen=True, repr=False)
class PiecewiseConstantDecay(Schedule):
    """One rate until each boundary: values[0] up to boundaries[0], values[i] above boundaries[i − 1].

    As in Keras, the step after `boundary` iterations still has the rate before it. Epochs are exact: `boundaries=[81]` with
    `per="epoch"` are 81 epochs at the first rate.

    Args:
        boundaries: numbers of steps, rising.
        values: rates, one more than boundaries.
        per: as in `Schedule`.

    Raises:
        ArgumentError: if there are not as many as there should be, or the boundaries do not rise.

    Source: row R6 of the mission; He et al. 2016 divide so.

    >>> rate = PiecewiseConstantDecay([81, 122], [0.1, 0.01, 0.001], per="epoch")
    >>> [rate(n) for n in (0, 80.9, 81, 122)]
    [0.1, 0.1, 0.01, 0.001]
    """

    boundaries: Sequence[float]
    values: Sequence[float]

    def _check(self) -> None:
        for name in ("boundaries", "values"):
            given = getattr(self, name)
            if not isinstance(given, Sequence) or not all(
                isinstance(v, numbers.Real) and 0 <= float(v) < math.inf for v in given
            ):
                self._refuse(name, "a list of numbers of at least 0", "Pass boundaries=[100], values=[0.1, 0.01]")
            object.__setattr__(self, name, tuple(given))
        if list(self.boundaries) != sorted(set(self.boundaries)):
            self._refuse("boundaries", "numbers that rise", f"Pass {sorted(set(self.boundaries))}")
        if len(self.values) != len(self.boundaries) + 1:
            expected = f"{len(self.boundaries) + 1} rates for {len(self.boundaries)} boundaries"
            self._refuse("values", expected, "Pass boundaries=[100], values=[0.1, 0.01]")

    def __call__(self, count: float) -> float:
        """See the class."""
        passed = bisect_left if self.per == "iteration" else bisect_right
        return self.values[passed(self.boundaries, count)]


@dataclass(frozen=True, repr=False)
class OneCycle(Schedule):
    """Up from η/`div_factor` to η in the share `pct_start` of all steps, then down to η/(`div_factor`·`final_div_factor`).

    With `three_phase`, down to where it started in as many steps as up, and to the end in the rest. The momentum stays.

    Args:
        max_learning_rate: η.
        total_steps: of the whole training; afterwards the rate stays where it ended.
        pct_start: share of the steps that the way up takes, above 0 and below 1.
        anneal_strategy: "cos" or "linear": the form of the ways.
        div_factor: η over the first rate.
        final_div_factor: the first rate over the last.
        three_phase: see above.
        per: as in `Schedule`.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: Smith & Topin 2017, "Super-convergence"; `torch.optim.lr_scheduler.OneCycleLR`, without its momenta; row R6.

    >>> [round(OneCycle(0.1, 100)(n), 4) for n in (0, 29, 99)]
    [0.004, 0.1, 0.0]
    """

    max_learning_rate: float
    total_steps: float
    pct_start: float = 0.3
    anneal_strategy: Literal["cos", "linear"] = "cos"
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False

    def _check(self) -> None:
        self._number("max_learning_rate")
        self._number("total_steps", above=0)
        self._number("pct_start", above=0, below=1)
        if self.anneal_strategy not in ("cos", "linear"):
            self._refuse("anneal_strategy", '"cos" or "linear"', 'Pass anneal_strategy="cos"')
        self._number("div_factor", above=0)
        self._number("final_div_factor", above=0)
        if self.three_phase and self.pct_start > 0.5:
            self._refuse("pct_start", "at most 0.5 with three_phase=True, to be back before the end", "Pass pct_start=0.3")

    def __call__(self, count: float) -> float:
        """See the class."""
        last = 1 if self.per == "iteration" else 0  # the last iteration is reached after total_steps - 1
        top, first = self.max_learning_rate, self.max_learning_rate / self.div_factor
        up, end = self.pct_start * self.total_steps - last, self.total_steps - last
        ways = [(0.0, first), (up, top), (end, first / self.final_div_factor)]
        if self.three_phase:
            ways.insert(2, (2 * up, first))
        for (start, high), (stop, low) in pairwise(ways):
            if count <= stop and start < stop:
                done = (count - start) / (stop - start)
                return high + (low - high) * (done if self.anneal_strategy == "linear" else 1 - _half_cosine(done))
        return ways[-1][1]


def _half_cosine(done: float) -> float:
    """Return the way from 1 to 0 along half a cosine: (1 + cos(π·done)) / 2."""
    return (1 + math.cos(math.pi * done)) / 2
