"""What a metric is: a description of a figure, and a tally that gathers it over the batches of a data set.

A metric is a value like a loss: it holds settings, no state, so one may serve many networks. `start()` returns a tally, which
is told of batch after batch on the device, without waiting for it, and gives the figure of all observations together.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, TypeVar

import torch
from torch import Tensor

from laminar.errors import DataError, ShapeError, complaint
from laminar.losses.axis import class_axis, without

__all__ = ["MeanMetric", "Metric", "Tally", "TotalMetric", "class_numbers", "per_observation", "same_shape", "told", "wide"]


class Tally(ABC):
    """Gathers one figure over batches. Nothing in it waits for the device.

    >>> from laminar.metrics import RootMeanSquaredError
    >>> tally = RootMeanSquaredError().start()
    >>> tally.update(torch.tensor([3.0]), torch.tensor([0.0]))
    >>> tally.update(torch.tensor([1.0, 1.0]), torch.tensor([0.0, 2.0]))
    >>> tally.result()  # the root of (9 + 1 + 1) / 3
    tensor(1.9149)
    """

    @abstractmethod
    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Take in a batch.

        Args:
            prediction: (B, ...).
            target: (B, ...), as the loss prepared it.
        """

    @abstractmethod
    def result(self) -> Tensor:
        """Return the figure of everything taken in, on the device: a scalar, unless the metric says otherwise.

        Raises:
            DataError: before the first batch.
        """


class Metric(ABC):
    """A figure that people judge a network by.

    Derive from `MeanMetric` for a mean over observations, from `TotalMetric` for a formula of sums over them.

    Attributes:
        name: what History and tables call it.
        needs_probabilities: True if it must see what `predict` returns; False if the numbers before the softmax do as well,
            because only their order counts.
        is_number: whether the figure is one number, so that `compile` can take it.

    >>> from laminar.metrics import F1Score
    >>> tally = F1Score().start()
    >>> for scores, right in [([[2.0, 1.0], [0.0, 1.0]], [0, 0]), ([[0.0, 3.0]], [1])]:
    ...     tally.update(torch.tensor(scores), torch.tensor(right))
    >>> tally.result()
    tensor(0.6667)
    """

    name: str
    needs_probabilities: bool = True
    is_number: bool = True

    @abstractmethod
    def start(self) -> Tally:
        """Return a tally that has seen nothing."""

    def along(self, axis: int | None) -> Metric:
        """Return this metric told where the network has its classes; itself if it has none, or knows already."""
        return self

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the figure of these observations.

        Args:
            prediction: (B, ...).
            target: (B, ...).
        """
        tally = self.start()
        tally.update(prediction, target)
        return tally.result()


class MeanMetric(Metric):
    """A figure that is a mean over observations.

    >>> class Within(MeanMetric):
    ...     name, needs_probabilities = "within_1", True
    ...
    ...     def values(self, prediction, target):
    ...         return ((prediction - target).abs() <= 1).float().flatten(1).mean(1)
    >>> Within().values(torch.tensor([[3.5], [7.0]]), torch.tensor([[3.0], [3.0]]))
    tensor([1., 0.])
    """

    @abstractmethod
    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return one value per observation, in floating point.

        Args:
            prediction: (B, ...).
            target: (B, ...).

        Returns:
            (B,); over further axes, such as pixels, it is the mean.
        """

    def start(self) -> Tally:
        """See `Metric.start`."""
        return _Mean(self)


