"""What a run costs when several seeds of a perceptron are trained in one program, against one after the other.

    .venv/bin/python benchmarks/comparison/together.py [--repeats 7] [--networks 8] [--epochs 3] [--threads 1 2] [--output FILE]

Two networks with batch normalization, batches of 128, on random data: the time does not depend on the values. One is small,
for images of 8×8, and most of its step is the calling of operations; the other is R16's for CIFAR-10, where it is arithmetic.
A run's time is that of its training, as a comparison records it; where several are trained at once it is the time of all by
their number. Repeats are interleaved, A B B A ..., and the figure is the median of the ratios of neighbours.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import os
import platform
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import laminar as lm
from laminar import layers as L
from laminar.comparison.protocol import make_protocol
from laminar.comparison.runs import Run
from laminar.comparison.task import Task, execute
from laminar.comparison.together import can_train_together, execute_together

NETWORKS = {"MLP 64-32-16-10 with BN": (64, (32, 16)), "MLP 3072-20-15-10 with BN": (3072, (20, 15))}
"""Name -> inputs, hidden units."""


def perceptron(hidden: tuple[int, ...]) -> lm.Sequential:
    """Return a network, compiled."""
    layers = [layer for units in hidden for layer in (L.Dense(units), L.BatchNormalization(), L.ReLU())]
    model = lm.Sequential([*layers, L.Dense(10), L.Softmax()])
    model.compile("sgdm", "sparse_categorical_crossentropy", ["accuracy"])
    return model


def study(name: str, observations: int, epochs: int) -> Task:
    """Return the comparison whose runs are timed."""
    inputs, hidden = NETWORKS[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(observations, inputs, generator=generator)
    y = torch.randint(10, (observations,), generator=generator)
    protocol = make_protocol([name, "the same"], metric="accuracy", margin=0.01, seeds=20)
    builder = functools.partial(perceptron, hidden)
    return Task(protocol, {name: builder, "the same": builder}, (x, y), (x[:512], y[:512]), {"epochs": epochs})


def measure(name: str, task: Task, networks: int, threads: int, repeats: int) -> dict[str, Any]:
    """Return the medians of one setting."""
    torch.set_num_threads(threads)

    def seconds(runs: list[Run], together: int) -> float:
        for run in runs:
            if run.status != "finished" or run.together != together:
                raise RuntimeError(f"the run is not what was to be timed: {run.status}, {run.together}, {run.error}")
        return statistics.median(run.seconds for run in runs)

    ways: dict[str, Callable[[], float]] = {
        "alone": lambda: seconds([execute(task, name, 0)], 1),
        "together": lambda: seconds(execute_together(task, name, range(networks)), networks),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(-1, repeats):
        for way in list(ways) if repeat % 2 else reversed(list(ways)):
            found = ways[way]()
            if repeat >= 0:  # the first one warms up
                times[way].append(found)
    ratios = [a / b for a, b in zip(times["alone"], times["together"], strict=True)]
    return {
        "network": name,
        "threads": threads,
        "networks": networks,
        "alone": statistics.median(times["alone"]),
        "together": statistics.median(times["together"]),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
    }


def report(results: list[dict[str, Any]], steps: int, repeats: int) -> str:
    """Return the table as Markdown."""
    lines = [
        f"{datetime.date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"torch {torch.__version__}, {repeats} interleaved repeats of {steps} steps.",
        "",
        "| network | threads | at once | one after the other, s a run | at once, s a run | times faster (lowest to highest) |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['network']} | {r['threads']} | {r['networks']} | {r['alone']:.3f} | {r['together']:.3f} "
        f"| **{r['ratio']:.2f}** ({r['ratio_low']:.2f} to {r['ratio_high']:.2f}) |"
        for r in results
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure every setting and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--networks", type=int, nargs="+", default=[8])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--observations", type=int, default=12_800)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    results = []
    for name in NETWORKS:
        task = study(name, arguments.observations, arguments.epochs)
        reason = can_train_together(task, name)
        if reason is not None:
            raise RuntimeError(reason)
        settings = [(networks, threads) for threads in arguments.threads for networks in arguments.networks]
        results += [measure(name, task, networks, threads, arguments.repeats) for networks, threads in settings]
    print(report(results, -(-arguments.observations // 128) * arguments.epochs, arguments.repeats))
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
