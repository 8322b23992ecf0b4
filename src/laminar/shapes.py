"""Shapes of any module, found by running it where nothing is computed.

`trace` runs a module once on the `meta` device, where tensors have a shape and a dtype and no values, and notes what every
sub-module received and returned. The module's own tensors are mapped to `meta` on the way, so they may stay where they are, and
layers that have no parameters yet may create them during the run. A module that cannot run without values (it reads one, or
branches on one) is run with one observation of zeros on the device it lives on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

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
    return (int(shape),) if isinstance(shape, int) else tuple(int(n) for n in shape)


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


def _shapes_of(value: object) -> tuple[Shape, ...]:
    return tuple(tuple(leaf.shape[1:]) for leaf in tree_leaves(value) if isinstance(leaf, Tensor) and leaf.dim() > 0)


@contextmanager
def _recording(module: nn.Module, records: list[Record], flops: Callable[[], int], batch: int) -> Iterator[None]:
    """Note every call below `module` in `records`."""
    handles, started = [], list[tuple[int, str, nn.Module, tuple[Shape, ...]]]()

    def hooks_for(path: str) -> tuple[Callable[..., None], Callable[..., None]]:
        def before(sub: nn.Module, args: Any, kwargs: Any) -> None:
            sizes = _shapes_of((args, kwargs))
            started.append((flops(), path, sub, sizes))
            check = getattr(sub, "check_input", None)
            if callable(check):
                check(*sizes)

        def after(sub: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
            used = flops() - started.pop()[0]
            if result is None:
                raise LayerError(
                    f"layer {path!r} ({type(sub).__name__}): expected forward to return a tensor, received None. "
                    "Add a return statement to its forward."
                )
            records.append(Record(path, sub, _shapes_of((args, kwargs)), _shapes_of(result), used // 2 // batch))

        return before, after

    for name, sub in module.named_modules():
        before, after = hooks_for(name.replace(".", "/"))
        handles.append(sub.register_forward_pre_hook(before, with_kwargs=True, prepend=True))
        handles.append(sub.register_forward_hook(after, with_kwargs=True))
    try:
        yield
    except LaminarError:
        raise
    except Exception as error:
        raise _failure(error, started) from error
    finally:
        for handle in handles:
            handle.remove()


def _failure(error: Exception, started: Sequence[tuple[int, str, nn.Module, tuple[Shape, ...]]]) -> LayerError:
    """Return the error that names the innermost module that was running, and says what it said."""
    if not started:
        return LayerError(f"the network: forward failed: {_first_line(error)}.")
    _, path, module, sizes = started[-1]
    where = getattr(module, "label", None) or f"{f'layer {path!r}' if path else 'the network'} ({type(module).__name__})"
    received = " and ".join(format_batch(s) for s in sizes) or "no tensor"
    return LayerError(
        complaint(
            where,
            expected="an input that its forward can take",
            received=f"{received}, on which it raised {type(error).__name__}: {_first_line(error)}",
            fix="Check it against the output of the layer before it in model.summary()",
        )
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")


@contextmanager
def _unchanged(module: nn.Module) -> Iterator[None]:
    """Run in inference mode and put back every attribute and buffer that the run replaced or wrote to."""
    modules = list(module.modules())
    before = [(m, m.training, dict(m.__dict__), dict(m._buffers)) for m in modules]
    unbuilt = {id(m) for m in modules if getattr(m, "built", True) is False or _is_lazy(m)}
    module.eval()
    try:
        yield
    finally:
        for m, training, attributes, buffers in before:
            if id(m) in unbuilt:  # what its build made is to stay
                _drop_meta(m, attributes)
            else:
                m.__dict__.clear()
                m.__dict__.update(attributes)
                m._buffers.clear()
                m._buffers.update(buffers)
            m.training = training


def _is_lazy(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.lazy.LazyModuleMixin) and module.has_uninitialized_params()


def _drop_meta(module: nn.Module, attributes: dict[str, Any]) -> None:
    for name, value in list(module.__dict__.items()):
        if isinstance(value, Tensor) and value.is_meta:
            if name in attributes:
                module.__dict__[name] = attributes[name]
            else:
                del module.__dict__[name]


def _on_meta(module: nn.Module, shapes: Sequence[Shape], dtype: torch.dtype) -> Trace:
    found = Trace()
    mode = _OnMeta()
    inputs = [torch.empty((_META_BATCH, *shape), dtype=dtype, device="meta") for shape in shapes]
    with _unchanged(module), _recording(module, found.records, lambda: mode.flops, _META_BATCH), torch.no_grad(), mode:
        result = module(*inputs)
    return _finish(found, result)


def _on_device(module: nn.Module, shapes: Sequence[Shape], dtype: torch.dtype) -> Trace:
    from torch.utils.flop_counter import FlopCounterMode

    found = Trace()
    own = next((t for t in [*module.parameters(), *module.buffers()] if not t.is_meta), None)
    device = own.device if own is not None else torch.device("cpu")
    written = [(b, b.clone()) for b in module.buffers() if not b.is_meta]
    inputs = [torch.zeros((1, *shape), dtype=dtype, device=device) for shape in shapes]
    counter = FlopCounterMode(display=False)
    rng = torch.get_rng_state()
    try:
        with _unchanged(module), _recording(module, found.records, counter.get_total_flops, 1), torch.no_grad(), counter:
            result = module(*inputs)
    finally:
        torch.set_rng_state(rng)
        with torch.no_grad():
            for buffer, value in written:
                buffer.copy_(value)
    return _finish(found, result)


def _finish(found: Trace, result: object) -> Trace:
    leaves = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
    found.outputs = _shapes_of(result)
    if leaves:
        found.output_dtype = leaves[0].dtype
    return found


def trace(module: nn.Module, *shapes: Sequence[int], dtype: torch.dtype | None = None) -> Trace:
    """Run `module` for its shapes; layers without parameters create them on the way.

    Args:
        module: any `torch.nn.Module`.
        *shapes: the shape of one observation of each input, without the batch axis.
        dtype: the inputs' dtype; torch's default float where None.

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
    token = _TRACING.set(True)
    try:
        try:
            return _on_meta(module, plain, dtype or torch.get_default_dtype())
        except LaminarError as error:
            if error.__cause__ is None:  # a layer's own word; what torch said may only mean that values were missing
                raise
            return _on_device(module, plain, dtype or torch.get_default_dtype())
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
