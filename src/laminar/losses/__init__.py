"""Losses by name, as instances, as torch's modules, or as functions of prediction and target.

The definitions are Keras', on torch's shapes: observations on axis 0, classes on axis 1 behind a convolution and on the last
axis behind a Dense layer, as in Keras (`axis=` of a loss over classes says otherwise). Sums of weighted values are divided by
the number of observations, Keras' "sum over batch size". Every loss knows how to check and
convert the labels of a data set (`prepare`), so that mistakes are found before training and not inside a GPU kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

from torch import Tensor, nn

from laminar.errors import ArgumentError, complaint
from laminar.losses.base import Loss
from laminar.losses.classes import (
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    KLDivergence,
    SparseCategoricalCrossentropy,
)
from laminar.losses.custom import CustomLoss, TorchLoss
from laminar.losses.elementwise import (
    BinaryCrossentropy,
    Hinge,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SquaredHinge,
)
from laminar.losses.focal import BinaryFocalCrossentropy, CategoricalFocalCrossentropy
from laminar.names import Registry

__all__ = [
    "LOSSES",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "CustomLoss",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "LossSpec",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "TorchLoss",
    "get",
]

LOSSES: Registry[Loss] = Registry(
    "loss",
    {
        loss.name: loss
        for loss in (
            MeanSquaredError(),
            MeanAbsoluteError(),
            MeanAbsolutePercentageError(),
            MeanSquaredLogarithmicError(),
            Huber(),
            LogCosh(),
            Poisson(),
            Hinge(),
            SquaredHinge(),
            CategoricalHinge(),
            BinaryCrossentropy(),
            CategoricalCrossentropy(),
            SparseCategoricalCrossentropy(),
            KLDivergence(),
            CosineSimilarity(),
            BinaryFocalCrossentropy(),
            CategoricalFocalCrossentropy(),
        )
    },
    aliases={
        "mse": "mean_squared_error",
        "mae": "mean_absolute_error",
        "mape": "mean_absolute_percentage_error",
        "msle": "mean_squared_logarithmic_error",
        "bce": "binary_crossentropy",
        "kld": "kl_divergence",
        "kullback_leibler_divergence": "kl_divergence",
        "crossentropy": "categorical_crossentropy",
    },
)

LossSpec: TypeAlias = str | Loss | nn.Module | Callable[[Tensor, Tensor], Any]


def get(spec: LossSpec) -> Loss:
    """Return the loss that `spec` stands for.

    Args:
        spec: a name, a `Loss`, a loss module such as `torch.nn.CrossEntropyLoss()` (which takes raw outputs, as in torch), or
            a function of prediction and target that returns a tensor.

    Raises:
        UnknownNameError: if a name is not known.
        ArgumentError: if it is something else altogether.

    >>> get("mse"), get(nn.L1Loss()), get(Huber(delta=2.0))
    (MeanSquaredError(), TorchLoss(L1Loss()), Huber(delta=2.0))
    """
    if isinstance(spec, str):
        return LOSSES[spec]
    if isinstance(spec, Loss):
        return spec
    if isinstance(spec, nn.Module):
        return TorchLoss(spec)
    if isinstance(spec, type) and issubclass(spec, Loss | nn.Module):
        received, fix = f"the class {spec.__name__}", f"Pass {spec.__name__}() with parentheses"
    elif callable(spec):
        return CustomLoss(cast(Callable[[Tensor, Tensor], Any], spec))
    else:
        received, fix = repr(spec), 'Pass "mean_squared_error", for example'
    expected = "a name, a Loss, a torch.nn loss or a function of prediction and target"
    raise ArgumentError(complaint("loss", expected=expected, received=received, fix=fix))
