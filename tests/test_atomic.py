"""Files appear whole or not at all, also when the writer is interrupted or another one writes meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from laminar.atomic import replacing


def test_replacing_writes_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with replacing(target) as file:
        file.write(b"first")
        assert not target.exists()
    assert target.read_bytes() == b"first"
    with pytest.raises(KeyboardInterrupt), replacing(target) as file:
        file.write(b"sec")
        file.flush()
        raise KeyboardInterrupt
    assert target.read_bytes() == b"first"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_two_writers_do_not_disturb_each_other(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with replacing(target) as outer:
        outer.write(b"outer")
        with replacing(target) as inner:
            inner.write(b"inner")
        assert target.read_bytes() == b"inner"
    assert target.read_bytes() == b"outer"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
