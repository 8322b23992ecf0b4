"""Figures of decisions, ranks and numbers against loops over observations in NumPy, and the same whatever the batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from laminar import metrics
from laminar.errors import ArgumentError, DataError, LabelError
from laminar.metrics import AUC, ConfusionMatrix, F1Score, Metric, Precision, R2Score, Recall

Array: TypeAlias = np.ndarray[Any, Any]
REST = st.lists(st.integers(1, 3), max_size=2).map(tuple)
SEEDS = st.integers(0, 2**31)


def ratio(a: float, b: float) -> float:
    return a / b if b else 0.0


# ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def counted(chosen: Array, right: Array, classes: int) -> list[tuple[int, int, int]]:
    """Return hits, findings and members of each class, by looking at one pair after the other."""
    table = [[0, 0, 0] for _ in range(classes)]
    for c, r in zip(chosen.ravel(), right.ravel(), strict=True):
        table[c][0] += int(c == r)
        table[c][1] += 1
        table[r][2] += 1
    return [(h, f, m) for h, f, m in table]


FIGURES: dict[type[Metric], Callable[[float, float, float], float]] = {
    Precision: lambda hits, found, members: ratio(hits, found),
    Recall: lambda hits, found, members: ratio(hits, members),
    F1Score: lambda hits, found, members: ratio(2 * hits, found + members),
}


@pytest.mark.parametrize("kind", FIGURES, ids=lambda k: k.__name__)
@given(count=st.integers(1, 12), classes=st.integers(2, 5), rest=REST, last=st.booleans(), seed=SEEDS)
def test_counts_of_classes(kind: Any, count: int, classes: int, rest: tuple[int, ...], last: bool, seed: int) -> None:
    """Every average, class by class, for class numbers and one-hot rows, with the classes on axis 1 or on the last."""
    rng = np.random.default_rng(seed)
    scores, right = rng.normal(size=(count, classes, *rest)), rng.integers(0, classes, (count, *rest))
    table = counted(scores.argmax(1), right, classes)
    each = [FIGURES[kind](*row) for row in table]
    members = [m for _, _, m in table]
    hits, found, _ = map(sum, zip(*table, strict=True))
    axis = -1 if last else 1
    p, hot = (torch.from_numpy(np.moveaxis(a, 1, axis)) for a in (scores, np.moveaxis(np.eye(classes)[right], -1, 1)))
    for target in (torch.from_numpy(right), hot):
        assert kind(average=None, axis=axis)(p, target).tolist() == pytest.approx(each)
        assert kind(axis=axis)(p, target).item() == pytest.approx(np.mean(each))
        assert kind(average="weighted", axis=axis)(p, target).item() == pytest.approx(np.average(each, weights=members))
        assert kind(average="micro", axis=axis)(p, target).item() == pytest.approx(FIGURES[kind](hits, found, right.size))
        assert kind(class_id=classes - 1, axis=axis)(p, target).item() == pytest.approx(each[-1])


@pytest.mark.parametrize("kind", FIGURES, ids=lambda k: k.__name__)
@given(count=st.integers(1, 12), labels=st.integers(1, 4), threshold=st.floats(0.1, 0.9), seed=SEEDS)
def test_counts_at_a_threshold(kind: Any, count: int, labels: int, threshold: float, seed: int) -> None:
    """Each output says yes or no for itself; class numbers mean a yes for that class only."""
    rng = np.random.default_rng(seed)
    p, y = rng.random((count, labels)), rng.integers(0, 2, (count, labels))
    chosen = p > threshold
    table = [((chosen & (y == 1))[:, c].sum(), chosen[:, c].sum(), y[:, c].sum()) for c in range(labels)]
    each = [FIGURES[kind](*row) for row in table]
    metric = kind(threshold=threshold, average=None)
    assert metric(torch.from_numpy(p), torch.from_numpy(y)).tolist() == pytest.approx(each)
    if labels == 1:
        assert kind(threshold=threshold)(torch.from_numpy(p[:, 0]), torch.from_numpy(y[:, 0])).item() == pytest.approx(each[0])
    else:
        numbers = torch.from_numpy(rng.integers(0, labels, count))
        hot = torch.nn.functional.one_hot(numbers, labels)
        torch.testing.assert_close(metric(torch.from_numpy(p), numbers), metric(torch.from_numpy(p), hot))


def test_what_has_no_label_is_left_out() -> None:
    """torch's −100."""
    scores, right = torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, -100, 2, 1])
    assert Recall(average=None)(scores, right).tolist() == [1.0, 0.0, 1.0]
    assert ConfusionMatrix()(scores, right).tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]


