"""Every word of the vocabulary is explained: shapes, formula, source and an example in its docstring, a place in the reference."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

from laminar import layers

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"

FAMILIES = ("layers", "losses", "optimizers", "callbacks", "schedules", "metrics", "initializers", "activations")

# What is no word of the field but machinery of the house, has no source and no formula, and why. The rest must be told here or be
# documented; an entry that is no longer needed fails the tests.
PLUMBING: dict[str, str] = {
    "losses.Loss": "the base of the losses: each has its own formula",
    "losses.CustomLoss": "the formula is the user's function",
    "losses.TorchLoss": "the formula is the module's",
    "losses.get": "looks up names",
    "optimizers.Optimizer": "the base of the optimizers: each has its own formula",
    "optimizers.Rule": "what the optimizers share",
    "optimizers.Factory": "the formula is that of what the user's function returns",
    "optimizers.Ready": "the formula is that of the optimizer it holds",
    "optimizers.get": "looks up names",
    "schedules.Schedule": "the base of the schedules: each has its own formula",
    "schedules.Function": "the formula is the user's function",
    "metrics.Metric": "the base of the metrics",
    "metrics.MeanMetric": "a base for metrics of one's own",
    "metrics.TotalMetric": "a base for metrics of one's own",
    "metrics.Tally": "gathers a figure over batches",
    "metrics.CustomMetric": "the figure is the user's function",
    "metrics.LossMetric": "the figure is the loss's, which has its source",
    "metrics.get": "looks up names",
    "metrics.resolve": "looks up names for a network",
    "initializers.Initializer": "the base of the initializers",
    "initializers.Given": "the values are the user's",
    "initializers.get": "looks up names",
    "activations.get": "looks up names",
    "activations.name_of": "names functions",
}

# Where a formula is due: families, and modules of layers whose output is an expression of the input's numbers.
WITH_FORMULA = re.compile(
    r"losses\.|optimizers\.(?!put_averages)|schedules\.|activations\."
    r"|layers\.(activation|prelu|maxout|norm|batchnorm|groupnorm|recurrent|residual|noise)$"
)
# The activation's own formula is its argument's; spatial dropout is Dropout along axes.
WITHOUT_FORMULA = {"layers.Activation"}

# A sign between two operands, a root, a sum, or a function of something: `v ← μ·v + g`, `max(x, 0)`, `x Φ(x)`, `eˣ`.
FORMULA = re.compile(r"\S (?:[=←/−+<>≤≥]|-) \S|\S·\S|[√Σ|⌊]\s?[\w(]|ˣ|\b(?:max|min|log|exp|tanh|sigmoid|relu|elu|Φ)\(")

# A year, a row of docs/mission.md, or the code that the words come from.
ORIGIN = re.compile(r"\b(18|19|20)\d\d\b|\brows? [RB]\d|\bKeras|`keras\.|`torch\.|\btorch's\b|\bMATLAB's\b")


def words() -> dict[str, object]:
    """Return every exported class and function as family.name -> object."""
    found: dict[str, object] = {}
    for family in FAMILIES:
        module = importlib.import_module(f"laminar.{family}")
        exported = {name: getattr(module, name) for name in module.__all__}
        found |= {f"{family}.{name}": v for name, v in exported.items() if inspect.isclass(v) or inspect.isfunction(v)}
    return found


WORDS = words()


def own_docstring(word: str) -> str:
    """Return the docstring written at the word itself, not at its parent."""
    value = WORDS[word]
    return inspect.cleandoc(vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__ or "")


def prose(word: str) -> str:
    """Return what the docstring says before Args, Source and the example."""
    return re.split(r"^(?:[A-Z]\w+:$|>>>)|Source: ", own_docstring(word), maxsplit=1, flags=re.MULTILINE)[0]


def source(word: str) -> str:
    """Return the paragraph's rest after `Source:`, or nothing."""
    told = re.search(r"\bSource: (.+?)(?:\n\n|\Z)", own_docstring(word), flags=re.DOTALL)
    return told[1] if told else ""


def due_formula(word: str) -> bool:
    """Return whether a formula is expected of the word."""
    module = WORDS[word].__module__.removeprefix("laminar.")
    return word not in WITHOUT_FORMULA and bool(WITH_FORMULA.match(module if word.startswith("layers.") else word))


@pytest.mark.parametrize("word", WORDS)
def test_an_example_shows_it(word: str) -> None:
    """A `>>>` example in its own docstring, which `make test` runs; it uses the word itself, where that is no plumbing."""
    lines = " ".join(example.source for example in doctest.DocTestParser().get_examples(own_docstring(word)))
    assert re.search(r"." if word in PLUMBING else rf"\b{word.partition('.')[2]}\b", lines)


