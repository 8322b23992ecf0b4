"""The memory of a training step: networks whose tensors can be counted by hand."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import laminar as lm
from laminar import layers as L
from laminar import seeding
from laminar.comparison.memory import memory_of_run, step_memory
from laminar.comparison.protocol import make_protocol
from laminar.comparison.task import Task, execute
from laminar.errors import NotCompiledError

N, INPUTS, OUTPUTS = 100, 20, 10
X, Y = torch.zeros(N, INPUTS), torch.zeros(N, OUTPUTS)
PARAMETERS = INPUTS * OUTPUTS + OUTPUTS
FLOAT = 4  # bytes


def product(z: Tensor, y: Tensor) -> Tensor:
    """A loss whose backward needs y alone."""
    return (z * y).sum()


def compiled(*layers: Any, optimizer: Any = "sgd", loss: Any = product) -> lm.Sequential:
    model = lm.Sequential(list(layers))
    model.compile(optimizer, loss, device="cpu", engine="eager")  # of which it can be told by hand what is alive
    return model


def by_hand(batch: int) -> int:
    """Numbers alive when the gradients of a dense layer have just been made, without the optimizer's own."""
    read = batch * (INPUTS + OUTPUTS)
    made = 2 * batch * OUTPUTS + 2  # output and its gradient, loss and its gradient
    return 2 * PARAMETERS + read + made


@pytest.mark.parametrize("batch", [10, 50, 100])
def test_a_dense_layer_by_hand(batch: int) -> None:
    assert step_memory(compiled(L.Dense(OUTPUTS)), X, Y, batch_size=batch) == FLOAT * by_hand(batch)


@pytest.mark.parametrize(("optimizer", "state"), [("sgd", 0), ("sgdm", PARAMETERS), ("adam", 2 * PARAMETERS + 2)])
def test_the_optimizer_holds_what_its_rule_says(optimizer: str, state: int) -> None:
    """Nothing; one number a parameter; two, and a count of steps for the weights and one for the biases."""
    assert step_memory(compiled(L.Dense(OUTPUTS), optimizer=optimizer), X, Y) == FLOAT * (by_hand(N) + state)


def test_a_hidden_layer_by_hand() -> None:
    """The peak is where the gradient of ReLU's output becomes that of its input, and the last layer's gradients are there."""
    hidden = 50
    weights, last = INPUTS * hidden + hidden + hidden * OUTPUTS + OUTPUTS, hidden * OUTPUTS + OUTPUTS
    alive = weights + N * (INPUTS + OUTPUTS) + last + N * (3 * hidden + OUTPUTS) + 2
    assert step_memory(compiled(L.Dense(hidden, "relu"), L.Dense(OUTPUTS)), X, Y) == FLOAT * alive


def test_trained_or_not_is_the_same() -> None:
    model = compiled(L.Dense(OUTPUTS), optimizer="adam")
    before = step_memory(model, X, Y)
    model.fit(X, Y, verbose=0)
    assert step_memory(model, X, Y) == before


def test_a_frozen_layer_has_no_gradients() -> None:
    first = L.Dense(INPUTS)
    model = compiled(first, L.Dense(OUTPUTS)).build((INPUTS,))
    free = step_memory(model, X, Y)
    first.trainable = False
    assert free - step_memory(model, X, Y) >= FLOAT * INPUTS * (INPUTS + 1)


def test_buffers_count() -> None:
    plain, normalized = compiled(L.Dense(OUTPUTS)), compiled(L.Dense(OUTPUTS), L.BatchNormalization())
    assert step_memory(normalized, X, Y) > step_memory(plain, X, Y) + FLOAT * (2 * OUTPUTS + 2 * OUTPUTS)


