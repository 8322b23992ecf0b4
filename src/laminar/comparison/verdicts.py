"""The verdict on each contrast: what was measured, how sure it is, and in one word what follows from it.

Every word follows from one test, which is asked at three centres: at 0 (is there a difference?) and at ±margin (is it surely
smaller?). The interval holds the centres that the same test does not reject, at the level at which Holm's procedure judges the
contrast. So word, p and interval cannot contradict each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from laminar.comparison.evidence import most_evidence, one_sided_evidence
from laminar.comparison.intervals import bca_interval, lower_end, t_interval
from laminar.comparison.multiple import holm, holm_levels
from laminar.comparison.permutation import CLOSE, SignFlips
from laminar.comparison.power import pairs_needed
from laminar.comparison.protocol import Protocol
from laminar.comparison.runs import plain
from laminar.comparison.superiority import superiority
from laminar.errors import TooFewRunsError

__all__ = ["LOOKING", "Verdict", "Word", "decided", "judge", "least_pairs", "refuse_too_few"]

Array = npt.NDArray[np.float64]
Values = Mapping[str, Mapping[int, float]]
Word = Literal["better", "worse", "equivalent", "undecided", "invalid"]

LOOKING = 0.3
"""The share of alpha that is spent on looking after every pair; the rest is kept for the test of all pairs at the end."""


@dataclass(frozen=True)
class Verdict:
    """What is known of one variant against its baseline.

    Differences are variant - baseline in units of the metric, whichever direction is better.

    Attributes:
        variant: its name.
        baseline: the one it is compared with.
        word: "better" or "worse", where there is a difference; "equivalent", where it is surely smaller than the margin, be
            there one or not; "undecided"; "invalid", where too few pairs are usable for any verdict.
        pairs: pairs that were looked at.
        usable: of these, the pairs in which not both failed: the only ones that say something.
        unused: pairs that were run and not looked at: beyond the end of an early verdict, or beyond a gap.
        wins: pairs in which the variant did better.
        ties: pairs in which both did the same, or both failed.
        losses: pairs in which the variant did worse.
        failed: runs of the variant, among those pairs, that diverged or failed.
        baseline_failed: such runs of the baseline.
        difference: mean over the pairs in which neither failed; None if there is none.
        low: lower end of the interval that inverts the test, so that it stays honest however often it was looked at.
        high: its upper end; either may be infinite.
        t_low: lower end of Student's interval at 1 - alpha, which knows nothing of looking; None with fewer than two pairs.
        t_high: its upper end.
        bca_low: lower end of the bootstrap's interval at 1 - alpha, which knows nothing of looking.
        bca_high: its upper end.
        p: two-sided, of no difference.
        p_holm: the same, adjusted for the number of contrasts.
        p_equivalence: of a difference as large as the margin, adjusted likewise; 1 where a pair was lost to one failure.
        superiority: probability that the variant's run beats the baseline's of the same seed, and its interval.
        effect: mean difference in units of seed noise, the pooled standard deviation of the two variants' runs; None if they do
            not vary.
        noise: standard deviation of the differences; None with fewer than two pairs.
        needed: pairs with which a difference of the margin is found with 80 % power; None if the noise is not known, or
            too large for any number.
        decided: whether more pairs could change nothing: the word is final.
    """

    variant: str
    baseline: str
    word: Word
    pairs: int
    usable: int
    unused: int
    wins: int
    ties: int
    losses: int
    failed: int
    baseline_failed: int
    difference: float | None
    low: float
    high: float
    t_low: float | None
    t_high: float | None
    bca_low: float | None
    bca_high: float | None
    p: float
    p_holm: float
    p_equivalence: float
    superiority: tuple[float, float, float]
    effect: float | None
    noise: float | None
    needed: int | None
    decided: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as values that JSON knows; infinite ends become None."""
        values: dict[str, Any] = plain(asdict(self))
        return values


