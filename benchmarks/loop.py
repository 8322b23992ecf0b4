"""What `fit` costs against a loop written by hand that does the same steps.

    make bench            or: .venv/bin/python benchmarks/loop.py [--repeats 25] [--output FILE]

Both train the same modules from the same weights on the same batches (cut by index), with the same optimizer. `fit` also
records loss and accuracy of every iteration and shows its live table in a (pseudo) terminal; the hand-written loop records
nothing. Both run in one process, so that the hand-written loop has freed memory reused as well (see laminar.fit.memory).
Repeats are interleaved, A B C C B A ..., and the figure is the median of the ratios of neighbours: the machine's mood falls
on all.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import os
import platform
import pty
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import laminar as lm
from laminar import layers as L
from laminar.optimizers import SGDM

BATCH = 128


@dataclass(frozen=True)
class Case:
    """A network, its data, and how long one timing lasts."""

    name: str
    build: Callable[[], lm.Sequential]
    shape: tuple[int, ...]
    observations: int
    epochs: int
    allowed: float

    @property
    def steps(self) -> int:
        """Steps in one timing."""
        return self.observations // BATCH * self.epochs


def mlp() -> lm.Sequential:
    """R15's perceptron, 3072-20-15-10 with ReLU."""
    return lm.Sequential([L.Dense(20, "relu"), L.Dense(15, "relu"), L.Dense(10)])


def digits() -> lm.Sequential:
    """R5's network with batch normalization."""
    return lm.Sequential([L.Conv2D(20, 5), L.BatchNormalization(), L.ELU("uniform", learnable=True), L.Flatten(), L.Dense(10)])


CASES = [
    Case("MLP 3072-20-15-10", mlp, (3072,), 12_800, 10, 1.05),
    Case("digits, with BN", digits, (1, 28, 28), 4_992, 1, 1.02),
]


@contextmanager
def terminal() -> Iterator[None]:
    """Let the program write to a pseudo-terminal, which somebody reads, so that the live table is really drawn."""
    master, slave = pty.openpty()

    def drain() -> None:
        try:
            while os.read(master, 65536):
                pass
        except OSError:
            pass  # the other end is closed

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    before, sys.stdout = sys.stdout, os.fdopen(slave, "w")
    try:
        yield
    finally:
        sys.stdout.close()
        sys.stdout = before
        reader.join(timeout=2)
        os.close(master)


def by_hand(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, epochs: int) -> None:
    """The loop as it is written by hand: no metrics, no progress, no checks."""
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x) // BATCH * BATCH, BATCH):
            index = order[start : start + BATCH]
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[index]), y[index])
            loss.backward()
            optimizer.step()


def time_ours(case: Case, start: lm.Sequential, x: torch.Tensor, y: torch.Tensor) -> float:
    """Seconds of one fit, everything in it: checks of the data, metrics, table."""
    model = copy.deepcopy(start)
    model.compile(optimizer="sgdm", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    with terminal():
        began = time.perf_counter()
        model.fit(x, y, epochs=case.epochs, batch_size=BATCH, drop_last=True, verbose=1)
        return time.perf_counter() - began


def time_theirs(case: Case, start: lm.Sequential, x: torch.Tensor, y: torch.Tensor, *, fused: bool) -> float:
    """Seconds of the hand-written loop, with the optimizer that fit makes, or with torch's defaults."""
    model = copy.deepcopy(start)
    weights = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    began = time.perf_counter()
    if fused:
        optimizer = SGDM().create(weights, others)
    else:
        groups = [{"params": weights, "weight_decay": 1e-4}, {"params": others}]
        optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9)
    by_hand(model, optimizer, x, y, case.epochs)
    return time.perf_counter() - began


def measure(case: Case, repeats: int) -> dict[str, object]:
    """Return the medians of one case."""
    torch.manual_seed(0)
    x, y = torch.randn(case.observations, *case.shape), torch.randint(10, (case.observations,))
    start = case.build()
    start.build(case.shape, seed=0)
    runs: dict[str, Callable[[], float]] = {
        "fit": lambda: time_ours(case, start, x, y),
        "same": lambda: time_theirs(case, start, x, y, fused=True),
        "default": lambda: time_theirs(case, start, x, y, fused=False),
    }
    for run in runs.values():  # warm up
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats):
        for name in list(runs) if repeat % 2 else reversed(list(runs)):
            times[name].append(runs[name]())
    ratio = {name: [a / b for a, b in zip(times["fit"], times[name], strict=True)] for name in ("same", "default")}
    return {
        "case": case.name,
        "steps": case.steps,
        "allowed": case.allowed,
        "ms_fit": statistics.median(times["fit"]) / case.steps * 1e3,
        "ms_same": statistics.median(times["same"]) / case.steps * 1e3,
        "ms_default": statistics.median(times["default"]) / case.steps * 1e3,
        "ratio": statistics.median(ratio["same"]),
        "ratio_low": min(ratio["same"]),
        "ratio_high": max(ratio["same"]),
        "ratio_default": statistics.median(ratio["default"]),
    }


def report(results: list[dict[str, object]], repeats: int) -> str:
    """Return the table as Markdown."""
    lines = [
        f"{datetime.date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"torch {torch.__version__} with {torch.get_num_threads()} threads, {repeats} interleaved repeats.",
        "",
        "| network | steps | fit, ms a step | by hand, ms a step | ratio (lowest to highest) | allowed "
        "| by hand with torch's default SGD, ms a step | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['case']} | {r['steps']} | {r['ms_fit']:.3f} | {r['ms_same']:.3f} "
        f"| **{r['ratio']:.3f}** ({r['ratio_low']:.3f} to {r['ratio_high']:.3f}) | {r['allowed']} "
        f"| {r['ms_default']:.3f} | {r['ratio_default']:.3f} |"
        for r in results
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    results = [measure(case, arguments.repeats) for case in CASES]
    print(report(results, arguments.repeats))
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
