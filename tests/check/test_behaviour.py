"""Every check of behaviour: what it says of a layer that misbehaves, word for word, and that it lets right ones pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from check import behaving as b
from check.behaving import Make, outcome
from torch import nn
from torch.nn.utils import weight_norm
from torch.nn.utils.parametrizations import spectral_norm

import laminar as lm
from laminar import layers as L
from laminar.check.settings import settings

# check, layer, shape, expected, found, cause, fix
WRONG: list[tuple[str, Make, Any, str, str, str, str]] = [
    (
        "observations-independent",
        b.Centred,
        (4,),
        "the output of an observation to be the same in inference, whatever else is in the batch",
        "observation 2 changes by up to 0.761, where the largest number is 0.772, when observation 0 is replaced by another",
        "it depends on the others through their mean alone: with another spread about it nothing changes",
        'Compute over the axes of one observation, which are those after axis 0. If it is meant, write declares = ("always batch",) in the class, or pass declares=("always batch",) to check_layer',
    ),
    (
        "observations-independent",
        lambda: b.Function(lambda x: x / x.std(0)),
        (4,),
        "the output of an observation to be the same in inference, whatever else is in the batch",
        "observation 1 changes by up to 1.68, where the largest number is 1.22, when observation 3 is replaced by another",
        "with the others mirrored about their mean, which keeps their mean and variance, nothing changes",
        'Compute over the axes of one observation, which are those after axis 0. If it is meant, write declares = ("always batch",) in the class, or pass declares=("always batch",) to check_layer',
    ),
    (
        "observations-independent",
        lambda: b.Function(torch.relu, lambda x: x - x.mean(0)),
        (4,),
        "the output of an observation to be the same in training, whatever else is in the batch",
        "observation 2 changes by up to 0.761, where the largest number is 0.772, when observation 0 is replaced by another",
        "it depends on the others through their mean alone: with another spread about it nothing changes",
        'Compute over the axes of one observation, which are those after axis 0. If it is meant, write declares = ("batch",) in the class, or pass declares=("batch",) to check_layer',
    ),
    (
        "observations-independent",
        lambda: b.Function(b.seldom_coupled),
        (4,),
        "the output of an observation to be the same in inference, whatever else is in the batch",
        "observation 0 changes by up to 0.89, where the largest number is 1.78, when the others are 10 000 times as large",
        "",
        'Compute over the axes of one observation, which are those after axis 0. If it is meant, write declares = ("always batch",) in the class, or pass declares=("always batch",) to check_layer',
    ),
    (
        "observations-independent",
        lambda: b.Function(b.spread_by_zero),
        (4,),
        "the output of an observation to be the same in inference, whatever else is in the batch",
        "observation 0 changes in which numbers are finite, when the others are NaN",
        "",
        'Compute over the axes of one observation, which are those after axis 0. If it is meant, write declares = ("always batch",) in the class, or pass declares=("always batch",) to check_layer',
    ),
    (
        "observations-independent",
        lambda: b.Function(lambda x: x / x.shape[0]),
        (4,),
        "the output of an observation to be the same in inference, whatever else is in the batch",
        "observation 0 changes by up to 1.34, where the largest number is 0.445, when it is alone in the batch",
        "its output depends on the number of observations",
        "Divide by nothing that counts the observations, as x.shape[0]",
    ),
    (
        "observations-independent",
        lambda: b.Function(lambda x: x + torch.arange(len(x))[:, None]),
        (4,),
        "the output of an observation to be the same in inference, whatever else is in the batch",
        "observation 1 changes by up to 1, where the largest number is 2.14, when it is alone in the batch",
        "its output depends on its place in the batch",
        "Count positions along an axis of the observation, not axis 0",
    ),
    (
        "observations-independent",
        lambda: b.Function(lambda x: x + x.roll(1, 0)),
        (4,),
        "the output of an observation to be the same in inference, whatever else is in the batch",
        "observation 1 changes by up to 3.05, where the largest number is 2.38, when observation 0 is replaced by another",
        "each observation depends on the one before it in the batch",
        'Compute over the axes of one observation, which are those after axis 0. If it is meant, write declares = ("always batch",) in the class, or pass declares=("always batch",) to check_layer',
    ),
    (
        "observations-independent",
        lambda: nn.GRU(4, 3),
        (5, 4),
        "the output of an observation to be the same in inference, whatever else is in the batch",
        "observation 2 changes by up to 0.672, where the largest number is 0.809, when observation 1 is replaced by another",
        "GRU has batch_first=False: it takes axis 0 for the steps",
        "Pass batch_first=True to GRU",
    ),
    (
        "batch-order",
        lambda: b.Function(lambda x: x.cumsum(0)),
        (4,),
        "the batch in another order to give the same outputs in that order, in inference",
        "the observations 2, 0, 3, 1 of a batch, in this order, differ by up to 2.38, where the largest number is 4.36",
        "",
        "Let axis 0 be: positions, shifts and sums over steps belong to the axes after it",
    ),
    (
        "batch-order",
        lambda: b.Function(lambda x: x + torch.arange(len(x))[:, None]),
        (4,),
        "the batch in another order to give the same outputs in that order, in inference",
        "the observations 2, 0, 3, 1 of a batch, in this order, differ by up to 2, where the largest number is 2.88",
        "",
        "Let axis 0 be: positions, shifts and sums over steps belong to the axes after it",
    ),
    (
        "input-unchanged",
        lambda: nn.ReLU(inplace=True),
        (4,),
        "the input to be as before, after forward in inference",
        "9 of its 16 numbers changed by up to 1.86, where the largest number is 1.86",
        "ReLU has inplace=True",
        "Pass inplace=False to ReLU, or give it a tensor that nobody else has",
    ),
    (
        "input-unchanged",
        lambda: b.InPlace(lambda x: x.clamp_(-100, 100)),
        (4,),
        "the input to be as before, after forward in inference",
        "it was written to, with the same numbers this time",
        "",
        "Compute a new tensor, z = x + 1 and not x += 1",
    ),
    (
        "input-unchanged",
        lambda: b.InPlace(lambda x: x.detach().add_(1)),
        (4,),
        "the input to be as before, after forward in inference",
        "16 of its 16 numbers changed by up to 1, where the largest number is 1.86",
        "",
        "Compute a new tensor, z = x + 1 and not x += 1",
    ),
    (
        "input-unchanged",
        lambda: b.InPlace(lambda x: x.squeeze_()),
        (1,),
        "the input to be as before, after forward in inference",
        "its shape became (4,)",
        "",
        "Compute a new tensor, z = x + 1 and not x += 1",
    ),
    (
        "input-unchanged",
        lambda: b.Function(lambda x, y: y.neg_()),
        ((4,), (4,)),
        "input 1 to be as before, after forward in inference",
        "16 of its 16 numbers changed by up to 3.57, where the largest number is 1.78",
        "",
        "Compute a new tensor, z = x + 1 and not x += 1",
    ),
    (
        "input-unchanged",
        b.Halved,
        (4,),
        "the output gradient to be as before, after backward in inference",
        "16 of its 16 numbers changed by up to 0.793, where the largest number is 1.59",
        "",
        "Compute a new tensor in backward: dz belongs to the layer behind, and to others",
    ),
    (
        "input-unchanged",
        b.Clipped,
        (4,),
        "the learnable 'weight' to be as before, after forward in inference",
        "4 of its 4 numbers changed by up to 0.997, where the largest number is 1.5",
        "",
        "Compute a new tensor from it, as w = self.weight.clamp(-1, 1); only the optimizer writes to learnables",
    ),
    (
        "input-unchanged",
        lambda: b.Function(b.with_anomalies),
        (4,),
        "torch.is_anomaly_enabled() to be False after a call in inference, as before",
        "True",
        "",
        "Set nothing that holds for the whole program, or only in a with-block, as torch.no_grad()",
    ),
    (
        "input-unchanged",
        lambda: b.Function(torch.relu, b.in_double),
        (4,),
        "torch.get_default_dtype() to be torch.float32 after a call in training, as before",
        "torch.float64",
        "",
        "Set nothing that holds for the whole program, or only in a with-block, as torch.no_grad()",
    ),
    (
        "no-hidden-state",
        b.Last,
        (4,),
        "the same output in inference for the same input after other calls",
        "it differs by up to 0.215, where the largest number is 1.36",
        "self.last keeps something from an earlier call: with its first value the output is right",
        'Keep nothing from call to call, or register what training keeps on purpose: self.register_buffer("kept", torch.zeros(shape)) in __init__',
    ),
    (
        "no-hidden-state",
        b.Counted,
        (4,),
        "the same output in training for the same input after other calls",
        "it differs by up to 0.227, where the largest number is 0.681",
        "self.calls keeps something from an earlier call: with its first value the output is right",
        "Keep nothing from call to call, or register what training keeps on purpose: self.kept = self.state(shape) in build",
    ),
    (
        "no-hidden-state",
        lambda: b.Smoothed(buffer=False),
        (4,),
        "the same output in inference for the same input after a call in training",
        "it differs by up to 0.041, where the largest number is 1.86",
        "self.mean keeps something from an earlier call: with its first value the output is right",
        'Keep nothing from call to call, or register what training keeps on purpose: self.register_buffer("kept", torch.zeros(shape)) in __init__',
    ),
    (
        "no-hidden-state",
        b.AlsoInInference,
        (4,),
        "inference to leave what is kept as it is",
        "the buffer 'seen' changed by up to 1, where the largest number is 2",
        "",
        'Write to it where self.training is true alone. If it is meant, write declares = ("always state",) in the class, or pass declares=("always state",) to check_layer',
    ),
    (
        "no-hidden-state",
        b.Reused,
        (4,),
        "the output of a call to stay as it is",
        "it is overwritten by the next call",
        "",
        "Return a new tensor from each call, or a clone() of the one that is kept",
    ),
    (
        "no-hidden-state",
        b.Switching,
        (4,),
        "a layer in training to be in training after a call",
        "modules in the other mode: 1 of 1",
        "",
        "Call neither train() nor eval() in forward",
    ),
    (
        "modes-declared",
        lambda: b.Function(torch.relu, torch.tanh),
        (4,),
        "training and inference to be the same, as nothing else is declared",
        "they differ by up to 0.953, where the largest number is 1.14",
        "",
        'Use self.training for nothing but what is declared. If it is meant, write declares = ("modes",) in the class, or pass declares=("modes",) to check_layer',
    ),
    (
        "modes-declared",
        lambda: b.Function(torch.relu, lambda x: x - x.mean(0)),
        (4,),
        "training and inference to be the same, as nothing else is declared",
        "they differ by up to 1.5, where the largest number is 1.14",
        "",
        'Use self.training for nothing but what is declared. If it is meant, write declares = ("batch",) in the class, or pass declares=("batch",) to check_layer',
    ),
    (
        "modes-declared",
        b.Unscaled,
        (4,),
        "training to equal inference on average over what is drawn",
        "24 % of the numbers become 0 and the others are multiplied by 1: 0.759 times the output of inference on average",
        "",
        'Divide what is kept by the probability of keeping it. If it is meant, write declares = ("modes",) in the class, or pass declares=("modes",) to check_layer',
    ),
]

# check, layer, shape, status, summary
RIGHT: list[tuple[str, Make, Any, str, str]] = [
    (
        "observations-independent",
        lambda: nn.GRU(4, 3, batch_first=True),
        (5, 4),
        "pass",
        "the same in any company: in inference and in training",
    ),
    (
        "observations-independent",
        lambda: nn.BatchNorm1d(4, track_running_stats=False),
        (4,),
        "not applicable",
        'declares "always batch"',
    ),
    (
        "observations-independent",
        lambda: nn.BatchNorm1d(4),
        (4,),
        "pass",
        'the same in any company: in inference; declares "batch" in training',
    ),
    ("observations-independent", nn.RReLU, (4,), "pass", "the same in any company: in inference and in training"),
    (
        "observations-independent",
        lambda: b.Function(torch.mean),
        (4,),
        "not applicable",
        "no tensor of its output has an axis of observations",
    ),
    (
        "batch-order",
        lambda: b.Function(torch.relu, lambda x: x.flip(0), ("batch",)),
        (4,),
        "pass",
        "the outputs follow the order of the batch in inference and training",
    ),
    ("batch-order", b.Centred, (4,), "pass", "the outputs follow the order of the batch in inference and training"),
    ("batch-order", nn.Dropout, (4,), "pass", "the outputs follow the order of the batch in inference"),
    (
        "batch-order",
        lambda: nn.FractionalMaxPool2d(2, output_ratio=0.5),
        (2, 6, 6),
        "not applicable",
        "it draws other numbers for each place in the batch",
    ),
    (
        "batch-order",
        lambda: b.Function(torch.mean),
        (4,),
        "not applicable",
        "no tensor of its output has an axis of observations",
    ),
    (
        "input-unchanged",
        lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True)),
        (4,),
        "pass",
        "input, output gradient, learnables and settings are as they were",
    ),
    (
        "input-unchanged",
        lambda: nn.Embedding(5, 3),
        (4,),
        "pass",
        "input, output gradient, learnables and settings are as they were",
    ),
    (
        "no-hidden-state",
        lambda: b.Smoothed(buffer=True),
        (4,),
        "pass",
        "the same output after other calls, but for what its buffers keep in training",
    ),
    ("no-hidden-state", lambda: b.AlsoInInference(("always state",)), (4,), "not applicable", 'declares "always state"'),
    ("no-hidden-state", b.Remembering, (4,), "pass", "the same output after other calls"),
    ("no-hidden-state", nn.Flatten, (4, 2), "pass", "the same output after other calls"),
    ("no-hidden-state", lambda: L.LSTM(2, stateful=True), (3, 2), "not applicable", 'declares "always state"'),
    ("modes-declared", b.Covered, (4,), "pass", 'they differ, as declared: "modes" and "random"'),
    ("modes-declared", b.OldDropout, (4,), "pass", 'they differ, as declared: "random"'),
    ("modes-declared", b.TokenDropout, (4,), "pass", 'they differ, as declared: "random"'),
    ("modes-declared", lambda: nn.BatchNorm1d(4), (4,), "pass", 'they differ, as declared: "batch"'),
    ("modes-declared", lambda: spectral_norm(nn.Linear(4, 3)), (4,), "pass", "the same in training and in inference"),
    ("modes-declared", nn.ReLU, (4,), "pass", "the same in training and in inference"),
    ("modes-declared", lambda: b.Noise(always=True), (4,), "not applicable", "means nothing while deterministic fails"),
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


def test_what_a_layer_sets_for_the_whole_program_is_set_back() -> None:
    before = settings()
    report = lm.check_layer(lambda: b.Function(b.with_anomalies, b.in_double), (4,), show=False)
    assert settings() == before
    assert report["input-unchanged"].status.value == "fail"
    assert report["builds"].status.value == "pass"


@pytest.mark.parametrize("check", sorted({*NAMES, "deterministic"}))
def test_a_layer_that_cannot_be_copied_is_made_anew(check: str) -> None:
    """A weight norm of torch's old kind keeps a tensor inside a graph."""

    def make() -> nn.Module:
        return weight_norm(nn.Linear(4, 3))

    with pytest.warns(FutureWarning):
        make()
    assert outcome(check, make, (4,)).status.value == "pass"


class TakesOverTheDtype(nn.Module):
    """Makes the input's dtype that of all new tensors."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.set_default_dtype(x.dtype)
        return x * torch.ones(4)


def test_a_default_dtype_set_to_that_of_the_input() -> None:
    found = lm.check_layer(TakesOverTheDtype(), 4, checks=["input-unchanged"], show=False)["input-unchanged"]
    assert found.expected == "torch.get_default_dtype() to be torch.float32 after a call in inference, as before"
    assert found.found == "torch.float64"
