"""R5: does batch normalization matter with ELU, and does it matter whether alpha learns? Three networks on synthetic digits.

Conv 5x5x20, [batch normalization], ELU, Dense 10, softmax; SGD with momentum 0.9, rate 0.01, L2 1e-4 on the weights; 30
epochs of 39 steps of 128 observations, the last partial batch dropped, the data shuffled once.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from laminar import layers as L
from laminar.data import digits
from laminar.errors import ArgumentError, complaint
from laminar.fit.state import History
from laminar.layers.base import Layer
from laminar.optimizers import SGDM
from laminar.sequential import Sequential

__all__ = ["PUBLISHED", "VARIANTS", "Outcome", "as_rows", "network", "run", "study", "table", "train"]

PUBLISHED: Mapping[str, str] = {
    "with batch normalization": "0.9878, 0.9872",
    "without": "0.9808",
    "without, alpha fixed at 1": "0.9702",
}
"""Test accuracies of single runs in the documents behind the mission, on MATLAB's digits, which are not ours."""


def network(elu: Layer, *, batch_norm: bool) -> Sequential:
    """Return the R5 network around the given activation, compiled.

    >>> [layer.name for layer in network(L.ELU(), batch_norm=False)]
    ['normalization', 'conv2d', 'elu', 'flatten', 'dense', 'softmax']
    """
    normalization: list[Layer] = [L.BatchNormalization()] if batch_norm else []
    model = Sequential(
        [L.Normalization("zerocenter"), L.Conv2D(20, 5), *normalization, elu, L.Flatten(), L.Dense(10), L.Softmax()]
    )
    model.compile(
        optimizer=SGDM(learning_rate=0.01, momentum=0.9, weight_decay=1e-4),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


VARIANTS: Mapping[str, Callable[[], Sequential]] = {
    "with batch normalization": lambda: network(L.ELU("uniform", learnable=True), batch_norm=True),
    "without": lambda: network(L.ELU("uniform", learnable=True), batch_norm=False),
    "without, alpha fixed at 1": lambda: network(L.ELU(1.0), batch_norm=False),
}
"""The three networks. Runs of one seed share the data's order and the initial weights of every layer they have in common."""


@dataclass(frozen=True)
class Outcome:
    """One run.

    Attributes:
        variant: which network.
        seed: of initial weights and shuffling.
        accuracy: on the 5,000 test images, in [0, 1].
        seconds: of the training.
        iterations: steps taken.
    """

    variant: str
    seed: int
    accuracy: float
    seconds: float
    iterations: int


def train(model: Sequential, data: Any, *, seed: int, epochs: int = 30, verbose: int = 0) -> History:
    """Train a network of this study as R5 says.

    Args:
        model: compiled.
        data: (x, y) of the training part.
        seed: of initial weights and shuffling.
        epochs: passes over the data.
        verbose: as in `Model.fit`.
    """
    x, y = data
    return model.fit(x, y, epochs=epochs, batch_size=128, shuffle="once", drop_last=True, seed=seed, verbose=verbose)


def run(variant: str, seed: int, data: Any, *, epochs: int = 30) -> Outcome:
    """Train one variant from one seed and return how it did on the test part.

    Args:
        variant: a name of `VARIANTS`.
        seed: of initial weights and shuffling.
        data: ((x, y), (x_test, y_test)), images of 28 by 28.
        epochs: passes over the training part.
    """
    (x, y), (x_test, y_test) = data
    model = VARIANTS[variant]()
    started = time.perf_counter()
    history = train(model, (x, y), seed=seed, epochs=epochs)
    seconds = time.perf_counter() - started
    accuracy = model.evaluate(x_test, y_test)["accuracy"]
    return Outcome(variant, seed, accuracy, seconds, len(history.iterations["loss"]))


def study(*, seeds: int = 5, epochs: int = 30, report: Callable[[str], object] = print) -> list[Outcome]:
    """Run every variant from seeds 0, 1, ... in turn, so that a slow minute of the machine falls on all of them.

    Raises:
        ArgumentError: if there is no seed to run.
    """
    if seeds < 1:
        raise ArgumentError(complaint("study(seeds=)", expected="at least 1", received=f"{seeds}", fix="Pass seeds=5"))
    data = digits()
    outcomes = []
    for seed in range(seeds):
        for variant in VARIANTS:
            outcome = run(variant, seed, data, epochs=epochs)
            outcomes.append(outcome)
            report(f"seed {seed}  {variant:<26}  accuracy {outcome.accuracy:.4f}  {outcome.seconds:6.1f} s")
    return outcomes


def table(outcomes: Iterable[Outcome], published: Mapping[str, str] = PUBLISHED) -> str:
    """Return mean and spread of the test accuracy and the time of each variant, as Markdown.

    Args:
        outcomes: runs of any number of variants.
        published: variant -> what others found, for the last column.

    >>> print(table([Outcome("without", 0, 0.98, 10.0, 1170), Outcome("without", 1, 0.97, 12.0, 1170)]))
    | variant | seeds | mean accuracy | standard deviation | lowest | highest | seconds (median) | published |
    |---|---|---|---|---|---|---|---|
    | without | 2 | 0.9750 | 0.0071 | 0.9700 | 0.9800 | 11.0 | 0.9808 |
    """
    by_variant: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_variant.setdefault(outcome.variant, []).append(outcome)
    lines = [
        "| variant | seeds | mean accuracy | standard deviation | lowest | highest | seconds (median) | published |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for variant, runs in by_variant.items():
        accuracies = [r.accuracy for r in runs]
        spread = f"{statistics.stdev(accuracies):.4f}" if len(runs) > 1 else "–"
        lines.append(
            f"| {variant} | {len(runs)} | {statistics.mean(accuracies):.4f} | {spread} | {min(accuracies):.4f} "
            f"| {max(accuracies):.4f} | {statistics.median(r.seconds for r in runs):.1f} | {published.get(variant, '–')} |"
        )
    return "\n".join(lines)


def as_rows(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return the runs as plain dictionaries, for JSON."""
    return [asdict(o) for o in outcomes]
