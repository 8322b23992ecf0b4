from __future__ import annotations

import errno
import hashlib
import io
import os
import signal
import socket
import stat
import struct
import sys
import tarfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from laminar.data import files
from laminar.data.files import Published, obtain, parse_cifar10, parse_idx
from laminar.errors import FileError

PAGE = bytes(range(256)) * 300
MD5 = hashlib.md5(PAGE).hexdigest()
EXPECTED = f"76800 bytes with MD5 {MD5}"


def published(*mirrors: str, name: str = "file.gz", page: bytes = PAGE, **more: Any) -> Published:
    return Published("set", name, len(page), f"md5:{hashlib.md5(page).hexdigest()}", mirrors, **more)


def below(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def refused(file: Published, folder: Path | None = None) -> str:
    with pytest.raises(FileError) as e:
        obtain([file], folder)
    return str(e.value)


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMINAR_DATA", raising=False)


# --- finding ---------------------------------------------------------------------------------------------------------------


def test_the_data_folder_comes_before_the_cache(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for root in (tmp_path / "data", cache):
        (root / "set").mkdir(parents=True)
        (root / "set" / "file.gz").write_bytes(PAGE)
    (cache / "set" / "other").write_bytes(b"other")
    monkeypatch.setenv("LAMINAR_DATA", str(tmp_path / "data"))
    assert obtain([published(), published(name="other", page=b"other")]) == [PAGE, b"other"]
    (cache / "set" / "file.gz").unlink()
    assert obtain([published()]) == [PAGE]


def test_a_named_folder_is_the_only_one_looked_in(tmp_path: Path, cache: Path) -> None:
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "file.gz").write_bytes(PAGE)
    assert refused(published(), tmp_path).startswith(f"set/file.gz: expected {EXPECTED} from a mirror")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "file.gz").write_bytes(PAGE)
    assert obtain([published()], str(tmp_path)) == [PAGE]


def test_folders_that_do_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    assert refused(published(), gone) == (
        f"folder=: expected a folder that exists, received '{gone}'. Make that folder, or leave folder=None."
    )
    monkeypatch.setenv("LAMINAR_DATA", str(gone))
    assert refused(published()) == (
        f"$LAMINAR_DATA: expected a folder that exists, received '{gone}'. Make that folder, or type: unset LAMINAR_DATA."
    )


