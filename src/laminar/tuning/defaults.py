"""The default parameters of a search, tried on the user's function before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from laminar.errors import ArgumentError, complaint
from laminar.layers.core import is_number
from laminar.names import unknown_name

__all__ = ["check_default"]


def check_default(build: Callable[[Any], Any], default: Mapping[str, Any]) -> Any:
    """Return what `build` makes of the default parameters.

    Args:
        build: function of an Optuna trial.
        default: parameter -> value, for each that `build` suggests.

    Raises:
        UnknownNameError: if `build` does not suggest one of them.
        ArgumentError: if one is missing, or its value cannot be suggested.

    >>> check_default(lambda trial: trial.suggest_int("units", 1, 9), {"units": 5})
    5
    """
    if not isinstance(default, Mapping):
        received, fix = type(default).__name__, 'Pass default={"learning_rate": 0.01}, say'
        raise ArgumentError(complaint("tune(default=)", expected="parameters by name", received=received, fix=fix))
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.trial import FixedTrial

    class Rehearsal(FixedTrial):
        """Gives the default values, once each is known to be one that may be suggested."""

        def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:
            look(name, FloatDistribution(low, high, log=log, step=step), f"a number from {low:g} to {high:g}")
            return super().suggest_float(name, low, high, step=step, log=log)

        def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
            look(name, IntDistribution(low, high, log=log, step=step), f"a whole number from {low} to {high}")
            return super().suggest_int(name, low, high, step=step, log=log)

        def suggest_categorical(self, name: str, choices: Any) -> Any:
            look(name, CategoricalDistribution(choices), f"one of {', '.join(map(repr, choices))}")
            return super().suggest_categorical(name, choices)

    def look(name: str, distribution: BaseDistribution, expected: str) -> None:
        if name not in default:
            fix = f"Pass default={{{name!r}: ...}} along with the others"
            expected = f"a value for {name!r}, which build suggests"
            raise ArgumentError(complaint("tune(default=)", expected=expected, received="none", fix=fix))
        if not _possible(default[name], distribution):
            fix = "Pass a value that build can suggest, or widen its range"
            where = f"tune(default=): parameter {name!r}"
            raise ArgumentError(complaint(where, expected=expected, received=repr(default[name]), fix=fix))

    trial = Rehearsal(dict(default))
    made = build(trial)
    for name in default:
        if name not in trial.params:
            raise unknown_name("tune(default=): parameter", name, trial.params)
    return made


def _possible(value: Any, distribution: Any) -> bool:
    """Return whether `value` is one that Optuna could suggest, its step included."""
    if hasattr(distribution, "choices"):
        return value in distribution.choices
    if not is_number(value) or not distribution.low <= value <= distribution.high:
        return False
    step = distribution.step
    if step is None:
        return True
    steps = (value - distribution.low) / step
    return bool(abs(steps - round(steps)) < 1e-8)
