"""What happens in the process of one framework: it is built, trained and asked, and what that took is printed as JSON.

The process imports this file and its framework, and nothing of Laminar (Laminar's own apart).
"""

from __future__ import annotations

import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frameworks.networks import NETWORKS, Network, miniature, shortened
from frameworks.samples import load, sample

__all__ = ["AfterEpoch", "Job", "Subject", "main"]

AfterEpoch = Callable[[float], bool]
"""Is given the mean training loss of an epoch that ended; returns whether to go on."""

_MOST_EPOCHS = 10_000


@dataclass(frozen=True)
class Job:
    """What a process is to do.

    Attributes:
        network: name.
        framework: name.
        variant: of the framework's own, "" where it has one only.
        precision: "float32", "bfloat16" or "auto".
        kind: "train" (steps, memory, inference), "predict" (inference alone), "epoch" (one from a cold start).
        round: number of the round.
        seed: of initial values and shuffling.
        threads: how many.
        seconds: that steps are timed for.
        quick: a miniature, for a test.
        data: folder of the data of a cold start; "" for made data.
    """

    network: str
    framework: str
    variant: str = ""
    precision: str = "float32"
    kind: str = "train"
    round: int = 0
    seed: int = 0
    threads: int = 2
    seconds: float = 1.5
    quick: bool = False
    data: str = ""

    @property
    def task(self) -> Network:
        """The network's description."""
        network = NETWORKS[self.network] if self.precision == "float32" else shortened(NETWORKS[self.network])
        return miniature(network) if self.quick else network


class Subject(ABC):
    """A network in one framework, driven by the calls that its users write.

    Args:
        job: what to do.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.network = job, job.task

    @abstractmethod
    def build(self) -> int:
        """Make the network, and return how many parameters learn."""

    @abstractmethod
    def train(self, x: np.ndarray, y: np.ndarray, most_epochs: int, after_epoch: AfterEpoch) -> None:
        """Train until `after_epoch` says no."""

    @abstractmethod
    def epoch(self, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
        """Train one epoch, validate, and return the validation loss."""

    @abstractmethod
    def predict(self, x: np.ndarray) -> int:
        """Predict all of x, and return how many predictions there are."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Return the versions of what is at work."""


def main(subject: Callable[[Job], Subject]) -> None:
    """Do the job that the command line describes, and print the result as the last line."""
    imported = memory("VmRSS")
    job = Job(**json.loads(sys.argv[1]))
    found = {"epoch": _epoch, "train": _train, "predict": _predict}[job.kind](subject(job))
    finished = time.time()
    if job.framework != "laminar" and "laminar" in sys.modules:
        raise RuntimeError(f"the process of {job.framework} has imported laminar")
    print("\n" + json.dumps({**asdict(job), "imported_mb": imported, "finished": finished, **found}), flush=True)


def memory(field: str) -> float | None:
    """Return VmRSS (memory held now) or VmHWM (the most so far) of this process in MB; None where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:")), None)


def _train(subject: Subject) -> dict[str, Any]:
    network, job = subject.network, subject.job
    x, y = sample(network, network.observations)
    parameters = subject.build()
    losses: list[float] = []
    ends: list[float] = []

    def after_epoch(loss: float) -> bool:
        ends.append(time.perf_counter())
        losses.append(loss)
        least = 2 if job.precision == "float32" else 1
        return len(ends) - network.warm < least or ends[-1] - ends[network.warm - 1] < job.seconds

    subject.train(x, y, _MOST_EPOCHS, after_epoch)
    peak = memory("VmHWM")  # before anything is predicted
    blocks = [(b - a) / network.steps * 1e3 for a, b in zip(ends[network.warm - 1 :], ends[network.warm :], strict=False)]
    return {
        "parameters": parameters,
        "ms": blocks,
        "loss": losses[network.warm - 1],
        "steps": network.warm * network.steps,
        "peak_mb": peak,
        "images_per_s": _rates(subject, x) if job.precision == "float32" else [],
        "versions": subject.versions(),
    }


def _predict(subject: Subject) -> dict[str, Any]:
    x, _ = sample(subject.network, subject.network.observations)
    parameters = subject.build()
    rates = _rates(subject, x)
    return {
        "parameters": parameters,
        "images_per_s": rates,
        "peak_mb": memory("VmHWM"),
        "versions": subject.versions(),
    }


def _rates(subject: Subject, x: np.ndarray) -> list[float]:
    """Return observations per second of several predictions of x, after one to warm up."""
    rates: list[float] = []
    started = 0.0
    while len(rates) < 4 or time.perf_counter() - started < subject.job.seconds / 2:
        before = time.perf_counter()
        if subject.predict(x) != len(x):
            raise RuntimeError("another number of predictions than of observations")
        started = started or time.perf_counter()
        rates.append(len(x) / (time.perf_counter() - before))
    return rates[1:]


def _epoch(subject: Subject) -> dict[str, Any]:
    network = subject.network
    if subject.job.data:
        parts = load(subject.job.data)
    else:
        test = network.observations // 4
        parts = [*sample(network, network.observations), *sample(network, test, seed=1)]
    parameters = subject.build()
    return {"parameters": parameters, "loss": subject.epoch(*parts)}
