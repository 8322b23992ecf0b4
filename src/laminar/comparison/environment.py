"""What a run ran on: versions, device, threads, host, process; and whether runs that belong together ran on the same code."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import socket
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

import torch

__all__ = ["code_version", "environment", "mixture"]


@functools.cache
def code_version() -> str:
    """Return Laminar's version and a digest of its files, as they were when a process first asked: "0.1.0+1b2c3d4e".

    The version alone would not tell: code changes more often than its number does.
    """
    root = Path(__file__).resolve().parents[1]
    gathering = hashlib.blake2b(digest_size=4)
    for file in sorted(root.rglob("*.py")):
        gathering.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes())
    return f"{version('laminar')}+{gathering.hexdigest()}"


def environment() -> dict[str, str]:
    """Return what a run of this process runs on."""
    cuda = torch.cuda.is_available()
    return {
        "laminar": code_version(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "threads": str(torch.get_num_threads()),
        "host": socket.gethostname(),
        "process": str(os.getpid()),
    }


def mixture(environments: Iterable[Mapping[str, str]]) -> list[str]:
    """Return, in a sentence, that runs were made by different versions of Laminar or torch; nothing where they were not.

    Args:
        environments: of the runs; one that is empty says nothing.

    >>> mixture([{"laminar": "0.1.0+1b2c", "torch": "2.13.0"}, {"laminar": "0.1.0+77aa", "torch": "2.13.0"}])[0][:79]
    'Not all runs were made by the same code: some by laminar 0.1.0+1b2c with torch '
    """
    kinds = dict.fromkeys(f"laminar {e.get('laminar', '?')} with torch {e.get('torch', '?')}" for e in environments if e)
    if len(kinds) < 2:
        return []
    return [
        f"Not all runs were made by the same code: some by {', some by '.join(kinds)}. What these do differently, failures "
        "included, may look like a difference between variants."
    ]
