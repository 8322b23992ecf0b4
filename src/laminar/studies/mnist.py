"""Does the R5 network learn real digits? Its variant with batch normalization on MNIST, five epochs, nothing else changed."""

from __future__ import annotations

from collections.abc import Callable

from laminar.data import mnist
from laminar.studies.digits import Outcome, as_rows, run, table

__all__ = ["as_rows", "study", "table"]


def study(*, seeds: int = 1, epochs: int = 5, report: Callable[[str], object] = print) -> list[Outcome]:
    """Train on the 60,000 images and test on the 10,000, from seeds 0, 1, ...

    Raises:
        FileError: if the files are neither there nor to be had.
    """
    data = mnist()
    outcomes = []
    for seed in range(seeds):
        outcome = run("with batch normalization", seed, data, epochs=epochs)
        outcomes.append(outcome)
        report(
            f"seed {seed}  MNIST, {outcome.iterations} iterations  accuracy {outcome.accuracy:.4f}  {outcome.seconds:6.1f} s"
        )
    return outcomes
