"""Perceptrons that one kernel computes predict many observations at a time; all other networks as many as were asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.fit.forward import Execution
from laminar.fit.rows import rows_at_once
from laminar.kernels.library import library, reason_without
from laminar.kernels.perceptron import perceptron

pytestmark = pytest.mark.skipif(library(torch.float32) is None, reason=f"no kernels here: {reason_without()}")


def network(*layers: nn.Module, features: int = 7) -> lm.Sequential:
    model = lm.Sequential([L.Dense(20, "relu"), L.BatchNormalization(), *layers, L.Dense(3, "softmax")])
    model.build((features,), seed=0).compile("sgd", "sparse_categorical_crossentropy", device="cpu")
    return model


def rows(n: int = 100, features: int = 7) -> Tensor:
    return torch.randn(n, features, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many observations the kernel was given each time."""
    found: list[int] = []

    def noted(x: Tensor, *rest: Any) -> Tensor:
        found.append(len(x))
        return perceptron(x, *rest)

    monkeypatch.setattr("laminar.layers.stretch.perceptron", noted)
    return found


def test_after_the_first_batch_there_are_as_many_as_are_worth_their_while(sizes: list[int]) -> None:
    model, x = network(), rows(20000)
    found = model.predict(x, batch_size=16)
    assert sizes == [16, 8192, 8192, 3600]
    model.compile("sgd", "sparse_categorical_crossentropy", engine="eager", device="cpu")
    torch.testing.assert_close(found, model.predict(x))
    assert len(sizes) == 4


def test_a_large_batch_stays_one(sizes: list[int]) -> None:
    network().predict(rows(20000), batch_size=10000)
    assert sizes == [10000, 10000]


def test_long_rows_are_fewer(sizes: list[int]) -> None:
    network(features=4000).predict(rows(2500, 4000), batch_size=100)
    assert sizes == [100, 2097, 303]


@pytest.mark.parametrize("kind", [np.asarray, lambda x: x.double(), lambda x: torch.utils.data.TensorDataset(x, x)])
def test_every_kind_of_data(kind: Callable[[Tensor], Any]) -> None:
    model, x = network(), rows(70)
    torch.testing.assert_close(torch.as_tensor(model.predict(kind(x), batch_size=8)), model.predict(x, batch_size=1000))


def test_images_that_are_flattened(sizes: list[int]) -> None:
    model = (
        lm.Sequential([L.Flatten(), L.Dense(5), L.BatchNormalization(), L.ReLU(), L.Dense(3)]).build((2, 3, 4), seed=0).eval()
    )
    x = torch.rand(50, 2, 3, 4)
    torch.testing.assert_close(model.predict(x, batch_size=10), model(x))  # the second without kernels
    assert sizes == [10, 40]


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.register_forward_hook(lambda module, args, output: None),
        lambda model: model[0].register_forward_hook(lambda module, args, output: None),
        lambda model: setattr(model[0], "forward", model[0].forward),
        lambda model: setattr(model[2], "activation", torch.sin),
    ],
    ids=["hook of the network", "hook of a layer", "somebody else's forward", "another activation"],
)
def test_where_somebody_could_see_it_batches_are_as_asked(change: Callable[[lm.Sequential], object]) -> None:
    model = network().eval()
    assert rows_at_once(model, Execution("auto")) == 1  # with gradients
    with torch.no_grad():
        assert rows_at_once(model, Execution("auto")) == 8192
        change(model)
        assert rows_at_once(model, Execution("auto")) == 1


@pytest.mark.parametrize("columns", [slice(0, 7), slice(0, 14, 2)], ids=["some of several", "every second"])
def test_rows_that_are_not_one_behind_the_other_come_as_asked(columns: slice) -> None:
    """No kernel takes them: what torch keeps of each layer has to stay as small as the batch."""
    model, wide = network(), rows(100, 14)
    seen: list[int] = []
    linear = nn.functional.linear

    def noted(x: Tensor, *rest: Any) -> Tensor:
        seen.append(len(x))
        return linear(x, *rest)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nn.functional, "linear", noted)
        found = model.predict(wide[:, columns], batch_size=30)
    torch.testing.assert_close(found, model.predict(wide[:, columns].contiguous()))
    assert max(seen) == 30


def test_a_layer_in_many_places_counts_as_often() -> None:
    again = L.Dense(200)
    model = lm.Sequential([again, L.ReLU(), again, L.ReLU(), again, L.ReLU(), again]).build((200,), seed=0).eval()
    with torch.no_grad():
        assert rows_at_once(model, Execution("auto")) == 1


def test_a_forward_put_into_flatten_sees_them_too() -> None:
    model = lm.Sequential([L.Flatten(), L.Dense(5), L.BatchNormalization(), L.Dense(3)]).build((2, 3), seed=0)
    seen: list[int] = []
    model[0].forward = lambda x: (seen.append(len(x)), x.flatten(1))[1]  # type: ignore[assignment]  # for the time being
    model.predict(torch.rand(100, 2, 3), batch_size=30)
    assert seen == [30, 30, 30, 10]


def test_a_hook_sees_the_batches_that_were_asked_for() -> None:
    model, seen = network(), list[int]()
    model[1].register_forward_hook(lambda module, args, output: seen.append(len(output)))
    model.predict(rows(), batch_size=30)
    assert seen == [30, 30, 30, 10]


@pytest.mark.parametrize("model", [nn.Sequential(nn.Linear(3, 2), nn.ReLU()), nn.Linear(3, 2), lm.Sequential([L.Flatten()])])
def test_networks_that_do_not_tell_their_input(model: nn.Module) -> None:
    with torch.no_grad():
        assert rows_at_once(model.eval(), Execution("auto")) == 1


@pytest.mark.parametrize("execution", [Execution("eager"), Execution("auto", bfloat16=True)], ids=["eager", "bfloat16"])
def test_other_ways_to_compute_are_as_asked(execution: Execution) -> None:
    with torch.no_grad():
        assert rows_at_once(network().eval(), execution) == 1
