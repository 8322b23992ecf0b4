"""Optimizers against the published update rules in NumPy, and the fused kernels against plain ones."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import Parameter

from laminar import optimizers
from laminar.errors import ArgumentError, UnknownNameError
from laminar.optimizers import (
    OPTIMIZERS,
    SGD,
    SGDM,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Factory,
    Muon,
    Nadam,
    Optimizer,
    Ready,
    RMSprop,
)

Array: TypeAlias = np.ndarray[Any, Any]
Rule: TypeAlias = Callable[[Any, Array, list[Array]], Array]


# ── the published rules: description, start, gradients → end ─────────────────────────────────────────────────────────────


def sgd(o: Any, w: Array, gs: list[Array]) -> Array:
    """Sutskever et al. 2013 in torch's form: the velocity is a sum of gradients."""
    v = np.zeros_like(w)
    for g in gs:
        g = g + o.weight_decay * w
        v = o.momentum * v + g
        w = w - o.learning_rate * (g + o.momentum * v if getattr(o, "nesterov", False) else v)
    return w


def adam(o: Any, w: Array, gs: list[Array]) -> Array:
    """Kingma & Ba 2015, algorithm 1; Reddi et al. 2018; Loshchilov & Hutter 2019, algorithm 2."""
    m, v, largest = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(gs, 1):
        if isinstance(o, AdamW):
            w = w - o.learning_rate * o.weight_decay * w
        else:
            g = g + o.weight_decay * w
        m = o.beta_1 * m + (1 - o.beta_1) * g
        v = o.beta_2 * v + (1 - o.beta_2) * g**2
        largest = np.maximum(largest, v)
        v_hat = (largest if o.amsgrad else v) / (1 - o.beta_2**t)
        w = w - o.learning_rate * m / (1 - o.beta_1**t) / (np.sqrt(v_hat) + o.epsilon)
    return w


def rmsprop(o: Any, w: Array, gs: list[Array]) -> Array:
    """Tieleman & Hinton 2012; Graves 2013 for the centered form."""
    v, mean, u = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for g in gs:
        g = g + o.weight_decay * w
        v = o.rho * v + (1 - o.rho) * g**2
        mean = o.rho * mean + (1 - o.rho) * g
        u = o.momentum * u + g / (np.sqrt(v - mean**2 if o.centered else v) + o.epsilon)
        w = w - o.learning_rate * u
    return w


def adagrad(o: Any, w: Array, gs: list[Array]) -> Array:
    """Duchi et al. 2011, the diagonal form."""
    s = np.full_like(w, o.initial_accumulator_value)
    for g in gs:
        g = g + o.weight_decay * w
        s = s + g**2
        w = w - o.learning_rate * g / (np.sqrt(s) + o.epsilon)
    return w


def adadelta(o: Any, w: Array, gs: list[Array]) -> Array:
    """Zeiler 2012, algorithm 1."""
    v, d = np.zeros_like(w), np.zeros_like(w)
    for g in gs:
        g = g + o.weight_decay * w
        v = o.rho * v + (1 - o.rho) * g**2
        step = np.sqrt(d + o.epsilon) / np.sqrt(v + o.epsilon) * g
        d = o.rho * d + (1 - o.rho) * step**2
        w = w - o.learning_rate * step
    return w


def adamax(o: Any, w: Array, gs: list[Array]) -> Array:
    """Kingma & Ba 2015, algorithm 2."""
    m, u = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(gs, 1):
        g = g + o.weight_decay * w
        m = o.beta_1 * m + (1 - o.beta_1) * g
        u = np.maximum(o.beta_2 * u, np.abs(g) + o.epsilon)
        w = w - o.learning_rate / (1 - o.beta_1**t) * m / u
    return w


