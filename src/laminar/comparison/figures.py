"""The pictures of a report, each with its words and its numbers, from the runs and verdicts of a comparison."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from laminar.comparison.costs import Cost, CostTable, Priced, cost_table
from laminar.comparison.drawing.curves import Curve, curve, limits, panel
from laminar.comparison.drawing.forest import Interval, axis, scale_of, strip
from laminar.comparison.drawing.scatter import Point, scatter
from laminar.comparison.drawing.strips import Strip, strips
from laminar.comparison.protocol import Protocol
from laminar.comparison.runs import Run
from laminar.comparison.tables import DASH, Table, amount, bytes_text, number, seconds_text
from laminar.comparison.units import Units, units_of
from laminar.comparison.verdicts import Verdict

__all__ = ["Costs", "CurveGroup", "Figure", "Forest", "Row", "costs", "every_run", "forest", "learning_curves", "told"]


@dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
        picture: SVG.
        caption: what one sees.
        table: its numbers.
        name: what stands above it, where it is one of several.
    """

    picture: str
    caption: str
    table: Table | None = None
    name: str = ""


@dataclass(frozen=True)
class Row:
    """A line of the forest: the contrast, the word, the numbers, and the picture of its interval."""

    label: str
    word: str
    text: str
    picture: str


@dataclass(frozen=True)
class Forest:
    """All differences one above the other, on one axis."""

    rows: Sequence[Row]
    axis: str
    caption: str
    table: Table


@dataclass(frozen=True)
class CurveGroup:
    """One figure of the history: a panel for each variant, on one axis.

    Attributes:
        figure: its name.
        key: (kind, text) of the lines drawn.
        panels: one for each variant.
        caption: what one sees.
        table: the numbers.
    """

    figure: str
    key: Sequence[tuple[str, str]]
    panels: Sequence[Figure]
    caption: str
    table: Table


@dataclass(frozen=True)
class Costs:
    """What the variants cost: tables, what has to be said of them, and the metric against each cost that differs."""

    table: Table
    ratios: Table | None
    notes: Sequence[str]
    plots: Sequence[Figure]


def forest(verdicts: Sequence[Verdict], protocol: Protocol) -> Forest:
    """Return the differences, their intervals, zero and the margin."""
    units = units_of(protocol.metric)
    margin = units.factor * protocol.margin
    intervals = [_interval(v, units) for v in verdicts]
    scale = scale_of(intervals, margin)
    rows = []
    for place, (v, interval) in enumerate(zip(verdicts, intervals, strict=True)):
        label = f"{v.variant} against {v.baseline}"
        describe = (
            f"{v.word.capitalize()}. Mean difference {units.difference(v.difference)}, interval {units.between(v.low, v.high)}"
            f"; the margin is {units.size(protocol.margin)} either way."
        )
        title = f"Difference in {protocol.metric}: {label}"
        picture = strip(interval, scale, margin, id=f"forest-{place}", title=title, describe=describe)
        rows.append(Row(label, v.word, f"{told(v)}, {_in_short(v, units)}", picture))
    unit = f"in {units.of_differences.strip()}" if units.of_differences else f"in units of {protocol.metric}"
    caption = (
        f"Differences in {protocol.metric} on the test data, variant minus baseline, {unit}. Dot: mean. Line: interval, the "
        f"differences that the data do not contradict. Shaded: differences of less than {units.size(protocol.margin)}, the "
        "margin, which do not matter."
    )
    if any(math.isinf(v.low) or math.isinf(v.high) for v in verdicts):
        caption += " An arrow: the interval has no end there."
    return Forest(rows, axis(scale, margin, higher_is_better=protocol.higher_is_better), caption, _differences(verdicts, units))


def told(v: Verdict) -> str:
    """Return the word of a verdict, and whether it may still change."""
    return v.word if v.decided or v.word != "undecided" else "not yet decided"


def _in_short(v: Verdict, units: Units) -> str:
    if v.difference is None:
        return "no difference known"
    bounds = f"{units.bare(v.low)} to {units.bare(v.high)}" if math.isfinite(v.low) or math.isfinite(v.high) else "no bounds"
    return f"{units.bare(v.difference)} ({bounds})"


def _interval(v: Verdict, units: Units) -> Interval:
    difference = None if v.difference is None else units.factor * v.difference
    return Interval(difference, units.factor * v.low, units.factor * v.high)


def _differences(verdicts: Sequence[Verdict], units: Units) -> Table:
    head = ["Contrast", "Verdict", "Mean difference", "Interval from", "to", "Pairs"]
    rows = [
        [
            f"{v.variant} against {v.baseline}",
            v.word,
            units.difference(v.difference),
            units.difference(v.low),
            units.difference(v.high),
            str(v.pairs),
        ]
        for v in verdicts
    ]
    return Table("table-differences", "Differences and their intervals", head, rows, words=[1])


