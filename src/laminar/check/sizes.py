"""Smaller shapes for the same layer, so that every number of it can be looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from laminar.shapes import Shape

__all__ = ["small_shapes"]

_ENOUGH = 8  # an axis of this length is left as it is
_LENGTHS = (5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 20, 21, 24, 28, 32, 48, 64)
_CHANNELS = (3, 4, *_LENGTHS[1:])

Outputs = tuple[Shape, ...]


def small_shapes(shapes: Sequence[Shape], outputs_for: Callable[[tuple[Shape, ...]], Outputs | None]) -> tuple[Shape, ...]:
    """Return shapes that are no longer than needed in any axis and that the layer takes in the same way.

    Args:
        shapes: of one observation of each input.
        outputs_for: gives the output shapes for input shapes, or None where the layer cannot take them.

    Returns:
        Shapes with as many axes; the outputs have as many axes too, none of which has shrunk to a single number, and an axis
        that is as long as that of the input stays so. The lengths of different axes differ where they can, so that one is
        not taken for another.

    >>> small_shapes([(20, 24, 24)], lambda shapes: shapes)
    ((3, 6, 5),)
    """
    wanted = outputs_for(tuple(shapes))
    if wanted is None:
        return tuple(shapes)

    def serves(candidate: tuple[Shape, ...]) -> bool:
        found = outputs_for(candidate)
        if found is None or len(found) != len(wanted) or not all(map(_alike, found, wanted)):
            return False
        return all(
            found[k][j] == candidate[i][j]
            for i, shape in enumerate(shapes)
            for k, output in enumerate(wanted)
            if len(shape) == len(output)
            for j in range(len(shape))
            if shape[j] == output[j]
        )

    axes = [[(i, j)] for i, shape in enumerate(shapes) for j in reversed(range(len(shape)))]
    ties: dict[int, list[tuple[int, int]]] = {}
    for ((i, j),) in axes:
        ties.setdefault(shapes[i][j], []).append((i, j))
    current = tuple(shapes)
    if len(shapes) == 1:  # several inputs have axes in common: those are changed together
        current = _shrunk(current, axes, serves)
    return _shrunk(current, list(ties.values()), serves)


def _shrunk(
    shapes: tuple[Shape, ...], groups: Sequence[Sequence[tuple[int, int]]], serves: Callable[[tuple[Shape, ...]], bool]
) -> tuple[Shape, ...]:
    for group in groups:
        lengths = {shapes[i][j] for i, j in group}
        if len(lengths) > 1 or min(lengths) <= _ENOUGH:  # one of them was shortened by itself before
            continue
        channels = any(j == 0 and len(shapes[i]) > 1 for i, j in group)
        candidates = [n for n in (_CHANNELS if channels else _LENGTHS) if n < min(lengths)]
        taken = {n for shape in shapes for n in shape}
        for n in sorted(candidates, key=lambda n: (n in taken, n)):
            candidate = _replaced(shapes, group, n)
            if serves(candidate):
                shapes = candidate
                break
    return shapes


def _replaced(shapes: tuple[Shape, ...], group: Sequence[tuple[int, int]], n: int) -> tuple[Shape, ...]:
    changed = [list(shape) for shape in shapes]
    for i, j in group:
        changed[i][j] = n
    return tuple(map(tuple, changed))


def _alike(found: Shape, wanted: Shape) -> bool:
    same_axes = len(found) == len(wanted)
    return same_axes and all(n >= min(2, m) for n, m in zip(found, wanted, strict=True))
