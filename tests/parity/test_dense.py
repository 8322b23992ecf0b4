"""Dense, Flatten and Reshape against `torch.nn` and Keras: same weights, random configurations."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from parity.support import assert_close, copy_into, gradients, keras, parity, same_initial
from torch import nn

from laminar import layers as L


@parity
@given(
    units=st.integers(2, 6),
    features=st.integers(1, 6),
    before=st.lists(st.integers(1, 3), max_size=2),
    bias=st.booleans(),
    activation=st.sampled_from([None, "relu", "tanh", "sigmoid", "softmax", "log_softmax"]),
)
def test_dense(units: int, features: int, before: list[int], bias: bool, activation: str | None) -> None:
    shape = (*before, features)
    own = same_initial(L.Dense(units, activation, use_bias=bias), shape)
    x = torch.randn(3, *shape)
    z, grads = gradients(own, [x], list(own.parameters()))

    theirs = keras.layers.Dense(units, activation, use_bias=bias)
    theirs.build((None, *shape))
    copy_into([own.weight.T, *([own.bias] if bias else [])], theirs.variables)
    want, wanted = gradients(theirs, [x], [v.value for v in theirs.trainable_variables])
    assert_close(z, want)
    assert_close([grads[0], grads[1].T, *grads[2:]], wanted)

    if activation is None:
        linear = nn.Linear(features, units, bias=bias)
        copy_into(list(own.parameters()), list(linear.parameters()))
        want, wanted = gradients(linear, [x], list(linear.parameters()))
        assert_close([*z, *grads], [*want, *wanted])


@parity
@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=3), split=st.integers(0, 3))
def test_flatten_and_reshape(shape: list[int], split: int) -> None:
    """Channels first or not, what is flattened keeps its order."""
    new = (*sorted(shape)[:split], -1)
    x = torch.randn(2, *shape)
    for own, theirs, torchs in (
        (L.Flatten(), keras.layers.Flatten(), nn.Flatten()),
        (L.Reshape(new), keras.layers.Reshape(new), nn.Unflatten(1, new) if len(shape) == 1 else None),
    ):
        z, grads = gradients(own, [x], [])
        want, wanted = gradients(theirs, [x], [])
        assert_close([*z, *grads], [*want, *wanted], bound=0)
        if torchs is not None:
            want, wanted = gradients(torchs, [x], [])
            assert_close([*z, *grads], [*want, *wanted], bound=0)
