"""R15 and R16: a small multilayer perceptron on CIFAR-10, and the same with batch normalization after each hidden layer.

3072 → 20 → 15 → 10, ReLU, softmax; a fifth of the 50,000 training images, the last ones, to validate on; batches of 128. R15
trains with SGD (rate 0.01, decay 1e-6, Nesterov momentum 0.9) and divides the rate by ten when the validation loss has not
fallen for five epochs. R16 trains with plain SGD at 0.01, as its listing does; to compare like with like, both networks are
trained both ways here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from laminar import layers as L
from laminar.callbacks import Callback, ReduceLROnPlateau
from laminar.data import cifar10, to_categorical
from laminar.layers.base import Layer
from laminar.optimizers import SGD
from laminar.plots import history as draw_history
from laminar.sequential import Sequential

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TRAININGS", "Outcome", "as_rows", "flat", "network", "pictures", "run", "study", "table"]

TRAININGS = ("R15's training", "plain SGD")
"""The two ways to train: with momentum, decay and a falling rate; with neither, as R16's listing says."""

NETWORKS = {"without": False, "with batch normalization": True}


@dataclass(frozen=True)
class Outcome:
    """One run.

    Attributes:
        network: "without" or "with batch normalization".
        training: a name of `TRAININGS`.
        seed: of initial weights and shuffling.
        accuracy: on the 10,000 test images, in [0, 1].
        loss: on the test images.
        seconds: of the training.
        history: figure -> one number for each epoch.
    """

    network: str
    training: str
    seed: int
    accuracy: float
    loss: float
    seconds: float
    history: dict[str, list[float]] = field(repr=False)


def flat(part: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return images as rows (N, 3072) and labels as one-hot rows (N, 10), as the listing makes them."""
    x, y = part
    return x.reshape(len(x), -1), to_categorical(y, 10)


def network(*, batch_norm: bool) -> Sequential:
    """Return the perceptron.

    >>> len(network(batch_norm=False)), len(network(batch_norm=True))
    (3, 5)
    """

    def normalization() -> list[Layer]:
        return [L.BatchNormalization()] if batch_norm else []

    hidden = [L.Dense(20, activation="relu"), *normalization(), L.Dense(15, activation="relu"), *normalization()]
    return Sequential([*hidden, L.Dense(10, activation="softmax")])


def run(name: str, training: str, seed: int, data: Any, *, epochs: int = 20) -> Outcome:
    """Train one network in one way from one seed, and return how it did on the test part.

    Args:
        name: "without" or "with batch normalization".
        training: a name of `TRAININGS`.
        seed: of initial weights and shuffling.
        data: ((x, y), (x_test, y_test)), as `flat` returns the parts.
        epochs: passes over the training part.
    """
    (x, y), (x_test, y_test) = data
    model = network(batch_norm=NETWORKS[name])
    callbacks: list[Callback] = []
    sgd = SGD()
    if training == TRAININGS[0]:
        sgd = SGD(learning_rate=0.01, decay=1e-6, momentum=0.9, nesterov=True)
        callbacks = [ReduceLROnPlateau(monitor="val_loss", factor=0.1, patience=5)]
    model.compile(optimizer=sgd, loss="categorical_crossentropy", metrics=["accuracy"])
    started = time.perf_counter()
    history = model.fit(x, y, epochs=epochs, batch_size=128, callbacks=callbacks, validation_split=0.2, seed=seed, verbose=0)
    seconds = time.perf_counter() - started
    tested = model.evaluate(x_test, y_test)
    return Outcome(name, training, seed, tested["accuracy"], tested["loss"], seconds, history.history)


def study(*, seeds: int = 3, epochs: int = 20, report: Callable[[str], object] = print) -> list[Outcome]:
    """Train both networks in both ways from seeds 0, 1, ... in turn.

    Args:
        seeds: how many runs of each.
        epochs: of each run.
        report: is given a line for each run.

    Raises:
        FileError: if the files are neither there nor to be had.
    """
    training, test = cifar10()
    data = flat(training), flat(test)
    outcomes = []
    for seed in range(seeds):
        for way in TRAININGS:
            for name in NETWORKS:
                outcome = run(name, way, seed, data, epochs=epochs)
                outcomes.append(outcome)
                report(f"seed {seed}  {way:<14}  {name:<24}  accuracy {outcome.accuracy:.4f}  {outcome.seconds:6.1f} s")
    return outcomes


def pictures(outcomes: Iterable[Outcome]) -> dict[str, Figure]:
    """Return the four curves (loss and accuracy, training and validation) of both networks, from seed 0, for each training."""
    runs = [o for o in outcomes if o.seed == 0]
    ways = list(dict.fromkeys(o.training for o in runs))
    return {
        f"perceptron-{way.replace(' ', '-').replace(chr(39), '').lower()}": draw_history(
            {o.network: o.history for o in runs if o.training == way}, figures=["loss", "accuracy"]
        )
        for way in ways
    }


def table(outcomes: Iterable[Outcome]) -> str:
    """Return mean and spread of the test accuracy for each training and network, as Markdown.

    >>> print(table([Outcome("without", "plain SGD", 0, 0.41, 1.7, 10.0, {})]))
    | training | network | seeds | mean accuracy | standard deviation | lowest | highest | mean loss |
    |---|---|---|---|---|---|---|---|
    | plain SGD | without | 1 | 0.4100 | – | 0.4100 | 0.4100 | 1.700 |
    """
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.training, outcome.network), []).append(outcome)
    lines = [
        "| training | network | seeds | mean accuracy | standard deviation | lowest | highest | mean loss |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (training, name), runs in groups.items():
        values = [r.accuracy for r in runs]
        spread = f"{statistics.stdev(values):.4f}" if len(runs) > 1 else "–"
        lines.append(
            f"| {training} | {name} | {len(runs)} | {statistics.mean(values):.4f} | {spread} | {min(values):.4f} "
            f"| {max(values):.4f} | {statistics.mean(r.loss for r in runs):.3f} |"
        )
    return "\n".join(lines)


def as_rows(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return the runs, with every epoch's figures, as plain dictionaries, for JSON."""
    return [asdict(o) for o in outcomes]