def every_run(runs: Sequence[Run], protocol: Protocol, *, unused: bool) -> Figure:
    """Return the metric of every run, joined by seed; `unused`: whether a verdict did without some of them."""
    units = units_of(protocol.metric)
    rows, table, described = [], [], []
    for name in protocol.variants:
        of_variant = [run for run in runs if run.variant == name]
        values = [run.value for run in of_variant if run.value is not None]
        failed = len(of_variant) - len(values)
        median = units.value(statistics.median(values)) if values else DASH
        shown = {run.index: math.nan if run.value is None else units.factor * run.value for run in of_variant}
        rows.append(Strip(name, shown, f"median {median}" if values else "no run finished" if of_variant else "no run"))
        spread = statistics.stdev(values) if len(values) > 1 else None
        ends = [units.value(min(values)), units.value(max(values))] if values else [DASH, DASH]
        mean = units.value(statistics.fmean(values)) if values else DASH
        table.append([name, str(len(of_variant)), str(failed), mean, median, units.size(spread), *ends])
        described.append(f"{name}: median {median}, from {ends[0]} to {ends[1]}" + (f", {failed} failed" if failed else ""))
    head = ["Variant", "Runs", "Failed", "Mean", "Median", "Standard deviation", "Lowest", "Highest"]
    joined = f"{protocol.metric} on the test data{units.of_values and f', in{units.of_values}'}"
    caption = "Each dot is a run; a thin line joins runs of the same seed; the bar is the median."
    if any(run.value is None for run in runs):
        caption += " Crosses: runs that failed."
    if unused:
        caption += " Runs that the verdicts did not need are shown, too."
    picture = strips(
        rows,
        id="every-run",
        title=f"{protocol.metric} of every run",
        describe=". ".join(described) + ".",
        worse_is_left=protocol.higher_is_better,
        axis=joined,
    )
    return Figure(
        picture if runs else "", caption, Table("table-every-run", f"Runs by variant: {protocol.metric}", head, table)
    )


# -- learning curves --------------------------------------------------------------------------------------------------------


def learning_curves(runs: Sequence[Run], protocol: Protocol) -> list[CurveGroup]:
    """Return the curves of the metric and of the loss, where trainings have them and are longer than one epoch."""
    figures = dict.fromkeys([protocol.metric, "loss"])
    return [group for place, figure in enumerate(figures) if (group := _group(runs, protocol, figure, place))]


def _group(runs: Sequence[Run], protocol: Protocol, figure: str, place: int) -> CurveGroup | None:
    units = units_of(figure)
    kinds = {"training": figure, "validation": f"val_{figure}"}
    found = {
        name: [c for kind, key in kinds.items() if (c := curve(kind, _histories(runs, name, key, units.factor))).median]
        for name in protocol.variants
    }
    drawn = [c for curves in found.values() for c in curves]
    if max((len(c.median) for c in drawn), default=0) < 2:
        return None
    ends = limits(drawn)
    baseline = protocol.contrasts[0][1]
    other = found[baseline][-1] if found[baseline] else None
    panels = []
    for number_, (name, curves) in enumerate(found.items()):
        behind = [Curve("other", other.median, [], [])] if other and name != baseline else []
        title = f"{figure} by epoch: {name}"
        described = ". ".join(_described(c, units) for c in curves) or "No run has it"
        picture = panel([*behind, *curves], ends, id=f"curves-{place}-{number_}", title=title, describe=f"{described}.")
        panels.append(Figure(picture, described, name=name))
    seen = dict.fromkeys(c.kind for c in drawn)
    key = [(kind, kind) for kind in seen]
    if other is not None:
        key.append(("other", f"{baseline}, for comparison ({other.kind})"))
    scale = "; logarithmic scale" if ends[2] else ""
    unit = units.of_values and f" in{units.of_values}"
    caption = f"{figure}{unit}, by epoch{scale}. Line: median of the runs. Band: the middle 80 % of them."
    if not ends[2] and any(c.median[0] < ends[0] or c.median[0] > ends[1] for c in drawn):
        caption += " The first epochs lie outside the picture."
    return CurveGroup(figure, key, panels, caption, _curve_table(found, figure, units, place))


def _histories(runs: Sequence[Run], name: str, key: str, factor: float) -> list[list[float | None]]:
    of_variant = [run.history.get(key, []) for run in runs if run.variant == name]
    return [[None if v is None else factor * v for v in values] for values in of_variant]


def _described(c: Curve, units: Units) -> str:
    first, last = (f"{number(v)}{units.of_values}" for v in (c.median[0], c.median[-1]))
    return f"In {c.kind}, the median goes from {first} after epoch 1 to {last} after epoch {len(c.median)}"


def _curve_table(found: Mapping[str, Sequence[Curve]], figure: str, units: Units, place: int) -> Table:
    """Return the medians at some ten epochs, the first and the last among them."""
    last = max(len(c.median) for curves in found.values() for c in curves)
    epochs = sorted({1 + round(k * (last - 1) / 9) for k in range(10)})
    rows = [
        [name, c.kind, *(number(c.median[e - 1]) if e <= len(c.median) else DASH for e in epochs)]
        for name, curves in found.items()
        for c in curves
    ]
    caption = f"Median of {figure}{units.of_values and f' in{units.of_values}'} after an epoch"
    return Table(f"table-curves-{place}", caption, ["Variant", "Data", *map(str, epochs)], rows, words=[1])


