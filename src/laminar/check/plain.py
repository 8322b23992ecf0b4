"""What a module keeps in plain attributes, lists and dicts, where torch neither moves nor saves it, nor lets it learn."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping, MutableSequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

__all__ = ["Kept", "attribute_path", "class_tensors", "functions_kept", "kept", "tensors_in", "tensors_kept"]

_OF_TORCH = frozenset(nn.Module().__dict__)  # the tables of every module: parameters, buffers, sub-modules, hooks, mode
_DEEPEST = 6
_LEAVES = (str, bytes, int, float, complex, bool, type(None), type, types.ModuleType)


@dataclass(frozen=True)
class Kept:
    """Something kept in a plain attribute.

    Attributes:
        path: as one types it, "self.cell.masks[2]".
        value: what is there.
        put: puts something else in its place.
    """

    path: str
    value: Any
    put: Callable[[Any], None]


def attribute_path(module: str, attribute: str = "") -> str:
    """Return how one types an attribute of a sub-module inside the layer.

    >>> attribute_path("block.0.conv", "mask")
    'self.block[0].conv.mask'
    """
    parts = [f"[{part}]" if part.isdigit() else f".{part}" for part in module.split(".") if part]
    return "self" + "".join(parts) + (f".{attribute}" if attribute else "")


def kept(module: nn.Module) -> Iterator[Kept]:
    """Yield every value in a plain attribute of `module` or of a module in it, containers first, then what is in them."""
    seen = {id(sub) for sub in module.modules()}
    for name, sub in module.named_modules():
        for attribute, value in list(sub.__dict__.items()):
            if attribute not in _OF_TORCH:
                put = _attribute_setter(sub, attribute)
                yield from _inside(Kept(attribute_path(name, attribute), value, put), seen, _DEEPEST)


def tensors_kept(module: nn.Module) -> list[Kept]:
    """Return the tensors in plain attributes that are not registered elsewhere in `module` as well."""
    registered = {id(t) for t in [*module.parameters(), *module.buffers()]}
    return [k for k in kept(module) if isinstance(k.value, Tensor) and id(k.value) not in registered]


def tensors_in(path: str, value: Any) -> list[tuple[str, Tensor]]:
    """Return the tensors in a value and in all that it holds, with the path of each: `path` is that of the value.

    >>> [path for path, _ in tensors_in("masks", {"a": [Tensor(2)], "b": nn.Linear(1, 1)})]
    ["masks['a'][0]", "masks['b'].weight", "masks['b'].bias"]
    """
    holder = {path: value}
    found = _inside(Kept(path, value, _item_setter(holder, path)), set(), _DEEPEST)
    return [(k.path, k.value) for k in found if isinstance(k.value, Tensor)]


def functions_kept(module: nn.Module) -> list[Kept]:
    """Return the functions without a name in plain attributes: lambdas, and functions made inside another function."""
    return [k for k in kept(module) if isinstance(k.value, types.FunctionType) and "<" in k.value.__qualname__]


def class_tensors(module: nn.Module) -> list[Kept]:
    """Return the tensors that stand in the class of `module` or of a module in it; putting another sets it on the instance."""
    found = []
    for name, sub in module.named_modules():
        for owner in type(sub).__mro__:
            tensors = {k: v for k, v in vars(owner).items() if isinstance(v, Tensor) and k not in sub.__dict__}
            found += [Kept(attribute_path(name, k), v, _attribute_setter(sub, k)) for k, v in tensors.items()]
    return found


def _inside(found: Kept, seen: set[int], depth: int) -> Iterator[Kept]:
    value = found.value
    if isinstance(value, _LEAVES) or not depth:
        yield found
        return
    if id(value) in seen and not isinstance(value, Tensor):  # a tensor may stand in two places, and is in both of them
        return
    seen.add(id(value))
    yield found
    for path, inner, put in _parts(value, found):
        yield from _inside(Kept(found.path + path, inner, put), seen, depth - 1)


def _parts(value: Any, found: Kept) -> Iterator[tuple[str, Any, Callable[[Any], None]]]:
    """Yield what is inside of a container or an object: how to reach it, what it is, and how to put another there."""
    if isinstance(value, nn.Module):
        for name, sub in value.named_modules():
            tables = [sub._parameters, sub._buffers, {k: v for k, v in sub.__dict__.items() if k not in _OF_TORCH}]
            for attribute, inner in [pair for table in tables for pair in table.items()]:
                if inner is not None:
                    yield attribute_path(name, attribute)[4:], inner, _attribute_setter(sub, attribute)
    elif isinstance(value, dict | MutableMapping):
        for key, inner in list(value.items()):
            yield f"[{key!r}]", inner, _item_setter(value, key)
    elif isinstance(value, list | deque | MutableSequence):
        for i, inner in enumerate(list(value)):
            yield f"[{i}]", inner, _item_setter(value, i)
    elif isinstance(value, tuple):
        current = list(value)  # one for all positions, so that what is put in two of them stays in both
        for i, inner in enumerate(value):
            yield f"[{i}]", inner, _tuple_setter(value, current, i, found.put)
    elif hasattr(value, "__dict__") and not isinstance(value, Tensor) and not callable(value):
        for attribute, inner in list(vars(value).items()):
            yield f".{attribute}", inner, _attribute_setter(value, attribute)


def _attribute_setter(owner: Any, attribute: str) -> Callable[[Any], None]:
    def put(value: Any) -> None:
        table = owner.__dict__
        if isinstance(owner, nn.Module):  # past its __setattr__, which would register a parameter
            table = next((t for t in (owner._parameters, owner._buffers) if attribute in t), table)
        table[attribute] = value

    return put


def _item_setter(container: Any, key: Any) -> Callable[[Any], None]:
    def put(value: Any) -> None:
        container[key] = value

    return put


def _tuple_setter(
    values: tuple[Any, ...], current: list[Any], i: int, put_tuple: Callable[[Any], None]
) -> Callable[[Any], None]:
    def put(value: Any) -> None:
        current[i] = value
        put_tuple(type(values)(*current) if hasattr(values, "_fields") else tuple(current))

    return put
