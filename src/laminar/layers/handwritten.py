"""A layer's own `backward` in place of autograd.

The derivative runs as one `torch.autograd.Function` for every layer class. What a layer reads from itself (`self.alpha`) must
be the tensor that the surrounding transformation differentiates or batches, so under `torch.func` the layer's methods see a
stand-in for the layer, whose learnables are the function's own arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from laminar.errors import GradientError, LayerError

if TYPE_CHECKING:
    from laminar.layers.base import Layer

__all__ = ["run_with_backward"]


@dataclass
class _Call:
    """One call of one layer. The counts are filled in by `forward`, before `setup_context` reads them."""

    layer: Layer
    inputs: int
    names: tuple[str, ...]
    outputs: int = 0
    single_output: bool = True
    memory: TreeSpec | None = None
    constants: dict[int, Any] | None = None


def _stand_in(layer: Layer, names: Sequence[str], learnables: Sequence[Tensor]) -> Layer:
    """Return a layer that shares everything with `layer` but its learnables, which are the given tensors."""
    twin: Layer = object.__new__(type(layer))
    twin.__dict__.update(layer.__dict__)
    twin.__dict__["_parameters"] = {**layer._parameters, **dict(zip(names, learnables, strict=True))}
    return twin


def _for_forward(call: _Call, learnables: Sequence[Tensor]) -> Layer:
    layer = call.layer
    # the layer itself where it can serve: what its forward assigns to attributes then stays
    if torch.compiler.is_compiling() or all(layer._parameters[n] is t for n, t in zip(call.names, learnables, strict=True)):
        return layer
    return _stand_in(layer, call.names, learnables)


def _for_backward(call: _Call, learnables: Sequence[Tensor], needed: Sequence[bool]) -> Layer:
    if torch.compiler.is_compiling():  # the tracer lifts the layer's own parameters, and allows no new object here
        return call.layer
    layer = _stand_in(call.layer, call.names, learnables)
    layer.__dict__["_asked"] = dict(zip(call.names, needed, strict=True))
    return layer


def _gather(layer: Layer, returned: Any, call: _Call) -> tuple[Any, ...]:
    """Split what `backward` returned into the gradients of the inputs and of the learnables, in the function's order."""
    first, rest = (returned, ()) if isinstance(returned, Tensor) else (returned[0], tuple(returned[1:]))
    inputs = tuple(first) if isinstance(first, (tuple, list)) else (first,)
    if len(inputs) != call.inputs:
        raise GradientError(
            f"{layer.label}: expected backward to return {_count(call.inputs, 'input gradient')} first, "
            f"received {len(inputs)}. Return dx for one input, or a tuple with one dx for each input."
        )
    return inputs, rest


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def _by_name(layer: Layer, names: Sequence[str], rest: Sequence[Any], needed: Sequence[bool]) -> dict[str, Tensor | None]:
    """Return name -> gradient for every learnable; a frozen learnable's may be missing."""
    trainable = [n for n, need in zip(names, needed, strict=True) if need]
    if len(rest) == 1 and isinstance(rest[0], Mapping):
        given = dict(rest[0])
        unknown = [n for n in given if n not in names]
        missing = [n for n in trainable if given.get(n) is None]
        if unknown or missing:
            raise GradientError(
                f"{layer.label}: expected backward to return gradients named {_listed(names)}, "
                f"received {_listed(given)}. Name each gradient after its learnable."
            )
        return given
    if len(rest) == len(names):
        given = dict(zip(names, rest, strict=True))
    elif len(rest) == len(trainable):
        given = dict(zip(trainable, rest, strict=True))
    else:
        raise GradientError(
            f"{layer.label}: expected backward to return dx and {_count(len(names), 'gradient')} ({_listed(names)}), "
            f"received dx and {len(rest)}. Return one gradient for each learnable, in the order declared."
        )
    for name in trainable:
        if given[name] is None:
            raise GradientError(
                f"{layer.label}: expected backward to return a gradient for {name!r}, received None. "
                f"Compute it, or freeze the learnable with layer.freeze({name!r})."
            )
    return given


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(n) for n in names) or "nothing"


def _checked(layer: Layer, what: str, gradient: Any, like: Tensor) -> Tensor:
    if not isinstance(gradient, Tensor):
        raise GradientError(
            f"{layer.label}: expected the gradient of {what} to be a tensor of shape {tuple(like.shape)}, "
            f"received {type(gradient).__name__}. Return a tensor from backward."
        )
    if gradient.shape != like.shape:
        raise GradientError(
            f"{layer.label}: expected the gradient of {what} to have shape {tuple(like.shape)}, "
            f"received {tuple(gradient.shape)}. Sum over the axes along which it was broadcast."
        )
    return gradient if gradient.dtype == like.dtype else gradient.to(like.dtype)


