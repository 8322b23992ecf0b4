"""Python that is named on a command line: a module by its dotted name, or a file by its path."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from laminar.errors import FileError, complaint

__all__ = ["file_module", "named_module"]

_LONGEST = 120  # characters of an error message


def named_module(text: str, where: str) -> ModuleType:
    """Return the module that `text` names: a path that ends with .py, or a dotted name, found from the current folder too.

    Args:
        text: what was typed.
        where: what it was typed for, for messages.

    Raises:
        FileError: if there is no such module or file, or importing it fails.

    >>> named_module("laminar.layers", "laminar check TARGET").__name__
    'laminar.layers'
    """
    if text.endswith(".py"):
        return file_module(Path(text), where)
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` does
        sys.path.insert(0, here)
    try:
        return importlib.import_module(text)
    except Exception as error:
        raise _cannot(text, where, error) from error


def file_module(path: Path, where: str) -> ModuleType:
    """Return the Python file `path` as a module of its own; what it defines can be pickled.

    Args:
        path: of the file.
        where: what it was named for, for messages.

    Raises:
        FileError: if there is no such file, or running it fails.
    """
    if not path.is_file():
        raise FileError(complaint(where, expected="a Python file", received=f"no file {str(path)!r}", fix="Correct the path"))
    folder = str(path.resolve().parent)
    if folder not in sys.path:  # for what the file imports from beside it, as with `python file.py`
        sys.path.insert(0, folder)
    # by a name of its own: the file may be called like an installed package
    spec = importlib.util.spec_from_file_location(f"_file_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pickling looks the class up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _cannot(str(path), where, error) from error
    return module


def _cannot(name: str, where: str, error: Exception) -> FileError:
    line = (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")
    said = line if len(line) <= _LONGEST else f"{line[:_LONGEST].rsplit(' ', 1)[0]} ..."
    received = f"{type(error).__name__}: {said}"
    expected = "a module that can be imported"
    return FileError(complaint(f"{where}: {name}", expected=expected, received=received, fix="Import it in Python"))
