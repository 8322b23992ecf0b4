"""What torch's fused kernels save a recurrent layer against the same layer step by step.

    .venv/bin/python benchmarks/recurrent.py [--repeats 15]

Forward and backward of one layer, the same weights and the same input. Repeats are interleaved, A B B A ..., and the figure is
the median of the ratios of neighbours: the machine's mood falls on both.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import time

import torch

from laminar import layers as L
from laminar.layers.recurrence import Recurrence

BATCH, STEPS, FEATURES, UNITS = 64, 50, 16, 64


class Stepwise:
    """Keeps a layer from torch's kernels inside."""

    def __init__(self, layer: Recurrence) -> None:
        self.layer = layer

    def __enter__(self) -> None:
        self.layer.__dict__["_may_fuse"] = lambda *_: False

    def __exit__(self, *_: object) -> None:
        del self.layer.__dict__["_may_fuse"]


def once(layer: Recurrence, x: torch.Tensor, *, fused: bool) -> float:
    """Seconds of one forward and backward."""
    began = time.perf_counter()
    if fused:
        layer(x).sum().backward()
    else:
        with Stepwise(layer):
            layer(x).sum().backward()
    return time.perf_counter() - began


def measure(layer: Recurrence, repeats: int) -> tuple[list[float], list[float]]:
    """Return the seconds of each repeat: fused, and step by step."""
    torch.manual_seed(0)
    x = torch.randn(BATCH, STEPS, FEATURES)
    times: dict[bool, list[float]] = {True: [], False: []}
    for fused in times:  # warm up
        once(layer, x, fused=fused)
    for repeat in range(repeats):
        for fused in (True, False) if repeat % 2 else (False, True):
            times[fused].append(once(layer, x, fused=fused))
    return times[True], times[False]


def main() -> None:
    """Measure the three layers and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(
        f"{datetime.date.today()}, {machine}, torch {torch.__version__} "
        f"with {torch.get_num_threads()} threads, {repeats} interleaved repeats; batch {BATCH}, {STEPS} steps, {FEATURES} "
        f"features, {UNITS} units.\n"
    )
    print("| layer | fused, ms | step by step, ms | ratio (lowest to highest) |\n|---|---|---|---|")
    for layer in (L.SimpleRNN(UNITS), L.GRU(UNITS), L.LSTM(UNITS)):
        fused, steps = measure(layer, repeats)
        ratios = [b / a for a, b in zip(fused, steps, strict=True)]
        print(
            f"| {type(layer).__name__} | {statistics.median(fused) * 1e3:.2f} | {statistics.median(steps) * 1e3:.2f} "
            f"| **{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f}) |"
        )


if __name__ == "__main__":
    main()
