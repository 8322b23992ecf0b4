"""The learning-rate range test: what it finds, and that it leaves no trace."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, DataError, DivergedError, NotCompiledError
from laminar.rates import RangeTest, range_test


def quadratic() -> tuple[lm.Sequential, Tensor, Tensor]:
    """Return a network of one weight w = 1 with loss w², whose gradient descent diverges above a rate of 1."""
    model = lm.Sequential([L.Dense(1, kernel_initializer="ones", use_bias=False)]).build((1,)).double()
    model.compile("sgd", "mse")
    return model, torch.ones(8, 1, dtype=torch.float64), torch.zeros(8, 1, dtype=torch.float64)


def test_the_losses_are_those_of_gradient_descent_with_rising_rates() -> None:
    """On w² each step multiplies w by 1 − 2η; computed here in NumPy."""
    model, x, y = quadratic()
    found = range_test(model, x, y, low=1e-4, high=0.5, iterations=40)
    rates = 1e-4 * (0.5 / 1e-4) ** (np.arange(40) / 39)
    weights = np.cumprod(np.concatenate([[1.0], 1 - 2 * rates[:-1]]))
    np.testing.assert_allclose(found.rates, rates, rtol=1e-12)
    np.testing.assert_allclose(found.losses, weights**2, rtol=1e-9)
    assert not found.diverged


def test_it_ends_when_the_loss_has_diverged() -> None:
    """The rate at the smallest loss is near 1, from where on w grows; the test ends long before the rate of 1e6."""
    model, x, y = quadratic()
    found = range_test(model, x, y, low=1e-3, high=1e6, iterations=200)
    assert found.diverged is True
    assert found.rates[-1] < 10
    assert 0.5 < found.at_minimum < 1.6
    assert found.suggestion == pytest.approx(found.at_minimum / 10)


def test_it_ends_when_the_loss_is_not_finite() -> None:
    """A loss that is always negative cannot grow to four times its smallest; here it becomes infinite."""
    model, x, y = quadratic()
    model.compile("sgd", lambda p, t: p.square().mean() - 1e30)
    found = range_test(model, x, y, low=1e-3, high=1e30, iterations=20)
    assert found.diverged
    assert np.isfinite(found.losses).all()
    assert len(found.losses) == len(found.rates) < 20


class Noisy(nn.Module):
    """Draws from all global generators, and counts its calls in a plain attribute and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen += 1
        return x + 1e-3 * (random.random() + np.random.random() + torch.rand(()))  # noqa: NPY002  # users do


def states(model: lm.Model, loader: DataLoader[Any]) -> list[Any]:
    """Return everything that a range test must leave alone, as bytes and numbers."""
    tensors = [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters() if p.grad is not None)]
    learner = copy.deepcopy(model._learner.__getstate__()["_state"])
    flat: list[Any] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key in value:
                walk(value[key])
        elif isinstance(value, list | tuple):
            for part in value:
                walk(part)
        else:
            flat.append(value.detach().clone().numpy().tobytes() if isinstance(value, Tensor) else value)

    walk([tensors, learner, torch.get_rng_state(), random.getstate(), loader.generator.get_state()])
    _, words, position, *rest = np.random.get_state()  # noqa: NPY002  # what is looked at
    walk([np.asarray(words).tobytes(), position, rest])
    walk([module.training for module in model.modules()])
    walk([module.calls for module in model.modules() if isinstance(module, Noisy)])
    return flat


