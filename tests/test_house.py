"""The house's own walls, as far as ruff, mypy and import-linter do not hold them: sizes, weight at import, docs that run."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import pkgutil
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import laminar

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "laminar"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

LINES_A_FILE, LINES_A_FUNCTION, ARGUMENTS = 500, 50, 8

# What stands outside the budgets, and why: "fit/loop.py:Loop.run" or "src/laminar/fit/loop.py" -> reason.
# An entry that is no longer needed fails the tests.
EXCEPTIONS: dict[str, str] = {
    "plots/grid.py:predictions": "labels, truth and probabilities are three things; the others say how many are drawn, and where",
    "comparison/compare.py:compare": "what a comparison declares before its first run: each argument is a user's choice",
    "comparison/protocol.py:make_protocol": "what compare declares, by the same names",
    "tuning/search.py:tune": "the front door of a search: data, what is looked for, how, and how it is confirmed",
    "model.py:Model.fit": "Keras' fit: each argument is a user's choice, known by that name; the signature alone is 17 lines",
}

HEAVY = ("matplotlib", "scipy", "optuna", "rich", "typer", "PIL", "jinja2", "sklearn", "tensorboard", "onnx")


def python_files() -> list[Path]:
    """Return every Python file that people of this project wrote."""
    folders = ("src", "tests", "benchmarks", "docs", "examples")
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def modules() -> list[str]:
    """Return the dotted name of every module of the package."""
    return ["laminar", *sorted(m.name for m in pkgutil.walk_packages(laminar.__path__, "laminar."))]


def without_exceptions(offenders: dict[str, str]) -> list[str]:
    """Return `offenders` that the table does not excuse."""
    return [f"{name}: {what}" for name, what in offenders.items() if name not in EXCEPTIONS]


# ── weight at import ─────────────────────────────────────────────────────────────────────────────────────────────────────


def fresh_python(code: str) -> str:
    """Run `code` in a new interpreter and return what it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "src")
    return done.stdout.strip()


def test_import_loads_nothing_heavy() -> None:
    """Matplotlib, SciPy, rich and the like are loaded by the functions that need them, not by `import laminar`."""
    loaded = fresh_python(
        f"import sys, torch; before = set(sys.modules); import laminar; "
        f"print(sorted({set(HEAVY)} & {{name.partition('.')[0] for name in set(sys.modules) - before}}))"
    )
    assert loaded == "[]"


# ── budgets ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield (dotted name, definition) for every function in `tree`, also in classes and in other functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}{node.name}"
            if not isinstance(node, ast.ClassDef):
                yield name, node
            yield from functions(node, f"{name}.")
        else:
            yield from functions(node, prefix)


def lines_with_code(text: str) -> set[int]:
    """Return the numbers of the lines that hold something other than a comment."""
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {line for t in tokens if t.type not in layout for line in range(t.start[0], t.end[0] + 1)}


def length(function: ast.FunctionDef | ast.AsyncFunctionDef, code: set[int]) -> int:
    """Return how many lines of code `function` has: signature and body, without docstring, comments and blank lines."""
    lines = set(range(function.lineno, (function.end_lineno or function.lineno) + 1)) & code
    if ast.get_docstring(function, clean=False) is not None:
        docstring = function.body[0]
        lines -= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    return len(lines)


def arity(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many arguments a caller may name: all but self, cls, *args and **kwargs."""
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_the_ruler_measures_right() -> None:
    """The counts above, on a function whose answer is plain to see."""
    text = (
        "class A:\n"
        "    def f(self, a, /, b, *rest, c=1, **more):\n"
        '        """Two\n'
        '        lines."""\n'
        "\n"
        "        # why\n"
        "        return (a,\n"
        "                b)\n"
    )
    ((name, function),) = functions(ast.parse(text))
    assert (name, arity(function), length(function, lines_with_code(text))) == ("A.f", 3, 3)


def test_files_stay_within_the_budget() -> None:
    """At most 500 lines a file: one idea a file."""
    sizes = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in python_files()}
    offenders = {file: f"{lines} lines" for file, lines in sizes.items() if lines > LINES_A_FILE}
    assert without_exceptions(offenders) == []
    assert [name for name in EXCEPTIONS if ":" not in name and name not in offenders] == [], "excused, but within budget"


