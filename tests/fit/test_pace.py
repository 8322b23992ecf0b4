"""The learning rate over a training: schedules, decay, factors of layers, several fits, copies."""

from __future__ import annotations

import copy
import functools
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar import schedules as S
from laminar.errors import ArgumentError
from laminar.optimizers import SGD, SGDM, Adam, Muon

LOSS = "sparse_categorical_crossentropy"


def data(n: int = 20) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 6, generator=generator), torch.randint(3, (n,), generator=generator)


def network() -> lm.Sequential:
    return lm.Sequential([L.Dense(5, "tanh"), L.Dense(4, "tanh"), L.Dense(3)]).build((6,), seed=2)


def compiled(optimizer: Any) -> lm.Sequential:
    model = network()
    model.compile(optimizer, LOSS, engine="eager")  # whose numbers are those of a loop by hand
    return model


def fit(model: lm.Sequential, epochs: int = 1, **settings: Any) -> list[float]:
    """Train on 20 observations, five to a batch; return the rate of each iteration."""
    x, y = data()
    history = model.fit(x, y, epochs=epochs, **{"batch_size": 5, "shuffle": False, "verbose": 0, **settings})
    return history.iterations["learning_rate"]


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


# ── schedules ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_schedule_counts_iterations_over_all_fits() -> None:
    """As Keras' optimizer.iterations; the weights are those of a loop by hand that sets each rate. Compile starts anew."""
    schedule = S.ExponentialDecay(0.1, 4, 0.5)
    model, theirs = compiled(SGD(schedule, momentum=0.9)), network()
    rates = fit(model, epochs=2) + fit(model, epochs=1)
    assert rates == [schedule(n) for n in range(12)]
    optimizer = torch.optim.SGD(theirs.parameters(), lr=1.0, momentum=0.9, fused=True)
    x, y = data()
    for n in range(12):
        optimizer.param_groups[0]["lr"] = schedule(n)
        optimizer.zero_grad()
        at = 5 * n % 20
        nn.functional.cross_entropy(theirs(x[at : at + 5]), y[at : at + 5]).backward()
        optimizer.step()
    assert same_weights(model, theirs)
    model.compile(SGD(schedule), LOSS)
    assert fit(model)[0] == 0.1


def test_a_plain_function_is_a_schedule() -> None:
    assert fit(compiled(Adam(lambda n: 0.1 / (1 + n)))) == [0.1, 0.05, 0.1 / 3, 0.025]


def test_a_schedule_may_count_epochs() -> None:
    """Parts of an epoch count as parts, whatever the batch size of each fit; history has the last rate of each epoch."""
    model = compiled(SGD(S.Function(lambda e: 1 / (1 + e), per="epoch")))
    assert fit(model, epochs=2) == [1 / (1 + n / 4) for n in range(8)]
    assert fit(model, batch_size=10) == [1 / 3, 1 / 3.5]
    model = compiled(SGD(S.StepDecay(0.5, 1, 0.5, per="epoch")))
    x, y = data()
    history = model.fit(x, y, epochs=3, batch_size=5, verbose=0)
    assert history.history["learning_rate"] == [0.5, 0.25, 0.125]


class Stream:
    """Batches whose number is not told."""

    def __iter__(self) -> Any:
        x, y = data()
        return zip(x.split(5), y.split(5), strict=True)


def test_epochs_of_a_stream_have_a_length_once_the_first_has_ended() -> None:
    model = compiled(SGD(S.Function(lambda e: 1 / (1 + e), per="epoch")))
    history = model.fit(Stream(), epochs=2, verbose=0)
    assert history.iterations["learning_rate"] == [1.0] * 4 + [1 / 2, 1 / 2.25, 1 / 2.5, 1 / 2.75]


@pytest.mark.parametrize("value", [-0.1, float("nan"), None])
def test_a_schedule_that_gives_no_rate_is_told(value: Any) -> None:
    model = compiled(SGD(lambda n: value if n == 3 else 0.1))
    with pytest.raises(ArgumentError) as e:
        fit(model)
    assert str(e.value) == (
        "Function(test_a_schedule_that_gives_no_rate_is_told.<locals>.<lambda>): expected a learning rate of at least 0, "
        f"received {value!r} after 3 iterations. Let it return a number of at least 0 for every count."
    )
    assert e.value.__notes__ == ["This happened in epoch 1 at iteration 4, on a batch of 5."]


