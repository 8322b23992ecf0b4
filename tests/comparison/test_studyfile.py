"""Study files, and the commands that take them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from laminar import cli
from laminar.comparison.compare import compare
from laminar.comparison.store import Store
from laminar.comparison.studyfile import study_arguments
from laminar.errors import ArgumentError, FileError, LaminarError

STUDY = """
from pathlib import Path
from comparison.small import TRAIN, TEST, still, wide

def comparison():
    return {
        "variants": {"wide": wide, "still": still}, "train": TRAIN, "test": TEST, "metric": "accuracy", "margin": 0.01,
        "seeds": 30, "stop": "fixed", "epochs": 2, "batch_size": 16, "name": "points",
    }
"""

runner = CliRunner()


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    (tmp_path / "points.py").write_text(STUDY)
    yield tmp_path / "points.py"
    for name in set(sys.modules) - before:
        if name.startswith("_file_"):
            del sys.modules[name]


def test_compare_and_worker(study: Path) -> None:
    done = runner.invoke(
        cli.app,
        ["compare", str(study), "--seeds", "6", "--store", "runs.db", "--report", "points.html", "--output", "points.json"],
    )
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == f"Study 'points' in {study.parent / 'runs.db'}: 12 runs at most."
    assert lines[14].startswith("still is worse by ")
    assert lines[-1] == "points.html"
    assert "still is worse by " in (study.parent / "points.html").read_text(encoding="utf-8")
    kept = json.loads((study.parent / "points.json").read_text())
    assert len(kept["runs"]) == 12

    # what compare declared counts, not the 30 seeds of the file
    helped = runner.invoke(cli.app, ["worker", str(study), "--store", "runs.db"])
    assert helped.exit_code == 0, helped.output
    assert helped.output.splitlines() == [
        f"Study 'points' in {study.parent / 'runs.db'}: 12 of 12 runs are there.",
        "Nothing is left to do.",
    ]
    assert [declared["seeds"] for declared in Store("runs.db").declared("points")] == [6]


def test_a_worker_may_come_first(study: Path) -> None:
    study.write_text(STUDY.replace('"seeds": 30', '"seeds": 6'))
    first = runner.invoke(cli.app, ["worker", str(study), "--store", "runs.db"])
    assert first.output.splitlines()[-1] == "Nothing is left to do."
    assert len(Store("runs.db").runs("points")) == 12


def test_a_dict_will_do(study: Path) -> None:
    study.write_text("comparison = dict(variants={}, train=(), test=(), metric='loss', margin=1)\n")
    assert study_arguments(str(study), "comparison", compare, "here")["metric"] == "loss"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("comparision = 3", ArgumentError, "laminar compare FILE: points.py: expected a dict of arguments named comparison, or a function that returns one, received none of that name. Write comparison = {\"variants\": ..., \"train\": ..., \"test\": ..., \"metric\": ..., \"margin\": ...}."),
        ("comparison = 3", ArgumentError, "laminar compare FILE: points.py: expected a dict of arguments named comparison, or a function that returns one, received int. Write comparison = {\"variants\": ..., \"train\": ..., \"test\": ..., \"metric\": ..., \"margin\": ...}."),
        ("comparison = {'train': 1, 'test': 2, 'variants': 3}", ArgumentError, "laminar compare FILE: points.py: comparison: expected all arguments it needs, received none named metric, margin. Add it: {..., 'metric': ...}."),
        ("def comparison():\n    raise KeyError('no data')", ArgumentError, "laminar compare FILE: points.py: comparison(): expected a function that returns arguments, received KeyError: 'no data'. Call it by itself in Python to see where."),
        ("def comparison():\n    import laminar as lm\n    raise lm.errors.FileError('images: expected a file, received none.')", FileError, "images: expected a file, received none."),
        ("1 / 0", FileError, "laminar compare FILE: points.py: expected a module that can be imported, received ZeroDivisionError: division by zero. Import it in Python."),
    ],
    ids=["typo", "number", "lacking", "function failing", "function saying why", "failing"],
)  # fmt: skip
def test_what_is_no_study_file(study: Path, text: str, error: type[LaminarError], message: str) -> None:
    study.write_text(text)
    with pytest.raises(error) as caught:
        study_arguments("points.py", "comparison", compare, "laminar compare FILE")
    assert str(caught.value) == message


@pytest.mark.slow
def test_from_the_shell_with_two_workers_on_what_only_the_file_knows(study: Path) -> None:
    own = STUDY.replace(
        "def comparison", "import laminar as lm\nclass Own(lm.Layer):\n    def forward(self, x):\n        return x\n\n" + OWN
    )
    study.write_text("import sys\nsys.path.append(" + repr(str(Path(__file__).parents[1])) + ")\n" + own)
    command = [
        sys.executable,
        "-m",
        "laminar.cli",
        "compare",
        "points.py",
        "--workers",
        "2",
        "--seeds",
        "6",
        "--store",
        "runs.db",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(Store("runs.db").runs("points")) == 12


OWN = """
def wide():
    model = lm.Sequential([Own(), lm.layers.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    return model

def comparison"""
