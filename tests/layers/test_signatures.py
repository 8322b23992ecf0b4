"""How a layer is called follows from the signatures of its methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import laminar as lm
from laminar.layers.signatures import takes_several

a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[10.0, 20.0]])


class Weighted(lm.Layer):
    """a · weight + b, with a derivative of its own."""

    def build(self, first: Any, second: Any) -> None:
        self.weight = self.learnable(first, init=2.0)
        self.seen = (first, second)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a * self.weight + b

    def backward(self, x: Any, z: Tensor, dz: Tensor) -> Any:
        return (dz * self.weight, dz), (dz * x[0]).sum(0)


class Total(lm.Layer):
    """The sum of any number of inputs."""

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.stack(inputs).sum(0)


class Pair(lm.Layer):
    """One input that is a pair."""

    def forward(self, pair: Sequence[Tensor], sign: float = 1.0) -> Tensor:
        return pair[0] + sign * pair[1]


@pytest.mark.parametrize("pack", [list, tuple])
def test_inputs_in_one_list_are_the_inputs_one_after_the_other(pack: Any) -> None:
    layer = Weighted()
    assert torch.equal(layer(pack([a, b])), layer(a, b))
    assert layer.seen == ((2,), (2,))
    assert torch.equal(Total()(pack([a, b, b])), a + 2 * b)
    assert torch.equal(Total()(pack([a])), a)


def test_the_derivative_and_hooks_see_them_apart() -> None:
    layer = Weighted()
    x, y = a.clone().requires_grad_(), b.clone().requires_grad_()
    received: list[int] = []
    layer.register_forward_pre_hook(lambda _, inputs: received.append(len(inputs)))
    gradients = torch.autograd.grad(layer([x, y]).sum(), (x, y, layer.weight))
    assert received == [2]
    assert [g.tolist() for g in gradients] == [[[2.0, 2.0]], [[1.0, 1.0]], [1.0, 2.0]]


def test_a_layer_of_one_input_that_is_a_pair_gets_the_pair() -> None:
    assert torch.equal(Pair()((a, b)), a + b)
    assert torch.equal(Pair()([a, b], sign=-1.0), a - b)


def test_what_does_not_ask_for_two_inputs_has_one() -> None:
    class Bare:
        forward = len

    class Keyword:
        def forward(self, x: Tensor, *, factor: float) -> Tensor:
            return x * factor

    assert not takes_several(Bare)
    assert not takes_several(Keyword)
    assert not takes_several(type("Builtin", (), {"forward": torch.relu}))
