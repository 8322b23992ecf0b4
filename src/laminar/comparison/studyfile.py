"""A study file: Python that says what is compared, so that a command, and other machines, can run it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from laminar.errors import ArgumentError, LaminarError, complaint
from laminar.modules import named_module

__all__ = ["study_arguments"]


def study_arguments(text: str, what: str, function: Callable[..., Any], where: str) -> dict[str, Any]:
    """Return the arguments that a study file holds.

    Args:
        text: "path/to/file.py" or "package.module".
        what: the name in it of a dict of arguments, or of a function without arguments that returns one: "comparison" for
            `laminar.compare`, "search" for `laminar.tune`.
        function: what is called with them.
        where: the command, for messages.

    Raises:
        FileError: if there is no such file or module, or running it fails.
        ArgumentError: if it has nothing of that name, something else, a function that fails, or a dict that lacks an argument.
    """
    found = getattr(named_module(text, where), what, None)
    if callable(found):
        found = _called(found, f"{where}: {text}: {what}()")
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        needed = ", ".join(f'"{p.name}": ...' for p in inspect.signature(function).parameters.values() if _is_needed(p))
        fix = f"Write {what} = {{{needed}}}"
        expected = f"a dict of arguments named {what}, or a function that returns one"
        received = "none of that name" if found is None else type(found).__name__
        raise ArgumentError(complaint(f"{where}: {text}", expected=expected, received=received, fix=fix))
    lacking = [p.name for p in inspect.signature(function).parameters.values() if _is_needed(p) and p.name not in found]
    if lacking:
        fix = f"Add it: {{..., {lacking[0]!r}: ...}}"
        received = f"none named {', '.join(lacking)}"
        raise ArgumentError(
            complaint(f"{where}: {text}: {what}", expected="all arguments it needs", received=received, fix=fix)
        )
    return dict(found)


def _called(function: Callable[[], Any], where: str) -> Any:
    try:
        return function()
    except LaminarError:
        raise  # which says what is wrong
    except Exception as error:
        first = (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")
        received = f"{type(error).__name__}: {first}"
        fix = "Call it by itself in Python to see where"
        raise ArgumentError(
            complaint(where, expected="a function that returns arguments", received=received, fix=fix)
        ) from error


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
