"""Other heights, widths and lengths: a layer runs on them or refuses them, and the size of its output keeps to a rule."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from laminar.check.base import Check, register
from laminar.check.comparing import gap
from laminar.check.misfits import misfit
from laminar.check.outcome import Finding, failed, not_applicable, passed
from laminar.check.running import copied
from laminar.check.sizes_tried import BATCH_OF_SIZES, Axis, Sizes, Tried, axes_of
from laminar.check.subject import Subject
from laminar.check.words import said, shapes_text
from laminar.errors import LaminarError
from laminar.layers.base import Layer
from laminar.shapes import Shape, format_shape

__all__ = ["OtherSizes"]

_STEPS = 7  # with the size in use: four lengths of each parity, two multiples of 4
_FURTHER = 16  # where one length among these was kept: two multiples of 8


@register
class OtherSizes(Check):
    """Sizes around the one in use, odd and even, run or are refused, and the size of the output keeps to one rule.

    Which rule a layer follows is not known, but three things hold of all of them: the output is as long as the input for every
    length or for none; it does not shrink when the input grows; and it is what `explain` says. Where a layer states its
    arithmetic itself, that alone counts. An error is a refusal, unless two results inside do not fit each other; but a
    `laminar.Layer` refuses in its own words, in `check_input`. What such a layer worked out for the size that it was built for
    must not stay behind when another size comes.
    """

    name = "other-sizes"
    group = "contract"
    expects = "a layer that runs on other sizes, or refuses them"
    needs = ("modes",)

    def run(self, subject: Subject) -> Finding:
        sizes = Sizes(subject)
        axes = axes_of(subject.shapes) if subject.any_numbers else []
        promise = _promise(subject, [sizes.tried(sizes.layer(), subject.shapes, 0)])
        if promise or not axes:
            return promise or not_applicable(
                "its input has no axis for a height, a width or a length"
                if subject.any_numbers
                else "its input is not any numbers, and comes in one size"
            )
        lines = [(axis, sizes.along(axis, _STEPS)) for axis in axes]
        everywhere = tuple(place for axis in axes for place in axis)
        if not any(map(_free, (line for _, line in lines))) and len(axes) > 1:
            lines.append((everywhere, sizes.along(everywhere, _STEPS)))  # height and width have to be equal
        free = [(axis, line) for axis, line in lines if _free(line)]
        for axis, line in free:
            finding = _judged(subject, sizes, axis, line)
            if finding:
                return finding
        refusals = [t.error for _, line in lines for t in line if t.error]
        if not free:
            return not_applicable(f"it takes no other size: {said(refusals[0])}")
        refused = f"; {len(refusals)} refused: {said(refusals[0])}" if refusals else ""
        return passed("; ".join(_range(line) for _, line in free) + refused)


def _free(line: Sequence[Tried]) -> bool:
    return any(t.outputs for t in line[1:])


def _range(line: Sequence[Tried]) -> str:
    ran = [t for t in line if t.outputs]
    return " to ".join(f"{t.text} → {_text(t)}" for t in (ran[0], ran[-1]))


def _observations(tried: Tried) -> list[Shape]:
    return [tuple(z.shape[1:]) for z in tried.outputs]


def _judged(subject: Subject, sizes: Sizes, axis: Axis, line: Sequence[Tried]) -> Finding | None:
    """Return the first failure along one axis."""
    finding = _batch_lost(subject, line) or _refused_badly(subject, sizes, axis, line) or _promise(subject, line)
    if finding is None and not _states_arithmetic(subject):
        kept = [t for t in line if t.outputs and any(t.length in shape for shape in _observations(t))]
        further = sizes.along(axis, _FURTHER) if len(kept) == 1 else line
        finding = _shrinking(line) or _kept_for_some(further)
    if finding is None and sizes.rebuilt and "always state" not in subject.traits:  # the calls before would matter
        finding = _left_behind(sizes, line)
    return finding


# ── it runs or refuses ───────────────────────────────────────────────────────────────────────────────────────────────────


def _batch_lost(subject: Subject, line: Sequence[Tried]) -> Finding | None:
    for tried in line:
        for z, axis in zip(tried.outputs, subject.batch_axes, strict=False):
            if axis is not None and (z.dim() <= axis or z.shape[axis] != BATCH_OF_SIZES):
                return failed(
                    expected=f"{BATCH_OF_SIZES} outputs for {BATCH_OF_SIZES} observations of {tried.text}",
                    found=format_shape(z.shape),
                    fix="Give the batch axis its length from x.shape[0], and -1 to an axis of the observation",
                )
    return None


def _refused_badly(subject: Subject, sizes: Sizes, axis: Axis, line: Sequence[Tried]) -> Finding | None:
    """Return the failure that results inside do not fit each other, or that a layer of Laminar leaves its refusal to torch."""
    if {i for i, _ in axis} != set(range(len(subject.shapes))):
        return None  # the other inputs may have to be of the same length
    example = next(t for t in line[1:] if t.outputs)
    for tried in line:
        if tried.error is None or isinstance(tried.error, LaminarError):
            continue
        pair = misfit(sizes.layer(), sizes.data(tried.shapes))
        if pair is not None:
            shapes = shapes_text(pair[1])
            return failed(
                expected=f"an output for {tried.text}, as for {example.text}, or a refusal",
                found=said(tried.error),
                cause=f"two results inside do not fit each other: {pair[0]} of {shapes}",
                fix="Bring both to one size, or crop or pad one to the other's, for odd lengths too",
            )
        if subject.is_layer:
            return failed(
                expected=f"an output for {tried.text}, as for {example.text}, or a ShapeError",
                found=said(tried.error),
                fix="Define check_input(self, shape): raise a laminar.errors.ShapeError for a shape that the layer cannot take",
            )
    return None


# ── what explain promises ────────────────────────────────────────────────────────────────────────────────────────────────


def _states_arithmetic(subject: Subject) -> bool:
    layer = subject.prototype
    return isinstance(layer, Layer) and type(layer).arithmetic is not Layer.arithmetic


def _promise(subject: Subject, line: Sequence[Tried]) -> Finding | None:
    """Return the failure that `explain` says something else than what came out."""
    for tried in line if _states_arithmetic(subject) else ():
        if not tried.outputs:
            continue
        layer = subject.fresh()
        assert isinstance(layer, Layer)
        explained = layer.explain(*tried.shapes)
        promised = shapes_text(explained.outputs)
        real = shapes_text(_observations(tried))
        if promised != real:
            return failed(
                expected=f"{promised} for {tried.text}, as explain says",
                found=real,
                fix="Correct arithmetic(shape), or the sizes in forward",
            )
        count = sum(p.numel() for p in tried.module.parameters())
        if count != explained.parameters:
            return failed(
                expected=f"a count of {explained.parameters} in learnables for {tried.text}, as explain says",
                found=f"{count}",
                fix="Correct the count in arithmetic(shape), or what build declares",
            )
    return None


# ── one rule for all sizes ───────────────────────────────────────────────────────────────────────────────────────────────


def _lengths(line: Sequence[Tried]) -> list[list[tuple[Tried, int]]]:
    """Return, for each axis of each output that changes along the line, its lengths."""
    ran = [t for t in line if t.outputs]
    found = []
    for i, shape in enumerate(_observations(ran[0])):
        for j in range(len(shape)):
            shapes = [_observations(t) for t in ran]
            if all(len(s) > i and len(s[i]) > j for s in shapes):
                found.append([(t, s[i][j]) for t, s in zip(ran, shapes, strict=True)])
    return [lengths for lengths in found if len({n for _, n in lengths}) > 1]


def _shrinking(line: Sequence[Tried]) -> Finding | None:
    for lengths in _lengths(line):
        for (one, n), (other, m) in itertools.pairwise(lengths):
            if m < n:
                return failed(
                    expected=f"an output for {other.text} that is no smaller than the one for {one.text}",
                    found=f"{_text(other)}, after {_text(one)}",
                    fix="Compute the output's length from the input's, or refuse the lengths that do not divide",
                )
    return None


def _kept_for_some(line: Sequence[Tried]) -> Finding | None:
    """Return the failure that the length is kept for some inputs, and not for those between them."""
    for lengths in _lengths(line):
        kept = [k for k, (t, n) in enumerate(lengths) if t.length == n]
        other = [k for k, (t, n) in enumerate(lengths) if t.length != n and kept and kept[0] < k < kept[-1]]
        if other:
            (one, n), (two, m) = lengths[kept[0]], lengths[other[0]]
            return failed(
                expected=f"the length kept for all inputs or for none: {one.length} → {n} for {one.text}",
                found=f"{two.length} → {m} for {two.text}",
                fix="Pad or crop the output to the input's length, or refuse the lengths that do not divide",
            )
    return None


def _text(tried: Tried) -> str:
    return shapes_text(_observations(tried))


# ── nothing of the size it was built for ─────────────────────────────────────────────────────────────────────────────────


def _left_behind(sizes: Sizes, line: Sequence[Tried]) -> Finding | None:
    """Return the failure that a layer built for one size gives something else for another than one that was built for it."""
    for tried in line[1:]:
        if not tried.outputs or not _loaded(tried.module, sizes.built):
            continue
        other = copied(sizes.built)
        own = list(other.parameters())
        late, early = (sizes.tried(module, tried.shapes, tried.length) for module in (other, tried.module))
        if any(a is not b for a, b in itertools.zip_longest(own, other.parameters())):
            expected = f"the same parameters when {tried.text} comes after {line[0].text}"
            return failed(expected=expected, found="others in their place", fix="Declare learnables in build(shape) only")
        by = gap(late.outputs, early.outputs)
        if late.outputs and by.seen:
            shapes = [shapes_text(z.shape for z in t.outputs) for t in (late, early)]
            off = f"{shapes[0]}, not {shapes[1]}" if shapes[0] != shapes[1] else f"an output that is off by {by.relative:.2g}"
            return failed(
                expected=f"the same for {tried.text} from a layer built for {line[0].text} as from one built for {tried.text}",
                found=f"{off}, with the same learnables",
                fix="Take sizes from x.shape in forward, not from what build kept; or refuse other sizes in check_input",
            )
    return None


def _loaded(module: nn.Module, source: nn.Module) -> bool:
    """Give `module` the learnables and the state of `source`; return whether they fit."""
    try:
        with torch.no_grad():
            module.load_state_dict(source.state_dict())
    except RuntimeError:
        return False
    return True