class TotalMetric(Metric):
    """A figure that follows from sums over observations, such as the root of a mean, or a ratio of counts.

    >>> class MeanPower(TotalMetric):
    ...     name = "loudness"
    ...
    ...     def totals(self, prediction, target):
    ...         return torch.stack([prediction.square().sum(), prediction.new_full((), prediction.numel())])
    ...
    ...     def figure(self, totals):
    ...         return 10 * torch.log10(totals[0] / totals[1])
    >>> MeanPower()(torch.full((2, 3), 10.0), torch.zeros(2, 3))
    tensor(20.)
    """

    @abstractmethod
    def totals(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return sums over the observations of a batch: those of two batches, added, are those of both together."""

    @abstractmethod
    def figure(self, totals: Tensor) -> Tensor:
        """Return the figure that follows from `totals`."""

    def merge(self, some: Tensor, others: Tensor) -> Tensor:
        """Return the totals of two sets of observations together; overridden where adding would lose digits."""
        return some + others

    def start(self) -> Tally:
        """See `Metric.start`."""
        return _Totals(self)


class _Mean(Tally):
    def __init__(self, metric: MeanMetric) -> None:
        self._metric = metric
        self._sum: Tensor | None = None
        self._count = 0

    def update(self, prediction: Tensor, target: Tensor) -> None:
        values = self._metric.values(prediction, target)
        total = values.sum(dtype=wide(values))
        self._sum = total if self._sum is None else self._sum + total
        self._count += len(values)

    def result(self) -> Tensor:
        if self._sum is None:
            raise unseen(self._metric)
        return (self._sum / self._count).float()


class _Totals(Tally):
    def __init__(self, metric: TotalMetric) -> None:
        self._metric = metric
        self._totals: Tensor | None = None

    def update(self, prediction: Tensor, target: Tensor) -> None:
        totals = self._metric.totals(prediction, target)
        self._totals = totals if self._totals is None else self._metric.merge(self._totals, totals)

    def result(self) -> Tensor:
        if self._totals is None:
            raise unseen(self._metric)
        figure = self._metric.figure(self._totals)
        return figure.float() if figure.is_floating_point() else figure


T = TypeVar("T", bound=Metric)


def told(metric: T, axis: int | None) -> T:
    """Return a metric that is a dataclass with an `axis`, told of it unless it knows one."""
    frozen: Any = metric
    return metric if axis is None or frozen.axis is not None else dataclasses.replace(frozen, axis=axis)


def unseen(metric: Metric) -> DataError:
    """Return the error for a tally that was asked before its first batch."""
    where, fix = f"metric '{metric.name}'", "Call update(prediction, target) first"
    return DataError(complaint(where, expected="observations", received="none so far", fix=fix))


def wide(values: Tensor) -> torch.dtype:
    """Return the dtype that sums over a data set are kept in: float64, or float32 on a device without."""
    return torch.float32 if values.device.type == "mps" else torch.float64


def per_observation(values: Tensor) -> Tensor:
    """Return (B,), floating: the mean over all axes but the first.

    >>> per_observation(torch.tensor([[True, False], [True, True]]))
    tensor([0.5000, 1.0000])
    """
    values = values if values.is_floating_point() else values.float()
    return values.flatten(1).mean(1) if values.ndim > 1 else values


def misfit(name: str, prediction: Tensor, target: Tensor, expected: str) -> ShapeError:
    """Return the error for a prediction and a target that do not fit each other."""
    received = f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)}"
    fix = "Give the target one of these shapes, or choose another metric"
    return ShapeError(complaint(f"metric '{name}'", expected=expected, received=received, fix=fix))


def class_numbers(name: str, prediction: Tensor, target: Tensor, axis: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the prediction as (B, C, ...) and the right classes (B, ...): the target, or where its rows are largest.

    Raises:
        ShapeError: if the shapes do not fit.

    >>> class_numbers("accuracy", torch.zeros(1, 2, 3), torch.tensor([[2, 0]]))[0].shape
    torch.Size([1, 3, 2])
    """
    shape = tuple(prediction.shape)
    at = class_axis(shape, tuple(target.shape), axis)
    rows = prediction if at == 1 else prediction.movedim(at, 1)
    if target.shape == shape:
        return rows, target.argmax(at)
    if target.shape == without(shape, at):
        return rows, target
    if target.ndim == len(shape) and target.shape[at] == 1 and without(tuple(target.shape), at) == without(shape, at):
        return rows, target.squeeze(at)
    raise misfit(name, prediction, target, "prediction (B, C, ...) and target (B, ...) or (B, C, ...)")


def same_shape(name: str, prediction: Tensor, target: Tensor) -> Tensor:
    """Return the target in the prediction's shape, which may differ only by one axis of length 1 after the batch.

    Raises:
        ShapeError: if the shapes do not fit.

    >>> same_shape("mean_squared_error", torch.zeros(2, 1), torch.zeros(2)).shape
    torch.Size([2, 1])
    """
    if target.shape == prediction.shape:
        return target
    if len(target) == len(prediction) and {tuple(target.shape[1:]), tuple(prediction.shape[1:])} == {(), (1,)}:
        return target.reshape(prediction.shape)
    raise misfit(name, prediction, target, "prediction and target of one shape")
