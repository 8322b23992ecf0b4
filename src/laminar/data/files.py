"""Published files: found on disk or downloaded, verified by checksum on every reading, and parsed with every length checked."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import math
import os
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from laminar.atomic import replacing
from laminar.cache import cache_folder
from laminar.errors import FileError, complaint

__all__ = ["Published", "obtain", "parse_cifar10", "parse_idx"]

_CHUNK = 1 << 18  # bytes read at a time
_TIMEOUT = 30.0  # seconds without a byte before a mirror is given up
_IDX_BYTES = 0x08  # the idx format's code for unsigned bytes
_CIFAR10_SHAPE = (3, 32, 32)


@dataclass(frozen=True)
class Published:
    """One file as its publisher made it.

    Args:
        folder: the folder it lies in, under `$LAMINAR_DATA` or the cache ("mnist").
        name: its name there.
        size: its length in bytes.
        checksum: "md5:" or "sha256:" and the hexadecimal digest.
        mirrors: addresses of folders on the web; the file's name is added.
        archive: the gzipped tar file that it comes in, under its `label`, if it is not published alone.
    """

    folder: str
    name: str
    size: int
    checksum: str
    mirrors: tuple[str, ...] = ()
    archive: Published | None = None

    @property
    def label(self) -> str:
        """The file's place below the data folder, as in "mnist/train-images-idx3-ubyte.gz"."""
        return f"{self.folder}/{self.name}"

    @property
    def expected(self) -> str:
        """What a whole file is, in words."""
        return _described(self.size, self.checksum)

    def digest(self) -> _Digest:
        """Return a fresh digest of the kind that `checksum` is."""
        return _Digest(self.checksum.partition(":")[0])


class _Digest:
    """Counts and digests bytes."""

    def __init__(self, algorithm: str) -> None:
        self.size = 0
        self._algorithm = algorithm
        # These checksums prove that a file is the publisher's; some systems forbid MD5 unless told that it guards no secret.
        self._hash = hashlib.new(algorithm, usedforsecurity=False)

    def add(self, data: bytes) -> None:
        self.size += len(data)
        self._hash.update(data)

    @property
    def checksum(self) -> str:
        return f"{self._algorithm}:{self._hash.hexdigest()}"

    def matches(self, file: Published) -> bool:
        return (self.size, self.checksum) == (file.size, file.checksum)

    def __str__(self) -> str:
        return _described(self.size, self.checksum)


def _described(size: int, checksum: str) -> str:
    algorithm, _, digest = checksum.partition(":")
    return f"{size} bytes with {algorithm.upper()} {digest}"


class _MirrorError(Exception):
    """Why one mirror did not give the file; never seen by users."""


def obtain(files: Sequence[Published], folder: str | os.PathLike[str] | None = None) -> list[bytes]:
    """Return the bytes of each file, whole and unaltered; those that are not on disk are downloaded first.

    The checksum is taken of the very bytes that are returned, each time: it costs 0.02 s for MNIST and 0.2 s for CIFAR-10.

    Args:
        files: what to read.
        folder: where the files are, or are to be put; by default they are looked for in `$LAMINAR_DATA`, then in the user
            cache, and downloaded into the cache.

    Raises:
        FileError: if the folder does not exist, a file is truncated or altered, or no mirror gives it.
    """
    roots, home = _roots(folder)
    missing = [file for file in files if not _place(file, roots).is_file()]
    for file in missing:
        if not _place(file, roots).is_file():  # an archive brings several at once
            _fetch(file, home, missing)
    return [_verified(file, _place(file, roots)) for file in files]


def _roots(folder: str | os.PathLike[str] | None) -> tuple[list[Path], Path]:
    """Return the folders to look in, and the one to download into."""
    if folder is not None:
        home = _existing("folder=", Path(folder), fix="Make that folder, or leave folder=None")
        return [home], home
    roots = [cache_folder()]
    if chosen := os.environ.get("LAMINAR_DATA"):
        roots.insert(0, _existing("$LAMINAR_DATA", Path(chosen), fix="Make that folder, or type: unset LAMINAR_DATA"))
    return roots, roots[-1]


