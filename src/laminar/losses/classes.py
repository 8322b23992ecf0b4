"""Losses that compare all outputs of one observation: which class is it, which distribution, which direction?

Classes are on axis 1 of the prediction, (B, C, ...), or on the last, (B, ..., C): `axis` says which. In the formulas p is the
prediction, t the right class, y a row of probabilities (one-hot, say), ε = 1e-7, K the number of classes; over further axes,
such as pixels or steps, the loss is the mean.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.losses import labels
from laminar.losses.axis import check_axis, class_axis, without
from laminar.losses.base import EPSILON, Loss, full, match, per_observation, share

__all__ = [
    "AcrossClasses",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "KLDivergence",
    "SparseCategoricalCrossentropy",
    "as_classes",
]

Self = TypeVar("Self", bound="AcrossClasses")


def as_classes(prediction: Tensor, target: Tensor, name: str, axis: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the prediction as (B, C, ...), and class numbers (B, ...) int64 or rows (B, C, ...) of its dtype.

    It looks at shapes and dtypes only, so it costs no synchronization with a GPU.

    Args:
        prediction: (B, C, ...) or (B, ..., C).
        target: class numbers without the axis of classes, or with one of length 1 there; or rows in the prediction's shape.
        name: of the loss, for messages.
        axis: of the classes; None to go by the shapes.

    Raises:
        ShapeError: if the shapes do not fit.

    >>> as_classes(torch.zeros(2, 3), torch.tensor([[1], [0]], dtype=torch.uint8), "categorical_crossentropy")[1]
    tensor([1, 0])
    >>> as_classes(torch.zeros(2, 7, 3), torch.zeros(2, 7, dtype=torch.int64), "categorical_crossentropy")[0].shape
    torch.Size([2, 3, 7])
    """
    shape = tuple(prediction.shape)
    at = class_axis(shape, tuple(target.shape), axis)
    rows = prediction if at == 1 else prediction.movedim(at, 1)
    if target.shape == prediction.shape:
        target = target if at == 1 else target.movedim(at, 1)
        return rows, target if target.dtype is prediction.dtype else target.to(prediction.dtype)
    numbers = without(shape, at)
    if target.shape != numbers and target.ndim == prediction.ndim and target.shape[at] == 1:
        target = target.squeeze(at)
    if target.shape == numbers and not target.is_floating_point():
        return rows, target if target.dtype is torch.int64 else target.long()
    expected = f"class numbers {numbers} (integers) or rows {shape} as target"
    received, fix = f"{target.dtype} of shape {tuple(target.shape)}", "Convert class numbers with target.long()"
    raise ShapeError(complaint(f"loss '{name}'", expected=expected, received=received, fix=fix))


@dataclass(frozen=True, kw_only=True)
class AcrossClasses(Loss):
    """What losses over an axis of classes share.

    Args:
        axis: of the classes in a batch: 1 for (B, C, ...), -1 for (B, ..., C); None to go by the network's last layer, or where
            that is not known by the shapes of the labels.

    Raises:
        ArgumentError: if it is no axis after the batch.
    """

    axis: int | None = None

    def __post_init__(self) -> None:
        check_axis(f"{type(self).__name__}(axis=)", self.axis)

    def along(self: Self, axis: int | None) -> Self:
        """See `Loss.along`; an axis that was given stays."""
        return self if axis is None or self.axis is not None else dataclasses.replace(self, axis=axis)

    def prepare(
        self, target: Tensor, output_shape: tuple[int, ...], where: str = "y", dtype: torch.dtype | None = None
    ) -> Tensor:
        """See `Loss.prepare`; class numbers or one-hot rows become class numbers, int64."""
        return labels.class_numbers(target, output_shape, where, loss=self.name, soft=False, axis=self.axis)


