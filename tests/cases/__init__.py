"""What the harness over every layer is given: a family of layers a module, each with a list CASES. A new module is found."""

from __future__ import annotations

import importlib
import pkgutil

from cases.case import Case

__all__ = ["ALL", "Case"]

ALL: list[Case] = [
    case
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "case")
    for case in importlib.import_module(f"cases.{module}").CASES
]
