"""Shapes of any module, found by running it where nothing is computed.

`trace` runs a module once on the `meta` device, where tensors have a shape and a dtype and no values, and notes what every
sub-module received and returned. The module's own tensors are mapped to `meta` on the way, so they may stay where they are, and
layers that have no parameters yet may create them during the run. A module that cannot run without values (it reads one, or
branches on one) is run with one observation of zeros on the device it lives on.
"""

from __future__ import annotations

import copy
import itertools
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

from laminar.compiler import without_compiler
from laminar.errors import LaminarError, LayerError, complaint
from laminar.snapshots import Before, is_lazy, is_unbuilt, lazy_twins, values_kept

__all__ = [
    "Record",
    "Shape",
    "Trace",
    "format_batch",
    "format_shape",
    "imagined",
    "normalize_shape",
    "on_meta",
    "output_shape",
    "real_tensors",
    "run_for_shapes",
    "takes_whole_numbers",
    "trace",
    "tracing",
]

Shape: TypeAlias = tuple[int, ...]
"""The shape of one observation, channels first, without the batch axis: `(C, H, W)`, `(features,)`."""

_SUSPENDED: ContextVar[bool] = ContextVar("laminar_real_tensors", default=False)
_TRACING: ContextVar[bool] = ContextVar("laminar_tracing", default=False)
_IMAGINING: ContextVar[bool] = ContextVar("laminar_imagining", default=False)
_LEAST_BATCH = 2  # two, so that a squeeze() of the batch axis does not go unseen


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
    if _IMAGINING.get():  # its parameters are to have shapes and no values
        yield
        return
    with _set(_SUSPENDED):
        yield


@contextmanager
def _set(flag: ContextVar[bool]) -> Iterator[None]:
    token = flag.set(True)
    try:
        yield
    finally:
        flag.reset(token)


class _OnMeta(TorchDispatchMode):
    """Runs every operation on the `meta` device, whatever its tensors' device, and counts multiply-adds."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        from torch.utils.flop_counter import flop_registry

        self.flops = 0
        self._flop_formulas = flop_registry
        self._twins: dict[int, tuple[Tensor, Tensor]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: to mark the method below as one to leave alone, torch would load its compiler, a second and a half."""
        return False

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
        with _set(_SUSPENDED):
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


def _shapes_of(value: object, batch: int, module: nn.Module | None = None) -> tuple[Shape, ...]:
    leaves = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor) and leaf.dim() > 0]
    if getattr(module, "checks_shapes", False):  # a Layer has the batch axis first, whatever its length: steps may be folded in
        return tuple(tuple(leaf.shape[1:]) for leaf in leaves)
    return tuple(_observation(leaf.shape, batch) for leaf in leaves)


def _observation(shape: Sequence[int], batch: int) -> Shape:
    """Return `shape` without the batch axis: the first, but the second in a state (layers, batch, features) of an LSTM."""
    axis = 0 if batch not in shape else shape.index(batch)
    return (*shape[:axis], *shape[axis + 1 :])


def takes_whole_numbers(module: nn.Module) -> bool:
    """Return whether `module` looks its input up in a table, so that whole numbers are to stay whole.

    >>> takes_whole_numbers(nn.Embedding(10, 3)), takes_whole_numbers(nn.Linear(10, 3))
    (True, False)
    """
    return bool(getattr(module, "takes_whole_numbers", isinstance(module, nn.Embedding | nn.EmbeddingBag)))


def _with_whole_numbers(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with whole numbers first: who asks for shapes alone need not say what kind of numbers go in."""
    first, *others = args or (None,)
    whole = isinstance(first, Tensor) and first.is_floating_point()
    return ((first.long(), *others), kwargs) if whole else (args, kwargs)


class _Recorder:
    """Notes every call below a module, by hooks on each of its sub-modules, those that a layer's build creates as well."""

    def __init__(self, records: list[Record], flops: Callable[[], int], batch: int, before: Before) -> None:
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

    def _enter(self, path: str, sub: nn.Module, args: Any, kwargs: Any) -> Any:
        sizes = _shapes_of((args, kwargs), self._batch, sub)
        self.started.append(_Started(self._flops(), path, sub, sizes))
        if getattr(sub, "checks_shapes", False):  # by this mark and not by its name: torch's LSTM has a check_input too
            sub.check_input(*sizes)  # type: ignore[operator]  # the mark is that of a Layer, which has the method
        if is_lazy(sub):  # torch's own hook would create its parameters on meta
            with _set(_SUSPENDED):
                sub.initialize_parameters(*args, **kwargs)  # type: ignore[operator]  # what makes a module lazy
        if self._before.built_now(sub):
            self.watch(sub, path)
        return _with_whole_numbers(args, kwargs) if takes_whole_numbers(sub) else None

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
                path,
                sub,
                _shapes_of((args, kwargs), self._batch, sub),
                _shapes_of(result, self._batch, sub),
                used // 2 // self._batch,
            )
        )


@contextmanager
def _recording(module: nn.Module, records: list[Record], flops: Callable[[], int], batch: int) -> Iterator[None]:
    """Run `module` in inference mode inside, note every call below it in `records`, and put back what the run changed."""
    before = Before(module)
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


def on_meta() -> TorchDispatchMode:
    """Return a mode in which every operation gives a shape and a dtype and no values, whatever its tensors' device."""
    return _OnMeta()


def _on_meta(module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any], batch: int) -> tuple[Trace, Any]:
    found = Trace()
    mode = _OnMeta()
    try:
        with _recording(module, found.records, lambda: mode.flops, batch), torch.no_grad(), mode:
            result = module(*args, **kwargs)
    finally:
        torch.clear_autocast_cache()  # under autocast it now holds weights cast on meta, which the next call would be given
    return _finish(found, result, batch), result


