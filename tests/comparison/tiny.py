"""A comparison of two networks of a few numbers, whose runs take milliseconds; as a program, one that others may kill."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

import laminar as lm
from laminar import layers as L
from laminar.comparison.processes import run_workers
from laminar.comparison.protocol import make_protocol
from laminar.comparison.store import Store
from laminar.comparison.task import Task

FINGERPRINT = "tiny"


def tiny_task(seeds: int, log: Path | None = None) -> Task:
    """Return the comparison; every execution adds a line to `log`: variant and seed."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(32, 3, generator=generator)  # (B, F)
    y = (x.sum(dim=1) > 0).long()
    protocol = make_protocol(["narrow", "wide"], metric="accuracy", margin=0.05, seeds=seeds, stop="fixed")
    builders = {"narrow": _builder("narrow", 1, log), "wide": _builder("wide", 6, log)}
    return Task(protocol, builders, (x, y), (x, y), {"epochs": 1, "batch_size": 16})


def _builder(name: str, units: int, log: Path | None) -> Callable[[int], lm.Model]:
    def build(seed: int) -> lm.Model:
        if log is not None:
            line = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)  # short lines of several processes stay whole
            os.write(line, f"{name} {seed}\n".encode())
            os.close(line)
        model = lm.Sequential([L.Dense(units, activation="tanh"), L.Dense(2, activation="softmax")])
        model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    return build


def main() -> None:
    """Run the comparison in worker processes: store, name of the study, seeds, log, workers."""
    where, name, seeds, log, workers = sys.argv[1:]
    task = tiny_task(int(seeds), Path(log))
    store = Store(where)
    store.open_study(name, task.protocol.to_dict(), FINGERPRINT)
    run_workers(task, store, name, int(workers))


if __name__ == "__main__":
    main()