@pytest.mark.parametrize("word", sorted(WORDS.keys() - PLUMBING.keys()))
def test_its_source_is_told(word: str) -> None:
    """`Source:` with a paper and its year, a row of the mission, or the library that the definition is taken from."""
    assert ORIGIN.search(source(word))


def test_rows_named_as_sources_exist() -> None:
    """Every R.. that a docstring names is a row of docs/mission.md."""
    table = (ROOT / "docs" / "mission.md").read_text()
    rows = {f"{r}{n}" for r, last in (("R", 28), ("B", 7)) for n in range(1, last + 1)}
    assert "R1 to R28" in table
    assert "B1 to B7" in table
    assert {(w, row) for w in WORDS for row in re.findall(r"\b[RB]\d+\b", source(w)) if row not in rows} == set()


@pytest.mark.parametrize("word", sorted(word for word in WORDS.keys() - PLUMBING.keys() if due_formula(word)))
def test_its_formula_is_told(word: str) -> None:
    """What it computes stands above the arguments as an expression."""
    assert FORMULA.search(prose(word))


@pytest.mark.parametrize("name", [name for name in layers.__all__ if inspect.isclass(getattr(layers, name))])
def test_a_layer_tells_its_shapes(name: str) -> None:
    """In symbols, batch first, in the docstring of the class or of its `forward`."""
    layer = getattr(layers, name)
    assert re.search(r"\(B[,)]", own_docstring(f"layers.{name}") + (inspect.getdoc(layer.forward) or ""))


def test_the_rulers_measure_right() -> None:
    """What the patterns above take and refuse."""
    formulas = ("z = max(x, 0)", "w ← w − η·v", "Return x / (|x| + 1)", "x where x > 0, else 0", "Return eˣ.")
    words = ("Return x moved towards 0, see `Schedule`, for a well-known, yes/no rule (axis=1).", "The base of the losses.")
    assert [text for text in formulas + words if FORMULA.search(text)] == [*formulas]
    origins = ("Lin et al. 2017", "row R8", "`torch.flatten`", "Keras' `elu`")
    assert [text for text in (*origins, "well known", "arrows R8") if ORIGIN.search(text)] == [*origins]


def test_no_exemption_is_left_over() -> None:
    """Whoever gives plumbing a source and a formula takes it off the list."""
    needed = {w for w in WORDS if not ORIGIN.search(source(w)) or (due_formula(w) and not FORMULA.search(prose(w)))}
    assert sorted(PLUMBING.keys() - needed) == []


# ── the reference ────────────────────────────────────────────────────────────────────────────────────────────────────────


def directives(family: str) -> list[tuple[str, list[str] | None]]:
    """Return what the `:::` lines of a family's page ask mkdocstrings to show: a dotted name, and which members; None for all."""
    page = (REFERENCE / f"{family}.md").read_text()
    found = re.findall(r"^::: (\S+)\n((?: +.*\n)*)", page, flags=re.MULTILINE)
    members = [(name, re.search(r"members: \[(.*)\]", options)) for name, options in found]
    return [(name, listed[1].split(", ") if listed else None) for name, listed in members]


@pytest.mark.parametrize("word", WORDS)
def test_it_is_once_in_the_reference(word: str) -> None:
    """By its own name, or among the members of its family (mkdocstrings shows its `__all__`) or of the module it stands in."""
    family, _, name = word.partition(".")
    module = WORDS[word].__module__
    itself, around = {f"laminar.{word}", f"{module}.{name}"}, {f"laminar.{family}", module}
    shown = [
        target
        for target, members in directives(family)
        if target in itself or (target in around and (members is None or name in members))
    ]
    assert len(shown) == 1, shown


def test_the_page_of_layers_leads_to_each() -> None:
    """Its tables have a line for every layer, once, under the heading that it is shown under."""
    contents, _, families = (REFERENCE / "layers.md").read_text().partition("## ")
    listed = [
        (f, re.findall(r"\[laminar\.layers\.(\w+)\] \|", t))
        for f, t in re.findall(r"^\| \[(\w+)\](.*?)\n\n", contents, re.M | re.S)
    ]
    shown = [(s.partition("\n")[0], re.findall(r"^::: laminar\.layers\.(\w+)$", s, re.M)) for s in families.split("\n## ")]
    assert listed == shown
    assert sorted(name for _, names in listed for name in names) == sorted(layers.__all__)


def test_every_page_is_in_the_navigation() -> None:
    """mkdocs.yml leads to each page under docs, once."""
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2].partition("\n\n")[0]
    pages = re.findall(r"([\w/-]+\.md)$", navigation, flags=re.MULTILINE)
    assert sorted(pages) == sorted(str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md"))
