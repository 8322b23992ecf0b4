"""Modules that a command line names: by a path, by a dotted name, and what cannot be imported."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from laminar.errors import FileError
from laminar.modules import file_module, named_module

FILE = """
from helper import FACTOR

class Scale:
    def __init__(self, factor=FACTOR):
        self.factor = factor
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    (tmp_path / "helper.py").write_text("FACTOR = 3.0\n")
    (tmp_path / "scale.py").write_text(FILE)
    yield tmp_path / "scale.py"
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_what_a_file_defines_can_be_pickled(file: Path) -> None:
    scale = file_module(file, "here").Scale(6.0)
    assert pickle.loads(pickle.dumps(scale)).factor == 6.0


def test_a_file_imports_what_lies_beside_it(file: Path) -> None:
    assert named_module(str(file), "here").Scale().factor == 3.0


def test_by_a_dotted_name_from_the_current_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert named_module("scale", "here").Scale().factor == 3.0


def test_what_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = 1 / 0\n")
    with pytest.raises(FileError) as broken:
        named_module(f"{tmp_path / 'broken.py'}", "laminar compare FILE")
    assert str(broken.value) == (
        f"laminar compare FILE: {tmp_path / 'broken.py'}: expected a module that can be imported, "
        "received ZeroDivisionError: division by zero. Import it in Python."
    )
    with pytest.raises(FileError) as missing:
        named_module("nowhere.py", "laminar compare FILE")
    assert (
        str(missing.value) == "laminar compare FILE: expected a Python file, received no file 'nowhere.py'. Correct the path."
    )