# -- costs ------------------------------------------------------------------------------------------------------------------


_PRICES: tuple[tuple[Priced, str, str], ...] = (
    ("seconds", "training time", "s"),
    ("to_target", "time to the target", "s"),
    ("parameters", "parameters", ""),
    ("memory", "memory of a training step", "MB"),
)


_WORTH_A_PICTURE = 1.05
"""The largest cost over the smallest; where variants cost the same, the table says it."""


_FRONT = (
    "The thin upright line spans all runs. Full points: no other variant is as good and as cheap, and better or cheaper;"
    " there is one for hollow points."
)


def costs(runs: Sequence[Run], protocol: Protocol) -> Costs:
    """Return what the variants cost, and the metric against it."""
    table = cost_table(runs, protocol)
    units = units_of(protocol.metric)
    plots = [p for price, name, unit in _PRICES if (p := _against(table, runs, protocol, price, name, unit))]
    plots[:1] = [replace(p, caption=f"{p.caption} {_FRONT}") for p in plots[:1]]
    notes = []
    manners = {c.manner for c in table.costs if c.manner}
    if len(manners) == 1:
        notes.append(f"Times are medians over runs on {next(iter(manners))}.")
    elif manners:
        told = "; ".join(f"{c.variant}: {c.manner}" for c in table.costs if c.manner)
        notes.append(
            f"Times are medians over runs that were trained alike; variants were not, so compare them with care. {told}."
        )
    others = sum(c.others for c in table.costs)
    if others:
        notes.append(f"{amount(others, 'run')} trained in another manner or on another machine, and left out of the times.")
    ratios = _ratios(table) if any(r.ratio for r in table.ratios) else None
    return Costs(_cost_table(table, protocol, units), ratios, notes, plots)


def _cost_table(table: CostTable, protocol: Protocol, units: Units) -> Table:
    """Return the costs, without columns of which nothing is known."""
    target = "" if protocol.target is None else units.value(protocol.target)
    columns = {
        "Runs finished": [str(c.finished) for c in table.costs],
        f"Mean {protocol.metric}": [units.value(c.value) for c in table.costs],
        "Training time": [seconds_text(c.seconds) for c in table.costs],
        f"Time to {target}": [_to_target(c) for c in table.costs],
        "Parameters": [DASH if c.parameters is None else f"{c.parameters:,}" for c in table.costs],
        "Memory of a training step": [bytes_text(c.memory) for c in table.costs],
        "Test observations per second": [number(c.evaluation, 3) for c in table.costs],
    }
    known = {head: cells for head, cells in columns.items() if set(cells) != {DASH}}
    rows = [list(row) for row in zip([c.variant for c in table.costs], *known.values(), strict=True)]
    return Table("table-costs", "What the variants cost", ["Variant", *known], rows)


def _to_target(cost: Cost) -> str:
    if not cost.reached:
        return "not reached" if cost.missed else DASH
    time = "half the runs or fewer" if cost.to_target is None else seconds_text(cost.to_target)
    return f"{time} ({cost.reached} of {cost.reached + cost.missed} runs)" if cost.missed else time


def _ratios(table: CostTable) -> Table:
    rows = [
        [
            f"{r.variant} against {r.baseline}",
            f"{number(r.ratio, 3)} ×" if r.ratio else DASH,
            f"{number(r.low, 3)} to {number(r.high, 3)}" if r.low is not None else DASH,
            str(r.pairs),
        ]
        for r in table.ratios
    ]
    head = ["Contrast", "Training time", "95 % interval", "Pairs"]
    return Table(
        "table-ratios", "Training time as a ratio to the baseline's, over pairs trained alike (geometric mean)", head, rows
    )


def _against(table: CostTable, runs: Sequence[Run], protocol: Protocol, price: Priced, name: str, unit: str) -> Figure | None:
    """Return the metric against one cost, where the variants differ in it."""
    units = units_of(protocol.metric)
    scale = 1e-6 if unit == "MB" else 1.0
    front = table.front(price)
    known = [c for c in table.costs if c.value is not None and getattr(c, price) is not None]
    prices = [getattr(c, price) for c in known]
    if not prices or max(prices) < _WORTH_A_PICTURE * min(prices):
        return None
    points = []
    for c in known:
        values = sorted(units.factor * run.value for run in runs if run.variant == c.variant and run.value is not None)
        points.append(
            Point(
                c.variant,
                scale * getattr(c, price),
                units.factor * (c.value or 0.0),
                values[0],
                values[-1],
                c.variant in front,
            )
        )
    best = "; ".join(
        f"{p.name} ({number(p.y)}{units.of_values}, {number(p.x, 3)}{unit and f' {unit}'})" for p in points if p.best
    )
    title = f"{protocol.metric} against {name}"
    picture = scatter(
        points,
        id=f"against-{price.replace('_', '-')}",
        title=title,
        describe=f"Not beaten in both: {best}.",
        across=f"{name}{unit and f' in {unit}'}",
        upwards=f"mean {protocol.metric}{units.of_values and f' in{units.of_values}'}",
    )
    return Figure(picture, f"Mean {title}.")
