"""The report is one valid page that holds what was found, escapes what it was given, and can be read by everybody."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import statistics
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from comparison.examples import EXAMPLES, HOSTILE, LONG, comparison, made_up

from laminar.comparison import page
from laminar.comparison.permutation import EXACT_UP_TO
from laminar.comparison.result import Comparison

VOID = {"meta", "link", "br", "hr", "img", "input"}
PHRASES = {"p", "h1", "h2", "h3", "summary", "span", "b", "code", "pre", "a", "dt", "caption", "figcaption"}
BLOCKS = {"p", "div", "ul", "ol", "dl", "table", "section", "article", "figure", "details", "h1", "h2", "h3", "pre"}


class Parsed(HTMLParser):
    """A page as its elements, and what is wrong with it.

    Attributes:
        elements: (tag, attributes, tags that it lies in) of every element, in order.
        texts: (text, tags that it lies in).
        faults: what is not valid.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str], tuple[str, ...]]] = []
        self.texts: list[tuple[str, tuple[str, ...]]] = []
        self.faults: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        if self._open:
            self.faults.append(f"not closed: {self._open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._see(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._see(tag, attrs)
        if "svg" not in (tag, *self._open):
            self.faults.append(f"<{tag}/> outside of a picture")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"</{tag}> in {self._open}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append((data, tuple(self._open)))

    def _see(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.faults.append(f"<{tag}> has an attribute twice")
        parent = self._open[-1] if self._open else ""
        if parent in PHRASES and tag in BLOCKS:
            self.faults.append(f"<{tag}> in <{parent}>")
        self.elements.append((tag, {name: value or "" for name, value in attrs}, tuple(self._open)))

    def all(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of every such element."""
        return [attributes for name, attributes, _ in self.elements if name == tag]

    def text_in(self, tag: str) -> str:
        """Return all text inside of such elements."""
        return "".join(text for text, inside in self.texts if tag in inside)


_PAGES: dict[str, tuple[Comparison, str]] = {}


def made(name: str) -> tuple[Comparison, str]:
    """Return an example and its page, made once."""
    if name not in _PAGES:
        example = EXAMPLES[name]()
        _PAGES[name] = example, page.html(example)
    return _PAGES[name]


def table(text: str, name: str) -> list[list[str]]:
    """Return the cells of one table of a page."""
    rows = re.search(rf'<table class="{name}">(.*?)</table>', text, flags=re.DOTALL)
    assert rows, f"no table {name}"
    found = []
    for row in re.findall(r"<tr>(.*?)</tr>", rows[1], flags=re.DOTALL):
        cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL)
        found.append([Parsed(cell).texts[0][0] if cell else "" for cell in cells])
    return found


# -- a valid page that everybody can read -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_page_is_valid(name: str) -> None:
    """Tags are balanced, ids are unique, and what an attribute refers to is there."""
    parsed = Parsed(made(name)[1])
    assert parsed.faults == []
    ids = [attributes["id"] for _, attributes, _ in parsed.elements if "id" in attributes]
    assert [id_ for id_, count in Counter(ids).items() if count > 1] == []
    referred = [a[key] for _, a, _ in parsed.elements for key in ("aria-labelledby", "aria-describedby") if key in a]
    referred += [a["href"][1:] for a in parsed.all("a") if a["href"].startswith("#")]
    assert [id_ for names in referred for id_ in names.split() if id_ not in ids] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_page_is_accessible(name: str) -> None:
    """Language, title, headings without a gap, named pictures, tables with caption and scopes, and a way past the head."""
    parsed = Parsed(made(name)[1])
    assert parsed.all("html") == [{"lang": "en"}]
    assert parsed.text_in("title")
    assert parsed.all("a")[0]["class"] == "skip"
    levels = [int(tag[1]) for tag, _, _ in parsed.elements if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    for place, (tag, attributes, inside) in enumerate(parsed.elements):
        if tag == "svg" and "svg" not in inside and attributes.get("aria-hidden") != "true":
            assert attributes["role"] == "img"
            assert [below for below, _, _ in parsed.elements[place + 1 : place + 3]] == ["title", "desc"]
    outer = [t for t, inside in parsed.texts if inside[-1:] in (("title",), ("desc",)) and inside.count("svg") == 1]
    assert all(t.strip() for t in outer)
    assert len(parsed.all("caption")) == len(parsed.all("table"))
    assert all(a.get("scope") in ("col", "row") for a in parsed.all("th"))
    assert all(a.get("tabindex") == "0" for a in parsed.all("pre"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_is_fetched_and_nothing_runs(name: str) -> None:
    """No script, no style of an element's own, no address of another place: a strict policy says so to the browser, too."""
    text = made(name)[1]
    parsed = Parsed(text)
    tags = {tag for tag, _, _ in parsed.elements}
    assert not tags & {"script", "img", "iframe", "object", "embed", "video", "audio", "base", "form", "image", "use"}
    names = {key for _, attributes, _ in parsed.elements for key in attributes}
    assert [key for key in names if key.startswith("on") or key in ("src", "srcset", "style", "xlink:href")] == []
    links = [a["href"] for _, a, _ in parsed.elements if "href" in a]
    assert [link for link in links if not link.startswith(("#", "data:"))] == []
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in parsed.all("meta")[2]["content"]


# -- names are anybody's ----------------------------------------------------------------------------------------------------


def test_names_are_shown_as_they_are() -> None:
    """Markup, quotes and braces in a name are text wherever they stand; so are those in an error and in a note."""
    text = made("hostile")[1]
    parsed = Parsed(text)
    shown = " ".join(t for t, inside in parsed.texts if "style" not in inside)
    assert shown.count(HOSTILE) > 20
    assert "alert(1)" not in re.sub(re.escape(HOSTILE), "", shown.replace("\n", " ")).replace("<script>alert(1)<", "")
    assert HOSTILE in parsed.text_in("pre")
    assert LONG in parsed.text_in("h3")
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", text)


def test_a_page_with_half_a_character_is_written(tmp_path: Path) -> None:
    """What UTF-8 cannot hold is replaced, not raised."""
    example = made("hostile")[0]
    path = page.write(example, tmp_path / "report.html")
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_writing_replaces_the_whole_file(tmp_path: Path) -> None:
    """An older report is there until the new one is whole; nothing else stays in the folder."""
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")
    example, text = made("equal")
    assert page.write(example, path) == path
    assert path.read_text(encoding="utf-8") == text
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert example.report(path) == path


# -- what the page says -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_verdict_has_its_word_its_shape_and_its_sentence(name: str) -> None:
    """Nothing is said by colour alone."""
    example, text = made(name)
    cards = re.findall(r'<article class="verdict (\w+)".*?</article>', text, flags=re.DOTALL)
    assert cards == [v.word for v in example.verdicts]
    for v, card in zip(example.verdicts, re.findall(r"<article.*?</article>", text, flags=re.DOTALL), strict=True):
        parsed = Parsed(card)
        assert f'class="mark {v.word}"' in card
        assert (v.word if v.decided or v.word != "undecided" else "not yet decided") in parsed.text_in("h3")
        clean = [re.sub(r"[\x00-\x08\x0b-\x1f]", "\N{REPLACEMENT CHARACTER}", s) for s in example.sentences]
        assert parsed.text_in("p").startswith(clean[example.verdicts.index(v)])


def test_shapes_differ_from_word_to_word() -> None:
    """Five words, five shapes."""
    words = ("better", "worse", "equivalent", "undecided", "invalid")
    pages = "".join(made(name)[1] for name in EXAMPLES)
    shapes = {word: set(re.findall(rf'<svg class="mark {word}"[^>]*>(.*?)</svg>', pages)) for word in words}
    assert {word: len(found) for word, found in shapes.items()} == dict.fromkeys(words, 1)
    assert len(set.union(*shapes.values())) == 5


def test_the_numbers_are_those_of_the_runs() -> None:
    """Mean difference, wins and costs are computed here once more, from the runs."""
    example, text = made("four")
    by_name = {name: {r.index: r for r in example.runs if r.variant == name} for name in "abcd"}
    rows = {row[0]: row[1:] for row in table(text, "table-statistics")}
    for place, v in enumerate(example.verdicts):
        d = [(by_name[v.variant][k].value or 0) - (by_name[v.baseline][k].value or 0) for k in range(v.pairs)]
        told = float(rows["Mean difference, in points"][place].replace("\N{MINUS SIGN}", "-"))
        assert told == pytest.approx(100 * statistics.fmean(d), abs=0.005)
        assert rows["Better, equal, worse"][place] == f"{sum(x > 0 for x in d)}, 0, {sum(x < 0 for x in d)}"
        assert rows["Verdict"][place] == v.word
    costs = {row[0]: row for row in table(text, "table-costs")[1:]}
    alike = [r.seconds for r in by_name["b"].values() if r.environment["host"] == "attic"]
    assert costs["b"][3] == f"{statistics.median(alike):.1f} s"
    assert costs["b"][5:7] == ["200,000", "24.0 MB"]
    assert costs["a"][4].endswith(" s")
    runs = table(text, "table-runs")[1:]
    assert [(row[0], row[1], row[6]) for row in runs] == [(r.variant, str(r.index), str(r.seed)) for r in example.runs]


def test_a_picture_and_its_table_say_the_same() -> None:
    """The text alternative of each difference holds the numbers of the table under it."""
    text = made("four")[1]
    parsed = Parsed(text)
    described = [t for t, inside in parsed.texts if inside[-1:] == ("desc",)]
    for row, desc in zip(table(text, "table-differences")[1:], described, strict=False):
        assert f"Mean difference {row[2]}" in desc
        assert row[1].capitalize() in desc


def test_failures_are_listed_with_their_error() -> None:
    """Runs of one variant with one error stand together."""
    text = made("one-side-failed")[1]
    parsed = Parsed(text)
    assert "b diverged in 8 runs: pairs 0, 1, 2, 3, 4, 5, 6, 7." in " ".join(parsed.text_in("li").split())
    assert parsed.text_in("pre").count("DivergedError: loss became nan at epoch 3, step 412") == 1
    assert 'id="failures"' not in made("four")[1]


def test_the_data_are_in_the_page() -> None:
    """Both links hold everything: the table has a line for each run, JSON is what `to_dict` says."""
    example, text = made("four")
    links = {a["download"]: a["href"] for a in Parsed(text).all("a") if "download" in a}
    assert list(links) == ["a-study-runs.csv", "a-study.json"]
    kinds = {name: link.partition(";base64,")[0] for name, link in links.items()}
    assert kinds == {"a-study-runs.csv": "data:text/csv", "a-study.json": "data:application/json"}
    held = [base64.b64decode(link.partition(";base64,")[2]).decode("utf-8") for link in links.values()]
    rows = list(csv.DictReader(io.StringIO(held[0])))
    assert [(r["variant"], int(r["index"]), float(r["value"])) for r in rows] == [
        (run.variant, run.index, run.value) for run in example.runs
    ]
    assert json.loads(held[1]) == json.loads(json.dumps(example.to_dict()))


def test_what_is_needed_to_repeat_it_is_there() -> None:
    """The call is Python, with every declared setting; the command names the store."""
    example, text = made("four")
    pre = [t for t, inside in Parsed(text).texts if "pre" in inside]
    call = pre[0]
    compile(call, "call", "eval")
    for setting in ("metric='accuracy'", "margin=0.002", "seeds=20", "seed=0", "target=0.85", "epochs=12", "name='a study'"):
        assert setting in call
    assert "('d', 'c')" in call
    assert pre[1] == "laminar compare study.py --seeds 20 --store laminar.db --report report.html"
    assert str(example.protocol.seed_of(0)) in text
    assert "baseline='a'" in made("equal")[1].replace("&#39;", "'")


def test_only_what_was_used_is_explained() -> None:
    """Looking early, and Holm's method, are told where they took place."""
    assert "Holm" not in Parsed(made("equal")[1]).text_in("section").replace("Holm's method because", "")
    assert "Ville (1939)" not in made("lower-is-better")[1]
    assert "Ville (1939)" in made("four")[1]
    assert f"(random ones above {EXACT_UP_TO} pairs)" in made("four")[1]


def test_what_is_not_known_takes_no_room() -> None:
    """No curves of one epoch, no empty columns, no picture without a run."""
    assert 'id="curves"' not in made("one")[1]
    assert "Memory of" not in page.html(comparison("ab", made_up("ab", 6, memory=None)))
    assert 'id="every-run"' not in made("none")[1]
    assert "table-ratios" not in made("none")[1]
    assert [name for name in EXAMPLES if "<tbody>\n</tbody>" in made(name)[1]] == []


# -- colours ----------------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Return the relative luminance of "#rrggbb" (WCAG 2.2)."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_ruler_of_contrast_measures_right() -> None:
    """Black on white is 21, and #767676 the lightest grey with 4.5 on white."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") >= 4.5 > contrast("#777777", "#ffffff")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_legible(scheme: str) -> None:
    """Text has a contrast of 4.5 at least, on the page and on the band of the margin."""
    text = made("four")[1]
    blocks = re.findall(r":root\s*{(.*?)}", text, flags=re.DOTALL)
    assert len(blocks) == 2
    colours = dict(re.findall(r"--(\w+):\s*(#[0-9a-f]{6})", blocks[scheme == "dark"]))
    words = ("ink", "quiet", "accent", "second", "better", "worse", "equivalent", "undecided", "invalid")
    too_faint = {
        (word, ground): round(contrast(colours[word], colours[ground]), 2)
        for word in words
        for ground in ("paper", "band")
        if contrast(colours[word], colours[ground]) < 4.5
    }
    assert too_faint == {}


def test_every_colour_is_a_variable() -> None:
    """A colour that is written out would not follow the reader's scheme."""
    style = Parsed(made("four")[1]).text_in("style")
    outside = re.sub(r":root\s*{.*?}", "", style, flags=re.DOTALL)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(", outside) == []
    used, known = set(re.findall(r"var\(--(\w+)\)", style)), set(re.findall(r"--(\w+):", style))
    assert used - known == set()
