"""The demo, on few digits: every file it promises, and a layer file that a person has changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from laminar.errors import FileError
from laminar.studies import demo as demo_module
from laminar.studies.demo import demo


@pytest.fixture(autouse=True)
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    part = rng.random((256, 1, 28, 28), dtype=np.float32), np.arange(256) % 10
    monkeypatch.setattr(demo_module, "digits", lambda: (part, part))
    monkeypatch.setattr(demo_module, "_PAIRS", 6)
    monkeypatch.setattr(demo_module, "_SHORT", 1)


def test_it_goes_through_all_steps(tmp_path: Path) -> None:
    said: list[str] = []
    results = demo(tmp_path / "new", epochs=2, report=said.append)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "compare.html",
        "curves.png",
        "digits.png",
        "own_elu.py",
        "runs.db",
    ]
    assert all((tmp_path / "new" / n).read_bytes().startswith(b"\x89PNG") for n in ("curves.png", "digits.png"))
    text = "\n".join(said)
    assert "OwnELU() on (20, 24, 24), checked on the smaller" in text
    assert "✗" not in text
    assert "batch_normalization" in text
    assert [r.name for r in results] == ["with BN", "without BN", "without BN, alpha fixed"]
    assert all(f"{r.accuracy:.2%}" in text for r in results)


def test_a_changed_layer_file_is_used_and_kept(tmp_path: Path) -> None:
    source = (Path(demo_module.__file__).with_name("own_elu.py")).read_text()
    changed = source.replace("dx, dalpha", "dx, 2 * dalpha")
    (tmp_path / "own_elu.py").write_text(changed)
    said: list[str] = []
    demo(tmp_path, epochs=1, report=said.append)
    assert "✗ gradient-scale (gradient)" in "\n".join(said)
    assert (tmp_path / "own_elu.py").read_text() == changed


def test_a_file_without_the_class(tmp_path: Path) -> None:
    (tmp_path / "own_elu.py").write_text("x = 1\n")
    with pytest.raises(FileError) as caught:
        demo(tmp_path, epochs=1, report=lambda text: None)
    assert str(caught.value) == (
        f"{tmp_path / 'own_elu.py'}: expected a layer class named OwnELU, received none. Name it so, or delete the file."
    )


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match=r"^demo\(output=\): expected a folder that can be written to, received "):
        demo(tmp_path / "file", epochs=1, report=lambda text: None)
