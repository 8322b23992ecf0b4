"""PReLU against its formula in NumPy float64, per channel, per unit, and shared along axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError, UnknownNameError
from laminar.shapes import trace


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple),
    shared=st.one_of(st.sampled_from(["positions", None]), st.sets(st.integers(1, 4))),
)
def test_formula(shape: tuple[int, ...], shared: Any) -> None:
    """R8: z = max-like rectifier with slope alpha; dL/dalpha is the sum of a · dL/dz over a ≤ 0, dL/da is dz or alpha dz."""
    if isinstance(shared, set):
        shared = sorted(n for n in shared if n <= len(shape))
    layer = L.PReLU("normal", shared).double()
    x = torch.randn(3, *shape, dtype=torch.float64)
    x.view(-1)[0] = 0.0  # where the formula counts it among a ≤ 0
    x.requires_grad_()
    z = layer(x)
    a, alpha = x.detach().numpy(), layer.alpha.detach().numpy()
    common = tuple(range(2, len(shape) + 1)) if shared == "positions" else tuple(shared or ())
    if shared == "positions":
        assert alpha.shape == shape[:1]
        alpha = alpha.reshape(-1, *(1,) * (len(shape) - 1))
    assert alpha.shape == tuple(1 if i in common else n for i, n in enumerate(shape, 1))
    np.testing.assert_allclose(z.detach().numpy(), np.where(a > 0, a, alpha * a), rtol=1e-12)

    dz = torch.randn_like(z)
    dx, dalpha = torch.autograd.grad(z, [x, layer.alpha], dz)
    g = dz.numpy()
    np.testing.assert_allclose(dx.numpy(), np.where(a > 0, g, alpha * g), rtol=1e-12)
    want = np.where(a <= 0, a * g, 0).sum((0, *common), keepdims=True)[0]
    np.testing.assert_allclose(dalpha.numpy().reshape(want.shape), want, rtol=1e-10, atol=1e-12)


def test_it_is_a_relu_at_first_and_learns_unless_frozen() -> None:
    x = torch.randn(4, 3)
    layer = L.PReLU()
    assert torch.equal(layer(x), x.relu())
    layer.freeze("alpha")
    assert not layer.alpha.requires_grad
    torch.testing.assert_close(L.PReLU(0.25)(x), nn.PReLU()(x))


def test_what_it_explains() -> None:
    assert L.PReLU().explain((16, 5, 5)).lines == ("parameters: 16 slopes = 16",)
    assert L.PReLU(shared_axes=None).explain((16, 5, 5)).lines == ("parameters: 16×5×5 slopes = 400",)
    assert L.PReLU(shared_axes=[2]).explain((16, 5, 5)).lines == ("parameters: 16×1×5 slopes = 80",)
    shown = [repr(layer) for layer in (L.PReLU(), L.PReLU(0.25, None), L.PReLU(shared_axes=(2, 3)))]
    assert shown == ["PReLU()", "PReLU(alpha_initializer=0.25, shared_axes=None)", "PReLU(shared_axes=(2, 3))"]


def test_what_it_refuses() -> None:
    for shared in ("channels", 0, (2, -1), [True]):
        with pytest.raises(ArgumentError) as caught:
            L.PReLU(shared_axes=shared)  # type: ignore[arg-type]  # what it says of it
        assert str(caught.value) == (
            f'PReLU(shared_axes=): expected "positions", None, or axes of the batch from 1, received {shared!r}. '
            "Pass (2, 3) for height and width, say."
        )
    with pytest.raises(UnknownNameError):
        L.PReLU("quarter")


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (
            L.PReLU(),
            (),
            "layer 'p_re_lu' (PReLU): expected input (batch, channels, ...), received (batch,), 1 axis. Pass x[:, None].",
        ),
        (
            L.PReLU(shared_axes=(2, 3)),
            (4, 5),
            "layer 'p_re_lu' (PReLU, shared_axes=(2, 3)): expected a batch with an axis 3, received (batch, 4, 5). "
            "Pass shared_axes of 1, 2.",
        ),
    ],
)
def test_shapes_it_refuses(layer: L.Layer, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        trace(layer, shape)
    assert str(caught.value) == text


def test_another_shape_than_it_was_built_for() -> None:
    layer = L.PReLU(shared_axes=None)
    layer(torch.zeros(1, 3, 4))
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(1, 3, 5))
    assert str(caught.value) == (
        "layer 'p_re_lu' (PReLU, shared_axes=None): expected input for its alpha of shape (3, 4), received (batch, 3, 5), "
        "which needs one of shape (3, 5). Give it the shape that it was built for, or build a new layer."
    )