def test_a_rate_that_a_schedule_drives_cannot_be_set() -> None:
    class Set(lm.Callback):
        def on_epoch_end(self, model: Any, state: Any) -> None:
            assert state.learning_rate == schedule(4)
            state.learning_rate = 0.1

    schedule = S.StepDecay(0.5, 2, 0.5)
    with pytest.raises(ArgumentError) as e:
        fit(compiled(Adam(schedule)), callbacks=[Set()])
    assert str(e.value) == (
        "state.learning_rate: expected a learning rate that no schedule drives, to set it, received "
        "Adam(StepDecay(initial_learning_rate=0.5, decay_steps=2, decay_rate=0.5)). "
        "Pass a number as learning_rate= of Adam, or leave out the callback that sets it."
    )


# ── decay ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_decay_is_time_based() -> None:
    """R6 and R15: lr₀ / (1 + decay·iterations), over all fits."""
    model = compiled(SGD(0.01, 0.9, nesterov=True, decay=1e-2))
    assert fit(model) + fit(model) == pytest.approx([0.01 / (1 + 1e-2 * n) for n in range(8)], rel=1e-12)


def test_a_callback_may_lower_a_rate_that_decays() -> None:
    """R15 has both: what is set is the rate of the next step, and the decay goes on from there, as it did in Keras."""

    class Tenth(lm.Callback):
        def on_epoch_end(self, model: Any, state: Any) -> None:
            before = state.learning_rate
            state.learning_rate *= 0.1
            assert state.learning_rate == pytest.approx(before / 10, rel=1e-12)

    model = compiled(SGD(0.01, decay=0.5))
    rates = fit(model, epochs=2, callbacks=[Tenth()]) + fit(model)
    base = [0.01] * 4 + [0.001] * 4 + [0.0001] * 4
    assert rates == pytest.approx([b / (1 + 0.5 * n) for n, b in enumerate(base)], rel=1e-12)


# ── several fits, copies ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "optimizer",
    [
        SGDM(0.1, decay=0.1),
        Adam(S.CosineDecay(0.1, 20)),
        Adam(S.CosineDecay(0.1, 5, per="epoch"), use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3),
        Muon(0.01, clipnorm=0.1, decay=0.1),
    ],
    ids=str,
)
@pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_a_copy_goes_on_to_the_bit(optimizer: Any, way: Any) -> None:
    """With momenta, running means, counts, rates and factors; also a copy of a copy that has not trained."""
    model = network()
    model[0].learning_rate_factor = 0.5
    model.compile(optimizer, LOSS, engine="eager")  # whose numbers are those of a loop by hand
    fit(model, epochs=2)
    other = way(way(model))
    assert fit(model, epochs=2) == fit(other, epochs=2)
    assert same_weights(model, other)


def test_a_rate_that_was_lowered_stays_lowered() -> None:
    """In the next fit, in a copy, and when a layer is put in between, for which the optimizer is made anew."""

    class Lower(lm.Callback):
        def on_train_end(self, model: Any, state: Any) -> None:
            state.learning_rate = 0.25

    model = compiled(SGDM(1.0))
    fit(model, callbacks=[Lower()])
    other = copy.deepcopy(model)
    assert fit(model) == fit(other) == [0.25] * 4
    model._modules["dense_1"] = L.Dense(4, "tanh")
    assert fit(model.build((6,), seed=2)) == [0.25] * 4


def test_a_rate_of_zero_forgets_no_proportions() -> None:
    class ThereAndBack(lm.Callback):
        def on_batch_end(self, model: Any, state: Any) -> None:
            state.learning_rate = 0.0 if state.iteration == 1 else 0.5

    model = network()
    groups = [{"params": [p], "lr": 1.0 + i} for i, p in enumerate(model.parameters())]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    model.compile(optimizer, LOSS, engine="eager")  # whose numbers are those of a loop by hand
    assert fit(model, callbacks=[ThereAndBack()]) == [1.0, 0.0, 0.5, 0.5]
    assert [group["lr"] for group in optimizer.param_groups] == [0.5 * (1 + i) for i in range(6)]


def test_the_averages_take_the_place_of_the_weights_at_the_end() -> None:
    """Before callbacks' on_train_end, as in Keras; in validation before that the weights are as they are."""
    seen: list[Tensor] = []

    class Look(lm.Callback):
        def on_batch_end(self, model: Any, state: Any) -> None:
            seen.append(model[2].weight.detach().clone())

        def on_train_end(self, model: Any, state: Any) -> None:
            seen.append(model[2].weight.detach().clone())

    fit(compiled(SGD(0.5, use_ema=True, ema_momentum=0.5)), callbacks=[Look()])
    *steps, end = seen
    mean = steps[0]
    for w in steps[1:]:
        mean = 0.5 * mean + 0.5 * w
    torch.testing.assert_close(end, mean)
    assert not torch.equal(end, steps[-1])


