"""Losses against NumPy formulas (Keras' definitions) and torch in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from torch import nn

from laminar import losses
from laminar.errors import ArgumentError, ShapeError, UnknownNameError
from laminar.losses import (
    LOSSES,
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CustomLoss,
    Huber,
    TorchLoss,
)

Array: TypeAlias = np.ndarray[Any, Any]
EPS = 1e-7
SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# ── element by element ───────────────────────────────────────────────────────────────────────────────────────────────────

ELEMENTWISE: dict[str, Callable[[Array, Array], Array]] = {
    "mean_squared_error": lambda p, y: (p - y) ** 2,
    "mean_absolute_error": lambda p, y: np.abs(p - y),
    "mean_absolute_percentage_error": lambda p, y: 100 * np.abs((y - p) / np.maximum(np.abs(y), EPS)),
    "mean_squared_logarithmic_error": lambda p, y: (np.log(np.maximum(p, EPS) + 1) - np.log(np.maximum(y, EPS) + 1)) ** 2,
    "huber": lambda p, y: np.where(np.abs(p - y) <= 1, 0.5 * (p - y) ** 2, np.abs(p - y) - 0.5),
    "hinge": lambda p, y: np.maximum(1 - np.where(y > 0, 1, -1) * p, 0),
    "squared_hinge": lambda p, y: np.maximum(1 - np.where(y > 0, 1, -1) * p, 0) ** 2,
    "binary_crossentropy": lambda p, y: (
        -(y * np.log(np.clip(p, EPS, 1 - EPS)) + (1 - y) * np.log(1 - np.clip(p, EPS, 1 - EPS)))
    ),
    "binary_focal_crossentropy": lambda p, y: focal(np.clip(p, EPS, 1 - EPS), y),
    "log_cosh": lambda p, y: np.log(np.cosh(p - y)),
    "poisson": lambda p, y: p - y * np.log(p + EPS),
}


def focal(p: Array, y: Array, gamma: float = 2.0) -> Array:
    return (1 - (y * p + (1 - y) * (1 - p))) ** gamma * -(y * np.log(p) + (1 - y) * np.log(1 - p))


def elementwise_data(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Array, Array]:
    """Return predictions and targets of the kind that the loss is for, the edges among them."""
    if name.startswith("binary"):
        return rng.choice([0, 1, *rng.random(5)], shape), rng.choice([0, 1, 0.3], shape)
    if name == "poisson":
        return rng.exponential(size=shape), rng.poisson(2.0, shape).astype(float)
    if "hinge" in name:
        return rng.normal(size=shape) * 2, rng.choice([-1.0, 1.0] if rng.random() < 0.5 else [0.0, 1.0], shape)
    return rng.normal(size=shape) * 2, rng.choice([0, *rng.normal(size=5)], shape)


@pytest.mark.parametrize("name", ELEMENTWISE)
@given(shape=SHAPES, seed=st.integers(0, 2**31))
def test_elementwise_formula(name: str, shape: tuple[int, ...], seed: int) -> None:
    """R18: values are means over an observation's numbers, the loss is the mean over observations, also when weighted."""
    p, y = elementwise_data(name, shape, random(seed))
    expected = ELEMENTWISE[name](p, y).reshape(shape[0], -1).mean(1)
    check_all_forms(losses.get(name), torch.from_numpy(p), torch.from_numpy(y), expected)


