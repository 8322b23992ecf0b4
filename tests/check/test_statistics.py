"""Running statistics: what is said of wrong ones, word for word, and that what is right, or no statistic, is let pass."""

from __future__ import annotations

import pytest
import torch
from check.behaving import Make, outcome
from check.keeping import Annealed, Codebook, Memory, Range, Renormalized, Rows, Standard, Totals, tenth
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm

from laminar import layers as L

LESS = "one batch to replace less than half of what is kept"
SHOWN = "inference to equal training, shown one batch until what is kept stands still"
EXCHANGE = "Exchange the weights: running = 0.9 * running + 0.1 * new. A momentum of 0.1 is the weight of the new value in torch, of the old one in Keras"
ADD_UP = "Let the weights of old and new add up to 1: running = 0.9 * running + 0.1 * new"

# layer, expected, found, cause, fix
WRONG: list[tuple[Make, str, str, str, str]] = [
    (
        lambda: Standard(lambda old, new: 0.1 * old + 0.9 * new),
        LESS,
        "it replaces 90 % of 'mean', which keeps 10 % of what it was",
        "",
        EXCHANGE,
    ),
    (
        lambda: Standard(of_var=lambda old, new: 0.1 * old + 0.9 * new),
        LESS,
        "it replaces 90 % of 'var', which keeps 10 % of what it was",
        "",
        EXCHANGE,
    ),
    (lambda: Standard(lambda old, new: new), LESS, "it replaces 100 % of 'mean', which keeps 0 % of what it was", "", EXCHANGE),
    (
        lambda: nn.BatchNorm1d(4, momentum=0.9),
        LESS,
        "it replaces 90 % of 'running_mean', which keeps 10 % of what it was",
        "",
        EXCHANGE,
    ),
    (
        lambda: L.BatchNormalization(momentum=0.1),
        LESS,
        "it replaces 90 % of 'running_mean', which keeps 10 % of what it was",
        "",
        EXCHANGE,
    ),
    (
        lambda: Standard(lambda old, new: old, lambda old, new: old),
        "inference to equal training, shown one batch for long",
        "they differ by up to 13.5, where the largest number is 2.68: inference uses 'mean' and 'var', and training changes nothing",
        "",
        "Write to the buffer in training: self.mean.lerp_(mean, 0.1), with the underscore",
    ),
    (
        lambda: Standard(lambda old, new: old),
        SHOWN,
        "they differ by up to 2.04, where the largest number is 2.68",
        "inference is right with the batch's mean in 'mean', which training never changes",
        "Keep the mean of the batch in 'mean'",
    ),
    (
        lambda: Standard(of_var=lambda old, new: tenth(old, new.sqrt())),
        SHOWN,
        "they differ by up to 2.42, where the largest number is 2.68",
        "inference is right with the square of 'var', which holds its root",
        "Keep the square",
    ),
    (
        lambda: Standard(of_var=lambda old, new: tenth(old, new.square())),
        SHOWN,
        "they differ by up to 1.94, where the largest number is 2.68",
        "inference is right with the root of 'var', which holds its square",
        "Keep the root",
    ),
    (
        lambda: Standard(of_var=lambda old, new: tenth(old, 1 / new)),
        SHOWN,
        "they differ by up to 32.4, where the largest number is 2.68",
        "inference is right with the reciprocal of 'var', which holds 1 over it",
        "Keep the reciprocal",
    ),
    (
        lambda: Standard(lambda old, new: 0.9 * old + new),
        SHOWN,
        "they differ by up to 18.3, where the largest number is 2.68",
        "'mean' settles at 10 times the right value: the weights of old and new add up to 1.9",
        ADD_UP,
    ),
    (
        lambda: Standard(lambda old, new: 0.9 * old + 0.05 * new, lambda old, new: 0.9 * old + 0.05 * new),
        SHOWN,
        "they differ by up to 2.38, where the largest number is 2.68",
        "'mean' and 'var' settle at 0.5 times the right value: the weights of old and new add up to 0.95",
        ADD_UP,
    ),
    (
        lambda: Standard(lambda old, new: old + 0.1 * new),
        SHOWN,
        "they differ by up to 4.11, where the largest number is 2.68",
        "'mean' keeps 100 % of what it was and still changes by up to 0.648, where the largest number is 19.5, at each batch",
        ADD_UP,
    ),
    (
        lambda: Standard(lambda old, new: tenth(old, new.mean().expand(4))),
        SHOWN,
        "they differ by up to 0.793, where the largest number is 2.68",
        "inference is right with the batch's mean in 'mean', which holds something else",
        "Keep the mean of the batch in 'mean'",
    ),
    (
        lambda: Standard(lambda old, new: tenth(old, -new)),
        SHOWN,
        "they differ by up to 4.07, where the largest number is 2.68",
        "inference is right with the negative of 'mean', which holds its negative",
        "Keep the negative",
    ),
]

