"""What a layer learns stays the same object from call to call, and belongs to that layer alone."""

from __future__ import annotations

import itertools

from torch import nn

from laminar.check.base import Check, register
from laminar.check.graph import called, graph_leaves
from laminar.check.outcome import Finding, failed, not_applicable, passed
from laminar.check.plain import kept
from laminar.check.shared import in_common
from laminar.check.subject import BATCH, Subject
from laminar.check.words import listed, mode_name, named
from laminar.shapes import format_shape

__all__ = ["LearnablesStable"]

_CALLS = ((True, BATCH), (False, BATCH), (True, 2 * BATCH - 1), (True, BATCH))


@register
class LearnablesStable(Check):
    """The same parameters before and after every call, each with memory of its own, none shared between two layers."""

    name = "learnables-stable"
    group = "contract"
    expects = "the same learnables before and after calls in both modes and with other batch sizes"

    def run(self, subject: Subject) -> Finding:
        module = subject.fresh()
        subject.build(module)
        finding = _on_one_memory(subject.original or subject.sibling()) or _on_one_memory(module)
        for number, (training, batch) in enumerate(_CALLS):
            finding = finding or _after_call(subject, module, training, batch, number)
        finding = finding or _of_all(subject)
        if finding:
            return finding
        count = len(list(module.parameters()))
        if not count:
            return not_applicable("it has no learnables, and makes none in calls")
        return passed(f"the same {count} after {len(_CALLS)} calls in both modes; none shared with another layer")


def _where(subject: Subject) -> str:
    return "build(shape)" if subject.is_layer else "__init__"


def _on_one_memory(module: nn.Module) -> Finding | None:
    """Return the failure that two parameters are two objects on the same numbers, which an optimizer would change twice.

    A copy has numbers of its own for each, so it does not show what was so before.
    """
    known: list[tuple[int, int, str]] = []
    for name, p in module.named_parameters():
        if not (nn.parameter.is_lazy(p) or p.is_meta) and p.numel() and p.is_contiguous():
            known.append((p.data_ptr(), p.data_ptr() + p.numel() * p.element_size(), name))
    known.sort()
    for (_, end, one), (start, _, other) in itertools.pairwise(known):
        if start < end:
            return failed(
                expected="numbers of its own for each learnable",
                found=f"{one!r} and {other!r}: two parameters on the same memory, which an optimizer changes twice",
                fix="Assign one nn.Parameter to both attributes to tie them, or clone() the values to part them",
            )
    return None


def _after_call(subject: Subject, module: nn.Module, training: bool, batch: int, number: int) -> Finding | None:
    """Call the layer once, and return the failure that it made or replaced a learnable."""
    module.train(training)
    before = dict(module.named_parameters())
    others = set(_plain_learnables(module))
    try:
        zs = called(module, subject.data(batch))
    except Exception:  # whether every batch and mode runs is the question of other checks
        return None
    reached = graph_leaves(zs)
    after = dict(module.named_parameters())
    call = f"{'a' if number else 'the first'} call in {mode_name(training)} mode with a batch of {batch}"
    made = [named(n, after[n]) for n in after if n not in before]
    if made:
        fix = f"Create it in {_where(subject)}: an optimizer was given parameters() before"
        return failed(expected="no learnable made by a call", found=f"{call} made {listed(made)}", fix=fix)
    replaced = [n for n, p in before.items() if after.get(n) is not p]
    if replaced:
        found = f"{call} put another parameter in the place of {listed([named(n, before[n]) for n in replaced])}"
        fix = f"Keep the parameter and change its numbers: with torch.no_grad(): self.{replaced[0]}.copy_(...)"
        return failed(expected="the same parameters after a call", found=found, fix=fix)
    known = {*others, *map(id, before.values())}
    new = [t for t in reached if isinstance(t, nn.Parameter) and id(t) not in known]
    if new and set(map(id, new)).isdisjoint(_plain_learnables(module)):  # one that lasts is found again in the next call
        again = {id(t) for t in graph_leaves(called(module, subject.data(batch)))}
        new = [t for t in new if id(t) not in again]
    if not new:
        return None
    found = f"{call} made {listed([f'a parameter {format_shape(t.shape)}' for t in new])} and computed with it"
    fix = f"Create it in {_where(subject)} and assign it to an attribute of self"
    return failed(expected="no learnable made by a call", found=found, fix=fix)


def _plain_learnables(module: nn.Module) -> list[int]:
    return [id(k.value) for k in kept(module) if isinstance(k.value, nn.Parameter)]


def _of_all(subject: Subject) -> Finding | None:
    """Return the failure that another layer of the same kind has the same learnables."""
    one, other = subject.sibling(), subject.sibling()
    if one is other:  # a function that gives out one and the same module
        return None
    for module in (one, other):
        subject.build(module)
    own, theirs, places = dict(one.named_parameters()), {id(p) for p in other.parameters()}, in_common(one)
    names = {n: p for n, p in own.items() if id(p) in theirs}
    if not names and subject.original is not None:  # a copy has parameters of its own; what was given may not
        names = {n: p for n, p in subject.original.named_parameters() if id(p) in places}
    shared = [named(n, p) for n, p in names.items()]
    cause = next((f"it is {places[id(p)]}" for p in names.values() if id(p) in places), "")
    if not shared:
        registered = {id(p) for p in own.values()}
        outside = [t for t in graph_leaves(called(one, subject.data())) if id(t) in places and id(t) not in registered]
        shared = [f"{places[id(t)]} {format_shape(t.shape)}" for t in outside]
    if not shared:
        return None
    return failed(
        expected="learnables of its own for each layer",
        found=f"{listed(shared)}, in common with every other {type(one).__name__}",
        cause=cause,
        fix=f"Create it in {_where(subject)}, anew for each layer",
    )
