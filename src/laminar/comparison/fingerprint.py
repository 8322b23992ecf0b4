"""What must be equal for runs to belong to one study: networks, data, and what they are trained with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from torch.utils.data import TensorDataset

from laminar.comparison.digest import digest
from laminar.comparison.task import Task
from laminar.model import Model

__all__ = ["data_of", "fingerprint", "study_name"]

_LONGEST_NAME = 60


def fingerprint(task: Task, networks: Mapping[str, Model]) -> tuple[str, tuple[str, ...]]:
    """Return a text that stands for what is compared, and in sentences what of it could not be looked into.

    It changes with a layer, an initial value, the code of a layer of one's own, the optimizer, the loss, the metrics, an
    argument of fit, the data, the metric that is compared and the root seed. It does not with the number of seeds, the margin,
    the way to stop and the device: a longer study goes on with the runs of a shorter one. It is the same in every process;
    with code of one's own in it, under one version of Python.

    Args:
        task: the comparison.
        networks: variant -> its network as pair 0 starts, built.

    >>> from laminar.comparison.protocol import make_protocol
    >>> task = Task(make_protocol(["a", "b"], metric="accuracy", margin=0.1, seeds=9), {}, ([0.0], [1]), ([0.0], [1]))
    >>> fingerprint(task, {})[0] == fingerprint(task, {})[0]
    True
    """
    protocol = task.protocol
    settings: list[Any] = [protocol.metric, protocol.seed, protocol.target is not None, sorted(task.fit.items())]
    settings += [[name, sorted(own.items())] for name, own in sorted(task.own.items()) if own]
    parts = {
        "networks": digest(dict(networks)),
        "data": digest(data_of(task.train), data_of(task.test)),
        "settings": digest(settings),
    }
    notes = [note for name in ("train", "test") for note in _unread(name, getattr(task, name))]
    return ", ".join(f"{name} {text}" for name, text in parts.items()), tuple(notes)


def study_name(task: Task, fingerprint: str) -> str:
    """Return the name of a study that was given none: its variants and a digest, so that nothing different has the same.

    >>> from laminar.comparison.protocol import make_protocol
    >>> task = Task(make_protocol(["a", "b"], metric="accuracy", margin=0.1, seeds=9), {}, None, None)
    >>> study_name(task, "networks 1, data 2, settings 3")
    'a, b c2fc7828'
    """
    variants = ", ".join(task.protocol.variants)
    short = variants if len(variants) <= _LONGEST_NAME else f"{variants[:_LONGEST_NAME].rsplit(', ', 1)[0]}, ..."
    return f"{short} {hashlib.sha256(fingerprint.encode()).hexdigest()[:8]}"


def data_of(given: Any) -> Any:
    """Return what stands for data: arrays and functions themselves, of anything else its kind and length."""
    if isinstance(given, TensorDataset):
        return list(given.tensors)
    return given if _is_read(given) else [type(given).__qualname__, len(given) if hasattr(given, "__len__") else None]


def _is_read(given: Any) -> bool:
    if isinstance(given, tuple | list):
        return all(_is_read(part) for part in given)
    if isinstance(given, dict):
        return all(_is_read(part) for part in given.values())
    plain = given is None or isinstance(given, bool | int | float | str | TensorDataset)
    return plain or hasattr(type(given), "__array__") or (callable(given) and not hasattr(given, "__getitem__"))


def _unread(name: str, given: Any) -> list[str]:
    if not _is_read(given):
        kind = type(given).__name__
        return [f"{name} is a {kind}: the fingerprint holds its type and length, so it cannot tell other data of that length."]
    if callable(given) and not hasattr(given, "__array__"):
        return [f"{name} is a function: the fingerprint holds its code, and not what it reads."]
    return []
