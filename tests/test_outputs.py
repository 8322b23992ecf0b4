"""`layer_outputs`: against running the layers one after the other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import laminar as lm
from laminar import layers as L
from laminar.errors import LayerError, UnknownNameError


def test_outputs_are_those_of_the_layers_in_inference_mode() -> None:
    model = lm.Sequential([L.Conv2D(4, 3), L.BatchNormalization(), L.MaxPooling2D(2), L.Flatten(), L.Dense(3)])
    model.build((1, 8, 8), seed=0)
    model.train()
    x = torch.rand(2, 1, 8, 8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = lm.layer_outputs(model, x)
    assert list(found) == ["conv2d", "batch_normalization", "max_pooling2d", "flatten", "dense"]
    assert model.training
    assert model[1].training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    z = x
    for layer, output in zip(model.eval(), found.values(), strict=True):
        z = layer(z)
        assert torch.equal(z, output)
        assert not output.requires_grad
    assert list(lm.layer_outputs(model, x, "max_pooling2d")) == ["max_pooling2d"]
    assert torch.equal(lm.layer_outputs(model, x.numpy())["dense"], found["dense"]), "an array will do"
    assert not any(sub._forward_hooks for sub in model.modules())


def test_layers_inside_others_and_several_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
            self.unused = nn.Linear(1, 1)

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            first: torch.Tensor = self.inner(a) + self.inner(b)
            return first

    model, a, b = Two(), torch.rand(2, 3), torch.rand(2, 3)
    found = lm.layer_outputs(model, (a, b))
    assert list(found) == ["inner/0", "inner/1"]
    assert torch.equal(found["inner/1"], model.inner(b)), "the last call"
    assert torch.equal(lm.layer_outputs(model, (a, b), "inner")["inner"], model.inner(b))
    with pytest.raises(LayerError) as e:
        lm.layer_outputs(model, (a, b), "unused")
    assert str(e.value) == (
        "layer 'unused': expected a call in the network's forward, received none. Ask for one of those that are called."
    )
    with pytest.raises(UnknownNameError, match=r"layer_outputs: layer 'iner' is unknown\. Did you mean 'inner'"):
        lm.layer_outputs(model, (a, b), "iner")


def test_hooks_are_taken_away_when_the_network_fails() -> None:
    model = nn.Sequential(nn.Linear(3, 2)).train()
    with pytest.raises(RuntimeError):
        lm.layer_outputs(model, torch.zeros(1, 4))
    assert not model[0]._forward_hooks
    assert model[0].training
