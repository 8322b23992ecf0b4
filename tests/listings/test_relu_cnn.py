"""R23: the network of the question, its shapes as the question gives them, and its numbers under three initializations."""

from __future__ import annotations

import itertools
import math

from laminar.shapes import trace
from laminar.studies import initialization


def test_the_shapes_are_those_of_the_question() -> None:
    model = initialization.network("he_normal")
    outputs = [r.outputs[0] for r in trace(model, (3, 100, 100)).records if r.path]
    assert outputs == [(12, 25, 25), (12, 12, 12), (24, 12, 12), (24, 5, 5), (600,), (300,), (3,)]


def test_numbers_explode_vanish_or_stay() -> None:
    """A dense layer of n inputs multiplies the standard deviation by about std·√(n/2) under ReLU: √2 with He's, by definition."""
    found = {(o.initialization, o.layer): o for o in initialization.study(report=lambda line: None)}
    names = ("conv2d", "conv2d_1", "dense", "dense_1")
    spread = {name: [found[name, layer].output for layer in names] for name in initialization.INITIALIZATIONS}
    ratios = {name: [b / a for a, b in itertools.pairwise(values)] for name, values in spread.items()}
    assert all(r > 5 for r in ratios["N(0, 1)"])
    assert spread["N(0, 1)"][-1] > 1e4
    assert all(r < 0.5 for r in ratios["N(0, 0.01)"])
    assert spread["N(0, 0.01)"][-1] < 1e-3
    assert all(0.1 < value < 10 for value in spread["He"])
    # the same images and the same generator: the weights of the two normals differ by a factor of 100, and so their outputs by 100^depth
    for depth, (large, small) in enumerate(zip(spread["N(0, 1)"], spread["N(0, 0.01)"], strict=True), 1):
        assert math.isclose(large / small, 100**depth, rel_tol=1e-3)
