"""What the benchmarks on a GPU share: arguments, a clock that waits for the device, data, tables."""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from frameworks.machine import describe

import laminar as lm

__all__ = ["Place", "arguments", "cifar10", "header", "seconds", "synchronize", "table"]

PIXELS = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))  # mean and deviation of CIFAR-10's channels


@dataclass(frozen=True)
class Place:
    """Where and how large to measure.

    Attributes:
        device: "cuda", or "cpu" in miniature.
        miniature: whether everything is to be over in seconds.
    """

    device: str
    miniature: bool

    def pick(self, full: int, small: int) -> int:
        """Return a number for the measurement, or for the miniature."""
        return small if self.miniature else full


def arguments(description: str | None, given: Sequence[str] | None) -> Place:
    """Return what the command line asks for; end the program where there is no GPU and no miniature is wanted."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--miniature", action="store_true", help="on the CPU, with few data, to see that it runs")
    miniature = parser.parse_args(given).miniature
    if not miniature and not torch.cuda.is_available():
        parser.error("there is no GPU here; --miniature runs on the CPU, with few data, and measures nothing")
    return Place("cpu" if miniature else "cuda", miniature)


def synchronize(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(function: Callable[[], object], device: str) -> float:
    """Return how long a call takes, until the device has done everything."""
    synchronize(device)
    began = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - began


def cifar10(place: Place) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Return CIFAR-10 on the device, its channels normalized; noise of its shape in miniature."""
    if place.miniature:
        generator = torch.Generator().manual_seed(0)
        return tuple(  # type: ignore[return-value]
            (torch.randn(n, 3, 32, 32, generator=generator), torch.randint(10, (n,), generator=generator)) for n in (16, 4)
        )
    mean, deviation = (torch.tensor(numbers, device=place.device).view(1, 3, 1, 1) for numbers in PIXELS)

    def there(x: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.from_numpy(x).to(place.device)
        return (images - mean) / deviation, torch.from_numpy(y).to(place.device)

    training, test = lm.data.cifar10()
    return there(*training), there(*test)


def header(title: str, place: Place) -> str:
    """Return what was measured, on what."""
    device = torch.cuda.get_device_name() if place.device == "cuda" else "the CPU, in miniature: these are no measurements"
    host = describe()
    return (
        f"## {title}\n\n{datetime.date.today()}, {device}, {host['processor']}, {host['cores']} cores, "
        f"torch {torch.__version__}, Python {host['python']}.\n"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
