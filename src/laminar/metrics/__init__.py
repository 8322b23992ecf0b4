"""Figures that people judge a network by: by name, as instances, or as functions of what `predict` returns and the target.

Each is right over a whole data set, whatever the batch size: means over observations are averaged, other figures (precision,
recall, F1, AUC, R², the root of a mean) are computed once from what was gathered over all batches, also in a training epoch.
The figure of an iteration is that of its mini-batch. Metrics are not weighted by `sample_weight` or `class_weight`.

Predictions are (B, C, ...) with classes on axis 1, or (B, ..., C) behind a Dense layer; targets are as the loss prepared them:
class numbers, or rows in the prediction's shape, or numbers in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias, cast

from torch import Tensor

from laminar.errors import ArgumentError, complaint
from laminar.losses import LOSSES
from laminar.metrics.base import MeanMetric, Metric, Tally, TotalMetric
from laminar.metrics.decisions import ConfusionMatrix, F1Score, Precision, Recall, confusion_matrix
from laminar.metrics.means import Accuracy, BinaryAccuracy, CustomMetric, TopKAccuracy, too_few_classes
from laminar.metrics.ranking import AUC
from laminar.metrics.regression import (
    CosineSimilarity,
    LossMetric,
    MeanAbsoluteError,
    MeanSquaredError,
    R2Score,
    RootMeanSquaredError,
)
from laminar.names import Registry

__all__ = [
    "AUC",
    "METRICS",
    "Accuracy",
    "BinaryAccuracy",
    "ConfusionMatrix",
    "CosineSimilarity",
    "CustomMetric",
    "F1Score",
    "LossMetric",
    "MeanAbsoluteError",
    "MeanMetric",
    "MeanSquaredError",
    "Metric",
    "MetricSpec",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "Tally",
    "TopKAccuracy",
    "TotalMetric",
    "confusion_matrix",
    "get",
    "resolve",
]

_OWN: tuple[Metric, ...] = (
    Accuracy(),
    BinaryAccuracy(),
    TopKAccuracy(5),
    Precision(),
    Recall(),
    F1Score(),
    AUC(),
    MeanAbsoluteError(),
    MeanSquaredError(),
    RootMeanSquaredError(),
    R2Score(),
    CosineSimilarity(),
)

METRICS: Registry[Metric] = Registry(
    "metric",
    {metric.name: metric for metric in (*(LossMetric(name) for name in LOSSES), *_OWN)},
    aliases={
        "acc": "accuracy",
        "categorical_accuracy": "accuracy",
        "sparse_categorical_accuracy": "accuracy",
        "top_k_categorical_accuracy": "top_5_accuracy",
        "sparse_top_k_categorical_accuracy": "top_5_accuracy",
        "f1": "f1_score",
        "r2": "r2_score",
        "rmse": "root_mean_squared_error",
        "bce": "binary_crossentropy",
        "kld": "kl_divergence",
        "mae": "mean_absolute_error",
        "mape": "mean_absolute_percentage_error",
        "mse": "mean_squared_error",
        "msle": "mean_squared_logarithmic_error",
    },
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
    (Accuracy(axis=None, name='accuracy'), TopKAccuracy(k=3, axis=None))
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


def resolve(
    spec: MetricSpec,
    output_shape: tuple[int, ...],
    loss_name: str,
    *,
    from_logits: bool = False,
    axis: int | None = None,
) -> Metric:
    """Return the metric that `spec` stands for on a network with these outputs and this loss.

    Where outputs are yes or no (with the binary cross-entropies, with the hinge losses, and for a single output), "accuracy"
    becomes `BinaryAccuracy` under its own name, and precision, recall and F1 decide at a threshold: 0.5, or 0 where outputs are
    scores.

    Args:
        spec: as for `get`.
        output_shape: of the network, without the batch axis.
        loss_name: the loss's `name`.
        from_logits: whether the network itself, not only the loss, stops before the sigmoid.
        axis: of the classes in a batch of outputs; None if the network does not tell.

    Raises:
        UnknownNameError, ArgumentError: as `get`; also if top-k accuracy is asked of k classes or fewer.

    >>> resolve("accuracy", (10,), "sparse_categorical_crossentropy").name
    'accuracy'
    >>> resolve("accuracy", (1,), "hinge")
    BinaryAccuracy(threshold=0.0, needs_probabilities=False, name='accuracy')
    """
    metric = get(spec)
    if len(output_shape) > 1:
        metric = metric.along(axis)
    if isinstance(metric, TopKAccuracy):
        at = metric.axis or 1
        classes = output_shape[at - 1 if at > 0 else at] if output_shape else 1
        if classes <= metric.k:
            raise too_few_classes(metric, classes)
    scores = loss_name in _SCORES
    if scores or loss_name in _BINARY or output_shape in ((), (1,)):
        return _of_yes_and_no(metric, scores or from_logits)
    return metric


_SCORES = ("hinge", "squared_hinge", "bce_with_logits")
_BINARY = ("binary_crossentropy", "binary_focal_crossentropy", "bce")


def _of_yes_and_no(metric: Metric, scores: bool) -> Metric:
    """Return the metric for outputs that say yes or no."""
    threshold = 0.0 if scores else 0.5
    if isinstance(metric, Accuracy):
        return BinaryAccuracy(threshold, needs_probabilities=not scores, name=metric.name)
    if isinstance(metric, AUC):
        return metric.deciding(threshold, needs_probabilities=False)
    if isinstance(metric, Precision | Recall | F1Score):
        return metric.deciding(threshold, needs_probabilities=not scores)
    return metric
