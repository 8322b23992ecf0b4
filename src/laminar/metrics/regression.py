"""Figures of numbers: how far predictions are from their targets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from laminar.losses import LossSpec
from laminar.losses import get as get_loss
from laminar.losses.axis import check_axis
from laminar.losses.base import Elementwise
from laminar.losses.classes import CosineSimilarity as CosineLoss
from laminar.metrics.base import MeanMetric, TotalMetric, per_observation, same_shape, told, wide

__all__ = ["CosineSimilarity", "LossMetric", "MeanAbsoluteError", "MeanSquaredError", "R2Score", "RootMeanSquaredError"]


@dataclass(frozen=True)
class MeanAbsoluteError(MeanMetric):
    """|p − y|, in the target's unit.

    Source: Keras' `MeanAbsoluteError`.

    >>> MeanAbsoluteError().values(torch.tensor([[1.0], [5.0]]), torch.tensor([[1.0], [3.0]]))
    tensor([0., 2.])
    """

    name: str = "mean_absolute_error"

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `MeanMetric.values`."""
        return per_observation((prediction - same_shape(self.name, prediction, target)).abs())


@dataclass(frozen=True)
class MeanSquaredError(MeanMetric):
    """(p − y)², in the target's unit squared.

    Source: Keras' `MeanSquaredError`.

    >>> MeanSquaredError().values(torch.tensor([[1.0], [5.0]]), torch.tensor([[1.0], [3.0]]))
    tensor([0., 4.])
    """

    name: str = "mean_squared_error"

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `MeanMetric.values`."""
        return per_observation((prediction - same_shape(self.name, prediction, target)).square())


class LossMetric(MeanMetric):
    """A loss as a metric: the mean over observations of what it is on `predict`'s output, without sample weights.

    By name every loss is one: `metrics=["hinge", "mape"]`.

    Args:
        loss: a name, or whatever else `compile(loss=)` takes.
        name: for History; the loss's own if None.

    Raises:
        UnknownNameError, ArgumentError: as `laminar.losses.get`.

    >>> LossMetric("mape")(torch.tensor([[11.0], [10.0]]), torch.tensor([[10.0], [10.0]]))
    tensor(5.)
    """

    def __init__(self, loss: LossSpec, name: str | None = None) -> None:
        self.loss = get_loss(loss)
        self.name = name or self.loss.name
        self.needs_probabilities = not self.loss.from_logits

    def __repr__(self) -> str:
        return f"LossMetric({self.loss})"

    def along(self, axis: int | None) -> LossMetric:
        """See `Metric.along`."""
        loss = self.loss.along(axis)
        return self if loss is self.loss else LossMetric(loss, self.name)

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `MeanMetric.values`."""
        if isinstance(self.loss, Elementwise):
            target = same_shape(self.name, prediction, target)
        return self.loss.values(prediction, target)


@dataclass(frozen=True)
class CosineSimilarity(MeanMetric):
    """Σ p·y / (‖p‖·‖y‖): 1 where prediction and target point the same way, 0 at right angles, −1 in opposite directions.

    Args:
        axis: the one that a vector lies on: 1 for (B, n, ...), -1 for (B, ..., n); None to go by the network.
        name: for History.

    Source: Keras' `CosineSimilarity`.

    >>> CosineSimilarity().values(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[6.0, 8.0], [-2.0, 0.0]]))
    tensor([ 1., -1.])
    """

    axis: int | None = None
    name: str = "cosine_similarity"

    def __post_init__(self) -> None:
        check_axis("CosineSimilarity(axis=)", self.axis)

    def along(self, axis: int | None) -> CosineSimilarity:
        """See `Metric.along`."""
        return told(self, axis)

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `MeanMetric.values`."""
        return -CosineLoss(axis=self.axis).values(prediction, target)


@dataclass(frozen=True)
class RootMeanSquaredError(TotalMetric):
    """√ of the mean of (p − y)² over all numbers of the data set, in the target's unit.

    Source: Keras' `RootMeanSquaredError`.

    >>> RootMeanSquaredError()(torch.tensor([[1.0], [5.0]]), torch.tensor([[1.0], [3.0]]))
    tensor(1.4142)
    """

    name: str = "root_mean_squared_error"

    def totals(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return Σ (p − y)² and how many numbers there are."""
        squares = (prediction - same_shape(self.name, prediction, target)).to(wide(prediction)).square()
        return torch.stack([squares.sum(), squares.new_full((), squares.numel())])

    def figure(self, totals: Tensor) -> Tensor:
        """Return √(Σ / n)."""
        return (totals[0] / totals[1]).sqrt()


@dataclass(frozen=True)
class R2Score(TotalMetric):
    """1 − Σ (p − y)² / Σ (y − ȳ)², the explained part of the variance, over the observations of the data set.

    Each number of an observation has its own R², and the figure is their plain mean. It is nan where the targets are all the
    same, as in a mini-batch of one observation: there is no variance to explain.

    Source: Wright 1921, "Correlation and causation"; Keras' `R2Score()`, which counts −∞ as 0.

    >>> R2Score()(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[1.0], [2.0], [3.0]]))
    tensor(0.5000)
    """

    name: str = "r2_score"

    def totals(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return (4, D) for observations of D numbers: Σ (p − y)², how many observations, ȳ, and Σ (y − ȳ)²."""
        p, y = (t.reshape(len(t), -1).to(wide(t)) for t in (prediction, same_shape(self.name, prediction, target)))
        mean = y.mean(0)
        return torch.stack([(p - y).square().sum(0), torch.full_like(mean, len(y)), mean, (y - mean).square().sum(0)])

    def merge(self, some: Tensor, others: Tensor) -> Tensor:
        """Return the totals of both (Chan et al. 1983): no difference of two large sums of squares is ever taken."""
        n, gap = some[1] + others[1], others[2] - some[2]
        share = others[1] / n
        spread = some[3] + others[3] + gap.square() * some[1] * share
        return torch.stack([some[0] + others[0], n, some[2] + gap * share, spread])

    def figure(self, totals: Tensor) -> Tensor:
        """Return the mean over the D numbers of 1 − Σ (p − y)² / Σ (y − ȳ)²."""
        return torch.where(totals[3] > 0, 1.0 - totals[0] / totals[3], torch.nan).mean()