@dataclass(frozen=True)
class _Crossentropy(AcrossClasses):
    """The arithmetic of both categorical cross-entropies."""

    from_logits: bool = False
    activation = "softmax"

    @property
    @abstractmethod
    def _smoothing(self) -> float:
        """The part of the label that is spread over all classes."""

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Loss.values`."""
        rows, target = as_classes(full(prediction), target, self.name, self.axis)
        if self.from_logits:
            return per_observation(F.cross_entropy(rows, target, reduction="none", label_smoothing=self._smoothing))
        log_p = rows.clamp(EPSILON, 1.0 - EPSILON).log()
        if target.is_floating_point():
            wrong = -(target * log_p).sum(1)
        else:
            wrong = -log_p.gather(1, target.unsqueeze(1)).squeeze(1)
        if self._smoothing:
            wrong = torch.lerp(wrong, -log_p.mean(1), self._smoothing)
        return per_observation(wrong)

    def _mean(self, prediction: Tensor, target: Tensor) -> Tensor:
        if not self.from_logits:
            return self.values(prediction, target).mean()
        prediction = full(prediction)
        if prediction.ndim != 2 or target.dtype is not torch.int64 or target.ndim != 1:  # torch checks the rest
            prediction, target = as_classes(prediction, target, self.name, self.axis)
        return F.cross_entropy(prediction, target, label_smoothing=self._smoothing)

    def on_logits(self: _C) -> _C:
        """Return the form that takes the numbers before the softmax."""
        return dataclasses.replace(self, from_logits=True)


_C = TypeVar("_C", bound=_Crossentropy)


@dataclass(frozen=True)
class SparseCategoricalCrossentropy(_Crossentropy):
    """−log p_t, with p kept within [ε, 1 − ε], for class numbers or one-hot rows.

    Args:
        from_logits: the prediction is z with p = softmax(z): −z_t + log Σ e^z, which needs no ε.
        axis: of the classes, see `AcrossClasses`.

    Source: row R18. Keras divides p by its sum first; here it is taken to sum to 1, as a softmax does.

    >>> p, y = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([1])
    >>> SparseCategoricalCrossentropy()(p, y), SparseCategoricalCrossentropy(from_logits=True)(p.log(), y)
    (tensor(1.3863), tensor(1.3863))
    """

    name = "sparse_categorical_crossentropy"
    _smoothing = 0.0


@dataclass(frozen=True)
class CategoricalCrossentropy(_Crossentropy):
    """−Σ y·log p over the classes, with p kept within [ε, 1 − ε], for rows of probabilities, one-hot rows or class numbers.

    Args:
        from_logits: the prediction is z with p = softmax(z): computed from log-softmax, which needs no ε.
        label_smoothing: s in [0, 1]: y becomes (1 − s)·y + s / K.
        axis: of the classes, see `AcrossClasses`.

    Raises:
        ArgumentError: if label_smoothing is not in [0, 1].

    Source: row R18; label smoothing: Szegedy et al. 2016, "Rethinking the Inception architecture". Keras divides p by its sum
    first; here it is taken to sum to 1, as a softmax does.

    >>> p, y = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[0.0, 0.5, 0.5]])
    >>> CategoricalCrossentropy()(p, y), CategoricalCrossentropy(from_logits=True)(p.log(), y)
    (tensor(1.3863), tensor(1.3863))
    """

    label_smoothing: float = 0.0
    name = "categorical_crossentropy"

    def __post_init__(self) -> None:
        super().__post_init__()
        share("CategoricalCrossentropy(label_smoothing=)", self.label_smoothing)

    @property
    def _smoothing(self) -> float:
        return self.label_smoothing

    def prepare(
        self, target: Tensor, output_shape: tuple[int, ...], where: str = "y", dtype: torch.dtype | None = None
    ) -> Tensor:
        """See `Loss.prepare`; class numbers or one-hot rows become class numbers, int64; other rows stay rows."""
        target = labels.class_numbers(target, output_shape, where, loss=self.name, soft=True, axis=self.axis)
        return target.to(dtype or torch.get_default_dtype()) if target.is_floating_point() else target


@dataclass(frozen=True)
class CategoricalHinge(AcrossClasses):
    """max(1 + max(0, largest wrong p) − p_t, 0), which is Keras' form: Weston & Watkins' loss is without the inner 0.

    Args:
        axis: of the classes, see `AcrossClasses`.

    Source: row R18.

    >>> CategoricalHinge()(torch.tensor([[2.0, 1.5, -1.0]]), torch.tensor([0]))
    tensor(0.5000)
    """

    name = "categorical_hinge"

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Loss.values`."""
        rows, target = as_classes(full(prediction), target, self.name, self.axis)
        if target.is_floating_point():
            right, wrong = (target * rows).sum(1), ((1.0 - target) * rows).amax(1)
        else:
            index = target.unsqueeze(1)
            right, wrong = rows.gather(1, index).squeeze(1), rows.scatter(1, index, 0.0).amax(1)
        return per_observation((1.0 + wrong - right).clamp(min=0.0))


@dataclass(frozen=True)
class KLDivergence(AcrossClasses):
    """Σ y·log(y / p) over the classes, with y and p kept within [ε, 1].

    Args:
        axis: of the classes, see `AcrossClasses`.

    Source: Kullback & Leibler 1951, "On information and sufficiency".

    >>> KLDivergence()(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """

    name = "kl_divergence"

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Loss.values`; target (B, C, ...) or (B, ..., C), like the prediction."""
        p, y = (row.clamp(EPSILON, 1.0) for row in match(prediction, target, self.name))
        at = class_axis(tuple(p.shape), tuple(y.shape), self.axis)
        return per_observation((y * (y.log() - p.log())).sum(at))

    def prepare(
        self, target: Tensor, output_shape: tuple[int, ...], where: str = "y", dtype: torch.dtype | None = None
    ) -> Tensor:
        """See `Loss.prepare`; whatever form the labels have, rows of probabilities come back."""
        return labels.distributions(target, output_shape, where, loss=self.name, dtype=dtype, axis=self.axis)


@dataclass(frozen=True)
class CosineSimilarity(AcrossClasses):
    """−Σ p·y / (max(‖p‖, ε)·max(‖y‖, ε)): −1 where both point the same way, 0 at right angles, 1 in opposite directions.

    Args:
        axis: the one that a vector lies on, see `AcrossClasses`.

    The metric of this name has the opposite sign, as in Keras. Source: torch's `cosine_similarity`.

    >>> CosineSimilarity()(torch.tensor([[3.0, 4.0]]), torch.tensor([[6.0, 8.0]]))
    tensor(-1.)
    """

    name = "cosine_similarity"

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Loss.values`; target in the prediction's shape, of two axes or more."""
        p, y = match(prediction, target, self.name)
        self._check(tuple(p.shape[1:]))
        at = class_axis(tuple(p.shape), tuple(y.shape), self.axis)
        return per_observation(-F.cosine_similarity(p, y, dim=at, eps=EPSILON))

    def prepare(
        self, target: Tensor, output_shape: tuple[int, ...], where: str = "y", dtype: torch.dtype | None = None
    ) -> Tensor:
        """See `Loss.prepare`: finite numbers in the network's output shape."""
        self._check(output_shape)
        return labels.numbers(target, output_shape, where, dtype=dtype)

    def _check(self, output_shape: tuple[int, ...]) -> None:
        if not output_shape:
            fix = 'Use loss="mean_squared_error"'
            raise ArgumentError(
                complaint(f"loss '{self.name}'", expected="a network that returns vectors", received="numbers (N,)", fix=fix)
            )
