"""The layer under test is never changed, its copies are all alike, and its data are the same each time."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm

import laminar as lm
from laminar import layers as L
from laminar.check.running import run
from laminar.check.subject import BATCH, Subject
from laminar.check.traits import TRAITS, traits_of
from laminar.errors import ArgumentError, UnknownNameError
from laminar.seeding import seed_all


def block() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.ReLU(inplace=True))


# ── the layer itself ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("training", [True, False])
def test_the_layer_is_left_as_it_was(training: bool) -> None:
    layer = block().train(training)
    before, weights = copy.deepcopy(layer.state_dict()), [id(p) for p in layer.parameters()]
    lm.check_layer(layer, (3, 7, 6), show=False)
    assert all(torch.equal(v, layer.state_dict()[n]) for n, v in before.items())
    assert [id(p) for p in layer.parameters()] == weights
    assert all(p.grad is None for p in layer.parameters())
    assert [m.training for m in layer.modules()] == [training] * 5


def test_a_layer_that_is_not_built_stays_so() -> None:
    own, of_torch = L.Dense(3), nn.LazyLinear(3)
    for layer in (own, of_torch):
        lm.check_layer(layer, (5,), show=False)
    assert not own.built
    assert of_torch.has_uninitialized_params()


def test_what_the_user_draws_next_is_what_he_would_have_drawn() -> None:
    def drawn() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002  # the global one is meant

    seed_all(1)
    want = drawn()
    seed_all(1)
    lm.check_layer(nn.Dropout(), (5,), show=False)
    assert drawn() == want


def test_global_settings_are_as_before(recwarn: pytest.WarningsRecorder) -> None:
    class Warns(nn.Module):
        """Warns at each call."""

        def forward(self, x: Tensor) -> Tensor:
            import warnings

            warnings.warn("old layer", stacklevel=1)
            return 2 * x

    before = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    lm.check_layer(Warns, (5,), show=False)
    assert (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()) == before
    assert not [w for w in recwarn if "old layer" in str(w.message)]
    with pytest.warns(UserWarning, match="old layer"):
        Warns()(torch.ones(1))


# ── what makes it ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_instance_a_class_and_a_function_will_do() -> None:
    for layer in (L.ELU(), L.ELU, lambda: L.ELU(), nn.ELU):
        assert Subject(layer, [(3,)]).label.startswith("ELU(")


def test_what_is_no_module() -> None:
    with pytest.raises(ArgumentError) as caught:
        lm.check_layer(3, (5,))  # type: ignore[arg-type]
    assert str(caught.value) == (
        "check_layer(layer): expected a torch.nn.Module, received int. "
        "Pass an instance such as ELU(), or a class or function that makes one."
    )
    with pytest.raises(ArgumentError) as caught:
        lm.check_layer(lambda: torch.ones(3), (5,))  # type: ignore[arg-type, return-value]
    assert str(caught.value) == (
        "check_layer(layer): expected a torch.nn.Module, received Tensor. "
        "Pass an instance such as ELU(), or a class or function that makes one."
    )


# ── copies ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("make", [block, lambda: L.Dense(4), lambda: nn.LazyLinear(4)], ids=["block", "Dense", "LazyLinear"])
def test_copies_are_alike_and_independent(make: object) -> None:
    subject = Subject(make, [(3, 7, 6)] if make is block else [(5,)])  # type: ignore[arg-type]
    torch.manual_seed(11)
    one = subject.built()
    torch.manual_seed(12)
    other = subject.built()
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    with torch.no_grad():
        next(one.parameters()).zero_()
    assert next(other.parameters()).abs().sum() > 0
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), subject.built().parameters(), strict=True))


def test_a_copy_has_no_special_values() -> None:
    """A bias of 0 or a factor of 1 would hide a mistake in it."""
    built = Subject(block(), [(3, 7, 6)]).built()
    for name, p in built.named_parameters():
        assert p.unique().numel() > 1, name
    assert not built.get_buffer("1.running_mean").eq(0).any()
    assert not built.get_buffer("1.running_var").eq(1).any()


def test_mode_and_dtype_of_a_copy() -> None:
    subject = Subject(block, [(3, 7, 6)])
    assert all(m.training for m in subject.built().modules())
    assert not any(m.training for m in subject.built(training=False).modules())
    assert {p.dtype for p in subject.built(torch.float64).parameters()} == {torch.float64}


def test_the_state_of_each_observation_is_not_carried_into_another_batch() -> None:
    """A stateful LSTM that has seen eight sequences takes no four."""
    subject = Subject(lambda: L.LSTM(3, stateful=True), [(5, 4)])
    built = subject.built()
    assert built.h.shape == (0, 3)
    assert built(*subject.data()).shape == (BATCH, 3)


# ── data ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_data_are_the_same_each_time_and_others_for_another_seed() -> None:
    subject = Subject(nn.Bilinear(3, 4, 5), [(3,), (4,)])
    a, b = subject.data()
    assert (a.shape, b.shape) == ((BATCH, 3), (BATCH, 4))
    assert torch.equal(a, subject.data()[0])
    assert not torch.equal(a, subject.data(seed=1)[0])
    assert subject.data(2, torch.float64)[1].dtype == torch.float64
    other = Subject(nn.Bilinear(3, 4, 5), [(3,), (4,)], seed=1)
    assert not torch.equal(a, other.data()[0])


def test_whole_numbers_for_tables() -> None:
    subject = Subject(nn.Sequential(nn.Embedding(7, 3), nn.Flatten()), [(5,)])
    (x,) = subject.data(100)
    assert x.dtype == torch.int64
    assert set(x.unique().tolist()) == set(range(7))
    assert subject.continuous == ()


def test_inputs_of_ones_own() -> None:
    def sample(batch: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        return torch.rand(batch, 6, generator=random), torch.randint(3, (batch, 2), generator=random)

    subject = Subject(lambda: L.Dense(2), [(6,), (2,)], sample=sample)
    x, i = subject.data(3, torch.float64)
    assert (x.dtype, i.dtype) == (torch.float64, torch.int64)
    assert subject.continuous == (0,)
    assert torch.equal(x, subject.data(3, torch.float64)[0])


def test_which_axis_counts_the_observations() -> None:
    assert Subject(nn.LSTM(5, 3, batch_first=True), [(2, 5)]).batch_axes == (0, 1, 1)
    assert Subject(nn.ReLU(), [(2, 5)]).batch_axes == (0,)


def test_runs_on_clones() -> None:
    (x,) = Subject(nn.ReLU(inplace=True), [(3,)]).data()
    before = x.clone()
    run(nn.ReLU(inplace=True), [x])
    assert torch.equal(x, before)


# ── what it declares ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Linear(3, 2), set()),
        (nn.Dropout(0.0), set()),
        (nn.Sequential(nn.Dropout(0.2)), {"random", "modes"}),
        (nn.RReLU(), {"random", "modes"}),
        (nn.BatchNorm1d(3), {"batch", "modes"}),
        (nn.BatchNorm1d(3, track_running_stats=False), {"always batch", "batch", "modes"}),
        (nn.InstanceNorm1d(3), set()),
        (nn.InstanceNorm1d(3, track_running_stats=True), {"modes"}),
        (nn.FractionalMaxPool2d(2, output_ratio=0.5), {"always random", "modes"}),
        (nn.LSTM(3, 2, 2, dropout=0.1), {"random", "modes"}),
        (nn.TransformerEncoderLayer(4, 2), {"random", "modes"}),
        (nn.Embedding(5, 3), set()),
        (nn.Embedding(5, 3, padding_idx=0), {"surrogate"}),
        (nn.EmbeddingBag(5, 3, padding_idx=1), {"surrogate"}),
        (parametrizations.spectral_norm(nn.Linear(3, 2)), {"modes", "surrogate"}),
        (spectral_norm(nn.Linear(3, 2)), {"modes", "surrogate"}),
        (parametrizations.weight_norm(nn.Linear(3, 2)), set()),
        (L.Dropout(0.2), {"random", "modes"}),
        (L.GaussianNoise(0.2), {"random", "modes"}),
        (L.RandomFlip(), {"random", "modes"}),
        (L.LSTM(3), set()),
        (L.LSTM(3, recurrent_dropout=0.2), {"random", "modes"}),
        (L.MultiHeadAttention(2, 3, dropout=0.2), {"random", "modes"}),
        (L.BatchNormalization(), {"batch", "modes"}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_layers_declare(layer: nn.Module, expected: set[str]) -> None:
    assert traits_of(layer) == expected


def test_a_buffer_that_changes_in_training_declares_state() -> None:
    assert Subject(nn.BatchNorm1d(3), [(3,)]).traits == {"batch", "modes", "state"}
    assert Subject(nn.BatchNorm1d(3), [(3,)]).changing == {"running_mean", "running_var", "num_batches_tracked"}
    assert Subject(nn.Sequential(L.Rescaling((0.5, 2.0))), [(2, 3)]).traits == set()


def test_what_is_declared_from_outside_and_by_the_class() -> None:
    class Rounded(lm.Layer):
        """Rounds, and passes the gradient on."""

        declares = ("surrogate",)

        def forward(self, x: Tensor) -> Tensor:
            return x + (x.round() - x).detach()

        def predict(self, x: Tensor) -> Tensor:
            return x.round()

    assert traits_of(Rounded()) == {"surrogate", "modes"}
    assert Subject(Rounded, [(3,)], declares="nan").traits == {"surrogate", "modes", "nan"}
    assert Subject(Rounded, [(3,)], declares=["nan"]).traits == {"surrogate", "modes", "nan"}
    with pytest.raises(UnknownNameError) as caught:
        lm.check_layer(Rounded, (3,), declares=["randon"])
    assert str(caught.value) == (
        "declaration 'randon' is unknown. Did you mean 'random'? "
        "Known: always batch, always random, always state, batch, modes, nan, random, state, surrogate."
    )
    assert list(TRAITS) == [
        "random",
        "always random",
        "batch",
        "always batch",
        "state",
        "always state",
        "modes",
        "surrogate",
        "nan",
    ]


class Blur(nn.Module):
    """Torch's convolution on meta takes fewer channels than its weight has groups; the real one does not."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.full((channels, 1, 3, 3), 1 / 9))

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.get_buffer("kernel")
        return nn.functional.conv2d(x, kernel, padding=1, groups=x.shape[1])


def test_smaller_shapes_are_tried_for_real() -> None:
    subject = Subject(Blur(20), [(20, 24, 24)])
    assert subject.shapes == ((20, 6, 5),)


class Codebook(nn.Module):
    """Replaces what comes in by the nearest of some learned vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        nearest: Tensor = self.table(torch.cdist(x, self.table.weight).argmin(-1))
        return x + (nearest - x).detach()


def test_a_table_for_what_is_computed_gets_normal_numbers() -> None:
    assert Subject(Codebook(), [(4,)]).data()[0].is_floating_point()
    assert not Subject(nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 2)), [(5,)]).data()[0].is_floating_point()
