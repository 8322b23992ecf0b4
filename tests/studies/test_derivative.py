"""The demo's check of a derivative: it passes what is right and finds what is wrong, by how much."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import laminar as lm
from laminar import layers as L
from laminar.errors import LayerError
from laminar.studies.derivative import derivative_errors
from laminar.studies.own_elu import OwnELU


@pytest.mark.parametrize("layer", [OwnELU(), L.ELU("uniform", learnable=True), L.ELU(0.3)])
@pytest.mark.parametrize("shape", [(3,), (2, 5), (2, 3, 4), (2, 2, 2, 2)])
def test_right_ones_pass(layer: lm.Layer, shape: tuple[int, ...]) -> None:
    fresh = type(layer)() if isinstance(layer, OwnELU) else layer
    if fresh.built:
        fresh = L.ELU("uniform", learnable=True)
    errors = derivative_errors(fresh, shape)
    assert errors.from_autograd <= 1e-12
    assert errors.from_differences <= 1e-7


def faulty(change: Any) -> lm.Layer:
    class Faulty(OwnELU):
        def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Any:
            return change(*super().backward(x, z, dz))

    return Faulty()


@pytest.mark.parametrize(
    ("change", "least"),
    [
        (lambda dx, da: (-dx, da), 1.0),
        (lambda dx, da: (dx * 1.01, da), 0.009),
        (lambda dx, da: (dx, da / 3), 0.5),
        (lambda dx, da: (dx, torch.zeros_like(da)), 0.9),
    ],
)
def test_wrong_ones_are_found_by_both(change: Any, least: float) -> None:
    errors = derivative_errors(faulty(change), (2, 3, 3))
    assert errors.from_autograd >= least
    assert errors.from_differences >= least


def test_a_layer_without_backward_is_told() -> None:
    with pytest.raises(LayerError) as caught:
        derivative_errors(L.Flatten(), (2, 2))
    assert str(caught.value) == "layer 'flatten' (Flatten): expected a backward of its own, received none. Define backward."


def test_the_layer_is_not_changed() -> None:
    layer = OwnELU()
    derivative_errors(layer, (2, 3, 3))
    assert not layer.built
