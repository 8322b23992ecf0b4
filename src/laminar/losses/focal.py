"""Cross-entropies that look away from what is easy: each is weighed by how wrong the network still is.

In the formulas p_t is the probability of what is right, γ the focus, α a balance, ε = 1e-7.
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
from laminar.losses.base import EPSILON, Elementwise, full, is_number, per_observation, share
from laminar.losses.classes import AcrossClasses, as_classes

__all__ = ["BinaryFocalCrossentropy", "CategoricalFocalCrossentropy"]


def _focus(where: str, gamma: object) -> None:
    if not is_number(gamma) or not 0 <= gamma < math.inf:
        raise ArgumentError(
            complaint(where, expected="a finite number of at least 0", received=repr(gamma), fix="Pass gamma=2.0, for example")
        )


@dataclass(frozen=True)
class BinaryFocalCrossentropy(Elementwise):
    """−(1 − p_t)^γ·log p_t with p_t = p where the label is 1 and 1 − p where it is 0, p kept within [ε, 1 − ε].

    Args:
        apply_class_balancing: whether to multiply by α where the label is 1 and by 1 − α where it is 0.
        alpha: α, in [0, 1].
        gamma: γ, at least 0; 0 gives `BinaryCrossentropy`.
        from_logits: the prediction is z with p = sigmoid(z).
        label_smoothing: s in [0, 1]: labels y become (1 − s)·y + s / 2.

    Raises:
        ArgumentError: if a number is out of its range.

    Source: Lin et al. 2017, "Focal loss for dense object detection", equation 5. For labels y between 0 and 1 it is Keras'
    form: p_t = y·p + (1 − y)·(1 − p), times the cross-entropy of y.

    >>> p, y = torch.tensor([[0.5]]), torch.tensor([[1.0]])
    >>> BinaryFocalCrossentropy()(p, y), BinaryFocalCrossentropy(from_logits=True)(torch.logit(p), y)  # 0.25 * 0.6931
    (tensor(0.1733), tensor(0.1733))
    """

    apply_class_balancing: bool = False
    alpha: float = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = 0.0
    name = "binary_focal_crossentropy"
    activation = "sigmoid"

    def __post_init__(self) -> None:
        share("BinaryFocalCrossentropy(alpha=)", self.alpha)
        _focus("BinaryFocalCrossentropy(gamma=)", self.gamma)
        share("BinaryFocalCrossentropy(label_smoothing=)", self.label_smoothing)

    def elements(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the focal cross-entropy of each output."""
        y = target * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing if self.label_smoothing else target
        if self.from_logits:
            p, wrong = prediction.sigmoid(), F.binary_cross_entropy_with_logits(prediction, y, reduction="none")
        else:
            p = prediction.clamp(EPSILON, 1.0 - EPSILON)
            wrong = -(y * p.log() + (1.0 - y) * (-p).log1p())
        missing = (y * (1.0 - p) + (1.0 - y) * p).clamp(min=EPSILON)  # 1 − p_t; a root of 0 would have an infinite slope
        if self.apply_class_balancing:
            wrong = wrong * (y * self.alpha + (1.0 - y) * (1.0 - self.alpha))
        return missing**self.gamma * wrong

    def on_logits(self) -> BinaryFocalCrossentropy:
        """Return the form that takes the numbers before the sigmoid."""
        return dataclasses.replace(self, from_logits=True)

    def prepare(
        self, target: Tensor, output_shape: tuple[int, ...], where: str = "y", dtype: torch.dtype | None = None
    ) -> Tensor:
        """See `Loss.prepare`; labels are 0 and 1, booleans, or probabilities."""
        return labels.binary(target, output_shape, where, dtype=dtype)


@dataclass(frozen=True)
class CategoricalFocalCrossentropy(AcrossClasses):
    """−α·Σ y·(1 − p)^γ·log p over the classes, with p kept within [ε, 1 − ε].

    Args:
        alpha: α, at least 0: one factor for all classes.
        gamma: γ, at least 0; 0 gives α times `CategoricalCrossentropy`.
        from_logits: the prediction is z with p = softmax(z).
        label_smoothing: s in [0, 1]: y becomes (1 − s)·y + s / K.
        axis: of the classes, see `AcrossClasses`.

    Raises:
        ArgumentError: if a number is out of its range.

    Source: Lin et al. 2017, "Focal loss for dense object detection", equation 5, for several classes as in Keras.

    >>> p, y = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([0])
    >>> CategoricalFocalCrossentropy()(p, y), CategoricalFocalCrossentropy(from_logits=True)(p.log(), y)  # 0.25 * 0.25 * 0.6931
    (tensor(0.0433), tensor(0.0433))
    """

    alpha: float = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = 0.0
    name = "categorical_focal_crossentropy"
    activation = "softmax"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_number(self.alpha) or not 0 <= self.alpha < math.inf:
            where, expected = "CategoricalFocalCrossentropy(alpha=)", "one finite number of at least 0"
            fix = "Pass alpha=0.25; weigh classes with fit(class_weight=)"
            raise ArgumentError(complaint(where, expected=expected, received=repr(self.alpha), fix=fix))
        _focus("CategoricalFocalCrossentropy(gamma=)", self.gamma)
        share("CategoricalFocalCrossentropy(label_smoothing=)", self.label_smoothing)

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Loss.values`."""
        rows, target = as_classes(full(prediction), target, self.name, self.axis)
        log_p = rows.log_softmax(1) if self.from_logits else rows.clamp(EPSILON, 1.0 - EPSILON).log()
        wrong = (-torch.expm1(log_p)).clamp(min=EPSILON) ** self.gamma * -log_p
        if target.is_floating_point():
            of_label = (target * wrong).sum(1)
        else:
            of_label = wrong.gather(1, target.unsqueeze(1)).squeeze(1)
        if self.label_smoothing:
            of_label = torch.lerp(of_label, wrong.mean(1), self.label_smoothing)
        return self.alpha * per_observation(of_label)

    def on_logits(self) -> CategoricalFocalCrossentropy:
        """Return the form that takes the numbers before the softmax."""
        return dataclasses.replace(self, from_logits=True)

    def prepare(
        self, target: Tensor, output_shape: tuple[int, ...], where: str = "y", dtype: torch.dtype | None = None
    ) -> Tensor:
        """See `Loss.prepare`; class numbers or one-hot rows become class numbers, int64; other rows stay rows."""
        target = labels.class_numbers(target, output_shape, where, loss=self.name, soft=True, axis=self.axis)
        return target.to(dtype or torch.get_default_dtype()) if target.is_floating_point() else target
