"""What one trial of a search left behind, as plain values; made from what Optuna has stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["OUTCOME", "PLACE", "Outcome", "Status", "Tried", "best_of", "tried"]

Status = Literal["finished", "pruned", "diverged", "failed"]

PLACE, OUTCOME = "place", "outcome"
"""Names of Optuna's user attributes: which of the trials asked for it is, and how it ended. A trial without the latter was cut
short, and is done again."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        status: "finished"; "pruned", where the training was ended early; "diverged", where loss or metric were no longer
            finite; "failed" with any other exception.
        value: the metric of the trained network on the validation data; None unless finished.
        error: what was raised; None if nothing was.
        seconds: from building the network to the end.
        history: figure -> one number for each epoch, None for what is not finite.
    """

    status: Status = "finished"
    value: float | None = None
    error: str | None = None
    seconds: float = 0.0
    history: Mapping[str, list[float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Tried:
    """One trial: parameters, and what a network trained with them achieved.

    Attributes:
        number: in the Optuna study, from 0; trials that were cut short have one, too.
        place: which of the trials that were asked for it is, from 0; the seeds depend on it.
        params: parameter -> value that was suggested.
        status: see `Outcome`.
        value: see `Outcome`.
        error: see `Outcome`.
        seconds: see `Outcome`.
        history: see `Outcome`.
        curve: the metric on the validation data after each epoch.
        default: whether these are the default parameters.
        seed: of initial values, shuffling, augmentation and dropout.
        started: UTC, ISO 8601.
        environment: what it ran on: versions, device, threads, host, process.
    """

    number: int
    place: int
    params: Mapping[str, Any]
    status: Status = "finished"
    value: float | None = None
    error: str | None = None
    seconds: float = 0.0
    history: Mapping[str, list[float | None]] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    default: bool = False
    seed: int = 0
    started: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> float | None:
        """The value, or where there is none the metric after the last epoch that ended."""
        return self.value if self.value is not None or not self.curve else self.curve[-1]

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as plain values."""
        return asdict(self) | {"params": dict(self.params), "curve": list(self.curve)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Tried:
        """Return what `to_dict` has made plain.

        >>> Tried.from_dict(Tried(0, 0, {"x": 1}, value=0.5).to_dict()) == Tried(0, 0, {"x": 1}, value=0.5)
        True
        """
        return cls(**{**values, "curve": tuple(values["curve"])})


def tried(trial: FrozenTrial) -> Tried | None:
    """Return what Optuna has stored of a trial; None where it has not ended, or was cut short."""
    known = trial.user_attrs
    if not trial.state.is_finished() or known.get(OUTCOME, {}).get("status") not in get_args(Status):
        return None
    outcome = Outcome(**known[OUTCOME])
    curve = tuple(trial.intermediate_values[step] for step in sorted(trial.intermediate_values))
    begun = {name: known[name] for name in ("default", "seed", "started", "environment")}
    return Tried(trial.number, known[PLACE], dict(trial.params), curve=curve, **begun, **vars(outcome))


def best_of(trials: Iterable[Tried], *, higher_is_better: bool) -> Tried | None:
    """Return the finished trial with the best value, the earliest of equal ones; None where none has finished.

    >>> best_of([Tried(0, 0, {"x": 1}, value=0.5), Tried(1, 1, {"x": 2}, value=0.7)], higher_is_better=True).params
    {'x': 2}
    """
    sign = 1.0 if higher_is_better else -1.0
    finished = [(sign * t.value, -t.place, t) for t in trials if t.value is not None]
    return max(finished, key=lambda entry: entry[:2])[2] if finished else None
