"""Losses that compare all outputs of one observation: which class is it?

Classes are on axis 1 of the prediction, (B, C, ...). In the formulas p is the prediction, t the right class, y a row of
probabilities (one-hot, say), ε = 1e-7; over further axes, such as pixels, the loss is the mean.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from laminar.errors import ShapeError, complaint
from laminar.losses import labels
from laminar.losses.base import EPSILON, Loss, full, match, per_observation

__all__ = ["CategoricalCrossentropy", "CategoricalHinge", "KLDivergence", "SparseCategoricalCrossentropy", "as_classes"]


def as_classes(prediction: Tensor, target: Tensor, name: str) -> Tensor:
    """Return class numbers (B, ...) int64, or rows (B, C, ...) of the prediction's dtype, from any form the two may have.

    It looks at shapes and dtypes only, so it costs no synchronization with a GPU.

    Raises:
        ShapeError: if the shapes do not fit.

    >>> as_classes(torch.zeros(2, 3), torch.tensor([[1], [0]], dtype=torch.uint8), "categorical_crossentropy")
    tensor([1, 0])
    """
    numbers = (*prediction.shape[:1], *prediction.shape[2:])
    if target.shape == prediction.shape:
        return target if target.dtype is prediction.dtype else target.to(prediction.dtype)
    if target.shape != numbers and target.shape == (*prediction.shape[:1], 1, *prediction.shape[2:]):
        target = target.squeeze(1)
    if target.shape == numbers and not target.is_floating_point():
        return target if target.dtype is torch.int64 else target.long()
    expected = f"class numbers {numbers} (integers) or rows {tuple(prediction.shape)} as target"
    received, fix = f"{target.dtype} of shape {tuple(target.shape)}", "Convert class numbers with target.long()"
    raise ShapeError(complaint(f"loss '{name}'", expected=expected, received=received, fix=fix))


class _Crossentropy(Loss):
    """The arithmetic of both categorical cross-entropies."""

    activation = "softmax"

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Loss.values`."""
        prediction = full(prediction)
        target = as_classes(prediction, target, self.name)
        if self.from_logits:
            return per_observation(F.cross_entropy(prediction, target, reduction="none"))
        if target.is_floating_point():
            return per_observation(-(target * prediction.clamp(EPSILON, 1.0 - EPSILON).log()).sum(1))
        right = prediction.gather(1, target.unsqueeze(1)).squeeze(1)
        return per_observation(-right.clamp(EPSILON, 1.0 - EPSILON).log())

    def _mean(self, prediction: Tensor, target: Tensor) -> Tensor:
        if not self.from_logits:
            return self.values(prediction, target).mean()
        prediction = full(prediction)
        if target.dtype is not torch.int64 or target.ndim != prediction.ndim - 1:  # torch checks the rest
            target = as_classes(prediction, target, self.name)
        return F.cross_entropy(prediction, target)

    @abstractmethod
    def on_logits(self) -> Loss:
        """Return the form that takes the numbers before the softmax."""


@dataclass(frozen=True)
class SparseCategoricalCrossentropy(_Crossentropy):
    """−log p_t, with p kept within [ε, 1 − ε], for class numbers or one-hot rows.

    Args:
        from_logits: the prediction is z with p = softmax(z): −z_t + log Σ e^z, which needs no ε.

    Source: row R18. Keras divides p by its sum first; here it is taken to sum to 1, as a softmax does.

    >>> p, y = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([1])
    >>> SparseCategoricalCrossentropy()(p, y), SparseCategoricalCrossentropy(from_logits=True)(p.log(), y)
    (tensor(1.3863), tensor(1.3863))
    """

    from_logits: bool = False
    name = "sparse_categorical_crossentropy"

    def on_logits(self) -> SparseCategoricalCrossentropy:
        """Return the form that takes the numbers before the softmax."""
        return dataclasses.replace(self, from_logits=True)

    def prepare(
        self, target: Tensor, output_shape: tuple[int, ...], where: str = "y", dtype: torch.dtype | None = None
    ) -> Tensor:
        """See `Loss.prepare`; class numbers or one-hot rows become class numbers, int64."""
        return labels.class_numbers(target, output_shape, where, loss=self.name, soft=False)


@dataclass(frozen=True)
class CategoricalCrossentropy(_Crossentropy):
    """−Σ y·log p over the classes, with p kept within [ε, 1 − ε], for rows of probabilities, one-hot rows or class numbers.

    Args:
        from_logits: the prediction is z with p = softmax(z): computed from log-softmax, which needs no ε.

    Source: row R18. Keras divides p by its sum first; here it is taken to sum to 1, as a softmax does.

    >>> p, y = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[0.0, 0.5, 0.5]])
    >>> CategoricalCrossentropy()(p, y), CategoricalCrossentropy(from_logits=True)(p.log(), y)
    (tensor(1.3863), tensor(1.3863))
    """

    from_logits: bool = False
    name = "categorical_crossentropy"

    def on_logits(self) -> CategoricalCrossentropy:
        """Return the form that takes the numbers before the softmax."""
        return dataclasses.replace(self, from_logits=True)

    def prepare(
        self, target: Tensor, output_shape: tuple[int, ...], where: str = "y", dtype: torch.dtype | None = None
    ) -> Tensor:
        """See `Loss.prepare`; class numbers or one-hot rows become class numbers, int64; other rows stay rows."""
        target = labels.class_numbers(target, output_shape, where, loss=self.name, soft=True)
        return target.to(dtype or torch.get_default_dtype()) if target.is_floating_point() else target


@dataclass(frozen=True)
class CategoricalHinge(Loss):
    """max(1 + max(0, largest wrong p) − p_t, 0), which is Keras' form: Weston & Watkins' loss is without the inner 0.

    Source: row R18.

    >>> CategoricalHinge()(torch.tensor([[2.0, 1.5, -1.0]]), torch.tensor([0]))
    tensor(0.5000)
    """

    name = "categorical_hinge"

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Loss.values`."""
        prediction = full(prediction)
        target = as_classes(prediction, target, self.name)
        if target.is_floating_point():
            right, wrong = (target * prediction).sum(1), ((1.0 - target) * prediction).amax(1)
        else:
            index = target.unsqueeze(1)
            right, wrong = prediction.gather(1, index).squeeze(1), prediction.scatter(1, index, 0.0).amax(1)
        return per_observation((1.0 + wrong - right).clamp(min=0.0))

    def prepare(
        self, target: Tensor, output_shape: tuple[int, ...], where: str = "y", dtype: torch.dtype | None = None
    ) -> Tensor:
        """See `Loss.prepare`; class numbers or one-hot rows become class numbers, int64."""
        return labels.class_numbers(target, output_shape, where, loss=self.name, soft=False)


@dataclass(frozen=True)
class KLDivergence(Loss):
    """Σ y·log(y / p) over the classes, with y and p kept within [ε, 1].

    Source: Kullback & Leibler 1951, "On information and sufficiency".

    >>> KLDivergence()(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """

    name = "kl_divergence"

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Loss.values`."""
        p, y = (row.clamp(EPSILON, 1.0) for row in match(prediction, target, self.name))
        return per_observation((y * (y.log() - p.log())).sum(1))

    def prepare(
        self, target: Tensor, output_shape: tuple[int, ...], where: str = "y", dtype: torch.dtype | None = None
    ) -> Tensor:
        """See `Loss.prepare`; whatever form the labels have, rows of probabilities come back."""
        return labels.distributions(target, output_shape, where, loss=self.name, dtype=dtype)
