"""Classes on the last axis behind Dense, on axis 1 behind a convolution: loss, labels, metrics, predict and classify agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import laminar as lm
from laminar import layers as L
from laminar import metrics
from laminar.errors import ArgumentError, LabelError
from laminar.fit.head import find_axis
from laminar.losses import CategoricalCrossentropy, SparseCategoricalCrossentropy

N, STEPS, FEATURES, CLASSES = 24, 5, 4, 3


class Own(lm.Model):
    """A forward of one's own, in which the last step is hidden."""

    def __init__(self, layer: nn.Module, last: Callable[[Tensor], Tensor] = lambda z: z) -> None:
        super().__init__()
        self.layer, self.last = layer, [last]

    def forward(self, x: Tensor) -> Tensor:
        return self.last[0](self.layer(x))


def dense(classes: int, *activation: Any) -> L.Dense:
    return L.Dense(classes, *activation)


# name -> (network of c classes, axis of its classes)
NETWORKS: dict[str, tuple[Callable[[int], lm.Model], int]] = {
    "Dense": (lambda c: lm.Sequential([dense(c)]), 2),
    "Dense, softmax": (lambda c: lm.Sequential([dense(c, "softmax")]), 2),
    "Dense, Softmax(-1)": (lambda c: lm.Sequential([dense(c), L.Softmax(-1)]), 2),
    "Dense, nn.Softmax": (lambda c: lm.Sequential([dense(c), nn.Softmax(-1)]), 2),
    "nn.Linear": (lambda c: lm.Sequential([nn.Linear(FEATURES, c), nn.Dropout(0.0)]), 2),
    "own forward": (lambda c: Own(dense(c)), 2),
    "own forward, softmax": (lambda c: Own(dense(c), lambda z: z.softmax(-1)), 2),
    "LSTM": (lambda c: lm.Sequential([L.LSTM(c, return_sequences=True), nn.Softmax(-1)]), 2),
    "TimeDistributed": (lambda c: lm.Sequential([L.TimeDistributed(dense(c)), L.Softmax(-1)]), 2),
    "Conv": (lambda c: lm.Sequential([nn.Conv1d(STEPS, c, 1)]), 1),
    "Conv, Softmax": (lambda c: lm.Sequential([nn.Conv1d(STEPS, c, 1), L.Softmax()]), 1),
    "Conv, own forward": (lambda c: Own(nn.Conv1d(STEPS, c, 1)), 1),
    "Conv, own forward, softmax": (lambda c: Own(nn.Conv1d(STEPS, c, 1), lambda z: z.softmax(1)), 1),
}


