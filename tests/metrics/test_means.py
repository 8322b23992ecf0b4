"""Metrics against NumPy and scikit-free definitions, for predictions of every rank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from laminar import metrics
from laminar.errors import ArgumentError, ShapeError, UnknownNameError
from laminar.metrics import METRICS, Accuracy, BinaryAccuracy, CustomMetric, MeanSquaredError, TopKAccuracy

REST = st.lists(st.integers(1, 4), max_size=2).map(tuple)


def mean_over_rest(values: Any) -> Any:
    return np.asarray(values, dtype=float).reshape(len(values), -1).mean(1)


@given(count=st.integers(1, 6), classes=st.integers(2, 7), rest=REST, seed=st.integers(0, 2**31))
def test_accuracy(count: int, classes: int, rest: tuple[int, ...], seed: int) -> None:
    """Class numbers, columns, one-hot rows and probabilities as target; logits or probabilities as prediction."""
    rng = np.random.default_rng(seed)
    scores, right = rng.normal(size=(count, classes, *rest)), rng.integers(0, classes, (count, *rest))
    expected = mean_over_rest(scores.argmax(1) == right)
    hot = np.moveaxis(np.eye(classes)[right], -1, 1)
    for target in (right, right[:, None], hot, 0.9 * hot + 0.1 / classes):
        for prediction in (torch.from_numpy(scores), torch.from_numpy(scores).softmax(1)):
            values = metrics.get("accuracy").values(prediction, torch.from_numpy(target))
            assert values.is_floating_point()
            np.testing.assert_allclose(values, expected)


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple), seed=st.integers(0, 2**31))
def test_binary_accuracy(shape: tuple[int, ...], seed: int) -> None:
    """On the right side of 0.5; of 0 for the hinge losses' ±1."""
    rng = np.random.default_rng(seed)
    p, y = rng.random(shape), rng.integers(0, 2, shape)
    expected = mean_over_rest((p > 0.5) == (y == 1))
    np.testing.assert_allclose(BinaryAccuracy().values(torch.from_numpy(p), torch.from_numpy(y)), expected)
    scores = BinaryAccuracy(threshold=0.0, needs_probabilities=False)
    np.testing.assert_allclose(scores.values(torch.from_numpy(p - 0.5), torch.from_numpy(2 * y - 1)), expected)


@given(count=st.integers(1, 6), classes=st.integers(2, 8), rest=REST, seed=st.integers(0, 2**31), data=st.data())
def test_top_k(count: int, classes: int, rest: tuple[int, ...], seed: int, data: st.DataObject) -> None:
    """Fewer than k outputs are larger than the right one."""
    k = data.draw(st.integers(1, classes - 1))
    rng = np.random.default_rng(seed)
    scores, right = rng.normal(size=(count, classes, *rest)), rng.integers(0, classes, (count, *rest))
    score = np.take_along_axis(scores, right[:, None], 1)
    expected = mean_over_rest((scores > score).sum(1) < k)
    for target in (right, np.moveaxis(np.eye(classes)[right], -1, 1)):
        values = metrics.get(f"top_{k}_accuracy").values(torch.from_numpy(scores), torch.from_numpy(target))
        np.testing.assert_allclose(values, expected)


def test_top_1_of_a_diverged_network_is_not_1() -> None:
    """Comparisons with nan are false, so counting larger outputs would call nan right."""
    scores = torch.full((4, 5), torch.nan)
    assert TopKAccuracy(1).values(scores, torch.tensor([1, 2, 3, 4])).mean() < 1


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple), seed=st.integers(0, 2**31))
def test_errors_of_numbers(shape: tuple[int, ...], seed: int) -> None:
    """Means of |p − y| and (p − y)²; one axis of length 1 may be missing."""
    rng = np.random.default_rng(seed)
    p, y = rng.normal(size=shape), rng.normal(size=shape)
    a, b = torch.from_numpy(p), torch.from_numpy(y)
    np.testing.assert_allclose(metrics.get("mae").values(a, b), mean_over_rest(np.abs(p - y)))
    np.testing.assert_allclose(metrics.get("mse").values(a, b), mean_over_rest((p - y) ** 2))
    if len(shape) == 1:
        torch.testing.assert_close(MeanSquaredError().values(a[:, None], b), MeanSquaredError().values(a, b))


@pytest.mark.parametrize(
    ("output_shape", "loss", "from_logits", "expected"),
    [
        ((10,), "sparse_categorical_crossentropy", False, Accuracy()),
        ((10,), "cross_entropy", True, Accuracy()),
        ((3, 8, 8), "categorical_crossentropy", False, Accuracy()),
        ((2,), "categorical_hinge", False, Accuracy()),
        ((1,), "binary_crossentropy", False, BinaryAccuracy(name="accuracy")),
        ((4,), "binary_crossentropy", False, BinaryAccuracy(name="accuracy")),
        ((1,), "binary_crossentropy", True, BinaryAccuracy(0.0, False, "accuracy")),
        ((1,), "bce", False, BinaryAccuracy(name="accuracy")),
        ((1,), "bce_with_logits", False, BinaryAccuracy(0.0, False, "accuracy")),
        ((1,), "squared_hinge", False, BinaryAccuracy(0.0, False, "accuracy")),
        ((), "mean_squared_error", False, BinaryAccuracy(name="accuracy")),
    ],
)
def test_resolve(output_shape: tuple[int, ...], loss: str, from_logits: bool, expected: metrics.Metric) -> None:
    """ "accuracy" asks the question that outputs and loss pose, under its own name."""
    resolved = metrics.resolve("acc", output_shape, loss, from_logits=from_logits)
    assert resolved == expected
    assert resolved.name == "accuracy"


