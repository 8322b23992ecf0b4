"""Words that several checks need: a few of many things, tensors, shapes and places in them, modes, what an exception said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor

from laminar.errors import LaminarError
from laminar.shapes import Shape, format_shape

__all__ = ["advised", "first_line", "listed", "mode_name", "named", "place_text", "said", "shapes_text"]

_NAMED = 3  # more than these are counted, not listed
_LONGEST = 120  # characters of an error message


def listed(things: Sequence[str]) -> str:
    """Return a few things in words, and how many more there are.

    >>> listed(["a", "b"]), listed(list("abcde"))
    ('a and b', 'a, b, c and 2 more')
    """
    if len(things) > _NAMED:
        return f"{', '.join(things[:_NAMED])} and {len(things) - _NAMED} more"
    return ", ".join(things[:-1]) + " and " + things[-1] if len(things) > 1 else "".join(things)


def named(path: str, tensor: Tensor) -> str:
    """Return a tensor's place and shape.

    >>> named("conv.weight", Tensor(2, 3))
    "'conv.weight' (2, 3)"
    """
    return f"{path!r} {format_shape(tensor.shape)}"


def shapes_text(shapes: Iterable[Shape]) -> str:
    """Return the shapes of several inputs or outputs.

    >>> shapes_text([(3, 8), (4,)])
    '(3, 8) and (4,)'
    """
    return " and ".join(map(format_shape, shapes))


def place_text(flat: int, shape: Shape) -> str:
    """Return the index of a number in a tensor, from its place in the flattened one; "" for a tensor of no axes.

    >>> place_text(4, (2, 3)), place_text(0, ())
    ('[1, 1]', '')
    """
    return str([int(i) for i in np.unravel_index(flat, shape)]) if shape else ""


def mode_name(training: bool) -> str:
    """Return what messages call a mode."""
    return "training" if training else "inference"


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says, without its final stop; only its beginning where it is very long.

    >>> first_line(ValueError("It is no number."))
    'It is no number'
    """
    line = (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST].rsplit(' ', 1)[0]} ..."


def advised(error: BaseException, otherwise: str) -> tuple[str, str]:
    """Return what an exception said, and what to do: `otherwise`, but for one of Laminar, which says it in its last sentence.

    >>> advised(LaminarError("expected 2 axes, received 3. Flatten it."), "Read the traceback")
    ('LaminarError: expected 2 axes, received 3', 'Flatten it')
    """
    text, _, fix = str(error).strip().rstrip(".").rpartition(". ")
    return (f"{type(error).__name__}: {text}", fix) if isinstance(error, LaminarError) and text else (said(error), otherwise)


def said(error: BaseException) -> str:
    """Return the kind of an exception and the first line of what it says.

    >>> said(ValueError("There is no such axis."))
    'ValueError: There is no such axis'
    """
    return f"{type(error).__name__}: {first_line(error)}"
