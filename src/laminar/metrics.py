"""Figures that people judge a network by: one value per observation, averaged by whoever asks.

Each metric of this file is a mean over observations, so the figure of a data set is the mean of its batches' values, whatever
the batch size. Predictions are (B, C, ...) with classes on axis 1; targets are as the loss prepared them: class numbers
(B, ...), or rows (B, C, ...), or numbers in the prediction's shape.
"""

from __future__ import annotations

import numbers
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.names import Registry

__all__ = [
    "METRICS",
    "Accuracy",
    "BinaryAccuracy",
    "CustomMetric",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "MetricSpec",
    "TopKAccuracy",
    "get",
    "resolve",
]


class Metric(ABC):
    """A figure that is a mean over observations.

    Attributes:
        name: what History and tables call it.
        needs_probabilities: True if `values` must see what `predict` returns; False if the numbers before the softmax do as
            well, because only their order counts.

    >>> class Within(Metric):
    ...     name, needs_probabilities = "within_1", True
    ...
    ...     def values(self, prediction, target):
    ...         return ((prediction - target).abs() <= 1).float().flatten(1).mean(1)
    >>> Within().values(torch.tensor([[3.5], [7.0]]), torch.tensor([[3.0], [3.0]]))
    tensor([1., 0.])
    """

    name: str
    needs_probabilities: bool = True

    @abstractmethod
    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return one value per observation, in floating point.

        Args:
            prediction: (B, ...).
            target: (B, ...).

        Returns:
            (B,); over further axes, such as pixels, it is the mean.
        """


def _per_observation(values: Tensor) -> Tensor:
    """Return (B,), floating: the mean over all axes but the first."""
    values = values if values.is_floating_point() else values.float()
    return values.flatten(1).mean(1) if values.ndim > 1 else values


def _misfit(name: str, prediction: Tensor, target: Tensor, expected: str) -> ShapeError:
    """Return the error for a prediction and a target that do not fit each other."""
    received = f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)}"
    fix = "Give the target one of these shapes, or choose another metric"
    return ShapeError(complaint(f"metric '{name}'", expected=expected, received=received, fix=fix))


def _class_numbers(name: str, prediction: Tensor, target: Tensor) -> Tensor:
    """Return the right classes (B, ...): the target, or for rows (B, C, ...) where each is largest."""
    if target.shape == prediction.shape and target.ndim > 1:
        return target.argmax(1)
    shape = (*prediction.shape[:1], *prediction.shape[2:])
    if target.shape == shape:
        return target
    if target.ndim > 1 and target.shape == (*shape[:1], 1, *shape[1:]):
        return target.squeeze(1)
    raise _misfit(name, prediction, target, "prediction (B, C, ...) and target (B, ...) or (B, C, ...)")


def _same_shape(name: str, prediction: Tensor, target: Tensor) -> Tensor:
    """Return the target in the prediction's shape, which may differ only by one axis of length 1 after the batch."""
    if target.shape == prediction.shape:
        return target
    if len(target) == len(prediction) and {tuple(target.shape[1:]), tuple(prediction.shape[1:])} == {(), (1,)}:
        return target.reshape(prediction.shape)
    raise _misfit(name, prediction, target, "prediction and target of one shape")


