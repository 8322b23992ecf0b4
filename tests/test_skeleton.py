"""`laminar new-layer`: the files it writes pass, and it overwrites nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from laminar.errors import ArgumentError, FileError
from laminar.skeleton import write_skeleton

SOURCE = Path(__file__).parents[1] / "src"


def test_the_written_test_passes_and_the_style_is_the_project_s(tmp_path: Path) -> None:
    layer, test = write_skeleton("SoftClip", tmp_path)
    assert (layer.name, test.name) == ("soft_clip.py", "test_soft_clip.py")
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules", "-W", "error", "."]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout
    for what in (["format", "--check"], ["check", "--select", "E,F,W,UP,B,SIM"]):
        options = ["--isolated", "--line-length", "128"]
        ruff = subprocess.run(
            [sys.executable, "-m", "ruff", *what, *options, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert ruff.returncode == 0, ruff.stdout


@pytest.mark.parametrize(
    ("name", "cls", "file"),
    [
        ("SoftClip", "SoftClip", "soft_clip"),
        ("soft_clip", "SoftClip", "soft_clip"),
        ("ELU2", "ELU2", "elu2"),
        ("swish", "Swish", "swish"),
    ],
)
def test_names(name: str, cls: str, file: str, tmp_path: Path) -> None:
    layer, _ = write_skeleton(name, tmp_path)
    assert layer.stem == file
    assert f"class {cls}(lm.Layer):" in layer.read_text()


@pytest.mark.parametrize("name", ["", "2D", "a-b", "../up", "Lambda!", "class"])
def test_impossible_names(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError) as caught:
        write_skeleton(name, tmp_path)
    assert str(caught.value) == (
        f"new-layer NAME: expected a class name, received {name!r}. Use letters, digits and _: SoftClip."
    )
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "test_swish.py").write_text("mine")
    with pytest.raises(FileError) as caught:
        write_skeleton("Swish", tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'test_swish.py'}: expected no such file yet, received one that exists. Choose another name or folder."
    )
    assert [p.name for p in tmp_path.iterdir()] == ["test_swish.py"]
