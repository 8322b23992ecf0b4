"""Copies of a layer: in memory, by pickle, and through a file of weights."""

from __future__ import annotations

import copy
import io
import operator
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from laminar.check.base import Check, register
from laminar.check.differences import SAME, Difference, largest_difference
from laminar.check.outcome import Finding, failed, not_applicable, noted, passed
from laminar.check.plain import Kept, attribute_path, functions_kept, kept, tensors_kept
from laminar.check.running import copied, gradients, run
from laminar.check.subject import Subject
from laminar.check.words import first_line, said

__all__ = ["DeepCopy", "Pickles", "StateDict"]

_EXACT = 1e-6  # relative: a copy computes the same; only another alignment in memory may round otherwise


@register
class DeepCopy(Check):
    """`copy.deepcopy` gives an independent layer with the same output, also after a training call."""

    name = "deep-copy"
    group = "placement"
    expects = "a layer that copy.deepcopy copies"

    def run(self, subject: Subject) -> Finding:
        layer = _called(subject, subject.built())
        try:
            other = copied(layer)
            own = _called(subject, _own(subject))
            worst = _compared(subject, own, copied(own))
        except Exception as error:
            return _not_copied(layer, error)
        shared = _shared(layer, other)
        if shared:
            fix = "Leave __deepcopy__ as nn.Module has it"
            return failed(expected="a copy with tensors of its own", found=f"{shared} in the same memory in both", fix=fix)
        holding = _function_that_holds(other)
        if holding:
            return holding
        worst = max(worst, _compared(subject, layer, other), key=lambda d: d.error)
        if worst.error > _EXACT:
            if _compared(subject, _own(subject), _own(subject)).error > _EXACT:
                return not_applicable("nothing shared; the layer itself gives something else each time")
            return failed(expected="the same output and gradients from a copy", found=worst.text, fix=_ATTRIBUTES)
        return passed(f"nothing shared; output and gradients {worst.sameness}")


@register
class Pickles(Check):
    """`pickle`, and `torch.save` of the whole layer, give a layer with the same output."""

    name = "pickle"
    group = "placement"
    expects = "a layer that pickle takes"
    needs = ("deterministic",)

    def run(self, subject: Subject) -> Finding:
        worst = SAME
        for way, clone in _WAYS.items():
            # one way with a layer that is no copy itself, the other with one whose learnables are no initial values
            layer = _called(subject, _own(subject) if clone is _pickled else subject.built())
            try:
                other = clone(layer)
            except Exception as error:
                return _not_pickled(layer, way, error)
            found = _compared(subject, layer, other)
            if found.error > _EXACT:
                expected = f"the same output and gradients after {way}"
                return failed(expected=expected, found=found.text, fix=f"{_ATTRIBUTES}; look at __getstate__")
            worst = max(worst, found, key=lambda d: d.error)
        return passed(f"{' and '.join(_WAYS)}: output and gradients {worst.sameness}")


def _pickled(layer: nn.Module) -> nn.Module:
    loaded: nn.Module = pickle.loads(pickle.dumps(layer))
    return loaded


