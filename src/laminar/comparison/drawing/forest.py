"""Differences with their intervals, the line of no difference, and the band of differences that do not matter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from laminar.comparison.drawing.scales import Scale, covering, label
from laminar.comparison.drawing.svg import add, picture, serialized, share

__all__ = ["Interval", "axis", "scale_of", "strip"]

_HEIGHT = 34.0  # pixels; the page may stretch a strip to the height of its line of text


@dataclass(frozen=True)
class Interval:
    """One difference.

    Attributes:
        difference: its estimate; None where there is none.
        low: the lower end of its interval, which may be minus infinity.
        high: the upper end, which may be infinity.
    """

    difference: float | None
    low: float
    high: float


def scale_of(intervals: Sequence[Interval], margin: float) -> Scale:
    """Return the axis that all `intervals`, no difference and the band of ±`margin` share."""
    estimates = [i.difference for i in intervals if i.difference is not None]
    ends = [end for i in intervals for end in (i.low, i.high)]
    return Scale(*covering([*estimates, *ends, -margin, margin]))


def strip(interval: Interval, scale: Scale, margin: float, *, id: str, title: str, describe: str) -> str:
    """Return the picture of one difference: the line is its interval, an arrow where that has no end.

    Args:
        interval: what is drawn.
        scale: of all strips that stand one above the other.
        margin: differences between -margin and margin do not matter.
        id: unique on the page.
        title: what a screen reader calls it.
        describe: its numbers in words.
    """
    svg = picture(id, _HEIGHT, title=title, describe=describe)
    _ground(svg, scale, margin, "100%")
    if not (math.isnan(interval.low) or math.isnan(interval.high)):
        low, high = scale(interval.low), scale(interval.high)
        if math.isinf(interval.low):
            low = 1.0
        if math.isinf(interval.high):
            high = 99.0
        add(svg, "line", x1=share(low), x2=share(high), y1="50%", y2="50%", class_="interval")
        for end, value, points in ((low, interval.low, "7,-5 0,0 7,5"), (high, interval.high, "-7,-5 0,0 -7,5")):
            _end(svg, end, points if math.isinf(value) else "0,-5 0,5")
    if interval.difference is not None:
        add(svg, "circle", cx=share(scale(interval.difference)), cy="50%", r=5, class_="estimate")
    return serialized(svg)


def axis(scale: Scale, margin: float, *, higher_is_better: bool) -> str:
    """Return the axis under the strips, and which way is better; a screen reader passes it by."""
    svg = Element("svg", {"aria-hidden": "true", "width": "100%", "height": "46"})
    _ground(svg, scale, margin, "5")
    add(svg, "line", x1="0%", x2="100%", y1=5, y2=5, class_="axis")
    marks = scale.ticks()
    for mark in marks:
        add(svg, "line", x1=share(scale(mark)), x2=share(scale(mark)), y1=5, y2=9, class_="axis")
        add(svg, "text", label(mark, marks), x=share(scale(mark)), y=22, class_="tick", text_anchor="middle")
    left, right = ("worse", "better") if higher_is_better else ("better", "worse")
    add(svg, "text", f"\N{LEFTWARDS ARROW} {left}", x="0%", y=40, class_="tick")
    add(svg, "text", f"{right} \N{RIGHTWARDS ARROW}", x="100%", y=40, class_="tick", text_anchor="end")
    return serialized(svg)


def _ground(svg: Element, scale: Scale, margin: float, height: str) -> None:
    low, high = scale(-margin), scale(margin)
    add(svg, "rect", x=share(low), width=share(high - low), y=0, height=height, class_="band")
    add(svg, "line", x1=share(scale(0.0)), x2=share(scale(0.0)), y1=0, y2=height, class_="zero")


def _end(svg: Element, at: float, points: str) -> None:
    """Draw an end of an interval: a nested picture stands at a share of the width, and its own lines are in pixels."""
    inner = add(svg, "svg", x=share(at), y="50%", class_="end")
    add(inner, "polyline", points=points, class_="interval")
