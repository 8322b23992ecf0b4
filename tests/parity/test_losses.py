"""Losses against Keras': values with and without sample weights, and gradients, on random shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity.support import assert_close, keras, parity
from torch import Tensor

from laminar import losses

SEEDS = st.integers(0, 2**31)
SHAPES = st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple)


def value_and_slope(loss: Callable[[Tensor], Any], x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    value = loss(x)
    (slope,) = torch.autograd.grad(value, x)
    return value.detach(), slope


def compare(own: losses.Loss, theirs: Any, p: Tensor, y: Tensor, want: Tensor, axis: int = -1, seed: int = 0) -> None:
    """Assert that mean, weighted mean and gradients are the same; `want` is the target as Keras takes it, classes last.

    `axis` is where our classes are; `p` has them there.
    """
    weight = torch.rand(len(p), generator=torch.Generator().manual_seed(seed)) * 2
    mine = value_and_slope(lambda x: own(x, y), p)
    other = value_and_slope(lambda x: theirs(want, x.movedim(axis, -1)), p)
    assert_close(mine, other)
    mine = value_and_slope(lambda x: own(x, y, weight), p)
    theirs_weight = weight.reshape(-1, *[1] * (p.ndim - 2))  # which Keras would set against the last axis otherwise
    other = value_and_slope(lambda x: theirs(want, x.movedim(axis, -1), sample_weight=theirs_weight), p)
    assert_close(mine, other)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def f32(values: Any) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)


ELEMENTWISE = {
    "mean_squared_error": keras.losses.MeanSquaredError,
    "mean_absolute_error": keras.losses.MeanAbsoluteError,
    "mean_absolute_percentage_error": keras.losses.MeanAbsolutePercentageError,
    "mean_squared_logarithmic_error": keras.losses.MeanSquaredLogarithmicError,
    "huber": keras.losses.Huber,
    "log_cosh": keras.losses.LogCosh,
    "poisson": keras.losses.Poisson,
    "hinge": keras.losses.Hinge,
    "squared_hinge": keras.losses.SquaredHinge,
}


@pytest.mark.parametrize("name", ELEMENTWISE)
@parity
@given(shape=SHAPES, seed=SEEDS, signs=st.booleans())
def test_elementwise(name: str, shape: tuple[int, ...], seed: int, signs: bool) -> None:
    """Rows R18: regression and hinge; for the hinges labels 0 and 1, or −1 and 1."""
    rng = rng_of(seed)
    p, y = rng.normal(size=shape) * 2, rng.normal(size=shape)
    if name == "poisson":
        p, y = rng.exponential(size=shape) + 0.01, rng.poisson(2.0, shape)
    elif "percentage" in name:
        y = y + np.sign(y)
    elif "logarithmic" in name:
        p, y = np.abs(p) + 0.01, np.abs(y)
    elif "hinge" in name:
        y = rng.choice([-1.0, 1.0] if signs else [0.0, 1.0], shape)
        y.flat[0] = -1.0 if signs else 0.0  # Keras looks at the whole batch to tell the two forms
    compare(losses.get(name), ELEMENTWISE[name](), f32(p), f32(y), f32(y), seed=seed)


@parity
@given(shape=SHAPES, seed=SEEDS, delta=st.floats(0.1, 3))
def test_huber_delta(shape: tuple[int, ...], seed: int, delta: float) -> None:
    p, y = (f32(rng_of(seed + i).normal(size=shape) * 2) for i in range(2))
    compare(losses.Huber(delta), keras.losses.Huber(delta), p, y, y, seed=seed)


@parity
@given(shape=SHAPES, seed=SEEDS, logits=st.booleans(), smoothing=st.floats(0, 0.5), soft=st.booleans())
def test_binary_crossentropy(shape: tuple[int, ...], seed: int, logits: bool, smoothing: float, soft: bool) -> None:
    rng = rng_of(seed)
    z, y = f32(rng.normal(size=shape) * 3), f32(rng.random(shape) if soft else rng.integers(0, 2, shape))
    own = losses.BinaryCrossentropy(from_logits=logits, label_smoothing=smoothing)
    theirs = keras.losses.BinaryCrossentropy(from_logits=logits, label_smoothing=smoothing)
    compare(own, theirs, z if logits else z.sigmoid(), y, y, seed=seed)


@parity
@given(shape=SHAPES, seed=SEEDS, logits=st.booleans(), gamma=st.floats(0, 3), alpha=st.floats(0, 1), balanced=st.booleans())
def test_binary_focal_crossentropy(
    shape: tuple[int, ...], seed: int, logits: bool, gamma: float, alpha: float, balanced: bool
) -> None:
    rng = rng_of(seed)
    z, y = f32(rng.normal(size=shape) * 2), f32(rng.integers(0, 2, shape))
    settings: dict[str, Any] = {"apply_class_balancing": balanced, "alpha": alpha, "gamma": gamma, "from_logits": logits}
    own = losses.BinaryFocalCrossentropy(**settings, label_smoothing=0.1)
    theirs = keras.losses.BinaryFocalCrossentropy(**settings, label_smoothing=0.1)
    compare(own, theirs, z if logits else z.sigmoid(), y, y, seed=seed)


# ── classes: on the last axis as in Keras, or on axis 1 ──────────────────────────────────────────────────────────────────

PROBLEM = {
    "count": st.integers(1, 4),
    "classes": st.integers(2, 5),
    "rest": st.lists(st.integers(1, 4), max_size=2).map(tuple),
    "axis": st.sampled_from([-1, 1]),
    "seed": SEEDS,
}


def class_problem(count: int, classes: int, rest: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits and one-hot rows (B, ..., C), and class numbers (B, ...)."""
    rng = rng_of(seed)
    numbers = torch.from_numpy(rng.integers(0, classes, (count, *rest)))
    return f32(rng.normal(size=(count, *rest, classes)) * 2), torch.nn.functional.one_hot(numbers, classes).float(), numbers


