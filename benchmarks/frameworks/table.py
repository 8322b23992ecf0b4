"""The results as Markdown."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, replace
from typing import Any

from frameworks import figures, floor
from frameworks.candidates import FRAMEWORKS, OURS, Candidate
from frameworks.figures import Measured, Ratio
from frameworks.markdown import cell, number, quotient, table
from frameworks.networks import NETWORKS

__all__ = ["report"]

Results = dict[str, Any]
Reasons = dict[str, dict[str, str]]
_TITLES = [framework.title for framework in FRAMEWORKS.values()]


@dataclass
class _Section:
    """A table and what is said below it.

    Attributes:
        title: its heading.
        key: what its rows' reasons stand under.
        text: the table; "" where nothing was measured.
        below: network, ratio and goal of the rows below their goal.
    """

    title: str
    key: str
    text: str = ""
    below: list[tuple[str, float, float]] = field(default_factory=list)

    def judge(self, name: str, ratio: Ratio | None, goal: float) -> str:
        """Return the cell of a ratio, having noted whether it is below its goal."""
        if ratio is not None and ratio.middle < goal:
            self.below.append((name, ratio.middle, goal))
        return quotient(ratio, goal)

    def lines(self, reasons: Reasons) -> list[str]:
        """Return heading, table and reasons; nothing where there is no table."""
        if not self.text:
            return []
        found = [f"### {self.title}", self.text]
        if self.below:
            unknown = "no reason has been written down yet."
            why = [
                f"- {NETWORKS[name].title}, {ratio:.2f} of {goal:g}: {reasons.get(name, {}).get(self.key, unknown)}"
                for name, ratio, goal in self.below
            ]
            found += ["Below the goal:", "\n".join(why)]
        return found


def report(results: Results, reasons: Reasons) -> str:
    """Return every table, with the notes that belong to it.

    Args:
        results: what a results file holds.
        reasons: network -> table ("float32", "best", "epoch", "inference" or "memory") -> why a row is below its goal.
    """
    sections = [
        _steps(results, _Section("Training step, float32", "float32")),
        _steps(results, _Section("Training step, each at its best precision", "best")),
        _epochs(results, _Section("From the start of a process to the end of its first epoch", "epoch")),
        _inference(results, _Section("Inference, float32", "inference")),
        _memory(results, _Section("Memory", "memory")),
        _Section("Equal work", "work", _work(results)),
        _Section("What was not measured", "missing", _missing(results)),
    ]
    return "\n\n".join([_head(results), *(line for section in sections for line in section.lines(reasons))])


def _head(results: Results) -> str:
    rates, machine = results["rates"], results["machine"]
    rounds = max((run["round"] for run in results["runs"]), default=0) + 1
    place = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}"
    return (
        f"{results['date']}, {place}; {results['threads']} threads for everybody, {rounds} interleaved "
        f"round{'s' * (rounds > 1)}, {results['minutes']:.0f} minutes. {_versions(results)}. The machine multiplies float32 "
        f"matrices at {rates['gflops']:.0f} GFLOP/s and copies {rates['gbs']:.1f} GB/s. A cell is the median, with the lowest "
        f"and the highest; a ratio is the median over the rounds, with the lowest and the highest."
    )


def _versions(results: Results) -> str:
    found: dict[str, str] = {}
    for run in results["runs"]:
        found.update(run.get("versions", {}))
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))


def _rows(results: Results) -> list[str]:
    return [name for name in NETWORKS if name in results["networks"]]


def _ratio_of(found: list[Measured]) -> Ratio | None:
    return figures.ratio(figures.best(found), figures.best(found, OURS))


def _steps(results: Results, section: _Section) -> _Section:
    rows, any_precision = [], section.key == "best"
    for name in _rows(results):
        found = figures.steps(results["runs"], name, None if any_precision else section.key)
        if not found:
            continue
        goal, ours, about = NETWORKS[name].goals.get(section.key), figures.best(found, OURS), results["networks"][name]
        cells = [cell(figures.best(found, framework), precision=any_precision) for framework in FRAMEWORKS]
        least = floor.milliseconds(about["flops"], about["bytes"], results["rates"])
        told = [f"≥ {goal:g}" if goal else "≥ 1", number(least), f"{ours.middle / least:.1f}" if ours else "—"]
        rows.append([NETWORKS[name].title, *cells, section.judge(name, _ratio_of(found), goal or 1.0), *told])
    header = ["ms a step", *_TITLES, "best peer ÷ Laminar", "goal", "floor, ms", "Laminar, times the floor"]
    section.text = table(header, rows)
    return section


def _epochs(results: Results, section: _Section) -> _Section:
    rows = []
    for name in _rows(results):
        everything = figures.epochs(results["runs"], name)
        found = [m for m in everything if m.variant != "first ever"]
        if not found:
            continue
        cells = [cell(figures.best(found, framework)) for framework in FRAMEWORKS]
        keras = figures.best([m for m in found if m.framework.startswith("keras")])
        against_keras = figures.ratio(keras, figures.best(found, OURS))
        judged = [section.judge(name, _ratio_of(found), 1.0), section.judge(name, against_keras, 2.0)]
        rows.append([NETWORKS[name].title, *cells, *judged])
        for first in (m for m in everything if m.variant == "first ever"):
            ratios = [quotient(figures.ratio(peer, first)) for peer in (figures.best(found), keras)]
            title = f"{NETWORKS[name].title}; Laminar for the first time on a machine, its kernels compiled"
            rows.append([title, number(first.middle), *cells[1:], *ratios])
    header = ["seconds", *_TITLES, "best peer ÷ Laminar", "best Keras ÷ Laminar (goal 2)"]
    section.text = table(header, rows)
    return section


def _inference(results: Results, section: _Section) -> _Section:
    rows = []
    for name in _rows(results):
        found = figures.inference(results["runs"], name)
        if not found:
            continue
        cells = [cell(_per_second(figures.best(found, framework))) for framework in FRAMEWORKS]
        rows.append([NETWORKS[name].title, *cells, section.judge(name, _ratio_of(found), 1.0)])
    section.text = table(["observations a second", *_TITLES, "Laminar ÷ best peer"], rows)
    return section


def _per_second(measured: Measured | None) -> Measured | None:
    """Return the rate that milliseconds for each observation come to."""
    if measured is None:
        return None
    rates = {number: 1e3 / value for number, value in measured.rounds.items()}
    return replace(measured, rounds=rates, low=1e3 / measured.high, high=1e3 / measured.low)


def _memory(results: Results, section: _Section) -> _Section:
    rows = []
    for name in _rows(results):
        whole = figures.memory(results["runs"], name)
        beyond = figures.memory(results["runs"], name, beyond_import=True)
        if not whole:
            continue
        cells = []
        for framework in FRAMEWORKS:
            most, own = figures.best(whole, framework), figures.best(beyond, framework)
            cells.append(f"{most.middle:.0f} ({own.middle:.0f})" if most and own else "—")
        ratio = figures.ratio(figures.best(whole, "torch"), figures.best(whole, OURS))
        rows.append([NETWORKS[name].title, *cells, section.judge(name, ratio, 1.0)])
    section.text = table(["peak, MB (beyond the imports)", *_TITLES, "PyTorch by hand ÷ Laminar"], rows)
    return section


def _work(results: Results) -> str:
    rows, notes = [], []
    for name in _rows(results):
        network, counts = NETWORKS[name], set()
        for run in results["runs"]:
            if run["network"] == name and "parameters" in run:
                counts.add(run["parameters"])
        found = figures.losses(results["runs"], name)
        told = [f"{value:,}" for value in sorted(counts)]
        if counts - {network.parameters}:
            notes.append(f"{network.title}: {network.parameters:,} parameters were expected.")
        cells = [_loss(found.get(framework), found.get("torch")) for framework in FRAMEWORKS]
        steps = {
            str(run["steps"])
            for run in results["runs"]
            if run["network"] == name and run["precision"] == "float32" and "steps" in run
        }
        rows.append([network.title, " and ".join(told) or "—", " and ".join(steps) or "—", *cells])
    header = ["training loss after the same steps", "parameters", "steps", *_TITLES]
    return "\n\n".join([table(header, rows), *notes])


def _loss(values: list[float] | None, reference: list[float] | None) -> str:
    """Return the mean loss of a framework's runs, and a ≠ where it is not the loop by hand's within the noise.

    >>> _loss([1.0], [1.0, 1.02]), _loss([2.0], [1.0, 1.02])
    ('1.000', '2.000 ≠')
    """
    if not values:
        return "—"
    mean = statistics.fmean(values)
    if not reference:
        return f"{mean:.3f}"
    expected = statistics.fmean(reference)
    noise = statistics.stdev(reference) if len(reference) > 1 else 0.0
    return f"{mean:.3f}{' ≠' if abs(mean - expected) > max(4 * noise, 0.1 * expected) else ''}"


def _missing(results: Results) -> str:
    lines = [f"- {FRAMEWORKS[name].title} could not be installed: {reason}" for name, reason in results["missing"].items()]
    told: dict[tuple[Candidate, str, str], list[str]] = {}
    for run in results["runs"]:
        if "error" in run:
            who = Candidate(run["framework"], run["variant"], run["precision"])
            told.setdefault((who, run["kind"], run["error"]), []).append(run["network"])
    kinds = {"train": "training", "predict": "inference", "epoch": "first epoch"}
    for (who, kind, error), names in told.items():
        lines.append(f"- {who.title}, {kinds[kind]} of {', '.join(dict.fromkeys(names))}: {error}")
    if any(run["framework"] == "skorch" for run in results["runs"]):
        lines.append("- skorch has no setting for reduced precision.")
    return "\n".join(lines)
