"""Gradient accumulation: an update from k batches is the update from one batch of all their observations."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError
from laminar.fit.state import State
from laminar.optimizers import SGD, Adam, AdamW, Muon, Rule
from laminar.schedules import CosineDecay, StepDecay


def data(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    return torch.randn(n, 5, generator=generator, dtype=torch.float64), torch.randint(3, (n,), generator=generator)


def network() -> lm.Sequential:
    return lm.Sequential([L.Dense(7, "tanh"), L.LayerNormalization(), L.Dense(3, "softmax")])


def trained(rule: Rule, n: int, batch_size: int, *, build: Any = network, epochs: int = 2, **options: Any) -> lm.Sequential:
    model = build()
    model.compile(rule, "sparse_categorical_crossentropy", ["accuracy"])
    options = {"shuffle": "epoch", "seed": 0, "verbose": 0, **options}
    model.fit(*data(n), epochs=epochs, batch_size=batch_size, **options)
    return model


@pytest.fixture(autouse=True)
def double() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def same(one: lm.Sequential, other: lm.Sequential) -> None:
    for (name, p), q in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


RULES: dict[str, Any] = {
    "sgd": functools.partial(SGD, 0.1, momentum=0.9),
    "adam, clipped": functools.partial(Adam, 0.01, clipnorm=0.1),
    "clipped together, decayed": functools.partial(SGD, 0.1, global_clipnorm=0.2, decay=0.1, weight_decay=0.01),
    "adamw, schedule": functools.partial(AdamW, CosineDecay(0.01, 6)),
    "schedule by epoch": functools.partial(SGD, StepDecay(0.1, 0.5, 1, per="epoch")),
    "running means": functools.partial(SGD, 0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2),
    "muon": functools.partial(Muon, 0.01, weight_decay=0.1),
}


@pytest.mark.parametrize("rule", RULES)
def test_it_is_the_step_of_the_large_batch(rule: str) -> None:
    """44 observations in batches of 4, three to an update, are 44 in batches of 12: the last one smaller in both."""
    make = RULES[rule]
    tolerant = trained(make(gradient_accumulation_steps=3), 44, 4)
    expected = trained(make(), 44, 12)
    if rule == "muon":  # which orthogonalizes in bfloat16: rounding of the gradient may tip a digit of that
        for p, q in zip(tolerant.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-3)
    else:
        same(tolerant, expected)


@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 6))
@settings(max_examples=12, deadline=None)
def test_whatever_the_sizes(n: int, size: int, k: int) -> None:
    """The last batch of an epoch may be smaller, and the last group of batches incomplete."""
    same(
        trained(SGD(0.1, momentum=0.5, gradient_accumulation_steps=k), n, size, epochs=1),
        trained(SGD(0.1, momentum=0.5), n, size * k, epochs=1),
    )


def test_weights_of_observations_count_as_in_the_large_batch() -> None:
    weight = torch.rand(24, generator=torch.Generator().manual_seed(1))
    given = {"sample_weight": weight, "class_weight": {0: 1.0, 1: 3.0, 2: 0.5}}
    same(trained(SGD(0.1, gradient_accumulation_steps=2), 24, 4, **given), trained(SGD(0.1), 24, 8, **given))


def test_several_outputs() -> None:
    def build() -> lm.Model:
        x = lm.Input((5,))
        hidden = L.Dense(6, "tanh")(x)
        return lm.Model(x, {"kind": L.Dense(3, "softmax")(hidden), "size": L.Dense(1)(hidden)})

    def learned(rule: Rule, size: int) -> list[Tensor]:
        model = build()
        wanted = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
        model.build(seed=0)
        model.compile(rule, wanted, loss_weights={"kind": 1.0, "size": 0.5})
        x, y = data(20)
        model.fit(x, {"kind": y, "size": x[:, :1]}, batch_size=size, shuffle=False, verbose=0)
        return list(model.parameters())

    many, one = learned(SGD(0.1, gradient_accumulation_steps=5), 4), learned(SGD(0.1), 20)
    for p, q in zip(many, one, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)


class Watch(lm.Callback):
    def __init__(self, module: nn.Module | None = None) -> None:
        self.updates: list[int] = []
        self.rates: list[float] = []
        self.freeze = module

    def on_batch_end(self, model: nn.Module, state: State) -> None:
        self.updates.append(state.pace.iterations)
        self.rates.append(state.learning_rate)
        if self.freeze is not None and state.iteration == 1:
            self.freeze.trainable = False  # type: ignore[assignment]

    def on_epoch_end(self, model: nn.Module, state: State) -> None:
        self.updates.append(state.pace.iterations)


def test_what_goes_by_updates_and_what_by_batches() -> None:
    """Seven batches an epoch, three to an update: two of them, and one from what is left."""
    watch = Watch()
    model = network()
    model.compile(SGD(0.1, decay=1.0, gradient_accumulation_steps=3), "sparse_categorical_crossentropy")
    history = model.fit(*data(28), epochs=2, batch_size=4, callbacks=watch, verbose=0)
    assert watch.updates == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 6]
    assert history.iterations["learning_rate"] == pytest.approx(
        [0.1 / (1 + n) for n in (0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 4, 4, 4, 5)]
    )
    assert len(history.iterations["loss"]) == 14


def test_the_losses_are_those_of_the_batches() -> None:
    """Within an update the network stays as it is, so the loss of the large batch is the mean of the small ones' losses."""
    small, large = network(), network()
    x, y = data(24)
    for model, rule in ((small, SGD(0.1, gradient_accumulation_steps=3)), (large, SGD(0.1))):
        model.compile(rule, "sparse_categorical_crossentropy")
    options: dict[str, Any] = {"shuffle": False, "seed": 0, "verbose": 0}
    losses = small.fit(x, y, batch_size=4, **options).iterations["loss"]
    expected = large.fit(x, y, batch_size=12, **options).iterations["loss"]
    assert [sum(losses[:3]) / 3, sum(losses[3:]) / 3] == pytest.approx(expected, rel=1e-12)


