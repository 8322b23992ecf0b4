"""The user's cache: the folder for what can be made or fetched again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """Return the folder for files that can be made or fetched again: `$LAMINAR_CACHE`, else the user's cache folder.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, LAMINAR_CACHE="somewhere/else"):
    ...     cache_folder().as_posix()
    'somewhere/else'
    """
    if chosen := os.environ.get("LAMINAR_CACHE"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("laminar", appauthor=False)
