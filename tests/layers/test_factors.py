"""Factors of the learning rate: where they are set, how they multiply, that they are copied and shown."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, UnknownNameError


def test_factors_multiply_along_the_path() -> None:
    """A network, a block, a layer, a learnable; with slashes or dots; any torch module is a part."""
    model = lm.Sequential([nn.Sequential(nn.Linear(3, 4), nn.ReLU()), L.Dense(2)]).build((3,))
    L.set_learning_rate_factor(model, 0.5)
    L.set_learning_rate_factor(model, 0.5, "sequential")
    L.set_learning_rate_factor(model, 3, "sequential/0")
    L.set_learning_rate_factor(model, 2, "sequential.0.bias")
    model["dense"].learning_rate_factor = 4
    assert L.learning_rate_factors(model) == {
        "sequential.0.weight": 0.75,
        "sequential.0.bias": 1.5,
        "dense.weight": 2.0,
        "dense.bias": 2.0,
    }
    assert (model["dense"].learning_rate_factor, L.Dense(2).learning_rate_factor) == (4.0, 1.0)


def test_a_layer_that_is_not_built_takes_its_factors_along() -> None:
    model = lm.Sequential([L.Dense(2, name="head")])
    L.set_learning_rate_factor(model, 0.1, "head/bias")
    model.build((3,))
    for other in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert L.learning_rate_factors(other) == {"head.weight": 1.0, "head.bias": 0.1}
    assert list(model.state_dict()) == ["head.weight", "head.bias"]


def test_a_shared_learnable_has_the_factor_of_its_first_name() -> None:
    one, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.weight = one.weight
    L.set_learning_rate_factor(one, 0.5)
    L.set_learning_rate_factor(other, 2)
    assert L.learning_rate_factors(nn.Sequential(one, other)) == {"0.weight": 0.5, "0.bias": 0.5, "1.bias": 2.0}


def test_the_summary_shows_them() -> None:
    model = lm.Sequential([L.Dense(4), nn.Linear(4, 2)]).build((3,))
    model["dense"].learning_rate_factor = 0.1
    L.set_learning_rate_factor(model, 2, "linear/bias")
    shown = [row.layer for row in model.summary(show=False).rows]
    assert shown == ["Dense(units=4, learning_rate_factor=0.1)", "Linear(learning_rate_factor of bias=2)"]


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "slow", True])
def test_a_factor_that_is_none_is_refused(value: Any) -> None:
    layer = L.Dense(2)
    with pytest.raises(ArgumentError) as e:
        layer.learning_rate_factor = value
    assert str(e.value) == (
        f"learning_rate_factor: expected a number of at least 0, received {value!r}. "
        "Set layer.learning_rate_factor = 0.1, for example."
    )


def test_an_unknown_part_is_told() -> None:
    model = lm.Sequential([L.Dense(4), L.Dense(2)]).build((3,))
    for path, message in {
        "densr": "Sequential: part 'densr' is unknown. Did you mean 'dense'? Known: dense, dense_1.",
        "dense/kernel": "Dense: part 'kernel' is unknown. Known: bias, weight.",
        "dense/bias/0": "Dense: part '0' is unknown. Known: bias, weight.",
    }.items():
        with pytest.raises(UnknownNameError) as e:
            L.set_learning_rate_factor(model, 0.1, path)
        assert str(e.value) == message
    assert set(L.learning_rate_factors(model).values()) == {1.0}


def test_torch_modules_in_compiled_graphs_do_not_mind() -> None:
    """The factor is no tensor and no submodule."""
    layer = L.Dense(2)
    layer.learning_rate_factor = 0.1
    assert torch.compile(layer, backend="eager")(torch.zeros(1, 3)).shape == (1, 2)