def test_resolve_leaves_the_others_alone() -> None:
    """Only "accuracy" is ambiguous."""
    for metric in (BinaryAccuracy(), TopKAccuracy(2), MeanSquaredError()):
        assert metrics.resolve(metric, (10,), "binary_crossentropy") is metric


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_unresolved_accuracy_of_one_output(shape: tuple[int, ...]) -> None:
    """Not 1 for everything, as the largest of one output would be."""
    prediction = torch.tensor([0.9, 0.2, 0.9, 0.2]).reshape(shape)
    for target in (torch.tensor([1, 1, 0, 0]), torch.tensor([[1.0], [1.0], [0.0], [0.0]])):
        assert Accuracy().values(prediction, target).tolist() == [1.0, 0.0, 0.0, 1.0]


def test_names_are_their_own() -> None:
    """get(name).name is name, so History's columns are what was asked for; who may see logits is told."""
    assert [METRICS[name].name for name in METRICS] == list(METRICS)
    assert metrics.get("top_3_accuracy").name == "top_3_accuracy"
    assert {name for name in METRICS if not METRICS[name].needs_probabilities} == {"accuracy", "top_5_accuracy"}


def test_own_function() -> None:
    """Values, or one figure for the batch, as tensor or number."""
    p, y = torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.zeros(2, 2)

    def bias(p: Tensor, y: Tensor) -> Tensor:
        return p - y

    assert metrics.get(bias).name == "bias"
    assert repr(metrics.get(bias)) == "CustomMetric(bias)"
    assert metrics.get(bias).needs_probabilities
    assert metrics.get(bias).values(p, y).tolist() == [2.0, 0.0]
    assert metrics.get(lambda p, y: (p - y).mean()).values(p, y).tolist() == [1.0, 1.0]
    assert metrics.get(lambda p, y: 3).values(p, y).tolist() == [3.0, 3.0]
    assert metrics.get(lambda p, y: p.argmax(1) == 1).values(p, y).tolist() == [1.0, 0.0]


SPECS = "a name, a Metric or a function of prediction and target"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: metrics.get("acuracy"),
            UnknownNameError,
            "metric 'acuracy' is unknown. Did you mean 'accuracy'? Known: acc, accuracy, auc, bce, binary_accuracy, "
            "binary_crossentropy, binary_focal_crossentropy, categorical_accuracy, categorical_crossentropy, "
            "categorical_focal_crossentropy, categorical_hinge, cosine_similarity, f1, f1_score, hinge, huber, kl_divergence, "
            "kld, log_cosh, mae, mape, mean_absolute_error, mean_absolute_percentage_error, mean_squared_error, "
            "mean_squared_logarithmic_error, mse, msle, poisson, precision, r2, r2_score, recall, rmse, "
            "root_mean_squared_error, sparse_categorical_accuracy, sparse_categorical_crossentropy, "
            "sparse_top_k_categorical_accuracy, squared_hinge, top_5_accuracy, top_k_categorical_accuracy.",
        ),
        (
            lambda: metrics.get(None),  # type: ignore[arg-type]
            ArgumentError,
            f'metric: expected {SPECS}, received None. Pass "accuracy", for example.',
        ),
        (
            lambda: metrics.get(Accuracy),
            ArgumentError,
            f"metric: expected {SPECS}, received the class Accuracy. Pass Accuracy() with parentheses.",
        ),
        (
            lambda: TopKAccuracy(0),
            ArgumentError,
            "TopKAccuracy(k=): expected a whole number of at least 1, received 0. Pass k=5, for example.",
        ),
        (
            lambda: BinaryAccuracy(threshold="half"),  # type: ignore[arg-type]
            ArgumentError,
            "BinaryAccuracy(threshold=): expected a number, received 'half'. Pass threshold=0.5, for example.",
        ),
        (
            lambda: metrics.resolve("top_5_accuracy", (5,), "categorical_crossentropy"),
            ArgumentError,
            "metric 'top_5_accuracy': expected more than 5 classes, received 5. Use \"accuracy\", or k=4.",
        ),
        (
            lambda: TopKAccuracy(2).values(torch.zeros(3, 2), torch.zeros(3)),
            ArgumentError,
            "metric 'top_2_accuracy': expected more than 2 classes, received 2. Use \"accuracy\".",
        ),
        (
            lambda: Accuracy().values(torch.zeros(3, 5), torch.zeros(3, 4)),
            ShapeError,
            "metric 'accuracy': expected prediction (B, C, ...) and target (B, ...) or (B, C, ...), received prediction (3, 5) "
            "and target (3, 4). Give the target one of these shapes, or choose another metric.",
        ),
        (
            lambda: MeanSquaredError().values(torch.zeros(3, 5), torch.zeros(3)),
            ShapeError,
            "metric 'mean_squared_error': expected prediction and target of one shape, received prediction (3, 5) and target "
            "(3,). Give the target one of these shapes, or choose another metric.",
        ),
        (
            lambda: CustomMetric(lambda p, y: "good", "mine").values(torch.zeros(3, 1), torch.zeros(3, 1)),
            ArgumentError,
            "metric 'mine': expected a tensor or a number from the function, received str. "
            "Return one value per observation, or their mean.",
        ),
        (
            lambda: CustomMetric(lambda p, y: p[:2], "mine").values(torch.zeros(3, 1), torch.zeros(3, 1)),
            ShapeError,
            "metric 'mine': expected 3 values, one per observation, or a scalar, received shape (2, 1). "
            "Return one value per observation, or their mean.",
        ),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    """Where, expected, received, fix."""
    with pytest.raises(error) as e:
        call()
    assert str(e.value) == message
