"""The two blocks of ResNet-50 that are asked about: identity block and convolution block, line by line, and what they compute.

Each is compared with a network written out in `torch.nn`, with the same weights, in double precision: outputs and gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.shapes import output_shape, trace

Filters = tuple[int, int, int]


def component(filters: int, size: int, strides: int = 1, activation: str | None = "relu") -> list[nn.Module]:
    """Return Conv2D, BatchNormalization and activation."""
    convolution = L.Conv2D(filters, size, strides=strides, padding=size // 2)
    layers: list[nn.Module] = [convolution, L.BatchNormalization()]
    return [*layers, L.Activation(activation)] if activation else layers


def identity_block(size: int, filters: Filters) -> L.Residual:
    """Return the block that keeps the shape: 1×1, 3×3, 1×1, around which the input itself goes."""
    f1, f2, f3 = filters
    return L.Residual([*component(f1, 1), *component(f2, size), *component(f3, 1, activation=None)], activation="relu")


def convolutional_block(size: int, filters: Filters, s: int = 2, on_first: bool = True) -> L.Residual:
    """Return the block that changes it: the stride is on the first 1×1 (the paper's) or on the 3×3, and a projection follows."""
    f1, f2, f3 = filters
    main = [
        *component(f1, 1, s if on_first else 1),
        *component(f2, size, 1 if on_first else s),
        *component(f3, 1, activation=None),
    ]
    return L.Residual(main, shortcut=component(f3, 1, s, activation=None), activation="relu")


class Handwritten(nn.Module):
    """The same block in torch.nn, without anything of Laminar."""

    def __init__(self, channels: int, size: int, filters: Filters, strides: tuple[int, int], projected: bool) -> None:
        super().__init__()
        f1, f2, f3 = filters
        self.conv1, self.bn1 = nn.Conv2d(channels, f1, 1, strides[0]), nn.BatchNorm2d(f1)
        self.conv2, self.bn2 = nn.Conv2d(f1, f2, size, strides[1], padding=size // 2), nn.BatchNorm2d(f2)
        self.conv3, self.bn3 = nn.Conv2d(f2, f3, 1), nn.BatchNorm2d(f3)
        if projected:
            self.conv4, self.bn4 = nn.Conv2d(channels, f3, 1, strides[0] * strides[1]), nn.BatchNorm2d(f3)
        self.projected = projected

    def forward(self, x: Tensor) -> Tensor:
        z = torch.relu(self.bn1(self.conv1(x)))
        z = torch.relu(self.bn2(self.conv2(z)))
        z = self.bn3(self.conv3(z))
        around = self.bn4(self.conv4(x)) if self.projected else x
        return torch.relu(z + around)


def length(n: int, f: int, p: int, s: int) -> int:
    """Return the output's height or width, from the formula of the answer."""
    return (n + 2 * p - f) // s + 1


def compare(block: L.Residual, theirs: nn.Module, x: Tensor) -> None:
    """Compare outputs and all gradients of two networks, with the weights of the second, in training and at inference."""
    trace(block, x.shape[1:])
    block.double()
    theirs.double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) * 0.3)
        for own, other in zip(block.parameters(), theirs.parameters(), strict=True):
            own.copy_(other)
    for training in (True, False):
        results = []
        for module in (block, theirs):
            module.train(training)
            given = x.clone().requires_grad_()
            z = module(given)
            dz = torch.sin(torch.arange(z.numel(), dtype=z.dtype)).reshape(z.shape)
            results.append([z.detach(), *torch.autograd.grad(z, [given, *module.parameters()], dz)])
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_identity_block() -> None:
    """R26: output of the input's shape, for the first stage's numbers; equal to torch's by hand."""
    block = identity_block(3, (64, 64, 256))
    assert output_shape(block, (256, 56, 56)) == (256, 56, 56)
    compare(
        identity_block(3, (4, 4, 6)), Handwritten(6, 3, (4, 4, 6), (1, 1), projected=False), torch.randn(3, 6, 7, 8).double()
    )


