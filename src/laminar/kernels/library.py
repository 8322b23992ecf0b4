"""The compiled kernels: built once on a machine by its C compiler, kept in the user's cache, and not believed unseen."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from laminar.atomic import replacing
from laminar.cache import cache_folder
from laminar.kernels.calls import declare
from laminar.kernels.parts import Part
from laminar.kernels.trust import first_disagreement

__all__ = ["library", "reason_without"]

_SOURCES = Path(__file__).parent / "source"
_REALS = {torch.float32: "float", torch.float64: "double"}
# No -ffast-math: nan and infinity must stay what they are, for it is by them that a training is known to have diverged.
_FLAGS = ("-O3", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fvisibility=hidden", "-fPIC")
_DIGEST_BYTES = hashlib.sha256().digest_size
_PATIENCE = 120.0  # seconds for a compilation that takes one
_log = logging.getLogger("laminar.kernels")


class _Without(Exception):
    """Why there are no kernels."""


def library(dtype: torch.dtype, part: Part = Part.CONTIGUOUS) -> ctypes.CDLL | None:
    """Return the kernels of a part for tensors of `dtype`; None where there are none: `reason_without` then says why.

    The first call on a machine compiles them, in a second or two; later processes find them in the cache. It is done with the
    compiler that `$CC` names, else with `cc`, `gcc` or `clang`. LAMINAR_KERNELS=0 does without.

    >>> library(torch.int64) is None
    True
    """
    return _loaded(dtype, part)[0]


def reason_without(dtype: torch.dtype = torch.float32, part: Part = Part.CONTIGUOUS) -> str | None:
    """Return why there are no kernels for `dtype`; None where there are.

    >>> reason_without(torch.bfloat16)
    'they are made for float32 and float64'
    """
    return _loaded(dtype, part)[1]


@functools.cache
def _loaded(dtype: torch.dtype, part: Part) -> tuple[ctypes.CDLL | None, str | None]:
    try:
        if os.environ.get("LAMINAR_KERNELS") == "0":
            raise _Without("LAMINAR_KERNELS=0 turns them off")
        if dtype not in _REALS:
            raise _Without("they are made for float32 and float64")
        calls = _built(_REALS[dtype], part)
    except _Without as error:
        _tell(str(error))
        return None, str(error)
    declare(calls)
    wrong = first_disagreement(calls, dtype, part)
    if wrong is None:
        return calls, None
    reason = f"this compiler's {wrong} does not agree with torch's"
    _log.info("Training runs without some of Laminar's own CPU kernels: %s.", reason)
    return None, reason


@functools.cache
def _tell(reason: str) -> None:
    """Say why there are no kernels, once, however many parts there are."""
    _log.info("Training runs without Laminar's own CPU kernels: %s.", reason)


def _built(real: str, part: Part) -> ctypes.CDLL:
    """Return the library of a part for one C type, from the cache or compiled anew."""
    compiler = _compiler()
    sources = b"".join(path.read_bytes() for path in sorted(_SOURCES.iterdir()) if path.suffix in (".c", ".h"))
    key = hashlib.sha256(b"\0".join([sources, repr((compiler, _FLAGS, real, part, _processor())).encode()])).hexdigest()[:20]
    name = f"{part.name.lower()}-{real}-{key}.so"
    kept = cache_folder() / "kernels" / name
    if _whole(kept):
        with contextlib.suppress(OSError):  # made for another machine, say: it is made again
            return ctypes.CDLL(str(kept))
    with tempfile.TemporaryDirectory(prefix="laminar-kernels-") as folder:
        made = Path(folder) / name
        _compile(compiler, real, part, made)
        with contextlib.suppress(OSError):  # a cache that cannot be written: what is made serves this process all the same
            kept.parent.mkdir(parents=True, exist_ok=True)
            data = made.read_bytes()
            with replacing(kept) as file:  # two processes may do this at once: each leaves a whole file
                file.write(data + hashlib.sha256(data).digest())
            made = kept
        try:
            return ctypes.CDLL(str(made))
        except OSError as error:
            raise _Without(f"what the compiler made cannot be loaded: {error}") from error


def _whole(path: Path) -> bool:
    """Return whether the file ends with the checksum of the rest: loading a part of a library can end the process."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(data[:-_DIGEST_BYTES]).digest() == data[-_DIGEST_BYTES:]


def _compiler() -> tuple[str, ...]:
    """Return the command of the C compiler."""
    if sys.platform == "win32":
        raise _Without("they are made for Linux and macOS")
    given = shlex.split(os.environ.get("CC", ""))
    for command in [given] if given else [["cc"], ["gcc"], ["clang"]]:
        found = shutil.which(command[0])
        if found:
            return (os.path.realpath(found), *command[1:])
    raise _Without(f"there is no C compiler ({given[0] if given else 'cc, gcc or clang'})")


def _compile(compiler: Sequence[str], real: str, part: Part, target: Path) -> None:
    """Compile for this very processor, with OpenMP: without it one thread would stand against all of torch's."""
    native = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
    command = [*compiler, *_FLAGS, native, "-fopenmp", f"-DREAL={real}"]
    units = {unit: Path(f"{target}.{unit}.o") for unit in part.value}
    with ThreadPoolExecutor(min(len(units), os.cpu_count() or 1)) as pool:
        of_one = (
            [*command, f"-DUNIT={unit}", "-c", str(_SOURCES / "kernels.c"), "-o", str(made)] for unit, made in units.items()
        )
        list(pool.map(_run, of_one, units.values()))
    _run([*command, "-shared", *map(str, units.values()), "-o", str(target), "-lm"], target)


def _run(command: Sequence[str], target: Path) -> None:
    """Run the compiler, which is to make `target`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _Without(f"{command[0]} did not run: {error}") from error
    if done.returncode or not target.is_file():
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200])
        raise _Without(f"{command[0]} failed: {first or f'exit status {done.returncode}'}")


def _processor() -> str:
    """Return what tells this processor from others that may share the cache."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name", "CPU part"))}))