@dataclass(frozen=True)
class BinaryAccuracy(Metric):
    """The part of yes-or-no outputs that fall on the target's side of the threshold.

    Args:
        threshold: a prediction above it says yes: 0.5 for probabilities, 0 for the hinge losses.
        needs_probabilities: False if the threshold is meant for raw outputs.
        name: for History.

    >>> BinaryAccuracy().values(torch.tensor([[0.9], [0.4]]), torch.tensor([[1.0], [1.0]]))
    tensor([1., 0.])
    """

    threshold: float = 0.5
    needs_probabilities: bool = True
    name: str = "binary_accuracy"

    def __post_init__(self) -> None:
        if not isinstance(self.threshold, numbers.Real) or isinstance(self.threshold, bool):
            where, received, fix = "BinaryAccuracy(threshold=)", repr(self.threshold), "Pass threshold=0.5, for example"
            raise ArgumentError(complaint(where, expected="a number", received=received, fix=fix))

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Metric.values`; targets are 0 and 1, −1 and 1, or probabilities."""
        target = _same_shape(self.name, prediction, target)
        return _per_observation((prediction > self.threshold) == (target > 0.5))


@dataclass(frozen=True)
class Accuracy(Metric):
    """The part of observations whose largest output is the right class.

    For one output, (B,) or (B, 1), the question is another one, and a prediction above 0.5 counts as a yes; `resolve` replaces
    this metric by `BinaryAccuracy` there, which says that it needs probabilities.

    >>> scores = torch.tensor([[0.1, 2.0, 0.3], [3.0, 0.0, 0.0]])
    >>> Accuracy().values(scores, torch.tensor([1, 2]))
    tensor([1., 0.])
    """

    name = "accuracy"
    needs_probabilities = False

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Metric.values`."""
        if prediction.ndim < 2 or prediction.shape[1] == 1:
            return BinaryAccuracy(name=self.name).values(prediction, target)
        chosen = prediction.argmax(1)
        if chosen.shape != target.shape:
            target = _class_numbers(self.name, prediction, target)
        return _per_observation(chosen == target)


@dataclass(frozen=True)
class TopKAccuracy(Metric):
    """The part of observations whose right class is among the `k` largest outputs.

    Args:
        k: at least 1.

    Raises:
        ArgumentError: if k is not a whole number of at least 1.

    >>> TopKAccuracy(2).values(torch.tensor([[0.1, 0.7, 0.2], [0.1, 0.7, 0.2]]), torch.tensor([2, 0]))
    tensor([1., 0.])
    """

    k: int = 5
    needs_probabilities = False

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            where, received, fix = "TopKAccuracy(k=)", repr(self.k), "Pass k=5, for example"
            raise ArgumentError(complaint(where, expected="a whole number of at least 1", received=received, fix=fix))

    @property
    def name(self) -> str:  # type: ignore[override]  # follows from k
        """`top_5_accuracy` for k = 5."""
        return f"top_{self.k}_accuracy"

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Metric.values`."""
        if prediction.ndim < 2 or prediction.shape[1] <= self.k:
            raise _too_few_classes(self, tuple(prediction.shape[1:]))
        right = _class_numbers(self.name, prediction, target).unsqueeze(1)
        return _per_observation((prediction.topk(self.k, dim=1, sorted=False).indices == right).any(1))


def _too_few_classes(metric: TopKAccuracy, output_shape: tuple[int, ...]) -> ArgumentError:
    """Return the error for a metric that would be 1 whatever the network says."""
    classes = output_shape[0] if output_shape else 1
    expected, received = f"more than {metric.k} classes", f"{classes}"
    fix = 'Use "accuracy"' + (f", or k={classes - 1}" if classes > 2 else "")
    return ArgumentError(complaint(f"metric '{metric.name}'", expected=expected, received=received, fix=fix))


