from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from laminar.data.cache import cache_folder, cached_arrays


def kept(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.iterdir())


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINAR_CACHE", "~/here")
    assert cache_folder() == Path.home() / "here"
    monkeypatch.delenv("LAMINAR_CACHE")
    assert cache_folder() == Path(platformdirs.user_cache_dir("laminar", appauthor=False))


class Maker:
    """Counts how often the arrays had to be made."""

    def __init__(self, **arrays: np.ndarray) -> None:
        self.arrays = arrays
        self.calls = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.calls += 1
        return self.arrays


@settings(max_examples=20)
@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_side=0, max_dims=3)), st.booleans())
def test_what_is_read_back_is_what_was_made(array: np.ndarray, other: bool) -> None:
    make = Maker(a=array, b=np.arange(3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "LAMINAR_CACHE", str(Path(cache_folder()) / f"{hash(array.tobytes())}-{array.dtype.str[1:]}-{array.shape}")
        )
        made, read = cached_arrays("x", make), cached_arrays("x", make)
    for a, b in ((made, make.arrays), (read, make.arrays)):
        assert a.keys() == b.keys()
        for key in a:
            assert a[key].dtype == b[key].dtype
            assert a[key].shape == b[key].shape
            assert a[key].tobytes() == b[key].tobytes()


def test_arrays_are_made_once(cache: Path) -> None:
    make = Maker(a=np.arange(5))
    for _ in range(3):
        assert cached_arrays("x", make)["a"].tolist() == [0, 1, 2, 3, 4]
    assert make.calls == 1
    assert kept(cache) == ["x.npz"]
    with np.load(cache / "x.npz", allow_pickle=False) as archive:  # the digest after the archive does not hinder NumPy
        assert archive["a"].tolist() == [0, 1, 2, 3, 4]


def test_a_file_with_any_one_byte_changed_or_missing_is_made_again(cache: Path) -> None:
    make = Maker(a=np.arange(4, dtype=np.uint8))
    cached_arrays("x", make)
    whole = (cache / "x.npz").read_bytes()
    damaged = [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(len(whole))]
    damaged += [whole[:i] for i in range(len(whole))]
    for i, data in enumerate(damaged, start=2):
        (cache / "x.npz").write_bytes(data)
        assert cached_arrays("x", make)["a"].tolist() == [0, 1, 2, 3]
        assert make.calls == i
        assert (cache / "x.npz").read_bytes() == whole


@pytest.mark.parametrize("payload", [b"no archive", "pickle"])
def test_a_signed_file_that_is_not_ours_is_made_again(cache: Path, payload: bytes | str) -> None:
    import hashlib

    if payload == "pickle":
        buffer = io.BytesIO()
        np.savez(buffer, a=np.array([{}], dtype=object))
        payload = buffer.getvalue()
    assert isinstance(payload, bytes)
    cache.mkdir()
    (cache / "x.npz").write_bytes(payload + hashlib.sha256(payload).digest())
    assert cached_arrays("x", Maker(a=np.arange(2)))["a"].tolist() == [0, 1]


def test_without_a_place_to_write_the_arrays_are_made_each_time(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    make = Maker(a=np.arange(2))
    for _ in range(2):
        assert cached_arrays("x", make)["a"].tolist() == [0, 1]
    assert make.calls == 2


def test_an_error_in_making_is_passed_on_and_leaves_nothing(cache: Path) -> None:
    def fails() -> dict[str, np.ndarray]:
        raise OSError("no fonts")

    with pytest.raises(OSError, match="no fonts"):
        cached_arrays("x", fails)
    assert not cache.exists()


def test_importing_data_loads_nothing_heavy() -> None:
    import subprocess

    code = "import laminar.data, sys; print([m for m in ('matplotlib', 'scipy', 'PIL', 'rich', 'platformdirs') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": "src"}, check=True)
    assert done.stdout == "[]\n"
