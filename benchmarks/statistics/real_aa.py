"""Real A/A studies: a tiny network against itself, each run really trained. How often is a difference found?

    .venv/bin/python benchmarks/statistics/real_aa.py [--studies 100] [--first 0] [--output FILE]

Both variants are the same network; the second draws its initial values from another seed. What else varies from run to run, the
sample that is learned from and its order, the two runs of a pair share, as in any comparison. So no verdict of a difference is
true. Each study looks after every pair, has at most 20, and ends as `lm.compare` would end it.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch

import laminar as lm
from laminar import layers as L
from laminar import seeding
from laminar.comparison.intervals import clopper_pearson
from laminar.comparison.protocol import Protocol, make_protocol
from laminar.comparison.runs import Run, values_by_variant
from laminar.comparison.schedule import pending
from laminar.comparison.task import Task, execute
from laminar.comparison.verdicts import Verdict, judge
from laminar.optimizers import Adam

FEATURES, CLASSES, TRAINED, TESTED = 8, 3, 150, 500
CENTRES = np.random.default_rng(1).normal(0, 0.8, (CLASSES, FEATURES))


def sample(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n points (n, FEATURES) around the centres of classes that overlap, and their classes (n,)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(CLASSES, size=n)
    return (CENTRES[y] + rng.normal(0, 1, (n, FEATURES))).astype("float32"), y


def network(seed: int) -> lm.Sequential:
    """Return the network with initial values from `seed`."""
    model = lm.Sequential([L.Dense(8, "relu"), L.Dense(CLASSES, "softmax")])
    model.build((FEATURES,), seed=seed)
    model.compile(Adam(0.03), "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    return model


def task(root: int) -> Task:
    """Return a study of the network against itself."""
    protocol = make_protocol(["A", "the same"], metric="accuracy", margin=0.01, seeds=20, seed=root)
    builders = {"A": network, "the same": lambda seed: network(seeding.derive(seed, "another"))}
    fit = {"epochs": 4, "batch_size": 50}
    return Task(protocol, builders, lambda seed: sample(seed, TRAINED), sample(7, TESTED), fit)


def study(root: int) -> tuple[list[Run], Verdict]:
    """Run one study to its end."""
    whole = task(root)
    runs: list[Run] = []
    while wanted := pending(values(runs, whole.protocol), whole.protocol):
        runs.append(execute(whole, *wanted[0]))
    (verdict,) = judge(values(runs, whole.protocol), whole.protocol)
    return runs, verdict


def values(runs: list[Run], protocol: Protocol) -> dict[str, dict[int, float]]:
    """Return variant -> index -> accuracy."""
    return values_by_variant(runs, higher_is_better=protocol.higher_is_better)


def report(studies: list[tuple[list[Run], Verdict]], seconds: float) -> str:
    """Return what was found, as Markdown."""
    words = collections.Counter(verdict.word for _, verdict in studies)
    wrong, n = words["better"] + words["worse"], len(studies)
    low, high = clopper_pearson(wrong, n, 0.95)
    pairs = np.array([verdict.pairs for _, verdict in studies])
    runs = [run for mine, _ in studies for run in mine]
    noise = np.array([verdict.noise for _, verdict in studies])
    rows = [f"| {word} | {words[word]} |" for word in ("better", "worse", "equivalent", "undecided", "invalid")]
    return "\n".join(
        [
            f"{datetime.date.today()}, {platform.machine()}, torch {torch.__version__}: {n} studies, {len(runs):,} networks "
            f"trained in {seconds:.0f} s, {sum(run.status != 'finished' for run in runs)} of them failed.",
            "",
            "| verdict | studies |",
            "|---|---|",
            *rows,
            "",
            f"Verdicts of a difference: **{wrong} of {n}** ({100 * wrong / n:.1f} %; 95 % interval {100 * low:.1f} to "
            f"{100 * high:.1f} %). Pairs used: {pairs.mean():.1f} on average. Standard deviation of the differences: "
            f"{100 * noise.mean():.2f} points.",
        ]
    )


def main() -> None:
    """Run the studies and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="seed of the first study; the others follow")
    parser.add_argument("--output", type=Path, help="JSON file: verdict and values of every study")
    given = parser.parse_args()
    torch.set_num_threads(1)
    begun, done = time.perf_counter(), []
    for root in range(given.first, given.first + given.studies):
        done.append(study(root))
        print(f"\r{len(done)} of {given.studies}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(report(done, time.perf_counter() - begun))
    if given.output:
        found = [{"verdict": v.to_dict(), "values": [[r.variant, r.index, r.value] for r in runs]} for runs, v in done]
        given.output.write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