@given(count=st.integers(0, 20), classes=st.integers(2, 5), seed=SEEDS)
def test_confusion_matrix(count: int, classes: int, seed: int) -> None:
    """Rows are the right classes, columns the chosen ones; the function and the metric agree."""
    rng = np.random.default_rng(seed)
    right, scores = rng.integers(0, classes, count), rng.normal(size=(count, classes))
    chosen = scores.argmax(1)
    expected = [[int(((right == r) & (chosen == c)).sum()) for c in range(classes)] for r in range(classes)]
    assert metrics.confusion_matrix(right, chosen, classes).tolist() == expected
    assert metrics.confusion_matrix(torch.from_numpy(right), list(map(int, chosen)), classes).tolist() == expected
    assert ConfusionMatrix()(torch.from_numpy(scores), torch.from_numpy(right)).tolist() == expected


def test_confusion_matrix_of_yes_and_no() -> None:
    """A single output."""
    p, y = torch.tensor([0.9, 0.2, 0.7, 0.1]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert ConfusionMatrix()(p, y).tolist() == ConfusionMatrix()(p[:, None], y[:, None]).tolist() == [[1, 1], [1, 1]]


# ── ranks ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def roc(scores: Array, yes: Array) -> float:
    """Return the share of pairs of a yes and a no in the right order; ties count half."""
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[yes] for b in scores[~yes]]
    return float(np.mean(pairs)) if pairs else float("nan")


def precision_recall(scores: Array, yes: Array) -> float:
    """Return Σ (Rₙ − Rₙ₋₁)·Pₙ, one threshold after the other from above."""
    if not yes.any():
        return float("nan")
    area, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        found = scores >= threshold
        recall = (yes & found).sum() / yes.sum()
        area, before = area + (recall - before) * (yes & found).sum() / found.sum(), recall
    return area


CURVES = {"ROC": roc, "PR": precision_recall}


@pytest.mark.parametrize("curve", CURVES)
@given(count=st.integers(1, 15), labels=st.integers(1, 3), levels=st.integers(1, 20), seed=SEEDS)
def test_areas_of_labels(curve: str, count: int, labels: int, levels: int, seed: int) -> None:
    """With ties, and with labels of one kind only, where the area is not defined."""
    rng = np.random.default_rng(seed)
    scores, yes = rng.integers(0, levels, (count, labels)) / levels, rng.integers(0, 2, (count, labels)) == 1
    each = [CURVES[curve](scores[:, c], yes[:, c]) for c in range(labels)]
    p, y = torch.from_numpy(scores), torch.from_numpy(yes).float()
    np.testing.assert_allclose(AUC(curve, average=None)(p, y), each, rtol=1e-6)
    np.testing.assert_allclose(AUC(curve)(p, y), np.mean(each), rtol=1e-6)
    np.testing.assert_allclose(AUC(curve, "micro")(p, y), CURVES[curve](scores.ravel(), yes.ravel()), rtol=1e-6)


@pytest.mark.parametrize("curve", CURVES)
@given(count=st.integers(4, 15), classes=st.integers(2, 4), rest=REST, last=st.booleans(), seed=SEEDS)
def test_areas_of_classes(curve: str, count: int, classes: int, rest: tuple[int, ...], last: bool, seed: int) -> None:
    """One class against the rest; of two classes, that of class 1."""
    rng = np.random.default_rng(seed)
    p, right = rng.dirichlet(np.ones(classes), (count, *rest)), rng.integers(0, classes, (count, *rest))
    each = [CURVES[curve](p[..., c].ravel(), (right == c).ravel()) for c in range(classes)]
    rows = torch.from_numpy(p if last else np.moveaxis(p, -1, 1))
    area = AUC(curve, average=None, axis=-1 if last else 1)(rows, torch.from_numpy(right))
    np.testing.assert_allclose(area, each[1:] if classes == 2 else each, rtol=1e-6)


