"""The catalogue: a kind of mistake a module, each with a list FAULTS. A new module is found."""

from __future__ import annotations

import importlib
import pkgutil

from faults.fault import Fault

__all__ = ["ALL"]

ALL: list[Fault] = [
    fault
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__))
    for fault in importlib.import_module(f"faults.layers.{module}").FAULTS
]