@pytest.mark.parametrize("kind", ["name", "torch optimizer", "function", "schedule"])
@pytest.mark.parametrize("seed", [None, 3])
def test_it_leaves_no_trace(kind: str, seed: int | None) -> None:
    """Weights, buffers, gradients, momentum, modes, figures and every random state, after a first training."""
    torch.manual_seed(5)
    model = lm.Sequential([Noisy(), L.Dense(6, "relu"), L.BatchNormalization(), nn.Dropout(0.2), L.Dense(3, "softmax")]).build(
        (4,)
    )
    optimizer: Any = {
        "name": lambda: "sgdm",
        "torch optimizer": lambda: torch.optim.Adam(model.parameters(), lr=0.01),
        "function": lambda: lambda parameters: torch.optim.RMSprop(parameters, lr=0.01),
        "schedule": lambda: lm.optimizers.SGD(lm.schedules.ExponentialDecay(0.1, 10, 0.5), momentum=0.9),
    }[kind]()
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    data = TensorDataset(torch.randn(40, 4), torch.randint(3, (40,)))
    loader = DataLoader(data, 8, shuffle=True, generator=torch.Generator().manual_seed(1))
    history = model.fit(loader, epochs=2, verbose=0)
    model.train()
    model.dropout.eval()
    before, figures = states(model, loader), copy.deepcopy(history)
    found = range_test(model, loader, iterations=12, seed=seed)
    assert len(found.losses) == 12 or found.diverged
    assert states(model, loader) == before
    assert model.history is history
    assert history == figures


def test_a_network_that_was_not_built_is_not_built_afterwards() -> None:
    model = lm.Sequential([L.Dense(2), L.Softmax()])
    model.compile("adam", "sparse_categorical_crossentropy")
    range_test(model, np.random.default_rng(0).normal(size=(20, 3)), np.zeros(20, int), iterations=10, seed=0)
    assert model.input_shape is None
    assert list(model.parameters()) == []


def test_the_same_seed_finds_the_same() -> None:
    x, y = torch.randn(64, 5), torch.randint(3, (64,))
    model = lm.Sequential([L.Dense(8, "relu"), nn.Dropout(0.5), L.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    some, others = (range_test(model, x, y, iterations=20, batch_size=16, seed=4) for _ in range(2))
    assert some == others


# ── the result ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_smoothed_loss_is_the_mean_of_neighbours() -> None:
    losses = np.random.default_rng(0).normal(size=100)
    smoothed = RangeTest([1.0] * 100, losses.tolist(), diverged=False).smoothed
    expected = [losses[max(0, i - 2) : i + 3].mean() for i in range(100)]  # a fortieth of 100 on either side
    np.testing.assert_allclose(smoothed, expected)
    np.testing.assert_allclose(RangeTest([1.0], [3.0], diverged=False).smoothed, [3.0])


def test_the_steepest_descent_is_that_of_a_known_curve() -> None:
    """A sigmoid over log η falls fastest in its middle, η = 1e-2, and is smallest before it explodes, at η = 1."""
    rates = np.geomspace(1e-5, 10, 241)
    losses = 2.3 / (1 + np.exp(2 * (np.log(rates) - np.log(1e-2)))) + np.where(rates > 1, 50 * (rates - 1), 0)
    found = RangeTest(rates.tolist(), losses.tolist(), diverged=True)
    assert found.steepest == pytest.approx(1e-2, rel=0.1)
    assert found.at_minimum == pytest.approx(1, rel=0.3)
    assert repr(found).startswith("RangeTest(241 rates from 1e-05 to 10, diverged; smallest loss at 0.")


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    found = RangeTest([1e-3, 1e-2, 1e-1, 1.0], [1.0, 2.0, 3.0, 4.0], diverged=False)
    assert (found.suggestion, found.steepest, found.at_minimum) == (None, 1e-3, 1e-3)
    assert repr(found) == (
        "RangeTest(4 rates from 0.001 to 1, did not diverge; smallest loss at 0.001, steepest at 0.001; "
        "suggestion none, the loss never fell)"
    )


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"low": 0}, "range_test(low=): expected a number above 0, received 0. Pass low=1e-7, high=10."),
        ({"high": "1"}, "range_test(high=): expected a number above 0, received '1'. Pass low=1e-7, high=10."),
        ({"low": 1, "high": 0.1}, "range_test: expected a low below the high, received 1 and 0.1. Pass low=1e-7, high=10."),
        ({"iterations": 9}, "range_test(iterations=): expected a whole number of at least 10, received 9. Pass 10 or more."),
    ],
)  # fmt: skip
def test_arguments_that_cannot_work(options: Any, text: str) -> None:
    model, x, y = quadratic()
    with pytest.raises(ArgumentError) as e:
        range_test(model, x, y, **options)
    assert str(e.value) == text