def test_area_of_a_diverged_network_is_not_a_number() -> None:
    """Whatever sort does with nan."""
    scores, yes = torch.tensor([0.1, torch.nan, 0.9]), torch.tensor([0, 1, 1])
    assert torch.isnan(AUC()(scores, yes))
    assert torch.isnan(AUC("PR")(scores, yes))


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(count=st.integers(2, 12), shape=st.lists(st.integers(1, 3), max_size=3).map(tuple), seed=SEEDS)
def test_figures_of_numbers(count: int, shape: tuple[int, ...], seed: int) -> None:
    """The root of the mean square, and the explained part of the variance of each number."""
    rng = np.random.default_rng(seed)
    p, y = rng.normal(size=(count, *shape)), rng.normal(size=(count, *shape))
    a, b = torch.from_numpy(p), torch.from_numpy(y)
    assert metrics.get("rmse")(a, b).item() == pytest.approx(np.sqrt(((p - y) ** 2).mean()))
    explained = 1 - ((p - y) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)
    assert metrics.get("r2")(a, b).item() == pytest.approx(explained.mean(), rel=1e-5, abs=1e-5)


def test_r2_of_numbers_far_from_0() -> None:
    """Σy² − (Σy)²/n of such numbers has no digit left, even in float64."""
    y = 1e9 + torch.arange(100, dtype=torch.float64)[:, None]
    tally = R2Score().start()
    for part in y.split(7):
        tally.update(part + 1, part)
    assert tally.result().item() == pytest.approx(1 - 100 / ((100**3 - 100) / 12), rel=1e-6)


def test_r2_without_variance_is_not_a_number() -> None:
    """There is nothing to explain."""
    assert torch.isnan(R2Score()(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [3.0]])))


@given(count=st.integers(1, 6), n=st.integers(1, 4), seed=SEEDS)
def test_cosine_similarity(count: int, n: int, seed: int) -> None:
    """The metric has the sign of the cosine, the loss of the same name the other one."""
    rng = np.random.default_rng(seed)
    p, y = rng.normal(size=(count, n)), rng.normal(size=(count, n))
    expected = (p * y).sum(1) / np.sqrt((p**2).sum(1) * (y**2).sum(1))
    np.testing.assert_allclose(metrics.get("cosine_similarity").values(torch.from_numpy(p), torch.from_numpy(y)), expected)


# ── whatever the batches ─────────────────────────────────────────────────────────────────────────────────────────────────

ALL: dict[str, tuple[Metric, str]] = {
    "accuracy": (metrics.get("accuracy"), "classes"),
    "top 2": (metrics.get("top_2_accuracy"), "classes"),
    "precision": (Precision(), "classes"),
    "recall": (Recall(average="weighted"), "classes"),
    "F1": (F1Score(average="micro", threshold=0.4), "classes"),
    "AUC": (AUC(), "labels"),
    "PR": (AUC("PR", average="micro"), "labels"),
    "matrix": (ConfusionMatrix(), "classes"),
    "mae": (metrics.get("mae"), "numbers"),
    "mape": (metrics.get("mape"), "numbers"),
    "rmse": (metrics.get("rmse"), "numbers"),
    "r2": (metrics.get("r2"), "numbers"),
    "cosine": (metrics.get("cosine_similarity"), "numbers"),
    "function": (metrics.get(lambda p, y: (p - y).abs()), "numbers"),
}