def problem(axis: int, classes: int) -> tuple[Tensor, Tensor]:
    """Return inputs (N, STEPS, FEATURES) and class numbers, one for each step (axis 2) or for each feature (axis 1)."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(N, STEPS, FEATURES, generator=generator)
    return x, torch.randint(classes, (N, STEPS if axis == 2 else FEATURES), generator=generator)


# Rows do not tell, and a forward of one's own is asked only after the labels were read: there axis= is needed, see below.
CASES = [
    *((name, "numbers", square) for name in NETWORKS for square in (False, True)),
    *((name, "rows", True) for name in NETWORKS if not name.startswith("own")),
    ("Dense", "one more axis", True),
    ("Conv", "one more axis", False),
]


@pytest.mark.parametrize(("name", "form", "square"), CASES)
def test_every_part_looks_for_classes_on_the_same_axis(name: str, form: str, square: bool) -> None:
    """Where shapes leave it open, the network tells, also one with a forward of its own."""
    make, axis = NETWORKS[name]
    classes = (STEPS if axis == 2 else FEATURES) if square else CLASSES
    x, right = problem(axis, classes)
    y = {"numbers": right, "one more axis": right.unsqueeze(axis), "rows": F.one_hot(right, classes).movedim(-1, axis)}[form]
    model = make(classes)
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy", "top_2_accuracy", "f1_score", "auc"])
    model.build((STEPS, FEATURES), seed=0)
    p = model.predict(x)
    torch.testing.assert_close(p.sum(axis), torch.ones(right.shape))
    figures = model.evaluate(x, y, batch_size=7)
    rows = p.movedim(axis, 1)
    assert figures["loss"] == pytest.approx(F.nll_loss(rows.log(), right).item(), rel=1e-5)
    assert figures["accuracy"] == pytest.approx((rows.argmax(1) == right).float().mean().item())
    in_two = (rows.topk(2, 1).indices == right.unsqueeze(1)).any(1).float().mean().item()
    assert figures["top_2_accuracy"] == pytest.approx(in_two)
    for metric in (metrics.F1Score(axis=1), metrics.AUC(axis=1)):
        assert figures[metric.name] == pytest.approx(metric(rows, right).item(), rel=1e-6)
    assert torch.equal(model.classify(x), rows.argmax(1))
    history = model.fit(x, y, batch_size=N, epochs=2, verbose=0)
    assert history.history["loss"][0] == pytest.approx(figures["loss"], rel=1e-5)
    assert history.history["loss"][1] < history.history["loss"][0]
    assert history.history["f1_score"][0] == pytest.approx(figures["f1_score"], rel=1e-5)


@pytest.mark.parametrize("loss", ["categorical_hinge", "kl_divergence", "categorical_focal_crossentropy"])
def test_other_losses_over_classes(loss: str) -> None:
    """A Dense layer's units are the classes, also where there are as many steps."""
    x, right = problem(2, STEPS)
    model = lm.Sequential([dense(STEPS, "softmax")]).build((STEPS, FEATURES), seed=0)
    model.compile("sgd", loss)
    p = model.predict(x)
    expected = lm.losses.get(loss)(p.movedim(-1, 1), lm.losses.get(loss).prepare(right, (STEPS, STEPS)))
    assert model.evaluate(x, right)["loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_the_user_has_the_last_word() -> None:
    """axis= of the loss, where a forward of one's own hides the classes or moves them."""
    x, right = problem(2, STEPS)
    hot = F.one_hot(right, STEPS)
    told = Own(dense(STEPS), lambda z: z.softmax(-1))
    told.compile("sgd", CategoricalCrossentropy(axis=-1), metrics=["accuracy"])
    told.build((STEPS, FEATURES), seed=0)
    p = told.predict(x)
    figures = told.evaluate(x, hot)
    assert figures["loss"] == pytest.approx(F.nll_loss(p.movedim(-1, 1).log(), right).item(), rel=1e-5)
    assert figures["accuracy"] == pytest.approx((p.argmax(-1) == right).float().mean().item())
    turned = lm.Sequential([dense(STEPS)]).build((STEPS, FEATURES), seed=0)
    turned.compile("sgd", SparseCategoricalCrossentropy(axis=1), metrics=["accuracy"])
    assert turned.evaluate(x, right)["loss"] == pytest.approx(F.cross_entropy(turned(x), right).item(), rel=1e-5)
    assert torch.equal(turned.classify(x), turned(x).argmax(1))


def test_torch_s_own_loss_has_its_own_axis() -> None:
    """As in plain torch: axis 1, whatever layer comes last; metrics look where the loss does."""
    x, right = problem(2, STEPS)
    model = lm.Sequential([dense(STEPS)]).build((STEPS, FEATURES), seed=0)
    model.compile("sgd", nn.CrossEntropyLoss(), metrics=["accuracy"])
    figures = model.evaluate(x, right)
    assert figures["loss"] == pytest.approx(F.cross_entropy(model(x), right).item(), rel=1e-5)
    assert figures["accuracy"] == pytest.approx((model(x).argmax(1) == right).float().mean().item())


def test_yes_or_no_at_every_step() -> None:
    """(B, S, 1) takes labels (N, S) and (N, S, 1); all steps are counted together."""
    x, right = problem(2, 2)
    model = lm.Sequential([dense(1, "sigmoid")]).build((STEPS, FEATURES), seed=0)
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy", "precision", "auc"])
    p = model.predict(x)[..., 0]
    for y in (right, right[..., None]):
        figures = model.evaluate(x, y)
        assert figures["loss"] == pytest.approx(F.binary_cross_entropy(p, right.float()).item(), rel=1e-5)
        assert figures["accuracy"] == pytest.approx(((p > 0.5) == (right == 1)).float().mean().item())
        assert figures["precision"] == pytest.approx(((p > 0.5) & (right == 1)).sum().item() / (p > 0.5).sum().item())
        assert figures["auc"] == pytest.approx(metrics.AUC()(p.flatten(), right.flatten()).item(), rel=1e-6)
    assert torch.equal(model.classify(x), (p > 0.5).long())


def test_where_the_classes_are() -> None:
    """The last layer with weights tells."""
    assert find_axis(lm.Sequential([dense(3), L.Activation("softmax")])) == -1
    assert find_axis(nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Conv2d(1, 2, 1), nn.Softmax(1)))) == 1
    assert find_axis(nn.Sequential(nn.Linear(2, 2), nn.Flatten())) is None
    assert find_axis(L.Bidirectional(L.GRU(3, return_sequences=True))) == -1
    assert find_axis(L.TimeDistributed(L.Conv2D(3, 1))) == 2
    assert find_axis(L.TimeDistributed(L.Flatten())) is None