class _HandWritten(torch.autograd.Function):
    """z = layer.forward(x) with layer.backward as its derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(call: _Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        xs, learnables = tensors[: call.inputs], tensors[call.inputs :]
        layer = _for_forward(call, learnables)
        returned = type(layer).forward(layer, *xs)
        memory = None
        if layer.has_memory:
            returned, memory = layer._split_memory(returned)
        call.single_output = isinstance(returned, Tensor)
        zs = (returned,) if call.single_output else tuple(returned)
        call.outputs = len(zs)
        leaves, call.memory = tree_flatten(memory)
        call.constants = {i: leaf for i, leaf in enumerate(leaves) if not isinstance(leaf, Tensor)}
        # an input handed on as it is would be marked as changed in place by autograd: a view of it is not
        zs = tuple(z.view_as(z) if any(z is x for x in xs) else z for z in zs)
        return (*zs, *(leaf for leaf in leaves if isinstance(leaf, Tensor)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        call, *tensors = inputs
        ctx.call = call
        ctx.autocast = _autocast_state(tensors)
        ctx.save_for_backward(*tensors, *output)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        call: _Call = ctx.call
        n = call.inputs + len(call.names)
        saved = ctx.saved_tensors  # read once: torch's checkpoint gives them out once
        tensors, outputs = saved[:n], saved[n:]
        needed = ctx.needs_input_grad[1:]
        layer = _for_backward(call, tensors[call.inputs :], needed[call.inputs :])
        xs, zs, kept = tensors[: call.inputs], outputs[: call.outputs], outputs[call.outputs :]
        # compiled code hands over zeros here, and refuses second derivatives by itself
        if not torch.compiler.is_compiling() and any(g is not None for g in gradients[call.outputs :]):
            raise GradientError(
                f"{layer.label}: expected a first derivative, received a request for the second. "
                "The memory of a hand-written backward is a constant to it: return no memory, or remove backward."
            )
        dz = tuple(torch.zeros_like(z) if g is None else g for g, z in zip(gradients, zs, strict=False))
        arguments = [
            _one_or_all(xs, call.inputs == 1),
            _one_or_all(zs, call.single_output),
            _one_or_all(dz, call.single_output),
        ]
        if layer.has_memory:
            arguments.append(_rebuild(call, kept))
        with _autocast_again(ctx.autocast):
            returned = type(layer).backward(layer, *arguments)
        dxs, rest = _gather(layer, returned, call)
        by_name = _by_name(layer, call.names, rest, needed[call.inputs :])
        result: list[Tensor | None] = []
        for i, (dx, x) in enumerate(zip(dxs, xs, strict=True)):
            result.append(_checked(layer, "the input" if call.inputs == 1 else f"input {i}", dx, x) if needed[i] else None)
        for i, name in enumerate(call.names):
            wanted = needed[call.inputs + i]
            result.append(_checked(layer, repr(name), by_name[name], tensors[call.inputs + i]) if wanted else None)
        return (None, *result)


def _one_or_all(values: tuple[Tensor, ...], single: bool) -> Any:
    return values[0] if single else values


def _rebuild(call: _Call, kept: Sequence[Tensor]) -> Any:
    assert call.memory is not None
    assert call.constants is not None
    tensors = iter(kept)
    constants = call.constants
    leaves = [constants[i] if i in constants else next(tensors) for i in range(call.memory.num_leaves)]
    return tree_unflatten(leaves, call.memory)


def _autocast_state(tensors: Sequence[Tensor]) -> tuple[str, torch.dtype] | None:
    device = tensors[0].device.type
    if device == "meta" or not torch.is_autocast_enabled(device):
        return None
    return device, torch.get_autocast_dtype(device)


def _autocast_again(state: tuple[str, torch.dtype] | None) -> Any:
    """Return a context in which backward computes in the dtypes that forward computed in."""
    if state is None:
        return torch.autocast("cpu", enabled=False)
    return torch.autocast(state[0], dtype=state[1])


def run_with_backward(layer: Layer, inputs: tuple[Any, ...]) -> Any:
    """Return `layer.forward(*inputs)` without its memory, differentiated by `layer.backward`.

    Args:
        layer: a built layer that defines `backward`.
        inputs: its inputs, tensors all.

    Raises:
        LayerError: if an input is no tensor, or the layer holds sub-layers whose parameters its backward could not return.
        GradientError: during the backward pass, if `backward` returns a wrong number, name or shape of gradients.
    """
    for value in inputs:
        if not isinstance(value, Tensor):
            raise LayerError(
                f"{layer.label}: expected tensors as inputs of a layer with a hand-written backward, "
                f"received {type(value).__name__}. Keep it as an attribute of the layer instead."
            )
    for name, child in layer.named_children():
        if next(child.parameters(), None) is not None:
            raise LayerError(
                f"{layer.label}: expected learnables of its own only, because backward returns their gradients, "
                f"received the sub-layer {name!r} with parameters. Declare them with self.learnable."
            )
    names = tuple(n for n, p in layer._parameters.items() if p is not None)
    learnables = [layer._parameters[n] for n in names]
    call = _Call(layer, len(inputs), names)
    outputs = _HandWritten.apply(call, *inputs, *learnables)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return outputs[0] if call.single_output else tuple(outputs[: call.outputs])
