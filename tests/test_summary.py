"""The table of a network: literal for small ones, and its figures those of the network for all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.errors import NotBuiltError
from laminar.shapes import trace
from laminar.summary import Summary, summarize


def table(network: nn.Module, *shapes: tuple[int, ...], dtype: torch.dtype | None = None) -> Summary:
    return summarize(network, trace(network, *shapes, dtype=dtype), shapes)


def test_the_table_of_a_small_network(capsys: pytest.CaptureFixture[str]) -> None:
    network = lm.Sequential([
        L.Conv2D(20, 5), L.BatchNormalization(), L.ELU("uniform", learnable=True), L.Flatten(), L.Dense(10, activation="softmax"),
    ]).build((1, 28, 28))  # fmt: skip
    network[1].trainable = False
    text = """\
Sequential, input (1, 28, 28)
path                 layer                                   output        learnable  frozen  multiply-adds
-----------------------------------------------------------------------------------------------------------
conv2d               Conv2D(filters=20, kernel_size=(5, 5))  (20, 24, 24)        520       0        288,000
batch_normalization  BatchNormalization                      (20, 24, 24)          0      40              0
elu                  ELU(alpha='uniform', learnable)         (20, 24, 24)         20       0              0
flatten              Flatten                                 (11520,)              0       0              0
dense                Dense(units=10, activation='softmax')   (10,)           115,210       0        115,200
-----------------------------------------------------------------------------------------------------------
total                                                                        115,750      40        403,200"""
    found = network.summary()
    assert str(found) == text
    assert capsys.readouterr().out == text + "\n"
    assert repr(found) == "<Summary: 5 layers, 115,790 parameters>"


def test_a_layer_used_twice_has_two_rows_and_its_parameters_once() -> None:
    shared = L.Dense(4, name="shared")
    network = lm.Sequential([shared, nn.ReLU(), nn.Sequential(shared, nn.Linear(4, 2))]).build((4,))
    assert (
        str(network.summary(show=False))
        == """\
Sequential, input (4,)
path          layer           output  learnable  frozen  multiply-adds
----------------------------------------------------------------------
shared        Dense(units=4)  (4,)           20       0             16
re_lu         ReLU            (4,)            0       0              0
shared        Dense(units=4)  (4,)            0       0             16
sequential/1  Linear          (2,)           10       0              8
----------------------------------------------------------------------
total                                        30       0             40"""
    )


class Tied(nn.Module):
    """Two modules with one weight between them, a parameter of its own, a list of parameters, a module that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(7, 3), nn.Linear(3, 7, bias=False)
        self.out.weight = self.embed.weight
        self.scale = nn.Parameter(torch.ones(3))
        self.shifts = nn.ParameterList([nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3), requires_grad=False)])
        self.unused = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.out(self.embed(x) * self.scale + self.shifts[0] + self.shifts[1])
        return result


def test_parameters_outside_the_layers_that_are_called_have_a_row_too() -> None:
    assert (
        str(table(Tied(), (5,), dtype=torch.int64))
        == """\
Tied, input (5,)
path           layer      output  learnable  frozen  multiply-adds
------------------------------------------------------------------
embed          Embedding  (5, 3)         21       0              0
out            Linear     (5, 7)          0       0            105
(the network)  Tied       (5, 7)         10       3            105
------------------------------------------------------------------
total                                    31       3            105"""
    )


def test_one_module_alone_is_the_network() -> None:
    assert (
        str(table(nn.Linear(3, 2), (3,)))
        == """\
Linear, input (3,)
path           layer   output  learnable  frozen  multiply-adds
---------------------------------------------------------------
(the network)  Linear  (2,)            8       0              6
---------------------------------------------------------------
total                                  8       0              6"""
    )


def test_torch_s_attention_has_the_projections_that_it_does_not_call() -> None:
    rows = table(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (6, 8)).rows
    assert [(r.path, r.learnable) for r in rows if r.learnable] == [
        ("self_attn", 4 * 8 * 8 + 4 * 8), ("norm1", 16), ("linear1", 144), ("linear2", 136), ("norm2", 16),
    ]  # fmt: skip


class TwoWays(lm.Model):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = L.Dense(3), L.Dense(2)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return self.left(a), self.right(b)


def test_several_inputs_and_outputs() -> None:
    class Splits(lm.Layer):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x[:, :1]

    assert table(nn.Sequential(Splits()), (3,)).rows[0].output == ((3,), (1,))
    network = TwoWays().build((4,), (5,))
    assert str(network.summary(show=False)).splitlines()[0] == "TwoWays, input (4,) (5,)"
    assert "(3,) (1,)" in str(table(nn.Sequential(Splits()), (3,)))


def frozen_half() -> nn.Module:
    network = lm.Sequential([L.Conv2D(4, 3, activation=L.ELU(0.3, learnable=True)), L.Flatten(), L.Dense(3)]).build((1, 6, 6))
    network[0].freeze("weight")
    network[2].trainable = False
    return network


@pytest.mark.parametrize(
    ("make", "shape", "dtype"),
    [
        (frozen_half, (1, 6, 6), None),
        (Tied, (5,), torch.int64),
        (lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True).encoder, (6, 8), None),
        (lambda: nn.Sequential(nn.LSTM(4, 3, batch_first=True)), (5, 4), None),
        (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), L.Dense(2)), (1, 5, 5), None),
        (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))), (3,), None),
    ],
)
def test_figures_are_those_of_the_network(make: Any, shape: tuple[int, ...], dtype: torch.dtype | None) -> None:
    network = make()
    found = table(network, shape, dtype=dtype)
    learnable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    assert (found.learnable, found.frozen) == (learnable, frozen)
    assert sum(r.learnable for r in found.rows) == learnable
    assert sum(r.frozen for r in found.rows) == frozen
    assert found.multiply_adds == trace(network, shape, dtype=dtype).records[-1].multiply_adds


def test_a_network_that_has_seen_no_shape() -> None:
    with pytest.raises(NotBuiltError) as caught:
        lm.Sequential([L.Dense(2)]).summary()
    assert str(caught.value) == (
        "Sequential.summary: expected a network that knows its input shape, received one that has not seen data yet. "
        "Call model.build((channels, height, width)) first."
    )