def _existing(where: str, path: Path, *, fix: str) -> Path:
    path = path.expanduser()
    if not path.is_dir():
        raise FileError(complaint(where, expected="a folder that exists", received=repr(str(path)), fix=fix))
    return path


def _place(file: Published, roots: Sequence[Path]) -> Path:
    """Return where the file lies, or where a download will put it: below the last of the roots."""
    places = [root / file.label for root in roots]
    return next((place for place in places if place.is_file()), places[-1])


def _verified(file: Published, path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as e:
        fix = "Make the file readable"
        raise FileError(complaint(str(path), expected="a readable file", received=_reason(e), fix=fix)) from e
    digest = file.digest()
    digest.add(data)
    if not digest.matches(file):
        fix = "Put the publisher's file in its place, or move it away to have it downloaded again"
        raise FileError(complaint(str(path), expected=file.expected, received=str(digest), fix=fix))
    return data


# --- download --------------------------------------------------------------------------------------------------------------


def _fetch(file: Published, home: Path, siblings: Sequence[Published]) -> None:
    """Download the file into `home`; if it comes in an archive, that, and take out all siblings that come in it, too."""
    try:
        if file.archive is None:
            _download(file, home / file.folder / file.name, home)
            return
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=home) as scratch:  # the members stay, the archive need not
            packed = Path(scratch) / file.archive.name
            _download(file.archive, packed, home)
            _unpack(packed, [s for s in siblings if s.archive == file.archive], home)
    except FileError:
        raise
    except OSError as e:
        received = f"{_reason(e)} at {e.filename}" if e.filename else _reason(e)
        fix = "Free some space, or set LAMINAR_CACHE to a folder that you may write to"
        raise FileError(complaint(file.label, expected=f"to write to {home}", received=received, fix=fix)) from e


def _download(file: Published, target: Path, home: Path) -> None:
    """Bring the file from the first mirror that gives it whole."""
    failures = []
    for mirror in file.mirrors:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as part, _progress(file) as advance:
                _copy(file, f"{mirror}{file.name}", part, advance)
            return
        except _MirrorError as e:
            failures.append(f"{mirror}{file.name} gave {e}")
    put = f"Unpack a copy in {home}" if file.name.endswith(".tar.gz") else f"Put a copy into {home / file.folder}"
    raise FileError(
        complaint(
            file.label,
            expected=f"{file.expected} from a mirror",
            received="; ".join(failures),
            fix=f"{put}, or set LAMINAR_DATA to a folder that holds {file.folder}/",
        )
    )


def _copy(file: Published, url: str, part: IO[bytes], advance: Callable[[int], None]) -> None:
    """Write what `url` gives into `part`, and raise _MirrorError unless it is the file."""
    digest = file.digest()
    for chunk in _chunks(url):
        digest.add(chunk)
        if digest.size > file.size:
            raise _MirrorError(f"more than {file.size} bytes")
        part.write(chunk)
        advance(len(chunk))
    if not digest.matches(file):
        raise _MirrorError(str(digest))


