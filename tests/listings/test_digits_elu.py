"""R5: the two posts' programs on digits, line by line, with a layer written by hand; few images and one epoch here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import laminar as lm
from laminar import layers as L


class EluLayer(lm.Layer):
    """The posts' layer: told its number of channels, one learned alpha for each, its derivative by hand."""

    def __init__(self, num_channels: int, name: str | None = None) -> None:
        super().__init__(name=name)
        self.alpha = self.learnable(num_channels, init="uniform")

    @property
    def description(self) -> str:
        return f"Exponential linear unit with {len(self.alpha)} channels"

    def predict(self, x: Tensor) -> Tensor:
        return x * (x > 0) + self.per_channel(self.alpha, x) * (torch.exp(x.clamp(max=0)) - 1) * (x <= 0)

    forward = predict

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        dx = dz * ((x > 0) + (self.per_channel(self.alpha, x) + z) * (x <= 0))
        dalpha = (torch.exp(x.clamp(max=0)) - 1) * (x <= 0) * dz
        return dx, self.sum_to_channels(dalpha)


class EluLayerFixedAlpha(lm.Layer):
    """The second post's second class: alpha is an argument."""

    def __init__(self, alpha: float, name: str | None = None) -> None:
        super().__init__(name=name)
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return x * (x > 0) + self.alpha * (torch.exp(x.clamp(max=0)) - 1) * (x <= 0)

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return dz * ((x > 0) + (self.alpha + z) * (x <= 0))


def layers(form: str) -> list[Any]:
    elu = {
        "first post": lambda: [L.BatchNormalization(), EluLayer(20)],
        "second post, without normalization": lambda: [EluLayer(20)],
        "second post, alpha fixed": lambda: [EluLayerFixedAlpha(1.0)],
        "Laminar's own": lambda: [L.BatchNormalization(), L.ELU("uniform", learnable=True)],
        "Laminar's own, fixed": lambda: [L.ELU(1.0)],
    }[form]()
    return [L.Normalization("zerocenter"), L.Conv2D(20, 5), *elu, L.Flatten(), L.Dense(10), L.Softmax()]


@pytest.mark.parametrize(
    "form",
    [
        "first post",
        "second post, without normalization",
        "second post, alpha fixed",
        "Laminar's own",
        "Laminar's own, fixed",
    ],
)
def test_the_program_runs(form: str) -> None:
    (x_train, y_train), (x_test, y_test) = lm.data.digits(n_train=400, n_test=200)
    net = lm.Sequential(layers(form))
    net.compile(optimizer="sgdm", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    net.fit(x_train, y_train, epochs=4, batch_size=32, seed=0, verbose=0)
    y_pred = net.classify(x_test)
    accuracy = np.sum(y_test == y_pred) / y_test.size
    assert accuracy == pytest.approx(net.evaluate(x_test, y_test)["accuracy"])
    assert accuracy > 0.4, "ten classes: chance gives 0.1"


def test_the_layers_by_hand_are_those_of_the_house() -> None:
    """Same outputs and gradients in float64, and alpha of the fixed one does not learn."""
    x = torch.randn(3, 20, 4, 4, dtype=torch.float64, requires_grad=True)
    own, house = EluLayer(20).double(), L.ELU("uniform", learnable=True)
    house.double()(x)
    with torch.no_grad():
        house.get_parameter("alpha").copy_(own.alpha)
    dz = torch.randn_like(x)
    some = torch.autograd.grad(own(x), [x, own.alpha], dz)
    others = torch.autograd.grad(house(x), [x, house.get_parameter("alpha")], dz)
    torch.testing.assert_close(some, others)
    fixed = EluLayerFixedAlpha(1.0)
    assert list(fixed.parameters()) == []
    torch.testing.assert_close(fixed(x), torch.nn.functional.elu(x))
    assert own.description == "Exponential linear unit with 20 channels"
