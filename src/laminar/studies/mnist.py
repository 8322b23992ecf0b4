"""R5's networks on real digits: the question of `digits` asked of MNIST, and whether the network learns MNIST at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from laminar.data import mnist
from laminar.optimizers import SGDM
from laminar.studies.digits import CONTRASTS, VARIANTS
from laminar.studies.drawn import part_by_seed

__all__ = ["RATES", "Outcome", "as_rows", "comparison", "study", "table"]

RATES = (0.02, 0.02, 0.02, 0.004, 0.0008)
"""The learning rate of each epoch of `study`."""

_SAMPLE = 234 * 128


@dataclass(frozen=True)
class Outcome:
    """One run of `study`.

    Attributes:
        seed: of initial weights and shuffling.
        accuracy: on the 10,000 test images, in [0, 1].
        seconds: of the training.
        iterations: steps taken.
    """

    seed: int
    accuracy: float
    seconds: float
    iterations: int


def comparison() -> dict[str, Any]:
    """Return the arguments of `lm.compare`: R5's networks and training, 1,170 iterations, on half of MNIST.

    Every pair draws its own half of the 60,000 training images, so that the data vary from run to run, too.

    Raises:
        FileError: if the data are neither there nor to be had.
    """
    (x, y), test = mnist()

    return {
        "variants": VARIANTS,
        "train": part_by_seed(x, y, _SAMPLE),
        "test": test,
        "metric": "accuracy",
        "margin": 0.002,
        "seeds": 20,
        "baseline": CONTRASTS,
        "epochs": 5,
        "batch_size": 128,
        "drop_last": True,
    }


def study(*, seeds: int = 1, epochs: int = len(RATES), report: Callable[[str], object] = print) -> list[Outcome]:
    """Train the network with batch normalization on the 60,000 images and test it on the 10,000, from seeds 0, 1, ...

    The training has the rates of `RATES` instead of a constant one, an L2 factor of 1e-3, and another order for every epoch:
    chosen on the last 10,000 of the training images.

    Args:
        seeds: how many runs.
        epochs: the first so many of `RATES`; the last one goes on where more are asked for.
        report: is given a line for each run.

    Raises:
        FileError: if the files are neither there nor to be had.
    """
    (x, y), (x_test, y_test) = mnist()
    rates = [*RATES, *[RATES[-1]] * epochs][:epochs]
    outcomes = []
    for seed in range(seeds):
        model = VARIANTS["with BN"]().build(x.shape[1:], seed=seed)
        started, iterations = time.perf_counter(), 0
        for epoch, rate in enumerate(rates):
            model.compile(SGDM(rate, weight_decay=1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
            # a seed of its own for each epoch: the order is to differ
            history = model.fit(x, y, drop_last=True, seed=seed + 1000 * epoch, verbose=0)
            iterations += len(history.iterations["loss"])
        seconds = time.perf_counter() - started
        outcomes.append(Outcome(seed, model.evaluate(x_test, y_test)["accuracy"], seconds, iterations))
        report(f"seed {seed}  MNIST, {iterations} iterations  accuracy {outcomes[-1].accuracy:.4f}  {seconds:6.1f} s")
    return outcomes


def table(outcomes: Iterable[Outcome]) -> str:
    """Return every run as Markdown.

    >>> print(table([Outcome(0, 0.9864, 81.8, 2340)]))
    | seed | accuracy | iterations | seconds |
    |---|---|---|---|
    | 0 | 0.9864 | 2340 | 81.8 |
    """
    lines = ["| seed | accuracy | iterations | seconds |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {o.seed} | {o.accuracy:.4f} | {o.iterations} | {o.seconds:.1f} |" for o in outcomes)])


def as_rows(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return the runs as plain dictionaries, for JSON."""
    return [asdict(o) for o in outcomes]
