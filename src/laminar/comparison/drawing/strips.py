"""The metric of every run: a row for each variant, and a line through the runs that share a seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree.ElementTree import Element

from laminar.comparison.drawing.scales import Scale, covering, label
from laminar.comparison.drawing.svg import add, fitted, picture, serialized, share

__all__ = ["Strip", "strips"]

_LINE, _DOTS, _AXIS = 17.0, 30.0, 44.0  # pixels: a line of a name, the room of its runs, the axis below
_MOST_JOINED = 40  # seeds; more lines would be a carpet
_LETTERS = 28  # of a name on one line: beside its note, they fit a phone


@dataclass(frozen=True)
class Strip:
    """The runs of one variant.

    Attributes:
        name: of the variant.
        values: index of a run -> metric; not finite where the run has none.
        note: what stands at the right end of its line, as "median 98.9 %".
    """

    name: str
    values: Mapping[int, float]
    note: str = ""

    @property
    def finite(self) -> list[float]:
        """The metrics that are numbers."""
        return [value for value in self.values.values() if math.isfinite(value)]


@dataclass(frozen=True)
class _Places:
    """Where runs stand: finished ones on the scale, others aside, at the worse end."""

    scale: Scale
    aside: float
    levels: Sequence[float]

    def __call__(self, value: float) -> float:
        return self.scale(value) if math.isfinite(value) else self.aside


def strips(rows: Sequence[Strip], *, id: str, title: str, describe: str, worse_is_left: bool, axis: str) -> str:
    """Return the picture.

    Args:
        rows: variants, from top to bottom.
        id: unique on the page.
        title: what a screen reader calls it.
        describe: what it shows, in words.
        worse_is_left: whether runs without a metric stand at the left end.
        axis: what the numbers are, and their unit.
    """
    names = [fitted(row.name, _LETTERS, lines=2) for row in rows]
    tops = [4.0]
    for lines in names:
        tops.append(tops[-1] + _LINE * len(lines) + _DOTS)
    bottom = tops.pop()
    levels = [top + _LINE * len(lines) + _DOTS / 2 - 2 for top, lines in zip(tops, names, strict=True)]
    failed = any(len(row.finite) < len(row.values) for row in rows)
    ends = (6.0, 94.0) if not failed else (22.0, 94.0) if worse_is_left else (6.0, 78.0)
    scale = Scale(*covering(value for row in rows for value in row.finite), *ends)
    places = _Places(scale, 4.0 if worse_is_left else 96.0, levels)
    svg = picture(id, bottom + _AXIS, title=title, describe=describe)
    _axis(svg, scale, bottom, axis, scale.ticks() if any(row.finite for row in rows) else [])
    if failed:
        _gutter(svg, places, worse_is_left, bottom)
    _join(svg, rows, places)
    for row, lines, top, level in zip(rows, names, tops, levels, strict=True):
        for number, line in enumerate(lines):
            add(svg, "text", line, x=0, y=top + _LINE * (number + 1) - 3, class_="name halo")
        add(svg, "text", row.note, x="100%", y=top + _LINE - 3, text_anchor="end", class_="note halo")
        _runs(svg, row, level, places)
    return serialized(svg)


def _axis(svg: Element, scale: Scale, bottom: float, text: str, marks: Sequence[float]) -> None:
    for mark in marks:
        add(svg, "line", x1=share(scale(mark)), x2=share(scale(mark)), y1=0, y2=bottom, class_="grid")
        add(svg, "text", label(mark, marks), x=share(scale(mark)), y=bottom + 16, class_="tick", text_anchor="middle")
    add(svg, "line", x1="0%", x2="100%", y1=bottom, y2=bottom, class_="axis")
    add(svg, "text", text, x="100%", y=bottom + 36, class_="tick", text_anchor="end")


def _gutter(svg: Element, places: _Places, left: bool, bottom: float) -> None:
    edge = share(10.0 if left else 90.0)
    add(svg, "line", x1=edge, x2=edge, y1=0, y2=bottom, class_="axis")
    add(svg, "text", "failed", x="0%" if left else "100%", y=bottom + 16, class_="tick", text_anchor="start" if left else "end")


def _join(svg: Element, rows: Sequence[Strip], places: _Places) -> None:
    """Draw a line from each run to the one of the same seed in the next row."""
    lines = add(svg, "g", class_="joined")
    for (above, below), (y1, y2) in zip(pairwise(rows), pairwise(places.levels), strict=True):
        shared = [index for index in above.values if index in below.values]
        if len(shared) > _MOST_JOINED:
            continue
        for index in shared:
            x1, x2 = places(above.values[index]), places(below.values[index])
            add(lines, "line", x1=share(x1), x2=share(x2), y1=y1, y2=y2)


def _runs(svg: Element, row: Strip, level: float, places: _Places) -> None:
    """Draw the runs of a row, and a bar at their median."""
    if row.finite:
        at = share(places(statistics.median(row.finite)))
        add(svg, "line", x1=at, x2=at, y1=level - 11, y2=level + 11, class_="median")
    for index, value in sorted(row.values.items()):
        at = share(places(value))
        if math.isfinite(value):
            dot = add(svg, "circle", cx=at, cy=level, r=4, class_="run")
            add(dot, "title", f"{row.name}, pair {index}: {label(float(f'{value:.5g}'))}")
        else:
            inner = add(svg, "svg", x=at, y=level, class_="end")
            add(add(inner, "path", d="M-4-4 4 4M-4 4 4-4", class_="cross"), "title", f"{row.name}, pair {index}: failed")
