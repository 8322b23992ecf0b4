"""The results as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from frameworks import figures, floor
from frameworks.candidates import FRAMEWORKS, OURS, Candidate
from frameworks.figures import Measured, Ratio
from frameworks.networks import NETWORKS

__all__ = ["report"]

Results = dict[str, Any]
_TITLES = [framework.title for framework in FRAMEWORKS.values()]


def report(results: Results, reasons: dict[str, dict[str, str]]) -> str:
    """Return every table, with the notes that belong to it.

    Args:
        results: what a results file holds.
        reasons: network -> table ("float32", "best") -> why a row is below its goal.
    """
    sections = {
        "Training step, float32": [_steps(results, "float32"), _below(results, "float32", reasons)],
        "Training step, each at its best precision": [_steps(results, None), _below(results, None, reasons)],
        "From the start of a process to the end of its first epoch": [_epochs(results)],
        "Inference, float32": [_inference(results)],
        "Memory": [_memory(results)],
        "Equal work": [_work(results)],
        "What was not measured": [_missing(results)],
    }
    told = [part for title, parts in sections.items() if parts[0] for part in (f"### {title}", *parts) if part]
    return "\n\n".join([_head(results), *told])


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


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float) -> str:
    """Return three digits, and no exponent.

    >>> _number(0.01234), _number(12.34), _number(1234.5)
    ('0.0123', '12.3', '1,234')
    """
    if value >= 1000:
        return f"{value:,.0f}"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3 if value >= 0.1 else 4
    return f"{value:.{digits}f}"


def _cell(measured: Measured | None, *, named: bool = False) -> str:
    """Return a candidate's median and spread, and its variant and precision where that says something."""
    if measured is None:
        return "—"
    detail = measured.variant.replace("index", "").strip("+").replace("_", " ").replace("+", ", ")
    words = [word for word in (detail, measured.precision if named else "") if word]
    spread = f" ({_number(measured.low)} to {_number(measured.high)})" if measured.low != measured.high else ""
    return f"{_number(measured.middle)}{spread}{'; ' if words else ''}{', '.join(words)}"


def _ratio(ratio: Ratio | None, goal: float | None = None) -> str:
    if ratio is None:
        return "—"
    spread = f" ({ratio.low:.2f} to {ratio.high:.2f})" if ratio.low != ratio.high else ""
    missed = goal is not None and ratio.middle < goal
    return f"**{ratio.middle:.2f}**{spread}{', below' if missed else ''}"


def _rows(results: Results) -> list[str]:
    return [name for name in NETWORKS if name in results["networks"]]


def _comparison(found: list[Measured], *, named: bool = False) -> tuple[list[str], Ratio | None]:
    cells = [_cell(figures.best(found, framework), named=named) for framework in FRAMEWORKS]
    return cells, figures.ratio(figures.best(found), figures.best(found, OURS))


def _steps(results: Results, precision: str | None) -> str:
    key, rows = precision or "best", []
    for name in _rows(results):
        found = figures.steps(results["runs"], name, precision)
        ours = figures.best(found, OURS)
        if not found:
            continue
        goal = NETWORKS[name].goals.get(key)
        cells, ratio = _comparison(found, named=precision is None)
        about = results["networks"][name]
        least = floor.milliseconds(about["flops"], about["bytes"], results["rates"])
        times = f"{ours.middle / least:.1f}" if ours else "—"
        told = [f"≥ {goal:.1f}" if goal else "> 1", _number(least), times]
        rows.append([NETWORKS[name].title, *cells, _ratio(ratio, goal or 1.0), *told])
    header = ["ms a step", *_TITLES, "best peer ÷ Laminar", "goal", "floor, ms", "Laminar, times the floor"]
    return _lines(header, rows) if rows else ""


def _below(results: Results, precision: str | None, reasons: dict[str, dict[str, str]]) -> str:
    """Return a line for each row that is below its goal."""
    key, lines = precision or "best", []
    for name in _rows(results):
        goal = NETWORKS[name].goals.get(key, 1.0)
        found = figures.steps(results["runs"], name, precision)
        ratio = figures.ratio(figures.best(found), figures.best(found, OURS))
        if ratio is not None and ratio.middle < goal:
            why = reasons.get(name, {}).get(key, "no reason has been written down yet.")
            lines.append(f"- {NETWORKS[name].title}, {ratio.middle:.2f} of {goal:.1f}: {why}")
    return "\n".join(["Below the goal:", "", *lines]) if lines else ""


def _epochs(results: Results) -> str:
    rows = []
    for name in _rows(results):
        everything = figures.epochs(results["runs"], name)
        found = [m for m in everything if m.variant != "first ever"]
        if not found:
            continue
        cells, ratio = _comparison(found)
        keras = figures.best([m for m in found if m.framework.startswith("keras")])
        against_keras = figures.ratio(keras, figures.best(found, OURS))
        rows.append([NETWORKS[name].title, *cells, _ratio(ratio, 1.0), _ratio(against_keras, 2.0)])
        for first in (m for m in everything if m.variant == "first ever"):
            ratios = [_ratio(figures.ratio(figures.best(found), first)), _ratio(figures.ratio(keras, first), 2.0)]
            title = f"{NETWORKS[name].title}; Laminar for the first time on a machine, its kernels compiled"
            rows.append([title, _number(first.middle), *cells[1:], *ratios])
    header = ["seconds", *_TITLES, "best peer ÷ Laminar", "best Keras ÷ Laminar (goal 2)"]
    return _lines(header, rows) if rows else ""


def _inference(results: Results) -> str:
    rows = []
    for name in _rows(results):
        found = figures.inference(results["runs"], name)
        if not found:
            continue
        cells = [_per_second(figures.best(found, framework)) for framework in FRAMEWORKS]
        ratio = figures.ratio(figures.best(found), figures.best(found, OURS))
        rows.append([NETWORKS[name].title, *cells, _ratio(ratio, 1.0)])
    header = ["observations a second", *_TITLES, "Laminar ÷ best peer"]
    return _lines(header, rows) if rows else ""


def _per_second(measured: Measured | None) -> str:
    """Return the rate that milliseconds for each observation come to."""
    if measured is None:
        return "—"
    rates = {number: 1e3 / value for number, value in measured.rounds.items()}
    found = Measured(measured.framework, measured.variant, measured.precision, rates, 1e3 / measured.high, 1e3 / measured.low)
    return _cell(found)


def _memory(results: Results) -> str:
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
        ours, by_hand = figures.best(whole, OURS), figures.best(whole, "torch")
        verdict = "—" if not (ours and by_hand) else "yes" if ours.middle <= by_hand.middle else "no"
        rows.append([NETWORKS[name].title, *cells, verdict])
    header = ["peak, MB (beyond the imports)", *_TITLES, "Laminar at most the loop by hand"]
    return _lines(header, rows) if rows else ""


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
    return "\n\n".join([_lines(header, rows), *notes])


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
    lines.append("- skorch has no setting for reduced precision.")
    return "\n".join(lines)
