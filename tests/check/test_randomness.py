"""Where random numbers come from, in a call and in a build: what is said of it, word for word, and that right ones pass."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from check import behaving as b
from check.behaving import Make, outcome
from torch import nn

from laminar import layers as L

# check, layer, shape, expected, found, cause, fix
WRONG: list[tuple[str, Make, Any, str, str, str, str]] = [
    (
        "deterministic",
        lambda: b.Noise(declares=()),
        (4,),
        "nothing random in training, as nothing of the kind is declared",
        "two runs differ by up to 4.21, where the largest number is 4.31",
        "it draws from torch's generator",
        'If it is meant, write declares = ("random",) in the class, or pass declares=("random",) to check_layer',
    ),
    (
        "deterministic",
        lambda: b.Noise(always=True),
        (4,),
        "nothing random in inference, as nothing of the kind is declared",
        "two runs differ by up to 4.21, where the largest number is 4.31",
        "it draws from torch's generator",
        'Draw only where self.training is true. If it is meant, write declares = ("always random",) in the class, or pass declares=("always random",) to check_layer',
    ),
    (
        "deterministic",
        lambda: b.Noise(b.from_python),
        (4,),
        "torch.manual_seed alone to repeat the output in training",
        "with other seeds of NumPy and Python it differs by up to 0.822, where the largest number is 3.25",
        "it draws from Python's generator",
        "Draw from torch's generator, for example torch.rand(x.shape, device=x.device)",
    ),
    (
        "deterministic",
        lambda: b.Noise(b.from_numpy),
        (4,),
        "torch.manual_seed alone to repeat the output in training",
        "with other seeds of NumPy and Python it differs by up to 0.019, where the largest number is 3.53",
        "it draws from NumPy's generator",
        "Draw from torch's generator, for example torch.rand(x.shape, device=x.device)",
    ),
    (
        "deterministic",
        lambda: b.Noise(b.seeded_anew),
        (4,),
        "torch's generator to go on from where it is",
        "in training it is in one and the same state after the call, whatever seed it had before",
        "it is seeded inside",
        "Seed nothing inside: who trains sets the seed, once",
    ),
    (
        "deterministic",
        lambda: b.Noise(b.same_each_time),
        (4,),
        "other numbers in training for another seed of torch, and the same for the same seed",
        "another seed changes nothing; each call gives the same numbers",
        "it draws from a generator of its own",
        "Draw from torch's generator, for example torch.rand(x.shape, device=x.device), without generator=",
    ),
    (
        "deterministic",
        lambda: b.Noise(b.constant_noise),
        (4,),
        "other numbers for another seed, as the layer declares that it draws in training",
        "the same output for 8 seeds, which differs from that of inference by up to 2.33, where the largest number is 3.12",
        "",
        "Draw from torch's generator, for example torch.rand(x.shape, device=x.device), and seed nothing inside",
    ),
    (
        "deterministic",
        b.OwnGenerator,
        (4,),
        "other numbers in training for another seed of torch, and the same for the same seed",
        "another seed changes nothing; two calls differ by up to 3.12, where the largest number is 4.51",
        "it draws from a generator of its own",
        "Draw from torch's generator, for example torch.rand(x.shape, device=x.device), without generator=",
    ),
    (
        "seeded-build",
        b.ScaleOfTorch,
        (4,),
        "initial values that follow from the network's seed and the layer's path",
        "another state of torch's generator gives 'scale' other values",
        "",
        'Draw it with self.learnable(shape, init="glorot_uniform") or the like, which knows seed and path',
    ),
    (
        "seeded-build",
        b.ScaleOfNumpy,
        (4,),
        "initial values that follow from the network's seed and the layer's path",
        "another state of NumPy's and Python's generators gives 'scale' other values",
        "",
        'Draw it with self.learnable(shape, init="glorot_uniform") or the like, which knows seed and path',
    ),
    (
        "seeded-build",
        b.ScaleOfTheClock,
        (4,),
        "initial values that follow from the network's seed and the layer's path",
        "another build under the same seeds gives 'scale' other values",
        "",
        'Draw it with self.learnable(shape, init="glorot_uniform") or the like, which knows seed and path',
    ),
    (
        "seeded-build",
        b.ScaleSeeded,
        (4,),
        "torch's generator to go on from where it is",
        "it is in one and the same state after the layer was built, whatever seed it had before",
        "it is seeded inside",
        'Seed nothing inside, and draw with self.learnable(shape, init="glorot_uniform") or the like',
    ),
    (
        "seeded-build",
        b.ScaleOfOwnGenerator,
        (4,),
        "other initial values for another seed of the network",
        "'scale' has the same values for the seeds 0 and 1",
        "random numbers are drawn when it is built, from a generator that is seeded inside",
        'Draw it with self.learnable(shape, init="glorot_uniform") or the like, which knows seed and path',
    ),
    (
        "seeded-build",
        b.ScaleWithoutPlace,
        (4,),
        "other initial values for a layer at another place",
        "'scale' has the same values at the paths a/b and a/c",
        "",
        'Draw it with self.learnable(shape, init="glorot_uniform") or the like, which knows seed and path',
    ),
    (
        "seeded-build",
        b.ScaleTooEarly,
        (4,),
        "initial values that follow from the network's seed and the layer's path",
        "another state of torch's generator gives 'scale' other values",
        "",
        "Declare it in build(self, shape): no seed is known when the constructor runs",
    ),
]

# check, layer, shape, status, summary
RIGHT: list[tuple[str, Make, Any, str, str]] = [
    (
        "deterministic",
        b.Noise,
        (4,),
        "pass",
        "inference the same twice; training the same for a seed, another for another seed",
    ),
    (
        "deterministic",
        lambda: b.Noise(always=True, declares=("always random",)),
        (4,),
        "pass",
        "inference the same for a seed, another for another seed; training the same for a seed, another for another seed",
    ),
    (
        "deterministic",
        lambda: b.Noise(b.same_each_time, declares=("modes",)),
        (4,),
        "pass",
        "inference the same twice; training the same twice",
    ),
    (
        "deterministic",
        lambda: b.Function(torch.relu, declares=("random",)),
        (4,),
        "note",
        'declares "random", but nothing drawn was seen',
    ),
    ("deterministic", lambda: L.RandomBrightness(0.0), (2, 3, 3), "note", 'declares "random", but nothing drawn was seen'),
    (
        "deterministic",
        nn.RReLU,
        (4,),
        "pass",
        "inference the same twice; training the same for a seed, another for another seed",
    ),
    ("deterministic", lambda: L.MultiHeadAttention(2, 2), (3, 4), "pass", "inference the same twice; training the same twice"),
    ("seeded-build", b.Scale, (4,), "pass", "scale by seed and path"),
    ("seeded-build", b.Ramp, (4,), "pass", "its initial values are not drawn"),
    ("seeded-build", b.Around, (4,), "pass", "bias by seed and path"),
    (
        "seeded-build",
        lambda: nn.Linear(4, 2),
        (4,),
        "not applicable",
        "a module of torch draws its initial values from torch's generator",
    ),
    ("seeded-build", L.ReLU, (4,), "not applicable", "it has no initial values"),
]


def named(value: object) -> str:
    return value if isinstance(value, str) and value in NAMES else ""


NAMES = {entry[0] for entry in WRONG}


@pytest.mark.parametrize(("check", "make", "shape", "expected", "found", "cause", "fix"), WRONG, ids=named)
def test_what_is_wrong_is_said(check: str, make: Make, shape: Any, expected: str, found: str, cause: str, fix: str) -> None:
    seen = outcome(check, make, shape)
    assert (seen.status.value, seen.group) == ("fail", "behaviour")
    assert (seen.expected, seen.found, seen.cause, seen.fix) == (expected, found, cause, fix)


@pytest.mark.parametrize(("check", "make", "shape", "status", "summary"), RIGHT, ids=named)
def test_what_is_right_passes(check: str, make: Make, shape: Any, status: str, summary: str) -> None:
    seen = outcome(check, make, shape)
    assert (seen.status.value, seen.summary) == (status, summary)


def test_numbers_that_no_seed_repeats() -> None:
    seen = outcome("deterministic", lambda: b.Noise(b.from_the_clock), (4,))
    assert seen.status.value == "fail"
    assert seen.expected == "the same output in training under the same seeds of torch, NumPy and Python"
    assert seen.found.startswith("two runs differ by up to ")
    assert seen.cause == "no global generator was drawn from: the numbers come from elsewhere"
    assert seen.fix == "Draw from torch's generator, for example torch.rand(x.shape, device=x.device)"


def test_a_layer_that_was_built_before_is_not_asked_for_its_initial_values() -> None:
    layer = b.Scale()
    layer(torch.zeros(1, 4))
    for given in (layer, lambda: copy.deepcopy(layer)):
        seen = outcome("seeded-build", given, (4,))
        assert (seen.status.value, seen.summary) == (
            "not applicable",
            "it was built when it was handed over; pass the class, or an unbuilt layer",
        )


def test_who_makes_the_layer_may_seed_what_he_likes() -> None:
    def make() -> nn.Module:
        torch.manual_seed(0)
        return b.Around()

    assert outcome("seeded-build", make, (4,)).summary == "bias by seed and path"
