"""The parts of a network and of what `evaluate` returns: by position, by name or path; states of layers inside."""

from __future__ import annotations

import pickle

import pytest
import torch

import laminar as lm
from laminar import layers as L
from laminar.errors import UnknownNameError


def test_layers_by_position_and_path() -> None:
    block = lm.Sequential([L.Dense(3), L.ReLU()], name="block")
    chain = lm.Sequential([L.Flatten(), block, L.Dense(2)])
    assert chain.layers == [chain[0], chain["block"], chain[-1]]
    assert chain["block/dense"] is block[0]
    inputs = lm.Input((4,))
    model = lm.Model(inputs, L.Dense(2, name="out")(L.Dense(3)(inputs)))
    assert (model["out"], model["dense"]) == (model[1], model[0])
    with pytest.raises(UnknownNameError, match=r"layer 'outt' is unknown\. Did you mean 'out'\?"):
        model["outt"]


def test_states_of_layers_inside_start_anew() -> None:
    model = lm.Sequential([L.LSTM(3, return_sequences=True, stateful=True), lm.Sequential([L.GRU(2, stateful=True)])])
    model.build((4, 2), seed=0).eval()
    x = torch.randn(5, 4, 2)
    first, second = model(x), model(x)
    assert not torch.equal(first, second)
    model.reset_states()
    assert torch.equal(model(x), first)


def test_figures_by_name_and_by_position() -> None:
    model = lm.Sequential([L.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x := torch.randn(9, 4), y := torch.arange(9) % 3, verbose=0)
    score = model.evaluate(x, y)
    assert (score[0], score[1]) == (score["loss"], score["accuracy"]) == tuple(score.values())
    assert {**score} == score == pickle.loads(pickle.dumps(score))
    with pytest.raises(UnknownNameError, match=r"figure 'acuracy' is unknown\. Did you mean 'accuracy'\?"):
        score["acuracy"]
    with pytest.raises(IndexError):
        score[2]
