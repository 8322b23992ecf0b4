"""Does the R5 network learn real digits? Its variant with batch normalization on MNIST, five epochs.

The network is R5's, unchanged. The training has the rates of `RATES` instead of a constant one, an L2 factor of 1e-3, and
another order for every epoch: chosen on the last 10,000 of the 60,000 training images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from laminar.data import mnist
from laminar.optimizers import SGDM
from laminar.studies import digits
from laminar.studies.digits import VARIANTS, Outcome, as_rows

__all__ = ["RATES", "as_rows", "study", "table"]

RATES = (0.02, 0.02, 0.02, 0.004, 0.0008)
"""The learning rate of each epoch."""


def study(*, seeds: int = 1, epochs: int = len(RATES), report: Callable[[str], object] = print) -> list[Outcome]:
    """Train on the 60,000 images and test on the 10,000, from seeds 0, 1, ...

    Args:
        seeds: how many runs.
        epochs: the first so many of `RATES`; the last one goes on where more are asked for.
        report: is given a line for each run.

    Raises:
        FileError: if the files are neither there nor to be had.
    """
    (x, y), (x_test, y_test) = mnist()
    rates = [*RATES, *[RATES[-1]] * epochs][:epochs]
    variant = "with batch normalization"
    outcomes = []
    for seed in range(seeds):
        model = VARIANTS[variant]().build(x.shape[1:], seed=seed)
        started, iterations = time.perf_counter(), 0
        for epoch, rate in enumerate(rates):
            model.compile(SGDM(rate, weight_decay=1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
            # a seed of its own for each epoch: the order is to differ
            history = model.fit(x, y, drop_last=True, seed=seed + 1000 * epoch, verbose=0)
            iterations += len(history.iterations["loss"])
        seconds = time.perf_counter() - started
        outcome = Outcome(variant, seed, model.evaluate(x_test, y_test)["accuracy"], seconds, iterations)
        outcomes.append(outcome)
        report(
            f"seed {seed}  MNIST, {outcome.iterations} iterations  accuracy {outcome.accuracy:.4f}  {outcome.seconds:6.1f} s"
        )
    return outcomes


def table(outcomes: Iterable[Outcome]) -> str:
    """Return mean and spread of the test accuracy as Markdown; nothing is published to stand beside it."""
    return digits.table(outcomes, published={})