def test_a_layer_frozen_between_two_batches_stays_as_it_is() -> None:
    model = network()
    model.compile(SGD(0.1, gradient_accumulation_steps=2), "sparse_categorical_crossentropy")
    model.build((5,), seed=0)
    before = model[0].kernel.detach().clone() if hasattr(model[0], "kernel") else model[0].weight.detach().clone()
    model.fit(*data(8), batch_size=4, callbacks=Watch(model[0]), verbose=0)
    after = model[0].kernel if hasattr(model[0], "kernel") else model[0].weight
    assert torch.equal(before, after)


def test_a_parameter_that_takes_part_only_now_and_then() -> None:
    """Its gradient of the batches without it is zero."""

    class Now(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.always, self.second = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:  # (B, 1)
            self.calls += 1
            return x * self.always + (x * self.second if bool((x > 1).all()) else 0)

    x = torch.tensor([[1.0], [1.0], [2.0], [2.0], [2.0]])
    module = Now()
    model = lm.Sequential([module])
    model.compile(SGD(1.0, gradient_accumulation_steps=3), "mse")
    model.fit(x, torch.zeros(5, 1), batch_size=2, shuffle=False, verbose=0)
    # d/d always: 2·mean(x·z), z = x (first batch) or 2·x (the others); d/d second: 2·mean over five of x·z, in the others
    assert module.second.item() == pytest.approx(1 - 2 * (3 * 2 * 4) / 5)
    assert module.always.item() == pytest.approx(1 - 2 * (2 * 1 + 3 * 2 * 4) / 5)


def test_ctrl_c_and_a_stop_use_what_is_there() -> None:
    class Stop(lm.Callback):
        def on_batch_end(self, model: nn.Module, state: State) -> None:
            state.stop = "enough"

    model = network()
    model.compile(SGD(0.1, gradient_accumulation_steps=3), "sparse_categorical_crossentropy")
    options: dict[str, Any] = {"shuffle": False, "seed": 0, "verbose": 0}
    model.fit(*data(12), batch_size=4, callbacks=Stop(), **options)
    other = network()
    other.compile(SGD(0.1), "sparse_categorical_crossentropy")
    other.fit(*(t[:4] for t in data(12)), batch_size=4, **options)
    same(model, other)


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "2"])
def test_what_is_no_number_of_batches(value: Any) -> None:
    with pytest.raises(ArgumentError) as error:
        SGD(0.1, gradient_accumulation_steps=value)
    assert str(error.value) == (
        f"SGD(gradient_accumulation_steps=): expected a whole number of at least 1, or None, received {value!r}. "
        "Pass 4, for example."
    )


def test_lightnings_word_is_answered() -> None:
    model = network()
    model.compile("sgd", "mse")
    with pytest.raises(ArgumentError) as error:
        model.fit(*data(4), accumulate_grad_batches=4)  # type: ignore[call-arg]
    assert str(error.value) == (
        "Sequential.fit(accumulate_grad_batches=): expected none: it is the optimizer's, received 4. "
        "Write compile(optimizers.Adam(gradient_accumulation_steps=4), ...), say."
    )


def test_it_is_said_in_the_description() -> None:
    assert repr(SGD(0.1, gradient_accumulation_steps=4)) == (
        "SGD(learning_rate=0.1, momentum=0.0, nesterov=False, gradient_accumulation_steps=4)"
    )
