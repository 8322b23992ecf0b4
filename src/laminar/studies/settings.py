"""R6 and R20: what learning rate, batch size, decay and momentum do to the training of one network, on synthetic digits.

The network is R5's without batch normalization. One setting is varied at a time; the others stay at SGD with momentum 0.9,
learning rate 0.01, no decay, batches of 128, five epochs.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from laminar import layers as L
from laminar.data import digits
from laminar.errors import DivergedError
from laminar.optimizers import SGD
from laminar.plots import history as draw_history
from laminar.studies.digits import network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SETTINGS", "Outcome", "as_rows", "pictures", "run", "study", "table"]

SETTINGS: Mapping[str, tuple[float, ...]] = {
    "learning rate": (3.0, 0.3, 0.1, 0.01, 0.0001),
    "batch size": (16, 32, 128, 512),
    "decay": (0.0, 1e-3, 1e-2, 1e-1),
    "momentum": (0.0, 0.5, 0.9, 0.99),
}
"""Setting -> the values compared. The learning rates are a very high, a high, a good, a lower and a very low one (row R6)."""


@dataclass(frozen=True)
class Outcome:
    """One run.

    Attributes:
        setting: a name of `SETTINGS`.
        value: of that setting.
        seed: of initial weights and shuffling.
        accuracy: on the 5,000 test images, in [0, 1]; nan where the training diverged.
        loss: the last iteration's that was finite.
        iterations: steps taken.
        seconds: of the training.
        losses: one for each iteration.
    """

    setting: str
    value: float
    seed: int
    accuracy: float
    loss: float
    iterations: int
    seconds: float
    losses: list[float] = field(repr=False)


def run(setting: str, value: float, seed: int, data: Any, *, epochs: int = 5) -> Outcome:
    """Train with one setting at `value` from one seed.

    Args:
        setting: a name of `SETTINGS`.
        value: of that setting.
        seed: of initial weights and shuffling.
        data: ((x, y), (x_test, y_test)), images of 28 by 28.
        epochs: passes over the training part.
    """
    (x, y), (x_test, y_test) = data
    chosen = {"learning rate": 0.01, "batch size": 128, "decay": 0.0, "momentum": 0.9, setting: value}
    model = network(L.ELU("uniform", learnable=True), batch_norm=False)
    optimizer = SGD(chosen["learning rate"], momentum=chosen["momentum"], decay=chosen["decay"])
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    started = time.perf_counter()
    accuracy = math.nan
    try:
        model.fit(x, y, epochs=epochs, batch_size=int(chosen["batch size"]), seed=seed, verbose=0)
        accuracy = model.evaluate(x_test, y_test)["accuracy"]
    except DivergedError:
        pass  # which is what a very high rate is there to show; the history is kept
    losses = model.history.iterations["loss"] if model.history else []
    return Outcome(setting, value, seed, accuracy, losses[-1], len(losses), time.perf_counter() - started, losses)


def study(*, seeds: int = 3, epochs: int = 5, report: Callable[[str], object] = print) -> list[Outcome]:
    """Vary every setting from seeds 0, 1, ...

    Args:
        seeds: how many runs of each value.
        epochs: of each run.
        report: is given a line for each run.
    """
    data = digits()
    outcomes = []
    for seed in range(seeds):
        for setting, values in SETTINGS.items():
            for value in values:
                outcome = run(setting, value, seed, data, epochs=epochs)
                outcomes.append(outcome)
                said = "diverged" if math.isnan(outcome.accuracy) else f"accuracy {outcome.accuracy:.4f}"
                report(f"seed {seed}  {setting:<13} {value:<7g} {said:<15}  {outcome.seconds:6.1f} s")
    return outcomes


def pictures(outcomes: Iterable[Outcome]) -> dict[str, Figure]:
    """Return for each setting a picture of the loss at every iteration, a curve for each value, from seed 0.

    A curve ends where the loss passes three times its first value: what diverges would hide all others.
    """
    runs = [o for o in outcomes if o.seed == 0]
    return {
        f"settings-{setting.replace(' ', '-')}": draw_history(
            {f"{setting} {o.value:g}": {"loss": _smoothed(_until_hopeless(o.losses))} for o in runs if o.setting == setting},
            per="iteration",
        )
        for setting in dict.fromkeys(o.setting for o in runs)
    }


def _until_hopeless(losses: list[float]) -> list[float]:
    """Return the losses up to the first one above three times the first."""
    return list(itertools.takewhile(lambda loss: loss <= 3 * losses[0], losses))


def _smoothed(losses: list[float], keep: float = 0.9) -> list[float]:
    """Return the running mean of the losses, without its bias towards a start of 0, so that curves can be told apart."""
    mean, smoothed = 0.0, []
    for i, loss in enumerate(losses, 1):
        mean = keep * mean + (1 - keep) * loss
        smoothed.append(mean / (1 - keep**i))
    return smoothed


def table(outcomes: Iterable[Outcome]) -> str:
    """Return mean and range of the test accuracy for each setting and value, as Markdown.

    >>> print(table([Outcome("decay", 0.01, 0, 0.97, 0.1, 195, 4.0, [])]))
    | setting | value | seeds | diverged | mean accuracy | lowest | highest | iterations | seconds (median) |
    |---|---|---|---|---|---|---|---|---|
    | decay | 0.01 | 1 | 0 | 0.9700 | 0.9700 | 0.9700 | 195 | 4.0 |
    """
    groups: dict[tuple[str, float], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.setting, outcome.value), []).append(outcome)
    lines = [
        "| setting | value | seeds | diverged | mean accuracy | lowest | highest | iterations | seconds (median) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (setting, value), runs in groups.items():
        good = [r.accuracy for r in runs if not math.isnan(r.accuracy)]
        figures = [f"{f(good):.4f}" if good else "–" for f in (statistics.mean, min, max)]
        lines.append(
            f"| {setting} | {value:g} | {len(runs)} | {len(runs) - len(good)} | {' | '.join(figures)} "
            f"| {max(r.iterations for r in runs)} | {statistics.median(r.seconds for r in runs):.1f} |"
        )
    return "\n".join(lines)


def as_rows(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return the runs, with every iteration's loss, as plain dictionaries, for JSON."""
    return [asdict(o) for o in outcomes]