@parity
@given(**PROBLEM, logits=st.booleans())
def test_sparse_categorical_crossentropy(
    count: int, classes: int, rest: tuple[int, ...], axis: int, seed: int, logits: bool
) -> None:
    """Gradients by way of the logits: on probabilities Keras' go through its division by their sum."""
    z, rows, numbers = class_problem(count, classes, rest, seed)
    own = losses.SparseCategoricalCrossentropy(from_logits=logits, axis=axis)
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    if len(rest) > 1 and not logits:  # where the gradient of Keras' fails inside torch: "grad_input must be contiguous"
        same = keras.losses.CategoricalCrossentropy()
        compare(by_logits(own, False, axis), by_logits(same, False, -1), z.movedim(-1, axis), numbers, rows, axis, seed)
        return
    compare(by_logits(own, logits, axis), by_logits(theirs, logits, -1), z.movedim(-1, axis), numbers, numbers, axis, seed)


@parity
@given(**PROBLEM, logits=st.booleans(), soft=st.booleans(), smoothing=st.floats(0, 0.5))
def test_categorical_crossentropy(
    count: int, classes: int, rest: tuple[int, ...], axis: int, seed: int, logits: bool, soft: bool, smoothing: float
) -> None:
    z, rows, numbers = class_problem(count, classes, rest, seed)
    rows = 0.8 * rows + 0.2 / classes if soft else rows
    own = losses.CategoricalCrossentropy(from_logits=logits, axis=axis, label_smoothing=smoothing)
    theirs = keras.losses.CategoricalCrossentropy(from_logits=logits, label_smoothing=smoothing)
    mine, other = by_logits(own, logits, axis), by_logits(theirs, logits, -1)
    compare(mine, other, z.movedim(-1, axis), rows.movedim(-1, axis), rows, axis, seed)
    if not soft:
        compare(mine, other, z.movedim(-1, axis), numbers, rows, axis, seed)


@parity
@given(**PROBLEM, logits=st.booleans(), gamma=st.floats(0, 3), alpha=st.floats(0.1, 2))
def test_categorical_focal_crossentropy(
    count: int, classes: int, rest: tuple[int, ...], axis: int, seed: int, logits: bool, gamma: float, alpha: float
) -> None:
    z, rows, _ = class_problem(count, classes, rest, seed)
    settings: dict[str, Any] = {"alpha": alpha, "gamma": gamma, "from_logits": logits, "label_smoothing": 0.1}
    own = losses.CategoricalFocalCrossentropy(**settings, axis=axis)
    theirs = keras.losses.CategoricalFocalCrossentropy(**settings)
    mine, other = by_logits(own, logits, axis), by_logits(theirs, logits, -1)
    compare(mine, other, z.movedim(-1, axis), rows.movedim(-1, axis), rows, axis, seed)


def by_logits(loss: Any, logits: bool, axis: int) -> Any:
    """Return `loss` as a function of logits, through a softmax where it takes probabilities."""
    if logits:
        return loss
    if isinstance(loss, losses.Loss):
        return lambda z, *rest: loss(z.softmax(axis), *rest)
    return lambda y, z, **more: loss(y, z.softmax(axis), **more)


@pytest.mark.parametrize("name", ["categorical_hinge", "kl_divergence", "cosine_similarity"])
@parity
@given(**PROBLEM)
def test_other_losses_across_classes(name: str, count: int, classes: int, rest: tuple[int, ...], axis: int, seed: int) -> None:
    kind = {"categorical_hinge": "CategoricalHinge", "kl_divergence": "KLDivergence", "cosine_similarity": "CosineSimilarity"}
    z, rows, numbers = class_problem(count, classes, rest, seed)
    own, theirs = losses.get(name).along(axis), getattr(keras.losses, kind[name])()
    if name == "kl_divergence":
        z, rows = z.softmax(-1), 0.8 * rows + 0.2 / classes
    elif name == "cosine_similarity":
        rows = f32(rng_of(seed + 1).normal(size=rows.shape))
    else:
        compare(own, theirs, z.movedim(-1, axis), numbers, rows, axis, seed)
    compare(own, theirs, z.movedim(-1, axis), rows.movedim(-1, axis), rows, axis, seed)


def test_every_loss_is_compared() -> None:
    """A new one needs its test above."""
    classes = {"categorical_hinge", "kl_divergence", "cosine_similarity"}
    crossentropies = {name for name in losses.LOSSES if name.endswith("crossentropy")}
    assert set(losses.LOSSES) == {*ELEMENTWISE, *classes, *crossentropies}
    assert len(crossentropies) == 5


def test_names_mean_the_same() -> None:
    """Every name of Keras that is a name here stands for the loss of the same formula."""
    p, y = torch.tensor([[0.2, 0.8], [0.6, 0.4]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    known = [*losses.LOSSES, "mse", "mae", "mape", "msle", "bce", "kld"]
    assert_close(
        [losses.get(name)(p, y) for name in known if "sparse" not in name],
        [keras.losses.get(name)(y, p).mean() for name in known if "sparse" not in name],
    )