@pytest.mark.parametrize("name", ALL)
@given(count=st.integers(2, 20), seed=SEEDS, data=st.data())
def test_a_tally_does_not_see_the_batches(name: str, count: int, seed: int, data: st.DataObject) -> None:
    """Cut anywhere, the figure of a data set is that of all of it at once."""
    metric, kind = ALL[name]
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(count, 3, generator=generator)
    y = {
        "classes": torch.randint(3, (count,), generator=generator),
        "labels": torch.randint(2, (count, 3), generator=generator).float(),
        "numbers": torch.rand(count, 3, generator=generator),
    }[kind]
    size = data.draw(st.integers(1, count))
    tally = metric.start()
    for part, target in zip(p.split(size), y.split(size), strict=True):
        tally.update(part, target)
    torch.testing.assert_close(tally.result(), metric(p, y), rtol=1e-6, atol=1e-6, equal_nan=True)


class Reads(TorchDispatchMode):
    """Counts operations that wait for a value, on a GPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        waits = ("_local_scalar_dense", "nonzero", "bincount", "unique", "masked_select")
        self.count += any(func._schema.name.removeprefix("aten::").startswith(name) for name in waits)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ALL)
def test_a_tally_waits_for_nothing(name: str) -> None:
    """Neither while it is told of batches nor for its result: no value is read."""
    metric, kind = ALL[name]
    y = {"classes": torch.tensor([0, 2, 1]), "labels": torch.eye(3), "numbers": torch.rand(3, 3)}[kind]
    with Reads() as reads:
        tally = metric.start()
        for _ in range(2):
            tally.update(torch.rand(3, 3), y)
        result = tally.result()
        assert reads.count == 0
        result.sum().item()
    assert reads.count == 1


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def batch() -> tuple[Tensor, Tensor]:
    return torch.rand(4, 3), torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: F1Score(average="mean"),
            ArgumentError,
            'F1Score(average=): expected one of "macro", "micro", "weighted", None, received \'mean\'. '
            'Pass average="macro", for example.',
        ),
        (
            lambda: Recall(threshold="half"),  # type: ignore[arg-type]
            ArgumentError,
            "Recall(threshold=): expected a number or None, received 'half'. Pass threshold=0.5, for example.",
        ),
        (
            lambda: Precision(class_id=-1),
            ArgumentError,
            "Precision(class_id=): expected a class number or None, received -1. Pass class_id=0, for example.",
        ),
        (
            lambda: Precision(class_id=3)(*batch()),
            ArgumentError,
            "metric 'precision': expected a class of the network, received class_id=3 for 3. Pass class_id=0.",
        ),
        (
            lambda: AUC("roc"),
            ArgumentError,
            'AUC(curve=): expected "ROC" or "PR", received \'roc\'. Pass curve="ROC".',
        ),
        (
            lambda: AUC(average="weighted"),
            ArgumentError,
            'AUC(average=): expected one of "macro", "micro", None, received \'weighted\'. Pass average="macro", for example.',
        ),
        (
            lambda: ConfusionMatrix(threshold=None),  # type: ignore[arg-type]
            ArgumentError,
            "ConfusionMatrix(threshold=): expected a number, received None. Pass threshold=0.5, for example.",
        ),
        (
            lambda: F1Score().start().result(),
            DataError,
            "metric 'f1_score': expected observations, received none so far. Call update(prediction, target) first.",
        ),
        (
            lambda: metrics.confusion_matrix([0, 1], [0]),
            LabelError,
            "confusion_matrix: expected as many labels in each, received (2,) and (1,). "
            "Pass class numbers, such as probabilities.argmax(1).",
        ),
        (
            lambda: metrics.confusion_matrix([0, 1], [0.5, 0.1]),
            LabelError,
            "confusion_matrix(predicted=): expected whole numbers, received float32. "
            "Pass class numbers, such as probabilities.argmax(1).",
        ),
        (
            lambda: metrics.confusion_matrix([0, 3], [0, 1], 3),
            LabelError,
            "confusion_matrix(target=): expected class numbers 0 to 2, received 3. Correct the labels, or pass classes=.",
        ),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    """Where, expected, received, fix."""
    with pytest.raises(error) as e:
        call()
    assert str(e.value) == message
