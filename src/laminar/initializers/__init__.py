"""Where learnables start: initializers by name, as instances, as numbers, as tensors, or as functions of the shape.

Weights are laid out as torch lays them out, `(out, in / groups, *kernel)`, and the two fans are counted from that:
`fan_in = in / groups * prod(kernel)`, `fan_out = out * prod(kernel)`; a one-axis learnable of n values has both equal to n.

Values are drawn in float32 on the generator's device (the CPU unless you bring another generator) and only then converted and
moved, so one seed means one set of weights on every device and, to rounding, in every dtype.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch

from laminar.errors import ArgumentError, complaint
from laminar.initializers.base import Initializer, fans
from laminar.initializers.given import Given
from laminar.initializers.matrices import Identity, Orthogonal
from laminar.initializers.plain import Constant, Ones, RandomNormal, RandomUniform, TruncatedNormal, Zeros
from laminar.initializers.scaled import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    VarianceScaling,
)
from laminar.names import Registry

__all__ = [
    "INITIALIZERS",
    "Constant",
    "Given",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "InitializerSpec",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "fans",
    "get",
]

INITIALIZERS: Registry[Initializer] = Registry(
    "initializer",
    {
        "zeros": Zeros(),
        "ones": Ones(),
        "normal": RandomNormal(stddev=0.01),
        "standard_normal": RandomNormal(stddev=1.0),
        "random_normal": RandomNormal(),
        "truncated_normal": TruncatedNormal(),
        "uniform": RandomUniform(0.0, 1.0),
        "random_uniform": RandomUniform(),
        "glorot_normal": GlorotNormal(),
        "glorot_uniform": GlorotUniform(),
        "glorot_relu_normal": VarianceScaling(2.0, "fan_avg", "untruncated_normal"),
        "glorot_relu_uniform": VarianceScaling(2.0, "fan_avg", "uniform"),
        "he_normal": HeNormal(),
        "he_uniform": HeUniform(),
        "lecun_normal": LecunNormal(),
        "lecun_uniform": LecunUniform(),
        "orthogonal": Orthogonal(),
        "identity": Identity(),
        "constant": Constant(),
        "variance_scaling": VarianceScaling(),
    },
    aliases={
        "one": "ones",
        "zero": "zeros",
        "xavier_normal": "glorot_normal",
        "xavier_uniform": "glorot_uniform",
        "kaiming_normal": "he_normal",
        "kaiming_uniform": "he_uniform",
    },
)

InitializerSpec: TypeAlias = str | float | torch.Tensor | np.ndarray[Any, Any] | Initializer | Callable[[tuple[int, ...]], Any]


def get(spec: InitializerSpec) -> Initializer:
    """Return the initializer that `spec` stands for.

    Args:
        spec: a name, a number (every value), a tensor or array (the values), an `Initializer`, or a function of the shape.

    Raises:
        UnknownNameError: if a name is not known.
        ArgumentError: if it is something else altogether.

    >>> get("xavier_uniform"), get(0.5)
    (GlorotUniform(seed=None), Constant(value=0.5))
    """
    if isinstance(spec, str):
        return INITIALIZERS[spec]
    if isinstance(spec, Initializer):
        return spec
    if isinstance(spec, np.ndarray | torch.Tensor):
        return Given(spec)
    if isinstance(spec, numbers.Real) and not isinstance(spec, bool):
        return Constant(float(spec))
    if isinstance(spec, type) and issubclass(spec, Initializer):
        received, fix = f"the class {spec.__name__}", f"Pass {spec.__name__}() with parentheses"
    elif callable(spec):
        return Given(spec)
    else:
        received, fix = repr(spec), 'Pass "glorot_uniform", for example'
    expected = "a name, a number, a tensor, an Initializer or a function of the shape"
    raise ArgumentError(complaint("initializer", expected=expected, received=received, fix=fix))
