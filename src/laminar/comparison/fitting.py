"""Arguments of `Model.fit` that are given to whoever trains many networks, looked at before the first one is trained."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from laminar.callbacks.monitor import number
from laminar.comparison.task import fresh
from laminar.errors import ArgumentError, complaint
from laminar.fit import arguments
from laminar.model import Model
from laminar.names import unknown_name

__all__ = ["checked_fit"]


def checked_fit(
    where: str, fit: Mapping[str, Any], taken: Mapping[str, tuple[str, str]], others: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the arguments of fit; refuse what `Model.fit` would refuse, and what it is given by somebody else.

    Args:
        where: who was given them, for messages.
        fit: argument -> value.
        taken: argument of fit -> what is expected in its place, and the fix.
        others: arguments that could have been meant, beside those of fit.

    Raises:
        UnknownNameError: on an argument that there is not.
        ArgumentError: on a value that cannot work, or an argument that is taken.
    """
    of_fit = inspect.signature(Model.fit).parameters.keys() - {"self"}
    for name, value in fit.items():
        if name in taken:
            expected, fix = taken[name]
            raise ArgumentError(complaint(f"{where}({name}=)", expected=expected, received=type(value).__name__, fix=fix))
        if name not in of_fit:
            raise unknown_name(f"{where}: argument", name, (of_fit - taken.keys()) | {*others})
    arguments.whole_numbers(where, **{name: fit[name] for name in ("epochs", "batch_size", "log_every") if name in fit})
    if "shuffle" in fit:
        arguments.shuffle_of(fit["shuffle"])
    if fit.get("validation_split") is not None:
        number(f"{where}(validation_split=)", fit["validation_split"], 0.2, above=0.0, below=1.0)
    callbacks = fit.get("callbacks", ())
    callbacks = list(callbacks) if isinstance(callbacks, Iterator) else callbacks  # an iterator would do for one run only
    arguments.callback_list(fresh(callbacks))
    return {**fit, "callbacks": callbacks} if "callbacks" in fit else dict(fit)
