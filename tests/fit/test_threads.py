"""Small perceptrons are computed by one thread, everything else by as many as before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import laminar as lm
from laminar import layers as L
from laminar.callbacks import LambdaCallback


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads_of(model: lm.Model, shape: tuple[int, ...], **options: Any) -> set[int]:
    """Return how many threads there are while a network is trained."""
    seen: set[int] = set()
    model.compile("sgd", "mse")
    x, y = torch.zeros(12, *shape), torch.zeros(12, 3)
    look = LambdaCallback(on_batch_end=lambda model, state: seen.add(torch.get_num_threads()))
    model.fit(x, y, callbacks=[look], verbose=0, **options)
    assert torch.get_num_threads() == 2
    return seen


def test_a_small_perceptron_has_one() -> None:
    layers = [L.Dense(5, "relu"), L.BatchNormalization(), nn.Dropout(0.1), nn.Linear(5, 3)]
    assert threads_of(lm.Sequential(layers), (7,)) == {1}
    assert threads_of(lm.Sequential([L.Flatten(), L.Dense(3)]), (2, 3)) == {1}


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([L.Conv2D(2, 3), L.Flatten(), L.Dense(3)], (1, 5, 5)),
        ([L.LSTM(4), L.Dense(3)], (5, 2)),
        ([L.Dense(2000), L.Dense(1000), L.Dense(3)], (7,)),
        ([L.MaxPooling2D(2), L.Flatten(), L.Dense(3)], (1, 4, 4)),
    ],
    ids=["convolution", "recurrent", "large", "images"],
)
def test_others_have_two(layers: list[nn.Module], shape: tuple[int, ...]) -> None:
    assert threads_of(lm.Sequential(layers), shape) == {2}


def test_evaluation_and_prediction_have_as_many_as_training(monkeypatch: pytest.MonkeyPatch) -> None:
    for layers, expected in (([L.Dense(3)], 1), ([L.Dense(4000), L.Dense(3)], 2)):
        seen: list[int] = []
        model = lm.Sequential([*layers, L.Activation(lambda x, seen=seen: (seen.append(torch.get_num_threads()), x)[1])])
        model.compile("sgd", "mse")
        x, y = torch.zeros(12, 700), torch.zeros(12, 3)
        model.build((700,))
        seen.clear()
        model.predict(x)
        model.evaluate(x, y)
        assert set(seen) == {expected}
        assert torch.get_num_threads() == 2


def test_they_are_put_back_when_training_fails() -> None:
    def fail(model: nn.Module, state: Any) -> None:
        raise RuntimeError("out")

    model = lm.Sequential([L.Dense(3)])
    model.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match="out"):
        model.fit(torch.zeros(4, 2), torch.zeros(4, 3), callbacks=[LambdaCallback(on_batch_end=fail)], verbose=0)
    assert torch.get_num_threads() == 2
