"""Dense, Flatten and Reshape against torch and NumPy in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError, UnknownNameError
from laminar.layers.core import positive

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)

# -- Dense ----------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.integers(1, 5), st.booleans())
def test_dense_equals_torch_in_value_and_gradient(shape: list[int], units: int, use_bias: bool) -> None:
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    layer = L.Dense(units, use_bias=use_bias, bias_initializer="uniform")
    z = layer(x)
    assert z.shape == (*shape[:-1], units)
    parameters = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    assert len(parameters) == 1 + use_bias
    want = torch.einsum("...i,oi->...o", x, parameters[0]) + (parameters[1] if use_bias else 0)
    torch.testing.assert_close(z, want, rtol=1e-12, atol=1e-12)
    dz = torch.randn_like(z)
    got = torch.autograd.grad(z, [x, *layer.parameters()], dz)
    for g, w in zip(got, torch.autograd.grad(want, [x, *parameters], dz), strict=True):
        torch.testing.assert_close(g, w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "softmax", "swish"])
def test_dense_activation_by_name(name: str) -> None:
    x = torch.randn(6, 4)
    layer = L.Dense(3, activation=name)
    z = layer(x)
    assert torch.equal(z, lm.activations.get(name)(F.linear(x, layer.weight, layer.bias)))


def test_dense_activation_may_be_a_module_that_learns() -> None:
    layer = L.Dense(3, activation=nn.PReLU(3))
    layer(torch.randn(5, 4)).sum().backward()
    assert layer.activation.weight.grad is not None
    assert layer.label == "layer 'dense' (Dense, units=3, activation='PReLU')"


def test_dense_initializers() -> None:
    layer = L.Dense(200)
    layer(torch.zeros(1, 100))
    limit = math.sqrt(6 / 300)
    assert 0.99 * limit < float(layer.weight.detach().abs().max()) <= limit
    assert torch.equal(layer.bias, torch.zeros(200))
    given_values = torch.randn(2, 3)
    layer = L.Dense(2, kernel_initializer=given_values, bias_initializer=-1.5)
    layer(torch.zeros(1, 3))
    assert torch.equal(layer.weight, given_values)
    assert layer.bias.tolist() == [-1.5, -1.5]


def test_dense_without_bias() -> None:
    layer = L.Dense(2, use_bias=False)
    layer(torch.zeros(1, 3))
    assert layer.bias is None
    assert list(layer.state_dict()) == ["weight"]


def test_numbers_of_numpy_are_numbers() -> None:
    assert L.Dense(np.int64(3))(torch.zeros(1, 2)).shape == (1, 3)
    assert type(positive("x", np.int32(3))) is int
    assert L.Reshape(np.array([2, 3]))(torch.zeros(1, 6)).shape == (1, 2, 3)


# -- Flatten and Reshape --------------------------------------------------------------------------------------------------


@given(shapes, st.integers(0, 3))
def test_flatten_equals_numpy(shape: tuple[int, ...], batch: int) -> None:
    x = torch.randn(batch, *shape)
    np.testing.assert_array_equal(L.Flatten()(x).numpy(), x.numpy().reshape(batch, math.prod(shape)))


def test_flatten_of_numbers_makes_one_feature() -> None:
    assert L.Flatten()(torch.zeros(5)).shape == (5, 1)
    assert lm.Sequential([L.Flatten(), L.Dense(2)]).build(()).output_shape == (2,)


@given(shapes, st.integers(0, 3), st.randoms(use_true_random=False), st.booleans())
def test_reshape_equals_numpy(shape: tuple[int, ...], batch: int, random: Any, open_end: bool) -> None:
    target = list(shape)
    random.shuffle(target)
    want = (batch, *target)
    if open_end:
        target[random.randrange(len(target))] = -1
    x = torch.randn(batch, *shape)
    np.testing.assert_array_equal(L.Reshape(target)(x).numpy(), x.numpy().reshape(want))


def test_reshape_to_one_axis_by_a_number() -> None:
    assert L.Reshape(-1)(torch.zeros(2, 3, 4)).shape == (2, 12)


# -- what they call themselves, and errors ---------------------------------------------------------------------------------


def test_what_they_call_themselves() -> None:
    assert repr(L.Dense(3, activation="relu", name="head")) == "Dense(units=3, activation='relu')"
    assert L.Dense(3, name="head").label == "layer 'head' (Dense, units=3)"
    assert L.Flatten().label == "layer 'flatten' (Flatten)"
    assert L.Reshape([1, 28, -1]).label == "layer 'reshape' (Reshape, shape=(1, 28, -1))"


RESHAPE = "Reshape(shape=): expected whole numbers of at least 1, one of which may be -1, received"


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: L.Dense(-1), ArgumentError, "Dense(units=): expected a whole number of at least 1, received -1. Pass 1 or more."),
        (lambda: L.Dense("10"), ArgumentError, "Dense(units=): expected a whole number of at least 1, received '10'. Pass 1 or more."),
        (
            lambda: L.Dense(3, kernel_init="zeros"),
            UnknownNameError,
            "Dense: argument 'kernel_init' is unknown. Did you mean 'kernel_initializer'? "
            "Known: activation, bias_initializer, kernel_initializer, name, units, use_bias.",
        ),
        (lambda: L.Reshape((1.5, 2)), ArgumentError, f"{RESHAPE} (1.5, 2). Pass (1, 28, 28), say."),
        (lambda: L.Reshape(2.5), ArgumentError, f"{RESHAPE} 2.5. Pass (1, 28, 28), say."),
        (lambda: L.Reshape((-1, -1)), ArgumentError, f"{RESHAPE} (-1, -1). Pass (1, 28, 28), say."),
        (lambda: L.Reshape((0, 3)), ArgumentError, f"{RESHAPE} (0, 3). Pass (1, 28, 28), say."),
        (lambda: L.Reshape("28"), ArgumentError, f"{RESHAPE} '28'. Pass (1, 28, 28), say."),
    ],
)  # fmt: skip
def test_bad_arguments(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == text


def test_unknown_names_are_refused_at_once() -> None:
    with pytest.raises(UnknownNameError) as caught:
        L.Dense(2, bias_initializer="zeross")
    assert str(caught.value).startswith("initializer 'zeross' is unknown. Did you mean 'zeros'? Known: ")


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (lambda: L.Dense(2), (), "layer 'dense' (Dense, units=2): expected input (batch, features), received (batch,), 1 axis. Pass x[:, None]."),
        (
            lambda: L.Reshape((3, 4)),
            (2, 5),
            "layer 'reshape' (Reshape, shape=(3, 4)): expected observations of 12 numbers, for shape (3, 4), received (batch, 2, 5), 10 numbers in each. "
            "Give Reshape a shape with as many numbers.",
        ),
        (
            lambda: L.Reshape((3, -1)),
            (2, 5),
            "layer 'reshape' (Reshape, shape=(3, -1)): expected observations of a multiple of 3 numbers, for shape (3, -1), received (batch, 2, 5), 10 numbers in each. "
            "Give Reshape a shape with as many numbers.",
        ),
    ],
)  # fmt: skip
def test_bad_shapes(layer: Any, shape: tuple[int, ...], text: str) -> None:
    for run in (lambda: layer()(torch.zeros(2, *shape)), lambda: lm.Sequential([layer()]).build(shape)):
        with pytest.raises(ShapeError) as caught:
            run()
        assert str(caught.value) == text


def test_dense_on_other_features_than_it_was_built_for() -> None:
    text = "layer 'dense' (Dense, units=2): expected input of 4 features, received (batch, 3, 5), 5 features. Give it 4 features, or build a new layer."
    layer = L.Dense(2)
    layer(torch.zeros(1, 4))
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(1, 3, 5))
    assert str(caught.value) == text
    with pytest.raises(ShapeError) as caught:
        lm.shapes.trace(layer, (3, 5))
    assert str(caught.value) == text


def test_an_error_that_is_not_of_the_shape_is_torch_s_own() -> None:
    layer = L.Dense(2)
    layer(torch.zeros(1, 4))
    with pytest.raises(RuntimeError, match="same dtype"):
        layer(torch.zeros(1, 4, dtype=torch.float64))
