"""A verdict in one sentence, which claims no more than the numbers say."""

from __future__ import annotations

import math

from laminar.comparison.drawing.scales import MINUS
from laminar.comparison.power import pairs_needed
from laminar.comparison.protocol import Protocol
from laminar.comparison.tables import amount
from laminar.comparison.units import Units, units_of
from laminar.comparison.verdicts import Verdict, least_pairs

__all__ = ["sentence"]

MANY = 10_000
"""More seeds than anybody would run: beyond, their number is not guessed."""


def sentence(verdict: Verdict, protocol: Protocol) -> str:
    """Return what is known of a variant, words first and numbers beside.

    Args:
        verdict: of the variant against its baseline.
        protocol: what was declared.

    >>> from laminar.comparison.protocol import make_protocol
    >>> from laminar.comparison.verdicts import judge
    >>> declared = make_protocol(["with BN", "without BN"], metric="accuracy", margin=0.002, seeds=6, stop="fixed")
    >>> runs = {"with BN": dict.fromkeys(range(6), 0.98), "without BN": {k: 0.97 + k / 1000 for k in range(6)}}
    >>> sentence(judge(runs, declared)[0], declared)
    'without BN is worse by 0.75 points (0.50 to 1.00), 6 of 6 seeds'
    """
    tell = {"better": _different, "worse": _different, "equivalent": _equivalent, "invalid": _invalid}
    return tell.get(verdict.word, _undecided)(verdict, protocol) + _failures(verdict)


def _different(verdict: Verdict, protocol: Protocol) -> str:
    agree = verdict.wins if verdict.word == "better" else verdict.losses
    name = f"{verdict.variant} is {verdict.word}{_than(verdict, protocol)}"
    count = f"{agree} of {_seeds(verdict.pairs)}"
    if _lost(verdict):
        return f"{name}, {count}"  # a mean of the runs that remain would say little, or even the contrary
    return f"{name} by {_amount(verdict, units_of(protocol.metric), protocol)}, {count}"


def _equivalent(verdict: Verdict, protocol: Protocol) -> str:
    units = units_of(protocol.metric)
    name = f"{verdict.variant} is equivalent{_than(verdict, protocol, 'to')}"
    if verdict.low == verdict.high == 0:
        same = f"the same {protocol.metric} in all of {_seeds(verdict.usable)}"
        return f"{name}: {same}; it differs by less than {units.size(protocol.margin)}"
    if verdict.p_holm > protocol.alpha:
        margin = f"it differs by less than {units.size(protocol.margin)}"
        return f"{name}: {margin} ({_range(verdict, units, protocol)}), {_seeds(verdict.usable)}"
    higher = verdict.low >= 0
    better = higher == protocol.higher_is_better
    count = f"{verdict.wins if better else verdict.losses} of {_seeds(verdict.pairs)}"
    amount = _amount(verdict, units, protocol)
    return f"{name}: {'better' if better else 'worse'} by {amount}, which is less than {units.size(protocol.margin)}, {count}"


def _undecided(verdict: Verdict, protocol: Protocol) -> str:
    units = units_of(protocol.metric)
    after = _seeds(verdict.pairs) if verdict.decided else f"{verdict.pairs} of {_seeds(protocol.seeds)}"
    name = f"{verdict.variant} is {'undecided' if verdict.decided else 'not yet decided'}{_than(verdict, protocol, 'against')}"
    if _lost(verdict):
        return f"{name} after {after}, better in {verdict.wins}, worse in {verdict.losses}"
    if verdict.difference is None:
        return f"{name} after {after}"
    measured = _signed(verdict.difference * units.factor, _decimals(verdict, units, protocol)) + units.of_differences
    text = f"{name} after {after}: the difference is {measured} ({_range(verdict, units, protocol)})"
    more = _more_seeds(verdict, protocol) if verdict.decided else 0
    if more > MANY:
        return f"{text}; more than {MANY:,} more seeds would be needed"
    if more < 1:
        return text
    return f"{text}; about {more if more < 100 else round(more, -1):,.0f} more seed{'s' * (more > 1)} would probably decide"


