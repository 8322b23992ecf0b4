"""Areas under curves: how well scores rank what is a yes above what is a no, whatever the threshold."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from laminar.errors import ArgumentError, complaint
from laminar.losses.axis import check_axis, class_axis
from laminar.metrics.base import Metric, Tally, class_numbers, same_shape, told, unseen, wide

__all__ = ["AUC"]


@dataclass(frozen=True)
class AUC(Metric):
    """The exact area under the ROC or the precision-recall curve.

    ROC: the probability that a yes is scored above a no, ties counting half, (Σ ranks of the yes − P(P + 1)/2) / (P·N) with
    middle ranks for ties. PR: the average precision Σ (Rₙ − Rₙ₋₁)·Pₙ over the distinct scores, without interpolation. Every
    threshold counts, where Keras takes 200: scores and labels of the whole data set are kept on the device until the end,
    5 bytes for each output of each observation.

    It is nan where the area is not defined: without any yes or, for ROC, any no. So it is of a mini-batch of one kind.

    Args:
        curve: "ROC" or "PR".
        average: of several classes or labels, each against the rest: "macro", their plain mean, nan if one of them is not
            defined; "micro", all taken together; or None for the area of each, (C,), which `compile` does not take. Of two
            classes with class numbers as target there is one area, that of class 1.
        axis: of the classes; None to go by the network.
        name: for History.
        needs_probabilities: see `Metric`.

    Raises:
        ArgumentError: if a setting is not possible.

    Source: Hanley & McNeil 1982, "The meaning and use of the area under a ROC curve"; average precision: Zhu 2004, "Recall,
    precision and average precision".

    >>> AUC()(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
    tensor(0.7500)
    >>> AUC(curve="PR")(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
    tensor(0.8333)
    """

    curve: str = "ROC"
    average: str | None = "macro"
    axis: int | None = None
    name: str = "auc"
    needs_probabilities: bool = True

    def __post_init__(self) -> None:
        if self.curve not in ("ROC", "PR"):
            raise ArgumentError(
                complaint("AUC(curve=)", expected='"ROC" or "PR"', received=repr(self.curve), fix='Pass curve="ROC"')
            )
        if self.average not in ("macro", "micro", None):
            expected, fix = 'one of "macro", "micro", None', 'Pass average="macro", for example'
            raise ArgumentError(complaint("AUC(average=)", expected=expected, received=repr(self.average), fix=fix))
        check_axis("AUC(axis=)", self.axis)

    @property
    def is_number(self) -> bool:  # type: ignore[override]  # follows from the settings
        """Whether the figure is one number, and not one for each class."""
        return self.average is not None

    def along(self, axis: int | None) -> AUC:
        """See `Metric.along`."""
        return told(self, axis)

    def deciding(self, _threshold: float, *, needs_probabilities: bool) -> AUC:
        """Return this metric for outputs that say yes or no: their order is that of the scores, which have no ties near 1."""
        return replace(self, needs_probabilities=needs_probabilities)

    def start(self) -> Tally:
        """See `Metric.start`."""
        return _Ranked(self)

    def scores(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and whether each is of a yes, (columns, n): n counts observations and their positions."""
        if prediction.ndim < 2:
            return prediction[None], same_shape(self.name, prediction, target)[None] > 0.5
        at = class_axis(tuple(prediction.shape), tuple(target.shape), self.axis)
        classes = prediction.shape[at]
        if target.shape == prediction.shape or classes == 1:
            yes = (same_shape(self.name, prediction, target) > 0.5).movedim(at, 0).reshape(classes, -1)
            return prediction.movedim(at, 0).reshape(classes, -1), yes
        rows, right = class_numbers(self.name, prediction, target, self.axis)
        yes = right.reshape(1, -1) == torch.arange(classes, device=right.device)[:, None]
        scores = rows.movedim(1, 0).reshape(classes, -1)
        return (scores[1:], yes[1:]) if classes == 2 else (scores, yes)


class _Ranked(Tally):
    def __init__(self, metric: AUC) -> None:
        self._metric = metric
        self._scores: list[Tensor] = []
        self._yes: list[Tensor] = []

    def update(self, prediction: Tensor, target: Tensor) -> None:
        scores, yes = self._metric.scores(prediction, target)
        self._scores.append(scores.clone())  # not the network's memory, which the next batch may reuse
        self._yes.append(yes)

    def result(self) -> Tensor:
        if not self._scores:
            raise unseen(self._metric)
        scores, yes = torch.cat(self._scores, 1), torch.cat(self._yes, 1)
        if self._metric.average == "micro":
            scores, yes = scores.reshape(1, -1), yes.reshape(1, -1)
        area = roc_area if self._metric.curve == "ROC" else average_precision
        each = area(scores, yes).float()
        return each if self._metric.average is None else each.mean()


def roc_area(scores: Tensor, yes: Tensor) -> Tensor:
    """Return the area under the ROC curve of each row: (C,) from scores (C, n) and whether they are of a yes; nan if undefined.

    >>> roc_area(torch.tensor([[0.1, 0.4, 0.4, 0.8]]), torch.tensor([[False, False, True, True]]))
    tensor([0.8750], dtype=torch.float64)
    """
    ordered = scores.contiguous().sort(1).values
    below = torch.searchsorted(ordered, scores.contiguous())
    upto = torch.searchsorted(ordered, scores.contiguous(), right=True)
    hits = yes.to(wide(scores))
    positives, n = hits.sum(1), yes.shape[1]
    ranks = ((below + upto + 1).to(hits.dtype) / 2 * hits).sum(1)
    area = (ranks - positives * (positives + 1) / 2) / (positives * (n - positives))
    return torch.where(scores.isnan().any(1), torch.nan, area)


def average_precision(scores: Tensor, yes: Tensor) -> Tensor:
    """Return the average precision of each row: (C,) from scores (C, n) and whether they are of a yes; nan if undefined.

    >>> average_precision(torch.tensor([[0.1, 0.4, 0.4, 0.8]]), torch.tensor([[False, False, True, True]]))
    tensor([0.8333], dtype=torch.float64)
    """
    ordered, order = scores.contiguous().sort(1)
    hits = yes.gather(1, order).to(wide(scores))
    n = yes.shape[1]
    below = torch.searchsorted(ordered, ordered)  # how many are scored lower than each
    found_below = torch.nn.functional.pad(hits.cumsum(1), (1, 0)).gather(1, below)
    positives = hits.sum(1, keepdim=True)
    precision = (positives - found_below) / (n - below)  # of all that are scored at least as high
    area = (precision * hits).sum(1) / positives[:, 0]
    return torch.where(scores.isnan().any(1), torch.nan, area)
