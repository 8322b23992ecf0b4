"""What the raw runs come to: medians, spreads, ratios of the same round. Pure functions of the results file."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from frameworks.candidates import OURS

__all__ = ["Measured", "Ratio", "best", "epochs", "inference", "losses", "memory", "ratio", "steps"]

Runs = list[dict[str, Any]]


@dataclass(frozen=True)
class Measured:
    """One candidate's figures.

    Attributes:
        framework: key.
        variant: of the framework.
        precision: of the numbers.
        rounds: round -> median of the figures of that round's process.
        low: the smallest of all.
        high: the largest of all.
    """

    framework: str
    variant: str
    precision: str
    rounds: dict[int, float]
    low: float
    high: float

    @property
    def middle(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds.values())


@dataclass(frozen=True)
class Ratio:
    """The ratio of two candidates, round by round: the median, the lowest and the highest."""

    middle: float
    low: float
    high: float


def _collect(runs: Runs, network: str, kinds: Iterable[str], values: Callable[[dict[str, Any]], list[float]]) -> list[Measured]:
    found: dict[tuple[str, str, str], dict[int, list[float]]] = {}
    for run in runs:
        if run["network"] == network and run["kind"] in kinds and "error" not in run and (numbers := values(run)):
            found.setdefault((run["framework"], run["variant"], run["precision"]), {})[run["round"]] = numbers
    result = []
    for key, rounds in found.items():
        everything = [number for numbers in rounds.values() for number in numbers]
        middles = {number: statistics.median(numbers) for number, numbers in rounds.items()}
        result.append(Measured(*key, middles, min(everything), max(everything)))
    return result


def steps(runs: Runs, network: str, precision: str | None = "float32") -> list[Measured]:
    """Return the milliseconds of a training step of everybody at `precision`; at any where None."""
    found = _collect(runs, network, ["train"], lambda run: list(run["ms"]))
    return [m for m in found if precision in (None, m.precision)]


def inference(runs: Runs, network: str) -> list[Measured]:
    """Return the milliseconds for each observation in inference at float32."""
    found = _collect(runs, network, ["train", "predict"], lambda run: [1e3 / rate for rate in run["images_per_s"]])
    return [m for m in found if m.precision == "float32"]


def epochs(runs: Runs, network: str) -> list[Measured]:
    """Return the seconds from the start of a process to the end of its first epoch, validation included."""
    return _collect(runs, network, ["epoch"], lambda run: [run["wall_s"]])


def memory(runs: Runs, network: str, *, beyond_import: bool = False) -> list[Measured]:
    """Return the MB that a training process held at most, at float32; beyond what it held after its imports where asked for."""

    def values(run: dict[str, Any]) -> list[float]:
        if run["peak_mb"] is None:
            return []
        return [run["peak_mb"] - (run["imported_mb"] if beyond_import else 0.0)]

    return [m for m in _collect(runs, network, ["train", "predict"], values) if m.precision == "float32"]


def losses(runs: Runs, network: str) -> dict[str, list[float]]:
    """Return the training losses after the same steps at float32, framework -> one for each process."""
    found: dict[str, list[float]] = {}
    for run in runs:
        if run["network"] == network and run["kind"] == "train" and "error" not in run and run["precision"] == "float32":
            found.setdefault(run["framework"], []).append(run["loss"])
    return found


def best(measured: Iterable[Measured], framework: str | None = None) -> Measured | None:
    """Return a framework's fastest candidate, or the fastest of all peers; None where there is none."""
    chosen = [m for m in measured if (m.framework == framework if framework else m.framework != OURS)]
    return min(chosen, key=lambda m: m.middle, default=None)


def ratio(peer: Measured | None, ours: Measured | None) -> Ratio | None:
    """Return peer ÷ ours in the rounds that both have; None where there is none.

    >>> one = Measured("torch", "", "float32", {0: 4.0, 1: 9.0}, 4.0, 9.0)
    >>> ratio(one, Measured("laminar", "", "float32", {0: 2.0, 1: 3.0}, 2.0, 3.0))
    Ratio(middle=2.5, low=2.0, high=3.0)
    """
    common = sorted(set(peer.rounds) & set(ours.rounds)) if peer and ours else []
    if not (peer and ours and common):
        return None
    found = [peer.rounds[number] / ours.rounds[number] for number in common]
    return Ratio(statistics.median(found), min(found), max(found))