@dataclass(frozen=True)
class MeanAbsoluteError(Metric):
    """|p − y|, in the target's unit.

    >>> MeanAbsoluteError().values(torch.tensor([[1.0], [5.0]]), torch.tensor([[1.0], [3.0]]))
    tensor([0., 2.])
    """

    name = "mean_absolute_error"

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Metric.values`."""
        return _per_observation((prediction - _same_shape(self.name, prediction, target)).abs())


@dataclass(frozen=True)
class MeanSquaredError(Metric):
    """(p − y)², in the target's unit squared.

    >>> MeanSquaredError().values(torch.tensor([[1.0], [5.0]]), torch.tensor([[1.0], [3.0]]))
    tensor([0., 4.])
    """

    name = "mean_squared_error"

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Metric.values`."""
        return _per_observation((prediction - _same_shape(self.name, prediction, target)).square())


class CustomMetric(Metric):
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
        """See `Metric.values`; a mean is repeated for each observation, so that it is averaged by batch size."""
        result, count = self.function(prediction, target), len(prediction)
        if isinstance(result, numbers.Real):
            result = torch.tensor(float(result), device=prediction.device)
        where, fix = f"metric '{self.name}'", "Return one value per observation, or their mean"
        if not isinstance(result, Tensor):
            expected, received = "a tensor or a number from the function", type(result).__name__
            raise ArgumentError(complaint(where, expected=expected, received=received, fix=fix))
        if result.ndim == 0:
            return _per_observation(result.expand(count))
        if len(result) != count:
            expected, received = f"{count} values, one per observation, or a scalar", f"shape {tuple(result.shape)}"
            raise ShapeError(complaint(where, expected=expected, received=received, fix=fix))
        return _per_observation(result)


METRICS: Registry[Metric] = Registry(
    "metric",
    {
        metric.name: metric
        for metric in (Accuracy(), BinaryAccuracy(), TopKAccuracy(5), MeanAbsoluteError(), MeanSquaredError())
    },
    aliases={"acc": "accuracy", "mae": "mean_absolute_error", "mse": "mean_squared_error"},
)

MetricSpec: TypeAlias = str | Metric | Callable[[Tensor, Tensor], Any]


def get(spec: MetricSpec) -> Metric:
    """Return the metric that `spec` stands for, whatever the network.

    Args:
        spec: a name ("top_3_accuracy" and the like with any number), a `Metric`, or a function of what `predict` returns and
            the target.

    Raises:
        UnknownNameError: if a name is not known.
        ArgumentError: if it is something else altogether.

    >>> get("acc"), get("top_3_accuracy")
    (Accuracy(), TopKAccuracy(k=3))
    """
    if isinstance(spec, str):
        top = re.fullmatch(r"top_(\d+)_accuracy", spec.lower())
        return TopKAccuracy(int(top[1])) if top else METRICS[spec]
    if isinstance(spec, Metric):
        return spec
    if isinstance(spec, type) and issubclass(spec, Metric):
        received, fix = f"the class {spec.__name__}", f"Pass {spec.__name__}() with parentheses"
    elif callable(spec):
        return CustomMetric(cast(Callable[[Tensor, Tensor], Any], spec))
    else:
        received, fix = repr(spec), 'Pass "accuracy", for example'
    expected = "a name, a Metric or a function of prediction and target"
    raise ArgumentError(complaint("metric", expected=expected, received=received, fix=fix))


def resolve(spec: MetricSpec, output_shape: tuple[int, ...], loss_name: str, *, from_logits: bool = False) -> Metric:
    """Return the metric that `spec` stands for on a network with these outputs and this loss.

    "accuracy" becomes `BinaryAccuracy` where outputs are yes or no: with the binary cross-entropies, with the hinge losses, and
    for a single output. The threshold is 0.5, or 0 where outputs are scores. It keeps the name "accuracy".

    Args:
        spec: as for `get`.
        output_shape: of the network, without the batch axis.
        loss_name: the loss's `name`.
        from_logits: whether the network itself, not only the loss, stops before the sigmoid.

    Raises:
        UnknownNameError, ArgumentError: as `get`; also if top-k accuracy is asked of k classes or fewer.

    >>> resolve("accuracy", (10,), "sparse_categorical_crossentropy")
    Accuracy()
    >>> resolve("accuracy", (1,), "hinge")
    BinaryAccuracy(threshold=0.0, needs_probabilities=False, name='accuracy')
    """
    metric = get(spec)
    if isinstance(metric, TopKAccuracy) and (not output_shape or output_shape[0] <= metric.k):
        raise _too_few_classes(metric, output_shape)
    if isinstance(metric, Accuracy):
        scores = loss_name in ("hinge", "squared_hinge", "bce_with_logits")
        if scores or loss_name in ("binary_crossentropy", "bce") or output_shape in ((), (1,)):
            if scores or from_logits:
                return BinaryAccuracy(threshold=0.0, needs_probabilities=False, name=metric.name)
            return BinaryAccuracy(name=metric.name)
    return metric
