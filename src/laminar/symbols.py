"""Symbols: values that are not there yet, for networks written as expressions.

A symbol is a tensor on the `meta` device: it has a shape and a dtype, every function of torch takes it, and what comes out is a
symbol again, which remembers how it was made. Calls of modules are remembered whole. Ours tell of themselves; the modules of
others call functions of torch inside, and then the frames of the interpreter show which module is being called. Nothing of
this is there when a network runs.
"""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from laminar.errors import ArgumentError, LaminarError, LayerError, complaint
from laminar.shapes import Shape, format_batch, imagined, on_meta, run_for_shapes
from laminar.snapshots import Before, is_lazy, is_unbuilt, lazy_twins, values_kept

__all__ = ["BATCH", "Node", "Ref", "Symbol", "any_symbol", "call", "input_symbol", "map_leaves", "refer"]

BATCH = 9973
"""The batch that symbols have: a prime, so that a number made of it is known for one, and refused."""

Path: TypeAlias = tuple[int | str, ...]
_NESTS = (list, tuple, dict)  # made once: this is asked at every call of a layer

_serials = itertools.count()


@dataclass(eq=False, frozen=True)
class Node:
    """How some symbols came about.

    Attributes:
        target: the module that was called, the name of a function ("torch.cat"), of a method (".mean") or of a property ("@T");
            None for an input.
        args: of the call; symbols stand there as `Ref`.
        kwargs: of the call, likewise.
        serial: larger than those of all nodes made before: an order in which they can run.
        name: of an input; empty where it has none of its own.
    """

    target: nn.Module | str | None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    serial: int = field(default_factory=lambda: next(_serials))


@dataclass(frozen=True)
class Ref:
    """One tensor in the result of a node: `path` leads to it through tuples, lists and dicts."""

    node: Node
    path: Path


class Symbol(Tensor):
    """A value of a network that is not there yet; `laminar.Input` makes the first ones, calls make the others.

    >>> x = input_symbol((3, 8, 8), torch.float32, "image")
    >>> x, x.mean(1)
    (Symbol(batch, 3, 8, 8), Symbol(batch, 8, 8))
    """

    _origin: Ref | _Inside

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Remember a call of a function of torch."""
        return _record(func, tuple(args), dict(kwargs or {}))

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]  # torch leaves the name out
        """Return class and shape."""
        return f"Symbol{format_batch(_plain_shape(self)[1:])}"

    def __iter__(self) -> Iterator[Any]:
        """Refuse to go through a batch that is not there."""
        raise _as_data("for ... in x")

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse copies and files: a symbol is part of a program, not of a network."""
        raise _as_data("copy or pickle")

    def __deepcopy__(self, memo: Any) -> Any:
        """Refuse copies."""
        raise _as_data("copy or pickle")

    @property
    def observation(self) -> Shape:
        """The shape without the batch axis."""
        return _plain_shape(self)[1:]

    @property
    def has_batch(self) -> bool:
        """Whether it is a result for each observation."""
        return BATCH in _plain_shape(self)


def _plain_shape(symbol: Tensor) -> Shape:
    with torch._C.DisableTorchFunctionSubclass():
        return tuple(symbol.shape)


def input_symbol(shape: Shape, dtype: torch.dtype, name: str) -> Symbol:
    """Return a new input for observations of `shape`."""
    return _symbol(torch.empty((BATCH, *shape), dtype=dtype, device="meta"), Ref(Node(None, name=name), ()))


def _symbol(value: Tensor, origin: Ref | _Inside) -> Symbol:
    with torch._C.DisableTorchFunctionSubclass():
        symbol: Symbol = value.detach().as_subclass(Symbol)
    symbol._origin = origin
    return symbol


# -- nests of tuples, lists and dicts -------------------------------------------------------------------------------------


def map_leaves(function: Callable[[Any, Path], Any], value: Any, path: Path = ()) -> Any:
    """Return `value` with `function(leaf, path to it)` in place of everything in it that is no tuple, list or dict.

    >>> map_leaves(lambda leaf, path: (leaf, path), {"a": [1, 2]})
    {'a': [(1, ('a', 0)), (2, ('a', 1))]}
    """
    if isinstance(value, dict):
        return type(value)((k, map_leaves(function, v, (*path, k))) for k, v in value.items())
    if isinstance(value, torch.Size) or not isinstance(value, list | tuple):
        return function(value, path)
    items = [map_leaves(function, v, (*path, i)) for i, v in enumerate(value)]
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)  # a namedtuple, or anything of one argument


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for v in value.values():
            yield from _leaves(v)
    elif isinstance(value, list | tuple):
        for v in value:
            yield from _leaves(v)
    else:
        yield value


