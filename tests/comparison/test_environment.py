"""What a run ran on, and what is said where runs of one study were made by different code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from comparison.small import compared, net, still

from laminar.comparison import environment, parcel, study, task
from laminar.errors import WorkerError

OTHER = "0.0.9+aaaaaaaa"


def test_the_version_tells_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = environment.code_version()
    assert re.fullmatch(r"\d+\.\d+\.\d+\+[0-9a-f]{8}", here)
    assert environment.environment()["laminar"] == here
    digest = environment.code_version.__wrapped__
    assert digest() == here
    (tmp_path / "inner").mkdir()
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "inner" / "environment.py"))
    seen = set()
    for name, text in {"a.py": "x = 1\n", "inner/b.py": "x = 1\n", "inner/c.py": "", "a.txt": "nothing"}.items():
        (tmp_path / name).write_text(text)
        seen.add(digest())
    assert len(seen) == 3  # what is no code does not count


def test_runs_of_different_code_are_not_mixed_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variants, kept = {"net": net, "still": still}, tmp_path / "runs.db"
    before = compared(variants, store=kept, name="mine", epochs=1, stop="fixed")
    assert before.notes == ()
    here = before.runs[0].environment
    for module in (study, task):  # from here on it is another version that runs
        monkeypatch.setattr(module, "environment", lambda: here | {"laminar": OTHER})
    mixed = compared(variants, store=kept, name="mine", epochs=1, stop="fixed", seeds=7, verbose=1)
    note = (
        f"Not all runs were made by the same code: some by laminar {here['laminar']} with torch {here['torch']}, some by "
        f"laminar {OTHER} with torch {here['torch']}. What these do differently, failures included, may look like a "
        "difference between variants."
    )
    assert note in mixed.notes
    said = capsys.readouterr().out
    assert 0 < said.index(note) < said.index("[13/14]")  # before anything is trained
    assert note in mixed.to_markdown()


def test_a_parcel_of_other_code_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = environment.code_version()
    parcel.pack({"a": 1}, tmp_path)
    monkeypatch.setattr(parcel, "code_version", lambda: OTHER)
    with pytest.raises(WorkerError) as caught:
        parcel.unpack(tmp_path)
    assert str(caught.value) == (
        f"a worker process: expected laminar {here}, which the comparison was packed by, received laminar {OTHER}. "
        "Start the program anew: the runs that are there are kept."
    )
