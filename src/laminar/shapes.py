"""Shapes of any module, found by running it where nothing is computed.

`trace` runs a module once on the `meta` device, where tensors have a shape and a dtype and no values, and notes what every
sub-module received and returned. The module's own tensors are mapped to `meta` on the way, so they may stay where they are, and
layers that have no parameters yet may create them during the run. A module that cannot run without values (it reads one, or
branches on one) is run with one observation of zeros on the device it lives on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.hooks import RemovableHandle

from laminar.errors import LaminarError, LayerError, complaint

__all__ = [
    "Record",
    "Shape",
    "Trace",
    "format_batch",
    "format_shape",
    "normalize_shape",
    "output_shape",
    "real_tensors",
    "trace",
    "tracing",
]

Shape: TypeAlias = tuple[int, ...]
"""The shape of one observation, channels first, without the batch axis: `(C, H, W)`, `(features,)`."""

_SUSPENDED: ContextVar[bool] = ContextVar("laminar_real_tensors", default=False)
_TRACING: ContextVar[bool] = ContextVar("laminar_tracing", default=False)
_META_BATCH = 2  # two, so that a squeeze() of the batch axis does not go unseen


@dataclass(frozen=True)
class Record:
    """What one call of one sub-module received and returned.

    Attributes:
        path: the sub-module's place, axes joined by "/" ("block1/conv"); "" is the module itself.
        module: the sub-module.
        inputs: shape of each tensor it received, without the batch axis.
        outputs: shape of each tensor it returned, without the batch axis.
        multiply_adds: multiplications with addition that the call needs for one observation, its sub-modules included.
    """

    path: str
    module: nn.Module
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    multiply_adds: int


@dataclass
class Trace:
    """All calls of a run, in the order in which they ended, and the shapes of the result."""

    records: list[Record] = field(default_factory=list)
    outputs: tuple[Shape, ...] = ()
    output_dtype: torch.dtype = torch.float32


def format_shape(shape: Sequence[int]) -> str:
    """Return a shape as people write it.

    >>> format_shape((20, 24, 24)), format_shape([10])
    ('(20, 24, 24)', '(10,)')
    """
    return str(tuple(int(n) for n in shape))


def format_batch(shape: Sequence[int]) -> str:
    """Return the shape of a batch of observations of `shape`.

    >>> format_batch((20, 24, 24)), format_batch(())
    ('(batch, 20, 24, 24)', '(batch,)')
    """
    return f"(batch, {', '.join(str(int(n)) for n in shape)})" if len(shape) else "(batch,)"


def normalize_shape(shape: int | Sequence[int]) -> Shape:
    """Return `shape` as a tuple of whole numbers; a single number is a shape of one axis.

    >>> normalize_shape(5), normalize_shape([3, 2])
    ((5,), (3, 2))
    """
    return tuple(int(n) for n in shape) if isinstance(shape, Iterable) else (int(shape),)


def tracing() -> bool:
    """Return True while a module is being run for its shapes alone."""
    return _TRACING.get()


@contextmanager
def real_tensors() -> Iterator[None]:
    """Create real tensors inside, although a trace is under way: a layer's parameters are made in here."""
    token = _SUSPENDED.set(True)
    try:
        yield
    finally:
        _SUSPENDED.reset(token)