# layer, shape, status, summary
RIGHT: list[tuple[Make, tuple[int, ...], str, str]] = [
    (
        Standard,
        (4,),
        "pass",
        "shown one batch for long, inference equals training up to 7.1e-05 %; one batch replaces 10 % of what is kept",
    ),
    (
        lambda: nn.BatchNorm1d(4),
        (4,),
        "pass",
        "shown one batch for long, inference equals training up to 0.74 %; one batch replaces 10 % of what is kept",
    ),
    (
        lambda: nn.BatchNorm1d(4, momentum=None),
        (4,),
        "pass",
        "shown one batch for long, inference equals training up to 0.74 %; one batch replaces 33.3 % of what is kept",
    ),
    (
        lambda: nn.BatchNorm1d(4, momentum=0.001),
        (4,),
        "pass",
        "shown one batch for long, inference equals training up to 0.74 %; one batch replaces 0.1 % of what is kept",
    ),
    (
        lambda: L.BatchNormalization(momentum=0.999),
        (4,),
        "pass",
        "shown one batch for long, inference equals training up to 0.74 %; one batch replaces 0.1 % of what is kept",
    ),
    (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3), nn.BatchNorm1d(3, momentum=0.01)),
        (4,),
        "pass",
        "shown one batch for long, inference equals training up to 1.2 %; one batch replaces 10 % of what is kept",
    ),
    (lambda: nn.Sequential(nn.Dropout(0.3), nn.BatchNorm1d(4)), (4,), "pass", "one batch replaces 10 % of what is kept"),
    (
        Totals,
        (4,),
        "pass",
        "shown one batch for long, inference equals training up to 1.8 %; one batch replaces 4.8e-05 % of what is kept",
    ),
    (
        Renormalized,
        (4,),
        "pass",
        "shown one batch for long, inference equals training up to 8.9e-06 %; one batch replaces 10 % of what is kept",
    ),
    (Codebook, (4,), "pass", "shown one batch for long, inference equals training up to 0 %"),
    (
        Range,
        (4,),
        "pass",
        "shown one batch for long, inference equals training up to 0 %; one batch replaces 0 % of what is kept",
    ),
    (Memory, (4,), "pass", "one batch replaces 100 % of what is kept"),
    (Annealed, (4,), "not applicable", "inference uses nothing that batches in training change"),
    (Rows, (4,), "not applicable", "a buffer has a number for each observation"),
    (lambda: spectral_norm(nn.Linear(4, 3)), (4,), "not applicable", "inference uses nothing that batches in training change"),
    (
        lambda: parametrizations.spectral_norm(nn.Linear(4, 3)),
        (4,),
        "not applicable",
        "inference uses nothing that batches in training change",
    ),
    (lambda: nn.BatchNorm1d(4, track_running_stats=False), (4,), "not applicable", "training changes no buffer"),
    (
        lambda: L.LSTM(2, stateful=True),
        (3, 2),
        "not applicable",
        'declares "always state": what it keeps is not a statistic of training',
    ),
    (lambda: nn.InstanceNorm1d(4, track_running_stats=True), (4, 5), "pass", "one batch replaces 10 % of what is kept"),
    (lambda: nn.Linear(4, 3), (4,), "not applicable", "training changes no buffer"),
]


@pytest.mark.parametrize(("make", "expected", "found", "cause", "fix"), WRONG)
def test_what_is_wrong_is_said(make: Make, expected: str, found: str, cause: str, fix: str) -> None:
    seen = outcome("running-statistics", make, (4,))
    assert (seen.status.value, seen.group) == ("fail", "behaviour")
    assert (seen.expected, seen.found, seen.cause, seen.fix) == (expected, found, cause, fix)


@pytest.mark.parametrize(("make", "shape", "status", "summary"), RIGHT)
def test_what_is_right_passes(make: Make, shape: tuple[int, ...], status: str, summary: str) -> None:
    seen = outcome("running-statistics", make, shape)
    assert (seen.status.value, seen.summary) == (status, summary)


def test_inputs_of_ones_own_are_shown_as_they_are() -> None:
    """Where inputs have mean 0 and variance 1 a root is not told from its square: nothing else than what was given is judged."""

    def sample(batch: int, random: Generator) -> Tensor:
        return 5 * torch.rand(batch, 4, generator=random, dtype=torch.float64)

    right = outcome("running-statistics", Standard, (4,), sample=sample)
    wrong = outcome("running-statistics", lambda: Standard(of_var=lambda old, new: tenth(old, new.sqrt())), (4,), sample=sample)
    assert (right.status.value, wrong.status.value) == ("pass", "fail")
    assert wrong.cause == "inference is right with the square of 'var', which holds its root"


def test_a_layer_frozen_in_laminar_keeps_nothing() -> None:
    layer = L.BatchNormalization()
    layer.trainable = False
    seen = outcome("running-statistics", layer, (4,))
    assert (seen.status.value, seen.summary) == ("not applicable", "training changes no buffer")