def _on_device(module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any], batch: int) -> tuple[Trace, Any]:
    from torch.utils.flop_counter import FlopCounterMode

    found = Trace()
    own = next((t for t in [*module.parameters(), *module.buffers()] if not t.is_meta), None)
    device = own.device if own is not None else torch.device("cpu")

    def zeros(t: Tensor) -> Tensor:
        return torch.zeros([1 if n == batch else n for n in t.shape], dtype=t.dtype, device=device) if t.is_meta else t

    args, kwargs = tree_map_only(Tensor, zeros, (tuple(args), kwargs))
    counter = FlopCounterMode(display=False)
    drawn = [] if device.type == "cpu" else [device]
    recording = _recording(module, found.records, counter.get_total_flops, 1)
    # what initial values have drawn stays drawn: the next network would start from the same ones
    building = any(is_unbuilt(m) for m in module.modules())
    kept: AbstractContextManager[None] = nullcontext() if building else torch.random.fork_rng(drawn, device_type=device.type)
    with kept, values_kept(module), _plain_kernels(), recording, torch.no_grad(), counter:
        result = module(*args, **kwargs)

    def batched(t: Tensor) -> Tensor:
        return torch.empty((batch, *t.shape[1:]) if t.dim() else (), dtype=t.dtype, device="meta")

    return _finish(found, result, 1), tree_map_only(Tensor, batched, result)


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


def _own_dtype(module: nn.Module) -> torch.dtype:
    """Return the dtype of the module's first parameter that is a float, torch's default where it has none."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype())


def _finish(found: Trace, result: object, batch: int) -> Trace:
    leaves = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
    found.outputs = _shapes_of(result, batch)
    if leaves:
        found.output_dtype = leaves[0].dtype
    return found


def trace(module: nn.Module, *shapes: Sequence[int], dtype: torch.dtype | Sequence[torch.dtype | None] | None = None) -> Trace:
    """Run `module` for its shapes; layers without parameters create them on the way.

    Args:
        module: any `torch.nn.Module`.
        *shapes: the shape of one observation of each input, without the batch axis.
        dtype: the inputs' dtype, or one for each; that of the parameters where None, or torch's default where there are none.

    Returns:
        The calls and the output shapes. The module's values, buffers, mode and random numbers are as they were.

    Raises:
        ShapeError: what a layer says of a shape that it cannot take.
        LayerError: if the module can run neither on `meta` nor on its device; it names the sub-module that failed.

    >>> found = trace(nn.Sequential(nn.Conv2d(1, 20, 5), nn.Flatten()), (1, 28, 28))
    >>> [(r.path, r.outputs, r.multiply_adds) for r in found.records][:2]
    [('0', ((20, 24, 24),), 288000), ('1', ((11520,),), 0)]
    """
    dtypes = [dtype] * len(shapes) if dtype is None or isinstance(dtype, torch.dtype) else dtype
    own = _own_dtype(module)
    plain = [normalize_shape(shape) for shape in shapes]
    lengths = {n for shape in plain for n in shape}
    batch = next(n for n in itertools.count(_LEAST_BATCH) if n not in lengths)  # so that it can be told from other axes
    inputs = [torch.empty((batch, *shape), dtype=kind or own, device="meta") for shape, kind in zip(plain, dtypes, strict=True)]
    return run_for_shapes(module, inputs, {}, batch)[0]


def run_for_shapes(module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any], batch: int) -> tuple[Trace, Any]:
    """Return what `trace` returns, and the module's result as tensors on `meta`, for a call with arguments of any kind.

    Args:
        module: any `torch.nn.Module`.
        args: of the call; its tensors are on `meta`, or real.
        kwargs: of the call, likewise.
        batch: the length of the batch axis in them, which no other axis has.

    Raises:
        ShapeError, LayerError: as `trace`.

    >>> x = torch.empty(7, 4, device="meta")
    >>> run_for_shapes(nn.Linear(4, 3), [x], {}, 7)[1].shape
    torch.Size([7, 3])
    """
    with _set(_TRACING), without_compiler():
        try:
            return _on_meta(module, args, kwargs, batch)
        except LaminarError as error:
            if (
                error.__cause__ is None or _IMAGINING.get()
            ):  # a layer's own word; torch's may only mean that values were missing
                raise
            return _on_device(module, args, kwargs, batch)


@contextmanager
def imagined(module: nn.Module) -> Iterator[nn.Module]:
    """Give a copy of `module` whose tensors are on `meta`, and in which layers that are built inside make theirs there too.

    >>> with imagined(nn.Linear(4, 3)) as copied:
    ...     copied.weight.is_meta
    True
    """
    held = [*module.parameters(), *module.buffers()]
    memo = lazy_twins(module) | {id(t): _imagine(t) for t in held if not nn.parameter.is_lazy(t)}
    with _set(_IMAGINING):
        yield copy.deepcopy(module, memo)


def _imagine(tensor: Tensor) -> Tensor:
    twin = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(twin, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else nn.Buffer(twin)


def output_shape(
    module: nn.Module, *shapes: Sequence[int], dtype: torch.dtype | Sequence[torch.dtype | None] | None = None
) -> Shape | tuple[Shape, ...]:
    """Return the shape of one observation of `module`'s output, or a tuple of shapes where it has several outputs.

    Args and Raises are those of `trace`.

    >>> output_shape(nn.Sequential(nn.Conv2d(3, 2, 3, stride=2), nn.ReLU()), (3, 7, 7))
    (2, 3, 3)
    """
    outputs = trace(module, *shapes, dtype=dtype).outputs
    return outputs[0] if len(outputs) == 1 else outputs
