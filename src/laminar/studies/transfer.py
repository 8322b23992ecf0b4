"""R19: learn the digits 0 to 4, freeze the convolutions, and learn 5 to 9 with the dense layers alone, on MNIST.

Conv 32 3×3, ReLU, Conv 32 3×3, ReLU, max-pooling 2, dropout 0.25; Dense 128, ReLU, dropout 0.5, Dense 5, softmax. Adadelta at
the learning rate that was its default when the listing was written, 1.0; batches of 128, five epochs for each half.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from laminar import layers as L
from laminar.data import mnist, to_categorical
from laminar.layers.base import Layer
from laminar.optimizers import Adadelta
from laminar.sequential import Sequential

__all__ = ["PUBLISHED", "Outcome", "as_rows", "halves", "network", "study", "table", "train"]

PUBLISHED = (0.998, 0.992)
"""Test accuracies that the listing gives for the digits 0 to 4, and for 5 to 9 after the transfer."""

Part = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True)
class Outcome:
    """One run.

    Attributes:
        seed: of initial weights, shuffling and dropout.
        low: test accuracy on the digits 0 to 4, in [0, 1].
        high: test accuracy on the digits 5 to 9, after the transfer.
        frozen: whether the convolutions' weights were the same bits before and after the transfer.
        seconds: of both trainings.
    """

    seed: int
    low: float
    high: float
    frozen: bool
    seconds: float


def network() -> tuple[Sequential, list[Layer]]:
    """Return the network, and those of its layers that find features.

    >>> model, features = network()
    >>> model.build((1, 28, 28)).output_shape, len(features)
    ((5,), 7)
    """
    features: list[Layer] = [
        L.Conv2D(32, 3, padding="valid"),
        L.Activation("relu"),
        L.Conv2D(32, 3),
        L.Activation("relu"),
        L.MaxPooling2D(pool_size=2),
        L.Dropout(0.25),
        L.Flatten(),
    ]
    classification: list[Layer] = [L.Dense(128), L.Activation("relu"), L.Dropout(0.5), L.Dense(5), L.Activation("softmax")]
    return Sequential([*features, *classification]), features


def halves(part: Part) -> tuple[Part, Part]:
    """Return the observations of the classes 0 to 4, and those of 5 to 9 with labels from 0; targets are one-hot rows."""
    x, y = part
    return (x[y < 5], to_categorical(y[y < 5], 5)), (x[y >= 5], to_categorical(y[y >= 5] - 5, 5))


def train(model: Sequential, training: Part, test: Part, *, epochs: int, seed: int) -> float:
    """Train on one half as the listing does, and return the accuracy on the test part."""
    model.compile(optimizer=Adadelta(1.0), loss="categorical_crossentropy", metrics=["accuracy"])
    model.fit(*training, batch_size=128, epochs=epochs, seed=seed, verbose=0)
    return model.evaluate(*test)["accuracy"]


def study(*, seeds: int = 3, epochs: int = 5, report: Callable[[str], object] = print) -> list[Outcome]:
    """Train on both halves, one after the other, from seeds 0, 1, ...

    Args:
        seeds: how many runs.
        epochs: of each half.
        report: is given a line for each run.

    Raises:
        FileError: if the files are neither there nor to be had.
    """
    training, test = mnist()
    (low, high), (low_test, high_test) = halves(training), halves(test)
    outcomes = []
    for seed in range(seeds):
        started = time.perf_counter()
        model, features = network()
        first = train(model, low, low_test, epochs=epochs, seed=seed)
        before = [p.detach().clone() for layer in features for p in layer.parameters()]
        for layer in features:
            layer.trainable = False
        second = train(model, high, high_test, epochs=epochs, seed=seed)
        after = [p for layer in features for p in layer.parameters()]
        same = all(a.equal(b) for a, b in zip(before, after, strict=True))
        outcome = Outcome(seed, first, second, same, time.perf_counter() - started)
        outcomes.append(outcome)
        report(f"seed {seed}  0-4: {first:.4f}  5-9: {second:.4f}  convolutions unchanged: {same}  {outcome.seconds:6.1f} s")
    return outcomes


def table(outcomes: Iterable[Outcome]) -> str:
    """Return mean and range of both accuracies as Markdown.

    >>> print(table([Outcome(0, 0.998, 0.99, True, 60.0)]))
    | digits | seeds | mean accuracy | lowest | highest | published |
    |---|---|---|---|---|---|
    | 0 to 4 | 1 | 0.9980 | 0.9980 | 0.9980 | 0.9980 |
    | 5 to 9, dense layers retrained | 1 | 0.9900 | 0.9900 | 0.9900 | 0.9920 |
    """
    runs = list(outcomes)
    lines = ["| digits | seeds | mean accuracy | lowest | highest | published |", "|---|---|---|---|---|---|"]
    for name, values, published in (
        ("0 to 4", [r.low for r in runs], PUBLISHED[0]),
        ("5 to 9, dense layers retrained", [r.high for r in runs], PUBLISHED[1]),
    ):
        figures = (statistics.mean(values), min(values), max(values), published)
        lines.append(f"| {name} | {len(runs)} | " + " | ".join(f"{f:.4f}" for f in figures) + " |")
    return "\n".join(lines)


def as_rows(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return the runs as plain dictionaries, for JSON."""
    return [asdict(o) for o in outcomes]
