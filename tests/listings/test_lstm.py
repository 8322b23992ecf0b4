"""R28: the shapes and counts that the answers about LSTM units give."""

from __future__ import annotations

import torch

import laminar as lm
from laminar import layers as L


def test_three_stacked_layers() -> None:
    """Inputs of 3 features, any number of steps; 4 units, 4 units, 1 unit."""
    model = lm.Sequential(
        [L.LSTM(4, return_sequences=True), L.LSTM(4, return_sequences=True), L.LSTM(1, return_sequences=True)]
    ).build((7, 3), seed=0)
    counts = [row.learnable for row in model.summary(show=False).rows]
    assert counts == [4 * ((f + u) * u + u) for f, u in ((3, 4), (4, 4), (4, 1))]
    for steps in (1, 7, 20):
        assert model(torch.zeros(2, steps, 3)).shape == (2, steps, 1), "the weights do not depend on the number of steps"


def test_sequences_and_states() -> None:
    x = torch.randn(5, 20, 3)
    assert L.LSTM(4)(x).shape == (5, 4)
    assert L.LSTM(4, return_sequences=True)(x).shape == (5, 20, 4)
    z, h, c = L.LSTM(4, return_sequences=True, return_state=True)(x)
    assert (z.shape, h.shape, c.shape) == ((5, 20, 4), (5, 4), (5, 4))
    assert torch.equal(z[:, -1], h)


def test_look_back_as_in_the_question() -> None:
    """`LSTM(4, input_shape=(1, look_back))`: one step of look_back features; the answer's (look_back, 1) has as many steps."""
    look_back = 8
    assert L.LSTM(4).explain((1, look_back)).parameters == 4 * ((look_back + 4) * 4 + 4) == 208
    assert L.LSTM(4).explain((look_back, 1)).parameters == 4 * ((1 + 4) * 4 + 4) == 96
    text = str(L.LSTM(4).explain((1, look_back)))
    assert "4·((8+4)·4+4) = 208" in text.replace(" + ", "+")
