"""A digest of what values are, the same in every process: of numbers, settings, and the code of a user's own functions.

It goes through a value as pickle does, but writes down nothing that differs from process to process: no address, no order of a
set, no line number. Functions and classes of installed packages are their names. Those of the user are what they compute: code,
defaults, and what they see from outside.
"""

from __future__ import annotations

import hashlib
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Digest", "digest"]

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks", "_backward_pre_hooks")
_KEPT_OF_CODE = ("co_code", "co_exceptiontable", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_flags")
_NOT_OF_A_CLASS = frozenset(("__doc__", "__dict__", "__weakref__", "__module__", "__qualname__", "__firstlineno__"))
_NOTED_IN_A_CLASS = frozenset(("__slotnames__", "__static_attributes__"))  # by pickle; by Python, in no order
_LETTERS_OF_A_DIGEST = 8


def digest(*values: Any) -> str:
    """Return a few hexadecimal digits that stand for `values`.

    >>> digest({"units": 3}) == digest({"units": 3}) != digest({"units": 4})
    True
    """
    gathering = Digest()
    for value in values:
        gathering.add(value)
    return gathering.text


class Digest:
    """Takes values in, one after the other."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._open: list[int] = []
        self._known: dict[int, tuple[Any, str]] = {}  # holds the value, so that no id is given twice

    @property
    def text(self) -> str:
        """The digest of what was taken in so far."""
        return self._hash.hexdigest()[:_LETTERS_OF_A_DIGEST]

    def add(self, value: Any) -> None:
        """Take `value` in, with all that it holds."""
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            self._put(type(value).__name__, repr(value))
        else:
            self._put(self._of(value))

    def _of(self, value: Any) -> str:
        """Return the digest of one value: by what it holds, so that two equal ones and one that is met twice are the same."""
        if id(value) in self._known:
            return self._known[id(value)][1]
        if id(value) in self._open:
            return f"above {len(self._open) - self._open.index(id(value))}"
        outer, self._hash = self._hash, hashlib.blake2b(digest_size=16)
        self._open.append(id(value))
        self._take(value)
        self._open.pop()
        found, self._hash = self._hash.hexdigest(), outer
        self._known[id(value)] = value, found
        return found

    def _take(self, value: Any) -> None:
        for kinds, take in _TAKES:
            if isinstance(value, kinds):
                return take(self, value)
        if hasattr(type(value), "__array__"):
            return self._array(np.asarray(value))
        return self._object(value)

    def _put(self, *texts: str) -> None:
        for text in texts:
            raw = text.encode("utf-8", "surrogatepass")
            self._hash.update(len(raw).to_bytes(8, "little") + raw)

    # -- numbers and containers -----------------------------------------------------------------------------------------

    def _array(self, array: np.ndarray[Any, Any]) -> None:
        if array.dtype.hasobject:
            self._put("objects", str(array.shape))
            return self._each(array.reshape(-1).tolist())
        self._put("array", array.dtype.str, str(array.shape))
        self._hash.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        return None

    def _tensor(self, tensor: Tensor) -> None:
        self._put("tensor", str(tensor.dtype), str(tuple(tensor.shape)), str(tensor.requires_grad))
        if nn.parameter.is_lazy(tensor) or tensor.is_meta or tensor.layout is not torch.strided:
            return
        held = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
        self._hash.update(held.reshape(-1).view(torch.uint8).numpy().data)

    def _each(self, values: Iterable[Any]) -> None:
        found = list(values)
        self._put("sequence", str(len(found)))
        for value in found:
            self.add(value)

    def _sequence(self, values: list[Any] | tuple[Any, ...]) -> None:
        self._put(_name(type(values)))
        self._each(values)

    def _mapping(self, mapping: Mapping[Any, Any]) -> None:
        self._put("mapping")
        self._each(part for pair in mapping.items() for part in pair)

    def _set(self, values: Iterable[Any]) -> None:
        self._put("set")
        for text in sorted(self._of((value,)) for value in values):
            self._put(text)

    # -- code -----------------------------------------------------------------------------------------------------------

    def _function(self, function: types.FunctionType) -> None:
        installed = _is_installed(function.__module__)
        self._put("function", _name(function) if installed else "")
        self._each([function.__defaults__, function.__kwdefaults__])
        self._each(cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell))
        if not installed:
            self._code(function.__code__, function.__doc__)
            self._globals(function)

    def _code(self, code: types.CodeType, doc: str | None = None) -> None:
        self._put(*(repr(getattr(code, name)) for name in _KEPT_OF_CODE))
        constants = code.co_consts[1:] if code.co_consts[:1] == (doc,) else code.co_consts
        for constant in constants:
            self._code(constant) if isinstance(constant, types.CodeType) else self.add(constant)

    def _globals(self, function: types.FunctionType) -> None:
        """Take in the functions, classes and settings that code names; what it holds otherwise may change as it runs."""
        for name in sorted(_names(function.__code__)):
            value = function.__globals__.get(name)
            if isinstance(value, types.FunctionType | type | bool | int | float | complex | str | bytes):
                self._put(name)
                self.add(value)

    def _method(self, method: types.MethodType) -> None:
        self._each([method.__self__, method.__func__])

    def _class(self, found: type) -> None:
        self._put("class", found.__qualname__)
        if _is_installed(found.__module__):
            return self._put(found.__module__)
        self._each(base for base in found.__bases__ if base is not object)
        for name, value in sorted(vars(found).items()):
            if name not in _NOT_OF_A_CLASS | _NOTED_IN_A_CLASS and not isinstance(
                value, types.GetSetDescriptorType | types.MemberDescriptorType
            ):
                self._put(name)
                self.add(value)
        return None

    def _property(self, found: property) -> None:
        self._each([found.fget, found.fset, found.fdel])

    def _wrapped(self, found: staticmethod[Any, Any] | classmethod[Any, Any, Any]) -> None:
        self._each([type(found).__name__, found.__func__])

    # -- objects --------------------------------------------------------------------------------------------------------

    def _module(self, module: nn.Module) -> None:
        """Take in a network or layer: class, settings, initial values, and what is in it; not what training leaves behind."""
        state = vars(module)
        self.add(type(module))
        self._mapping({name: value for name, value in state.items() if name not in _OF_EVERY_MODULE})
        self._mapping({name: state[name] for name in ("training", "_parameters", "_buffers", "_modules")})
        self._each(hook for hooks in _HOOKS for hook in state.get(hooks, {}).values())

    def _named(self, value: Any) -> None:
        self._put(type(value).__name__, _name(value))

    def _object(self, value: Any) -> None:
        self.add(type(value))
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:  # what cannot be pickled is its type
            return
        if isinstance(reduced, str):
            return self._put(reduced)
        for part in reduced:
            self._each(part) if hasattr(part, "__next__") else self.add(part)


_TAKES: tuple[tuple[Any, Callable[[Digest, Any], None]], ...] = (
    (Tensor, Digest._tensor),
    (torch.device, lambda self, value: self._put("device")),  # where it runs is not what it is
    (np.ndarray | np.generic, lambda self, value: self._array(np.asarray(value))),
    (list | tuple, Digest._sequence),
    (set | frozenset, Digest._set),
    (dict, Digest._mapping),
    (types.FunctionType, Digest._function),
    (types.MethodType, Digest._method),
    (type, Digest._class),
    (property, Digest._property),
    (staticmethod | classmethod, Digest._wrapped),
    (types.CodeType, Digest._code),
    (types.ModuleType | types.BuiltinFunctionType, Digest._named),
    (nn.Module, Digest._module),
)


def _name(thing: Any) -> str:
    return f"{getattr(thing, '__module__', None)}.{getattr(thing, '__qualname__', thing.__name__)}"


def _is_installed(module: str | None) -> bool:
    """Return whether code of `module` is Python's or of an installed package, and so told by its name."""
    top = (module or "").partition(".")[0]
    if top == "laminar" or (top in sys.stdlib_module_names and top != "__main__"):
        return True
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


def _names(code: types.CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _is_filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True
