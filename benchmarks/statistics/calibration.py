"""How often the verdicts of a comparison are wrong, how often its intervals hold, and what looking early costs: by simulation.

    .venv/bin/python benchmarks/statistics/calibration.py [--studies 4000] [--jobs 1] [--tables aa coverage ...] [--output FILE]

Every row is a family of run-to-run distributions (families.py), recorded ones of digits networks among them. All verdicts are
those of `laminar.comparison.verdicts.judge`, for many studies at once (many.py). A share whose own 95 % interval lies wholly
beyond its limit is bold: it misses.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import sys
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from families import Array, Family, families
from many import EQUIVALENT, HIGHER, Outcomes, covered, outcomes
from scipy import stats

from laminar.comparison.intervals import bca_interval, clopper_pearson, t_interval
from laminar.comparison.power import pairs_needed, power_of_t
from laminar.comparison.protocol import Protocol, make_protocol

BCA_STUDIES = 1000
"""Studies at most for the bootstrap, which takes many times as long as the rest."""

STOPS = ("fixed", "early")

EFFECTS = (0.5, 0.8, 1.2, 2.0)
"""Mean difference of a pair in its standard deviations."""


@dataclass(frozen=True)
class Share:
    """How often something happened, and between which shares that should lie."""

    count: int
    studies: int
    limits: tuple[float, float] = (0.0, 1.0)

    def __str__(self) -> str:
        low, high = clopper_pearson(self.count, self.studies, 0.95)
        text = f"{100 * self.count / self.studies:.1f}"
        return f"**{text}**" if low > self.limits[1] or high < self.limits[0] else text


Row = dict[str, str | float | Share]
WRONG, HOLDS = (0.0, 0.05), (0.93, 0.97)
AT_LEAST = (0.93, 1.0)


def protocol(pairs: int, stop: str, margin: float, contrasts: int = 1) -> Protocol:
    """Return a declaration of so many contrasts with one baseline."""
    names = [f"variant {k}" for k in range(contrasts + 1)]
    return make_protocol(names, metric="accuracy", margin=margin, seeds=pairs, stop=stop)


def drawn(family: Family, studies: int, variants: int, pairs: int, what: str) -> Array:
    """Return metrics (studies, variants, pairs) that are the same at each call."""
    return family.draw(np.random.default_rng(zlib.crc32(f"{family.name} {what}".encode())), studies, variants, pairs)


# ── the tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def aa(family: Family, studies: int) -> Row:
    """Return how often a difference is found where the means are equal, with a margin too small for any equivalence."""
    row: Row = {"family": family.name}
    for contrasts in (1, 3):
        for stop, pairs in (("early", 20), ("fixed", 10), ("fixed", 20)):
            values = drawn(family, studies, contrasts + 1, pairs, f"aa {contrasts}")
            found = outcomes(values, protocol(pairs, stop, family.noise() * 1e-6, contrasts))
            wrong = int(found.differs().any(-1).sum())
            limits = WRONG if family.symmetric else (0.0, 1.0)
            plural = "contrasts" if contrasts > 1 else "contrast"
            row[f"{contrasts} {plural}: {stop}, {pairs} pairs"] = Share(wrong, studies, limits)
    d = np.diff(drawn(family, studies, 2, 20, "aa 1"), axis=1)[:, 0]
    row["for comparison: t-test of 20 pairs"] = Share(int((_t_p(d) <= 0.05).sum()), studies)
    looked = np.stack([_t_p(d[:, :k]) for k in range(3, 21)]).min(0)
    row["t-test after every pair"] = Share(int((looked <= 0.05).sum()), studies)
    return row


def _t_p(d: Array) -> Array:
    """Return the p-value of the t-test of each row; 1 where all differences are 0."""
    sd = d.std(-1, ddof=1)
    t = np.where(sd > 0, d.mean(-1) / np.where(sd > 0, sd, 1.0), np.where(d.mean(-1) == 0, 0.0, np.inf)) * math.sqrt(
        d.shape[-1]
    )
    p: Array = 2 * stats.t.sf(np.abs(t), d.shape[-1] - 1)
    return p


def coverage(family: Family, studies: int) -> Row:
    """Return how often intervals hold the true difference, which is 0."""
    row: Row = {"family": family.name}
    limits = HOLDS if family.symmetric else (0.0, 1.0)
    for pairs in (10, 20):
        d = np.diff(drawn(family, studies, 2, pairs, "coverage"), axis=1)[:, 0]
        rng = np.random.default_rng(pairs)
        intervals: dict[str, Callable[[Array], tuple[float, float]]] = {
            "t": t_interval,
            "BCa": lambda one, rng=rng: bca_interval(one, rng=rng),
        }
        for name, interval in intervals.items():
            ends = [interval(one) for one in (d if name == "t" else d[:BCA_STUDIES])]
            row[f"{name}, {pairs} pairs"] = Share(sum(low <= 0 <= high for low, high in ends), len(ends), limits)
    for stop, pairs in (("fixed", 10), ("fixed", 20), ("early", 20)):
        declared = protocol(pairs, stop, family.noise() * 1e-6)
        holds = covered(outcomes(drawn(family, studies, 2, pairs, "coverage"), declared), 0.0, declared)
        row[f"verdict's own: {stop}, {pairs}"] = Share(int(holds.sum()), studies, AT_LEAST if family.symmetric else (0.0, 1.0))
    return row


def moved(family: Family, studies: int) -> Row:
    """Return how often the verdict's own interval holds a true difference that ends comparisons early."""
    row: Row = {"family": family.name}
    for effect in EFFECTS:
        declared, shift = protocol(20, "early", family.noise() * 1e-6), effect * family.noise()
        found = _shifted(family, studies, shift, declared, "moved")
        holds = covered(found, shift, declared)
        row[f"effect {effect:g}"] = Share(int(holds.sum()), studies, AT_LEAST if family.symmetric else (0.0, 1.0))
        row[f"pairs at {effect:g}"] = f"{found.pairs.mean():.1f}"
    return row


