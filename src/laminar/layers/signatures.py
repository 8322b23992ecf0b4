"""What the signatures of a layer's own methods say about how it is called."""

from __future__ import annotations

import inspect
from typing import Any

from laminar.errors import LayerError, complaint

__all__ = ["takes_memory", "takes_several"]


def takes_memory(cls: type[Any]) -> bool:
    """Return whether the layer's `backward` takes (x, z, dz, memory) and not (x, z, dz).

    Raises:
        LayerError: if it takes neither.
    """
    signature = inspect.signature(cls.backward)
    positional = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    count = len(positional) - 1
    if count not in (3, 4):
        raise LayerError(
            complaint(
                f"layer {cls.__name__}",
                expected="backward(self, x, z, dz) or backward(self, x, z, dz, memory)",
                received=f"backward{signature}",
                fix="Change its arguments",
            )
        )
    return count == 4


def takes_several(cls: type[Any]) -> bool:
    """Return whether the layer's `forward` takes two inputs or more, so that one list of them can be meant for it.

    >>> class Gate:
    ...     def forward(self, x, gate): ...
    >>> class Pair:
    ...     def forward(self, pair): ...
    >>> takes_several(Gate), takes_several(Pair)
    (True, False)
    """
    try:
        parameters = inspect.signature(cls.forward).parameters.values()
    except ValueError:  # a builtin function has none
        return False
    needed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    return len(needed) > 2 or any(p.kind is p.VAR_POSITIONAL for p in parameters)
