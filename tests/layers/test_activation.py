"""Activation, ReLU and Softmax as layers; ELU has a file of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError, UnknownNameError
from laminar.layers.activation import ActivatedLayer

shapes = st.lists(st.integers(1, 4), min_size=2, max_size=5).map(tuple)


@pytest.mark.parametrize("name", sorted(lm.activations.ACTIVATIONS))
def test_activation_by_name_is_the_function(name: str) -> None:
    x = torch.randn(3, 4, 2)
    assert torch.equal(L.Activation(name)(x), lm.activations.get(name)(x))


def test_activation_takes_functions_modules_and_none() -> None:
    x = torch.randn(3, 4)
    assert torch.equal(L.Activation(torch.sin)(x), torch.sin(x))
    assert torch.equal(L.Activation(lambda t: t * 2)(x), x * 2)
    assert torch.equal(L.Activation(nn.Tanh())(x), torch.tanh(x))
    assert torch.equal(L.Activation()(x), x)


@given(shapes)
def test_relu_equals_numpy_in_value_and_gradient(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    z = L.ReLU()(x)
    np.testing.assert_array_equal(z.detach().numpy(), np.maximum(x.detach().numpy(), 0))
    (dx,) = torch.autograd.grad(z.sum(), x)
    np.testing.assert_array_equal(dx.numpy(), (x.detach().numpy() > 0).astype(float))


@given(shapes)
def test_softmax_equals_scipy_over_axis_1(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64) * 5
    for layer in (L.Softmax(), L.Activation("softmax")):
        z = layer(x)
        np.testing.assert_allclose(z.numpy(), softmax(x.numpy(), axis=1), rtol=1e-12)
        torch.testing.assert_close(z.sum(1), torch.ones_like(z.sum(1)))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_softmax_sums_over_the_units_of_its_layer(name: str) -> None:
    """Those of Dense lie on the last axis, those of a convolution on axis 1."""
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    z = L.Dense(3, activation=name).double()(x).detach()
    np.testing.assert_allclose((z if name == "softmax" else z.exp()).sum(-1).numpy(), np.ones((2, 5)), rtol=1e-12)
    z = L.Conv2D(3, 2, activation=name).double()(x[:, None]).detach()
    np.testing.assert_allclose((z if name == "softmax" else z.exp()).sum(1).numpy(), np.ones((2, 4, 3)), rtol=1e-12)


def test_softmax_of_large_scores_is_finite() -> None:
    assert L.Softmax()(torch.tensor([[1e4, -1e4, 1e4]])).tolist() == [[0.5, 0.0, 0.5]]


@pytest.mark.parametrize("make", [L.Softmax, lambda: L.Activation("softmax"), lambda: L.Dense(3, activation="softmax")])
def test_a_loss_may_ask_for_the_scores(make: Any) -> None:
    layer: ActivatedLayer = make()
    x = torch.randn(2, 3)
    probabilities = layer(x)
    layer._emits_logits = True
    torch.testing.assert_close(layer(x).softmax(1), probabilities)
    assert not torch.equal(layer(x), probabilities)


def test_what_they_call_themselves() -> None:
    assert L.ReLU().label == "layer 're_lu' (ReLU)"
    assert L.Softmax().label == "layer 'softmax' (Softmax)"
    assert L.Activation("swish").label == "layer 'activation' (Activation, activation='silu')"
    assert L.Activation().label == "layer 'activation' (Activation)"
    assert L.Activation(nn.Tanh()).label == "layer 'activation' (Activation, activation='Tanh')"
    assert L.ELU().label == "layer 'elu' (ELU, alpha=1.0)"
    assert L.ELU("uniform", learnable=True).label == "layer 'elu' (ELU, alpha='uniform', learnable)"


def test_elu_says_whether_it_learns_now() -> None:
    layer = L.ELU(0.5)
    layer(torch.zeros(1, 2))
    layer.unfreeze("alpha")
    assert repr(layer) == "ELU(alpha=0.5, learnable)"
    layer.freeze()
    assert repr(layer) == "ELU(alpha=0.5)"


def test_an_unknown_activation() -> None:
    known = ", ".join(sorted([*lm.activations.ACTIVATIONS, "hard_swish", "identity", "swish"]))
    with pytest.raises(UnknownNameError) as caught:
        L.Activation("sigmoids")
    assert str(caught.value) == f"activation 'sigmoids' is unknown. Did you mean 'sigmoid'? Known: {known}."


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            nn.ReLU,
            "activation: expected a name or a function of a tensor, received the class ReLU. Pass ReLU() with parentheses.",
        ),
        (3, """activation: expected a name or a function of a tensor, received 3. Pass "relu", for example."""),
    ],
)
def test_what_is_no_activation(value: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        L.Activation(value)
    assert str(caught.value) == text


def test_softmax_without_classes() -> None:
    text = (
        "softmax: expected a batch (B, C, ...) with classes on axis 1, received shape (3,). "
        "Add the batch axis with x[None], or the class axis with x[:, None]."
    )
    with pytest.raises(ShapeError) as caught:
        L.Softmax()(torch.zeros(3))
    assert str(caught.value) == text


def test_a_learnable_alpha_of_the_wrong_length() -> None:
    layer = L.ELU(torch.ones(3), learnable=True)
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(1, 4))
    assert str(caught.value) == "initial values: expected shape (4,), received (3,). Give it the shape (4,)."
    assert not layer.built


def test_the_exponential_of_no_input_overflows() -> None:
    x: Tensor = torch.tensor([[1000.0, -1000.0]], requires_grad=True)
    for layer in (L.ELU(), L.Activation("elu")):
        (dx,) = torch.autograd.grad(layer(x).sum(), x)
        assert dx.tolist() == [[1.0, 0.0]]
