"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["replacing"]


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file beside `target` that takes its name when the block ends well, and vanishes otherwise.

    A reader therefore sees the old file or the whole new one, also after a crash. Two writers do not disturb each other: the
    last one wins.

    Args:
        target: the path to be, in a folder that exists.

    Raises:
        OSError: if the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "numbers") as file:
    ...         _ = file.write(b"1 2 3")
    ...     [p.name for p in Path(folder).iterdir()]
    ['numbers']
    """
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:  # Ctrl-C as well: nothing half-written stays
        part.unlink(missing_ok=True)
        raise
