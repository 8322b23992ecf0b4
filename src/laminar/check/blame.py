"""Which line of the layer's own code an error came from."""

from __future__ import annotations

import linecache
import os
import traceback
from pathlib import Path

import torch

__all__ = ["first_line", "own_line"]

_TORCH = Path(torch.__file__).parent
_STANDARD = Path(os.__file__).parent
_CHECKS = Path(__file__).parent
_TEMPLATE = tuple(str(_CHECKS.parent / "layers" / name) for name in ("base.py", "handwritten.py"))
_LONGEST = 120


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, without its final stop; only its beginning where it is very long.

    >>> first_line(ValueError("It is no number."))
    'It is no number'
    """
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST].rsplit(' ', 1)[0]} ..."


def own_line(error: BaseException) -> str:
    """Return the innermost line that is neither torch's nor the checker's: "elu.py, line 12: return x.view(-1)"; "" if none."""
    compiler = getattr(error, "real_stack", None)  # torch.compile notes there where the code was that it could not follow
    stack = compiler or traceback.extract_tb(error.__traceback__)
    frames = [f for f in stack if _is_own(f.filename)]
    if not frames:
        return ""
    frame = frames[-1]
    text = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
    return f"{os.path.basename(frame.filename)}, line {frame.lineno}: {text}"


def _is_own(filename: str) -> bool:
    path = Path(filename)
    foreign = path.is_relative_to(_TORCH) or path.is_relative_to(_CHECKS) or filename.startswith("<")
    standard = path.is_relative_to(_STANDARD) and "site-packages" not in path.parts
    return not (foreign or standard) and filename not in _TEMPLATE
