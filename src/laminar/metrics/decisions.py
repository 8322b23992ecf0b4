"""Figures of decisions: how many of each class were found, how many findings were right, and what was taken for what."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from laminar.errors import ArgumentError, LabelError, complaint
from laminar.losses.axis import check_axis, class_axis
from laminar.losses.base import is_number
from laminar.metrics.base import TotalMetric, class_numbers, same_shape, told

__all__ = ["ConfusionMatrix", "F1Score", "Precision", "Recall", "confusion_matrix"]

_AVERAGES = ("macro", "micro", "weighted", None)

C = TypeVar("C", bound="_Counted")


@dataclass(frozen=True)
class _Counted(TotalMetric):
    """What precision, recall and F1 share: three counts for each class, as whole numbers: no batch size changes them."""

    average: str | None = "macro"
    threshold: float | None = None
    class_id: int | None = None
    axis: int | None = None
    name: str = ""
    needs_probabilities: bool = True

    def __post_init__(self) -> None:
        who = type(self).__name__
        if self.average not in _AVERAGES:
            expected, fix = 'one of "macro", "micro", "weighted", None', 'Pass average="macro", for example'
            raise ArgumentError(complaint(f"{who}(average=)", expected=expected, received=repr(self.average), fix=fix))
        if self.threshold is not None and not is_number(self.threshold):
            where, received, fix = f"{who}(threshold=)", repr(self.threshold), "Pass threshold=0.5, for example"
            raise ArgumentError(complaint(where, expected="a number or None", received=received, fix=fix))
        whole = isinstance(self.class_id, int) and not isinstance(self.class_id, bool)
        if self.class_id is not None and (not whole or self.class_id < 0):
            where, received, fix = f"{who}(class_id=)", repr(self.class_id), "Pass class_id=0, for example"
            raise ArgumentError(complaint(where, expected="a class number or None", received=received, fix=fix))
        check_axis(f"{who}(axis=)", self.axis)

    @property
    def is_number(self) -> bool:  # type: ignore[override]  # follows from the settings
        """Whether the figure is one number, and not one for each class."""
        return self.average is not None or self.class_id is not None

    def along(self: C, axis: int | None) -> C:
        """See `Metric.along`."""
        return told(self, axis)

    def deciding(self: C, threshold: float, *, needs_probabilities: bool) -> C:
        """Return this metric for outputs that say yes above `threshold`, unless it has a threshold of its own."""
        if self.threshold is not None:
            return self
        return replace(self, threshold=threshold, needs_probabilities=needs_probabilities)

    def totals(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return (3, C): right findings, findings, and true members of each class."""
        chosen, right, classes = _decisions(self.name, prediction, target, self.threshold, self.axis)
        if self.class_id is not None and self.class_id >= classes:
            where, received = f"metric '{self.name}'", f"class_id={self.class_id} for {classes}"
            raise ArgumentError(complaint(where, expected="a class of the network", received=received, fix="Pass class_id=0"))
        if chosen.ndim == 2:  # (n, C), yes or no for each
            return torch.stack([(chosen & right).sum(0), chosen.sum(0), right.sum(0)])
        known = (right >= 0) & (right < classes)  # torch's −100 stands for "no label"
        right, chosen = right.clamp(0, classes - 1), chosen.long()
        counts = chosen.new_zeros(3, classes)
        counts[0].scatter_add_(0, right, (known & (chosen == right)).long())
        counts[1].scatter_add_(0, chosen, known.long())
        counts[2].scatter_add_(0, right, known.long())
        return counts

    def figure(self, totals: Tensor) -> Tensor:
        """Return the average over classes that was asked for, or the figure of each class, (C,)."""
        counts = totals.double() if totals.device.type != "mps" else totals.float()
        if self.class_id is not None:
            return self.ratio(*counts[:, self.class_id])
        if self.average == "micro":
            return self.ratio(*counts.sum(1))
        each = self.ratio(*counts)
        if self.average is None:
            return each
        return each.mean() if self.average == "macro" else _divided((each * counts[2]).sum(), counts[2].sum())

    @abstractmethod
    def ratio(self, hits: Tensor, found: Tensor, members: Tensor) -> Tensor:
        """Return the figure from counts; 0 where it would be 0/0."""