@pytest.mark.parametrize("on_first", [True, False], ids=["stride on the first 1x1", "stride on the 3x3"])
@pytest.mark.parametrize("s", [1, 2])
def test_convolutional_block(on_first: bool, s: int) -> None:
    """R26: both places of the stride give the shape (n + 2p − f)/s + 1; the projection brings the shortcut to it."""
    block = convolutional_block(3, (128, 128, 512), s, on_first)
    found = trace(block, (256, 56, 56))
    shapes = {r.path: r.outputs[0] for r in found.records}
    first = length(56, 1, 0, s if on_first else 1)
    assert shapes["main/conv2d"] == (128, first, first)
    second = length(first, 3, 1, 1 if on_first else s)
    assert shapes["main/conv2d_1"] == (128, second, second)
    assert shapes["shortcut/conv2d"] == (512, length(56, 1, 0, s), length(56, 1, 0, s))
    assert found.outputs == ((512, second, second),)

    theirs = Handwritten(5, 3, (4, 4, 6), (s, 1) if on_first else (1, s), projected=True)
    compare(convolutional_block(3, (4, 4, 6), s, on_first), theirs, torch.randn(3, 5, 8, 8).double())


@pytest.mark.parametrize(("on_first", "seen"), [(True, "every second pixel"), (False, "all")])
def test_what_the_strided_block_looks_at(on_first: bool, seen: str) -> None:
    """The question that was asked: yes, a 1×1 convolution of stride 2 passes over three of four pixels; a 3×3 sees them all."""
    strided = L.Conv2D(4, 1, strides=2, padding="valid")
    x = torch.randn(1, 3, 8, 8, requires_grad=True)
    (dx,) = torch.autograd.grad(strided(x).square().sum(), x)
    looked = (dx != 0).any(1)[0]
    assert torch.equal(looked.nonzero().remainder(2), torch.zeros(16, 2, dtype=torch.int64))
    torch.testing.assert_close(strided(x), nn.functional.conv2d(x[:, :, ::2, ::2], strided.weight, strided.bias))

    block = convolutional_block(3, (4, 4, 6), 2, on_first)
    assert isinstance(block.main, nn.Module)
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    (dx,) = torch.autograd.grad(block.main(x).square().sum(), x)
    share = float((dx.abs().sum((0, 1)) > 1e-12).double().mean())
    assert share == {"every second pixel": 0.25, "all": 1.0}[seen]


def test_without_a_projection_it_says_which_one_fits() -> None:
    """Shapes that cannot be added: both are named, and the convolution to write."""
    block = L.Residual([*component(128, 1, 2), *component(128, 3), *component(512, 1, activation=None)], activation="relu")
    with pytest.raises(
        lm.errors.ShapeError, match=r"\(batch, 512, 28, 28\).*\(batch, 256, 56, 56\).*Conv2D\(512, 1, strides=2\)"
    ):
        trace(block, (256, 56, 56))


def test_a_stage_of_resnet_50_has_its_published_parameters() -> None:
    """Stage 2 of three blocks: 215 808 parameters with biases left out, 75 008 in its first and 70 400 in each other block."""

    def without_bias(block: L.Residual) -> L.Residual:
        for module in block.modules():
            if isinstance(module, L.Conv2D):
                module.options = {**module.options, "use_bias": False}
        return block

    blocks: list[Callable[[], Any]] = [
        lambda: convolutional_block(3, (64, 64, 256), s=1),
        lambda: identity_block(3, (64, 64, 256)),
        lambda: identity_block(3, (64, 64, 256)),
    ]
    stage = lm.Sequential([without_bias(make()) for make in blocks]).build((64, 56, 56), seed=0)
    assert [sum(p.numel() for p in block.parameters()) for block in stage] == [75_008, 70_400, 70_400]
    assert stage.output_shape == (256, 56, 56)
