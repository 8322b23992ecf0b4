"""Which runs are still to be made, and in which order."""

from __future__ import annotations

from collections.abc import Mapping

from laminar.comparison.protocol import Protocol
from laminar.comparison.verdicts import decided

__all__ = ["pending"]


def pending(values: Mapping[str, Mapping[int, float]], protocol: Protocol) -> list[tuple[str, int]]:
    """Return (variant, index) of what is still to run, the next first; nothing where the comparison is over.

    Index by index, so that every look finds whole pairs; a variant whose verdicts are all known is left out.

    Args:
        values: variant -> index -> metric of the runs that are there.
        protocol: what was declared.

    >>> from laminar.comparison.protocol import make_protocol
    >>> declared = make_protocol(["a", "b"], metric="accuracy", margin=0.01, seeds=6)
    >>> pending({"a": {0: 0.9}}, declared)[:3]
    [('b', 0), ('a', 1), ('b', 1)]
    """
    known = decided(values, protocol)
    open_contrasts = [contrast for contrast, done in zip(protocol.contrasts, known, strict=True) if not done]
    wanted = {name for contrast in open_contrasts for name in contrast}
    return [
        (name, index)
        for index in range(protocol.seeds)
        for name in protocol.variants
        if name in wanted and index not in values.get(name, {})
    ]
