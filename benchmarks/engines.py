"""What a training step of the digits network costs under each engine, and with each number of threads.

    .venv/bin/python benchmarks/engines.py [--repeats 7] [--threads 1 2]

Timed is `fit` on ten batches of 128 with everything it does. Repeats are interleaved, A B B A ...; medians and the lowest
are told.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import time

import torch

import laminar as lm
from laminar.data import digits
from laminar.studies.digits import VARIANTS

STEPS, BATCH = 10, 128
ENGINES = ("eager", "auto")


def network(engine: str) -> lm.Sequential:
    """Return R5's network with batch normalization, compiled as the study has it, for an engine."""
    model = VARIANTS["with BN"]()
    recipe = model._compiled("fit")
    model.compile(recipe.optimizer, recipe.loss, ["accuracy"], engine=engine)
    return model


def measure(threads: int, repeats: int) -> dict[str, list[float]]:
    """Return the milliseconds a step of every repeat, by engine."""
    torch.set_num_threads(threads)
    (x, y), _ = digits()
    models = {engine: network(engine) for engine in ENGINES}
    times: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for repeat in range(-1, repeats):
        for engine in ENGINES if repeat % 2 else reversed(ENGINES):
            began = time.perf_counter()
            models[engine].fit(x[: STEPS * BATCH], y[: STEPS * BATCH], batch_size=BATCH, seed=0, verbose=0)
            if repeat >= 0:  # the first one warms up
                times[engine].append((time.perf_counter() - began) / STEPS * 1e3)
    return times


def main() -> None:
    """Measure and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    print(
        f"{datetime.date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"torch {torch.__version__}, {arguments.repeats} interleaved repeats.\n\n"
        "| threads | eager, ms a step (lowest) | auto, ms a step (lowest) | times faster |\n|---|---|---|---|"
    )
    for threads in arguments.threads:
        times = measure(threads, arguments.repeats)
        ratio = statistics.median(a / b for a, b in zip(times["eager"], times["auto"], strict=True))
        cells = [f"{statistics.median(times[engine]):.1f} ({min(times[engine]):.1f})" for engine in ENGINES]
        print(f"| {threads} | {' | '.join(cells)} | **{ratio:.2f}** |")


if __name__ == "__main__":
    main()
