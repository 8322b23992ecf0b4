"""Arrays kept in the user's cache with a checksum."""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laminar.atomic import replacing
from laminar.cache import cache_folder

__all__ = ["cached_arrays"]

_DIGEST_BYTES = hashlib.sha256().digest_size


def cached_arrays(name: str, make: Callable[[], Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return the arrays kept under `name` in the cache, or make them and keep them.

    The file is an `.npz` (without pickles) followed by the SHA-256 of its bytes. A file that is truncated or altered is made
    again without a word: it is but a copy of what `make` returns. Where the cache cannot be written, they are made every time.

    Args:
        name: the file's name without suffix; it must change with everything that `make` depends on.
        make: called when there is no whole file; returns name -> array.
    """
    path = cache_folder() / f"{name}.npz"
    with contextlib.suppress(OSError):
        found = _unpacked(path.read_bytes())
        if found is not None:
            return found
    arrays = dict(make())
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(_packed(arrays))
    return arrays


def _packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    return buffer.getvalue() + hashlib.sha256(buffer.getbuffer()).digest()


def _unpacked(data: bytes) -> dict[str, NDArray[Any]] | None:
    """Return the arrays in `data`, or None if it is not what `_packed` wrote."""
    payload, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.sha256(payload).digest() != digest:
        return None
    try:
        with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (ValueError, zipfile.BadZipFile):  # a well-signed file that another program wrote under our name
        return None