def test_a_network_that_is_not_compiled() -> None:
    with pytest.raises(NotCompiledError, match=r"^Sequential\.range_test: expected a compiled network"):
        range_test(lm.Sequential([L.Dense(1)]), torch.ones(4, 1), torch.ones(4, 1))


def test_a_function_that_makes_an_optimizer_of_the_networks_own_parameters() -> None:
    model, x, y = quadratic()
    model.compile(lambda _: torch.optim.SGD(model.parameters(), lr=0.1), "mse")
    with pytest.raises(ArgumentError) as e:
        range_test(model, x, y)
    assert str(e.value) == (
        "optimizer: expected a function that uses the parameters it is given, and no others, received SGD with 1 others. "
        "Pass lambda parameters: torch.optim.SGD(parameters, lr=...)."
    )


def test_a_first_loss_that_is_not_finite_is_told() -> None:
    model, x, y = quadratic()
    model.compile("sgd", lambda p, t: p.mean() * float("nan"))
    with pytest.raises(DivergedError, match=r"^loss became nan at epoch 1, step 1\. "):
        range_test(model, x, y)


# ── the picture ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_picture_shows_what_was_found(tmp_path: Path) -> None:
    model, x, y = quadratic()
    found = range_test(model, x, y, low=1e-3, high=1e6, iterations=100)
    (panel,) = lm.plots.range_test(found).axes
    lines = {str(line.get_label()).partition(",")[0]: line for line in panel.get_lines()}
    assert list(lines) == ["mini-batch", "smoothed", "smallest", "steepest", "suggestion"]
    np.testing.assert_array_equal(lines["mini-batch"].get_xdata(), found.rates)
    np.testing.assert_array_equal(lines["mini-batch"].get_ydata(), found.losses)
    np.testing.assert_array_equal(lines["smoothed"].get_ydata(), found.smoothed)
    assert lines["suggestion"].get_xdata()[0] == found.suggestion
    assert panel.get_xscale() == "log"
    exploded = RangeTest(found.rates, [*found.losses[:-1], 1e9], diverged=True)
    assert lm.plots.range_test(exploded).axes[0].get_ylim()[1] < 3
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    lm.plots.range_test(RangeTest([1e-3, 1e-2], [1.0, 2.0], diverged=False), ax=axes)
    assert len(axes.get_lines()) == 4


def test_a_picture_needs_two_losses() -> None:
    with pytest.raises(DataError) as e:
        lm.plots.range_test(RangeTest([1e-3], [1.0], diverged=True))
    assert str(e.value) == "plots.range_test: expected at least two losses, received 1. Test a wider range: low=1e-7, high=10."


@pytest.mark.data
@pytest.mark.slow
def test_on_mnist_the_suggested_rate_trains() -> None:
    """Row R6: after 100 steps at the suggested rate the network is right on more than 80 % of held-out digits."""
    (x, y), (x_test, y_test) = lm.data.mnist()
    model = lm.Sequential([L.Conv2D(20, 5), L.BatchNormalization(), L.ReLU(), L.Flatten(), L.Dense(10, "softmax")])
    model.compile("sgdm", "sparse_categorical_crossentropy")
    found = range_test(model, x[:12_800], y[:12_800], seed=0)
    assert found.diverged
    assert found.suggestion is not None
    model.compile(lm.optimizers.SGDM(found.suggestion), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x[:12_800], y[:12_800], seed=0, verbose=0)
    assert model.evaluate(x_test, y_test)["accuracy"] > 0.8
