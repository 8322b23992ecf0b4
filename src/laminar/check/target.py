"""The layer that a command line names: "package.module:Name" or "folder/file.py:Name", with its arguments."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from laminar.errors import ArgumentError, complaint
from laminar.modules import named_module
from laminar.names import unknown_name
from laminar.shapes import Shape

__all__ = ["parse_shape", "target"]

_WHERE = "laminar check TARGET"


def target(text: str, arguments: str = "") -> nn.Module | Callable[[], nn.Module]:
    """Return the layer named by `text`, or what makes it.

    Args:
        text: "package.module:Name", found from the current folder too, or "folder/file.py:Name": a module, or a class
            or function that makes one.
        arguments: of the class or function, as they stand between the brackets of a call: '20, 5, strides=2'. Literals only.

    Raises:
        ArgumentError: if text or arguments cannot be read, or the name's value cannot be checked.
        UnknownNameError: if the file has nothing of that name.
        FileError: if there is no such module or file, or importing it fails.

    >>> target("laminar.layers:Dense", "10, activation='relu'")()
    Dense(units=10, activation='relu')
    """
    place, _, name = text.rpartition(":")
    if not place or not name.isidentifier():
        fix = "Type package.module:ELU, or path/to/file.py:ELU"
        raise ArgumentError(complaint(_WHERE, expected="a module and a name in it", received=repr(text), fix=fix))
    module = named_module(place, _WHERE)
    if not hasattr(module, name):
        known = [n for n, value in vars(module).items() if isinstance(value, type) and issubclass(value, nn.Module)]
        raise unknown_name(f"{_WHERE}: layer", name, known)
    found = getattr(module, name)
    positional, named = _arguments(arguments)
    if isinstance(found, nn.Module) and not (positional or named):
        return found
    if isinstance(found, nn.Module) or not callable(found):
        fix = "Name a class or a function that makes a layer" if not isinstance(found, nn.Module) else "Leave out --args"
        received = f"{name}, {'a layer made already' if isinstance(found, nn.Module) else f'of type {type(found).__name__}'}"
        raise ArgumentError(complaint(_WHERE, expected="something to call with arguments", received=received, fix=fix))
    return partial(found, *positional, **named)


def parse_shape(text: str) -> Shape:
    """Return the shape written in `text`.

    Raises:
        ArgumentError: if it is no list of whole numbers of at least 1.

    >>> parse_shape("20,24,24"), parse_shape("(8,)")
    ((20, 24, 24), (8,))
    """
    parts = [part.strip() for part in text.strip().strip("()[]").split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) > 0 for part in parts):
        fix = "Type the shape of one observation, without the batch: --input 20,24,24"
        raise ArgumentError(complaint("laminar check --input", expected="whole numbers from 1", received=repr(text), fix=fix))
    return tuple(map(int, parts))


def _arguments(text: str) -> tuple[list[Any], dict[str, Any]]:
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(call, ast.Call) or any(keyword.arg is None for keyword in call.keywords):
            raise ValueError(text)
        positional = [ast.literal_eval(argument) for argument in call.args]
        return positional, {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError) as error:
        fix = "Type them as in a call, in quotes: --args '20, 5, strides=2'"
        raise ArgumentError(complaint("laminar check --args", expected="literals", received=repr(text), fix=fix)) from error
