"""What one training of one variant left behind, as plain values that a store can keep."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

__all__ = ["Run", "Status", "plain", "values_by_variant"]

Status = Literal["finished", "diverged", "failed"]

_LONGEST = 120  # characters of a reason


@dataclass(frozen=True)
class Run:
    """One training of one variant from one seed, and its test.

    Attributes:
        variant: its name.
        index: which pair it belongs to, from 0: runs of one index share the seed, and with it every source of variation.
        seed: of initial values, shuffling, augmentation and dropout.
        status: "finished"; "diverged", where the loss was no longer finite; "failed" with any other exception. A metric that
            is not a finite number makes a run "diverged", too.
        value: the metric on the test data; None unless finished.
        error: what was raised; None if finished.
        figures: figure -> value on the test data, all that the network was compiled with.
        history: figure -> one number for each epoch.
        elapsed: seconds of training at the end of each epoch, without the evaluations between.
        seconds: of the training; where several seeds were trained in one program, its time divided by their number.
        evaluation: observations of the test data per second, in inference.
        parameters: numbers that the network holds, trained or not.
        memory: bytes held at the peak of one training step, by parameters, gradients, optimizer and activations; measured in
            the run of pair 0, None in others.
        together: how many seeds were trained in one program.
        started: UTC, ISO 8601.
        environment: what it ran on: versions, device, threads, host, process.
    """

    variant: str
    index: int
    seed: int
    status: Status = "finished"
    value: float | None = None
    error: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    history: Mapping[str, list[float]] = field(default_factory=dict)
    elapsed: list[float] = field(default_factory=list)
    seconds: float = 0.0
    evaluation: float | None = None
    parameters: int = 0
    memory: int | None = None
    together: int = 1
    started: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """The first sentence of what ended the run.

        >>> Run("wide", 0, 7, "diverged", error="loss became nan. Lower the learning rate.").reason
        'loss became nan'
        """
        line = ((self.error or "").strip().splitlines() or ["no message"])[0].partition(". ")[0]
        return line if len(line) <= _LONGEST else f"{line[:_LONGEST].rsplit(' ', 1)[0]} ..."

    def to_dict(self) -> dict[str, Any]:
        """Return the run as values that JSON knows; numbers that are not finite become None.

        >>> Run.from_dict(Run("wide", 0, 7, value=0.5).to_dict()) == Run("wide", 0, 7, value=0.5)
        True
        """
        values: dict[str, Any] = plain(asdict(self))
        return values

    def to_row(self) -> dict[str, Any]:
        """Return what of the run is one number or one word; figures of the test data are "test_loss", ...

        >>> Run("wide", 0, 7, figures={"loss": 0.1}, elapsed=[1.0, 2.0]).to_row()["test_loss"]
        0.1
        """
        flat = self.to_dict()
        nested = {key: flat.pop(key) for key in ("figures", "history", "elapsed", "environment")}
        figures = {f"test_{name}": value for name, value in nested["figures"].items()}
        return {**flat, **figures, "epochs": len(nested["elapsed"]), **nested["environment"]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Run:
        """Return what `to_dict` has made plain; what a later version has added is left aside."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def values_by_variant(runs: Iterable[Run], *, higher_is_better: bool) -> dict[str, dict[int, float]]:
    """Return variant -> index -> value; a run that did not finish is worse than any number.

    >>> values_by_variant([Run("a", 0, 7, value=0.5), Run("a", 1, 8, "diverged")], higher_is_better=True)
    {'a': {0: 0.5, 1: -inf}}
    """
    worst = -math.inf if higher_is_better else math.inf
    values: dict[str, dict[int, float]] = {}
    for run in runs:
        values.setdefault(run.variant, {})[run.index] = worst if run.value is None else run.value
    return values


def plain(value: Any) -> Any:
    """Return what JSON knows of a value: None for numbers that are not finite, lists for tuples.

    >>> plain({"loss": (0.5, math.nan)})
    {'loss': [0.5, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: plain(v) for key, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value
