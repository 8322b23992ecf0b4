"""The verdicts of thousands of simulated comparisons at once: the words of `laminar.comparison.verdicts.judge` alone.

The p-values are those of the same evidence and the same sign flips; that the words and the numbers of pairs are the ones of
`judge` is tested in tests/comparison/test_calibration.py. No run fails here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from laminar.comparison.evidence import one_sided_evidence
from laminar.comparison.permutation import SignFlips
from laminar.comparison.protocol import Protocol
from laminar.comparison.verdicts import LOOKING

Array = npt.NDArray[np.float64]

UNDECIDED, HIGHER, LOWER, EQUIVALENT = 0, 1, -1, 2


@dataclass(frozen=True)
class Outcomes:
    """What became of many comparisons.

    Attributes:
        d: differences (studies, contrasts, pairs).
        words: UNDECIDED, HIGHER, LOWER or EQUIVALENT (studies, contrasts).
        pairs: that were looked at (studies, contrasts).
    """

    d: Array
    words: npt.NDArray[np.int8]
    pairs: npt.NDArray[np.int64]

    def differs(self) -> npt.NDArray[np.bool_]:
        """Return which contrasts have a verdict of a difference."""
        return np.abs(self.words) == 1


def outcomes(values: Array, protocol: Protocol) -> Outcomes:
    """Return what `judge` would say.

    Args:
        values: metrics (studies, variants, pairs), variants in the order of the protocol.
        protocol: what was declared, for as many pairs.
    """
    place = {name: k for k, name in enumerate(protocol.variants)}
    d = np.stack([values[:, place[a]] - values[:, place[b]] for a, b in protocol.contrasts], axis=1)
    margin, n = protocol.margin, d.shape[-1]
    zero, low, high = (_Asked(d, centre, protocol) for centre in (0.0, -margin, margin))
    words, pairs = np.zeros(d.shape[:2], np.int8), np.zeros(d.shape[:2], np.int64)
    p, p_same, final = np.ones(d.shape[:2]), np.ones(d.shape[:2]), np.zeros(d.shape[:2], bool)
    for looks in range(1 if protocol.stop == "early" else n, n + 1):
        still = ~final
        if not still.any():
            break
        pairs[still] = looks
        p = np.where(still, np.minimum(zero.above(looks, still), zero.below(looks, still)), p)
        within = still & (np.abs(d[..., :looks].mean(-1)) < margin)
        p_same = np.where(still, 1.0, p_same)
        p_same = np.where(within, np.maximum(low.above(looks, within), high.below(looks, within)), p_same)
        differs, same = holm(p) <= protocol.alpha, holm(p_same) <= protocol.alpha
        words[still & differs] = np.sign(d[..., :looks].sum(-1)[still & differs])
        words[still & same] = EQUIVALENT
        final |= differs | same
    return Outcomes(d, words, pairs)


def covered(found: Outcomes, theta: float, protocol: Protocol) -> npt.NDArray[np.bool_]:
    """Return whether each verdict's own interval holds `theta` (studies,): whether the test does not reject it.

    For protocols with one contrast, whose level is alpha.
    """
    asked, n = _Asked(found.d, theta, protocol), found.d.shape[-1]
    inside = np.zeros(found.words.shape, bool)
    for looks in range(1, n + 1):
        here = found.pairs == looks
        if here.any():
            p = np.minimum(asked.above(looks, here), asked.below(looks, here))
            inside |= here & (p > protocol.alpha)
    (one,) = inside.T
    return one


def holm(p: Array) -> Array:
    """Return the adjusted p-values (..., contrasts) of each study."""
    order = np.argsort(p, axis=-1, kind="stable")
    stepped = np.take_along_axis(p, order, -1) * np.arange(p.shape[-1], 0, -1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(stepped, axis=-1), axis=-1)
    return np.minimum(adjusted, 1.0)


class _Asked:
    """The test of one centre: two-sided p-values of every contrast after each look."""

    def __init__(self, d: Array, centre: float, protocol: Protocol) -> None:
        self._d, self._centre, self._early = d, centre, protocol.stop == "early"
        self._means = np.cumsum(d, -1) / np.arange(1, d.shape[-1] + 1)
        paths = one_sided_evidence(d, np.full(d.shape[:2], centre)) if self._early else ()
        self._p = [np.minimum(1.0, 2 * np.exp(-np.maximum.accumulate(path, -1)) / LOOKING) for path in paths]

    def above(self, looks: int, wanted: npt.NDArray[np.bool_]) -> Array:
        """Return p (studies, contrasts) if differences lie above the centre, else 1; of the contrasts that are `wanted`."""
        return self._after(looks, wanted & (self._means[..., looks - 1] > self._centre), 0)

    def below(self, looks: int, wanted: npt.NDArray[np.bool_]) -> Array:
        """Return p if they lie below it."""
        return self._after(looks, wanted & (self._means[..., looks - 1] < self._centre), 1)

    def _after(self, looks: int, wanted: npt.NDArray[np.bool_], side: int) -> Array:
        p = np.where(wanted, self._p[side][..., looks - 1], 1.0) if self._early else np.ones(wanted.shape)
        if looks == self._d.shape[-1]:
            kept = 1 - LOOKING if self._early else 1.0
            for place in zip(*np.nonzero(wanted), strict=True):
                flips = SignFlips(self._d[place])
                flipped = flips.below(self._centre) if side else flips.above(self._centre)
                p[place] = min(p[place], 2 * flipped / kept)
        return p
