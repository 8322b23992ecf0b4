"""Whose code an error came from: a line of the layer's own, or the checker's alone."""

from __future__ import annotations

import linecache
import os
import traceback
from pathlib import Path

import torch

__all__ = ["of_checker", "own_line"]

_TORCH = Path(torch.__file__).parent
_STANDARD = Path(os.__file__).parent
_HOUSE = Path(__file__).parents[1]
_CHECKS = (_HOUSE / "check", _HOUSE / "storages.py")  # the latter runs the layer while it counts memory
_TEMPLATE = tuple(str(_HOUSE / "layers" / name) for name in ("base.py", "handwritten.py"))


def of_checker(error: BaseException) -> bool:
    """Return whether only the checker's own lines led to an error, none of the layer, of torch or of a `sample`.

    Such an error is a fault of the checker, or a result that it did not expect. Whoever catches what a layer raises, to say
    that a check does not apply, raises this one again: else a check that is broken would look like one that has nothing to do.
    """
    paths = {Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__)}
    return bool(paths) and all(_is_checker(path) or _is_standard(path) for path in paths)


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
    foreign = path.is_relative_to(_TORCH) or _is_checker(path) or filename.startswith("<")
    return not (foreign or _is_standard(path)) and filename not in _TEMPLATE


def _is_checker(path: Path) -> bool:
    return any(path.is_relative_to(own) for own in _CHECKS)


def _is_standard(path: Path) -> bool:
    return path.is_relative_to(_STANDARD) and "site-packages" not in path.parts
