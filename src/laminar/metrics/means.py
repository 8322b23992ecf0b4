"""Figures that are means over observations: accuracies, and functions that people bring along."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.losses.axis import check_axis, class_axis
from laminar.losses.base import is_number
from laminar.metrics.base import MeanMetric, class_numbers, per_observation, same_shape, told

__all__ = ["Accuracy", "BinaryAccuracy", "CustomMetric", "TopKAccuracy", "too_few_classes"]


@dataclass(frozen=True)
class BinaryAccuracy(MeanMetric):
    """The part of yes-or-no outputs that fall on the target's side of the threshold.

    Args:
        threshold: a prediction above it says yes: 0.5 for probabilities, 0 for the hinge losses.
        needs_probabilities: False if the threshold is meant for raw outputs.
        name: for History.

    Source: Keras' `BinaryAccuracy`.

    >>> BinaryAccuracy().values(torch.tensor([[0.9], [0.4]]), torch.tensor([[1.0], [1.0]]))
    tensor([1., 0.])
    """

    threshold: float = 0.5
    needs_probabilities: bool = True
    name: str = "binary_accuracy"

    def __post_init__(self) -> None:
        if not is_number(self.threshold):
            where, received, fix = "BinaryAccuracy(threshold=)", repr(self.threshold), "Pass threshold=0.5, for example"
            raise ArgumentError(complaint(where, expected="a number", received=received, fix=fix))

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `MeanMetric.values`; targets are 0 and 1, −1 and 1, or probabilities."""
        target = same_shape(self.name, prediction, target)
        return per_observation((prediction > self.threshold) == (target > 0.5))


@dataclass(frozen=True)
class Accuracy(MeanMetric):
    """The part of observations whose largest output is the right class.

    For one output, (B,) or (B, 1), the question is another one, and a prediction above 0.5 counts as a yes; `resolve` replaces
    this metric by `BinaryAccuracy` there, which says that it needs probabilities.

    Args:
        axis: of the classes; None to go by the network.
        name: for History.

    Source: Keras' `SparseCategoricalAccuracy` and `CategoricalAccuracy`.

    >>> scores = torch.tensor([[0.1, 2.0, 0.3], [3.0, 0.0, 0.0]])
    >>> Accuracy().values(scores, torch.tensor([1, 2]))
    tensor([1., 0.])
    """

    axis: int | None = None
    name: str = "accuracy"
    needs_probabilities = False

    def __post_init__(self) -> None:
        check_axis("Accuracy(axis=)", self.axis)

    def along(self, axis: int | None) -> Accuracy:
        """See `Metric.along`."""
        return told(self, axis)

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `MeanMetric.values`."""
        if prediction.ndim < 2:
            return BinaryAccuracy(name=self.name).values(prediction, target)
        at = class_axis(tuple(prediction.shape), tuple(target.shape), self.axis)
        if prediction.shape[at] == 1:
            return BinaryAccuracy(name=self.name).values(prediction, target)
        chosen = prediction.argmax(at)
        if chosen.shape != target.shape:
            target = class_numbers(self.name, prediction, target, at)[1]
        return per_observation(chosen == target)


@dataclass(frozen=True)
class TopKAccuracy(MeanMetric):
    """The part of observations whose right class is among the `k` largest outputs.

    Args:
        k: at least 1.
        axis: of the classes; None to go by the network.

    Raises:
        ArgumentError: if k is not a whole number of at least 1.

    Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks"; row R21.

    >>> TopKAccuracy(2).values(torch.tensor([[0.1, 0.7, 0.2], [0.1, 0.7, 0.2]]), torch.tensor([2, 0]))
    tensor([1., 0.])
    """

    k: int = 5
    axis: int | None = None
    needs_probabilities = False

    def __post_init__(self) -> None:
        check_axis("TopKAccuracy(axis=)", self.axis)
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            where, received, fix = "TopKAccuracy(k=)", repr(self.k), "Pass k=5, for example"
            raise ArgumentError(complaint(where, expected="a whole number of at least 1", received=received, fix=fix))

    @property
    def name(self) -> str:  # type: ignore[override]  # follows from k
        """`top_5_accuracy` for k = 5."""
        return f"top_{self.k}_accuracy"

    def along(self, axis: int | None) -> TopKAccuracy:
        """See `Metric.along`."""
        return told(self, axis)

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `MeanMetric.values`."""
        if prediction.ndim < 2:
            raise too_few_classes(self, 1)
        at = class_axis(tuple(prediction.shape), tuple(target.shape), self.axis)
        if prediction.shape[at] <= self.k:
            raise too_few_classes(self, prediction.shape[at])
        rows, right = class_numbers(self.name, prediction, target, at)
        return per_observation((rows.topk(self.k, dim=1, sorted=False).indices == right.unsqueeze(1)).any(1))


def too_few_classes(metric: TopKAccuracy, classes: int) -> ArgumentError:
    """Return the error for a metric that would be 1 whatever the network says."""
    expected, received = f"more than {metric.k} classes", f"{classes}"
    fix = 'Use "accuracy"' + (f", or k={classes - 1}" if classes > 2 else "")
    return ArgumentError(complaint(f"metric '{metric.name}'", expected=expected, received=received, fix=fix))


class CustomMetric(MeanMetric):
    """A function of what `predict` returns and the target, with a value per observation, (B,) or (B, ...), or their mean.

    Args:
        function: called with (prediction, target).
        name: for History; the function's own name if None.

    Raises:
        ArgumentError: on a call, if it does not return a tensor or a number.
        ShapeError: on a call, if the tensor has not one value per observation.

    >>> CustomMetric(lambda p, y: (p - y).abs().max(), name="worst").values(torch.ones(2, 1), torch.tensor([[0.0], [3.0]]))
    tensor([2., 2.])
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Any], name: str | None = None) -> None:
        self.function = function
        self.name = name or str(getattr(function, "__name__", type(function).__name__))

    def __repr__(self) -> str:
        return f"CustomMetric({self.name})"

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `MeanMetric.values`; a mean is repeated for each observation, so that it is averaged by batch size."""
        result, count = self.function(prediction, target), len(prediction)
        if isinstance(result, numbers.Real):
            result = torch.tensor(float(result), device=prediction.device)
        where, fix = f"metric '{self.name}'", "Return one value per observation, or their mean"
        if not isinstance(result, Tensor):
            expected, received = "a tensor or a number from the function", type(result).__name__
            raise ArgumentError(complaint(where, expected=expected, received=received, fix=fix))
        if result.ndim == 0:
            return per_observation(result.expand(count))
        if len(result) != count:
            expected, received = f"{count} values, one per observation, or a scalar", f"shape {tuple(result.shape)}"
            raise ShapeError(complaint(where, expected=expected, received=received, fix=fix))
        return per_observation(result)
