"""What a module has in common with every other module of its class, though each should have its own."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CellType, FunctionType
from typing import Any

from torch import Tensor, nn

from laminar.check.plain import tensors_in
from laminar.layers.base import Layer

__all__ = ["in_common"]

_BASES = frozenset({*nn.Module.__mro__, *Layer.__mro__})

Found = Iterator[tuple[str, Tensor]]


def in_common(module: nn.Module) -> dict[int, str]:
    """Return, by identity, tensors that all modules of the same classes use, and where each is, in words.

    These are class attributes, default values of arguments, and global and enclosing variables that methods read.

    >>> class Scale(nn.Module):
    ...     factor = nn.Parameter(Tensor(3))
    >>> list(in_common(Scale()).values())
    ['the class attribute Scale.factor']
    """
    places: dict[int, str] = {}
    for kind in dict.fromkeys(type(sub) for sub in module.modules()):
        for owner in kind.__mro__:
            for key, value in vars(owner).items() if owner not in _BASES else ():
                for path, tensor in _of_attribute(f"{owner.__name__}.{key}", value):
                    places.setdefault(id(tensor), path)
    return places


def _of_attribute(place: str, value: Any) -> Found:
    for path, tensor in tensors_in(place, value):
        yield f"the class attribute {path}", tensor
    function = getattr(value, "__func__", value)  # of a class method or static method
    if isinstance(function, FunctionType):
        yield from _of_function(place, function)


def _of_function(place: str, function: FunctionType) -> Found:
    code, defaults, variables = function.__code__, function.__defaults__ or (), function.__globals__
    last = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
    for name, value in {**dict(zip(last, defaults, strict=True)), **(function.__kwdefaults__ or {})}.items():
        for path, tensor in tensors_in(name, value):
            yield f"the default value of an argument, {path} in {place}", tensor
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        for path, tensor in tensors_in(name, _content(cell)):
            yield f"the variable {path} around {place}", tensor
    candidates = {n for n in code.co_names if isinstance(variables.get(n), Tensor | nn.Module | list | dict | tuple)}
    if candidates:  # among these names are those of attributes, too
        for name in candidates & {i.argval for i in dis.get_instructions(function) if i.opname == "LOAD_GLOBAL"}:
            for path, tensor in tensors_in(name, variables[name]):
                yield f"the global variable {path}", tensor


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing is in it yet
        return None
