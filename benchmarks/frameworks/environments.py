"""The peers' own virtual environments, under .venv-bench: made when they are missing, or when their pins have changed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable

from frameworks.candidates import FOLDER, ROOT

__all__ = ["python_of", "unavailable"]

_HOMES = ROOT / ".venv-bench"


def python_of(home: str) -> str:
    """Return the interpreter of an environment; "" is the one that this command runs in."""
    return str(_HOMES / home / "bin" / "python") if home else sys.executable


def unavailable(home: str, report: Callable[[str], object]) -> str | None:
    """Make an environment unless it is there, and return why it cannot be had; None where it can."""
    if not home:
        return None
    pins = FOLDER / "peers" / f"{home}.txt"
    stamp = _HOMES / home / ".installed"
    if stamp.exists() and stamp.read_text() == pins.read_text():
        return None
    report(f"== making .venv-bench/{home} (once; some minutes)")
    _HOMES.mkdir(exist_ok=True)
    pip = [python_of(home), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(_HOMES / home)],
        [*pip, *shlex.split(os.environ.get("PIP_ARGS", "")), "-r", str(pins)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_clean())
        if done.returncode:
            return _last_error(done.stderr)
    stamp.write_text(pins.read_text())
    return None


def _clean() -> dict[str, str]:
    """Return the environment without the path of this process' own modules."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _last_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else "pip failed")[:300]
