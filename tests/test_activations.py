"""Activations against NumPy and SciPy formulas in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special
from torch import nn

from laminar import activations
from laminar.activations import ACTIVATIONS
from laminar.errors import ArgumentError, ShapeError, UnknownNameError

Array: TypeAlias = np.ndarray[Any, Any]


def sparsemax(x: Array) -> Array:
    """Return the point of the simplex that is nearest to x, found by bisection on what is taken off every class."""
    low, high = x.min(1, keepdims=True) - 1, x.max(1, keepdims=True)
    for _ in range(200):
        middle = (low + high) / 2
        over = np.maximum(x - middle, 0).sum(1, keepdims=True) > 1
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    return np.maximum(x - low, 0)


def glu(x: Array) -> Array:
    """Return the first half of the channels where the gate in the second half is open."""
    a, gate = np.split(x, 2, axis=1)
    return np.asarray(a * special.expit(gate))


FORMULAS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * special.ndtr(x),
    "silu": lambda x: x * special.expit(x),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "sigmoid": special.expit,
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "tanh": np.tanh,
    "exponential": np.exp,
    "celu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "squareplus": lambda x: (x + np.sqrt(x**2 + 4)) / 2,
    "sparse_plus": lambda x: np.select([x <= -1, x < 1], [0 * x, (x + 1) ** 2 / 4], x),
    "log_sigmoid": lambda x: -np.logaddexp(0, -x),
    "sparse_sigmoid": lambda x: np.select([x <= -1, x < 1], [0 * x, (x + 1) / 2], 1.0),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "softsign": lambda x: x / (np.abs(x) + 1),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "hard_shrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "threshold": lambda x: np.where(x > 0, x, 0),
    "sparsemax": sparsemax,
    "glu": glu,
    "softmax": lambda x: special.softmax(x, axis=1),
    "log_softmax": lambda x: special.log_softmax(x, axis=1),
}
BATCHES = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=5, max_side=4), elements=st.floats(-40, 40))


@pytest.mark.parametrize("name", list(ACTIVATIONS))
@given(x=BATCHES)
def test_formula(name: str, x: Array) -> None:
    """R8: the published formula, for batches of 2 to 5 axes."""
    x = np.concatenate([x, -x[:, ::-1]], axis=1)  # an even number of channels, which one of them needs
    result = activations.get(name)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(result, FORMULAS[name](x), rtol=1e-8, atol=1e-9)  # softplus is x above 20, to 2e-9


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n != "exponential"])
def test_large_numbers_stay_finite(name: str) -> None:
    """No overflow in the value or the derivative, in float32 at ±1000 (R2's condition on ELU)."""
    x = torch.tensor([[-1000.0, 0.4, 0.7, 1000.0]], requires_grad=True)
    z = activations.get(name)(x)
    z.sum().backward()
    assert x.grad is not None
    assert bool(torch.isfinite(z).all())
    assert bool(torch.isfinite(x.grad).all())


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_derivative(name: str) -> None:
    """Central differences in float64, away from the kinks."""
    x = torch.linspace(-2.95, 5.95, 12, dtype=torch.float64).reshape(3, 4).requires_grad_()
    assert torch.autograd.gradcheck(activations.get(name), (x,))


@given(x=BATCHES, axis=st.integers(-1, 1))
def test_softmax_axis(x: Array, axis: int) -> None:
    """R8: softmax(axis)."""
    ours = activations.softmax(torch.from_numpy(x), axis).numpy()
    np.testing.assert_allclose(ours, special.softmax(x, axis=axis), rtol=1e-9, atol=1e-12)
    ours = activations.log_softmax(torch.from_numpy(x), axis).numpy()
    np.testing.assert_allclose(ours, special.log_softmax(x, axis=axis), rtol=1e-9, atol=1e-9)
    ours = activations.sparsemax(torch.from_numpy(x), axis).numpy()
    np.testing.assert_allclose(ours, np.moveaxis(sparsemax(np.moveaxis(x, axis, 1)), 1, axis), rtol=1e-9, atol=1e-9)


def test_arguments() -> None:
    """The picture of R4 has ELU with α = 1 and leaky ReLU with slope 0.1."""
    x = torch.tensor([-2.0, 3.0], dtype=torch.float64)
    a = x.numpy()
    np.testing.assert_allclose(activations.elu(x, 0.5), [0.5 * np.expm1(-2), 3])
    np.testing.assert_allclose(activations.leaky_relu(x, 0.1), [-0.2, 3])
    np.testing.assert_allclose(activations.celu(x, 2.0), [2 * np.expm1(-1), 3])
    np.testing.assert_allclose(activations.squareplus(x, 1.0), (a + np.sqrt(a**2 + 1)) / 2)
    np.testing.assert_allclose(activations.soft_shrink(x, 2.5), [0, 0.5])
    np.testing.assert_allclose(activations.hard_shrink(x, 2.5), [0, 3])
    np.testing.assert_allclose(activations.threshold(x, 3.5, 7), [7, 7])
    np.testing.assert_allclose(activations.gelu(x, True), a / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3))))


