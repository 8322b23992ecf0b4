"""Every tensor that a layer learns is where the optimizer looks for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from laminar.check.base import Check, register
from laminar.check.graph import called, graph_leaves
from laminar.check.outcome import Finding, failed, not_applicable, passed
from laminar.check.plain import Kept, kept
from laminar.check.running import without_backward
from laminar.check.shared import in_common
from laminar.check.subject import Subject
from laminar.check.words import listed, named
from laminar.layers.base import Layer
from laminar.shapes import format_shape

__all__ = ["LearnablesRegistered"]

Tensors = dict[int, Tensor]
"""By identity, because two tensors are equal where their numbers are."""


@dataclass(frozen=True)
class _Stray:
    """A learnable that `parameters()` does not list: what it is, why it is not found, and what to do."""

    text: str
    cause: str
    fix: str


@register
class LearnablesRegistered(Check):
    """Every tensor that the layer learns is in `parameters()`: none in a list, a dict, a plain attribute or outside."""

    name = "learnables-registered"
    group = "contract"
    expects = "a layer that runs in training mode"

    def run(self, subject: Subject) -> Finding:
        module = subject.sibling()  # in a copy, a function kept in it may still read the parameters of the first
        subject.build(module)
        known = _by_identity(module.parameters())
        reached = [_reached(module, subject.data()) for _ in range(2)]
        known |= _by_identity(module.parameters())  # what a call creates is another check's question
        registered = {*known, *map(id, module.buffers())}
        in_both = {key: t for key, t in reached[0].items() if key in reached[1] and key not in registered}
        strays = [*_in_attributes(module, known, in_both), *_in_buffers(module)]
        strays += _outside(module, in_both, subject.is_layer)
        if strays:
            return failed(
                expected="every learnable in parameters(), where the optimizer finds it",
                found=f"not in parameters(): {listed([s.text for s in strays])}",
                cause=strays[0].cause,
                fix=strays[0].fix,
            )
        if not known:
            return not_applicable("it has no learnables")
        count = len(list(module.parameters()))
        numbers = sum(p.numel() for p in module.parameters())
        return passed(f"learnables: {count}, with {numbers} number{'s' * (numbers != 1)}, all in parameters()")


def _by_identity(tensors: Iterator[nn.Parameter]) -> Tensors:
    return {id(t): t for t in tensors}


def _reached(module: nn.Module, xs: Sequence[Tensor]) -> Tensors:
    """Return the tensors that one call learned from; of a layer with a hand-written backward, those that its forward read."""
    found = graph_leaves(called(module, xs))
    plain = without_backward(module)
    if plain is not module:
        with contextlib.suppress(RuntimeError):  # a forward that autograd cannot follow
            found += graph_leaves(called(plain, xs))
    return {id(t): t for t in found}


def _in_attributes(module: nn.Module, known: Tensors, in_both: Tensors) -> Iterator[_Stray]:
    """Yield the learnables in plain attributes, and take them out of `in_both`."""
    reported: set[int] = set()
    values: dict[str, object] = {}
    for held in kept(module):
        values[held.path] = held.value
        own = _learnables(held.value, known)
        if not own or reported.issuperset(map(id, own)):
            continue
        reported.update(map(id, own))
        for t in own:
            in_both.pop(id(t), None)
        yield _stray(held, own, values, isinstance(module, Layer))


def _learnables(value: object, known: Tensors) -> list[Tensor]:
    if isinstance(value, nn.Module):
        return [p for p in value.parameters() if id(p) not in known]
    return [value] if isinstance(value, Tensor) and _learns(value) and id(value) not in known else []


def _learns(tensor: Tensor) -> bool:
    return isinstance(tensor, nn.Parameter) or (tensor.requires_grad and tensor.is_leaf)


def _stray(held: Kept, own: Sequence[Tensor], values: Mapping[str, object], is_layer: bool) -> _Stray:
    path = held.path.removeprefix("self.")
    module = isinstance(held.value, nn.Module)
    kind = "Module" if module else "Parameter"
    text = named(path, own[0])
    if module:
        text = f"{path!r}, a module {type(held.value).__name__} with {len(own)} learnable{'s' * (len(own) != 1)}"
    place = max((p for p in values if held.path.startswith((f"{p}.", f"{p}["))), key=len, default="")
    around = values.get(place)
    if isinstance(around, dict | list | tuple):
        container = "dict" if isinstance(around, dict) else "list"
        keeper = f"nn.{kind}{container.capitalize()}"
        cause = f"torch does not look into {place}, which is a plain {type(around).__name__}"
        outer = min((p for p in values if place.startswith(f"{p}[")), key=len, default="")
        if not outer:
            return _Stray(text, cause, f"Wrap it: {place} = {keeper}(...)")
        wider = f"nn.Module{'Dict' if isinstance(values[outer], dict) else 'List'}"  # what it holds is then a module
        return _Stray(text, cause, f"Wrap both: {outer} = {wider}(...), and in it {place} = {keeper}(...)")
    if place and not isinstance(around, nn.Module):
        cause = f"torch does not look into {place}, which is no nn.Module"
        return _Stray(text, cause, f"Derive {type(around).__name__} from nn.Module")
    if module:
        return _Stray(text, "", f"Assign it to an attribute of its own, {held.path} = ..., which registers it")
    value = f"self.learnable({format_shape(own[0].shape)})" if is_layer else "nn.Parameter(...)"
    return _Stray(text, "", f"Assign a parameter: {held.path} = {value}")


def _in_buffers(module: nn.Module) -> Iterator[_Stray]:
    for name, buffer in module.named_buffers():
        if _learns(buffer):
            fix = f"Declare it as nn.Parameter, or give it no gradient: self.{name}.requires_grad_(False)"
            yield _Stray(f"the buffer {named(name, buffer)}, which asks for a gradient", "", fix)


def _outside(module: nn.Module, in_both: Tensors, is_layer: bool) -> Iterator[_Stray]:
    """Yield what both calls learned from and what is in no attribute, with the place of it where it is known."""
    computed = {id(leaf): k for k in kept(module) for leaf in _behind(k.value)}
    places = in_common(module) if in_both else {}
    for key, tensor in in_both.items():
        shape = format_shape(tensor.shape)
        if key in computed:
            path = computed[key].path
            cause = f"{path} is a result, computed once; the parameter behind it is kept nowhere"
            fix = f"Keep the parameter itself in an attribute, and compute {path} from it in forward"
            yield _Stray(f"a parameter {shape} behind {path.removeprefix('self.')!r}", cause, fix)
            continue
        fix = f"Create it in {'build(shape)' if is_layer else '__init__'} and assign it to an attribute of self"
        yield _Stray(f"{places.get(key, 'a tensor')} {shape}" + " in no attribute of it" * (key not in places), "", fix)


def _behind(value: object) -> list[Tensor]:
    return graph_leaves([value]) if isinstance(value, Tensor) and not value.is_leaf else []
