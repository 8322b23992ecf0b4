"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["confine", "describe"]


def describe() -> dict[str, str | int]:
    """Return the processor, its cores, the system and the version of Python."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def confine(threads: int) -> None:
    """Let this process and those that it starts use so many processors: JAX knows no other way to limit its threads.

    Where the system does not offer that (macOS, Windows), nothing happens.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()