class _OnMeta(TorchDispatchMode):
    """Runs every operation on the `meta` device, whatever its tensors' device, and counts multiply-adds."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        from torch.utils.flop_counter import flop_registry

        self.flops = 0
        self._flop_formulas = flop_registry
        self._twins: dict[int, tuple[Tensor, Tensor]] = {}

    def _twin(self, tensor: Tensor) -> Tensor:
        if tensor.is_meta:
            return tensor
        known = self._twins.get(id(tensor))
        if known is None:  # the original is kept beside its twin, so that its id is not given to another tensor
            known = self._twins[id(tensor)] = (tensor, torch.empty_like(tensor, device="meta"))
        return known[1]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _SUSPENDED.get():
            return func(*args, **kwargs)
        with real_tensors():
            args, kwargs = tree_map_only(Tensor, self._twin, (args, kwargs))
        if "device" in kwargs or any(a.name == "device" for a in func._schema.arguments):
            kwargs = {**kwargs, "device": torch.device("meta")}
        result = func(*args, **kwargs)
        formula = self._flop_formulas.get(func._overloadpacket)
        if formula is not None:
            self.flops += int(formula(*args, **kwargs, out_val=result))
        return result


class _Started(NamedTuple):
    """A call under way."""

    flops: int
    path: str
    module: nn.Module
    sizes: tuple[Shape, ...]


def _shapes_of(value: object, batch: int) -> tuple[Shape, ...]:
    return tuple(_observation(leaf.shape, batch) for leaf in tree_leaves(value) if isinstance(leaf, Tensor) and leaf.dim() > 0)


def _observation(shape: Sequence[int], batch: int) -> Shape:
    """Return `shape` without the batch axis: the first, but the second in a state (layers, batch, features) of an LSTM."""
    axis = 0 if batch not in shape else shape.index(batch)
    return (*shape[:axis], *shape[axis + 1 :])


class _Noted(NamedTuple):
    """How a module was."""

    module: nn.Module
    kind: type
    training: bool
    attributes: dict[str, Any]
    tables: list[tuple[Any, Any]]


class _Before:
    """How every module was, to be put back after the run: mode, attributes, tables of buffers, parameters and sub-modules."""

    def __init__(self, module: nn.Module) -> None:
        self._known: dict[int, _Noted] = {}
        self._unbuilt: set[int] = set()
        for sub in module.modules():
            self.add(sub, sub.training)

    def add(self, sub: nn.Module, training: bool) -> None:
        """Note how `sub` is, unless that is known, and that it is to be in the mode `training` afterwards."""
        if id(sub) in self._known:
            return
        self._note(sub, training)
        if _is_unbuilt(sub) and not _is_lazy(sub):
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


def _is_unbuilt(module: nn.Module) -> bool:
    return getattr(module, "built", True) is False or _is_lazy(module)


def _is_lazy(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.lazy.LazyModuleMixin) and module.has_uninitialized_params()


class _Recorder:
    """Notes every call below a module, by hooks on each of its sub-modules, those that a layer's build creates as well."""

    def __init__(self, records: list[Record], flops: Callable[[], int], batch: int, before: _Before) -> None:
        self._records, self._flops, self._batch, self._before = records, flops, batch, before
        self._hooked: set[int] = set()
        self.handles: list[RemovableHandle] = []
        self.started: list[_Started] = []

    def watch(self, module: nn.Module, path: str) -> None:
        """Register the hooks on `module`, which stands at `path`, and on all below it."""
        for name, sub in module.named_modules():
            if id(sub) not in self._hooked:
                self._hooked.add(id(sub))
                place = "/".join(filter(None, [path, name.replace(".", "/")]))
                self.handles += [
                    sub.register_forward_pre_hook(partial(self._enter, place), with_kwargs=True, prepend=True),
                    sub.register_forward_hook(partial(self._leave, place), with_kwargs=True),
                ]

    def _enter(self, path: str, sub: nn.Module, args: Any, kwargs: Any) -> None:
        sizes = _shapes_of((args, kwargs), self._batch)
        self.started.append(_Started(self._flops(), path, sub, sizes))
        if getattr(sub, "checks_shapes", False):  # by this mark and not by its name: torch's LSTM has a check_input too
            sub.check_input(*sizes)  # type: ignore[operator]  # the mark is that of a Layer, which has the method
        if _is_lazy(sub):  # torch's own hook would create its parameters on meta
            with real_tensors():
                sub.initialize_parameters(*args, **kwargs)  # type: ignore[operator]  # what makes a module lazy
        if self._before.built_now(sub):
            self.watch(sub, path)

    def _leave(self, path: str, sub: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        begun = self.started.pop()
        while begun.module is not sub:  # calls that ended in an exception which `sub` caught
            begun = self.started.pop()
        used = self._flops() - begun.flops
        if result is None:
            raise LayerError(
                complaint(
                    _where(path, sub),
                    expected="forward to return a tensor",
                    received="None",
                    fix="Add a return statement to its forward",
                )
            )
        self._records.append(
            Record(
                path, sub, _shapes_of((args, kwargs), self._batch), _shapes_of(result, self._batch), used // 2 // self._batch
            )
        )


@contextmanager
def _recording(module: nn.Module, records: list[Record], flops: Callable[[], int], batch: int) -> Iterator[None]:
    """Run `module` in inference mode inside, note every call below it in `records`, and put back what the run changed."""
    before = _Before(module)
    recorder = _Recorder(records, flops, batch, before)
    recorder.watch(module, "")
    module.eval()
    try:
        yield
    except LaminarError:
        raise
    except Exception as error:
        raise _failure(error, recorder.started) from error
    finally:
        before.put_back()
        for handle in recorder.handles:
            handle.remove()


def _failure(error: Exception, started: Sequence[_Started]) -> LayerError:
    """Return the error that names the innermost module that was running, and says what it said."""
    if not started:
        return LayerError(f"the network: forward failed: {_first_line(error)}.")
    _, path, module, sizes = started[-1]
    received = " and ".join(format_batch(s) for s in sizes) or "no tensor"
    return LayerError(
        complaint(
            _where(path, module),
            expected="an input that its forward can take",
            received=f"{received}, on which it raised {type(error).__name__}: {_first_line(error)}",
            fix="Check it against the output of the layer before it in model.summary()",
        )
    )


def _where(path: str, module: nn.Module) -> str:
    own = getattr(module, "label", None)  # a Layer knows its path in the whole network, of which this may be a part
    return own if isinstance(own, str) else f"{f'layer {path!r}' if path else 'the network'} ({type(module).__name__})"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")


def _on_meta(module: nn.Module, shapes: Sequence[Shape], dtype: torch.dtype) -> Trace:
    found = Trace()
    mode = _OnMeta()
    inputs = [torch.empty((_META_BATCH, *shape), dtype=dtype, device="meta") for shape in shapes]
    try:
        with _recording(module, found.records, lambda: mode.flops, _META_BATCH), torch.no_grad(), mode:
            result = module(*inputs)
    finally:
        torch.clear_autocast_cache()  # under autocast it now holds weights cast on meta, which the next call would be given
    return _finish(found, result, _META_BATCH)


def _on_device(module: nn.Module, shapes: Sequence[Shape], dtype: torch.dtype) -> Trace:
    from torch.utils.flop_counter import FlopCounterMode

    found = Trace()
    own = next((t for t in [*module.parameters(), *module.buffers()] if not t.is_meta), None)
    device = own.device if own is not None else torch.device("cpu")
    inputs = [torch.zeros((1, *shape), dtype=dtype, device=device) for shape in shapes]
    counter = FlopCounterMode(display=False)
    drawn = [] if device.type == "cpu" else [device]
    recording = _recording(module, found.records, counter.get_total_flops, 1)
    # what initial values have drawn stays drawn: the next network would start from the same ones
    building = any(_is_unbuilt(m) for m in module.modules())
    kept: AbstractContextManager[None] = nullcontext() if building else torch.random.fork_rng(drawn, device_type=device.type)
    with kept, _values_kept(module), _plain_kernels(), recording, torch.no_grad(), counter:
        result = module(*inputs)
    return _finish(found, result, 1)


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Run without the fused kernels of recurrent networks, in which nothing can be counted."""
    backends: tuple[Any, Any] = (torch.backends.mkldnn, torch.backends.cudnn)
    enabled = [backend.enabled for backend in backends]
    try:
        for backend in backends:
            backend.enabled = False
        yield
    finally:
        for backend, value in zip(backends, enabled, strict=True):
            backend.enabled = value


@contextmanager
def _values_kept(module: nn.Module) -> Iterator[None]:
    """Put back what the run writes into buffers and other tensors that are no parameters."""
    held = [t for m in module.modules() for t in [*m._buffers.values(), *m.__dict__.values()] if isinstance(t, Tensor)]
    written = [(t, t.detach().clone()) for t in held if not (t.is_meta or nn.parameter.is_lazy(t))]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in written:
                tensor.copy_(value)


def _own_dtype(module: nn.Module) -> torch.dtype:
    """Return the dtype of the module's first parameter that is a float, torch's default where it has none."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype())


def _finish(found: Trace, result: object, batch: int) -> Trace:
    leaves = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
    found.outputs = _shapes_of(result, batch)
    if leaves:
        found.output_dtype = leaves[0].dtype
    return found


def trace(module: nn.Module, *shapes: Sequence[int], dtype: torch.dtype | None = None) -> Trace:
    """Run `module` for its shapes; layers without parameters create them on the way.

    Args:
        module: any `torch.nn.Module`.
        *shapes: the shape of one observation of each input, without the batch axis.
        dtype: the inputs' dtype; that of the parameters where None, or torch's default where there are none.

    Returns:
        The calls and the output shapes. The module's values, buffers, mode and random numbers are as they were.

    Raises:
        ShapeError: what a layer says of a shape that it cannot take.
        LayerError: if the module can run neither on `meta` nor on its device; it names the sub-module that failed.

    >>> found = trace(nn.Sequential(nn.Conv2d(1, 20, 5), nn.Flatten()), (1, 28, 28))
    >>> [(r.path, r.outputs, r.multiply_adds) for r in found.records][:2]
    [('0', ((20, 24, 24),), 288000), ('1', ((11520,),), 0)]
    """
    plain = [normalize_shape(shape) for shape in shapes]
    dtype = dtype or _own_dtype(module)
    token = _TRACING.set(True)
    try:
        try:
            return _on_meta(module, plain, dtype)
        except LaminarError as error:
            if error.__cause__ is None:  # a layer's own word; what torch said may only mean that values were missing
                raise
            return _on_device(module, plain, dtype)
    finally:
        _TRACING.reset(token)


def output_shape(module: nn.Module, *shapes: Sequence[int], dtype: torch.dtype | None = None) -> Shape | tuple[Shape, ...]:
    """Return the shape of one observation of `module`'s output, or a tuple of shapes where it has several outputs.

    Args and Raises are those of `trace`.

    >>> output_shape(nn.Sequential(nn.Conv2d(3, 2, 3, stride=2), nn.ReLU()), (3, 7, 7))
    (2, 3, 3)
    """
    outputs = trace(module, *shapes, dtype=dtype).outputs
    return outputs[0] if len(outputs) == 1 else outputs
