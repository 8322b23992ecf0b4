"""Losses with a value for each number that the network puts out: regression, hinge, and binary cross-entropy.

In the formulas p is the prediction, y the target, ε = 1e-7; the loss is the mean of the formula over all numbers.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from laminar.errors import ArgumentError, complaint
from laminar.losses import labels
from laminar.losses.base import EPSILON, Elementwise, is_number, match, share

__all__ = [
    "BinaryCrossentropy",
    "Hinge",
    "Huber",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SquaredHinge",
]


@dataclass(frozen=True)
class MeanSquaredError(Elementwise):
    """(p − y)².

    Source: row R18.

    >>> MeanSquaredError()(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [4.0]]))
    tensor(2.)
    """

    name = "mean_squared_error"

    def elements(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return (p − y)²."""
        return F.mse_loss(prediction, target, reduction="none")

    def _mean(self, prediction: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(*match(prediction, target, self.name))


@dataclass(frozen=True)
class MeanAbsoluteError(Elementwise):
    """|p − y|.

    Source: row R18.

    >>> MeanAbsoluteError()(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [4.0]]))
    tensor(1.)
    """

    name = "mean_absolute_error"

    def elements(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return |p − y|."""
        return F.l1_loss(prediction, target, reduction="none")

    def _mean(self, prediction: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(*match(prediction, target, self.name))


@dataclass(frozen=True)
class MeanAbsolutePercentageError(Elementwise):
    """100·|p − y| / max(|y|, ε), in percent of the target.

    Source: row R18.

    >>> MeanAbsolutePercentageError()(torch.tensor([[11.0]]), torch.tensor([[10.0]]))
    tensor(10.)
    """

    name = "mean_absolute_percentage_error"

    def elements(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return 100·|p − y| / max(|y|, ε)."""
        return 100.0 * (prediction - target).abs() / target.abs().clamp(min=EPSILON)


@dataclass(frozen=True)
class MeanSquaredLogarithmicError(Elementwise):
    """(log(1 + max(p, ε)) − log(1 + max(y, ε)))²: numbers below ε count as ε.

    Source: row R18.

    >>> MeanSquaredLogarithmicError()(torch.tensor([[math.e - 1]]), torch.tensor([[0.0]]))
    tensor(1.0000)
    """

    name = "mean_squared_logarithmic_error"

    def elements(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the squared difference of logarithms."""
        return (prediction.clamp(min=EPSILON).log1p() - target.clamp(min=EPSILON).log1p()).square()


@dataclass(frozen=True)
class Huber(Elementwise):
    """(p − y)²/2 where |p − y| ≤ `delta`, else `delta`·(|p − y| − `delta`/2).

    Args:
        delta: above 0; in the target's unit.

    Raises:
        ArgumentError: if delta is not above 0.

    Source: Huber 1964, "Robust estimation of a location parameter".

    >>> Huber()(torch.tensor([[0.5], [3.0]]), torch.tensor([[0.0], [0.0]]))
    tensor(1.3125)
    """

    delta: float = 1.0
    name = "huber"

    def __post_init__(self) -> None:
        if not is_number(self.delta) or not 0 < self.delta < math.inf:
            received, fix = repr(self.delta), "Pass delta=1.0, for example"
            raise ArgumentError(complaint("Huber(delta=)", expected="a number above 0", received=received, fix=fix))

    def elements(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the square near the target and the straight line away from it."""
        return F.huber_loss(prediction, target, reduction="none", delta=self.delta)


@dataclass(frozen=True)
class LogCosh(Elementwise):
    """log cosh(p − y) = log(e^d + e^−d) − log 2 with d = p − y: near d²/2 for small d, near |d| − log 2 for large.

    Source: Keras' `log_cosh`.

    >>> LogCosh()(torch.tensor([[1.0], [100.0]]), torch.tensor([[1.0], [0.0]]))  # (0 + 100 - 0.6931) / 2
    tensor(49.6534)
    """

    name = "log_cosh"

    def elements(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the logarithm of the hyperbolic cosine, which does not overflow."""
        distance = prediction - target
        return torch.logaddexp(distance, -distance) - math.log(2.0)


@dataclass(frozen=True)
class Poisson(Elementwise):
    """p − y·log(p + ε): for counts y, of which p is the expected number; p is to be positive.

    Source: torch's `poisson_nll_loss`.

    >>> Poisson()(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [0.0]]))
    tensor(1.5000)
    """

    name = "poisson"

    def elements(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the negative logarithm of the likelihood, without the term that is the same for all p."""
        return F.poisson_nll_loss(prediction, target, log_input=False, eps=EPSILON, reduction="none")


class _Signed(Elementwise):
    """A loss whose labels are −1 and 1."""

    def prepare(
        self, target: Tensor, output_shape: tuple[int, ...], where: str = "y", dtype: torch.dtype | None = None
    ) -> Tensor:
        """See `Loss.prepare`; labels 0 and 1 become −1 and 1."""
        return labels.signs(target, output_shape, where, dtype=dtype)


@dataclass(frozen=True)
class Hinge(_Signed):
    """max(1 − y·p, 0) with y = ±1; a target of 0 counts as −1.

    Source: row R18.

    >>> Hinge()(torch.tensor([[0.5], [0.5]]), torch.tensor([[1.0], [-1.0]]))
    tensor(1.)
    """

    name = "hinge"

    def elements(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return max(1 − y·p, 0)."""
        return (1.0 - torch.where(target == 0, -1.0, target) * prediction).clamp(min=0.0)


@dataclass(frozen=True)
class SquaredHinge(_Signed):
    """max(1 − y·p, 0)² with y = ±1; a target of 0 counts as −1.

    Source: row R18.

    >>> SquaredHinge()(torch.tensor([[0.5], [0.5]]), torch.tensor([[1.0], [-1.0]]))
    tensor(1.2500)
    """

    name = "squared_hinge"

    def elements(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return max(1 − y·p, 0)²."""
        return (1.0 - torch.where(target == 0, -1.0, target) * prediction).clamp(min=0.0).square()


@dataclass(frozen=True)
class BinaryCrossentropy(Elementwise):
    """−y·log p − (1 − y)·log(1 − p), with p kept within [ε, 1 − ε]; for one or several independent yes-or-no outputs.

    Args:
        from_logits: the prediction is z with p = sigmoid(z): max(z, 0) − z·y + log(1 + e^−|z|), which needs no ε.
        label_smoothing: s in [0, 1]: labels y become (1 − s)·y + s / 2.

    Raises:
        ArgumentError: if label_smoothing is not in [0, 1].

    Source: row R18.

    >>> p, y = torch.tensor([[0.25]]), torch.tensor([[1.0]])
    >>> BinaryCrossentropy()(p, y), BinaryCrossentropy(from_logits=True)(torch.logit(p), y)
    (tensor(1.3863), tensor(1.3863))
    """

    from_logits: bool = False
    label_smoothing: float = 0.0
    name = "binary_crossentropy"
    activation = "sigmoid"

    def __post_init__(self) -> None:
        share("BinaryCrossentropy(label_smoothing=)", self.label_smoothing)

    def elements(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy of each output."""
        if self.label_smoothing:
            target = target * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        if self.from_logits:
            return F.binary_cross_entropy_with_logits(prediction, target, reduction="none")
        p = prediction.clamp(EPSILON, 1.0 - EPSILON)
        return -(target * p.log() + (1.0 - target) * (-p).log1p())

    def _mean(self, prediction: Tensor, target: Tensor) -> Tensor:
        if self.from_logits and not self.label_smoothing:
            return F.binary_cross_entropy_with_logits(*match(prediction, target, self.name))
        return super()._mean(prediction, target)

    def on_logits(self) -> BinaryCrossentropy:
        """Return the form that takes the numbers before the sigmoid."""
        return dataclasses.replace(self, from_logits=True)

    def prepare(
        self, target: Tensor, output_shape: tuple[int, ...], where: str = "y", dtype: torch.dtype | None = None
    ) -> Tensor:
        """See `Loss.prepare`; labels are 0 and 1, booleans, or probabilities."""
        return labels.binary(target, output_shape, where, dtype=dtype)
