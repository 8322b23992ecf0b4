"""What users pass to compile and fit, checked before anything is done with it."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from laminar import metrics, seeding
from laminar.errors import ArgumentError, complaint
from laminar.fit.batches import Shuffle, split
from laminar.fit.callbacks import Callback
from laminar.fit.forward import Engine
from laminar.fit.precision import Precision
from laminar.layers.core import positive
from laminar.names import unknown_name
from laminar.shapes import Shape
from laminar.symbols import Symbol

__all__ = [
    "Triple",
    "callback_list",
    "device_of",
    "engine_of",
    "input_shapes",
    "metric_list",
    "module_list",
    "noise",
    "parts",
    "precision_of",
    "seed_of",
    "shuffle_of",
    "whole_numbers",
]

Triple = tuple[Any, Any, Any]


def whole_numbers(who: str, **values: Any) -> list[int]:
    """Return the values, all whole numbers of at least 1.

    Raises:
        ArgumentError: naming the first argument of `who` that is something else.
    """
    return [positive(f"{who}({name}=)", value) for name, value in values.items()]


def input_shapes(where: str, shapes: Sequence[Any], *, one: bool) -> list[Shape]:
    """Return the shape of one observation of each input.

    Args:
        where: who asks, for messages.
        shapes: whole numbers or sequences of them.
        one: whether there can be one input only.

    Raises:
        ArgumentError: if they are no shapes.

    >>> input_shapes("build", [(1, 28, 28)], one=True), input_shapes("build", [5, (2, 3)], one=False)
    ([(1, 28, 28)], [(5,), (2, 3)])
    """
    fix = "Write build((1, 28, 28)), without the batch axis"
    if not shapes or (one and len(shapes) > 1):
        received = ", ".join(map(repr, shapes)) or "none"
        raise ArgumentError(complaint(where, expected="the shape of one observation", received=received, fix=fix))
    found = []
    for shape in shapes:
        try:
            sizes = tuple(operator.index(n) for n in (shape if isinstance(shape, Iterable) else (shape,)))
        except TypeError:
            sizes = (0,)
        if any(n < 1 for n in sizes):
            raise ArgumentError(complaint(where, expected="whole numbers of at least 1", received=repr(shape), fix=fix))
        found.append(sizes)
    return found


def shuffle_of(value: Any) -> Shuffle:
    """Return "epoch", "once" or False.

    Raises:
        ArgumentError: if it is something else.
    """
    known: dict[object, Shuffle] = {"epoch": "epoch", "once": "once"}
    if isinstance(value, bool):
        return "epoch" if value else False
    if not isinstance(value, str) or value not in known:
        raise ArgumentError(
            complaint("fit(shuffle=)", expected='"epoch", "once" or False', received=f"{value!r}", fix='Pass shuffle="epoch"')
        )
    return known[value]


def seed_of(where: str, value: Any) -> int | None:
    """Return a whole number, or None.

    Raises:
        ArgumentError: if it is something else.
    """
    if value is None:
        return None
    try:
        return operator.index(value)
    except TypeError as error:
        raise ArgumentError(
            complaint(where, expected="a whole number or None", received=f"{value!r}", fix="Pass seed=0, say")
        ) from error


def device_of(device: Any) -> torch.device:
    """Return a device of this machine; "auto" is a GPU where there is one.

    Raises:
        ArgumentError: if there is no such device.
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cause: Exception | None = None
    try:
        found = torch.device(device)
        if found.type != "meta":  # which computes nothing
            torch.empty(0, device=found)
            return found
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        cause = error
    raise ArgumentError(
        complaint("compile(device=)", expected="a device of this machine", received=f"{device!r}", fix='Pass device="auto"')
    ) from cause


def engine_of(engine: Any) -> Engine:
    """Return the name of an engine.

    Raises:
        UnknownNameError: if there is none of that name.
    """
    known = get_args(Engine)
    if engine not in known:
        raise unknown_name("compile(engine=)", engine, known)
    found: Engine = engine
    return found


def precision_of(precision: Any) -> Precision:
    """Return the name of a precision.

    Raises:
        UnknownNameError: if there is none of that name.
    """
    known = get_args(Precision)
    if precision not in known:
        raise unknown_name("compile(precision=)", precision, known)
    found: Precision = precision
    return found


