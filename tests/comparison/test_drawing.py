"""Pictures place numbers where they belong, whatever the numbers are."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laminar.comparison.drawing.curves import Curve, curve, limits, panel
from laminar.comparison.drawing.forest import Interval, axis, scale_of, strip
from laminar.comparison.drawing.scales import Scale, covering, label, ticks
from laminar.comparison.drawing.scatter import Point, apart, scatter
from laminar.comparison.drawing.strips import Strip, strips
from laminar.comparison.drawing.svg import add, fitted, picture, serialized

NAMED = {"id": "p", "title": "title", "describe": "what it shows"}
finite = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 6))


def of_class(svg: str, name: str) -> list[Element]:
    """Return the elements of a picture that have a class."""
    return [e for e in ElementTree.fromstring(svg).iter() if name in e.get("class", "").split()]


def percent(element: Element, attribute: str) -> float:
    """Return a place that is given as a share of the width."""
    text = element.get(attribute, "")
    assert text.endswith("%"), text
    return float(text[:-1])


# -- svg and scales ---------------------------------------------------------------------------------------------------------


def test_a_picture_has_its_name_and_its_description() -> None:
    """A screen reader reads both; a name that looks like markup is text."""
    svg = picture("p", 10, title='a < b & "c"', describe="<b>")
    add(svg, "text", "</svg><script>", x=0)
    root = ElementTree.fromstring(serialized(svg))
    assert (root.get("role"), root.get("aria-labelledby"), root.get("aria-describedby")) == ("img", "p-title", "p-desc")
    assert [child.text for child in root] == ['a < b & "c"', "<b>", "</svg><script>"]


@given(st.text(max_size=200), st.integers(4, 40), st.integers(1, 3))
def test_fitted_text_fits(text: str, width: int, lines: int) -> None:
    """Never more lines or letters than there is room for, and nothing is lost of what fits."""
    found = fitted(text, width, lines)
    assert 1 <= len(found) <= lines
    assert all(len(line) <= width for line in found)
    joined = " ".join(text.split())
    if len(joined) <= width:
        assert found == [joined]


@given(st.lists(finite, min_size=1, max_size=20))
def test_an_axis_covers_all_numbers(values: list[float]) -> None:
    """Also where they are all the same; infinite ones and nan do not count."""
    low, high = covering([*values, math.inf, -math.inf, math.nan])
    assert low < high
    assert low <= min(values) <= max(values) <= high


@given(finite, st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_are_few_round_and_on_the_axis(low: float, width: float, most: int) -> None:
    """At most as many as asked for, equally far apart, and with different texts."""
    marks = ticks(low, low + width, most)
    assert len(marks) <= most
    assert all(low - 1e-6 * width <= mark <= low + width * (1 + 1e-6) for mark in marks)
    steps = np.diff(marks)
    assert np.allclose(steps, steps[:1], rtol=1e-6, atol=1e-9 * max(1.0, abs(low)))


def test_ticks_have_the_digits_they_need() -> None:
    """No more and no fewer, and the minus sign of typography."""
    assert [label(x, [-0.25, 0.0, 0.5]) for x in (-0.25, 0.0, 0.5)] == ["\N{MINUS SIGN}0.25", "0.00", "0.50"]
    assert [label(x) for x in (0.1 + 0.2, 1500.0, 2e-7, 3e10)] == ["0.3", "1,500", "2e\N{MINUS SIGN}07", "3e+10"]


def test_a_logarithmic_axis_has_powers_of_ten() -> None:
    """And round numbers where there is but one of them."""
    assert Scale(0.0009, 2.0, logarithmic=True).ticks() == pytest.approx([0.001, 0.01, 0.1, 1.0])
    assert len(Scale(1e-9, 1e9, logarithmic=True).ticks(4)) <= 5
    assert Scale(2.0, 70.0, logarithmic=True).ticks() == [20.0, 40.0, 60.0]


# -- differences ------------------------------------------------------------------------------------------------------------


def test_an_interval_stands_where_its_numbers_are() -> None:
    """Ends, estimate, zero and the band of the margin, on the axis that all strips share."""
    interval = Interval(-0.7, -0.9, -0.5)
    scale = scale_of([interval, Interval(0.3, 0.1, 0.5)], 0.2)
    svg = strip(interval, scale, 0.2, **NAMED)
    (line,) = [e for e in of_class(svg, "interval") if e.tag == "line"]
    assert (percent(line, "x1"), percent(line, "x2")) == pytest.approx((scale(-0.9), scale(-0.5)), abs=0.01)
    (dot,) = of_class(svg, "estimate")
    assert percent(dot, "cx") == pytest.approx(scale(-0.7), abs=0.01)
    (band,) = of_class(svg, "band")
    assert percent(band, "x") == pytest.approx(scale(-0.2), abs=0.01)
    assert percent(band, "width") == pytest.approx(scale(0.2) - scale(-0.2), abs=0.01)
    (zero,) = of_class(svg, "zero")
    assert percent(zero, "x1") == pytest.approx(scale(0.0), abs=0.01)
    assert scale(-0.9) < scale(-0.7) < scale(-0.5) < scale(0.0)


def test_an_interval_without_an_end_has_an_arrow() -> None:
    """It goes to the edge of the picture, and its head has three points."""
    svg = strip(Interval(-0.1, -math.inf, 0.2), scale_of([], 0.2), 0.2, **NAMED)
    (line,) = [e for e in of_class(svg, "interval") if e.tag == "line"]
    assert percent(line, "x1") == 1.0
    heads = [len(e.get("points", "").split()) for e in of_class(svg, "interval") if e.tag == "polyline"]
    assert heads == [3, 2]
    assert of_class(strip(Interval(None, -math.inf, math.inf), scale_of([], 0.2), 0.2, **NAMED), "estimate") == []


@pytest.mark.parametrize(("higher", "words"), [(True, ["worse", "better"]), (False, ["better", "worse"])])
def test_the_axis_says_which_way_is_better(higher: bool, words: list[str]) -> None:
    """To the left smaller differences, to the right larger ones."""
    svg = axis(scale_of([], 0.2), 0.2, higher_is_better=higher)
    texts = [e.text or "" for e in ElementTree.fromstring(svg).iter("text")]
    assert [re.sub(r"\W", "", t) for t in texts[-2:]] == words


# -- every run --------------------------------------------------------------------------------------------------------------

ROWS = [Strip("a", {0: 1.0, 1: 2.0, 2: 3.0}, "median 2"), Strip("b", {1: 1.5, 2: math.nan, 3: 2.5})]


def test_runs_of_one_seed_are_joined() -> None:
    """A line from each run of a row to that of the same index in the next one, at their places."""
    svg = strips(ROWS, worse_is_left=True, axis="metric", **NAMED)
    dots = [percent(dot, "cx") for dot in of_class(svg, "run")]
    assert len(dots) == 5
    assert dots[0] < dots[3] < dots[1] < dots[4] < dots[2]
    (group,) = of_class(svg, "joined")
    lines = [(percent(line, "x1"), percent(line, "x2")) for line in group]
    assert lines == [(dots[1], dots[3]), (dots[2], 4.0)]
    assert len(of_class(svg, "cross")) == 1
    assert [percent(bar, "x1") for bar in of_class(svg, "median")] == [
        dots[1],
        pytest.approx((dots[3] + dots[4]) / 2, abs=0.01),
    ]


@pytest.mark.parametrize("left", [True, False])
def test_runs_that_failed_stand_at_the_worse_end(left: bool) -> None:
    """Beyond all that finished."""
    svg = strips(ROWS, worse_is_left=left, axis="metric", **NAMED)
    (aside,) = [percent(e, "x") for e in of_class(svg, "end")]
    dots = [percent(dot, "cx") for dot in of_class(svg, "run")]
    assert aside < min(dots) - 10 if left else aside > max(dots) + 10


def test_many_seeds_are_not_joined() -> None:
    """Sixty lines would be a carpet."""
    rows = [Strip(name, {k: float(k) for k in range(60)}) for name in "ab"]
    (group,) = of_class(strips(rows, worse_is_left=True, axis="metric", **NAMED), "joined")
    assert list(group) == []


# -- learning curves --------------------------------------------------------------------------------------------------------


def test_a_curve_is_the_middle_of_its_runs() -> None:
    """Median and the band of 80 %, epoch by epoch, over the runs that went as far; what is not finite does not count."""
    runs = np.random.default_rng(0).normal(size=(20, 5))
    c = curve("training", [*runs.tolist(), [math.nan, math.inf, None]])
    expected = np.quantile(runs, [0.5, 0.1, 0.9], axis=0)
    assert np.allclose([c.median, c.low, c.high], expected)
    assert curve("training", [[1.0, 2.0, math.nan, 4.0]]).median == [1.0, 2.0]
    assert curve("training", []).median == []


def test_the_first_epochs_do_not_press_the_rest_flat() -> None:
    """The axis holds what comes after the first tenth, where that is much narrower; positive numbers get a logarithmic one."""
    steep = [-1.0, *np.linspace(0.95, 0.99, 19).tolist()]
    low, high, logarithmic = limits([Curve("training", steep, steep, steep)])
    assert not logarithmic
    assert 0.9 < low < 0.95 < 0.99 < high
    loss = [2.0, 0.5, 0.05, 0.01]
    assert limits([Curve("training", loss, loss, loss)]) == pytest.approx((0.01 / 1.15, 2.3, True))
    flat = [0.5, 0.6, 0.7, 0.8]
    low, high, _ = limits([Curve("training", flat, flat, flat)])
    assert low < 0.5 < 0.8 < high


def test_a_panel_draws_from_the_first_epoch_to_the_last() -> None:
    """Across the whole width, higher numbers higher up; the band goes forth and back."""
    c = Curve("validation", [0.5, 0.7, 0.8], [0.4, 0.6, 0.7], [0.6, 0.8, 0.9])
    svg = panel([c, Curve("other", [0.1, 0.2], [], [])], (0.0, 1.0, False), **NAMED)
    (line,) = [e for e in of_class(svg, "curve") if "validation" in e.get("class", "")]
    points = [tuple(map(float, p.split(","))) for p in line.get("points", "").split()]
    assert [x for x, _ in points] == [4.0, 500.0, 996.0]
    assert points[0][1] > points[1][1] > points[2][1]
    (band,) = of_class(svg, "spread")
    assert len(band.get("points", "").split()) == 6


# -- metric against cost ----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 240), max_size=12), st.floats(1, 18))
def test_names_are_moved_apart(wanted: list[float], room: float) -> None:
    """In order, far enough from each other, and inside of the picture where all of them fit."""
    places = apart(sorted(wanted), room, 0.0, 240.0)
    assert len(places) == len(wanted)
    assert all(below - above >= room - 1e-9 for above, below in pairwise(places))
    assert all(place <= 240.0 for place in places)
    assert all(place >= -1e-9 for place in places)


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_names_beside_points_do_not_lie_on_each_other(count: int) -> None:
    """Even where all points lie at one place; a full point is on the front, a hollow one is not."""
    points = [Point(f"variant {k}", 1.0, 0.9, 0.89, 0.91, k == 0) for k in range(count)]
    svg = scatter(points, across="seconds", upwards="accuracy", **NAMED)
    assert len(of_class(svg, "best")) == 1
    assert len(of_class(svg, "beaten")) == count - 1
    names = of_class(svg, "name")
    assert sorted(e.text or "" for e in names) == sorted(p.name for p in points)
    places = sorted((e.get("text-anchor"), float(e.get("y", "0"))) for e in names)
    assert all(b[1] - a[1] >= 14 for a, b in pairwise(places) if a[0] == b[0])


def test_points_stand_where_their_numbers_are() -> None:
    """Cheaper is further left, better is higher up; names stay inside of the picture."""
    points = [Point("cheap", 1.0, 0.8, 0.7, 0.9, True), Point("dear", 9.0, 0.95, 0.9, 0.96, True)]
    svg = scatter(points, across="seconds", upwards="accuracy", **NAMED)
    cheap, dear = of_class(svg, "best")
    assert percent(cheap, "cx") < percent(dear, "cx")
    assert float(cheap.get("cy", "0")) > float(dear.get("cy", "0"))
    assert {e.text: e.get("text-anchor") for e in of_class(svg, "name")} == {"cheap": "start", "dear": "end"}
    along, up = of_class(svg, "front")
    assert (percent(along, "x1"), percent(along, "x2")) == (percent(cheap, "cx"), percent(dear, "cx"))
    assert (along.get("y1"), along.get("y2"), up.get("y2")) == (cheap.get("cy"), cheap.get("cy"), dear.get("cy"))