def nadam(o: Any, w: Array, gs: list[Array]) -> Array:
    """Dozat 2016: momentum β₁(1 − 0.96^(t/250)/2) at step t."""
    m, v, product = np.zeros_like(w), np.zeros_like(w), 1.0
    for t, g in enumerate(gs, 1):
        g = g + o.weight_decay * w
        now, following = (o.beta_1 * (1 - 0.5 * 0.96 ** (s / 250)) for s in (t, t + 1))
        product *= now
        m = o.beta_1 * m + (1 - o.beta_1) * g
        v = o.beta_2 * v + (1 - o.beta_2) * g**2
        m_bar = following * m / (1 - product * following) + (1 - now) * g / (1 - product)
        w = w - o.learning_rate * m_bar / (np.sqrt(v / (1 - o.beta_2**t)) + o.epsilon)
    return w


def muon(o: Any, w: Array, gs: list[Array]) -> Array:
    """AdamW for what is no matrix; test_muon.py has the matrices."""
    return adam(AdamW(o.learning_rate, o.adam_beta_1, o.adam_beta_2, o.epsilon, weight_decay=o.weight_decay), w, gs)


CASES: list[tuple[Optimizer, Rule]] = [
    (SGD(0.1), sgd),
    (SGD(0.1, momentum=0.8, weight_decay=0.1), sgd),
    (SGD(0.1, momentum=0.8, nesterov=True, weight_decay=0.1), sgd),
    (SGDM(), sgd),
    (Adam(0.1), adam),
    (Adam(0.1, 0.8, 0.99, 1e-3, weight_decay=0.1), adam),
    (Adam(0.1, 0.8, 0.9, amsgrad=True), adam),
    (AdamW(0.1, weight_decay=0.2), adam),
    (RMSprop(0.1), rmsprop),
    (RMSprop(0.1, 0.8, 0.5, 1e-3, centered=True, weight_decay=0.1), rmsprop),
    (Adagrad(0.1), adagrad),
    (Adagrad(0.1, initial_accumulator_value=0.1, epsilon=1e-3, weight_decay=0.1), adagrad),
    (Adadelta(), adadelta),
    (Adadelta(0.5, 0.8, 1e-3, weight_decay=0.1), adadelta),
    (Adamax(0.1, weight_decay=0.1), adamax),
    (Nadam(0.1, weight_decay=0.1), nadam),
    (Muon(0.1, weight_decay=0.1), muon),
]


def run(optimizer: torch.optim.Optimizer, w: Parameter, gs: list[Array]) -> Array:
    """Return the parameter's values after one step per gradient."""
    for g in gs:
        w.grad = torch.from_numpy(g).to(w.dtype)
        optimizer.step()
    return w.detach().numpy()


def data(seed: int, steps: int = 12, shape: tuple[int, ...] = (3, 4)) -> tuple[Array, list[Array]]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), [rng.normal(size=shape) for _ in range(steps)]


@pytest.mark.parametrize(("description", "rule"), CASES, ids=[str(o) for o, _ in CASES])
def test_published_rule(description: Optimizer, rule: Rule) -> None:
    """R7: twelve steps of sixty weights in float64; weights are decayed and others not."""
    start, gradients = data(0, shape=(3, 4, 5))
    w, b = (Parameter(torch.from_numpy(start.copy())) for _ in range(2))
    optimizer = description.create([w], [b])
    for g in gradients:
        w.grad, b.grad = torch.from_numpy(g), torch.from_numpy(g)
        optimizer.step()
    free = copy.copy(description)
    object.__setattr__(free, "weight_decay", 0.0)
    tolerance = 1e-6 if isinstance(description, Nadam) else 1e-9  # torch keeps Nadam's product of momenta in float32
    for p, o in ((w, description), (b, free)):
        np.testing.assert_allclose(p.detach().numpy(), rule(o, start, gradients), rtol=tolerance, atol=tolerance)


def test_every_optimizer_has_a_rule() -> None:
    """A new one needs its formula above."""
    assert {type(o) for o in OPTIMIZERS.values()} == {type(o) for o, _ in CASES}


