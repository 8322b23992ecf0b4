"""What two worker processes of one thread each save against one process with two threads, on the study of R5.

    .venv/bin/python benchmarks/comparison/workers.py [--repeats 3] [--seeds 2] [--epochs 30] [--output FILE]

The three networks of `laminar.studies.digits`, each from the same seeds, into a new SQLite file every time. Timed is all that a
person waits for from the first claim to the last record: the start of the processes too. Repeats are interleaved, A B B A ...,
and the figure is the median of the ratios of neighbours.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from laminar.comparison.processes import run_workers
from laminar.comparison.protocol import make_protocol
from laminar.comparison.store import Store
from laminar.comparison.task import Task
from laminar.comparison.worker import work
from laminar.data import digits
from laminar.studies.digits import FIT, PUBLISHED, VARIANTS

NAMES = list(PUBLISHED)  # those of R5's document, three


def study(seeds: int, epochs: int) -> Task:
    """Return R5's study: every seed is run."""
    train, test = digits()
    protocol = make_protocol(NAMES, metric="accuracy", margin=0.002, seeds=seeds, stop="fixed")
    return Task(protocol, {name: VARIANTS[name] for name in NAMES}, train, test, {**FIT, "epochs": epochs})


def seconds(task: Task, workers: int) -> float:
    """Return the time that the study takes in as many processes; this one, where it is 1."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "runs.db")
        store.open_study("r5", task.protocol.to_dict(), "a benchmark")
        began = time.perf_counter()
        if workers == 1:
            work(task, store, "r5")
        else:
            run_workers(task, store, "r5", workers)
        took = time.perf_counter() - began
        runs = store.runs("r5")
        failed = [run.error for run in runs if run.status != "finished"]
        if failed or len(runs) != len(NAMES) * task.protocol.seeds:
            raise RuntimeError(f"{len(runs)} runs, failed: {failed}")
        return took


def measure(task: Task, repeats: int) -> dict[str, float]:
    """Return the medians."""
    ways: dict[str, Callable[[], float]] = {"one": lambda: seconds(task, 1), "two": lambda: seconds(task, 2)}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats):
        for name in list(ways) if repeat % 2 else reversed(list(ways)):
            times[name].append(ways[name]())
    ratios = [a / b for a, b in zip(times["one"], times["two"], strict=True)]
    return {
        "one": statistics.median(times["one"]),
        "two": statistics.median(times["two"]),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
    }


def main() -> None:
    """Measure and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2, help="runs of each of the three networks")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    found = measure(study(arguments.seeds, arguments.epochs), arguments.repeats)
    print(
        f"{datetime.date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"torch {torch.__version__}, {arguments.repeats} interleaved repeats, {len(NAMES) * arguments.seeds} runs of "
        f"{arguments.epochs} epochs.\n\n"
        "| one process, two threads, s | two workers, one thread each, s | times faster (lowest to highest) |\n|---|---|---|\n"
        f"| {found['one']:.1f} | {found['two']:.1f} "
        f"| **{found['ratio']:.2f}** ({found['ratio_low']:.2f} to {found['ratio_high']:.2f}) |"
    )
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