def check_all_forms(loss: losses.Loss, p: torch.Tensor, y: torch.Tensor, expected: Array) -> None:
    """Check values, the mean, and the weighted mean, which divides by the number of observations."""
    weight = torch.linspace(0, 2, len(p), dtype=torch.float64)
    np.testing.assert_allclose(loss.values(p, y), expected, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(loss(p, y), expected.mean(), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(loss(p, y, weight), (expected * weight.numpy()).sum() / len(p), rtol=1e-7, atol=1e-12)


@given(shape=SHAPES, seed=st.integers(0, 2**31), delta=st.floats(0.1, 3))
def test_huber_delta(shape: tuple[int, ...], seed: int, delta: float) -> None:
    """Both branches, at any delta."""
    p, y = elementwise_data("huber", shape, random(seed))
    far = np.abs(p - y)
    expected = np.where(far <= delta, 0.5 * far**2, delta * (far - delta / 2)).reshape(shape[0], -1).mean(1)
    check_all_forms(Huber(delta), torch.from_numpy(p), torch.from_numpy(y), expected)


@given(shape=SHAPES, seed=st.integers(0, 2**31))
def test_binary_crossentropy_on_logits(shape: tuple[int, ...], seed: int) -> None:
    """log(1 + e^z) − z·y, also for logits whose sigmoid is 0 or 1 in float64."""
    rng = random(seed)
    z, y = rng.choice([-800, 800, *rng.normal(size=5) * 5], shape), rng.choice([0, 1, 0.3], shape)
    expected = (np.logaddexp(0, z) - z * y).reshape(shape[0], -1).mean(1)
    loss = losses.get("binary_crossentropy").on_logits()
    assert (loss.name, loss.activation, loss.from_logits) == ("binary_crossentropy", "sigmoid", True)
    check_all_forms(loss, torch.from_numpy(z), torch.from_numpy(y), expected)


# ── classes ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

CROSSENTROPIES = ["sparse_categorical_crossentropy", "categorical_crossentropy"]
CLASS_SHAPES = st.tuples(st.integers(1, 5), st.integers(2, 6), st.lists(st.integers(1, 4), max_size=2))


def class_data(shape: tuple[int, int, list[int]], seed: int) -> tuple[Array, Array, Array, Array]:
    """Return logits, probabilities, class numbers and one-hot rows for (B, C, *rest)."""
    batch, classes, rest = shape
    rng = random(seed)
    z = rng.normal(size=(batch, classes, *rest)) * 20
    t = rng.integers(0, classes, (batch, *rest))
    return z, special.softmax(z, axis=1), t, np.moveaxis(np.eye(classes)[t], -1, 1)


def mean_over_rest(values: Array) -> Array:
    return values.reshape(len(values), -1).mean(1)


@pytest.mark.parametrize("name", CROSSENTROPIES)
@given(shape=CLASS_SHAPES, seed=st.integers(0, 2**31))
def test_crossentropy_of_class_numbers(name: str, shape: tuple[int, int, list[int]], seed: int) -> None:
    """R18: −log of the right probability, clipped; on logits exact; one-hot rows and column vectors give the same."""
    z, p, t, hot = class_data(shape, seed)
    right = (p * hot).sum(1)
    clipped = mean_over_rest(-np.log(np.clip(right, EPS, 1 - EPS)))
    exact = mean_over_rest(-(special.log_softmax(z, axis=1) * hot).sum(1))
    loss = losses.get(name)
    for target in (t, hot, hot.astype(np.int64), t[:, None], t.astype(np.uint8), t.astype(np.int32)):
        check_all_forms(loss, torch.from_numpy(p), torch.from_numpy(target), clipped)
        check_all_forms(loss.on_logits(), torch.from_numpy(z), torch.from_numpy(target), exact)


@given(shape=CLASS_SHAPES, seed=st.integers(0, 2**31))
def test_crossentropy_of_probabilities(shape: tuple[int, int, list[int]], seed: int) -> None:
    """R18: −Σ y·log p for rows of probabilities as labels."""
    z, p, _, hot = class_data(shape, seed)
    y = 0.9 * hot + 0.1 / shape[1]
    loss = losses.get("categorical_crossentropy")
    clipped = mean_over_rest(-(y * np.log(np.clip(p, EPS, 1 - EPS))).sum(1))
    check_all_forms(loss, torch.from_numpy(p), torch.from_numpy(y), clipped)
    exact = mean_over_rest(-(y * special.log_softmax(z, axis=1)).sum(1))
    check_all_forms(loss.on_logits(), torch.from_numpy(z), torch.from_numpy(y), exact)


@given(shape=CLASS_SHAPES, seed=st.integers(0, 2**31))
def test_same_as_torch_on_probabilities(shape: tuple[int, int, list[int]], seed: int) -> None:
    """nll(log(clamp(p))) in float64, to the bit of rounding."""
    _, p, t, _ = class_data(shape, seed)
    ours = losses.get("sparse_categorical_crossentropy")(torch.from_numpy(p), torch.from_numpy(t))
    torchs = F.nll_loss(torch.from_numpy(p).clamp(EPS, 1 - EPS).log(), torch.from_numpy(t))
    torch.testing.assert_close(ours, torchs, rtol=1e-14, atol=1e-15)


@given(shape=CLASS_SHAPES, seed=st.integers(0, 2**31))
def test_categorical_hinge(shape: tuple[int, int, list[int]], seed: int) -> None:
    """R18: Keras' max((1 − y)·p) has a 0 at the right class."""
    z, _, t, hot = class_data(shape, seed)
    expected = mean_over_rest(np.maximum(((1 - hot) * z).max(1) - (hot * z).sum(1) + 1, 0))
    for target in (t, hot):
        check_all_forms(losses.get("categorical_hinge"), torch.from_numpy(z), torch.from_numpy(target), expected)


@given(shape=CLASS_SHAPES, seed=st.integers(0, 2**31))
def test_kl_divergence(shape: tuple[int, int, list[int]], seed: int) -> None:
    """SciPy's rel_entr of the clipped rows."""
    _, p, _, hot = class_data(shape, seed)
    y = 0.9 * hot + 0.1 / shape[1]
    expected = mean_over_rest(special.rel_entr(np.clip(y, EPS, 1), np.clip(p, EPS, 1)).sum(1))
    check_all_forms(losses.get("kl_divergence"), torch.from_numpy(p), torch.from_numpy(y), expected)


@given(shape=CLASS_SHAPES, seed=st.integers(0, 2**31))
def test_cosine_similarity(shape: tuple[int, int, list[int]], seed: int) -> None:
    """−cos of the angle between the vectors on axis 1."""
    p, _, _, _ = class_data(shape, seed)
    y = random(seed + 1).normal(size=p.shape)
    expected = mean_over_rest(-(p * y).sum(1) / np.sqrt((p**2).sum(1) * (y**2).sum(1)))
    check_all_forms(losses.get("cosine_similarity"), torch.from_numpy(p), torch.from_numpy(y), expected)


@given(shape=CLASS_SHAPES, seed=st.integers(0, 2**31), gamma=st.floats(0, 4), alpha=st.floats(0, 2), s=st.floats(0, 1))
def test_categorical_focal(shape: tuple[int, int, list[int]], seed: int, gamma: float, alpha: float, s: float) -> None:
    """−α·Σ y·(1 − p)^γ·log p with smoothed rows y, for class numbers, one-hot rows and probabilities; on logits the same."""
    z, _, t, hot = class_data(shape, seed)
    z = z / 10  # no probability near ε
    p, classes = special.softmax(z, axis=1), shape[1]
    loss = CategoricalFocalCrossentropy(alpha, gamma, label_smoothing=s)
    for target, rows in ((t, hot), (hot, hot), (0.9 * hot + 0.1 / classes, 0.9 * hot + 0.1 / classes)):
        y = (1 - s) * rows + s / classes
        expected = mean_over_rest(-alpha * (y * (1 - p) ** gamma * np.log(p)).sum(1))
        check_all_forms(loss, torch.from_numpy(p), torch.from_numpy(target), expected)
        check_all_forms(loss.on_logits(), torch.from_numpy(z), torch.from_numpy(target), expected)


@given(shape=SHAPES, seed=st.integers(0, 2**31), gamma=st.floats(0, 4), alpha=st.floats(0, 1), s=st.floats(0, 1))
def test_binary_focal(shape: tuple[int, ...], seed: int, gamma: float, alpha: float, s: float) -> None:
    """With its balance of the classes and smoothed labels; on logits the same."""
    z, y = random(seed).normal(size=shape) * 2, random(seed).choice([0, 1, 0.3], shape)
    p, smooth = special.expit(z), y * (1 - s) + s / 2
    elements = focal(p, smooth, gamma) * (smooth * alpha + (1 - smooth) * (1 - alpha))
    expected = elements.reshape(shape[0], -1).mean(1)
    loss = BinaryFocalCrossentropy(True, alpha, gamma, label_smoothing=s)
    check_all_forms(loss, torch.from_numpy(p), torch.from_numpy(y), expected)
    check_all_forms(loss.on_logits(), torch.from_numpy(z), torch.from_numpy(y), expected)


@given(shape=CLASS_SHAPES, seed=st.integers(0, 2**31), s=st.floats(0, 1))
def test_label_smoothing(shape: tuple[int, int, list[int]], seed: int, s: float) -> None:
    """The same as cross-entropy with (1 − s)·y + s / K in place of y; binary: with (1 − s)·y + s / 2."""
    z, _, t, hot = class_data(shape, seed)
    z = z / 10
    p, classes = special.softmax(z, axis=1), shape[1]
    for target, rows in ((t, hot), (hot, hot), (0.9 * hot + 0.1 / classes, 0.9 * hot + 0.1 / classes)):
        expected = mean_over_rest(-(((1 - s) * rows + s / classes) * np.log(p)).sum(1))
        loss = CategoricalCrossentropy(label_smoothing=s)
        check_all_forms(loss, torch.from_numpy(p), torch.from_numpy(target), expected)
        check_all_forms(loss.on_logits(), torch.from_numpy(z), torch.from_numpy(target), expected)
    smooth = hot * (1 - s) + s / 2
    expected = (-(smooth * np.log(p) + (1 - smooth) * np.log(1 - p))).reshape(len(p), -1).mean(1)
    binary = BinaryCrossentropy(label_smoothing=s)
    check_all_forms(binary, torch.from_numpy(p), torch.from_numpy(hot), expected)
    check_all_forms(binary.on_logits(), torch.from_numpy(special.logit(p)), torch.from_numpy(hot), expected)


def test_log_cosh_does_not_overflow() -> None:
    """cosh(1000) is inf even in float64."""
    p = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    value = losses.get("logcosh")(p, torch.zeros(2, 1))
    value.backward()
    assert value.item() == pytest.approx(1000 - np.log(2))
    assert p.grad is not None
    assert p.grad.flatten().tolist() == [0.5, -0.5]


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_losses_have_finite_slopes_where_all_is_right(gamma: float) -> None:
    """0 ** (gamma - 1) is infinite."""
    z = torch.tensor([[200.0, -200.0]], requires_grad=True)
    for loss, y in (
        (CategoricalFocalCrossentropy(gamma=gamma, from_logits=True), torch.tensor([0])),
        (BinaryFocalCrossentropy(gamma=gamma, from_logits=True), torch.tensor([[1.0, 0.0]])),
    ):
        (slope,) = torch.autograd.grad(loss(z, y), z)
        assert bool(torch.isfinite(slope).all())


def test_every_name_is_tested() -> None:
    """A new loss needs a formula above."""
    others = {"categorical_hinge", "kl_divergence", "cosine_similarity", "categorical_focal_crossentropy"}
    assert set(LOSSES) == {*ELEMENTWISE, *CROSSENTROPIES, *others}


@pytest.mark.parametrize("name", list(LOSSES))
def test_derivative_and_form(name: str) -> None:
    """Central differences in float64, on probabilities, and on logits where that form exists."""
    rng = random(0)
    p = torch.from_numpy(special.softmax(rng.normal(size=(4, 3)), axis=1)).requires_grad_()
    y = torch.from_numpy(0.7 * np.eye(3)[[0, 2, 1, 1]] + 0.1)
    for loss in {losses.get(name), losses.get(name).on_logits()}:
        assert torch.autograd.gradcheck(lambda p, loss=loss: loss(p, y), (p,))
    assert (losses.get(name).on_logits() == losses.get(name)) == (losses.get(name).activation is None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", list(LOSSES))
def test_half_precision_outputs_lose_no_digits_in_the_loss(name: str, dtype: torch.dtype) -> None:
    """Computed in float32: the same as converting first, and finite at p = 0 and 1."""
    least = 1e-2 if name == "poisson" else 0.0  # whose slope at 0 is beyond float16, as it should be
    p = torch.tensor([[least, 1.0], [0.25, 0.75], [1.0, least]], dtype=dtype, requires_grad=True)
    y = torch.tensor([[0.75, 0.25]]).expand(3, 2)
    value = losses.get(name)(p, y)
    value.backward()
    assert value.dtype is torch.float32
    assert torch.equal(value, losses.get(name)(p.float(), y))
    assert p.grad is not None
    assert bool(torch.isfinite(value))
    assert bool(torch.isfinite(p.grad).all())


def test_float64_targets_do_not_change_the_network_s_dtype() -> None:
    """NumPy's floats are float64, and a float64 loss of a float32 network fails in backward."""
    p = torch.zeros(2, 1, requires_grad=True)
    value = losses.get("mse")(p, torch.ones(2, 1, dtype=torch.float64))
    value.backward()
    assert value.dtype is torch.float32


# ── brought along ────────────────────────────────────────────────────────────────────────────────────────────────────────

MODULES: list[tuple[nn.Module, str, tuple[torch.Tensor, torch.Tensor]]] = [
    (nn.CrossEntropyLoss(), "cross_entropy", (torch.randn(4, 3), torch.tensor([0, 2, 1, 1]))),
    (nn.CrossEntropyLoss(label_smoothing=0.1), "cross_entropy", (torch.randn(4, 3, 2), torch.ones(4, 2, dtype=torch.int64))),
    (nn.NLLLoss(), "nll", (torch.randn(4, 3).log_softmax(1), torch.tensor([0, 2, 1, 1]))),
    (nn.MSELoss(), "mse", (torch.randn(4, 2), torch.randn(4, 2))),
    (nn.L1Loss(), "l1", (torch.randn(4, 2), torch.randn(4, 2))),
    (nn.SmoothL1Loss(), "smooth_l1", (torch.randn(4, 2), torch.randn(4, 2))),
    (nn.BCELoss(), "bce", (torch.rand(4, 1), torch.rand(4, 1))),
    (nn.BCEWithLogitsLoss(), "bce_with_logits", (torch.randn(4, 1), torch.rand(4, 1))),
    (nn.KLDivLoss(reduction="none"), "kl_div", (torch.rand(4, 1).log(), torch.rand(4, 1))),
]


@pytest.mark.parametrize(("module", "name", "data"), MODULES, ids=lambda v: v if isinstance(v, str) else "")
def test_torch_modules(module: nn.Module, name: str, data: tuple[torch.Tensor, torch.Tensor]) -> None:
    """B7: the module's own result; equal weights of 1 change nothing; the module is not touched."""
    loss = losses.get(module)
    assert (loss.name, loss.activation, loss.on_logits()) == (name, None, loss)
    expected = module(*data).mean()
    torch.testing.assert_close(loss(*data), expected)
    torch.testing.assert_close(loss(*data, torch.ones(4)), expected)
    assert loss.values(*data).shape == (4,)
    torch.testing.assert_close(module(*data).mean(), expected)


def test_torch_module_s_tensors_move() -> None:
    """Class weights go where the network goes."""
    module = nn.CrossEntropyLoss(weight=torch.ones(3))
    assert losses.get(module).to("meta") is not None
    assert module.weight is not None
    assert module.weight.device.type == "meta"
    assert losses.get("mse").to("meta") == losses.get("mse")


def test_own_function() -> None:
    """A value per observation, per number, or a mean: the loss is the mean."""
    p, y = torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.zeros(2, 2)
    for function in (lambda p, y: (p - y).mean(1), lambda p, y: p - y, lambda p, y: (p - y).mean()):
        assert losses.get(function)(p, y).item() == 1.0
    weighted = losses.get(lambda p, y: p - y)
    assert weighted(p, y, torch.tensor([0.5, 7.0])).item() == 0.5
    assert (weighted.name, CustomLoss(F.mse_loss).name, CustomLoss(F.mse_loss, "mine").name) == ("<lambda>", "mse_loss", "mine")


def test_unusual_module() -> None:
    """A module without `reduction` trains, but cannot weigh observations."""

    class Sum(nn.Module):
        def forward(self, p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return (p - y).sum()

    loss = losses.get(Sum())
    assert (loss.name, loss(torch.ones(2, 1), torch.zeros(2, 1)).item()) == ("sum", 2.0)
    with pytest.raises(ArgumentError) as e:
        loss(torch.ones(2, 1), torch.zeros(2, 1), torch.ones(2))
    assert str(e.value) == (
        "loss 'sum': expected a module with a `reduction`, because observations are weighted, received one without. "
        'Give it the attribute reduction, and a value per observation for "none".'
    )


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

SPECS = "a name, a Loss, a torch.nn loss or a function of prediction and target"
COLUMN, ROW = torch.zeros(4, 1), torch.zeros(4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: losses.get("categorical_crossentrpy"),
            UnknownNameError,
            "loss 'categorical_crossentrpy' is unknown. Did you mean 'categorical_crossentropy'? Known: bce, binary_crossentropy, "
            "binary_focal_crossentropy, categorical_crossentropy, categorical_focal_crossentropy, categorical_hinge, "
            "cosine_similarity, crossentropy, hinge, huber, kl_divergence, kld, kullback_leibler_divergence, log_cosh, mae, "
            "mape, mean_absolute_error, mean_absolute_percentage_error, mean_squared_error, mean_squared_logarithmic_error, "
            "mse, msle, poisson, sparse_categorical_crossentropy, squared_hinge.",
        ),
        (
            lambda: losses.get(None),  # type: ignore[arg-type]
            ArgumentError,
            f'loss: expected {SPECS}, received None. Pass "mean_squared_error", for example.',
        ),
        (
            lambda: losses.get(nn.MSELoss),
            ArgumentError,
            f"loss: expected {SPECS}, received the class MSELoss. Pass MSELoss() with parentheses.",
        ),
        (
            lambda: Huber(0),
            ArgumentError,
            "Huber(delta=): expected a number above 0, received 0. Pass delta=1.0, for example.",
        ),
        (
            lambda: losses.get("cosine_similarity")(ROW, ROW),
            ArgumentError,
            "loss 'cosine_similarity': expected a network that returns vectors, received numbers (N,). "
            'Use loss="mean_squared_error".',
        ),
        (
            lambda: CategoricalCrossentropy(axis=0),
            ArgumentError,
            "CategoricalCrossentropy(axis=): expected an axis after the batch's 0, received 0. "
            "Pass axis=-1 for (batch, steps, classes), or leave it out.",
        ),
        (
            lambda: CategoricalCrossentropy(axis=3)(torch.zeros(4, 3), torch.zeros(4)),
            ArgumentError,
            "classes: expected an axis of the network's outputs, received axis=3 for outputs of 1 axes without the batch. "
            "Pass another axis, or leave it out.",
        ),
        (
            lambda: BinaryCrossentropy(label_smoothing=2),
            ArgumentError,
            "BinaryCrossentropy(label_smoothing=): expected a number in [0, 1], received 2. Pass label_smoothing=0.1, for example.",
        ),
        (
            lambda: BinaryFocalCrossentropy(gamma=-1),
            ArgumentError,
            "BinaryFocalCrossentropy(gamma=): expected a finite number of at least 0, received -1. "
            "Pass gamma=2.0, for example.",
        ),
        (
            lambda: CategoricalFocalCrossentropy(alpha=[0.1, 0.9]),  # type: ignore[arg-type]
            ArgumentError,
            "CategoricalFocalCrossentropy(alpha=): expected one finite number of at least 0, received [0.1, 0.9]. "
            "Pass alpha=0.25; weigh classes with fit(class_weight=).",
        ),
        (
            lambda: losses.get("mse")(COLUMN, ROW),
            ShapeError,
            "loss 'mean_squared_error': expected a target of the prediction's shape (4, 1), received (4,). "
            "Pass target.reshape((4, 1)).",
        ),
        (
            lambda: losses.get("binary_crossentropy").on_logits()(COLUMN, torch.zeros(4, 2)),
            ShapeError,
            "loss 'binary_crossentropy': expected a target of the prediction's shape (4, 1), received (4, 2). "
            "Pass such a target.",
        ),
        (
            lambda: losses.get(nn.MSELoss())(COLUMN, ROW),
            ShapeError,
            "loss 'mse': expected a target of the prediction's shape (4, 1), received (4,). Pass target.reshape((4, 1)).",
        ),
        (
            lambda: losses.get("mse")(COLUMN, COLUMN, COLUMN),
            ShapeError,
            "weight: expected one number per observation, shape (4,), received shape (4, 1). "
            "Pass 4 of them: weight.reshape(4).",
        ),
        (
            lambda: losses.get("crossentropy").on_logits()(torch.zeros(4, 3), torch.zeros(4)),
            ShapeError,
            "loss 'categorical_crossentropy': expected class numbers (4,) (integers) or rows (4, 3) as target, received "
            "torch.float32 of shape (4,). Convert class numbers with target.long().",
        ),
        (
            lambda: losses.get("sparse_categorical_crossentropy")(torch.zeros(4, 3), torch.zeros(3, dtype=torch.int64)),
            ShapeError,
            "loss 'sparse_categorical_crossentropy': expected class numbers (4,) (integers) or rows (4, 3) as target, received "
            "torch.int64 of shape (3,). Convert class numbers with target.long().",
        ),
        (
            lambda: CustomLoss(lambda p, y: float((p - y).mean()), "mine")(COLUMN, COLUMN),
            ArgumentError,
            "loss 'mine': expected a tensor from the function, received float. "
            "Return the tensor itself, not .item() or a NumPy array, which have no gradient.",
        ),
        (
            lambda: CustomLoss(lambda p, y: (p - y).mean(), "mine")(COLUMN, COLUMN, ROW),
            ShapeError,
            "loss 'mine': expected one value per observation, shape (4,), because observations are weighted, received "
            "shape (). Return the values before taking their mean.",
        ),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    """Where, expected, received, fix."""
    with pytest.raises(error) as e:
        call()
    assert str(e.value) == message


def test_readable() -> None:
    """What stands in a log."""
    assert [repr(losses.get(spec)) for spec in ("crossentropy", nn.L1Loss(), F.l1_loss)] == [
        "CategoricalCrossentropy(axis=None, from_logits=False, label_smoothing=0.0)",
        "TorchLoss(L1Loss())",
        "CustomLoss(l1_loss)",
    ]
    assert isinstance(losses.get(nn.L1Loss()), TorchLoss)
