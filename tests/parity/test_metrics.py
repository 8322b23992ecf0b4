"""Metrics against Keras', over several batches of random shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity.support import assert_close, keras, parity
from torch import Tensor

from laminar import metrics
from laminar.metrics import AUC, F1Score, Metric, Precision, Recall

SEEDS = st.integers(0, 2**31)
COUNTS = st.integers(4, 20)


def compare(own: Metric, theirs: Any, p: Tensor, y: Tensor, want: Tensor, bound: float = 1e-5) -> None:
    """Assert that both say the same of batches of three; `want` is the target as Keras takes it."""
    tally = own.start()
    for part, target, wanted in zip(p.split(3), y.split(3), want.split(3), strict=True):
        tally.update(part, target)
        theirs.update_state(wanted, part)
    assert_close([tally.result()], [theirs.result()], bound)


def numbers_of(shape: Any, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator) + 0.1, torch.rand(shape, generator=generator) + 0.1


def classes_of(count: int, classes: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    right = torch.randint(classes, (count,), generator=generator)
    p = torch.rand(count, classes, generator=generator).mul(3).softmax(1)
    return p, right, torch.nn.functional.one_hot(right, classes).float()


NUMBERS = {
    "mean_squared_error": keras.metrics.MeanSquaredError,
    "mean_absolute_error": keras.metrics.MeanAbsoluteError,
    "mean_absolute_percentage_error": keras.metrics.MeanAbsolutePercentageError,
    "mean_squared_logarithmic_error": keras.metrics.MeanSquaredLogarithmicError,
    "root_mean_squared_error": keras.metrics.RootMeanSquaredError,
    "cosine_similarity": keras.metrics.CosineSimilarity,
    "r2_score": keras.metrics.R2Score,
    "log_cosh": keras.metrics.LogCoshError,
    "poisson": keras.metrics.Poisson,
    "kl_divergence": keras.metrics.KLDivergence,
}


@pytest.mark.parametrize("name", NUMBERS)
@parity
@given(count=COUNTS, n=st.integers(1, 4), seed=SEEDS)
def test_numbers(name: str, count: int, n: int, seed: int) -> None:
    p, y = numbers_of((count, n), seed)
    compare(
        metrics.get(name), NUMBERS[name](), p, y, y, 1e-4 if name == "r2_score" else 1e-5
    )  # Keras': float32 sums of squares


@parity
@given(count=COUNTS, classes=st.integers(2, 6), steps=st.integers(1, 4), seed=SEEDS, data=st.data())
def test_accuracies(count: int, classes: int, steps: int, seed: int, data: st.DataObject) -> None:
    p, right, rows = classes_of(count, classes, seed)
    compare(metrics.get("accuracy"), keras.metrics.SparseCategoricalAccuracy(), p, right, right)
    compare(metrics.get("accuracy"), keras.metrics.CategoricalAccuracy(), p, rows, rows)
    compare(metrics.get("binary_accuracy"), keras.metrics.BinaryAccuracy(), p, rows, rows)
    k = data.draw(st.integers(1, classes - 1))
    compare(metrics.get(f"top_{k}_accuracy"), keras.metrics.SparseTopKCategoricalAccuracy(k), p, right, right)
    sequence, labels, _ = classes_of(count * steps, classes, seed)
    sequence, labels = sequence.view(count, steps, classes), labels.view(count, steps)
    own = metrics.resolve("accuracy", (steps, classes), "sparse_categorical_crossentropy", axis=-1)
    compare(own, keras.metrics.SparseCategoricalAccuracy(), sequence, labels, labels)


@parity
@given(count=COUNTS, classes=st.integers(2, 5), seed=SEEDS, threshold=st.floats(0.1, 0.9), data=st.data())
def test_precision_and_recall(count: int, classes: int, seed: int, threshold: float, data: st.DataObject) -> None:
    """Keras' default is every output for itself at 0.5, all counted together."""
    p, right, rows = classes_of(count, classes, seed)
    which = data.draw(st.integers(0, classes - 1))
    for own, theirs in ((Precision, keras.metrics.Precision), (Recall, keras.metrics.Recall)):
        for target in (right, rows):
            compare(own(average="micro", threshold=threshold), theirs(threshold), p, target, rows)
            compare(own(class_id=which, threshold=threshold), theirs(threshold, class_id=which), p, target, rows)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted", None])
@parity
@given(count=COUNTS, classes=st.integers(2, 5), seed=SEEDS, threshold=st.none() | st.floats(0.1, 0.9))
def test_f1(average: str | None, count: int, classes: int, seed: int, threshold: float | None) -> None:
    p, right, rows = classes_of(count, classes, seed)
    compare(F1Score(average, threshold), keras.metrics.F1Score(average, threshold), p, right, rows)


@parity
@given(count=COUNTS, labels=st.integers(1, 4), seed=SEEDS)
def test_roc_area(count: int, labels: int, seed: int) -> None:
    """Keras' trapezoids are exact where its thresholds separate all scores: here these lie between them."""
    rng = np.random.default_rng(seed)
    p = torch.tensor((rng.integers(0, 20, (count, labels)) * 9 + 4.5) / 199, dtype=torch.float32)
    y = torch.tensor(rng.integers(0, 2, (count, labels)), dtype=torch.float32)
    y[0], y[1] = 0, 1  # where there is one kind only Keras says 0, and we say that it is undefined
    compare(AUC(average="macro"), keras.metrics.AUC(multi_label=True, num_labels=labels), p, y, y)
    compare(AUC(average="micro"), keras.metrics.AUC(), p, y, y)


def test_precision_recall_area_is_near() -> None:
    """Keras interpolates between 200 thresholds, average precision does not: of many scores they are the same to a hundredth."""
    rng = np.random.default_rng(0)
    y = torch.tensor(rng.integers(0, 2, 2000), dtype=torch.float32)
    p = torch.sigmoid(y + torch.tensor(rng.normal(size=2000), dtype=torch.float32))
    compare(AUC("PR"), keras.metrics.AUC(curve="PR"), p, y, y, 1e-2)


@parity
@given(count=COUNTS, classes=st.integers(2, 5), seed=SEEDS)
def test_losses_as_metrics(count: int, classes: int, seed: int) -> None:
    p, right, rows = classes_of(count, classes, seed)
    compare(metrics.get("categorical_crossentropy"), keras.metrics.CategoricalCrossentropy(), p, rows, rows)
    compare(metrics.get("sparse_categorical_crossentropy"), keras.metrics.SparseCategoricalCrossentropy(), p, right, right)
    compare(metrics.get("binary_crossentropy"), keras.metrics.BinaryCrossentropy(), p, rows, rows)
    compare(metrics.get("hinge"), keras.metrics.Hinge(), p, rows, rows)
    compare(metrics.get("squared_hinge"), keras.metrics.SquaredHinge(), p, rows, rows)
    compare(metrics.get("categorical_hinge"), keras.metrics.CategoricalHinge(), p, rows, rows)
