"""Comparisons as tests of reports need them: runs made up from a seed, of many sizes and kinds, some as bad as can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from laminar.comparison.protocol import make_protocol
from laminar.comparison.result import Comparison
from laminar.comparison.runs import Run, values_by_variant
from laminar.comparison.verdicts import judge

__all__ = ["EXAMPLES", "HOSTILE", "LONG", "comparison", "made_up"]

HOSTILE = "<script>alert(1)</script> <img src=x onerror='x'> \" onload=\"x & &amp; {{ 7 * 7 }}"
LONG = "extraordinarily_long_name_without_any_space_" * 5
_ENVIRONMENT = {"laminar": "0.1.0", "torch": "2.13.0", "python": "3.11.7", "platform": "Linux", "device": "cpu", "process": "1"}


def made_up(
    names: Sequence[str],
    pairs: int,
    *,
    steps: Sequence[float] | None = None,
    sd: float = 0.004,
    failed: Collection[tuple[str, int]] = (),
    **changes: Any,
) -> list[Run]:
    """Return runs of an accuracy near 0.9, with curves of 12 epochs, two machines and rising costs.

    Args:
        names: of the variants.
        pairs: how many runs of each.
        steps: what is added to the accuracy of each; by default 0.2 points more from one to the next.
        sd: standard deviation of runs.
        failed: (variant, index) of runs that diverged.
        changes: fields of every run that are different.
    """
    rng = np.random.default_rng(0)
    runs = []
    epochs = np.arange(1, 13)
    for place, name in enumerate(names):
        for index in range(pairs):
            lost = (name, index) in failed
            value = float(0.9 + (steps[place] if steps else 0.002 * place) + rng.normal(0, sd))
            curve = [value - 0.3 * math.exp(-e / 2) for e in epochs]
            loss = [2 * math.exp(-e / 4) + 0.05 * float(rng.random()) for e in epochs]
            seconds = float(10 * (1 + 0.3 * place) * (1 + rng.normal(0, 0.05)))
            fields: dict[str, Any] = {
                "status": "diverged" if lost else "finished",
                "value": None if lost else value,
                "error": "DivergedError: loss became nan at epoch 3, step 412" if lost else None,
                "figures": {} if lost else {"loss": loss[-1], "accuracy": value},
                "history": {"accuracy": [v + 0.01 for v in curve], "val_accuracy": curve, "loss": loss},
                "elapsed": [float(seconds * e / 12) for e in epochs],
                "seconds": seconds,
                "evaluation": 9000.0,
                "parameters": 100_000 * (place + 1),
                "memory": 12_000_000 * (place + 1),
                "started": f"2026-11-2{index % 2}T10:00:00+00:00",
                "environment": _ENVIRONMENT | {"threads": "1", "host": "barn" if index % 2 else "attic"},
            }
            runs.append(Run(name, index, 1000 + index, **(fields | changes)))
    return runs


def comparison(
    names: Sequence[str], runs: Sequence[Run], *, store: str | None = "laminar.db", notes: Sequence[str] = (), **declared: Any
) -> Comparison:
    """Return the verdicts on `runs`; `declared` goes to `make_protocol`."""
    settings = {"metric": "accuracy", "margin": 0.002, "seeds": 20, "fit": {"epochs": "12", "shuffle": "'once'"}} | declared
    protocol = make_protocol(list(names), **settings)
    ordered = sorted(runs, key=lambda run: (run.index, protocol.variants.index(run.variant)))
    verdicts = judge(values_by_variant(ordered, higher_is_better=protocol.higher_is_better), protocol)
    return Comparison(protocol, tuple(ordered), tuple(verdicts), "a study", store, "5f2c9a", tuple(notes))


def _hostile() -> Comparison:
    names = ["plain", HOSTILE, LONG, ""]
    names[-1] = "\x1b[31m\x00 control, \ud800 half a character"
    runs = made_up(names, 8, failed={(HOSTILE, 2), (HOSTILE, 5), ("plain", 2)}, started=HOSTILE)
    runs = [run if run.error is None else Run(run.variant, run.index, run.seed, "failed", error=HOSTILE) for run in runs]
    environment = dict.fromkeys(_ENVIRONMENT, HOSTILE)
    runs += [Run("plain", 8, 9, value=0.9, figures={HOSTILE: 0.9}, history={"accuracy": [0.5]}, environment=environment)]
    return comparison(names, runs, seeds=12, store=f"{HOSTILE}.db", notes=[HOSTILE], fit={"optimizer": HOSTILE})


def _not_numbers() -> Comparison:
    runs = made_up(["a", "b"], 8, history={"accuracy": [math.nan, 0.5, None], "loss": [math.inf, math.nan]}, elapsed=[])
    return comparison(["a", "b"], runs)


_EVERY = {(name, index) for name in "ab" for index in range(8)}

EXAMPLES: dict[str, Callable[[], Comparison]] = {
    "four": lambda: comparison("abcd", made_up("abcd", 20), baseline=[("b", "a"), ("c", "a"), ("d", "c")], target=0.85),
    "twelve": lambda: comparison("abcdefghijkl", made_up("abcdefghijkl", 10), seeds=10),
    "equal": lambda: comparison("ab", made_up("ab", 20, steps=[0, 0], sd=0.0005), margin=0.01),
    "identical": lambda: comparison("ab", made_up("ab", 20, steps=[0, 0], sd=0.0), margin=0.01),
    "lower-is-better": lambda: comparison("ab", made_up("ab", 12), metric="loss", seeds=12, stop="fixed", direction="min"),
    "hostile": _hostile,
    "all-failed": lambda: comparison("ab", made_up("ab", 8, failed=_EVERY), seeds=8),
    "one-side-failed": lambda: comparison("ab", made_up("ab", 8, failed={("b", k) for k in range(8)})),
    "three": lambda: comparison("ab", made_up("ab", 3)),
    "one": lambda: comparison("ab", made_up("ab", 1, history={}, elapsed=[1.0])),
    "none": lambda: comparison("ab", []),
    "not-numbers": _not_numbers,
}
"""Name -> function that makes the comparison."""
