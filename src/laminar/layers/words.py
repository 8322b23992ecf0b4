"""What is said of an argument that a layer's constructor does not have: what does its work here, or the closest name."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Mapping
from typing import Any, Unpack, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from laminar.errors import ArgumentError, complaint
from laminar.names import unknown_name

__all__ = ["check_words"]

_INFERRED = ("none: shapes are inferred", "Leave it out; model.build(shape) tells the shape before there is data")
_CHANNELS = ("none: channels come first in every layer", "Leave it out, and give channels-last data as x.movedim(-1, 1)")
_ELSEWHERE = {
    "input_shape": _INFERRED,
    "batch_input_shape": _INFERRED,
    "batch_shape": _INFERRED,
    "input_dim": _INFERRED,
    "input_length": _INFERRED,
    "data_format": _CHANNELS,
    "dtype": ("none: a network has one dtype", "Leave it out, and call model.to(torch.float64), say"),
    "seed": ("none: one seed repeats a whole run", "Leave it out, and pass seed= to build or fit"),
    "trainable": ("none: it is an attribute", "Leave it out, and set layer.trainable = False"),
    "weights": ("none: initializers give values", "Leave it out, and pass a tensor as initializer"),
    "_constraint": ("none: no weight is constrained", "Leave it out"),
    "_regularizer": ("none: the penalty belongs to training", "Leave it out, and give the optimizer weight_decay=1e-4, say"),
}
"""Words of Keras' layers, or how they end: what is expected instead, and the fix."""

_KNOWN: WeakKeyDictionary[type, list[str] | None] = WeakKeyDictionary()  # to resolve annotations takes a millisecond


def check_words(cls: type, given: Mapping[str, Any], elsewhere: Mapping[str, tuple[str, str]] = _ELSEWHERE) -> None:
    """Refuse keyword arguments that the constructor of `cls` does not have.

    Nothing is refused where it takes any, as `**kwargs` that no `Unpack` describes.

    Args:
        cls: a class of layers, or of anything else.
        given: the keyword arguments.
        elsewhere: words of Keras, or how they end ("_constraint") -> what is expected instead, and the fix.

    Raises:
        ArgumentError: on one that Keras has, saying what does its work here.
        UnknownNameError: on any other.

    >>> from laminar.layers.core import Flatten
    >>> check_words(Flatten, {"name": "rows"})
    """
    if given and cls not in _KNOWN:
        _KNOWN[cls] = _known(cls)
    known = _KNOWN[cls] if given else None
    for name, value in given.items():
        if known is None or name in known:
            continue
        for word, (expected, fix) in elsewhere.items():
            if name == word or (word[0] == "_" and name.endswith(word)):
                raise ArgumentError(
                    complaint(f"{cls.__name__}({name}=)", expected=expected, received=reprlib.repr(value), fix=fix)
                )
        raise unknown_name(f"{cls.__name__}: argument", name, known)


def _known(cls: type) -> list[str] | None:
    """Return the names of the arguments that `cls` takes; None where nobody can tell."""
    constructor: Any = cls.__init__  # type: ignore[misc]  # to be read, not called
    known: list[str] = []
    for parameter in list(inspect.signature(constructor).parameters.values())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            try:
                described = get_type_hints(constructor).get(parameter.name)
            except NameError:  # imported for type checkers alone
                described = None
            if get_origin(described) is not Unpack:
                return None
            known += get_type_hints(get_args(described)[0])
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            known.append(parameter.name)
    return known
