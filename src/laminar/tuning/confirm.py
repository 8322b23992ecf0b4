"""How much of a search's gain survives: the default against the winner, on seeds that the search has not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from laminar import seeding
from laminar.comparison.compare import compare
from laminar.comparison.digest import digest
from laminar.comparison.protocol import Protocol, make_protocol
from laminar.comparison.result import Comparison
from laminar.comparison.runs import plain
from laminar.comparison.units import units_of
from laminar.comparison.verdicts import Verdict, refuse_too_few
from laminar.errors import ArgumentError, complaint
from laminar.tuning.attempt import Search

__all__ = ["DEFAULT", "TUNED", "Survival", "check_confirmation", "confirmed", "rebuilt", "survival"]

DEFAULT, TUNED = "default", "tuned"


@dataclass(frozen=True)
class Survival:
    """What is left of the gain that a search has claimed. Gains are positive where the winner is better.

    Attributes:
        metric: what is measured.
        claimed: the winner's value less the default's, each of one training, on the validation data; None where the default
            has none.
        confirmed: mean gain over pairs of fresh seeds; None where every pair lost a run.
        low: lower end of its 95 % interval.
        high: upper end.
        pairs: how many there were.
        fresh: whether it was measured on data that the search has not seen.
    """

    metric: str
    claimed: float | None
    confirmed: float | None
    low: float
    high: float
    pairs: int
    fresh: bool

    @property
    def share(self) -> tuple[float, float, float] | None:
        """The share of the claimed gain that survives, and its interval; None where no gain was claimed.

        The claimed gain counts as a given number: the interval is that of the confirmed one.
        """
        if self.claimed is None or self.claimed <= 0 or self.confirmed is None:
            return None
        return self.confirmed / self.claimed, self.low / self.claimed, self.high / self.claimed

    def to_dict(self) -> dict[str, Any]:
        """Return it as values that JSON knows; infinite ends become None."""
        values: dict[str, Any] = plain(asdict(self) | {"share": self.share})
        return values

    def __str__(self) -> str:
        """Return it in words.

        >>> print(Survival("accuracy", 0.04, 0.01, 0.005, 0.015, 10, True))
        Claimed: +4.00 points, one training each, on the validation data.
        Confirmed: +1.00 points (+0.50 points to +1.50 points), 10 pairs of fresh seeds, on data that the search has not seen.
        25 % of the claimed gain survives (12 % to 38 %).
        """
        units = units_of(self.metric)
        claimed = "none: the default has no value" if self.claimed is None else units.difference(self.claimed)
        lines = [f"Claimed: {claimed}, one training each, on the validation data."]
        where = "data that the search has not seen" if self.fresh else "the validation data, which the search has seen"
        interval = f"{units.difference(self.low)} to {units.difference(self.high)}"
        found = (
            "no pair in which both finished" if self.confirmed is None else f"{units.difference(self.confirmed)} ({interval})"
        )
        lines.append(f"Confirmed: {found}, {self.pairs} pairs of fresh seeds, on {where}.")
        if self.share is not None:
            share, low, high = (f"{100 * part:.0f} %" if math.isfinite(part) else units.value(part) for part in self.share)
            survives = f"{share} of the claimed gain survives" if self.share[0] > 0 else "Nothing of the claimed gain survives"
            lines.append(f"{survives} ({low} to {high}).".replace("-", "\N{MINUS SIGN}"))
        return "\n".join(lines)


def survival(metric: str, claimed: float | None, verdict: Verdict, *, higher_is_better: bool, fresh: bool) -> Survival:
    """Return what is left of a claimed gain after a verdict on the winner against the default.

    Args:
        metric: what is measured.
        claimed: the gain, positive where the winner is better.
        verdict: of the comparison.
        higher_is_better: of the metric.
        fresh: whether the comparison was made on data that the search has not seen.
    """
    sign = 1.0 if higher_is_better else -1.0
    low, high = sorted((sign * verdict.low, sign * verdict.high))
    difference = None if verdict.difference is None else sign * verdict.difference
    return Survival(metric, claimed, difference, low, high, verdict.pairs, fresh)


def rebuilt(build: Callable[[Any], Any], params: Mapping[str, Any]) -> Any:
    """Return what `build` makes of given parameters."""
    from optuna.trial import FixedTrial

    return build(FixedTrial(dict(params)))


def check_confirmation(search: Search, pairs: Any, margin: float | None) -> Protocol:
    """Return what the confirmation will declare; refuse one that cannot lead to a verdict.

    Raises:
        ArgumentError: if there is no default to compare with, or an argument cannot work.
        TooFewRunsError: naming how many pairs are needed.
    """
    if search.default is None:
        fix = "Pass default={...}, the parameters you would have used without a search"
        where, expected = "tune(confirm=)", "default parameters to compare the winner with"
        raise ArgumentError(complaint(where, expected=expected, received="none", fix=fix))
    protocol = make_protocol(
        [DEFAULT, TUNED],
        metric=search.metric,
        margin=1.0 if margin is None else margin,
        seeds=pairs,
        stop="fixed",
        direction="max" if search.higher_is_better else "min",
    )
    refuse_too_few(protocol)
    return protocol


def confirmed(
    search: Search,
    params: Mapping[str, Any],
    pairs: int,
    *,
    test: Any,
    margin: float,
    store: str | None,
    name: str,
    **running: Any,
) -> Comparison:
    """Return the comparison of the default with `params`: pairs of seeds that no trial of the search has had.

    Args:
        search: with default parameters.
        params: of the winner.
        pairs: how many.
        test: data to compare on; the validation data where None.
        margin: the smallest gain that matters, in units of the metric.
        store: where it is kept.
        name: of the search.
        running: `workers` and `verbose` of `compare`.
    """
    assert search.default is not None
    builders = {name: partial(rebuilt, search.build, of) for name, of in ((DEFAULT, search.default), (TUNED, params))}
    return compare(
        builders,
        search.train,
        search.validation if test is None else test,
        metric=search.metric,
        margin=margin,
        seeds=pairs,
        baseline=DEFAULT,
        stop="fixed",
        seed=seeding.derive(search.seed, "confirmation"),
        direction="max" if search.higher_is_better else "min",
        store=store,
        name=f"{name}, confirmed {digest(dict(params), test)}",
        validation_data=search.validation,  # callbacks may look at it: the training is that of the search
        **running,
        **search.fit,
    )
