"""R17, R27: kernels that span several channels, against SciPy; and a convolution with a hand-written derivative."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from check.reference import OwnConv
from scipy.signal import convolve, correlate
from torch import Tensor

from laminar import layers as L


def made(filters: int, size: int, *shape: int) -> tuple[OwnConv, L.Conv2D, Tensor]:
    """Return both layers with the same random weights, in float64, and a batch."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, *shape, generator=generator, dtype=torch.float64)
    own, library = OwnConv(filters, size), L.Conv2D(filters, size)
    own(x), library(x)
    with torch.no_grad():
        for p in own.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
    library.load_state_dict(own.state_dict())
    return own, library, x


def test_a_kernel_of_several_channels_gives_one_map_the_sum_over_channels() -> None:
    """The question of R27: 64 kernels of 32×5×5 on 32 channels give 64 maps, not 64 times 32."""
    own, library, x = made(64, 5, 32, 14, 14)
    assert library.weight.shape == (64, 32, 5, 5)
    assert sum(p.numel() for p in library.parameters()) == 51_264
    z = library(x[:1])[0].detach().numpy()
    assert z.shape == (64, 10, 10)
    image, weight, bias = x[0].numpy(), library.weight.detach().numpy(), library.bias.detach().numpy()
    for f in range(64):
        (volume,) = correlate(image, weight[f], mode="valid", method="direct")  # one place along the channels: they coincide
        np.testing.assert_allclose(z[f], volume + bias[f], rtol=0, atol=1e-11)
        if f < 3:
            maps = [correlate(image[c], weight[f, c], mode="valid", method="direct") for c in range(32)]
            np.testing.assert_allclose(z[f], np.sum(maps, axis=0) + bias[f], rtol=0, atol=1e-11)
    torch.testing.assert_close(own(x), library(x), rtol=0, atol=1e-11)


def test_what_it_explains() -> None:
    assert str(L.Conv2D(64, 5).explain((32, 14, 14))) == (
        "Conv2D(filters=64, kernel_size=(5, 5)): (32, 14, 14) → (64, 10, 10)\n"
        "  height: (14 − 5 + 2·0)/1 + 1 = 10\n"
        "  width: (14 − 5 + 2·0)/1 + 1 = 10\n"
        "  every kernel spans all 32 input channels, and its output is the sum over them\n"
        "  parameters: 64 kernels of 32×5×5 + 64 biases = 51 264"
    )


def test_the_example_of_r17() -> None:
    """7×7×3 with two 3×3×3 kernels and stride 2 gives 3×3×2: each place is a sum of 27 products and a bias."""
    layer = L.Conv2D(2, 3, strides=2, bias_initializer="uniform").double()
    x = torch.randn(1, 3, 7, 7, dtype=torch.float64)
    z = layer(x).detach()
    weight, bias = layer.weight.detach(), layer.bias.detach()
    assert z.shape == (1, 2, 3, 3)
    for f, i, j in np.ndindex(2, 3, 3):
        want = (x[0, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] * weight[f]).sum() + bias[f]
        assert float(z[0, f, i, j]) == pytest.approx(float(want), abs=1e-12)
    explained = L.Conv2D(2, 3, strides=2).explain((3, 7, 7))
    assert explained.lines[0] == "height: (7 − 3 + 2·0)/2 + 1 = 3"
    assert explained.lines[-1] == "parameters: 2 kernels of 3×3×3 + 2 biases = 56"


def test_the_hand_written_derivative_equals_autograd() -> None:
    own, library, x = made(4, 3, 2, 6, 5)
    dz = torch.randn(3, 4, 4, 3, dtype=torch.float64)
    results = []
    for layer in (own, library):
        inputs = x.clone().requires_grad_()
        results.append(torch.autograd.grad(layer(inputs), [inputs, *layer.parameters()], dz))
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(own, [x[:2].clone().requires_grad_()])


def test_the_hand_written_derivative_equals_scipy() -> None:
    """dW[f, c] = Σ over the batch of x[b, c] ⋆ dz[b, f]; dx[b, c] = Σ over f of dz[b, f] ∗ W[f, c], in full."""
    own, _, x = made(4, 3, 2, 6, 5)
    inputs = x.clone().requires_grad_()
    dz = torch.randn(3, 4, 4, 3, dtype=torch.float64)
    dx, dweight, dbias = (g.numpy() for g in torch.autograd.grad(own(inputs), [inputs, own.weight, own.bias], dz))
    for f, c in np.ndindex(4, 2):
        want = sum(correlate(x[b, c].numpy(), dz[b, f].numpy(), mode="valid") for b in range(3))
        np.testing.assert_allclose(dweight[f, c], want, rtol=0, atol=1e-12)
    weight = own.weight.detach().numpy()
    for b, c in np.ndindex(3, 2):
        want = sum(convolve(dz[b, f].numpy(), weight[f, c], mode="full") for f in range(4))
        np.testing.assert_allclose(dx[b, c], want, rtol=0, atol=1e-12)
    np.testing.assert_allclose(dbias, dz.sum((0, 2, 3)).numpy(), rtol=0, atol=1e-12)


def test_both_train_to_the_same_weights() -> None:
    """Ten steps of SGD through a network around each."""
    ends = []
    for layer in made(4, 3, 2, 6, 5)[:2]:
        network = torch.nn.Sequential(layer, torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(48, 1, dtype=torch.float64))
        torch.nn.init.constant_(network[3].weight, 0.1)
        torch.nn.init.zeros_(network[3].bias)
        x = made(4, 3, 2, 6, 5)[2]
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
        for _ in range(10):
            optimizer.zero_grad()
            ((network(x) - 1) ** 2).mean().backward()
            optimizer.step()
        ends.append([p.detach() for p in network.parameters()])
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