# ── defaults ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_defaults() -> None:
    """R5 and R7's settings, and MATLAB's for "sgdm"."""
    assert optimizers.get("sgd") == SGD(learning_rate=0.01, momentum=0.0, nesterov=False)
    assert optimizers.get("sgdm") == SGDM(learning_rate=0.01, momentum=0.9, weight_decay=1e-4) == optimizers.get("momentum")
    assert optimizers.get("nesterov") == SGD(learning_rate=0.01, momentum=0.9, nesterov=True)
    assert optimizers.get("rmsprop") == RMSprop(learning_rate=0.001, rho=0.9, epsilon=1e-7)
    assert optimizers.get("adagrad") == Adagrad(learning_rate=0.01, initial_accumulator_value=0.1, epsilon=1e-7)
    assert optimizers.get("adadelta") == Adadelta(learning_rate=1.0, rho=0.95, epsilon=1e-7)
    assert optimizers.get("adam") == Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False)
    assert optimizers.get("ADAM-W") == AdamW(learning_rate=0.001, weight_decay=0.01)
    assert optimizers.get("muon") == Muon(learning_rate=0.001, momentum=0.95, nesterov=True, weight_decay=0.004)


# ── fused kernels ────────────────────────────────────────────────────────────────────────────────────────────────────────

FUSED = [SGD(0.1, momentum=0.9), SGDM(0.1), Adam(0.01), AdamW(0.01), Adagrad(0.1)]
CHANNELS_LAST = torch.channels_last


