"""The metric against a cost: one point a variant, and a stair over those that no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree.ElementTree import Element

from laminar.comparison.drawing.scales import Scale, covering, label
from laminar.comparison.drawing.svg import add, fitted, picture, serialized, share

__all__ = ["Point", "apart", "scatter"]

_TOP, _LEAST, _AXIS = 26.0, 240.0, 44.0  # pixels: above the points, the least room for them, the axis below
_LETTERS, _LINES = 18, 2  # of a name
_LINE = 15.0  # pixels from one line of names to the next
_LETTER = 2.1  # a letter's width on a phone, in percent of the picture's


@dataclass(frozen=True)
class Point:
    """One variant.

    Attributes:
        name: of the variant.
        x: its cost.
        y: its metric.
        low: the lowest metric of its runs.
        high: the highest.
        best: whether no other variant is as good in one and better in the other.
    """

    name: str
    x: float
    y: float
    low: float
    high: float
    best: bool


def scatter(points: Sequence[Point], *, id: str, title: str, describe: str, across: str, upwards: str) -> str:
    """Return the picture: full points are the best that there is for some budget, hollow ones cost more for less.

    Args:
        points: in any order.
        id: unique on the page.
        title: what a screen reader calls it.
        describe: what it shows, in words.
        across: the cost and its unit.
        upwards: the metric and its unit.
    """
    x = Scale(*covering((p.x for p in points), room=0.1), 10, 94)
    bottom = _TOP + max(_LEAST, _LINE * _LINES * len(points))
    y = Scale(*covering(v for p in points for v in (p.low, p.y, p.high)), bottom, _TOP)
    svg = picture(id, bottom + _AXIS, title=title, describe=describe)
    _axes(svg, x, y)
    add(svg, "text", upwards, x=0, y=12, class_="tick halo")
    add(svg, "text", across, x="100%", y=bottom + 36, class_="tick", text_anchor="end")
    best = sorted((p for p in points if p.best), key=lambda p: p.x)
    for one, other in pairwise(best):
        near, far = share(x(one.x)), share(x(other.x))  # a stair: between two of them, there is nothing better than the cheaper
        add(svg, "line", x1=near, x2=far, y1=y(one.y), y2=y(one.y), class_="front")
        add(svg, "line", x1=far, x2=far, y1=y(one.y), y2=y(other.y), class_="front")
    for p in points:
        at = share(x(p.x))
        add(svg, "line", x1=at, x2=at, y1=y(p.low), y2=y(p.high), class_="whisker")
        add(svg, "circle", cx=at, cy=y(p.y), r=5.5, class_="best" if p.best else "beaten")
    right = [p for p in points if _to_the_right(p, points, x, y)]
    _names(svg, right, x, y, to_the_right=True)
    _names(svg, [p for p in points if p not in right], x, y, to_the_right=False)
    return serialized(svg)


def apart(wanted: Sequence[float], room: float, low: float, high: float) -> list[float]:
    """Return places near the `wanted` ones, `room` apart at least, from `low` on and, where that is possible, up to `high`.

    Args:
        wanted: in rising order.
        room: from each place to the next.
        low: the lowest place allowed.
        high: the highest.

    >>> apart([10, 12, 40], 10, 0, 100), apart([90, 95], 10, 0, 95)
    ([10, 20, 40], [85, 95])
    """
    places: list[float] = []
    for value in wanted:
        places.append(max(value, low, places[-1] + room if places else low))
    limit = high
    for k in reversed(range(len(places))):
        places[k] = min(places[k], limit)
        limit = places[k] - room
    return places


def _axes(svg: Element, x: Scale, y: Scale) -> None:
    bottom, rows, columns = y.start, y.ticks(), x.ticks(4)
    for mark in rows:
        add(svg, "line", x1="0%", x2="100%", y1=y(mark), y2=y(mark), class_="grid")
        add(svg, "text", label(mark, rows), x=0, y=y(mark) - 4, class_="tick halo")
    for mark in columns:
        add(svg, "line", x1=share(x(mark)), x2=share(x(mark)), y1=bottom, y2=bottom + 4, class_="axis")
        add(svg, "text", label(mark, columns), x=share(x(mark)), y=bottom + 18, class_="tick", text_anchor="middle")
    add(svg, "line", x1="0%", x2="100%", y1=bottom, y2=bottom, class_="axis")


def _to_the_right(p: Point, points: Sequence[Point], x: Scale, y: Scale) -> bool:
    """Return whether the name of `p` stands better at its right: inside the picture, and on fewer other points."""
    lines = fitted(p.name, _LETTERS, _LINES)
    width, height = _LETTER * max(map(len, lines)) + 5, _LINE * len(lines) / 2 + 8
    beside = [x(other.x) - x(p.x) for other in points if other is not p and abs(y(other.y) - y(p.y)) < height]
    crowd = {side: sum(0 <= side * distance < width for distance in beside) for side in (1, -1)}
    outside = {1: x(p.x) + width > 100, -1: x(p.x) - width < 0}
    return (outside[1], crowd[1]) <= (outside[-1], crowd[-1])


def _names(svg: Element, points: Sequence[Point], x: Scale, y: Scale, *, to_the_right: bool) -> None:
    """Write the names beside the points, moved apart where they would lie on each other."""
    ordered = sorted(points, key=lambda p: y(p.y))
    names = [fitted(p.name, _LETTERS, _LINES) for p in ordered]
    places = apart([y(p.y) for p in ordered], _LINE * max(map(len, names), default=1), _TOP, y.start - _LINE)
    side = 1 if to_the_right else -1
    for p, lines, place in zip(ordered, names, places, strict=True):
        if abs(place - y(p.y)) > 3:  # a line leads from the point to its name
            inner = add(svg, "svg", x=share(x(p.x)), y=y(p.y), class_="end")
            add(inner, "line", x1=side * 5, y1=0, x2=side * 13, y2=place - y(p.y), class_="leader")
        first = place + 4.5 - _LINE * (len(lines) - 1) / 2
        for row, line in enumerate(lines):
            text = add(svg, "text", line, x=share(x(p.x)), dx=side * 15, y=first + _LINE * row, class_="name halo")
            text.set("text-anchor", "start" if to_the_right else "end")
