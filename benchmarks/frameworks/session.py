"""A whole measurement: who runs when. Rounds go through the frameworks in turn, so that the machine's mood falls on all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frameworks import candidates, samples
from frameworks.candidates import FRAMEWORKS, OURS, Candidate
from frameworks.environments import unavailable
from frameworks.networks import NETWORKS, Network
from frameworks.processes import run
from frameworks.runner import Job

__all__ = ["CLOSE", "Session", "cold_start_data"]

CLOSE = 1.5
"""A peer that needs so many times the best peer's time in the first round is out of the race, and not measured again."""


def say(line: str) -> None:
    """Print a line at once, also where a file or a pipe takes it."""
    print(line, flush=True)


@dataclass
class Session:
    """What is measured, and what has been found.

    Attributes:
        networks: names.
        frameworks: keys.
        rounds: how many.
        threads: of every process.
        seconds: that steps are timed for in a process.
        timeout: seconds that a process may take.
        quick: a miniature: steps alone, ours against the loop by hand.
        report: is given a line for each process.
        keep: is called when a network has been through a round.
        runs: what the processes said.
        missing: framework -> why it is not there.
    """

    networks: list[str]
    frameworks: list[str]
    rounds: int = 2
    threads: int = 2
    seconds: float = 1.5
    timeout: float = 240.0
    quick: bool = False
    report: Callable[[str], object] = say
    keep: Callable[[], object] = lambda: None
    runs: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    def measure(self, folder: Path) -> None:
        """Fill `runs` and `missing`; `folder` holds the data of the cold starts, as `samples.digits_files` wrote them."""
        homes = {FRAMEWORKS[name].home for name in self.frameworks}
        reasons = {home: unavailable(home, self.report) for home in sorted(homes)}
        self.missing = {name: reason for name in self.frameworks if (reason := reasons[FRAMEWORKS[name].home])}
        self.report(f"== measuring: networks {', '.join(self.networks)}; frameworks {', '.join(self.frameworks)}")
        for round_number in range(self.rounds):
            for name in self.networks:
                self._round(NETWORKS[name], round_number, folder)
                self.keep()

    def _round(self, network: Network, number: int, folder: Path) -> None:
        if not network.trains:
            self._all(candidates.predictors(network), [], network, number, "predict")
            return
        if self.quick:
            self._each([Candidate(OURS), Candidate("torch", "index")], network, number, "train")
            return
        self._all(candidates.steps(network), candidates.reduced(network), network, number, "train")
        if number == 0 or network.name == "digits":
            data = str(folder) if network.name == "digits" else ""
            self._each(candidates.first_epochs(network), network, number, "epoch", data)

    def _all(self, full: list[Candidate], less: list[Candidate], network: Network, number: int, kind: str) -> None:
        """Measure everybody, and the loops by hand that are near the best of them also with threads that spin; so ours."""
        own = [c for c in full if c.framework in (OURS, "torch")]
        if number:
            everybody = [*full, *map(candidates.spinning, own), *less]
            self._each(self._next(everybody, network, number), network, number, kind)
            return
        self._each(full, network, number, kind)
        times = {c: found for c in own if c.framework == "torch" and (found := self._first(c, network)) is not None}
        limit = CLOSE * min(times.values(), default=0.0)
        near = [c for c in own if c.framework == OURS or times.get(c, float("inf")) <= limit]
        self._each([*map(candidates.spinning, near), *less], network, number, kind)

    def _next(self, everybody: Iterable[Candidate], network: Network, number: int) -> list[Candidate]:
        """Return who is still in the race, in another order in every second round."""
        everybody = list(everybody)
        if number == 0:
            return everybody
        times = {c: found for c in everybody if (found := self._first(c, network)) is not None}
        peers = [found for c, found in times.items() if c.framework != OURS]
        limit = CLOSE * min(peers, default=float("inf"))
        chosen = [c for c, found in times.items() if found <= limit or (c.framework == OURS and c.precision == "float32")]
        return chosen[::-1] if number % 2 else chosen

    def _first(self, candidate: Candidate, network: Network) -> float | None:
        """Return the time of a candidate in the first round; seconds an image where the network is not trained."""
        for found in self.runs:
            same = (found["framework"], found["variant"], found["precision"], found["network"], found["round"])
            if same == (candidate.framework, candidate.variant, candidate.precision, network.name, 0) and "error" not in found:
                if found["kind"] == "train":
                    return statistics.median(found["ms"])
                if found["kind"] == "predict":
                    return 1 / statistics.median(found["images_per_s"])
        return None

    def _each(self, chosen: Iterable[Candidate], network: Network, number: int, kind: str, data: str = "") -> None:
        for index, candidate in enumerate(chosen):
            if candidate.framework not in self.frameworks or candidate.framework in self.missing:
                continue
            job = Job(
                network.name,
                candidate.framework,
                candidate.variant,
                candidate.precision,
                kind,
                number,
                1000 * number + index,
                self.threads,
                self.seconds,
                self.quick,
                data,
            )
            found = run(job, self.timeout)
            self.runs.append(found)
            minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
            self.report(f"{minutes:3d}:{seconds:02d}  round {number + 1}  {network.name:9s} {candidate.title}: {_told(found)}")


def _told(found: dict[str, Any]) -> str:
    if "error" in found:
        return f"failed: {found['error']}"
    if found["kind"] == "epoch":
        return f"first epoch after {found['wall_s']:.1f} s"
    if found["kind"] == "predict":
        return f"{statistics.median(found['images_per_s']):.1f} images/s"
    return f"{statistics.median(found['ms']):.2f} ms a step ({found['wall_s']:.0f} s in all)"


def cold_start_data(folder: Path) -> None:
    """Write R5's images, 5,000 to train on and 5,000 to validate on."""
    from laminar.data import digits

    (x, y), (x_test, y_test) = digits()
    samples.digits_files(folder, (x, y, x_test, y_test))
