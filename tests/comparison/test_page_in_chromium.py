"""The report in a real browser: it fits a phone, follows the dark scheme, fetches nothing, and a screen reader finds its way."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comparison.chromium import Browser, installed
from comparison.examples import EXAMPLES
from PIL import Image

from laminar.comparison import page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(installed() is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of this file."""
    program = installed()
    assert program is not None
    with Browser(program, tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every example's report in a file."""
    folder = tmp_path_factory.mktemp("reports")
    return {name: page.write(make(), folder / f"{name}.html") for name, make in EXAMPLES.items()}


def role(node: dict[str, Any]) -> str:
    """Return what a node is to a screen reader."""
    return str(node["role"]["value"])


def name_of(node: dict[str, Any]) -> str:
    """Return what a screen reader calls a node."""
    return str(node.get("name", {}).get("value", ""))


@pytest.mark.parametrize("width", [320, 360, 768, 1200])
@pytest.mark.parametrize("name", EXAMPLES)
def test_no_page_is_wider_than_its_window(browser: Browser, reports: dict[str, Path], name: str, width: int) -> None:
    """Only tables and code scroll sideways, in boxes of their own; also with everything unfolded."""
    browser.open(reports[name], width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    unfolded = "document.querySelectorAll('details').forEach(d => d.open = true); document.documentElement.scrollWidth"
    assert browser.evaluate(unfolded) == width
    outside = """[...document.querySelectorAll('figure text, p, li, dt, dd, h1, h2, h3, summary, figcaption')]
        .filter(e => { const r = e.getBoundingClientRect(); return r.width && (r.left < -1 || r.right > innerWidth + 1) })
        .map(e => e.textContent.slice(0, 60))"""
    assert browser.evaluate(outside) == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_text_of_pictures_is_legible_on_a_phone(browser: Browser, reports: dict[str, Path], name: str) -> None:
    """Never below 12 pixels, because pictures are not scaled; and no two texts of a row of ticks lie on each other."""
    browser.open(reports[name], width=360)
    sizes = browser.evaluate("[...document.querySelectorAll('figure text')].map(e => parseFloat(getComputedStyle(e).fontSize))")
    assert min(sizes, default=12) >= 12
    collisions = """[...document.querySelectorAll('figure svg')].flatMap(svg => {
        const ticks = [...svg.querySelectorAll('text.tick')].map(e => [e.textContent, e.getBoundingClientRect()])
        return ticks.flatMap(([a, r], k) => ticks.slice(k + 1)
            .filter(([b, s]) => r.left < s.right && s.left < r.right && r.top + 3 < s.bottom - 3 && s.top + 3 < r.bottom - 3)
            .map(([b]) => a + ' on ' + b)) })"""
    assert browser.evaluate(collisions) == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_browser_has_nothing_to_complain_of(browser: Browser, reports: dict[str, Path], name: str) -> None:
    """No request but for the file itself, no message in the console, and not a word of a policy that was broken."""
    browser.open(reports[name], width=768)
    browser.evaluate("1")
    requests = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    assert [url for url in requests if not url.startswith("data:")] == [reports[name].resolve().as_uri()]
    assert [e["params"]["entry"] for e in browser.events if e.get("method") == "Log.entryAdded"] == []
    assert browser.evaluate("document.compatMode") == "CSS1Compat"


def test_the_dark_scheme_is_followed(browser: Browser, reports: dict[str, Path]) -> None:
    """The same page is light on paper-white and dark on near black, pictures included."""
    middle = {}
    for dark in (False, True):
        browser.open(reports["four"], width=768, dark=dark)
        image = Image.open(io.BytesIO(browser.screenshot())).convert("L")
        counts = image.histogram()
        middle[dark] = next(level for level in range(256) if sum(counts[: level + 1]) > image.width * image.height / 2)
        text = browser.evaluate("getComputedStyle(document.querySelector('figure text.tick')).fill")
        assert (max(map(int, re.findall(r"\d+", text)[:3])) > 128) is dark
    assert middle[False] > 240
    assert middle[True] < 40


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_screen_reader_finds_its_way(browser: Browser, reports: dict[str, Path], name: str) -> None:
    """Headings, tables with named columns, pictures with name and description, links that say where they lead."""
    browser.open(reports[name], width=768)
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    nodes = browser.tree()
    headings = [name_of(n) for n in nodes if role(n) == "heading"]
    expected = ["The question", "The verdict", "Differences", "Every run", "Costs", "All statistics", "How it was decided"]
    assert [h for h in headings if h in expected] == expected
    assert all(headings)
    for kind in ("table", "image", "columnheader", "rowheader", "link", "DisclosureTriangle", "region"):
        assert all(name_of(n).strip() for n in nodes if role(n) == kind), kind
    pictures = [n for n in nodes if role(n) == "image"]
    assert pictures
    assert all(n.get("description", {}).get("value", "").strip() for n in pictures)
    tables = browser.evaluate("document.querySelectorAll('table').length")
    assert len([n for n in nodes if role(n) == "table"]) == tables


def test_nothing_moves_while_the_page_is_built(browser: Browser, reports: dict[str, Path]) -> None:
    """Cumulative layout shift is 0."""
    browser.open(reports["twelve"], width=360)
    shift = """new Promise(done => { let sum = 0
        new PerformanceObserver(l => l.getEntries().forEach(e => sum += e.value)).observe({type: 'layout-shift', buffered: true})
        setTimeout(() => done(sum), 300) })"""
    answer = browser.ask("Runtime.evaluate", expression=shift, awaitPromise=True, returnByValue=True)
    assert answer["result"]["value"] == 0


def test_the_data_can_be_downloaded(browser: Browser, reports: dict[str, Path], tmp_path: Path) -> None:
    """A click on each link leaves the file."""
    browser.open(reports["four"], width=768)
    browser.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), eventsEnabled=True)
    for place in (0, 1):
        browser.events.clear()
        browser.ask(
            "Runtime.evaluate", expression=f"document.querySelectorAll('a[download]')[{place}].click()", userGesture=True
        )
        browser.wait(lambda e: e["method"] == "Browser.downloadProgress" and e["params"]["state"] == "completed")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a-study-runs.csv", "a-study.json"]


def test_the_page_is_printed_light_and_unfolded(browser: Browser, reports: dict[str, Path]) -> None:
    """What is folded on the screen is there on paper, in dark ink."""
    browser.open(reports["four"], width=768, dark=True)
    media = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.ask("Emulation.setEmulatedMedia", media="print", features=media)
    ink, rows = browser.evaluate(
        """[getComputedStyle(document.body).color, document.querySelector('.table-runs td').getBoundingClientRect().height]"""
    )
    assert max(map(int, re.findall(r"\d+", ink)[:3])) < 80
    assert rows > 5
    assert browser.printed().startswith(b"%PDF")
