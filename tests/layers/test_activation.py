"""Activations as layers; ELU, PReLU and Maxout have files of their own."""

from __future__ import annotations

import inspect
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
from laminar.shapes import trace

shapes = st.lists(st.integers(1, 4), min_size=2, max_size=5).map(tuple)


@pytest.mark.parametrize("name", sorted(lm.activations.ACTIVATIONS))
def test_activation_by_name_is_the_function(name: str) -> None:
    x = torch.randn(3, 4, 2)
    assert torch.equal(L.Activation(name)(x), lm.activations.get(name)(x))


R8 = {
    "sigmoid": L.Sigmoid,
    "hard_sigmoid": L.HardSigmoid,
    "tanh": L.Tanh,
    "relu": L.ReLU,
    "leaky_relu": lambda: L.LeakyReLU(0.2),
    "elu": L.ELU,
    "exponential": L.Exponential,
    "softmax": L.Softmax,
    "gelu": L.GELU,
    "silu": L.SiLU,
    "softplus": L.Softplus,
    "selu": L.SELU,
}


@pytest.mark.parametrize("name", R8)
def test_three_forms_of_an_activation_are_one_function(name: str) -> None:
    """R8: as a function, by name in a layer's activation, and as a layer."""
    x = torch.randn(3, 4, dtype=torch.float64)
    z = getattr(lm.activations, name)(x)
    torch.testing.assert_close(R8[name]()(x), z)
    dense = L.Dense(4, activation=name, kernel_initializer=torch.eye(4))
    torch.testing.assert_close(dense.double()(x), z)


@given(
    shapes,
    st.one_of(st.none(), st.floats(0, 3)),
    st.floats(0, 2),
    st.floats(0, 2),
)
def test_relu_equals_numpy_with_any_options(shape: tuple[int, ...], top: float | None, slope: float, threshold: float) -> None:
    x = torch.randn(shape, dtype=torch.float64) * 3
    a = x.numpy()
    want = np.where(a > threshold, a if top is None else np.minimum(a, top), slope * (a - threshold))
    np.testing.assert_allclose(L.ReLU(top, slope, threshold)(x).numpy(), want, rtol=1e-12, atol=1e-12)


def test_options_of_the_layers() -> None:
    x = torch.tensor([[-2.0, 3.0]], dtype=torch.float64)
    np.testing.assert_allclose(L.LeakyReLU()(x).numpy(), [[-0.6, 3]])
    np.testing.assert_allclose(L.LeakyReLU(negative_slope=0.1)(x).numpy(), [[-0.2, 3]])
    torch.testing.assert_close(L.GELU(approximate=True)(x), nn.GELU("tanh")(x))
    assert L.ReLU(max_value=0)(x).tolist() == [[0.0, 0.0]]


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


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple), st.integers(-4, 4))
def test_softmax_over_any_axis_but_the_batch(shape: tuple[int, ...], axis: int) -> None:
    """R8: softmax(axis), the axis counted in the batch."""
    x = torch.randn(2, *shape, dtype=torch.float64)
    axis = axis % len(shape) + 1
    want = softmax(x.numpy(), axis=axis)
    np.testing.assert_allclose(L.Softmax(axis)(x).numpy(), want, rtol=1e-12)
    np.testing.assert_allclose(L.Softmax(axis - x.dim())(x).numpy(), want, rtol=1e-12)


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
    assert repr(L.Softmax(-1)) == "Softmax(axis=-1)"
    assert repr(L.ReLU(6, threshold=0.5)) == "ReLU(max_value=6.0, threshold=0.5)"
    assert repr(L.LeakyReLU()) == "LeakyReLU(negative_slope=0.3)"
    assert [repr(layer) for layer in (L.GELU(), L.GELU(True), L.Tanh())] == ["GELU()", "GELU(approximate=True)", "Tanh()"]
    assert (L.GELU().name, L.HardSigmoid(name="gate").name) == ("gelu", "gate")
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
        (
            lambda: L.Dense(3, activation="glu"),
            "Dense(activation=): expected an activation that keeps the shape, received glu, which halves the channels. "
            'Add Activation("glu") after the layer.',
        ),
        (
            lambda: L.ReLU(-1.0),
            "ReLU(max_value=): expected a number of at least 0, received -1.0. Pass max_value=6, say.",
        ),
        (
            lambda: L.ReLU(threshold="high"),
            "ReLU(threshold=): expected a number of at least 0, received 'high'. Pass threshold=1.0, say.",
        ),
        (
            lambda: L.ReLU(negative_slope=True),
            "ReLU(negative_slope=): expected a number of at least 0, received True. "
            "Pass negative_slope=0.1, say; PReLU learns one for each channel.",
        ),
        (
            lambda: L.LeakyReLU(float("nan")),
            "LeakyReLU(negative_slope=): expected a number of at least 0, received nan. "
            "Pass negative_slope=0.1, say; PReLU learns one for each channel.",
        ),
        (
            lambda: L.Softmax(0),
            "Softmax(axis=): expected a whole number other than 0, the batch's axis, received 0. "
            "Pass axis=1 for the channels, or -1 for the last.",
        ),
        (
            lambda: L.Softmax([1, 2]),
            "Softmax(axis=): expected a whole number other than 0, the batch's axis, received [1, 2]. "
            "Pass axis=1 for the channels, or -1 for the last.",
        ),
        (3, """activation: expected a name or a function of a tensor, received 3. Pass "relu", for example."""),
    ],
)
def test_what_is_no_activation(value: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        value() if inspect.isfunction(value) else L.Activation(value)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("axis", "shape", "text"),
    [
        (
            2,
            (5, 3),
            "layer 'softmax' (Softmax, axis=2): expected a batch of at least 3 axes, received (batch, 3). "
            "Pass axis=-1 for the last axis.",
        ),
        (
            -1,
            (5,),
            "layer 'softmax' (Softmax, axis=-1): expected a batch of at least 2 axes, received (batch,). Pass x[:, None].",
        ),
        (
            -2,
            (5, 3),
            "layer 'softmax' (Softmax, axis=-2): expected a batch of at least 3 axes, received (batch, 3). Pass axis=-1 for the last axis.",
        ),
    ],
)
def test_softmax_over_an_axis_that_is_not_there(axis: int, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        trace(L.Softmax(axis), shape[1:])
    assert str(caught.value) == text
    if axis == 2:
        with pytest.raises(ShapeError) as caught:
            L.Softmax(axis)(torch.zeros(shape))
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