# ── factors ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def moved(model: nn.Module, before: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: p.detach() - before[name] for name, p in model.named_parameters()}


@pytest.mark.parametrize("brought", [False, True], ids=["ours", "torch's"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_factors_by_hand(decay: float, brought: bool) -> None:
    """SGD: each parameter's step is that without factors, times its own; a factor of 0 leaves its layer to the bit."""
    steps = []
    for factors in (False, True):
        model = network()
        if factors:
            model[0].learning_rate_factor = 0.5
            model[1].learning_rate_factor = 0
            L.set_learning_rate_factor(model, 4, "dense_2/bias")
        rate: Any = functools.partial(torch.optim.SGD, lr=0.25, weight_decay=decay)
        model.compile(rate if brought else SGD(0.25, weight_decay=decay), LOSS)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        assert fit(model, batch_size=20) == [0.25]
        steps.append(moved(model, before))
    plain, own = steps
    expected = {"dense": 0.5, "dense_1": 0.0, "dense_2.weight": 1.0, "dense_2.bias": 4.0}
    for name in plain:
        torch.testing.assert_close(own[name], plain[name] * expected.get(name, expected.get(name.split(".")[0], 1.0)))
    assert not any(bool(own[name].any()) for name in own if name.startswith("dense_1."))


def test_factors_hold_with_a_schedule_and_under_a_callbacks_hand() -> None:
    """The rate that is noted is the base rate; each group has its share of it."""
    model = network()
    model[2].learning_rate_factor = 10
    model[1].learning_rate_factor = 0
    model.compile(SGDM(S.ExponentialDecay(0.1, 1, 0.5)), LOSS)
    assert fit(model) == [0.1, 0.05, 0.025, 0.0125]
    groups = model._learner.pace(SGDM(), model, "test").optimizer.param_groups
    assert sorted((g["weight_decay"], g["lr"]) for g in groups) == [
        (0.0, 0.0), (0.0, 0.0125), (0.0, 0.125), (1e-4, 0.0), (1e-4, 0.0125), (1e-4, 0.125),
    ]  # fmt: skip


def test_factors_may_change_between_fits() -> None:
    """From the next fit on; momenta stay, and all factors back at 1 are as if there had never been any."""
    one, other = compiled(SGDM(0.1)), compiled(SGDM(0.1))
    fit(one)
    fit(other)
    one[0].learning_rate_factor = 0
    before = one[0].weight.detach().clone()
    state = copy.deepcopy(other)
    fit(one)
    assert torch.equal(one[0].weight, before)
    one[0].learning_rate_factor = 1
    one.load_state_dict(state.state_dict())
    pace, theirs = (m._learner.pace(SGDM(), m, "test").optimizer for m in (one, other))
    rates = [{p.shape: g["lr"] for g in o.param_groups for p in g["params"]} for o in (pace, theirs)]
    assert rates[0] == rates[1]


def test_factors_when_none_is_one() -> None:
    """The base rate is still the one that was asked for, exactly."""
    model = network()
    for layer in model:
        layer.learning_rate_factor = 0.3
    model.compile(SGD(0.1, decay=0.1), LOSS)
    assert fit(model) == [0.1 / (1 + 0.1 * n) for n in range(4)]
    model.compile(SGD(0.1), LOSS)
    assert fit(model) + fit(copy.deepcopy(model)) == [0.1] * 8


def test_all_factors_zero_is_refused() -> None:
    model = network()
    for layer in model:
        layer.learning_rate_factor = 0
    model.compile("sgd", LOSS)
    with pytest.raises(ArgumentError) as e:
        fit(model)
    assert str(e.value) == (
        "Sequential.fit: expected a parameter that learns, received 6, all with learning_rate_factor 0. "
        "Give a layer learning_rate_factor = 1."
    )


def test_an_embedding_is_no_matrix_for_muon() -> None:
    """Its rows are looked up, not multiplied: AdamW takes it."""
    model = lm.Sequential([nn.Embedding(7, 4), L.Flatten(), L.Dense(3)]).build((5,))
    model.compile("muon", LOSS)
    groups = model._learner.pace(Muon(), model, "test").optimizer.param_groups
    assert [(g["muon"], [tuple(p.shape) for p in g["params"]]) for g in groups] == [
        (True, [(3, 20)]), (False, [(7, 4)]), (False, [(3,)]),
    ]  # fmt: skip
