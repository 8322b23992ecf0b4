"""Laminar: a deep-learning workbench on PyTorch. Define a layer, check it, train it, diagnose it, compare it.

>>> import laminar as lm
>>> from laminar import layers as L
>>> model = lm.Sequential([L.Flatten(), L.Dense(10, activation="softmax")]).build((1, 28, 28), seed=0)
>>> model.output_shape
(10,)
"""

from laminar import activations, callbacks, data, errors, initializers, layers, losses, metrics, optimizers, plots, schedules
from laminar.check.run import check_layer
from laminar.comparison.compare import compare
from laminar.errors import LaminarError
from laminar.fit.callbacks import Callback
from laminar.fit.state import History
from laminar.graph import Input
from laminar.layers.base import Layer
from laminar.model import Model
from laminar.outputs import layer_outputs
from laminar.rates import range_test
from laminar.seeding import seed_all
from laminar.sequential import Sequential
from laminar.tuning.search import tune

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
