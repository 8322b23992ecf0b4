"""What a search claims and what survives of it: R15's perceptron on CIFAR-10 and R5's network on digits, 40 trials each.

Each search is a study file of its own, `laminar tune laminar.studies.tuned_digits`; this one runs both, or goes on with what of
them is in the store, and puts claimed and surviving gain side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from laminar.comparison.units import units_of
from laminar.tuning.result import Tuning
from laminar.tuning.search import tune

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SEARCHES", "as_rows", "pictures", "study", "table"]

SEARCHES = {
    "CIFAR-10 perceptron (R15)": "laminar.studies.tuned_perceptron",
    "digits (R5)": "laminar.studies.tuned_digits",
}
"""Name -> study file."""


def study(
    *, seeds: int | None = None, epochs: int | None = None, trials: int | None = None, report: Callable[[str], object] = print
) -> dict[str, Tuning]:
    """Run both searches, or what is missing of them, and confirm the winners.

    Args:
        seeds: pairs of fresh seeds for the confirmation; the study's own number where None.
        epochs: of each training; the study's own number where None.
        trials: of each search; the study's own number where None.
        report: is given each result in words.

    Raises:
        FileError: if the data are neither there nor to be had.
    """
    own = {"confirm": seeds, "epochs": epochs, "trials": trials}
    found = {}
    for name, module in SEARCHES.items():
        found[name] = tune(**import_module(module).search() | {key: value for key, value in own.items() if value is not None})
        report(f"{name}\n{found[name]}\n")
    return found


def table(found: dict[str, Tuning]) -> str:
    """Return default, best, claimed and confirmed gain, and the share that survives, of each search, as Markdown."""
    head = ["search", "default", "best of the search", "claimed gain", "confirmed gain (95 %)", "survives", "verdict"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join([name, *_cells(tuning)])} |" for name, tuning in found.items()]
    return "\n".join(lines)


def _cells(tuning: Tuning) -> Iterable[str]:
    units = units_of(tuning.search.metric)
    default, survived = tuning.default, tuning.survival
    yield units.value(None if default is None else default.value)
    yield units.value(tuning.best_value)
    yield units.difference(tuning.gain)
    if survived is None or tuning.confirmation is None:
        yield from ("not confirmed", "–", "–")
        return
    yield f"{units.difference(survived.confirmed)} ({units.difference(survived.low)} to {units.difference(survived.high)})"
    share = survived.share
    yield "–" if share is None else f"{100 * share[0]:.0f} % ({100 * share[1]:.0f} % to {100 * share[2]:.0f} %)"
    yield "; ".join(tuning.confirmation.sentences)


def as_rows(found: dict[str, Tuning]) -> dict[str, Any]:
    """Return everything as plain values, for JSON."""
    return {name: tuning.to_dict() for name, tuning in found.items()}


def pictures(found: dict[str, Tuning]) -> dict[str, Figure]:
    """Return the trials, the slices and the importance of each search."""
    from laminar import plots

    drawn = {"trials": plots.trials, "slices": plots.slices, "importance": plots.importance}
    parts = {name: module.rpartition("_")[2] for name, module in SEARCHES.items()}
    return {f"tuned-{parts[name]}-{what}": draw(tuning) for name, tuning in found.items() for what, draw in drawn.items()}
