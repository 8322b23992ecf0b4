"""What is said of an argument that a method of a network does not have: what does its work here, or the closest name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from laminar.errors import ArgumentError, complaint
from laminar.names import unknown_name

__all__ = ["named_arguments"]

P = ParamSpec("P")
Result = TypeVar("Result")
Owner = TypeVar("Owner")

_SILENT = ("none: it prints nothing", "Leave it out")
_ELSEWHERE = {
    ("evaluate", "verbose"): _SILENT,
    ("predict", "verbose"): _SILENT,
    ("classify", "verbose"): _SILENT,
    ("evaluate", "return_dict"): ("none: it returns a dict of figures by name", "Leave it out"),
    ("compile", "learning_rate"): (
        "none: it is the optimizer's",
        "Write compile(optimizers.Adam(learning_rate=0.001), ...), say",
    ),
    ("compile", "lr"): ("none: it is the optimizer's", "Write compile(optimizers.Adam(learning_rate=0.001), ...), say"),
    ("fit", "accumulate_grad_batches"): (
        "none: it is the optimizer's",
        "Write compile(optimizers.Adam(gradient_accumulation_steps=4), ...), say",
    ),
    ("fit", "steps_per_epoch"): ("none: an epoch is one pass over the data", "Leave it out"),
    ("fit", "initial_epoch"): ("none: a second fit goes on where the first one ended", "Leave it out"),
}
"""Words of Keras' methods, and one of Lightning's: what is expected instead, and the fix."""


def named_arguments(
    method: Callable[Concatenate[Owner, P], Result],
) -> Callable[Concatenate[Owner, P], Result]:
    """Return `method`, with an error of ours where an argument has no such name, or no name at all.

    Raises:
        ArgumentError: on an argument that Keras has, saying what does its work here; on too many without a name.
        UnknownNameError: on any other.

    >>> class Net:
    ...     @named_arguments
    ...     def fit(self, x, *, epochs=1): ...
    >>> Net().fit(0, nb_epoch=2)
    Traceback (most recent call last):
        ...
    laminar.errors.UnknownNameError: Net.fit: argument 'nb_epoch' is unknown. Did you mean 'epochs'? Known: epochs, x.
    """
    parameters = list(inspect.signature(method).parameters.values())[1:]
    known = [p.name for p in parameters]
    by_place = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    what = method.__name__

    @functools.wraps(method)
    def checked(owner: Owner, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        where = f"{type(owner).__name__}.{what}"
        for name, value in kwargs.items():
            if (what, name) in _ELSEWHERE and name not in known:
                expected, fix = _ELSEWHERE[what, name]
                raise ArgumentError(complaint(f"{where}({name}=)", expected=expected, received=f"{value!r}", fix=fix))
            if name not in known:
                raise unknown_name(f"{where}: argument", name, known)
        if len(args) > len(by_place):
            expected, fix = f"only {' and '.join(by_place)} without a name", f"Name the others, as in {known[len(by_place)]}="
            raise ArgumentError(complaint(where, expected=expected, received=f"{len(args)} arguments", fix=fix))
        return method(owner, *args, **kwargs)

    return checked