def least_pairs(protocol: Protocol) -> int:
    """Return the fewest pairs that can lead to a verdict, if all their differences lie on one side.

    >>> from laminar.comparison.protocol import make_protocol
    >>> least_pairs(make_protocol(["a", "b"], metric="accuracy", margin=0.01, seeds=20))
    6
    """
    pairs = 1
    while _best_p(pairs, protocol) > protocol.alpha / len(protocol.contrasts):
        pairs += 1
    return pairs


def refuse_too_few(protocol: Protocol) -> None:
    """Refuse a comparison that cannot lead to a verdict, before anything is run.

    Raises:
        TooFewRunsError: if `protocol.seeds` are fewer than `least_pairs(protocol)`.
    """
    least = least_pairs(protocol)
    if protocol.seeds >= least:
        return
    best = f"{protocol.seeds} paired seed{'s give' if protocol.seeds > 1 else ' gives'} at best p"
    best += f" = {_best_p(protocol.seeds, protocol):.3g}"
    count = len(protocol.contrasts)
    asked = f"alpha = {protocol.alpha:g}"
    if count > 1:
        asked += f" over {count} contrasts (Holm: {protocol.alpha / count:.3g} for the first)"
    raise TooFewRunsError(f"{best}, so {asked} cannot be reached. Run {least} or more.")


def decided(values: Values, protocol: Protocol) -> tuple[bool, ...]:
    """Return for each contrast whether its word is final, without what else a verdict says.

    Args:
        values: variant -> index -> metric; a run that failed is worse than any number.
        protocol: what was declared.
    """
    return tuple(series.final for series in _looked_at(values, protocol))


def judge(values: Values, protocol: Protocol) -> list[Verdict]:
    """Return the verdict on each contrast, in order.

    Pairs are looked at in the order of their index, all contrasts side by side, as far as every one that is still open has its
    pair: so a verdict depends on no run's speed. A contrast that is decided is not looked at again.

    Args:
        values: variant -> index -> metric; a run that failed is -inf, or inf where lower is better.
        protocol: what was declared.

    >>> from laminar.comparison.protocol import make_protocol
    >>> declared = make_protocol(["a", "b"], metric="accuracy", margin=0.01, seeds=6, stop="fixed")
    >>> runs = {"a": {k: 0.90 for k in range(6)}, "b": {k: 0.93 + k / 1000 for k in range(6)}}
    >>> verdict = judge(runs, declared)[0]
    >>> verdict.word, verdict.wins, verdict.p
    ('better', 6, 0.03125)
    """
    looked = _looked_at(values, protocol)
    return [_verdict(series, values, protocol, place) for place, series in enumerate(looked)]