def plain(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Switch the fused kernels off, and the guard with them."""
    for group in optimizer.param_groups:
        group["fused"] = False
    optimizer._optimizer_step_pre_hooks.clear()
    return optimizer


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, event: Callable[[int], None] = lambda i: None) -> Iterator[None]:
    """Train for five steps on fixed data; `event` happens before each."""
    x = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    for i in range(5):
        event(i)
        optimizer.zero_grad()
        model(x.to(memory_format=CHANNELS_LAST)).square().mean().backward()
        optimizer.step()
        yield


def network(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 1, 1), nn.Flatten(), nn.Linear(16, 2)).to(dtype)


def end(model: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("description", FUSED, ids=str)
@pytest.mark.parametrize(
    "event", ["nothing", "channels-last from the start", "channels-last later", "state loaded", "gradient assigned"]
)
def test_fused_steps_are_plain_steps(description: Optimizer, event: str) -> None:
    """To rounding, whatever happens to memory layouts on the way; without the guard the last three fail."""
    ends = []
    for fused in (True, False):
        model = network()
        if event == "channels-last from the start":
            model = model.to(memory_format=CHANNELS_LAST)
        optimizer = description.create(list(model.parameters()))
        assert all(group["fused"] for group in optimizer.param_groups)

        def happen(i: int, model: nn.Sequential = model, optimizer: torch.optim.Optimizer = optimizer) -> None:
            if event == "channels-last later" and i == 2:
                model.to(memory_format=CHANNELS_LAST)
            if event == "state loaded" and i == 2:
                state = optimizer.state_dict()
                for values in state["state"].values():
                    for key, value in values.items():
                        if isinstance(value, torch.Tensor) and value.ndim == 4:
                            values[key] = value.clone(memory_format=CHANNELS_LAST)
                optimizer.load_state_dict(state)
            if event == "gradient assigned" and i > 2:
                transposed = torch.linspace(-1, 1, 32).reshape(16, 2).t()
                model[4].weight.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", transposed))  # type: ignore[union-attr]

        for _ in steps(model, optimizer if fused else plain(optimizer), happen):
            pass
        ends.append(end(model))
    for ours, expected in zip(*ends, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


@given(shape=st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple), seed=st.integers(0, 2**31))
@pytest.mark.parametrize("description", FUSED, ids=str)
def test_fused_kernels_of_every_size(description: Optimizer, shape: tuple[int, ...], seed: int) -> None:
    """float32, sizes around the vector width: within rounding of the plain kernels."""
    start, gradients = data(seed, 5, shape)
    ours, expected = (Parameter(torch.from_numpy(start).float()) for _ in range(2))
    run(description.create([ours]), ours, gradients)
    run(plain(description.create([expected])), expected, gradients)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "parameters",
    [
        [Parameter(torch.ones(40, dtype=torch.bfloat16))],
        [Parameter(torch.ones(40, dtype=torch.float16)), Parameter(torch.ones(40))],
        [Parameter(torch.ones(40, dtype=torch.complex64))],
        [Parameter(torch.ones(40, 2)[:, 0])],
        [Parameter(torch.ones(40)), Parameter(torch.ones(40, device="meta"))],
    ],
    ids=["bfloat16", "float16 among float32", "complex", "memory with gaps", "two devices"],
)
@pytest.mark.parametrize("description", FUSED, ids=str)
def test_plain_kernels_where_the_fused_ones_are_wrong(description: Optimizer, parameters: list[Parameter]) -> None:
    """Every element moves, which torch's fused CPU kernel does not do in half precision."""
    optimizer = description.create(parameters)
    assert not any(group.get("fused") for group in optimizer.param_groups)
    for p in parameters:
        if p.device.type == "cpu":
            p.grad = torch.ones_like(p)
    optimizer.step()
    assert all(bool((p != 1).all()) for p in parameters if p.device.type == "cpu")


def test_kernels_are_chosen_again_when_parameters_are_converted() -> None:
    """A network moved to bfloat16 between two fits leaves the fused kernels, and returns to them."""
    model = nn.Linear(40, 1)
    optimizer = SGD(1.0).create(list(model.parameters()))
    for dtype, fused in ((torch.bfloat16, False), (torch.float64, True)):
        model.to(dtype)
        before = end(model)
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
        assert [group["fused"] for group in optimizer.param_groups] == [fused]
        for p, old in zip(model.parameters(), before, strict=True):
            torch.testing.assert_close(p.detach(), old - 1)


def test_frozen_parameters_are_left_alone() -> None:
    """R3: no gradient, no step, no decay; the others' state survives."""
    w, frozen = Parameter(torch.ones(3)), Parameter(torch.ones(3), requires_grad=False)
    optimizer = AdamW(0.1).create([w, frozen])
    for g in (1.0, 2.0):
        w.grad = torch.full((3,), g)
        optimizer.step()
    assert frozen.tolist() == [1.0, 1.0, 1.0]
    assert optimizer.state[w]["step"] == 2


@pytest.mark.parametrize("description", FUSED, ids=str)
def test_a_parameter_that_learns_later_begins_where_it_should(description: Optimizer) -> None:
    """R3, R19: after unfreezing; torch's fused SGD stops there with a TypeError."""
    ends = []
    for fused in (True, False):
        w, late = Parameter(torch.ones(3)), Parameter(torch.ones(3))
        optimizer = description.create([w, late])
        for step in range(4):
            w.grad = torch.full((3,), 1.0 + step)
            late.grad = torch.full((3,), 2.0 + step) if step >= 2 else None
            (optimizer if fused else plain(optimizer)).step()
        ends.append([w, late])
    for ours, expected in zip(*ends, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-7)


# ── groups, and what people bring along ──────────────────────────────────────────────────────────────────────────────────


def test_groups() -> None:
    """Two only where there is decay: each group costs a kernel call."""
    w, b = Parameter(torch.zeros(2)), Parameter(torch.zeros(2))
    sizes = {
        (name, len(weights), len(others)): [
            (len(g["params"]), g["weight_decay"]) for g in OPTIMIZERS[name].create(weights, others).param_groups
        ]
        for name in ("sgd", "sgdm")
        for weights, others in (([w], [b]), ([w], []), ([], [b]))
    }
    assert sizes == {
        ("sgd", 1, 1): [(2, 0.0)],
        ("sgd", 1, 0): [(1, 0.0)],
        ("sgd", 0, 1): [(1, 0.0)],
        ("sgdm", 1, 1): [(1, 1e-4), (1, 0.0)],
        ("sgdm", 1, 0): [(1, 1e-4)],
        ("sgdm", 0, 1): [(1, 0.0)],
    }


def test_brought_along() -> None:
    """A torch optimizer, a class, a partial."""
    w, b = Parameter(torch.zeros(2)), Parameter(torch.zeros(2))
    ready = torch.optim.SGD([b, w], lr=0.5)
    assert optimizers.get(ready).create([w], [b]) is ready
    made = optimizers.get(functools.partial(torch.optim.AdamW, lr=0.25)).create([w], [b])
    assert isinstance(made, torch.optim.AdamW)
    assert made.param_groups[0]["lr"] == 0.25
    assert [id(p) for p in made.param_groups[0]["params"]] == [id(w), id(b)]
    assert isinstance(optimizers.get(torch.optim.Muon), Factory)
    frozen = Parameter(torch.zeros(1), requires_grad=False)
    assert Ready(ready).create([w, frozen], [b]) is ready
    assert optimizers.get(SGDM(0.1)) == SGDM(0.1)


SPECS = "a name, an optimizer, or a function from parameters to a torch optimizer"
PARAMETER = Parameter(torch.zeros(1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: optimizers.get("adan"),
            UnknownNameError,
            "optimizer 'adan' is unknown. Did you mean 'adam'? Known: adadelta, adagrad, adam, adamax, adamw, momentum, muon, nadam, "
            "nesterov, rmsprop, sgd, sgdm.",
        ),
        (
            lambda: optimizers.get(0.1),  # type: ignore[arg-type]
            ArgumentError,
            f'optimizer: expected {SPECS}, received 0.1. Pass "adam", for example.',
        ),
        (
            lambda: optimizers.get(Adam),  # type: ignore[arg-type]
            ArgumentError,
            f"optimizer: expected {SPECS}, received the class Adam. Pass Adam() with parentheses.",
        ),
        (
            lambda: SGD(0),
            ArgumentError,
            "SGD(learning_rate=): expected a number above 0, received 0. Pass learning_rate=0.01, for example.",
        ),
        (
            lambda: Adam(learning_rate="0.1"),  # type: ignore[arg-type]
            ArgumentError,
            "Adam(learning_rate=): expected a number above 0, received '0.1'. Pass learning_rate=0.001, for example.",
        ),
        (
            lambda: Adam(float("nan")),
            ArgumentError,
            "Adam(learning_rate=): expected a number above 0, received nan. Pass learning_rate=0.001, for example.",
        ),
        (
            lambda: SGD(momentum=1.0),
            ArgumentError,
            "SGD(momentum=): expected a number of at least 0 and below 1, received 1.0. Pass momentum=0.0, for example.",
        ),
        (
            lambda: SGD(nesterov=True),
            ArgumentError,
            "SGD(nesterov=True): expected a momentum above 0, received momentum=0. Pass momentum=0.9, for example.",
        ),
        (
            lambda: SGDM(weight_decay=-1),
            ArgumentError,
            "SGDM(weight_decay=): expected a number of at least 0, received -1. Pass weight_decay=0.0001, for example.",
        ),
        (
            lambda: Adadelta(epsilon=0),
            ArgumentError,
            "Adadelta(epsilon=): expected a number above 0, received 0. Pass epsilon=1e-07, for example.",
        ),
        (
            lambda: RMSprop(rho=True),
            ArgumentError,
            "RMSprop(rho=): expected a number of at least 0 and below 1, received True. Pass rho=0.9, for example.",
        ),
        (
            lambda: SGD().create([]),
            ArgumentError,
            "optimizer: expected at least one parameter to train, received none. "
            'Unfreeze a layer, or add one with learnables, such as Dense(10, activation="softmax").',
        ),
        (
            lambda: Ready(torch.optim.SGD([Parameter(torch.zeros(1))])).create([PARAMETER]),
            ArgumentError,
            "optimizer: expected the parameters of this network and no others, received SGD with 1 that are not its and "
            "without 1 to be trained. Give it model.parameters() after model.build, or pass "
            "functools.partial(torch.optim.SGD, lr=...).",
        ),
        (
            lambda: optimizers.get(lambda parameters: parameters).create([PARAMETER]),  # type: ignore[arg-type, return-value]
            ArgumentError,
            "optimizer: expected a function that returns a torch.optim.Optimizer, received one that returns list. "
            "Pass functools.partial(torch.optim.AdamW, lr=1e-3), for example.",
        ),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    """Where, expected, received, fix."""
    with pytest.raises(error) as e:
        call()
    assert str(e.value) == message