def test_functions_stay_within_the_budget() -> None:
    """At most 50 lines of code and 8 arguments a function."""
    offenders = {}
    for file in sorted(SOURCE.rglob("*.py")):
        text = file.read_text()
        code = lines_with_code(text)
        for name, function in functions(ast.parse(text)):
            lines, arguments = length(function, code), arity(function)
            if lines > LINES_A_FUNCTION or arguments > ARGUMENTS:
                offenders[f"{file.relative_to(SOURCE)}:{name}"] = f"{lines} lines of code, {arguments} arguments"
    assert without_exceptions(offenders) == []
    assert [name for name in EXCEPTIONS if ":" in name and name not in offenders] == [], "excused, but within budget"


def test_every_silenced_type_error_says_why() -> None:
    """`# type: ignore[code]  # reason`."""
    silenced = re.compile(r"#\s*type:\s*ignore(?!\[[\w, -]+\]\s+#\s*\w)")
    offenders = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in sorted(SOURCE.rglob("*.py"))
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if silenced.search(line)
    ]
    assert offenders == []


# ── what is public is documented ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", modules())
def test_exported_names_exist_and_have_a_docstring(name: str) -> None:
    """Every class and function in an `__all__`, and every public method and property written in that class."""
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    missing = []
    for exported in getattr(module, "__all__", []):
        value = getattr(module, exported)
        if not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        if not (vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__):  # its own, not its parent's
            missing.append(exported)
        if inspect.isclass(value) and value.__module__.startswith("laminar"):
            members = (m for m in vars(value).items() if not m[0].startswith("_"))
            missing += [f"{exported}.{key}" for key, member in members if undocumented(value, key, member)]
    assert missing == []


def undocumented(owner: type, key: str, member: object) -> bool:
    """Return whether a method or property has neither its own docstring nor one to inherit."""
    if not (inspect.isroutine(member) or isinstance(member, property)):
        return False
    return not inspect.getdoc(getattr(owner, key))


def test_every_part_of_the_house_is_in_the_reference() -> None:
    """Each module or package right under `laminar` has its `::: laminar.x` on a page of docs/reference."""
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    documented = set(re.findall(r"^::: laminar\.(\w+)", pages, flags=re.MULTILINE))
    assert sorted({m.name for m in pkgutil.iter_modules(laminar.__path__)} - documented - {"__main__"}) == []


def test_version_is_told_once() -> None:
    """pyproject.toml says it, the package repeats it, the changelog explains it."""
    assert laminar.__version__ == PROJECT["version"]
    assert re.search(rf"^## \[{re.escape(PROJECT['version'])}\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)


def test_every_dependency_is_pinned() -> None:
    """Whatever pyproject.toml asks for has one exact version in constraints.txt."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    pinned = {re.sub(r"[-_.]+", "-", name).lower() for name in pins}
    asked = [*PROJECT["dependencies"], *(d for extra in PROJECT["optional-dependencies"].values() for d in extra)]
    assert sorted({re.split(r"[<>=!\[; ]", d)[0] for d in asked} - pinned) == []
    assert [version for version in pins.values() if "+" in version] == [], "a local tag ties everybody to one index"


# ── docs that run ────────────────────────────────────────────────────────────────────────────────────────────────────────

FENCE = re.compile(r"^(?P<skip><!-- not run[^\n]*-->\n+)?```python[^\n]*\n(?P<code>.*?)^```", flags=re.MULTILINE | re.DOTALL)


def pages_with_code() -> list[str]:
    """Return the pages that show Python, as paths from the repository's root."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    return sorted(str(p.relative_to(ROOT)) for p in pages if p.exists() and "```python" in p.read_text())


@pytest.mark.parametrize("page", pages_with_code())
def test_code_on_the_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page, one after the other, are one program. `<!-- not run: why -->` above a block leaves it out."""
    text = (ROOT / page).read_text()
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__page__"}
    for block in FENCE.finditer(text):
        if block["skip"]:
            continue
        above = text.count("\n", 0, block.start("code"))  # blank lines in front make a traceback name the page's own line
        exec(compile("\n" * above + block["code"], str(ROOT / page), "exec"), names)
