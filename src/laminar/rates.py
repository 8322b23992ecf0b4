"""The learning-rate range test: which rates a network can be trained with, before it is trained."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from laminar import seeding
from laminar.errors import ArgumentError, DivergedError, complaint
from laminar.fit.callbacks import Callback
from laminar.fit.state import State
from laminar.layers.core import is_number, positive
from laminar.model import Model
from laminar.optimizers import Rule

__all__ = ["RangeTest", "range_test"]

_TOO_HIGH = 4.0  # times the smallest smoothed loss: the loss has diverged


@dataclass(frozen=True, repr=False)
class RangeTest:
    """What a learning-rate range test has found: the loss of each iteration at its rate.

    Args:
        rates: the learning rate of each iteration, rising.
        losses: the loss of its mini-batch.
        diverged: whether the test ended because the loss did.

    Attributes:
        smoothed: the loss without most of its noise: the mean of an iteration and its neighbours, as many on either side
            as are a fortieth of all, at least one; fewer at the ends.

    >>> result = RangeTest([0.001, 0.01, 0.1, 1.0, 10.0], [2.0, 1.9, 0.9, 0.8, 9.0], diverged=True)
    >>> result.at_minimum, result.steepest, round(result.suggestion, 3)
    (0.1, 0.1, 0.01)
    """

    rates: Sequence[float]
    losses: Sequence[float]
    diverged: bool

    @property
    def smoothed(self) -> NDArray[np.float64]:
        """The loss without most of its noise, as long as `losses`."""
        return _smooth(self.losses)

    @property
    def at_minimum(self) -> float:
        """The rate at which the smoothed loss is smallest."""
        return float(self.rates[int(self.smoothed.argmin())])

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest, per factor of the rate, before its minimum."""
        smoothed = self.smoothed
        until = int(smoothed.argmin()) + 1
        if until < 2:
            return float(self.rates[0])
        slopes = np.gradient(smoothed[:until], np.log(np.asarray(self.rates[:until])))
        return float(self.rates[int(slopes.argmin())])

    @property
    def suggestion(self) -> float | None:
        """A rate to start with: a tenth of `at_minimum`; None where the loss never fell."""
        return None if int(self.smoothed.argmin()) == 0 else self.at_minimum / 10

    def __repr__(self) -> str:
        """Return what was found in one line."""
        how = "diverged" if self.diverged else "did not diverge"
        found = f"smallest loss at {self.at_minimum:.3g}, steepest at {self.steepest:.3g}"
        suggested = "none, the loss never fell" if self.suggestion is None else f"{self.suggestion:.3g}"
        ends = f"{self.rates[0]:.3g} to {self.rates[-1]:.3g}"
        return f"RangeTest({len(self.rates)} rates from {ends}, {how}; {found}; suggestion {suggested})"


