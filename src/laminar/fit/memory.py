"""Memory that is reused from step to step."""

from __future__ import annotations

import ctypes
import functools
import os
import sys

__all__ = ["reuse_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h


@functools.cache
def reuse_freed_memory() -> bool:
    """Let the C library keep what is freed for the next step, for the life of the process; return whether it does.

    A training step allocates and frees the same large blocks again and again. glibc gives them back to the system in between,
    depending on which small block happens to lie behind them, and every page then has to be faulted in anew: measured at the
    digits network, up to 3,000 page faults and 6 of 25 ms a step. The price is that a process keeps the most memory it ever
    used. It concerns Linux with glibc alone; `LAMINAR_REUSE_MEMORY=0` leaves everything as it is.
    """
    if not sys.platform.startswith("linux") or os.environ.get("LAMINAR_REUSE_MEMORY") == "0":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, which has its own ways
        return False
    return bool(mallopt(_MMAP_THRESHOLD, 1 << 30) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