def metric_list(value: Any) -> list[Any]:
    """Return metrics as a list, having looked at each: they are named in `History`, so no two may share a name.

    Raises:
        UnknownNameError: on an unknown name.
        ArgumentError: if a name comes twice, or is "loss".
    """
    alone = value is not None and (isinstance(value, (str, metrics.Metric)) or callable(value))
    wanted = [value] if alone else list(value or ())
    taken = {"loss"}
    for metric in wanted:
        name = metrics.get(metric).name
        if not metrics.get(metric).is_number:
            fix = "Call it on what predict returns, or use metrics.confusion_matrix(y, model.classify(x))"
            expected, received = "metrics that are one number", f"{name!r}, which is several"
            raise ArgumentError(complaint("compile(metrics=)", expected=expected, received=received, fix=fix))
        if name in taken:
            raise ArgumentError(
                complaint(
                    "compile(metrics=)",
                    expected='metrics of different names, other than "loss"',
                    received=f"{name!r} {'for a metric' if name == 'loss' else 'twice'}",
                    fix='Leave it out, or name a function: CustomMetric(function, name="other")',
                )
            )
        taken.add(name)
    return wanted


def callback_list(value: Any) -> list[Callback]:
    """Return callbacks as a list.

    Raises:
        ArgumentError: if one is no `Callback`.
    """
    wanted = list(value or ()) if value is None or isinstance(value, Iterable) else [value]
    for callback in wanted:
        if not isinstance(callback, Callback):
            a_class = isinstance(callback, type)
            raise ArgumentError(
                complaint(
                    "fit(callbacks=)",
                    expected="instances of laminar.Callback",
                    received=_called(callback),
                    fix=f"Pass {callback.__name__}()" if a_class else "Derive its class from laminar.Callback",
                )
            )
    return wanted


def module_list(where: str, value: Any) -> list[nn.Module]:
    """Return modules as a list.

    Raises:
        ArgumentError: if there is something else among them, such as a module's class.
    """
    if not isinstance(value, Iterable):
        received, fix = type(value).__name__, f"Put it into brackets: [{type(value).__name__}(...)]"
        raise ArgumentError(complaint(where, expected="a list of layers", received=received, fix=fix))
    return [_module(f"{where}, position {i}", layer) for i, layer in enumerate(value)]


def _module(where: str, value: Any) -> nn.Module:
    if isinstance(value, nn.Module):
        return value
    fix = "Wrap a function: Activation(function)"
    if isinstance(value, type):
        fix = f"Write {value.__name__}()"
    elif isinstance(value, Symbol):
        fix = "Leave Input out, shapes are inferred; or write Model(inputs, outputs)"
    raise ArgumentError(complaint(where, expected="a layer or torch.nn.Module", received=_called(value), fix=fix))


def _called(value: Any) -> str:
    """Return what to call something that is no instance of the right class."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return "a function" if callable(value) else type(value).__name__


def parts(data: Triple, validation_data: Any, validation_split: Any) -> tuple[Triple, Triple | None]:
    """Return what to train on and what to validate on, each as x, y and weights.

    Raises:
        ArgumentError: if both ways to validate are asked for, or the data cannot be split.
    """
    if validation_split is None:
        return data, None if validation_data is None else _triple(validation_data)
    if validation_data is not None:
        raise ArgumentError(
            complaint(
                "fit(validation_split=)",
                expected="one of validation_data and validation_split",
                received="both",
                fix="Leave one out",
            )
        )
    return split(*data, validation_split)


def _triple(data: Any) -> Triple:
    """Return x, y and weight of a pair or triple of arrays, or of a source that yields batches."""
    if isinstance(data, (Dataset, DataLoader)):
        return data, None, None
    if isinstance(data, tuple):
        if len(data) not in (2, 3):
            raise ArgumentError(
                complaint(
                    "fit(validation_data=)",
                    expected="(x, y) or (x, y, sample_weight)",
                    received=f"a tuple of {len(data)}",
                    fix="Put several inputs into a tuple of their own: ((a, b), y)",
                )
            )
        x, y, weight = (*data, None)[:3]
        return x, y, weight
    # a list of two arrays is a pair as well; a list of pairs is a list of batches
    if isinstance(data, list) and len(data) in (2, 3) and all(hasattr(part, "__array__") for part in data):
        x, y, weight = (*data, None)[:3]
        return x, y, weight
    return data, None, None


@contextmanager
def noise(seed: int | None, device: torch.device, what: str = "noise") -> Iterator[None]:
    """Draw dropout and the like from `seed` inside, and leave torch's global generators as they were.

    Args:
        seed: None to draw from the global generators.
        device: whose generator is drawn from, beside the CPU's.
        what: what is drawn, so that one seed gives different numbers for different things.
    """
    if seed is None:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seeding.derive(seed, what))
        yield