@pytest.mark.parametrize(
    "damaged", [PAGE[:5000], b"", PAGE[:-1] + b"\0", PAGE + b"\0"], ids=["short", "empty", "other", "long"]
)
def test_a_truncated_or_altered_file_is_named_and_left_alone(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "set" / "file.gz"
    path.parent.mkdir()
    path.write_bytes(damaged)
    assert refused(published(), tmp_path) == (
        f"{path}: expected {EXPECTED}, received {len(damaged)} bytes with MD5 {hashlib.md5(damaged).hexdigest()}. "
        "Put the publisher's file in its place, or move it away to have it downloaded again."
    )
    assert path.read_bytes() == damaged


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "set" / "file.gz"
    path.parent.mkdir()
    path.write_bytes(PAGE)

    def denied(self: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "read_bytes", denied)  # chmod would not stop the superuser that tests may run as
    assert (
        refused(published(), tmp_path)
        == f"{path}: expected a readable file, received Permission denied. Make the file readable."
    )


# --- downloading -----------------------------------------------------------------------------------------------------------


def test_a_missing_file_is_downloaded_once(web: Any, cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    web.pages["/a/file.gz"] = PAGE
    for _ in range(2):
        assert obtain([published(f"{web.url}/a/")]) == [PAGE]
    assert web.asked == ["/a/file.gz"]
    assert below(cache) == ["set/file.gz"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((cache / "set" / "file.gz").stat().st_mode) == 0o666 & ~umask
    assert capfd.readouterr() == ("", "")  # nobody is watching, so nothing is drawn


def test_a_named_folder_receives_the_download(web: Any, tmp_path: Path, cache: Path) -> None:
    web.pages["/file.gz"] = PAGE
    assert obtain([published(f"{web.url}/")], tmp_path) == [PAGE]
    assert below(tmp_path) == ["set/file.gz"]
    assert not cache.exists()


def test_the_next_mirror_is_tried_whatever_is_wrong_with_the_first(web: Any, cache: Path) -> None:
    web.pages["/altered/file.gz"] = PAGE[::-1]
    web.pages["/half/file.gz"] = web.half(PAGE)
    web.pages["/long/file.gz"] = PAGE * 2
    web.pages["/good/file.gz"] = PAGE
    for bad in ("altered", "half", "long", "none"):
        assert obtain([published(f"{web.url}/{bad}/", f"{web.url}/good/")]) == [PAGE]
        assert below(cache) == ["set/file.gz"]
        (cache / "set" / "file.gz").unlink()
    assert [p.split("/")[1] for p in web.asked] == ["altered", "good", "half", "good", "long", "good", "none", "good"]


def test_every_failure_is_named_and_nothing_stays(web: Any, cache: Path) -> None:
    half = PAGE[: len(PAGE) // 2]
    web.pages["/altered/file.gz"] = PAGE[::-1]
    web.pages["/half/file.gz"] = web.half(PAGE)
    web.pages["/long/file.gz"] = PAGE * 2
    web.pages["/nonsense/file.gz"] = lambda handler: handler.wfile.write(b"no such protocol\r\n\r\n")
    kinds = ("altered", "half", "long", "none", "nonsense")
    assert refused(published(*(f"{web.url}/{k}/" for k in kinds))) == (
        f"set/file.gz: expected {EXPECTED} from a mirror, "
        f"received {web.url}/altered/file.gz gave 76800 bytes with MD5 {hashlib.md5(PAGE[::-1]).hexdigest()}; "
        f"{web.url}/half/file.gz gave 38400 bytes with MD5 {hashlib.md5(half).hexdigest()}; "
        f"{web.url}/long/file.gz gave more than 76800 bytes; "
        f"{web.url}/none/file.gz gave HTTP 404 Not Found; "
        f"{web.url}/nonsense/file.gz gave no such protocol. "
        f"Put a copy into {cache / 'set'}, or set LAMINAR_DATA to a folder that holds set/."
    )
    assert below(cache) == []


def test_a_network_that_is_not_there(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as nobody:  # bound, but it does not listen
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        message = refused(published(url))
    assert message == (
        f"set/file.gz: expected {EXPECTED} from a mirror, received {url}file.gz gave {os.strerror(errno.ECONNREFUSED)}. "
        f"Put a copy into {cache / 'set'}, or set LAMINAR_DATA to a folder that holds set/."
    )
    assert below(cache) == []


def test_a_mirror_that_falls_silent_is_given_up(web: Any, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_TIMEOUT", 0.2)
    done = threading.Event()
    web.pages["/file.gz"] = web.half(PAGE, then=lambda: done.wait(20) and None)
    message = refused(published(f"{web.url}/"))
    done.set()
    assert f"{web.url}/file.gz gave timed out." in message
    assert below(cache) == []


def test_ctrl_c_leaves_nothing_behind(web: Any, cache: Path) -> None:
    done = threading.Event()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        done.wait(20)

    web.pages["/file.gz"] = web.half(PAGE, then=interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            obtain([published(f"{web.url}/")])
    finally:
        signal.signal(signal.SIGINT, before)
    done.set()
    assert below(cache) == []


def test_a_folder_that_cannot_be_written(web: Any, cache: Path) -> None:
    web.pages["/file.gz"] = PAGE
    cache.mkdir()
    (cache / "set").write_text("in the way")
    reason = os.strerror(errno.EEXIST)
    assert refused(published(f"{web.url}/")) == (
        f"set/file.gz: expected to write to {cache}, received {reason} at {cache / 'set'}. "
        "Free some space, or set LAMINAR_CACHE to a folder that you may write to."
    )


def test_a_full_disk_is_not_blamed_on_the_mirror(web: Any, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web.pages["/file.gz"] = PAGE

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_copy", full)
    assert refused(published(f"{web.url}/")) == (
        f"set/file.gz: expected to write to {cache}, received No space left on device. "
        "Free some space, or set LAMINAR_CACHE to a folder that you may write to."
    )
    assert below(cache) == []


def test_a_terminal_sees_a_progress_bar(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    web.pages["/file.gz"] = PAGE
    assert obtain([published(f"{web.url}/")]) == [PAGE]
    assert "set/file.gz" in terminal.getvalue()
    assert "76.8/76.8 kB" in terminal.getvalue()


# --- archives --------------------------------------------------------------------------------------------------------------


def packed(**members: bytes | None) -> bytes:
    """A gzipped tar file of a folder set/ with these members; None makes a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(f"set/{name}")
            info.size = len(data or b"")
            info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            tar.addfile(info, io.BytesIO(data or b""))
    return buffer.getvalue()


def test_an_archive_is_downloaded_once_for_all_its_members_and_not_kept(web: Any, cache: Path) -> None:
    page = packed(one=b"1", two=b"22", more=b"not asked for")
    web.pages["/all.tar.gz"] = page
    archive = published(f"{web.url}/", name="all.tar.gz", page=page)
    members = [published(name=n, page=p, archive=archive) for n, p in (("one", b"1"), ("two", b"22"))]
    assert obtain(members) == [b"1", b"22"]
    assert web.asked == ["/all.tar.gz"]
    assert below(cache) == ["set/one", "set/two"]
    (cache / "set" / "one").unlink()
    (cache / "set" / "two").write_bytes(b"altered")  # a damaged file is not overwritten by the way
    with pytest.raises(FileError, match="set/two: expected 2 bytes with MD5"):
        obtain(members)
    assert web.asked == ["/all.tar.gz"] * 2
    assert (cache / "set" / "two").read_bytes() == b"altered"


@pytest.mark.parametrize("inside", [b"11", None], ids=["another file", "a folder"])
def test_a_member_that_is_not_what_was_published(web: Any, cache: Path, inside: bytes | None) -> None:
    page = packed(one=inside)
    web.pages["/all.tar.gz"] = page
    archive = published(f"{web.url}/", name="all.tar.gz", page=page)
    received = f"{len(inside or b'')} bytes with MD5 {hashlib.md5(inside or b'').hexdigest()}"
    assert refused(published(name="one", page=b"1", archive=archive)) == (
        f"set/one in all.tar.gz: expected 1 bytes with MD5 {hashlib.md5(b'1').hexdigest()}, received {received}. "
        "Report this: the archive passed its own checksum."
    )
    assert below(cache) == []


def test_an_archive_that_no_mirror_gives(web: Any, cache: Path) -> None:
    archive = published(f"{web.url}/", name="all.tar.gz")
    assert refused(published(name="one", archive=archive)) == (
        f"set/all.tar.gz: expected {EXPECTED} from a mirror, received {web.url}/all.tar.gz gave HTTP 404 Not Found. "
        f"Unpack a copy in {cache}, or set LAMINAR_DATA to a folder that holds set/."
    )
    assert below(cache) == []


# --- formats ---------------------------------------------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)), st.data())
def test_idx(array: np.ndarray, data: st.DataObject) -> None:
    whole = idx(array)
    parsed = parse_idx(whole, "x", axes=array.ndim)
    assert parsed.shape == array.shape
    assert np.array_equal(parsed, array)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(FileError):
        parse_idx(whole[:cut], "x", axes=array.ndim)
    with pytest.raises(FileError):
        parse_idx(whole + b"\0", "x", axes=array.ndim)


FIX = " Replace the file by the publisher's."


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "labels: expected the idx magic number 00 00 08 01, received an empty file." + FIX),
        (b"\0\0\x08\x03" + bytes(12), "labels: expected the idx magic number 00 00 08 01, received 00 00 08 03." + FIX),
        (b"\x1f\x8b\x08\x08", "labels: expected the idx magic number 00 00 08 01, received 1f 8b 08 08." + FIX),
        (b"\0\0\x0d\x01" + bytes(4), "labels: expected the idx magic number 00 00 08 01, received 00 00 0d 01." + FIX),
        (b"\0\0\x08\x01\0\0", "labels: expected a header of 8 bytes, received 6 bytes." + FIX),
        (
            idx(np.zeros(5, np.uint8))[:-2],
            "labels: expected 13 bytes for the shape (5,) in its header, received 11 bytes." + FIX,
        ),
        (
            b"\0\0\x08\x01\xff\xff\xff\xff",
            "labels: expected 4294967303 bytes for the shape (4294967295,) in its header, received 8 bytes." + FIX,
        ),
    ],
)
def test_idx_files_that_are_wrong(data: bytes, message: str) -> None:
    with pytest.raises(FileError) as e:
        parse_idx(data, "labels", axes=1)
    assert str(e.value) == message


def test_cifar10_records() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (7, 3, 32, 32), np.uint8), rng.integers(0, 10, 7, np.uint8)
    red, green, blue = x[:, 0], x[:, 1], x[:, 2]
    data = b"".join(bytes([y[i]]) + red[i].tobytes() + green[i].tobytes() + blue[i].tobytes() for i in range(7))
    images, labels = parse_cifar10(data, "batch")
    assert np.array_equal(images, x)
    assert np.array_equal(labels, y)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "batch: expected one or more records of 3073 bytes, received 0 bytes." + FIX),
        (bytes(6000), "batch: expected one or more records of 3073 bytes, received 6000 bytes." + FIX),
        (b"\x0a" + bytes(3072), "batch: expected labels from 0 to 9, received a label 10." + FIX),
    ],
)
def test_cifar10_files_that_are_wrong(data: bytes, message: str) -> None:
    with pytest.raises(FileError) as e:
        parse_cifar10(data, "batch")
    assert str(e.value) == message
