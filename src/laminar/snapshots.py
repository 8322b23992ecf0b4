"""How a module was, so that a run that only asks for something leaves it as it found it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

__all__ = ["Before", "is_lazy", "is_unbuilt", "lazy_twins", "values_kept"]


class _Noted(NamedTuple):
    """How a module was."""

    module: nn.Module
    kind: type
    training: bool
    attributes: dict[str, Any]
    tables: list[tuple[Any, Any]]


class Before:
    """How every module was, to be put back after the run: mode, attributes, tables of buffers, parameters and sub-modules."""

    def __init__(self, module: nn.Module | None = None) -> None:
        self._known: dict[int, _Noted] = {}
        self._unbuilt: set[int] = set()
        for sub in () if module is None else module.modules():
            self.add(sub, sub.training)

    @classmethod
    def of(cls, modules: Iterable[nn.Module]) -> Self:
        """Return how these modules were, without those inside them."""
        before = cls()
        for module in modules:
            before.add(module, module.training)
        return before

    def add(self, sub: nn.Module, training: bool) -> None:
        """Note how `sub` is, unless that is known, and that it is to be in the mode `training` afterwards."""
        if id(sub) in self._known:
            return
        self._note(sub, training)
        if is_unbuilt(sub) and not is_lazy(sub):
            self._unbuilt.add(id(sub))

    def built_now(self, sub: nn.Module) -> bool:
        """Return whether `sub` was built since; then what its build made is to stay."""
        if id(sub) not in self._unbuilt:
            return False
        self._unbuilt.remove(id(sub))
        old = self._known[id(sub)]
        self._note(sub, old.training)
        for inner in sub.modules():  # they have the mode of the run
            self.add(inner, old.training)
        if "forward" not in old.attributes:  # a layer with hooks has one there for the moment of this call
            self._known[id(sub)].attributes.pop("forward", None)
        return True

    def _note(self, sub: nn.Module, training: bool) -> None:
        tables = [(v, v.copy()) for v in sub.__dict__.values() if type(v) in (list, dict, set, OrderedDict)]
        self._known[id(sub)] = _Noted(sub, type(sub), training, dict(sub.__dict__), tables)

    def changed(self) -> list[nn.Module]:
        """Return the modules that hold something else now than when they were noted."""
        return [noted.module for noted in self._known.values() if _differs(noted)]

    def put_back(self) -> None:
        """Leave every module as it was noted; but a lazy module of torch, which is of another class now, as it is."""
        for sub, kind, training, attributes, tables in self._known.values():
            if type(sub) is kind:
                sub.__dict__.clear()
                sub.__dict__.update(attributes)
                for table, entries in tables:
                    table.clear()
                    (table.extend if isinstance(table, list) else table.update)(entries)
            sub.training = training


def _differs(noted: _Noted) -> bool:
    """Return whether an attribute, or an entry of a table, is another object now."""
    pairs = [(noted.module.__dict__, noted.attributes), *noted.tables]
    return any([*map(id, _flat(now))] != [*map(id, _flat(before))] for now, before in pairs)


def _flat(table: Any) -> list[Any]:
    return [*table.keys(), *table.values()] if isinstance(table, dict) else list(table)


def is_unbuilt(module: nn.Module) -> bool:
    """Return whether `module` has learnables to make when it sees its first input."""
    return getattr(module, "built", True) is False or is_lazy(module)


def is_lazy(module: nn.Module) -> bool:
    """Return whether `module` is one of torch's that wait for a shape."""
    return isinstance(module, nn.modules.lazy.LazyModuleMixin) and module.has_uninitialized_params()


@contextmanager
def values_kept(module: nn.Module) -> Iterator[None]:
    """Put back what the run writes into buffers and other tensors that are no parameters."""
    held = [t for m in module.modules() for t in [*m._buffers.values(), *m.__dict__.values()] if isinstance(t, Tensor)]
    written = [(t, t.detach().clone()) for t in held if not (t.is_meta or nn.parameter.is_lazy(t))]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in written:
                tensor.copy_(value)


def lazy_twins(module: nn.Module) -> dict[int, Any]:
    """Return, by identity, new tensors for those of `module` that wait for a shape: torch does not copy lazy buffers itself."""
    held = [t for t in [*module.parameters(), *module.buffers()] if nn.parameter.is_lazy(t)]
    return {id(t): type(t)(t.requires_grad, device=t.device, dtype=t.dtype) for t in held}  # type: ignore[arg-type, call-arg]  # both take these