def range_test(
    model: Model,
    x: Any,
    y: Any = None,
    *,
    low: float = 1e-7,
    high: float = 10.0,
    iterations: int = 100,
    batch_size: int = 128,
    seed: int | None = None,
) -> RangeTest:
    """Train a copy of the network while the learning rate rises from iteration to iteration, and return the losses.

    The rate of iteration i of n is low·(high/low)^(i/(n−1)), i from 0. The test ends before `high` when the loss is no longer
    finite, or when the mean of its last values is above four times the smallest such mean (of a loss that is positive). The
    copy learns with the optimizer and loss that `compile` was told, without its schedule and decay. The network, its
    optimizer and the global random generators of Python, NumPy and torch are afterwards as they were, bit for bit.

    Args:
        model: a compiled network, built or not.
        x: inputs, as in `fit`.
        y: targets, as in `fit`.
        low: the first learning rate.
        high: the last one.
        iterations: how many, at least 10.
        batch_size: observations in a step.
        seed: of initial values, order and dropout; the global generators where None.

    Raises:
        NotCompiledError: before `compile`.
        ArgumentError: if an argument cannot work, or `compile` was told a function that makes an optimizer of other
            parameters than it is given.
        DivergedError: if the first loss is not finite, which no rate has had to do with.
        DataError, LabelError, ShapeError, DtypeError: naming what is wrong with the data.

    Source: Smith 2017, "Cyclical learning rates for training neural networks", section 3.3, with a rate that rises
    exponentially; row R6 of the mission.

    >>> import laminar as lm
    >>> from laminar import layers as L
    >>> x, y = lm.data.digits(n_train=500)[0]
    >>> model = lm.Sequential([L.Flatten(), L.Dense(10, activation="softmax")])
    >>> model.compile("sgdm", "sparse_categorical_crossentropy")
    >>> found = range_test(model, x, y, iterations=50, seed=0)
    >>> found
    RangeTest(50 rates from 1e-07 to 10, did not diverge; smallest loss at ...; suggestion 0.1...)
    >>> picture = lm.plots.range_test(found)
    """
    _check(low, high)
    rise = _Rise(np.geomspace(low, high, positive("range_test(iterations=)", iterations, least=10)))
    recipe = model._compiled("range_test")
    with seeding.preserved(), seeding.loader_preserved(x):
        trial = copy.deepcopy(model)  # with the optimizer, should that be a torch optimizer of its parameters
        optimizer = trial._compiled("range_test").optimizer
        if isinstance(optimizer, Rule):
            optimizer = replace(optimizer, learning_rate=low, decay=0.0)
        trial.compile(optimizer, recipe.loss, device=recipe.device, engine=recipe.engine, precision=recipe.precision)
        try:
            trial.fit(x, y, epochs=iterations, batch_size=batch_size, callbacks=rise, seed=seed, log_every=1, verbose=0)
        except DivergedError:
            rise.diverged = True
            if trial.history is None or not trial.history.iterations["loss"]:
                raise
    assert trial.history is not None  # fit has made it
    found = trial.history.iterations
    return RangeTest(found["learning_rate"], found["loss"], rise.diverged)


def _check(low: Any, high: Any) -> None:
    for name, value in (("low", low), ("high", high)):
        if not is_number(value) or not 0 < value < math.inf:
            where, fix = f"range_test({name}=)", "Pass low=1e-7, high=10"
            raise ArgumentError(complaint(where, expected="a number above 0", received=repr(value), fix=fix))
    if low >= high:
        expected, fix = "a low below the high", "Pass low=1e-7, high=10"
        raise ArgumentError(complaint("range_test", expected=expected, received=f"{low!r} and {high!r}", fix=fix))


class _Rise(Callback):
    """Sets the rate of every iteration, and ends the training after the last one or when the loss has diverged."""

    def __init__(self, rates: NDArray[np.float64]) -> None:
        self.rates = rates.tolist()
        self.diverged = False

    def on_train_begin(self, model: nn.Module, state: State) -> None:
        state.learning_rate = self.rates[0]

    def on_batch_end(self, model: nn.Module, state: State) -> None:
        means = _trailing(state.history.iterations.get("loss", []), width=2 * _half(len(self.rates)) + 1)
        self.diverged = bool(means.size and 0 < _TOO_HIGH * means.min() < means[-1])
        if self.diverged or state.iteration == len(self.rates):
            state.stop = "the range test is done"
        else:
            state.learning_rate = self.rates[state.iteration]


def _half(count: int) -> int:
    """Return how many neighbours on either side are looked at with an iteration."""
    return max(1, round(count / 40))


def _smooth(losses: Sequence[float]) -> NDArray[np.float64]:
    """Return the mean of each loss and its neighbours."""
    ones = np.ones(2 * _half(len(losses)) + 1)
    values = np.asarray(losses, dtype=np.float64)
    start = len(ones) // 2
    sums, counts = (np.convolve(v, ones)[start : start + len(v)] for v in (values, np.ones_like(values)))
    return np.asarray(sums / counts)


def _trailing(losses: Sequence[float], width: int) -> NDArray[np.float64]:
    """Return the means of `width` losses in a row."""
    return np.convolve(losses, np.full(width, 1 / width), "valid") if len(losses) >= width else np.empty(0)