def _divided(a: Tensor, b: Tensor) -> Tensor:
    """Return a / b; 0 where b is 0."""
    return a / b.clamp(min=1e-30) * (b > 0)


def _decisions(
    name: str, prediction: Tensor, target: Tensor, threshold: float | None, axis: int | None
) -> tuple[Tensor, Tensor, int]:
    """Return what was chosen and what is right, and the number of classes.

    Class numbers (n,) where the largest output decides; booleans (n, C) where a threshold does. n counts observations and,
    for sequences and maps, their positions.
    """
    at = 1 if prediction.ndim < 2 else class_axis(tuple(prediction.shape), tuple(target.shape), axis)
    classes = prediction.shape[at] if prediction.ndim > 1 else 1
    if threshold is None and classes > 1:
        rows, right = class_numbers(name, prediction, target, axis)
        return rows.argmax(1).flatten(), right.flatten(), classes
    bound = 0.5 if threshold is None else threshold
    if classes > 1 and target.shape != prediction.shape:
        prediction, right = class_numbers(name, prediction, target, axis)
        at = 1
        numbers = torch.arange(classes, device=target.device).view(-1, *[1] * (prediction.ndim - 2))
        yes = right.unsqueeze(1) == numbers
    else:
        yes = same_shape(name, prediction, target) > 0.5
    chosen = prediction > bound
    if prediction.ndim < 2:
        return chosen[:, None], yes[:, None], 1
    return chosen.movedim(at, -1).reshape(-1, classes), yes.movedim(at, -1).reshape(-1, classes), classes


@dataclass(frozen=True)
class Precision(_Counted):
    """The part of the findings of a class that are right: hits / findings; 0 for a class that was never found.

    Args:
        average: over classes: "macro" (their plain mean), "micro" (of the summed counts), "weighted" (by the number of
            members), or None for one figure for each class, (C,), which `compile` does not take.
        threshold: outputs above it say yes, each for itself; None: the largest of several outputs decides, and a single one
            at 0.5 (at 0 where the loss works on scores).
        class_id: the figure of this class alone.
        axis: of the classes; None to go by the network.
        name: for History.
        needs_probabilities: see `Metric`.

    Raises:
        ArgumentError: if a setting is not possible.

    Source: van Rijsbergen 1979, "Information retrieval", chapter 7. Keras' `Precision()` is this one's
    `Precision(average="micro", threshold=0.5)`.

    >>> Precision(average=None)(torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), torch.tensor([0, 1, 1]))
    tensor([0.5000, 1.0000])
    """

    name: str = "precision"

    def ratio(self, hits: Tensor, found: Tensor, members: Tensor) -> Tensor:
        """Return hits / findings."""
        return _divided(hits, found)


@dataclass(frozen=True)
class Recall(_Counted):
    """The part of the members of a class that were found: hits / members; 0 for a class without members.

    Args and Raises are those of `Precision`. Source: as there; Keras' `Recall()` is `Recall(average="micro", threshold=0.5)`.

    >>> Recall(class_id=1)(torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), torch.tensor([0, 1, 1]))
    tensor(0.5000)
    """

    name: str = "recall"

    def ratio(self, hits: Tensor, found: Tensor, members: Tensor) -> Tensor:
        """Return hits / members."""
        return _divided(hits, members)


@dataclass(frozen=True)
class F1Score(_Counted):
    """The harmonic mean of precision and recall: 2·hits / (findings + members); 0 for a class neither found nor there.

    Args and Raises are those of `Precision`. Source: as there; Keras' `F1Score`, with "macro" for its default of a figure for
    each class.

    >>> F1Score()(torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), torch.tensor([0, 1, 1]))
    tensor(0.6667)
    """

    name: str = "f1_score"

    def ratio(self, hits: Tensor, found: Tensor, members: Tensor) -> Tensor:
        """Return 2·hits / (findings + members)."""
        return _divided(2 * hits, found + members)


