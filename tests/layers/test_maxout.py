"""Maxout against its formula in NumPy float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError, UnknownNameError
from laminar.seeding import seeded
from laminar.shapes import trace


@given(
    units=st.integers(1, 4),
    k=st.integers(1, 4),
    features=st.integers(1, 5),
    steps=st.lists(st.integers(1, 3), max_size=2),
    bias=st.booleans(),
)
def test_formula(units: int, k: int, features: int, steps: list[int], bias: bool) -> None:
    """R8: z_i = max_j (x · W[:, i, j] + b[i, j]) with W of d×m×k, its value and its gradients."""
    layer = L.Maxout(units, k, use_bias=bias, bias_initializer="normal").double()
    x = torch.randn(3, *steps, features, dtype=torch.float64, requires_grad=True)
    z = layer(x)
    a = x.detach().numpy()
    w = layer.weight.detach().numpy().reshape(units, k, features).transpose(2, 0, 1)  # (d, m, k)
    b = layer.bias.detach().numpy().reshape(units, k) if layer.bias is not None else np.zeros((units, k))
    planes = np.einsum("...d,dmk->...mk", a, w) + b
    np.testing.assert_allclose(z.detach().numpy(), planes.max(-1), rtol=1e-12, atol=1e-12)

    dz = torch.randn_like(z)
    got = torch.autograd.grad(z, [x, *layer.parameters()], dz)
    chosen = np.eye(k)[planes.argmax(-1)] * dz.numpy()[..., None]  # only the largest plane learns
    np.testing.assert_allclose(got[0].numpy(), np.einsum("...mk,dmk->...d", chosen, w), rtol=1e-10, atol=1e-12)
    dw = chosen.reshape(-1, units * k).T @ a.reshape(-1, features)
    np.testing.assert_allclose(got[1].numpy(), dw, rtol=1e-10, atol=1e-12)
    if bias:
        np.testing.assert_allclose(got[2].numpy(), chosen.reshape(-1, units * k).sum(0), rtol=1e-10, atol=1e-12)


def test_two_planes_are_a_leaky_relu() -> None:
    """The document's way to it: the maximum of one plane and a multiple of it."""
    leaky = L.Maxout(1, 2, kernel_initializer=torch.tensor([[1.0], [0.1]]))
    x = torch.linspace(-3, 3, 13)[:, None]
    torch.testing.assert_close(leaky(x), L.LeakyReLU(0.1)(x))


def test_it_starts_as_a_dense_layer_of_all_planes_would() -> None:
    maxout, dense = L.Maxout(5, 3, name="same"), L.Dense(15, name="same")
    with seeded(0):
        trace(maxout, (4,))
        trace(dense, (4,))
    assert torch.equal(maxout.weight, dense.weight)


def test_what_it_explains() -> None:
    layer = L.Maxout(5, 3)
    assert str(layer.explain((4,))).splitlines() == [
        "Maxout(units=5, k=3): (4,) → (5,)",
        "  parameters: 5 units of 3 planes of 4 weights + 15 biases = 75",
    ]
    assert L.Maxout(5, 3, use_bias=False).explain((2, 4)).lines == ("parameters: 5 units of 3 planes of 4 weights = 60",)


def test_what_it_refuses() -> None:
    for make, text in (
        (lambda: L.Maxout(0), "Maxout(units=): expected a whole number of at least 1, received 0. Pass 1 or more."),
        (lambda: L.Maxout(2, 1.5), "Maxout(k=): expected a whole number of at least 1, received 1.5. Pass 1 or more."),  # type: ignore[arg-type]  # what it says of it
    ):
        with pytest.raises(ArgumentError) as caught:
            make()
        assert str(caught.value) == text
    with pytest.raises(UnknownNameError):
        L.Maxout(2, activation="relu")  # type: ignore[call-arg]  # the maximum is its activation
    with pytest.raises(ShapeError) as refused:
        L.Maxout(2)(torch.zeros(3))
    assert str(refused.value) == (
        "layer 'maxout' (Maxout, units=2, k=2): expected input (batch, features), received (batch,), 1 axis. Pass x[:, None]."
    )
    layer = L.Maxout(2)
    layer(torch.zeros(3, 4))
    with pytest.raises(ShapeError) as refused:
        layer(torch.zeros(3, 5))
    assert str(refused.value) == (
        "layer 'maxout' (Maxout, units=2, k=2): expected input of 4 features, received (batch, 5), 5 features. "
        "Give it 4 features, or build a new layer."
    )