def _saved(layer: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


_WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {"pickle": _pickled, "torch.save": _saved}
_ATTRIBUTES = "Keep what forward needs in attributes of the layer"


def _called(subject: Subject, layer: nn.Module) -> nn.Module:
    """Return the layer after a forward and a backward: what it keeps from the call is there."""
    gradients(layer, subject.data())
    return layer


def _own(subject: Subject) -> nn.Module:
    """Return a layer that is no copy itself, so that nothing was lost on the way before."""
    layer = subject.sibling()
    subject.build(layer)
    return layer


def _compared(subject: Subject, one: nn.Module, other: nn.Module) -> Difference:
    """Return how far two layers are apart, in both modes."""
    worst = SAME
    for training in (True, False):
        one.train(training)
        other.train(training)
        found = largest_difference(gradients(other, subject.data()), gradients(one, subject.data()))
        worst = max(worst, found, key=lambda d: d.error)
    return worst


def _not_copied(layer: nn.Module, error: Exception) -> Finding:
    with_history = [k.path for k in _with_history(layer)]
    found = said(error)
    if not with_history:
        guilty = _guilty(layer, copy.deepcopy)
        cause = f"{guilty.path} ({type(guilty.value).__name__}) cannot be copied" if guilty else ""
        return failed(expected=DeepCopy.expects, found=found, cause=cause, fix="Keep only what can be copied")
    detached = _copied_without_history(layer)
    names = " and ".join(with_history)
    cause = f"{names} is kept with the graph of its computation: detached, the layer is copied" if detached else ""
    fix = f"Keep no output on self, or keep {names} detached: z.detach(); update buffers under torch.no_grad()"
    return failed(expected=DeepCopy.expects, found=found, cause=cause, fix=fix)


def _with_history(layer: nn.Module) -> list[Kept]:
    """Return the tensors, buffers too, that are kept with the graph of the computation they came from."""
    return [k for k in [*tensors_kept(layer), *_buffers(layer)] if not k.value.is_leaf]


def _copied_without_history(layer: nn.Module) -> bool:
    """Return whether a layer can be copied once the tensors it keeps are cut from the graph they came from."""
    for found in _with_history(layer):
        found.put(found.value.detach())
    return _works(partial(copied, layer))


def _guilty(layer: nn.Module, way: Callable[[Any], object]) -> Kept | None:
    """Return the innermost value in a plain attribute that cannot go this way, the first of them; None if all can."""
    found = [k for k in kept(layer) if not _works(partial(way, k.value))]
    return [k for k in found if k.path.startswith(found[0].path)][-1] if found else None  # a container comes before its parts


def _works(action: Callable[[], object]) -> bool:
    try:
        action()
    except Exception:
        return False
    return True


def _tensors(layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, t in [*layer.named_parameters(), *layer.named_buffers()]:
        module, _, attribute = name.rpartition(".")
        yield attribute_path(module, attribute), t
    yield from ((k.path, k.value) for k in tensors_kept(layer))


def _shared(layer: nn.Module, other: nn.Module) -> str:
    """Return a tensor of the copy that lies in the memory of the original; "" if there is none."""
    own = {t.untyped_storage().data_ptr() for _, t in _tensors(layer)} - {0}
    return next((path for path, t in _tensors(other) if t.untyped_storage().data_ptr() in own), "")


def _function_that_holds(other: nn.Module) -> Finding | None:
    """Return the failure of a layer whose function goes on using the original's tensors in the copy `other`."""
    own = {id(t) for t in [*other.modules(), *other.parameters(), *other.buffers()]}
    for found in functions_kept(other):
        code, cells = found.value.__code__, found.value.__closure__ or ()
        for name, cell in zip(code.co_freevars, cells, strict=True):
            used = _tensors_used(cell.cell_contents, name, code.co_names) if id(cell.cell_contents) not in own else ""
            if used:
                return failed(
                    expected="a copy that uses its own tensors",
                    found=f"{found.path} of the copy uses {used} of the original",
                    cause=f"{found.path} is a function made inside a method, and a function is not copied with the layer",
                    fix=f"Make it a method; or pass it what it needs, {found.path}(x, {used})",
                )
    return None


def _tensors_used(held: object, name: str, attributes: tuple[str, ...]) -> str:
    """Return which learnable or buffer a function reaches through its variable `name`; "" if none."""
    if isinstance(held, nn.Parameter):
        return name
    if not isinstance(held, nn.Module):
        return ""
    with_tensors = [n for n, m in held.named_children() if next(m.parameters(), None) is not None]
    reached = {*held._parameters, *held._buffers, *with_tensors} & set(attributes)
    return f"{name}.{min(reached)}" if reached else ""


def _not_pickled(layer: nn.Module, way: str, error: Exception) -> Finding:
    text = said(error)
    expected = f"{Pickles.expects}: {way}"
    for found in kept(layer):
        if isinstance(found.value, types.FunctionType) and not _importable(found.value):
            kind = "a lambda" if "<lambda>" in found.value.__qualname__ else "a function made inside another"
            fix = "Make it a method, or a function at the top of its module"
            return failed(
                expected=expected, found=text, cause=f"{found.path} is {kind}, which has no name to find it by", fix=fix
            )
    if any(map(is_parametrized, layer.modules())):
        return not_applicable("torch saves parametrized modules by state_dict() alone")
    local = next((type(m) for m in layer.modules() if not _importable(type(m))), None)
    if local:
        return not_applicable(
            f"{local.__name__} is made inside a function: pickle takes only what stands at the top of a module"
        )
    guilty = _guilty(layer, pickle.dumps)
    if guilty is None:
        return failed(expected=expected, found=text, fix="Keep only what pickle takes, or define __getstate__")
    cause = f"{guilty.path} ({type(guilty.value).__name__}) cannot be pickled"
    fix = f"Leave it out in __getstate__, or make {guilty.path} when it is needed"
    return failed(expected=expected, found=text, cause=cause, fix=fix)


def _importable(thing: type | types.FunctionType) -> bool:
    """Return whether pickle finds `thing` again by its name."""
    found: object = sys.modules.get(thing.__module__)
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is thing


@register
class StateDict(Check):
    """Trained weights, written to safetensors and read into a layer made anew, give the same output."""

    name = "state-dict"
    group = "placement"
    expects = "a state_dict that a layer made anew takes"
    needs = ("deterministic",)

    def run(self, subject: Subject) -> Finding:
        trained = _trained(subject)
        state = trained.state_dict()
        foreign = [name for name, t in state.items() if not isinstance(t, Tensor)]
        if foreign:
            return noted(f"{foreign[0]!r} is no tensor: safetensors, and with it save_weights, cannot keep it")
        saved = _through_a_file(state)
        try:
            found = largest_difference(_inference(subject, _restored(subject, saved, trained)), _inference(subject, trained))
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines()[1:]] or [first_line(error)]
            fix = "Register learnables and buffers in __init__ or build, always the same ones"
            return failed(expected=self.expects, found=" ".join(lines), fix=fix)
        if found.error > _EXACT:
            cause, fix = _what_was_lost(subject)
            expected = "the same output from the weights read back"
            return failed(expected=expected, found=found.text, cause=cause, fix=fix)
        if subject.original is not None:
            left = [k.path for k in tensors_kept(_made_anew(subject)) if _matters(subject, k.path)]
            if left:
                return noted(
                    f"equal, but {left[0]} is not saved and matters: right only if the constructor makes the same again"
                )
        return passed(f"{len(saved)} tensor{'s' * (len(saved) != 1)} saved and read back: output {found.sameness}")


def _trained(subject: Subject) -> nn.Module:
    """Return a layer after some steps of gradient descent."""
    layer = subject.built()
    for i in range(_STEPS):
        found = gradients(layer, subject.data(seed=200 + i)).learnables
        with torch.no_grad():
            for name, p in layer.named_parameters():
                g = found.get(name)
                if g is not None and bool(g.isfinite().all()):
                    p.sub_(g, alpha=0.1 * float(p.abs().mean()) / (float(g.abs().max()) or 1.0))
    return layer


_STEPS = 3


def _made_anew(subject: Subject) -> nn.Module:
    """Return a layer for the same shape from other seeds: what is drawn and not saved differs."""
    return subject.begun(subject.seed + 1, of_torch=subject.seed + 1, of_others=subject.seed + 1)


def _through_a_file(state: dict[str, Tensor]) -> dict[str, Tensor]:
    from safetensors.torch import load, save

    return load(save({name: t.detach().cpu().contiguous().clone() for name, t in state.items()}))


def _restored(subject: Subject, saved: dict[str, Tensor], trained: nn.Module) -> nn.Module:
    """Return a layer made anew with what was saved, and with the states that are left out of a state_dict on purpose."""
    layer = _made_anew(subject)
    layer.load_state_dict(saved)
    if subject.declared & {"state", "always state"}:
        left_out = {name: b for name, b in trained.named_buffers() if name not in saved}
        for name, buffer in left_out.items():
            module, attribute = _split(name)
            layer.get_submodule(module)._buffers[attribute] = buffer.clone()
    return layer


def _inference(subject: Subject, layer: nn.Module) -> list[Tensor]:
    layer.eval()
    return run(layer, subject.data())


def _what_was_lost(subject: Subject) -> tuple[str, str]:
    """Return what a layer made anew lacks, as far as putting it there gives the same output, and how to save it."""
    there = {k.path: k.value for k in _unsaved(_trained(subject))}

    def mended(paths: list[str]) -> bool:
        trained = _trained(subject)
        other = _restored(subject, dict(trained.state_dict()), trained)
        for found in _unsaved(other):
            if found.path in paths:
                value = there[found.path]
                found.put(copy.deepcopy(value.detach() if isinstance(value, Tensor) else value))
        want = _inference(subject, trained)
        return _works(lambda: _inference(subject, other)) and (
            largest_difference(_inference(subject, other), want).error <= _EXACT
        )

    if not mended(list(there)):
        return "", "Keep in parameters and buffers whatever the output depends on"
    needed = [path for path in there if not mended([p for p in there if p != path])] or list(there)
    buffers = {attribute_path(*_split(name)) for name, _ in _trained(subject).named_buffers()}
    name = needed[0].rpartition(".")[2]
    fix = f'Keep it in a buffer: self.register_buffer("{name}", ...)'
    if needed[0] in buffers:
        fix = f'Let it be saved: self.register_buffer("{name}", ...) without persistent=False'
    verb = "are" if len(needed) > 1 else "is"
    return f"{' and '.join(needed)} {verb} not in the state_dict: put there by hand, the output is the same", fix


def _unsaved(layer: nn.Module) -> list[Kept]:
    """Return what is kept outside the state_dict and may matter: tensors and numbers in attributes, unsaved buffers."""
    saved = layer.state_dict(keep_vars=True)
    found = [k for k in kept(layer) if isinstance(k.value, Tensor | float | int) and not isinstance(k.value, bool)]
    paths = {attribute_path(*_split(name)) for name in saved}
    return [*found, *(b for b in _buffers(layer) if b.path not in paths)]


def _buffers(layer: nn.Module) -> list[Kept]:
    found = []
    for name, b in layer.named_buffers():
        module, attribute = _split(name)
        put = partial(operator.setitem, layer.get_submodule(module)._buffers, attribute)
        found.append(Kept(attribute_path(module, attribute), b, put))
    return found


def _split(name: str) -> tuple[str, str]:
    module, _, attribute = name.rpartition(".")
    return module, attribute


def _matters(subject: Subject, path: str) -> bool:
    """Return whether another value in an attribute gives another output."""
    layer, other = _made_anew(subject), _made_anew(subject)
    place = next((k for k in tensors_kept(other) if k.path == path), None)
    if place is None or not place.value.is_floating_point():
        return False
    place.put(place.value.detach() * 1.5 + 0.1)
    before = _inference(subject, layer)
    return (
        not _works(lambda: _inference(subject, other)) or largest_difference(_inference(subject, other), before).error > _EXACT
    )