@given(
    x=BATCHES,
    slope=st.floats(0, 1),
    top=st.one_of(st.none(), st.floats(1, 20)),
    threshold=st.floats(0, 5),
)
def test_relu_with_its_three_arguments(x: Array, slope: float, top: float | None, threshold: float) -> None:
    """R8: ReLU(alpha, max_value, threshold) is three straight lines."""
    upper = x if top is None else np.minimum(x, top)
    want = np.where(x > threshold, upper, slope * (x - threshold))
    result = activations.relu(torch.from_numpy(x), slope, top, threshold).numpy()
    np.testing.assert_allclose(result, want, rtol=1e-12, atol=1e-12)


@given(x=BATCHES)
def test_sparsemax_gives_probabilities(x: Array) -> None:
    """They add up to 1, and their order is that of the scores."""
    p = activations.sparsemax(torch.from_numpy(x))
    torch.testing.assert_close(p.sum(1), torch.ones_like(p.sum(1)))
    assert bool((p >= 0).all())
    order = torch.from_numpy(x).argsort(1)
    assert bool((p.gather(1, order).diff(dim=1) >= 0).all())


def test_get() -> None:
    """Names in any spelling, aliases, None, functions and modules."""
    assert activations.get("Leaky-ReLU") is activations.leaky_relu
    assert activations.get("identity") is activations.get(None) is activations.linear
    module = nn.Tanh()
    assert activations.get(module) is module
    assert activations.get(torch.sin) is torch.sin


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_name_of_goes_round(name: str) -> None:
    """get(name_of(f)) is f."""
    assert activations.name_of(activations.get(name)) == name


def test_name_of_strangers() -> None:
    """Something to read, for what has no registered name."""

    class Mine:
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return x

    assert activations.name_of(Mine()) == "Mine"
    assert activations.name_of(functools.partial(activations.elu, alpha=2.0)) == "elu"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: activations.get("rleu"),
            UnknownNameError,
            "activation 'rleu' is unknown. Did you mean 'relu'? Known: celu, elu, exponential, gelu, glu, hard_shrink, "
            "hard_sigmoid, hard_silu, hard_swish, hard_tanh, identity, leaky_relu, linear, log_sigmoid, log_softmax, mish, relu, "
            "relu6, selu, sigmoid, silu, soft_shrink, softmax, softplus, softsign, sparse_plus, sparse_sigmoid, sparsemax, "
            "squareplus, swish, tanh, tanh_shrink, threshold.",
        ),
        (
            lambda: activations.get(3),  # type: ignore[arg-type]
            ArgumentError,
            'activation: expected a name or a function of a tensor, received 3. Pass "relu", for example.',
        ),
        (
            lambda: activations.get(nn.ReLU),
            ArgumentError,
            "activation: expected a name or a function of a tensor, received the class ReLU. Pass ReLU() with parentheses.",
        ),
        (
            lambda: activations.softmax(torch.zeros(10)),
            ShapeError,
            "softmax: expected a batch (B, C, ...) with classes on axis 1, received shape (10,). "
            "Add the batch axis with x[None], or the class axis with x[:, None].",
        ),
        (
            lambda: activations.sparsemax(torch.zeros(10)),
            ShapeError,
            "sparsemax: expected a batch (B, C, ...) with classes on axis 1, received shape (10,). "
            "Add the batch axis with x[None], or the class axis with x[:, None].",
        ),
        (
            lambda: activations.glu(torch.zeros(2, 5)),
            ShapeError,
            "glu: expected an even number of channels on axis 1, received shape (2, 5). "
            "Give it twice as many channels as are wanted.",
        ),
        (
            lambda: activations.log_softmax(torch.zeros(10)),
            ShapeError,
            "log_softmax: expected a batch (B, C, ...) with classes on axis 1, received shape (10,). "
            "Add the batch axis with x[None], or the class axis with x[:, None].",
        ),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    """Where, expected, received, fix."""
    with pytest.raises(error) as e:
        call()
    assert str(e.value) == message
