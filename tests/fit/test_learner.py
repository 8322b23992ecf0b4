"""What carries over from one fit to the next, and what a seed repeats."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError
from laminar.optimizers import SGDM

BATCH = 16


def data(n: int = 50, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Return images (n, 1, 8, 8) in float64 and class numbers."""
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(n, 1, 8, 8, dtype=torch.float64, generator=generator),
        torch.randint(classes, (n,), generator=generator),
    )


def network(*end: nn.Module) -> lm.Sequential:
    """Return a built float64 network with every kind of parameter: kernels, biases, scales, alphas."""
    layers = [L.Conv2D(3, 3), L.BatchNormalization(), L.ELU("uniform", learnable=True), L.Flatten(), L.Dense(4), *end]
    return lm.Sequential(layers).build((1, 8, 8), seed=3).double()


def by_hand(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Callable[[], Iterator[tuple[Tensor, Tensor]]],
    epochs: int,
) -> None:
    """Train as everybody does."""
    model.train()
    for _ in range(epochs):
        for x, y in batches():
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()


def in_order(x: Tensor, y: Tensor, size: int = BATCH) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
    return lambda: iter(zip(x.split(size), y.split(size), strict=True))


def decayed(model: nn.Module, **settings: Any) -> torch.optim.SGD:
    """Return SGD with an L2 factor on parameters of two axes or more."""
    weights = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": weights, "weight_decay": 1e-2}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, **settings)


def assert_same_weights(one: nn.Module, other: nn.Module) -> None:
    pairs = zip(one.state_dict().items(), other.state_dict().values(), strict=True)
    assert [name for (name, a), b in pairs if not torch.equal(a, b)] == []


# ── freezing between fits ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_freezing_between_fits_keeps_the_optimizer_state_of_the_others() -> None:
    """R3, against a loop by hand whose optimizer is told with requires_grad: freeze alpha, go on, unfreeze, go on."""
    x, y = data()
    ours, theirs = network(), network()
    ours.compile(SGDM(0.02, momentum=0.9, weight_decay=1e-2), "sparse_categorical_crossentropy")
    optimizer = decayed(theirs, lr=0.02, momentum=0.9, fused=True)
    for frozen in (False, True, False):
        if frozen:
            ours["elu"].freeze("alpha")
        else:
            ours["elu"].unfreeze("alpha")
        alpha = theirs["elu"].alpha.requires_grad_(not frozen)
        alpha.grad = None
        before = ours["elu"].alpha.clone()
        ours.fit(x, y, epochs=2, batch_size=BATCH, shuffle=False, verbose=0)
        by_hand(theirs, optimizer, in_order(x, y), epochs=2)
        assert_same_weights(ours, theirs)
        assert torch.equal(before, ours["elu"].alpha) == frozen


def test_a_layer_that_is_not_trainable_stays_as_it_is_and_learns_again_later() -> None:
    x, y = data()
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy")
    model["conv2d"].trainable = False
    model["batch_normalization"].trainable = False
    before = copy.deepcopy(model.state_dict())
    model.fit(x, y, epochs=1, verbose=0)
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert moved == ["elu.alpha", "dense.weight", "dense.bias"]  # and no running statistics
    model.trainable = True
    model.fit(x, y, epochs=1, verbose=0)
    assert [name for name, value in model.state_dict().items() if torch.equal(value, before[name])] == []


def test_a_function_that_leaves_frozen_parameters_out_is_called_again_when_they_learn() -> None:
    """The momentum of the others goes on as it was."""
    x, y = data()

    def learning(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD([p for p in parameters if p.requires_grad], lr=0.01, momentum=0.9)

    ours, theirs = network(), network()
    ours["conv2d"].trainable = theirs["conv2d"].trainable = False
    ours.compile(learning, "sparse_categorical_crossentropy")
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.9)
    for _ in range(2):
        ours.fit(x, y, epochs=1, batch_size=BATCH, shuffle=False, verbose=0)
        by_hand(theirs, optimizer, in_order(x, y), epochs=1)
        assert_same_weights(ours, theirs)
        ours["conv2d"].trainable = theirs["conv2d"].trainable = True


def test_everything_frozen_is_refused() -> None:
    x, y = data()
    model = network()
    model.trainable = False
    assert not model.trainable
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ArgumentError) as e:
        model.fit(x, y, verbose=0)
    assert str(e.value) == (
        "Sequential.fit: expected a parameter that learns, received 7, all frozen. Unfreeze a layer: layer.trainable = True."
    )


# ── seeds ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def noisy() -> lm.Sequential:
    return lm.Sequential([nn.LazyLinear(8), L.Dropout(0.5), L.Dense(4)])


def trained(seed: int | None, epochs: int = 2) -> list[float]:
    x, y = data()
    model = noisy()
    model.compile("sgd", "sparse_categorical_crossentropy")
    history = model.fit(x.flatten(1), y, epochs=epochs, batch_size=8, seed=seed, verbose=0)
    return [*history.iterations["loss"], *(v for p in model.parameters() for v in p.flatten().tolist())]


def test_a_seed_repeats_initial_values_order_and_dropout_to_the_bit() -> None:
    """Also the initial values of modules that are not ours; another seed gives other numbers."""
    first = trained(7)
    torch.rand(3)
    assert trained(7) == first
    assert trained(8) != first


def test_with_a_seed_the_global_generator_is_not_drawn_from() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    trained(7)
    assert torch.equal(torch.get_rng_state(), before)


def test_with_a_seed_a_loaders_own_shuffling_is_repeated_too() -> None:
    """It draws from torch's global generator, which is left as it was; also where the network is built from the first batch."""
    x, y = data()
    loader = DataLoader(TensorDataset(x.flatten(1), y), 8, shuffle=True)
    losses = []
    before = torch.get_rng_state()
    for seed in (3, 3, 4):
        model = noisy()
        model.compile("sgd", "sparse_categorical_crossentropy")
        losses.append(model.fit(loader, epochs=2, seed=seed, validation_data=loader, verbose=0).iterations["loss"])
        assert torch.equal(torch.get_rng_state(), before)
    assert losses[0] == losses[1] != losses[2]


def test_another_seed_is_other_dropout() -> None:
    """With the same start and the same order."""
    x, y = data()
    losses = []
    for seed in (1, 2):
        model = lm.Sequential([L.Dense(8), L.Dropout(0.5), L.Dense(4)]).build((64,), seed=0)
        model.compile("sgd", "sparse_categorical_crossentropy")
        losses.append(model.fit(x.flatten(1), y, shuffle=False, seed=seed, verbose=0).iterations["loss"])
    assert losses[0] != losses[1]


def test_without_a_seed_the_global_generator_decides() -> None:
    torch.manual_seed(11)
    first = trained(None)
    torch.manual_seed(11)
    assert trained(None) == first
    assert trained(None) != first


def test_dropout_is_seeded_whether_the_network_was_built_before_or_not() -> None:
    """The noise of training does not depend on what was drawn to prepare it."""
    x, y = data()
    losses = []
    for build_first in (True, False):
        model = lm.Sequential([L.Dense(8), L.Dropout(0.5), L.Dense(4)])
        if build_first:
            model.build((64,), seed=7)
        model.compile("sgd", "sparse_categorical_crossentropy")
        losses.append(model.fit(x.flatten(1), y, epochs=2, seed=7, verbose=0).iterations["loss"])
    assert losses[0] == losses[1]
