"""A figure that a callback watches: which one, which way is better, and by how much at least."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

from laminar.errors import ArgumentError, complaint
from laminar.fit.state import State
from laminar.layers.core import is_number
from laminar.names import unknown_name

__all__ = ["Monitor", "number"]

# The figures of `laminar.metrics` by what their names hold, as Keras' metrics say it of themselves.
_LARGER = ("accuracy", "precision", "recall", "f1", "fbeta", "auc", "r2", "iou", "io_u", "similarity", "correlation")
_SMALLER = ("loss", "error", "entropy", "divergence", "hinge", "huber", "poisson", "logcosh", "log_cosh")


def number(
    where: str, value: Any, example: float, *, least: float = -math.inf, above: float = -math.inf, below: float = math.inf
) -> float:
    """Return `value` if it is a finite number of at least `least`, above `above` and below `below`.

    Args:
        where: the argument, as "EarlyStopping(min_delta=)".
        value: what was passed for it.
        example: a value to suggest.
        least: the smallest number allowed.
        above: a number that is too small.
        below: a number that is too large.

    Raises:
        ArgumentError: otherwise.

    >>> number("EarlyStopping(min_delta=)", 0.5, 0.001)
    0.5
    """
    if is_number(value) and math.isfinite(value) and value >= least and above < value < below:
        return float(value)
    limits = {"of at least": least, "above": above, "below": below}
    told = " and ".join(f"{words} {limit:g}" for words, limit in limits.items() if math.isfinite(limit))
    fix = f"Pass {where[where.index('(') + 1 : -1]}{example:g}, for example"
    raise ArgumentError(complaint(where, expected=f"a number {told}".strip(), received=repr(value), fix=fix))


class Monitor:
    """A figure of the history, and what counts as an improvement of it.

    Args:
        who: the callback, for messages.
        figure: its name in `history.history`.
        mode: "min", "max", or "auto", which goes by the name.
        min_delta: a change that is not larger than this is none.

    Raises:
        ArgumentError: if an argument cannot work.

    >>> falling = Monitor("EarlyStopping", "val_loss", "auto", 0.1)
    >>> falling.better(0.5, 1.0), falling.better(0.95, 1.0), falling.better(0.95, None)
    (True, False, True)
    """

    def __init__(self, who: str, figure: str, mode: str = "auto", min_delta: float = 0.0) -> None:
        if not isinstance(figure, str):
            fix = 'Pass monitor="val_loss"'
            raise ArgumentError(complaint(f"{who}(monitor=)", expected="the name of a figure", received=f"{figure!r}", fix=fix))
        if mode not in ("auto", "min", "max"):
            expected, fix = '"auto", "min" or "max"', 'Pass mode="min" where smaller is better'
            raise ArgumentError(complaint(f"{who}(mode=)", expected=expected, received=f"{mode!r}", fix=fix))
        self.who, self.figure, self.mode = who, figure, mode
        self.min_delta = abs(number(f"{who}(min_delta=)", min_delta, 0.001))

    @cached_property
    def larger(self) -> bool:
        """Whether larger is better.

        Raises:
            ArgumentError: if the mode is "auto" and the name does not tell.
        """
        if self.mode != "auto":
            return self.mode == "max"
        name = self.figure.removeprefix("val_").lower()
        larger, smaller = (any(word in name for word in words) for words in (_LARGER, _SMALLER))
        if larger == smaller:
            where, fix = f"{self.who}(mode=)", 'Pass mode="max" where larger is better'
            expected = f'"min" or "max", because {self.figure!r} does not tell which is better'
            raise ArgumentError(complaint(where, expected=expected, received='"auto"', fix=fix))
        return larger

    def check(self, state: State) -> None:
        """Refuse a figure that no epoch of this training will have, and one that does not tell which way is better.

        Raises:
            UnknownNameError: naming the closest one, and all there are.
            ArgumentError: saying what to pass.
        """
        if self.figure in state.figures:
            _ = self.larger
            return
        if self.figure.startswith("val_") and self.figure.removeprefix("val_") in state.figures:
            received, fix = f"{self.figure!r} without them", f"Pass validation_split=0.2, or monitor={self.figure[4:]!r}"
            raise ArgumentError(complaint(f"{self.who}(monitor=)", expected="validation data", received=received, fix=fix))
        raise unknown_name(f"{self.who}(monitor=): figure", self.figure, state.figures)

    def value(self, state: State) -> float | None:
        """Return the figure of the epoch that has just ended; None where it ended before its first iteration."""
        history = state.history
        return history.history[self.figure][-1] if history.epoch and history.epoch[-1] == state.epoch else None

    def better(self, value: float, reference: float | None) -> bool:
        """Return whether `value` improves on `reference`; nan never does, and any number improves on nan and None."""
        if math.isnan(value):
            return False
        if reference is None or math.isnan(reference):
            return True
        return value - self.min_delta > reference if self.larger else value + self.min_delta < reference