def test_labels_of_the_other_axis_are_refused() -> None:
    """Five steps of three classes: a label for each class is a mistake, not another axis."""
    model = lm.Sequential([dense(CLASSES)]).build((STEPS, FEATURES), seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(LabelError) as e:
        model.evaluate(torch.zeros(2, STEPS, FEATURES), torch.zeros(2, CLASSES, dtype=torch.int64))
    assert str(e.value) == (
        "y: expected class numbers (N, 5) or one-hot rows (N, 5, 3) (the network has 3 outputs), received shape (2, 3). "
        "Reshape the labels to (N, 5)."
    )


@pytest.mark.parametrize("metric", [metrics.ConfusionMatrix(), metrics.F1Score(average=None)], ids=lambda m: m.name)
def test_compile_takes_numbers_only(metric: metrics.Metric) -> None:
    """A matrix has no column in a table."""
    with pytest.raises(ArgumentError) as e:
        lm.Sequential([dense(3)]).compile("sgd", "crossentropy", metrics=[metric])
    assert str(e.value) == (
        f"compile(metrics=): expected metrics that are one number, received {metric.name!r}, which is several. "
        "Call it on what predict returns, or use metrics.confusion_matrix(y, model.classify(x))."
    )


@pytest.mark.parametrize("names", [["precision", "recall", "f1_score", "auc"], ["accuracy", "f1_score", "mean_absolute_error"]])
def test_figures_of_an_epoch_are_those_of_its_observations(names: list[str]) -> None:
    """With a learning rate of 0 the epoch's figures are evaluate's, and an iteration's are those of its mini-batch."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(37, 4, generator=generator), torch.randint(2, (37,), generator=generator)
    model = lm.Sequential([dense(1, "sigmoid")]).build((4,), seed=0)
    model.compile(lambda p: torch.optim.SGD(p, lr=0.0), "binary_crossentropy", metrics=names)
    history = model.fit(x, y, batch_size=8, epochs=2, validation_data=(x, y), shuffle=False, verbose=0)
    for size in (5, 512):
        figures = model.evaluate(x, y, batch_size=size)
        assert list(figures) == ["loss", *names]
        for name in names:
            assert history.history[name] == pytest.approx([figures[name]] * 2, rel=1e-5)
            assert history.history[f"val_{name}"] == pytest.approx([figures[name]] * 2, rel=1e-5)
            first = model.evaluate(x[:8], y[:8])[name]
            assert history.iterations[name][0] == pytest.approx(first, rel=1e-5)
            assert len(history.iterations[name]) == 10