def _chunks(url: str) -> Iterator[bytes]:
    """Yield what `url` gives; every failure of the network, and none of the disk, becomes a _MirrorError."""
    request = urllib.request.Request(url, headers={"User-Agent": "laminar"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            while chunk := response.read(_CHUNK):
                yield chunk
    except http.client.IncompleteRead as e:  # raised by some versions of Python where others just end
        yield e.partial
    except urllib.error.HTTPError as e:
        e.close()
        raise _MirrorError(f"HTTP {e.code} {e.reason}") from e
    except urllib.error.URLError as e:
        raise _MirrorError(_reason(e.reason)) from e
    except (OSError, http.client.HTTPException) as e:
        raise _MirrorError(_reason(e)) from e


def _reason(problem: object) -> str:
    """Return what went wrong on one line, without Python's decorations: "Connection refused" for a ConnectionRefusedError."""
    text = (isinstance(problem, OSError) and problem.strerror) or str(problem)
    return " ".join(text.split()) or type(problem).__name__


@contextlib.contextmanager
def _progress(file: Published) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of bytes that arrived; it moves a bar if someone is watching."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(file.label, total=file.size)
        yield lambda count: bar.advance(task, count)


def _unpack(packed: Path, members: Sequence[Published], home: Path) -> None:
    """Take the members out of a tar file, each verified; no name, mode or link in the archive is used for anything."""
    with tarfile.open(packed, "r:gz") as tar:
        for file in members:
            source = tar.extractfile(file.label)  # None for a folder, which then counts as empty
            digest = file.digest()
            (home / file.folder).mkdir(parents=True, exist_ok=True)
            with source or io.BytesIO() as member, replacing(home / file.folder / file.name) as part:
                while chunk := member.read(_CHUNK):
                    digest.add(chunk)
                    part.write(chunk)
                if not digest.matches(file):
                    where = f"{file.label} in {packed.name}"
                    fix = "Report this: the archive passed its own checksum"
                    raise FileError(complaint(where, expected=file.expected, received=str(digest), fix=fix))


# --- formats ---------------------------------------------------------------------------------------------------------------


def parse_idx(data: bytes, where: str, *, axes: int) -> NDArray[np.uint8]:
    """Return the array in the bytes of an (unpacked) idx file of unsigned bytes, of shape (n_1, ..., n_axes).

    Args:
        data: two zero bytes, the type code 8, the number of axes, each axis as a big-endian 32-bit number, then the entries.
        where: the file's name, for the error message.
        axes: the number of axes that is expected: 3 for images (n, height, width), 1 for labels (n,).

    Raises:
        FileError: if the magic number, the axes or the length are not right.

    Source:
        Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".

    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]), "labels", axes=1)
    array([7, 8, 9], dtype=uint8)
    """
    fix = "Replace the file by the publisher's"
    magic = bytes([0, 0, _IDX_BYTES, axes])
    if data[:4] != magic:
        received = data[:4].hex(" ") or "an empty file"
        raise FileError(complaint(where, expected=f"the idx magic number {magic.hex(' ')}", received=received, fix=fix))
    start = 4 + 4 * axes
    if len(data) < start:
        raise FileError(complaint(where, expected=f"a header of {start} bytes", received=f"{len(data)} bytes", fix=fix))
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    whole = start + math.prod(shape)
    if len(data) != whole:
        expected = f"{whole} bytes for the shape {shape} in its header"
        raise FileError(complaint(where, expected=expected, received=f"{len(data)} bytes", fix=fix))
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def parse_cifar10(data: bytes, where: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images (n, 3, 32, 32) and labels (n,) from a binary CIFAR-10 batch.

    Args:
        data: records of a label byte and 3072 bytes: the red, the green, the blue plane, each row by row.
        where: the file's name, for the error message.

    Raises:
        FileError: if the length is no whole number of records, or a label is above 9.

    Source:
        A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009, and its "binary version" page.

    >>> x, y = parse_cifar10(bytes([5]) + bytes(3072), "batch")
    >>> x.shape, y.tolist()
    ((1, 3, 32, 32), [5])
    """
    fix = "Replace the file by the publisher's"
    record = 1 + math.prod(_CIFAR10_SHAPE)
    if not data or len(data) % record:
        expected = f"one or more records of {record} bytes"
        raise FileError(complaint(where, expected=expected, received=f"{len(data)} bytes", fix=fix))
    rows = np.frombuffer(data, np.uint8).reshape(-1, record)
    if (highest := int(rows[:, 0].max())) > 9:
        raise FileError(complaint(where, expected="labels from 0 to 9", received=f"a label {highest}", fix=fix))
    return rows[:, 1:].reshape(-1, *_CIFAR10_SHAPE), rows[:, 0]
