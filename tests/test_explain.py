"""`model.explain()`: a part for each row of the summary, whose equations hold, and whose parameters add up to the network's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.errors import NotBuiltError


def branches() -> lm.Model:
    """A functional network: a shared layer, modules of torch, two outputs."""
    x = lm.Input((3, 7, 7))
    y = L.Conv2D(2, 3, strides=2)(x)
    h = nn.BatchNorm2d(2)(y).flatten(1)
    shared = L.Dense(18, name="shared")
    return lm.Model(x, [shared(shared(h)), nn.Linear(18, 4)(h)])


class ByHand(lm.Model):
    """A subclass with a parameter of its own and a layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.unused, self.scale = L.Dense(4), nn.Linear(2, 2), nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x) * self.scale


NETWORKS: list[Any] = [
    (branches, None),
    (ByHand, (5,)),
    (lambda: lm.Sequential([L.Conv2D(4, 3), L.BatchNormalization(), nn.ReLU(), L.Flatten(), L.Dense(3)]), (1, 6, 6)),
    (lambda: lm.Sequential([nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), L.Flatten(), L.Dense(2)]), (5, 8)),
    (lambda: lm.Sequential([nn.Linear(4, 4)] * 2 + [lm.Sequential([L.Dense(3)])]), (4,)),
]


@pytest.mark.parametrize(("make", "shape"), NETWORKS)
def test_the_parts_are_the_summary_s_rows(make: Any, shape: Any) -> None:
    model = make()
    model.build(*([] if shape is None else [shape]))
    table, found = model.summary(show=False), model.explain(show=False)
    assert [p.title.split(": ")[0] for p in found.parts] == [r.path for r in table.rows]
    assert [p.outputs for p in found.parts] == [r.output for r in table.rows]
    assert [p.parameters for p in found.parts] == [r.learnable + r.frozen for r in table.rows]
    assert found.parameters == table.learnable + table.frozen == sum(p.numel() for p in model.parameters())
    left, _, right = found.lines[0].removeprefix("parameters: ").partition(" = ")
    assert sum(int(n.replace(" ", "")) for n in left.split(" + ")) == found.parameters == int((right or left).replace(" ", ""))


def test_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a network that has no parameters yet: it stays so."""
    model = branches()
    found = model.explain()
    assert capsys.readouterr().out == str(found) + "\n"
    assert list(model.conv2d.parameters()) == []
    assert (
        str(found)
        == """\
Model: (3, 7, 7) → (18,) and (4,)
  parameters: 56 + 4 + 342 + 76 = 478
conv2d: Conv2D(filters=2, kernel_size=(3, 3), strides=(2, 2)): (3, 7, 7) → (2, 3, 3)
  height: (7 − 3 + 2·0)/2 + 1 = 3
  width: (7 − 3 + 2·0)/2 + 1 = 3
  every kernel spans all 3 input channels, and its output is the sum over them
  parameters: 2 kernels of 3×3×3 + 2 biases = 56
batch_norm2d: BatchNorm2d: (2, 3, 3) → (2, 3, 3)
  weight: 2 = 2
  bias: 2 = 2
  parameters: 2 + 2 = 4
shared: Dense(units=18): (18,) → (18,)
  parameters: 18 units of 18 weights + 18 biases = 342
shared: Dense(units=18): (18,) → (18,)
  parameters: 18 units of 18 weights + 18 biases = 342
  counted in another row
linear: Linear: (18,) → (4,)
  weight: 4×18 = 72
  bias: 4 = 4
  parameters: 72 + 4 = 76"""
    )


def test_before_a_shape_is_known() -> None:
    with pytest.raises(NotBuiltError, match=r"Sequential\.explain: expected a network that knows its input shape"):
        lm.Sequential([L.Dense(2)]).explain()
