"""What a reader measures in the pictures of a report is what was found: numbers are read off against their axes."""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from comparison.examples import EXAMPLES

from laminar.comparison import page
from laminar.comparison.result import Comparison


@pytest.fixture(scope="module", params=["four", "lower-is-better"])
def made(request: pytest.FixtureRequest) -> tuple[Comparison, str]:
    """An example in percent and one that is not, and its page."""
    example = EXAMPLES[request.param]()
    return example, page.html(example)


def picture(text: str, name: str) -> Element:
    """Return one picture of a page."""
    found = re.search(rf'<svg id="{name}".*?</svg>(?=</div>|\n<figcaption)', text, flags=re.DOTALL)
    assert found, f"no picture {name}"
    return ElementTree.fromstring(found[0])


def of_class(svg: Element, name: str) -> list[Element]:
    """Return the elements that have a class."""
    return [e for e in svg.iter() if name in e.get("class", "").split()]


def place(element: Element, attribute: str) -> float:
    """Return a place, in percent of the width or in pixels."""
    return float(element.get(attribute, "nan").removesuffix("%"))


def ruler(svg: Element, along: str) -> np.poly1d:
    """Return place -> number along the ticks of an axis: of its texts "x" or "y" in the middle or at the left."""
    ticks = [t for t in of_class(svg, "tick") if (t.get("text-anchor") == "middle") is (along == "x")]
    numbers = [(place(t, along), t.text or "") for t in ticks if re.fullmatch(r"[\d.,\u2212]+", t.text or "")]
    places, texts = zip(*numbers, strict=True)
    values = [float(t.replace(",", "").replace("\N{MINUS SIGN}", "-")) for t in texts]
    line = np.polyfit(places, values, 1)
    assert np.allclose(np.polyval(line, places), values, atol=0.01 * np.ptp(values)), "the axis is not straight"
    return np.poly1d(line)


def test_differences_are_read_off_against_the_margin(made: tuple[Comparison, str]) -> None:
    """The band is two margins wide and zero is its middle: so the picture alone says difference and interval."""
    example, text = made
    for number, v in enumerate(example.verdicts):
        svg = picture(text, f"forest-{number}")
        (zero,), (band,), (dot,) = of_class(svg, "zero"), of_class(svg, "band"), of_class(svg, "estimate")
        (line,) = [e for e in of_class(svg, "interval") if e.tag == "line"]
        one = place(band, "width") / 2 / example.protocol.margin
        read = [(place(e, key) - place(zero, "x1")) / one for e, key in ((dot, "cx"), (line, "x1"), (line, "x2"))]
        assert read == pytest.approx([v.difference, v.low, v.high], abs=0.02 / one)


def test_runs_are_read_off_against_the_axis(made: tuple[Comparison, str]) -> None:
    """Every dot is its run's metric, row by row and pair by pair."""
    example, text = made
    svg = picture(text, "every-run")
    number = ruler(svg, "x")
    factor = 100 if example.protocol.metric == "accuracy" else 1
    values = [r.value for name in example.protocol.variants for r in example.runs if r.variant == name and r.value is not None]
    read = [float(number(place(dot, "cx"))) / factor for dot in of_class(svg, "run")]
    assert read == pytest.approx(values, abs=2e-3 * float(np.ptp(values)))


def test_the_metric_is_read_off_against_the_cost(made: tuple[Comparison, str]) -> None:
    """Parameters from the lower axis, the mean metric from the left one."""
    example, text = made
    svg = picture(text, "against-parameters")
    across = ruler(svg, "x")
    points = of_class(svg, "best") + of_class(svg, "beaten")
    runs = {name: [r for r in example.runs if r.variant == name] for name in example.protocol.variants}
    costs = sorted(found[0].parameters for found in runs.values())
    assert sorted(float(across(place(p, "cx"))) for p in points) == pytest.approx(costs, rel=0.01)
    factor = 100 if example.protocol.metric == "accuracy" else 1
    means = [float(np.mean([r.value for r in found if r.value is not None])) for found in runs.values()]
    lines = sorted(place(line, "y1") for line in of_class(svg, "grid"))
    ticks = [t for t in of_class(svg, "tick") if t.get("text-anchor") is None and t.text and t.text[0].isdigit()]
    assert sorted(place(t, "y") + 4 for t in ticks) == pytest.approx(lines)  # a number stands right above its line
    upwards = ruler(svg, "y")
    read = [float(upwards(place(p, "cy") - 4)) / factor for p in points]
    assert sorted(read) == pytest.approx(sorted(means), abs=0.01 * float(np.ptp(means)))
