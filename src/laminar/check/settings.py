"""The settings of torch that hold for a whole program, so that a layer which changes one is found, and put right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["settings", "settings_kept"]


def _set_deterministic(value: bool) -> None:
    torch.use_deterministic_algorithms(value, warn_only=torch.is_deterministic_algorithms_warn_only_enabled())


def _set_autocast(value: bool) -> None:
    torch.set_autocast_enabled("cpu", value)


def _set_device(value: torch.device) -> None:
    torch.set_default_device(None if value.type == "cpu" else value)  # None costs nothing; "cpu" would intercept every call


_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "torch.get_default_dtype()": (torch.get_default_dtype, torch.set_default_dtype),
    "torch.is_grad_enabled()": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch.get_num_threads()": (torch.get_num_threads, torch.set_num_threads),
    "torch.are_deterministic_algorithms_enabled()": (torch.are_deterministic_algorithms_enabled, _set_deterministic),
    'torch.is_autocast_enabled("cpu")': (lambda: torch.is_autocast_enabled("cpu"), _set_autocast),
    "torch.is_anomaly_enabled()": (torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    "torch.get_default_device()": (torch.get_default_device, _set_device),
    "torch.get_float32_matmul_precision()": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
}
"""How to ask for a setting -> the function that does, and the one that sets it."""


def settings() -> dict[str, Any]:
    """Return every setting by how one asks for it.

    >>> settings()["torch.get_default_dtype()"]
    torch.float32
    """
    return {name: ask() for name, (ask, _) in _SETTINGS.items()}


@contextmanager
def settings_kept() -> Iterator[None]:
    """Give the settings back the values that they had before, whatever is done inside.

    >>> with settings_kept():
    ...     torch.set_default_dtype(torch.float64)
    >>> torch.get_default_dtype()
    torch.float32
    """
    before = settings()
    try:
        yield
    finally:
        for name, value in settings().items():
            if value != before[name]:
                _SETTINGS[name][1](before[name])
