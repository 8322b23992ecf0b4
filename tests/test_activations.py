"""Activations against NumPy and SciPy formulas in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

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

FORMULAS: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
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
    "softmax": lambda x: special.softmax(x, axis=1),
    "log_softmax": lambda x: special.log_softmax(x, axis=1),
}
BATCHES = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=5, max_side=4), elements=st.floats(-40, 40))


@pytest.mark.parametrize("name", list(ACTIVATIONS))
@given(x=BATCHES)
def test_formula(name: str, x: np.ndarray[Any, Any]) -> None:
    """R8: the published formula, for batches of 2 to 5 axes."""
    result = activations.get(name)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(result, FORMULAS[name](x), rtol=1e-8, atol=1e-9)  # softplus is x above 20, to 2e-9


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n != "exponential"])
def test_large_numbers_stay_finite(name: str) -> None:
    """No overflow in the value or the derivative, in float32 at ±1000 (R2's condition on ELU)."""
    x = torch.tensor([[-1000.0, 0.5, 1000.0]], requires_grad=True)
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
def test_softmax_axis(x: np.ndarray[Any, Any], axis: int) -> None:
    """R8: softmax(axis)."""
    ours = activations.softmax(torch.from_numpy(x), axis).numpy()
    np.testing.assert_allclose(ours, special.softmax(x, axis=axis), rtol=1e-9, atol=1e-12)
    ours = activations.log_softmax(torch.from_numpy(x), axis).numpy()
    np.testing.assert_allclose(ours, special.log_softmax(x, axis=axis), rtol=1e-9, atol=1e-9)


def test_arguments() -> None:
    """The picture of R4 has ELU with α = 1 and leaky ReLU with slope 0.1."""
    x = torch.tensor([-2.0, 3.0], dtype=torch.float64)
    np.testing.assert_allclose(activations.elu(x, 0.5), [0.5 * np.expm1(-2), 3])
    np.testing.assert_allclose(activations.leaky_relu(x, 0.1), [-0.2, 3])


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
            "activation 'rleu' is unknown. Did you mean 'relu'? Known: elu, exponential, gelu, hard_sigmoid, identity, "
            "leaky_relu, linear, log_softmax, mish, relu, relu6, selu, sigmoid, silu, softmax, softplus, swish, tanh.",
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