def any_symbol(args: Iterable[Any], kwargs: dict[str, Any] | None = None) -> bool:
    """Return whether a symbol is among the arguments of a call, also in a list, tuple or dict."""
    for value in args:
        if type(value) is Symbol:
            return True
        if issubclass(type(value), _NESTS) and any_symbol(value.values() if isinstance(value, dict) else value):
            return True
    return any_symbol(kwargs.values()) if kwargs else False


def refer(value: Any) -> Any:
    """Return `value` with a `Ref` in place of each symbol in it."""
    return map_leaves(lambda leaf, _: _ref(leaf) if isinstance(leaf, Symbol) else leaf, value)


def _ref(symbol: Symbol) -> Ref:
    origin = symbol._origin
    return origin.pending.ref(origin) if isinstance(origin, _Inside) else origin


# -- functions of torch ---------------------------------------------------------------------------------------------------

_DATA = {
    "__array__": "np.asarray(x)", "__bool__": "if x", "__complex__": "complex(x)", "__contains__": "in x",
    "__float__": "float(x)", "__index__": "a number", "__int__": "int(x)", "__len__": "len(x)",
    "__reversed__": "reversed(x)", "backward": "x.backward()", "data_ptr": "x.data_ptr()", "item": "x.item()",
    "nonzero": "x.nonzero()", "numpy": "x.numpy()", "tolist": "x.tolist()",
}  # fmt: skip


def _as_data(what: str) -> LayerError:
    return LayerError(
        complaint(
            "a symbol of laminar.Input",
            expected="layers, operators and functions of torch",
            received=f"a use of its values ({what}), which are not there before the network runs",
            fix="Write what needs them as a Layer with a forward of its own",
        )
    )


