"""Learning curves: the median of all runs of a variant, and the band that holds the middle of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from laminar.comparison.drawing.scales import Scale, covering, label
from laminar.comparison.drawing.svg import add, picture, serialized, share

__all__ = ["Curve", "curve", "limits", "panel"]

_WIDE, _HEIGHT, _TOP, _BOTTOM = 1000.0, 168.0, 16.0, 144.0  # of a panel; its inner width is stretched to the page's


@dataclass(frozen=True)
class Curve:
    """One figure of all runs of a variant, epoch by epoch.

    Attributes:
        kind: "training", "validation" or "other": how it is drawn.
        median: of the runs that went as far, for each epoch.
        low: where a tenth of them lies below.
        high: where a tenth of them lies above.
    """

    kind: str
    median: list[float]
    low: list[float]
    high: list[float]


def curve(kind: str, histories: Iterable[Sequence[float | None]]) -> Curve:
    """Return the middle of several runs; epochs of which no run has a finite number end the curve.

    Args:
        kind: as in `Curve`.
        histories: a sequence for each run, an entry for each epoch; runs may end early.

    >>> c = curve("training", [[1.0, 0.5], [3.0, 0.7], [2.0]])
    >>> c.median, [round(low, 3) for low in c.low]
    ([2.0, 0.6], [1.2, 0.52])
    """
    import numpy as np

    runs = [list(history) for history in histories]
    rows: list[list[float]] = []
    for epoch in range(max(map(len, runs), default=0)):
        given = [run[epoch] for run in runs if epoch < len(run)]
        finite = [value for value in given if value is not None and math.isfinite(value)]
        if not finite:
            break
        rows.append([float(value) for value in np.quantile(finite, [0.5, 0.1, 0.9])])
    median, low, high = ([row[k] for row in rows] for k in range(3))
    return Curve(kind, median, low, high)


def limits(curves: Sequence[Curve]) -> tuple[float, float, bool]:
    """Return the ends of the axis that the panels share, and whether it is logarithmic.

    It is where all numbers are above 0 and the largest is 30 times the smallest. Otherwise the first tenth of the epochs may
    leave the picture, where the rest would be pressed flat by it.
    """
    values = [v for c in curves for v in (*c.low, *c.high)]
    if values and min(values) > 0 and max(values) > 30 * min(values):
        return min(values) / 1.15, max(values) * 1.15, True
    late = [v for c in curves for bound in (c.low, c.high) for v in bound[math.ceil(len(bound) / 10) :] or bound]
    everything, settled = covering(values), covering(late)
    narrow = settled[1] - settled[0] < 0.6 * (everything[1] - everything[0])
    return (*(settled if narrow else everything), False)


def panel(curves: Sequence[Curve], ends: tuple[float, float, bool], *, id: str, title: str, describe: str) -> str:
    """Return the curves of one variant.

    Args:
        curves: drawn in this order; of kind "other", the median alone.
        ends: of the axis, from `limits`.
        id: unique on the page.
        title: what a screen reader calls it.
        describe: what it shows, in words.
    """
    low, high, logarithmic = ends
    y = Scale(low, high, _BOTTOM, _TOP, logarithmic, bounded=False)  # the inner picture cuts off what leaves it
    last = max((len(c.median) for c in curves), default=1)
    svg = picture(id, _HEIGHT, title=title, describe=describe)
    marks = y.ticks(4)
    for mark in marks:
        add(svg, "line", x1="0%", x2="100%", y1=y(mark), y2=y(mark), class_="grid")
    inner = add(svg, "svg", x=0, y=0, width="100%", height=_BOTTOM, viewBox=f"0 0 {_WIDE:g} {_BOTTOM:g}")
    inner.set("preserveAspectRatio", "none")
    x = Scale(1, max(last, 2), 4, _WIDE - 4)

    def place(epoch: int, value: float) -> str:
        return f"{x(epoch):.5g},{y(value):.5g}"

    for c in curves:
        if c.kind != "other":
            around = [*enumerate(c.high, 1), *reversed([*enumerate(c.low, 1)])]
            add(inner, "polygon", points=" ".join(place(k, v) for k, v in around), class_=f"spread {c.kind}")
        points = " ".join(place(k, v) for k, v in enumerate(c.median, 1))
        add(inner, "polyline", points=points, class_=f"curve {c.kind}")
    for mark in marks:
        add(svg, "text", label(mark, [] if logarithmic else marks), x=0, y=y(mark) - 4, class_="tick halo")
    add(svg, "line", x1="0%", x2="100%", y1=_BOTTOM, y2=_BOTTOM, class_="axis")
    add(svg, "text", "epoch 1", x="0%", y=_HEIGHT - 8, class_="tick")
    add(svg, "text", f"{last}", x=share(100), y=_HEIGHT - 8, class_="tick", text_anchor="end")
    return serialized(svg)
