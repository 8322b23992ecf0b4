"""Laminar: a deep-learning workbench on PyTorch. Define a layer, check it, train it, diagnose it, compare it.

>>> import laminar as lm
>>> from laminar import layers as L
>>> model = lm.Sequential([L.Flatten(), L.Dense(10, activation="softmax")]).build((1, 28, 28), seed=0)
>>> model.output_shape
(10,)
"""

# What is imported stays: looking for garbage in between, again and again, would take a third of the time.
import gc

_collecting = gc.isenabled()
gc.disable()

# ruff: noqa: E402
import importlib
from typing import TYPE_CHECKING, Any

from laminar import activations, callbacks, data, errors, initializers, layers, losses, metrics, optimizers, schedules
from laminar.errors import LaminarError
from laminar.fit.callbacks import Callback
from laminar.fit.state import History
from laminar.graph import Input
from laminar.layers.base import Layer
from laminar.model import Model
from laminar.seeding import seed_all
from laminar.sequential import Sequential

if _collecting:
    gc.enable()

if TYPE_CHECKING:
    from laminar import plots
    from laminar.check.run import check_layer
    from laminar.comparison.compare import compare
    from laminar.outputs import layer_outputs
    from laminar.rates import range_test
    from laminar.tuning.search import tune
else:
    _MODULES = ("check", "comparison", "outputs", "plots", "rates", "tuning")
    _NAMES = {
        "check_layer": "laminar.check.run",
        "compare": "laminar.comparison.compare",
        "layer_outputs": "laminar.outputs",
        "range_test": "laminar.rates",
        "tune": "laminar.tuning.search",
    }

    def __getattr__(name: str) -> Any:
        """Load what a training does without when it is first asked for."""
        if name in _NAMES:
            found = getattr(importlib.import_module(_NAMES[name]), name)
        elif name in _MODULES:
            found = importlib.import_module(f"laminar.{name}")
        else:
            raise AttributeError(f"module 'laminar' has no attribute {name!r}")
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_NAMES, *_MODULES})


__version__ = "0.1.0"

__all__ = [
    "Callback",
    "History",
    "Input",
    "LaminarError",
    "Layer",
    "Model",
    "Sequential",
    "activations",
    "callbacks",
    "check_layer",
    "compare",
    "data",
    "errors",
    "initializers",
    "layer_outputs",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "plots",
    "range_test",
    "schedules",
    "seed_all",
    "tune",
]