class _Series:
    """One contrast: the differences of its gap-free pairs, and what the test says of the first `looks` of them."""

    def __init__(self, values: Values, contrast: tuple[str, str], protocol: Protocol) -> None:
        self.variant, self.baseline = contrast
        ours, theirs = values.get(self.variant, {}), values.get(self.baseline, {})
        both = {index for index in set(ours) & set(theirs) if 0 <= index < protocol.seeds}
        self.available = len(both)
        length = next(index for index in range(protocol.seeds + 1) if index not in both)
        self.a = np.array([ours[index] for index in range(length)], dtype=float)
        self.b = np.array([theirs[index] for index in range(length)], dtype=float)
        tied = self.a == self.b  # both failed, too: infinity less infinity is no number
        with np.errstate(invalid="ignore"):
            self.d = np.where(tied, 0.0, self.a - self.b)
        self.usable = ~(tied & np.isinf(self.a))
        self.protocol = protocol
        self.looks = 0
        self.p = self.p_holm = self.p_equivalence = self.p_equivalence_holm = 1.0
        self.level = protocol.alpha / len(protocol.contrasts)
        self.word: Word = "undecided"
        self.final = False
        self._evidence: dict[float, tuple[Array, Array]] = {}
        self._flips: SignFlips | None = None

    def tested(self) -> Array:
        """Return the differences of the pairs looked at that say something: not those in which both failed."""
        d: Array = self.d[: self.looks][self.usable[: self.looks]]
        return d

    def above(self, centre: float) -> float:
        """Return the two-sided p-value of `centre` if differences lie above it, else 1."""
        return self._p(centre, upwards=True)

    def below(self, centre: float) -> float:
        """Return the two-sided p-value of `centre` if differences lie below it, else 1."""
        return self._p(centre, upwards=False)

    def look(self) -> None:
        """Look at one pair more, and ask the test at the three centres."""
        self.looks += 1
        margin = self.protocol.margin
        self.p = min(self.above(0.0), self.below(0.0))
        lost = bool(np.isinf(self.tested()).any())
        self.p_equivalence = 1.0 if lost else max(self.above(-margin), self.below(margin))
        unusable = int((~self.usable[: self.looks]).sum())
        if unusable and self.protocol.seeds - unusable < least_pairs(self.protocol):
            self.word, self.final, self.p, self.p_equivalence = "invalid", True, 1.0, 1.0

    def _p(self, centre: float, *, upwards: bool) -> float:
        d = self.tested()
        where = _location(d)
        beyond = math.inf if upwards else -math.inf
        if where != beyond and not (where > centre if upwards else where < centre):
            return 1.0  # what lies on the other side of the mean is no evidence
        p = 1.0
        if self.protocol.stop == "early" and len(d):
            if centre not in self._evidence:
                self._evidence[centre] = one_sided_evidence(self.d[self.usable], centre)
            path = self._evidence[centre][0 if upwards else 1]
            p = 2 * math.exp(-float(path[: len(d)].max())) / LOOKING
        if self.looks == self.protocol.seeds and len(d):
            self._flips = self._flips or SignFlips(d)
            flipped = self._flips.above(centre) if upwards else self._flips.below(centre)
            p = min(p, 2 * flipped / _kept(self.protocol))
        return min(1.0, p)


def _location(d: Array) -> float:
    """Return the mean, where one lost pair outweighs all finite ones: infinite unless lost pairs balance each other."""
    lost = np.sign(d[np.isinf(d)]).sum()
    if lost:
        return math.copysign(math.inf, lost)
    finite = d[np.isfinite(d)]
    return float(finite.mean()) if len(finite) else 0.0


def _kept(protocol: Protocol) -> float:
    """Return the share of alpha that is kept for the test of all pairs."""
    return 1.0 - LOOKING if protocol.stop == "early" else 1.0


def _best_p(pairs: int, protocol: Protocol) -> float:
    """Return the smallest p-value that `pairs` pairs can lead to."""
    best = 2.0 ** (1 - pairs) / _kept(protocol)
    if protocol.stop == "early":
        best = min(best, 2 * math.exp(-most_evidence(pairs)) / LOOKING)
    return min(1.0, best)


def _looked_at(values: Values, protocol: Protocol) -> list[_Series]:
    """Return the contrasts, each looked at until it was decided or pairs ran out."""
    every = [_Series(values, contrast, protocol) for contrast in protocol.contrasts]
    for pair in range(protocol.seeds):
        undecided = [series for series in every if not series.final]
        if not undecided or any(len(series.d) <= pair for series in undecided):
            break
        for series in undecided:
            series.look()
        _decide(every, undecided, protocol)
    return every