def _record(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what `func` returns, as symbols, and remember the call."""
    name = getattr(func, "__name__", "")
    replay = _under_way()
    if name in _DATA and (replay is None or name != "__len__"):  # somebody else's module makes its shapes when it runs
        raise _as_data(_DATA[name])
    if replay is None:
        _refuse_in_place(name, kwargs)
    try:
        result = _computed(func, args, kwargs)
    except RuntimeError as error:
        if replay is not None or isinstance(error, LaminarError):  # somebody else's module is named by its call
            raise
        raise _refused(name, args, kwargs, error) from error
    if not any(isinstance(leaf, Tensor) for leaf in _leaves(result)):
        return result
    if replay is not None:
        return replay.mark(result)
    _refuse_batch(name, args, kwargs)
    return _spread(result, Node(_target(func, name), refer(args), refer(kwargs)))


def _computed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    args, kwargs = map_leaves(_shadow, args), map_leaves(_shadow, kwargs)
    try:
        with torch._C.DisableTorchFunctionSubclass(), torch.no_grad(), on_meta():
            return func(*args, **kwargs)
    except NotImplementedError as error:  # torch's word for an operation that needs values
        raise _as_data(f"{getattr(func, '__name__', func)}") from error


def _refused(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception) -> LayerError:
    """Return the error for a function that cannot take the symbols it was given, with torch's word on it."""
    shapes = [format_batch(_plain_shape(leaf)[1:]) for leaf in _leaves((args, kwargs)) if isinstance(leaf, Symbol)]
    said = str(error).strip().partition("\n")[0].rstrip(".").replace(str(BATCH), "batch")
    return LayerError(
        complaint(
            f"{name.strip('_')} of symbols of laminar.Input",
            expected="arguments that go together",
            received=f"{' and '.join(shapes)}, on which it raised {type(error).__name__}: {said}",
            fix="Compare the shapes: print(x) shows that of a symbol",
        )
    )


def _shadow(leaf: Any, _: Path) -> Any:
    """Return a tensor on `meta` in place of a real one: some functions of torch ask for one device before anything else."""
    real = isinstance(leaf, Tensor) and not isinstance(leaf, Symbol) and not leaf.is_meta
    return torch.empty_like(leaf, device="meta") if real else leaf


def _spread(result: Any, node: Node) -> Any:
    return map_leaves(lambda leaf, path: _symbol(leaf, Ref(node, path)) if isinstance(leaf, Tensor) else leaf, result)


def _target(func: Any, name: str) -> str:
    owner = getattr(func, "__qualname__", "").partition(".")[0]
    if name == "__get__" and hasattr(func, "__self__"):
        return f"@{func.__self__.__name__}"
    if owner in ("Tensor", "TensorBase") and hasattr(Tensor, name):
        return f".{name}"
    known = torch.overrides.resolve_name(func)
    if known is None:
        raise ArgumentError(
            complaint(
                "a symbol of laminar.Input",
                expected="a function that torch documents",
                received=str(func),
                fix="Call it inside a Layer with a forward of its own",
            )
        )
    return str(known)


def _refuse_in_place(name: str, kwargs: dict[str, Any]) -> None:
    in_place = name.endswith("_") and not name.endswith("__")
    if in_place or name in ("__setitem__", "__set__") or name.startswith("__i") or kwargs.get("inplace") or "out" in kwargs:
        raise LayerError(
            complaint(
                "a symbol of laminar.Input",
                expected="operations that return something new",
                received=f"{name}, which writes in place",
                fix="Write x = x + 1 for x += 1, torch.relu(x) for x.relu_()",
            )
        )


def _refuse_batch(name: str, args: Any, kwargs: Any) -> None:
    """Refuse a batch size that became a number: the network would be one for this batch alone."""
    for leaf in _leaves((args, kwargs)):
        if isinstance(leaf, int) and not isinstance(leaf, bool) and leaf and leaf % BATCH == 0:
            raise LayerError(
                complaint(
                    f"{name} of a symbol of laminar.Input",
                    expected="a network for batches of any size",
                    received="the batch size as a number, from x.shape[0] or len(x)",
                    fix="Write -1 for the batch axis: x.reshape(-1, 10), or x.flatten(1)",
                )
            )


# -- modules --------------------------------------------------------------------------------------------------------------


def call(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the symbols that `module` returns for arguments among which are symbols, and remember the call.

    The module is as it was afterwards: a layer that has no parameters yet gets them when the network is built.

    Raises:
        ShapeError, LayerError: if the module cannot take the shapes; as `laminar.shapes.trace`.
    """
    replay = _under_way()
    result = _imagine_call(module, _plain(args), _plain(kwargs))
    if replay is not None:  # inside somebody else's module
        return replay.mark(result)
    return _spread(result, Node(module, refer(args), refer(kwargs)))


def _plain(value: Any) -> Any:
    def plain(leaf: Any, _: Path) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return leaf.as_subclass(Tensor) if isinstance(leaf, Symbol) else leaf

    return map_leaves(plain, value)


def _imagine_call(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not any(is_unbuilt(m) for m in module.modules()):
        return run_for_shapes(module, args, kwargs, BATCH)[1]
    with torch.random.fork_rng(devices=[]), imagined(module) as copied:
        return run_for_shapes(copied, args, kwargs, BATCH)[1]


# The modules of others. The first function of torch that meets a symbol inside such a module's call runs the module a second
# time, to learn which of its functions' results it returns; those of the first time are then known by their number.


@dataclass(frozen=True)
class _Inside:
    """Where a symbol stands that was made inside a module: result number `number` of its call, and the place in that."""

    pending: _Replay
    number: int
    path: Path


_REPLAY: ContextVar[_Replay | None] = ContextVar("laminar_replay", default=None)
_HOOKED: ContextVar[tuple[dict[str, Any], _Replay] | None] = ContextVar("laminar_hooked", default=None)
_MARK = "_laminar_call"


class _Replay:
    """A call of somebody else's module: numbers what functions of torch return in it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.node: Node | None = None
        self.returned: dict[tuple[int, Path], Path] = {}
        self._count = 0

    def mark(self, result: Any) -> Any:
        self._count += 1
        number = self._count
        return map_leaves(lambda t, path: _symbol(t, _Inside(self, number, path)) if isinstance(t, Tensor) else t, result)

    def ref(self, inside: _Inside) -> Ref:
        """Return where the module's result has the symbol."""
        place = self.returned.get((inside.number, inside.path))
        if place is None or self.node is None:
            raise LayerError(
                complaint(
                    f"layer {type(self.module).__name__}, called on a symbol of laminar.Input",
                    expected="use of what it returns",
                    received="something that it made inside, or returns only at times",
                    fix=f"Wrap it: laminar.Sequential([{type(self.module).__name__}(...)])",
                )
            )
        return Ref(self.node, place)

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Run the module for its results' places; it is as before afterwards."""
        again = _Replay(self.module)

        def place(leaf: Any, path: Path) -> None:
            if isinstance(leaf, Symbol) and isinstance(leaf._origin, _Inside) and leaf._origin.pending is again:
                self.returned.setdefault((leaf._origin.number, leaf._origin.path), path)

        with _replaying(again), torch.random.fork_rng(devices=[]), _unchanged(self.module) as module:
            try:
                map_leaves(place, module(*args, **kwargs))
            except LaminarError:
                raise
            except Exception as error:
                raise _failure(self.module, args, kwargs, error) from error
        self.node = Node(self.module, refer(args), refer(kwargs))


def _failure(module: nn.Module, args: Any, kwargs: Any, error: Exception) -> LayerError:
    given = " and ".join(format_batch(s.observation) for s in _leaves((args, kwargs)) if isinstance(s, Symbol))
    first = (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")
    return LayerError(
        complaint(
            f"layer {type(module).__name__}",
            expected="an input that its forward can take",
            received=f"{given}, on which it raised {type(error).__name__}: {first}",
            fix="Check it against the output of the layer before it",
        )
    )


class _Ending:
    """Lies among the locals of a call's frame, and so goes when the call ends; it then puts back what the call wrote.

    There is no data to learn from in a call on symbols, so a count of batches, say, must not grow; and a module that keeps what
    it saw last must not keep symbols.
    """

    def __init__(self, replay: _Replay) -> None:
        self.replay = replay
        self._attributes = [(m, dict(m.__dict__)) for m in replay.module.modules()]
        self._values = values_kept(replay.module)
        with torch._C.DisableTorchFunctionSubclass():
            self._values.__enter__()

    def __del__(self) -> None:
        for module, before in self._attributes:
            for name in [n for n, value in module.__dict__.items() if type(value) is Symbol]:
                old = before.get(name)
                module.__dict__[name] = None if type(old) is Symbol else old
        with torch._C.DisableTorchFunctionSubclass():
            self._values.__exit__(None, None, None)


def _pending_of(frame: FrameType) -> _Replay:
    """Return what is known of the call in `frame`, having run its module a second time if nothing is."""
    local = frame.f_locals
    module, args, kwargs = local["self"], local["args"], local["kwargs"]  # the last is the frame's own: forward gets a copy
    ending, hooked = kwargs.get(_MARK), _HOOKED.get()
    if ending is not None:
        known: _Replay = ending.replay
        return known
    if hooked is not None and hooked[0] is kwargs:
        return hooked[1]
    replay = _Replay(module)
    replay.run(args, kwargs)
    if module._forward_pre_hooks or module._forward_hooks_with_kwargs:  # which would be handed the frame's own
        _HOOKED.set((kwargs, replay))
    else:
        kwargs[_MARK] = _Ending(replay)
    return replay


@contextmanager
def _replaying(replay: _Replay) -> Iterator[None]:
    token = _REPLAY.set(replay)
    try:
        yield
    finally:
        _REPLAY.reset(token)


@contextmanager
def _unchanged(module: nn.Module) -> Iterator[nn.Module]:
    if any(is_lazy(m) for m in module.modules()):  # what it makes of itself cannot be taken back
        yield copy.deepcopy(module, lazy_twins(module))
        return
    before = Before(module)
    values = values_kept(module)
    with torch._C.DisableTorchFunctionSubclass():  # it may hold symbols
        values.__enter__()
    try:
        yield module
    finally:
        before.put_back()
        with torch._C.DisableTorchFunctionSubclass():
            values.__exit__(None, None, None)


def _under_way() -> _Replay | None:
    """Return the outermost call of somebody else's module on a symbol that is under way."""
    known = _REPLAY.get()
    if known is not None:
        return known
    frame: FrameType | None = sys._getframe(2)
    found = None
    while frame is not None:
        if frame.f_code is _CALL and any_symbol(frame.f_locals["args"], frame.f_locals["kwargs"]):
            found = frame
        frame = frame.f_back
    return None if found is None else _pending_of(found)


_CALL = nn.Module._call_impl.__code__
