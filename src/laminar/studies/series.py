"""R28: does an LSTM foretell a series better than saying that tomorrow is as today? On daily temperatures, held-out years.

The series is the daily minimum temperatures of Melbourne, 1981 to 1990, where `$LAMINAR_DATA` has the file; elsewhere a
generated one, two damped oscillators that chance pushes, seen through noise. The order of time is kept: the first 80 % of the
samples are learned from, the last 20 % are tested on. Mean and standard deviation of the first part normalize both.
"""

from __future__ import annotations

import csv
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laminar import layers as L
from laminar.data import windows
from laminar.errors import ArgumentError, FileError, complaint
from laminar.optimizers import Adam
from laminar.sequential import Sequential

__all__ = ["Outcome", "as_rows", "forecasts", "generated", "network", "series", "study", "table", "temperatures"]

FILE = "series/daily-min-temperatures.csv"
STEPS = 30
"""Days in a window."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Outcome:
    """How one forecast did on the held-out samples.

    Attributes:
        forecast: which one.
        seed: of initial weights and shuffling; None where nothing is drawn.
        mae: mean absolute error, in the units of the series.
        rmse: root of the mean squared error, in the units of the series.
        seconds: of the training.
    """

    forecast: str
    seed: int | None
    mae: float
    rmse: float
    seconds: float


def network(units: int = 32) -> Sequential:
    """Return the network: windows (steps, 1), an LSTM, the next value; compiled.

    >>> [layer.name for layer in network()]
    ['lstm', 'dense']
    """
    model = Sequential([L.LSTM(units), L.Dense(1)])
    model.compile(optimizer=Adam(learning_rate=0.003), loss="mean_squared_error")
    return model


def temperatures(path: Path) -> Array:
    """Return the temperatures in a file of lines "date",temperature under a line of titles, in degrees Celsius.

    Raises:
        FileError: naming the line that is none.
    """
    values = []
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file), 1):
            try:
                if number > 1 and row:
                    values.append(float(row[1]))
            except (IndexError, ValueError) as error:
                fix = "Replace the file by the publisher's"
                received = ",".join(row)
                raise FileError(
                    complaint(f"{path}, line {number}", expected="a date and a number", received=received, fix=fix)
                ) from error
    return np.asarray(values, np.float32)


def generated(samples: int = 3650, seed: int = 0) -> Array:
    """Return a series that is made up: two damped oscillators pushed by chance, and noise on what is seen of them.

    Args:
        samples: its length.
        seed: of the pushes and the noise.

    >>> generated(5).shape
    (5,)
    """
    rng = np.random.default_rng(seed)
    seen = np.zeros(samples)
    for period, damping in ((40.0, 0.03), (11.0, 0.05)):  # samples; share of the swing that is lost in a sample
        turn = (1 - damping) * np.exp(2j * math.pi / period)
        pushes = rng.normal(size=samples) + 1j * rng.normal(size=samples)
        swing = 0j
        for t in range(samples):
            swing = turn * swing + pushes[t]
            seen[t] += swing.real
    return (seen + rng.normal(scale=1.0, size=samples)).astype(np.float32)


def series(report: Callable[[str], object] = print) -> Array:
    """Return the series, the real one where it is there; `report` is told which one it is."""
    root = os.environ.get("LAMINAR_DATA")
    path = Path(root or "") / FILE
    if root and path.is_file():
        values = temperatures(path)
        report(f"{len(values):,} daily minimum temperatures, in degrees Celsius, from {path}")
        return values
    values = generated()
    report(f"{len(values):,} samples of a GENERATED series, two noisy damped oscillators: $LAMINAR_DATA has no {FILE}")
    return values


def forecasts(values: Array, seeds: int, epochs: int, report: Callable[[str], object] = print) -> list[Outcome]:
    """Return how well the last value, a straight line through the window, and the LSTM foretell the last fifth of `values`.

    Args:
        values: (n_samples,), in the order of time.
        seeds: runs of the LSTM.
        epochs: passes over the first four fifths.
        report: is given a line for each forecast.
    """
    cut = len(values) * 4 // 5
    mean, deviation = values[:cut].mean(), values[:cut].std()
    normal = (values - mean) / deviation
    x, y = windows(normal[:cut], STEPS)
    x_test, y_test = windows(normal[cut - STEPS :], STEPS)  # the first window ends where the training part does
    outcomes: list[Outcome] = []

    def judge(name: str, seed: int | None, told: NDArray[Any], started: float) -> None:
        errors = (told.reshape(-1) - y_test).astype(np.float64) * float(deviation)
        mae, rmse = float(np.abs(errors).mean()), math.sqrt(float((errors**2).mean()))
        outcomes.append(Outcome(name, seed, mae, rmse, time.perf_counter() - started))
        of = "" if seed is None else f"seed {seed}  "
        report(f"{of}{name:<22} MAE {mae:.3f}  RMSE {rmse:.3f}  {outcomes[-1].seconds:5.1f} s")

    judge("last value", None, x_test[:, -1, 0], time.perf_counter())
    started = time.perf_counter()
    line = np.linalg.lstsq(_with_one(x), y, rcond=None)[0]
    judge("linear autoregression", None, _with_one(x_test) @ line, started)
    for seed in range(seeds):
        started, model = time.perf_counter(), network()
        model.fit(x, y, epochs=epochs, batch_size=64, seed=seed, verbose=0)
        judge("LSTM", seed, np.asarray(model.predict(x_test)), started)
    return outcomes


def _with_one(x: NDArray[Any]) -> NDArray[Any]:
    return np.hstack([x[:, :, 0], np.ones((len(x), 1), x.dtype)])


def study(*, seeds: int = 5, epochs: int = 10, report: Callable[[str], object] = print) -> list[Outcome]:
    """Train from seeds 0, 1, ... and compare with two forecasts that learn nothing, or little.

    Args:
        seeds: how many runs of the LSTM.
        epochs: passes over the training part.
        report: is given a line about the data and one for each run.

    Raises:
        ArgumentError: if there is no seed to run.
        FileError: if the file is there and is not what it should be.
    """
    if seeds < 1:
        raise ArgumentError(complaint("study(seeds=)", expected="at least 1", received=f"{seeds}", fix="Pass seeds=5"))
    return forecasts(series(report), seeds, epochs, report)


def table(outcomes: Iterable[Outcome]) -> str:
    """Return mean and spread of the errors of each forecast, as Markdown.

    >>> print(table([Outcome("last value", None, 2.0, 2.5, 0.0), Outcome("LSTM", 0, 1.7, 2.2, 9.0)]))
    | forecast | seeds | mean MAE | lowest to highest | mean RMSE | lowest to highest | seconds (median) |
    |---|---|---|---|---|---|---|
    | last value | – | 2.000 | – | 2.500 | – | 0.0 |
    | LSTM | 1 | 1.700 | – | 2.200 | – | 9.0 |
    """
    by_name: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_name.setdefault(outcome.forecast, []).append(outcome)
    lines = [
        "| forecast | seeds | mean MAE | lowest to highest | mean RMSE | lowest to highest | seconds (median) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in by_name.items():
        seeds = "–" if runs[0].seed is None else str(len(runs))
        figures = (f"{statistics.mean(e):.3f} | {_range(e)}" for e in ([r.mae for r in runs], [r.rmse for r in runs]))
        lines.append(f"| {name} | {seeds} | {' | '.join(figures)} | {statistics.median(r.seconds for r in runs):.1f} |")
    return "\n".join(lines)


def _range(errors: list[float]) -> str:
    return f"{min(errors):.3f} to {max(errors):.3f}" if len(errors) > 1 else "–"


def as_rows(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return the forecasts as plain dictionaries, for JSON."""
    return [asdict(o) for o in outcomes]