def _decide(every: Sequence[_Series], undecided: Sequence[_Series], protocol: Protocol) -> None:
    """Let Holm's procedure judge the contrasts that are still open beside those that are not, each with its p so far."""
    alpha = protocol.alpha
    p, equal = [s.p for s in every], [s.p_equivalence for s in every]
    judged = zip(every, holm(p), holm(equal), holm_levels(p, alpha), holm_levels(equal, alpha), strict=True)
    for series, p_holm, p_equivalence, level, level_equivalence in judged:
        if series not in undecided:
            continue
        series.p_holm, series.p_equivalence_holm = p_holm, p_equivalence
        differs, same = p_holm <= alpha, p_equivalence <= alpha
        # The widest interval where nothing is said, else the one that leaves out what the word denies.
        levels = [level] * differs + [level_equivalence] * same
        series.level = max(levels) if levels else min(level, level_equivalence)
        if same:
            series.word = "equivalent"
        elif differs:
            higher = _location(series.tested()) > 0
            series.word = "better" if higher == protocol.higher_is_better else "worse"
        series.final = series.final or differs or same or series.looks == protocol.seeds


def _verdict(series: _Series, values: Values, protocol: Protocol, place: int) -> Verdict:
    used = series.d[: series.looks]
    finite = used[np.isfinite(used) & series.usable[: series.looks]]
    a, b = series.a[: series.looks], series.b[: series.looks]
    wins, losses = (used > 0).sum(), (used < 0).sum()
    if not protocol.higher_is_better:
        wins, losses = losses, wins
    several = len(finite) > 1
    level = 1 - protocol.alpha
    t = t_interval(finite, level) if several else (None, None)
    rng = np.random.default_rng((protocol.seed % 2**64, place))
    bca = bca_interval(finite, level, rng=rng) if several else (None, None)
    noise = float(np.std(finite, ddof=1)) if several else None
    enough = None if noise is None else pairs_needed(protocol.margin, noise, 0.8, protocol.alpha / len(protocol.contrasts))
    low, high = _interval(series, protocol)
    return Verdict(
        variant=series.variant,
        baseline=series.baseline,
        word=series.word,
        pairs=series.looks,
        usable=len(series.tested()),
        unused=series.available - series.looks,
        wins=int(wins),
        ties=int((used == 0).sum()),
        losses=int(losses),
        failed=int(np.isinf(a).sum()),
        baseline_failed=int(np.isinf(b).sum()),
        difference=float(finite.mean()) if len(finite) else None,
        low=low,
        high=high,
        t_low=t[0],
        t_high=t[1],
        bca_low=bca[0],
        bca_high=bca[1],
        p=series.p,
        p_holm=series.p_holm,
        p_equivalence=series.p_equivalence_holm,
        superiority=superiority(used, higher_is_better=protocol.higher_is_better, level=level),
        effect=_effect(a, b, finite),
        noise=noise,
        needed=None if enough is None else max(enough, least_pairs(protocol)),
        decided=series.final,
    )


def _interval(series: _Series, protocol: Protocol) -> tuple[float, float]:
    """Return the centres that the test does not reject."""
    d = series.tested()
    if series.word == "invalid" or not len(d):
        return -math.inf, math.inf
    anchors = (0.0, protocol.margin, -protocol.margin)
    low = lower_end(series.above, series.level, d, anchors)
    high = -lower_end(lambda centre: series.below(-centre), series.level, -d, anchors) + 0.0  # never -0.0
    # A pair that was lost to a failure has no size: unless the verdict itself speaks against it, its side stays open.
    differs = series.p_holm <= protocol.alpha
    if (d == -math.inf).any() and not (differs and low >= 0):
        low = -math.inf
    if (d == math.inf).any() and not (differs and high <= 0):
        high = math.inf
    return low, high


def _effect(a: Array, b: Array, finite: Array) -> float | None:
    """Return the mean difference in pooled standard deviations of the runs that did not fail."""
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if min(len(a), len(b)) < 2 or not len(finite):
        return None
    pooled = math.sqrt((np.var(a, ddof=1) * (len(a) - 1) + np.var(b, ddof=1) * (len(b) - 1)) / (len(a) + len(b) - 2))
    rounding = CLOSE * max(np.abs(a).max(), np.abs(b).max())
    return float(finite.mean()) / pooled if pooled > rounding else None
