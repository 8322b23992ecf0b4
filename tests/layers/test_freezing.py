"""R3: what learns and what does not, switched at any time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.errors import UnknownNameError
from laminar.layers.freezing import set_trainable


class Scale(lm.Layer):
    """A factor for each channel."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.factor = self.learnable(shape[0], init="uniform")

    def forward(self, x: Tensor) -> Tensor:
        return x * self.per_channel(self.factor, x)


class Two(lm.Layer):
    """Two inputs, two outputs, two learnables."""

    def build(self, a: tuple[int, ...], b: tuple[int, ...]) -> None:
        self.u = self.learnable(a[0], init="uniform")
        self.v = self.learnable(b[0], init="uniform")

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        p, q = a * self.per_channel(self.u, a), b * self.per_channel(self.v, b)
        return p * q, p + q


def test_trainable_remembers_what_was_frozen_by_name() -> None:
    layer = Two()
    x = torch.randn(4, 3)
    layer(x, x)
    layer.freeze("u")
    layer.trainable = False
    assert not layer.v.requires_grad
    layer.trainable = True
    assert layer.v.requires_grad
    assert not layer.u.requires_grad


def test_freezing_before_the_layer_is_built() -> None:
    layer = Scale()
    layer.freeze("factor")
    layer(torch.zeros(1, 3))
    assert not layer.factor.requires_grad
    whole = Scale()
    whole.trainable = False
    whole(torch.zeros(1, 3))
    assert not whole.factor.requires_grad
    whole.trainable = True
    assert whole.factor.requires_grad


def test_freezing_keeps_the_optimizer_s_state_of_the_others() -> None:
    torch.manual_seed(0)
    layer = Two()
    x = torch.randn(4, 3)
    layer(x, x)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        sum(t.square().sum() for t in layer(x, x)).backward()  # type: ignore[union-attr]
        optimizer.step()

    step()
    held = {n: optimizer.state[p]["momentum_buffer"].clone() for n, p in layer.named_parameters()}
    layer.freeze("u")
    before = layer.u.detach().clone()
    step()
    assert torch.equal(layer.u, before)
    assert torch.equal(optimizer.state[layer.u]["momentum_buffer"], held["u"])
    assert not torch.equal(optimizer.state[layer.v]["momentum_buffer"], held["v"])


def test_a_name_frozen_before_the_build_that_the_build_does_not_declare() -> None:
    layer = Scale()
    layer.freeze("facto")
    for _ in range(2):  # a failed build leaves nothing behind
        with pytest.raises(UnknownNameError) as caught:
            layer(torch.zeros(1, 2))
        assert str(caught.value) == (
            "layer 'scale' (Scale): learnable 'facto' is unknown. Did you mean 'factor'? Known: factor."
        )
        assert not layer.built
    layer.unfreeze("facto")
    layer(torch.zeros(1, 2))
    assert layer.factor.requires_grad


def test_freezing_without_a_name_is_all_of_the_layer_s_own() -> None:
    layer = L.Conv2D(2, 1, activation=L.ELU(0.5, learnable=True))
    layer(torch.zeros(1, 1, 2, 2))
    layer.freeze()
    assert [n for n, p in layer.named_parameters() if p.requires_grad] == ["activation.alpha"]
    layer.unfreeze()
    assert all(p.requires_grad for p in layer.parameters())


def test_trainable_reaches_layers_inside_and_modules_of_torch() -> None:
    layer, linear = L.Conv2D(2, 1, activation=L.ELU(0.5, learnable=True)), nn.Linear(8, 1)
    network = nn.Sequential(layer, nn.Flatten(), linear)
    network(torch.zeros(1, 1, 2, 2))
    layer.freeze("bias")
    set_trainable(network, False)
    assert not any(p.requires_grad for p in network.parameters())
    assert (layer.trainable, layer.activation.trainable) == (False, False)
    set_trainable(network, True)
    assert (layer.trainable, layer.activation.trainable) == (True, True)
    assert [n for n, p in network.named_parameters() if not p.requires_grad] == ["0.bias"]


def test_a_frozen_layer_drops_its_old_gradient() -> None:
    """Otherwise an optimizer would go on with it."""
    layer = Scale()
    layer(torch.ones(1, 3)).sum().backward()
    assert layer.factor.grad is not None
    layer.trainable = False
    assert layer.factor.grad is None


def test_per_channel_of_a_layer_that_is_not_built() -> None:
    layer = Scale()
    assert layer.per_channel(torch.ones(3), torch.zeros(2, 3, 4)).shape == (1, 3, 1)
    assert torch.equal(layer.sum_to_channels(torch.ones(2, 3, 4)), torch.full((3,), 8.0))
