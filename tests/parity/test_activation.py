"""Activations against Keras', all that it has by name, and activation layers against those of Keras and `torch.nn`."""

from __future__ import annotations

import functools
import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity.support import assert_close, copy_into, gradients, keras, parity, same_initial
from torch import nn

from laminar import activations
from laminar import layers as L

NAMES = sorted(n for n, f in inspect.getmembers(keras.activations, callable) if n not in ("get", "serialize", "deserialize"))
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "sparsemax"])
@parity
@given(shape=shapes, scale=st.sampled_from([0.5, 2.0, 10.0]))
def test_by_name(name: str, shape: tuple[int, ...], scale: float) -> None:
    """Also the list itself: whatever Keras has, is here under that name."""
    x = torch.randn(3, *shape[:-1], 2 * shape[-1]) * scale
    arguments = {"threshold": (0.0, 0.0)}.get(name, ())  # which Keras must be told
    own = functools.partial(activations.glu, axis=-1) if name == "glu" else L.Dense(1, name).activate  # no part of a layer
    z, grads = gradients(own, [x], [])
    want, wanted = gradients(lambda t: keras.activations.get(name)(t, *arguments), [x], [])
    assert_close([*z, *grads], [*want, *wanted])


def test_the_sparsemax_of_keras_is_none() -> None:
    """It takes a sum of running sums. Where this fails, Keras has mended it, and it can be compared like all others."""
    x = torch.tensor([[1.0, 0.5, -1.0]])
    assert activations.sparsemax(x).tolist() == [[0.75, 0.25, 0.0]]
    assert float(keras.activations.sparsemax(x).sum()) < 0.9


@pytest.mark.parametrize("name", NAMES)
def test_the_arguments_are_those_of_keras(name: str) -> None:
    """Names and defaults, but for the axis, which is 1 here, and for threshold, which has defaults here."""
    own = inspect.signature(activations.get(name)).parameters
    theirs = inspect.signature(keras.activations.get(name)).parameters
    assert list(own) == list(theirs)
    for argument, parameter in theirs.items():
        if argument == "axis":
            assert (own[argument].default, parameter.default) == (1, -1)
        elif name != "threshold":
            assert own[argument].default == parameter.default


@parity
@given(shape=shapes, axis=st.integers(-4, 4), name=st.sampled_from(["softmax", "log_softmax", "glu"]))
def test_over_an_axis(shape: tuple[int, ...], axis: int, name: str) -> None:
    x = torch.randn(3, *(2 * n for n in shape)) * 3
    axis = axis % (x.dim() - 1) + 1  # any but the batch
    z, grads = gradients(lambda t: activations.get(name)(t, axis), [x], [])
    want, wanted = gradients(lambda t: keras.activations.get(name)(t, axis=axis), [x], [])
    assert_close([*z, *grads], [*want, *wanted])


@parity
@given(
    shape=shapes,
    slope=st.floats(0, 0.9),
    top=st.one_of(st.none(), st.floats(1, 6)),
    threshold=st.sampled_from([0.0, 0.7]),
)
def test_relu_function(shape: tuple[int, ...], slope: float, top: float | None, threshold: float) -> None:
    x = torch.randn(3, *shape) * 3
    z, grads = gradients(lambda t: activations.relu(t, slope, top, threshold), [x], [])
    want, wanted = gradients(lambda t: keras.activations.relu(t, slope, top, threshold), [x], [])
    assert_close([*z, *grads], [*want, *wanted])


@parity
@given(
    shape=shapes,
    slope=st.floats(0, 0.9),
    top=st.one_of(st.none(), st.floats(1, 6)),
    threshold=st.sampled_from([0.0, 0.7]),
)
def test_relu(shape: tuple[int, ...], slope: float, top: float | None, threshold: float) -> None:
    x = torch.randn(3, *shape) * 3
    for own, theirs in (
        (L.ReLU(top, slope, threshold), keras.layers.ReLU(top, slope, threshold)),
        (L.LeakyReLU(slope), keras.layers.LeakyReLU(slope)),
        (L.LeakyReLU(), keras.layers.LeakyReLU()),
        (L.ELU(slope), keras.layers.ELU(slope)),
    ):
        z, grads = gradients(own, [x], [])
        want, wanted = gradients(theirs, [x], [])
        assert_close([*z, *grads], [*want, *wanted])


@parity
@given(shape=shapes, shared=st.one_of(st.none(), st.sets(st.integers(1, 4))))
def test_prelu(shape: tuple[int, ...], shared: set[int] | None) -> None:
    """Keras' shared axes mean the same; what is shared by default is what torch's PReLU shares."""
    axes = None if shared is None else sorted(n for n in shared if n <= len(shape))
    own = same_initial(L.PReLU(shared_axes=axes), shape)
    x = torch.randn(3, *shape)
    z, grads = gradients(own, [x], list(own.parameters()))
    theirs = keras.layers.PReLU(shared_axes=axes)
    theirs.build((None, *shape))
    copy_into(list(own.parameters()), theirs.variables)
    want, wanted = gradients(theirs, [x], [v.value for v in theirs.trainable_variables])
    assert_close([*z, *grads], [*want, *wanted])

    own = same_initial(L.PReLU(), shape)
    z, grads = gradients(own, [x], list(own.parameters()))
    module = nn.PReLU(shape[0])
    copy_into(list(own.parameters()), list(module.parameters()))
    want, wanted = gradients(module, [x], list(module.parameters()))
    assert_close([*z, *grads], [*want, *wanted])


@parity
@given(shape=shapes, axis=st.integers(-4, 4))
def test_softmax(shape: tuple[int, ...], axis: int) -> None:
    x = torch.randn(3, *(n + 1 for n in shape)) * 3
    axis = axis % len(shape) + 1
    z, grads = gradients(L.Softmax(axis), [x], [])
    for theirs in (keras.layers.Softmax(axis), nn.Softmax(axis)):
        want, wanted = gradients(theirs, [x], [])
        assert_close([*z, *grads], [*want, *wanted])


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        (L.ReLU(), nn.ReLU()),
        (L.ReLU(6), nn.ReLU6()),
        (L.LeakyReLU(0.1), nn.LeakyReLU(0.1)),
        (L.GELU(), nn.GELU()),
        (L.GELU(approximate=True), nn.GELU("tanh")),
        (L.Sigmoid(), nn.Sigmoid()),
        (L.HardSigmoid(), nn.Hardsigmoid()),
        (L.Tanh(), nn.Tanh()),
        (L.SELU(), nn.SELU()),
        (L.SiLU(), nn.SiLU()),
        (L.Softplus(), nn.Softplus()),
    ],
    ids=str,
)
@parity
@given(shape=shapes)
def test_against_torch(own: L.Layer, theirs: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(3, *shape) * 3
    z, grads = gradients(own, [x], [])
    want, wanted = gradients(theirs, [x], [])
    assert_close([*z, *grads], [*want, *wanted])