def test_it_grows_linearly_with_the_batch() -> None:
    x, y = torch.rand(64, 1, 12, 12), torch.randint(10, (64,))
    layers = L.Conv2D(8, 3), L.BatchNormalization(), L.ELU("uniform", learnable=True), L.Flatten(), L.Dense(10)
    model = compiled(*layers, optimizer="sgdm", loss="sparse_categorical_crossentropy")
    found = [step_memory(model, x, y, batch_size=size) for size in (16, 32, 48, 64)]
    steps = np.diff(found)
    assert steps[0] > 16 * FLOAT * 8 * 10 * 10  # more than one output of the convolution
    assert steps.tolist() == [steps[0]] * 3


def test_a_slice_of_all_the_data_counts_as_itself() -> None:
    """Also where the slice is a view of a tensor that is a thousand times as large."""
    many = torch.zeros(1000 * N, INPUTS), torch.zeros(1000 * N, OUTPUTS)
    assert step_memory(compiled(L.Dense(OUTPUTS)), *many, batch_size=N) == FLOAT * by_hand(N)


def test_everything_stays_as_it_was() -> None:
    model = compiled(L.Dense(16, "relu"), L.Dropout(0.5), L.BatchNormalization(), L.Dense(OUTPUTS), optimizer="adam")
    x, y = torch.rand(N, INPUTS), torch.rand(N, OUTPUTS)
    model.fit(x, y, verbose=0, epochs=2)
    twin = copy.deepcopy(model)
    states, weights = seeding.generator_states(), {k: v.clone() for k, v in model.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    step_memory(model, x, y)
    assert seeding.generator_states() == states
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True) if g is not None)  # type: ignore[arg-type]  # there is one
    assert not model.training
    for each in (model, twin):
        each.fit(x, y, verbose=0, seed=3)  # with the optimizer's state of before
    assert all(torch.equal(v, twin.state_dict()[k]) for k, v in model.state_dict().items())


def test_several_inputs_and_outputs() -> None:
    left, right = lm.Input((4,), name="left"), lm.Input((6,), name="right")
    joined = L.Concatenate()([left, right])
    model = lm.Model([left, right], [L.Dense(3, name="a")(joined), L.Dense(2, name="b")(joined)])
    model.compile("sgd", "mse", device="cpu")
    x = {"left": np.zeros((8, 4), "f"), "right": np.zeros((8, 6), "f")}
    y = {"a": np.zeros((8, 3), "f"), "b": np.zeros((8, 2), "f")}
    fewer, more = (step_memory(model, x, y, batch_size=size) for size in (4, 8))
    assert 2 * FLOAT * (10 * 5 + 5) + FLOAT * 4 * 15 < fewer < more


def test_it_needs_a_loss() -> None:
    with pytest.raises(NotCompiledError, match=r"^Sequential\.step_memory: expected a compiled network"):
        step_memory(lm.Sequential([L.Dense(3)]), X, Y)


def test_what_cannot_be_measured_is_none() -> None:
    model = compiled(L.Dense(OUTPUTS))
    assert memory_of_run(model, (X, Y, None), {"batch_size": 50, "epochs": 3}) == FLOAT * by_hand(50)
    assert memory_of_run(model, ([(X, Y)], None, None), {}) is None  # a source of batches
    assert memory_of_run(model, (X, Y[:, :3], None), {}) is None  # targets that do not fit
    assert memory_of_run(model, (X, Y, torch.ones(N)), {}) is None  # weights beside a loss that is one number
    model = compiled(L.Dense(OUTPUTS), loss="mse")
    weighted = memory_of_run(model, (X, Y, torch.ones(N)), {})
    assert weighted is not None
    assert weighted > FLOAT * (2 * PARAMETERS + N * (INPUTS + OUTPUTS + 1))


def test_a_run_of_a_comparison_has_it() -> None:
    protocol = make_protocol(["a", "b"], metric="loss", margin=0.1, seeds=2)
    builders = {name: lambda: compiled(L.Dense(OUTPUTS)) for name in "ab"}
    run = execute(Task(protocol, builders, (X, Y), (X, Y), {"epochs": 1, "batch_size": 25}), "a", 0)
    assert (run.memory, run.parameters) == (FLOAT * by_hand(25), PARAMETERS)
