"""The layer that a command line names: from a package, from a file, with arguments; and every way of naming it wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

from laminar.check.target import parse_shape, target
from laminar.errors import ArgumentError, FileError, UnknownNameError

FILE = """
import torch
from helper import FACTOR

class Scale(torch.nn.Module):
    '''Times a factor.'''

    def __init__(self, factor=FACTOR):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor

def double():
    return Scale(2.0)

made = Scale(5.0)
number = 7
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


def made(text: str, arguments: str = "") -> nn.Module:
    found = target(text, arguments)
    return found if isinstance(found, nn.Module) else found()


def test_from_a_file(file: Path) -> None:
    assert made(f"{file}:Scale").factor == 3.0  # and imports what lies beside it
    assert made(f"{file}:Scale", "factor=4.0").factor == 4.0
    assert made(f"{file}:Scale", "4.0").factor == 4.0
    assert made(f"{file}:double").factor == 2.0
    assert made(f"{file}:made").factor == 5.0


def test_from_a_package_and_from_the_current_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert repr(made("laminar.layers:Conv2D", "20, (5, 3), strides=2")) == repr(
        made("laminar.layers.conv:Conv2D", "filters=20, kernel_size=(5, 3), strides=2")
    )
    monkeypatch.chdir(file.parent)
    assert made("scale:double").factor == 2.0


@pytest.mark.parametrize(
    ("text", "arguments", "error", "message"),
    [
        (
            "laminar.layers",
            "",
            ArgumentError,
            "laminar check TARGET: expected a module and a name in it, received 'laminar.layers'. Type package.module:ELU, or path/to/file.py:ELU.",
        ),
        (
            "no.such:Thing",
            "",
            FileError,
            "laminar check TARGET: no.such: expected a module that can be imported, received ModuleNotFoundError: No module named 'no'. Import it in Python.",
        ),
        (
            "nowhere.py:Thing",
            "",
            FileError,
            "laminar check TARGET: expected a Python file, received no file 'nowhere.py'. Correct the path.",
        ),
        (
            "laminar.layers:Dense",
            "units=",
            ArgumentError,
            "laminar check --args: expected literals, received 'units='. Type them as in a call, in quotes: --args '20, 5, strides=2'.",
        ),
        (
            "laminar.layers:Dense",
            "__import__('os')",
            ArgumentError,
            "laminar check --args: expected literals, received \"__import__('os')\". Type them as in a call, in quotes: --args '20, 5, strides=2'.",
        ),
        (
            "laminar.layers:Dense",
            "1), print('x'",
            ArgumentError,
            "laminar check --args: expected literals, received \"1), print('x'\". Type them as in a call, in quotes: --args '20, 5, strides=2'.",
        ),
    ],
)
def test_wrong_targets(text: str, arguments: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        target(text, arguments)
    assert str(caught.value) == message


def test_wrong_names_in_a_file(file: Path) -> None:
    with pytest.raises(UnknownNameError) as caught:
        target(f"{file}:Scal")
    assert str(caught.value) == "laminar check TARGET: layer 'Scal' is unknown. Did you mean 'Scale'? Known: Scale."
    with pytest.raises(ArgumentError) as wrong:
        target(f"{file}:number")
    assert str(wrong.value) == (
        "laminar check TARGET: expected something to call with arguments, received number, of type int. "
        "Name a class or a function that makes a layer."
    )
    with pytest.raises(ArgumentError) as extra:
        target(f"{file}:made", "3.0")
    assert str(extra.value) == (
        "laminar check TARGET: expected something to call with arguments, received made, a layer made already. Leave out --args."
    )


def test_a_file_that_fails(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = 1 / 0\n")
    with pytest.raises(FileError) as caught:
        target(f"{tmp_path / 'broken.py'}:Layer")
    assert str(caught.value) == (
        f"laminar check TARGET: {tmp_path / 'broken.py'}: expected a module that can be imported, "
        "received ZeroDivisionError: division by zero. Import it in Python."
    )


@pytest.mark.parametrize("text", ["", "a", "3,x", "0,3", "-1", "3;4", "1.5"])
def test_wrong_shapes(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_shape(text)
    assert str(caught.value) == (
        f"laminar check --input: expected whole numbers from 1, received {text!r}. "
        "Type the shape of one observation, without the batch: --input 20,24,24."
    )