def _invalid(verdict: Verdict, protocol: Protocol) -> str:
    both = verdict.pairs - verdict.usable
    name = f"{verdict.variant} has no verdict{_than(verdict, protocol, 'against')}"
    left = protocol.seeds - both
    return (
        f"{name}: both diverged or failed in {both} of {_seeds(verdict.pairs)}, which leaves at most {left}, "
        f"and a verdict needs {least_pairs(protocol)}"
    )


def _failures(verdict: Verdict) -> str:
    """Return how many runs failed, if any did."""
    if verdict.word == "invalid" or not verdict.failed + verdict.baseline_failed:
        return ""
    runs = amount(verdict.pairs, "run")
    return f"; it diverged or failed in {verdict.failed} of {runs}, {verdict.baseline} in {verdict.baseline_failed}"


def _than(verdict: Verdict, protocol: Protocol, preposition: str = "than") -> str:
    """Return the baseline's name, where not all contrasts have the same."""
    several = len({baseline for _, baseline in protocol.contrasts}) > 1
    return f" {preposition} {verdict.baseline}" if several else ""


def _lost(verdict: Verdict) -> bool:
    """Return whether a pair was decided by one failure: its difference is no number."""
    both = verdict.pairs - verdict.usable
    return verdict.failed + verdict.baseline_failed > 2 * both


def _seeds(count: int) -> str:
    return amount(count, "seed")


def _amount(verdict: Verdict, units: Units, protocol: Protocol) -> str:
    """Return the size of a difference, and the sizes that its interval holds: all on one side of 0."""
    assert verdict.difference is not None
    decimals = _decimals(verdict, units, protocol)
    ends = [verdict.low, verdict.high] if verdict.low >= 0 else [-verdict.high, -verdict.low]
    low, high = (_plain(units.factor * end, decimals) for end in ends)
    between = f"{low} to {high}" if math.isfinite(ends[1]) else f"at least {low}"
    return f"{_plain(abs(units.factor * verdict.difference), decimals)}{units.of_differences} ({between})"


def _range(verdict: Verdict, units: Units, protocol: Protocol) -> str:
    """Return the interval with signs."""
    decimals = _decimals(verdict, units, protocol)
    low, high = (_signed(units.factor * end, decimals) for end in (verdict.low, verdict.high))
    if math.isinf(verdict.low) and math.isinf(verdict.high):
        return "too few pairs for a bound"
    if math.isinf(verdict.low):
        return f"at most {high}"
    return f"{low} to {high}" if math.isfinite(verdict.high) else f"at least {low}"


def _decimals(verdict: Verdict, units: Units, protocol: Protocol) -> int:
    """Return how many decimals the numbers of a sentence have.

    The last is worth at most a fifth of the uncertainty, and no end of the interval is rounded onto 0 or the margin.
    """
    ends = [units.factor * end for end in (verdict.low, verdict.high) if math.isfinite(end)]
    middle = units.factor * (verdict.difference or 0.0)
    margin = units.factor * protocol.margin
    uncertainty = max((abs(end - middle) for end in ends), default=0.0)
    rounding = 1e-9 * abs(middle)
    scale = uncertainty if uncertainty > rounding else abs(middle) or margin
    decimals = max(0, math.ceil(-math.log10(scale / 5)))
    limits = [0.0, margin, -margin]
    for _ in range(3):
        if not any(end != limit and round(end, decimals) == round(limit, decimals) for end in ends for limit in limits):
            break
        decimals += 1
    return decimals


def _plain(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}"


def _signed(value: float, decimals: int) -> str:
    """Return a number with its sign, which a rounded 0 has not."""
    text = f"{value:+,.{decimals}f}"
    return text.replace("-", MINUS) if any(digit in text for digit in "123456789") else text[1:]


def _more_seeds(verdict: Verdict, protocol: Protocol) -> float:
    """Return how many seeds more would decide with 80 % power, if all stays as measured; 0 where unknown."""
    if verdict.difference is None or not verdict.noise:
        return 0
    size = abs(verdict.difference)
    goals = [size, protocol.margin - size]  # to show a difference, or that it is smaller than the margin
    alpha = protocol.alpha / len(protocol.contrasts)
    enough = [pairs_needed(goal, verdict.noise, 0.8, alpha) or math.inf for goal in goals if goal > 0]
    return min(enough) - verdict.pairs