def equivalence(family: Family, studies: int) -> Row:
    """Return how often "equivalent" is said where the difference is the margin, or more, and where there is none.

    Where differences are skewed, it is the direction in which it is said more often.
    """
    row: Row = {"family": family.name}
    for stop, pairs in (("early", 20), ("fixed", 10), ("fixed", 20)):
        for times, width in ((1.0, 1), (1.0, 2), (1.5, 1), (0.0, 1)):  # margins in units of noise
            margin = width * family.noise()
            declared, what = protocol(pairs, stop, margin), f"equivalence {width}"
            shifts = (times * margin,) if family.symmetric or not times else (times * margin, -times * margin)
            found = [_shifted(family, studies, shift, declared, what) for shift in shifts]
            limits = WRONG if family.symmetric and times else (0.0, 1.0)
            most = max(int((one.words == EQUIVALENT).sum()) for one in found)
            row[f"{stop}, {pairs}: {times:g} × margin, of {width} noise"] = Share(most, studies, limits)
    return row


def _shifted(family: Family, studies: int, shift: float, declared: Protocol, what: str) -> Outcomes:
    values = drawn(family, studies, 2, declared.seeds, what)
    values[:, 1] += shift
    return outcomes(values, declared)


def power(effect: float, studies: int) -> list[Row]:
    """Return what comparisons of normal runs with a true effect cost, with more and more pairs at most."""
    n = pairs_needed(effect, 1.0)
    family, rows = Family("normal differences", _effect), []
    studies = min(studies, 1000) if n > 30 else studies  # sign flips of so many pairs take a while
    for pairs in range(n, math.ceil(1.5 * n) + 1, max(1, n // 15)):
        row: Row = {"effect": f"{effect:g}", "t-test: pairs": n, "its power": f"{100 * power_of_t(effect, n):.1f}"}
        row["pairs at most"] = pairs
        found = {stop: _shifted(family, studies, effect, protocol(pairs, stop, 1e-6), f"power {pairs}") for stop in STOPS}
        row |= {f"power, {stop}": Share(int((o.words == HIGHER).sum()), studies) for stop, o in found.items()}
        mean = found["early"].pairs.mean()
        rows.append(row | {"early: pairs on average": f"{mean:.2f}", "of the t-test's": f"{mean / n:.2f}"})
        if (found["early"].words == HIGHER).mean() >= 0.8:
            break
    return rows


def _effect(rng: np.random.Generator, studies: int, variants: int, pairs: int) -> Array:
    """Return runs whose differences are standard normal."""
    return rng.normal(0, math.sqrt(0.5), (studies, variants, pairs))


# ── all of it ────────────────────────────────────────────────────────────────────────────────────────────────────────────

TABLES: dict[str, tuple[str, Callable[[Family, int], Row]]] = {
    "aa": ("False verdicts of a difference, % of studies; at most 5 where differences are symmetric", aa),
    "coverage": ("Intervals that hold the true difference, %; 93 to 97, at least 93 for the verdict's own", coverage),
    "moved": ("The verdict's own interval after early stopping, % that hold the true difference; at least 93", moved),
    "equivalence": ('"Equivalent", % of studies; at most 5 where the difference is the margin or more', equivalence),
}


def row_of(job: tuple[str, int | float, int]) -> list[Row]:
    """Return the rows of one job: a table, the number of the family or the effect, and the studies."""
    table, which, studies = job
    if table == "power":
        return power(which, studies)
    return [TABLES[table][1](families()[int(which)], studies)]


def as_table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(str(row.get(name, "")) for name in names) + " |" for row in rows)])


def main() -> None:
    """Simulate every table and print it."""
    every = [*TABLES, "power"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--tables", nargs="*", default=every, choices=every)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    given = parser.parse_args()
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, {given.studies:,} studies a cell.")
    kept: dict[str, list[dict[str, object]]] = {}
    with ProcessPoolExecutor(given.jobs) as pool:
        for table in given.tables:
            which: Sequence[int | float] = EFFECTS if table == "power" else range(len(families()))
            rows: list[Row] = []
            for found in pool.map(row_of, [(table, one, given.studies) for one in which]):
                rows += found
                print(f"{table}: {len(rows)}", file=sys.stderr, flush=True)
            title = TABLES[table][0] if table in TABLES else "Pairs that are needed for 80 % power"
            print(f"\n{title}:\n\n{as_table(rows)}", flush=True)
            kept[table] = [{k: v.count / v.studies if isinstance(v, Share) else v for k, v in row.items()} for row in rows]
    if given.output:
        given.output.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