@dataclass(frozen=True)
class ConfusionMatrix(TotalMetric):
    """How often each class was taken for which: whole numbers (C, C), a row for each right class, a column for each chosen one.

    It is no number, so `compile` does not take it: use it on what `predict` returns, batch by batch with `start()`, or use
    `confusion_matrix` on class numbers.

    Args:
        threshold: of the single output of a network that says yes or no: 0.5, or 0 for scores.
        axis: of the classes; None to go by the shapes.
        name: for messages.

    Source: Stehman 1997, "Selecting and interpreting measures of thematic classification accuracy".

    >>> ConfusionMatrix()(torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), torch.tensor([0, 1, 1]))
    tensor([[1, 0],
            [1, 1]])
    """

    threshold: float = 0.5
    axis: int | None = None
    name: str = "confusion_matrix"
    is_number = False

    def __post_init__(self) -> None:
        if not is_number(self.threshold):
            where, received, fix = "ConfusionMatrix(threshold=)", repr(self.threshold), "Pass threshold=0.5, for example"
            raise ArgumentError(complaint(where, expected="a number", received=received, fix=fix))
        check_axis("ConfusionMatrix(axis=)", self.axis)

    def along(self, axis: int | None) -> ConfusionMatrix:
        """See `Metric.along`."""
        return told(self, axis)

    def totals(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return (C, C), counts."""
        single = (
            prediction.ndim < 2 or prediction.shape[class_axis(tuple(prediction.shape), tuple(target.shape), self.axis)] == 1
        )
        threshold = self.threshold if single else None
        chosen, right, classes = _decisions(self.name, prediction, target, threshold, self.axis)
        if single:
            chosen, right, classes = chosen.flatten().long(), right.flatten().long(), 2
        return _counts(right.long(), chosen, classes)

    def figure(self, totals: Tensor) -> Tensor:
        """Return the counts themselves."""
        return totals


def _counts(right: Tensor, chosen: Tensor, classes: int) -> Tensor:
    """Return (C, C) from class numbers (n,); what has no label (a number outside the classes) is left out."""
    known = (right >= 0) & (right < classes)
    counts = torch.zeros(classes * classes, dtype=torch.int64, device=right.device)
    counts.scatter_add_(0, right.clamp(0, classes - 1) * classes + chosen, known.long())
    return counts.view(classes, classes)


def confusion_matrix(target: Any, predicted: Any, classes: int | None = None) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return how often each class was taken for which: (C, C), a row for each right class, a column for each chosen one.

    Args:
        target: the right classes, whole numbers of any shape: an array, a tensor or a list.
        predicted: the chosen classes, in the same shape, as `model.classify` returns them.
        classes: how many there are; one more than the largest number if None.

    Raises:
        LabelError: if the shapes differ, or there is something else than class numbers.

    Source: Stehman 1997, as for `ConfusionMatrix`.

    >>> confusion_matrix([0, 1, 1, 2], [0, 1, 2, 2])
    array([[1, 0, 0],
           [0, 1, 1],
           [0, 0, 1]])
    """
    right, chosen = (np.asarray(torch.as_tensor(labels).cpu()) for labels in (target, predicted))
    if right.shape != chosen.shape:
        received, fix = f"{right.shape} and {chosen.shape}", "Pass class numbers, such as probabilities.argmax(1)"
        raise LabelError(complaint("confusion_matrix", expected="as many labels in each", received=received, fix=fix))
    largest = max((int(labels.max()) for labels in (right, chosen) if labels.size), default=-1)
    count = largest + 1 if classes is None else classes
    for where, labels in (("target", right), ("predicted", chosen)):
        if labels.size and not (np.issubdtype(labels.dtype, np.integer) or labels.dtype == bool):
            fix = "Pass class numbers, such as probabilities.argmax(1)"
            raise LabelError(
                complaint(f"confusion_matrix({where}=)", expected="whole numbers", received=str(labels.dtype), fix=fix)
            )
        if labels.size and (labels.min() < 0 or labels.max() >= count):
            wrong = labels[(labels < 0) | (labels >= count)].flat[0]
            where, expected = f"confusion_matrix({where}=)", f"class numbers 0 to {count - 1}"
            raise LabelError(
                complaint(where, expected=expected, received=f"{wrong}", fix="Correct the labels, or pass classes=")
            )
    pairs = np.zeros((count, count), dtype=np.int64)
    np.add.at(pairs, (right.astype(np.int64).ravel(), chosen.astype(np.int64).ravel()), 1)
    return pairs
