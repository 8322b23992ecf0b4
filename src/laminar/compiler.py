"""torch's compiler, not loaded before somebody compiles: that takes longer than the first epoch of many a small network.

torch itself loads it to tell it what to leave alone, when an optimizer is made and when some operations give shapes on the
`meta` device; for shapes it also loads the compiler's computer algebra, to ask it whether True is true. As long as nothing is
compiled, no such answer needs either.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["without_compiler"]

_COMPILER, _SYMBOLS, _ALGEBRA = "torch._dynamo", "torch.fx.experimental.symbolic_shapes", "sympy"
_MARK = "__dynamo_disable"  # where torch._compile keeps what the compiler answered about a function


class _Standin(ModuleType):
    """Answers as a module would, as long as only that is asked; steps aside for the module itself when it is more."""

    def __init__(self, spec: ModuleSpec, answers: Mapping[str, Any]) -> None:
        super().__init__(spec.name)
        self.__spec__ = spec  # for who asks whether there is such a module
        self.__dict__.update(answers)
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and (name != "__path__" or self.__name__ == _SYMBOLS):  # import asks; only a package has it
            raise AttributeError(name)
        self.step_aside()
        return getattr(importlib.import_module(self.__name__), name)

    def step_aside(self) -> None:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        for name in self._answers:  # whoever keeps it, finds the module's own from now on
            self.__dict__.pop(name, None)


class _Expressions:
    """What sympy calls Basic, as long as sympy is not loaded and there is none: the class of all expressions."""

    def _class(self) -> Any:
        found = sys.modules.get(_ALGEBRA)
        if isinstance(found, _Standin):
            found.step_aside()
        return importlib.import_module(_ALGEBRA).Basic

    def __instancecheck__(self, value: object) -> bool:
        loaded = not isinstance(sys.modules.get(_ALGEBRA), _Standin | None)
        return loaded and isinstance(value, self._class())

    def __subclasscheck__(self, kind: type) -> bool:
        return issubclass(kind, self._class())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:  # who derives from it gets the class itself
        return (self._class(),)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._class(), name)


def _itself(name: str) -> Callable[..., Any]:
    """Return a function that answers of a bool that it is what it is; of anything else, what the module says."""

    def answer(value: Any, *others: Any, **settings: Any) -> Any:
        return value if type(value) is bool else _ask(name, value, *others, **settings)

    return answer


def _ask(name: str, *args: Any, **kwargs: Any) -> Any:
    found = sys.modules.get(_SYMBOLS)
    if isinstance(found, _Standin):
        found.step_aside()
    return getattr(importlib.import_module(_SYMBOLS), name)(*args, **kwargs)


def _of_whole_number(name: str, answer: Callable[[int], Any]) -> Callable[..., Any]:
    return lambda value: answer(value) if type(value) is int else _ask(name, value)


def _sym_eq(a: Any, b: Any) -> Any:
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(_sym_eq, a, b)) if _whole(a) and _whole(b) else _ask("sym_eq", a, b)
    return a == b if _whole((a, b)) else _ask("sym_eq", a, b)


def _whole(values: Sequence[Any]) -> bool:
    return all(type(n) is int for n in values)


def _sym_and(*values: Any) -> Any:
    return all(values) if all(type(v) is bool for v in values) else _ask("sym_and", *values)


def _sym_or(*values: Any) -> Any:
    return any(values) if all(type(v) is bool for v in values) else _ask("sym_or", *values)


_OF_TRUTH = ("expect_true", "guard_or_false", "guard_or_true", "guard_size_oblivious", "statically_known_true")
_ANSWERS: Mapping[str, Any] = {
    **{name: _itself(name) for name in _OF_TRUTH},
    "is_nested_int": _of_whole_number("is_nested_int", lambda n: False),
    "is_symbolic": _of_whole_number("is_symbolic", lambda n: False),
    "has_guarding_hint": _of_whole_number("has_guarding_hint", lambda n: True),
    "guarding_hint_or_throw": _of_whole_number("guarding_hint_or_throw", lambda n: n),
    "sym_eq": _sym_eq,
    "sym_and": _sym_and,
    "sym_or": _sym_or,
}


@functools.cache
def _spec(name: str) -> ModuleSpec | None:
    return importlib.util.find_spec(name)


@contextmanager
def without_compiler() -> Iterator[None]:
    """Do without torch's compiler inside where torch would load it for nothing; who does use it, gets it.

    >>> import torch
    >>> with without_compiler():
    ...     optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    """
    left_alone: list[Any] = []

    def disable(function: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
        left_alone.append(function)
        return function

    with ExitStack() as stack:
        for name, answers in ((_COMPILER, {"disable": disable}), (_SYMBOLS, _ANSWERS), (_ALGEBRA, {"Basic": _Expressions()})):
            spec = None if name in sys.modules else _spec(name)
            if spec is not None:
                standin = sys.modules[name] = _Standin(spec, answers)
                stack.callback(standin.step_aside)
        try:
            yield
        finally:
            for function in left_alone:  # a compiler that is loaded later is to be told after all
                function.__dict__.pop(_MARK, None)
