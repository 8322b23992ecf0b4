"""Several chains of dense layers at once: the losses, outputs, gradients and statistics of each alone, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.fit.aim import objective
from laminar.fit.convert import Batch
from laminar.fit.dense_chain import dense_chain
from laminar.fit.head import find_head
from laminar.fit.side_by_side import Stacked
from laminar.losses import Loss, get
from laminar.seeding import seed_all

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "dense": lambda: L.Dense(5),
    "dense, relu": lambda: L.Dense(4, activation="relu"),
    "dense without bias": lambda: L.Dense(3, use_bias=False),
    "dense, softmax": lambda: L.Dense(4, activation="softmax"),
    "normalization": L.BatchNormalization,
    "normalization, plain": lambda: L.BatchNormalization(scale=False, center=False, momentum=0.5),
    "relu": L.ReLU,
    "leaky": lambda: L.LeakyReLU(0.2),
    "tanh": lambda: L.Activation("tanh"),
    "flatten": L.Flatten,
}
LOSSES = ["sparse_categorical_crossentropy", "categorical_crossentropy", "mse", "binary_crossentropy"]


def frozen(layer: L.Layer) -> L.Layer:
    layer.trainable = False
    return layer


def assert_as_alone(models: list[lm.Sequential], loss: Loss, x: Tensor, y: Tensor, weight: Tensor | None) -> None:
    """Compare with each network alone; x, y, weight are (S, B, ...)."""
    head = find_head(models[0], loss, lambda: x[0])
    expected = []
    for k, model in enumerate(models):
        own = find_head(model, loss, lambda k=k: x[k])
        value, output = objective(model, loss, own)(Batch(x[k], y[k], None if weight is None else weight[k]))
        names, parameters = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)
        slopes = torch.autograd.grad(value, parameters)
        expected.append((value.detach(), output.detach(), dict(zip(names, slopes, strict=True)), buffers(model)))
    for model in models:  # the passes above have moved the statistics
        for buffer in model.buffers():
            buffer.fill_(1.0)
    stacked = Stacked(models)
    run = dense_chain(models[0], {**stacked.parameters, **stacked.buffers}, loss, head)
    assert run is not None
    values, outputs = run(Batch(x, y, weight))
    values.sum().backward()
    for k, (value, output, slopes, held) in enumerate(expected):
        torch.testing.assert_close(values[k].detach(), value, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(outputs[k].detach(), output, rtol=1e-12, atol=1e-12)
        for name, slope in slopes.items():
            whole = stacked.parameters[name].grad
            assert whole is not None
            torch.testing.assert_close(whole[k], slope, rtol=1e-10, atol=1e-12)
        for name, buffer in held.items():
            torch.testing.assert_close(stacked.buffers[name][k], buffer, rtol=1e-12, atol=1e-12)


def buffers(model: nn.Module) -> dict[str, Tensor]:
    return {name: b.clone() for name, b in model.named_buffers()}


def networks(
    names: list[str], features: tuple[int, ...], number: int, change: Any = lambda layers: layers
) -> list[lm.Sequential]:
    torch.set_default_dtype(torch.float64)
    made = []
    for seed in range(number):
        model = lm.Sequential(change([LAYERS[name]() for name in names])).build(features, seed=seed)
        for buffer in model.buffers():
            buffer.fill_(1.0)
        made.append(model.train())
    return made


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([*LAYERS]), min_size=0, max_size=5), st.integers(1, 4), st.integers(1, 3), st.integers(2, 9),
    st.sampled_from(LOSSES), st.booleans(), st.integers(0, 100),
)  # fmt: skip
def test_random_chains(names: list[str], features: int, number: int, size: int, loss: str, weighted: bool, seed: int) -> None:
    seed_all(seed)
    end: list[nn.Module] = [L.Dense(3)] if loss in ("mse", "binary_crossentropy") else [L.Dense(3), L.Softmax()]
    models = networks(names, (features,), number, lambda layers: [*layers, *end])
    x = torch.randn(number, size, features)
    y: Tensor = torch.rand(number, size, 3)
    if loss == "sparse_categorical_crossentropy":
        y = torch.randint(3, (number, size))
    elif loss == "categorical_crossentropy":
        y = y / y.sum(-1, keepdim=True)
    assert_as_alone(models, get(loss), x, y, torch.rand(number, size) if weighted else None)


def test_images_are_flattened_and_frozen_layers_stay() -> None:
    def change(layers: list[nn.Module]) -> list[nn.Module]:
        return [L.Flatten(), frozen(L.Dense(6)), frozen(L.BatchNormalization()), *layers, L.Dense(2, activation="softmax")]

    models = networks(["normalization"], (2, 3, 3), 3, change)
    assert_as_alone(models, get("sparse_categorical_crossentropy"), torch.randn(3, 8, 2, 3, 3), torch.randint(2, (3, 8)), None)


class Own(L.Dense):
    """A layer of a user's, which may do anything."""


class OwnLoss(Loss):
    """A loss that is no mean of values."""

    name = "own"

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target).square().flatten(1).mean(1)

    def __call__(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return self.values(prediction, target).max()


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (lambda: lm.Sequential([Own(3)]), "mse"),
        (lambda: lm.Sequential([L.Dense(3), L.Dropout(0.5)]), "mse"),
        (lambda: lm.Sequential([L.Dense(3), L.ELU("uniform", learnable=True)]), "mse"),
        (lambda: lm.Sequential([nn.Linear(4, 3)]), "mse"),
        (lambda: lm.Sequential([L.Dense(3)]), OwnLoss()),
    ],
    ids=["a subclass", "noise", "an activation that learns", "a module of torch", "a loss of one's own"],
)
def test_what_is_not_known_takes_the_other_way(model: Callable[[], lm.Sequential], loss: Any) -> None:
    built = model().build((4,), seed=0)
    chosen = get(loss)
    stacked = Stacked([built])
    head = find_head(built, chosen, lambda: torch.zeros(2, 4))
    assert dense_chain(built, {**stacked.parameters, **stacked.buffers}, chosen, head) is None


def test_hooks_take_the_other_way() -> None:
    model = lm.Sequential([L.Dense(3)]).build((4,), seed=0)
    loss = get("mse")
    head = find_head(model, loss, lambda: torch.zeros(2, 4))
    tensors = {name: p.detach()[None] for name, p in model.named_parameters()}
    assert dense_chain(model, tensors, loss, head) is not None
    model.layers[0].register_forward_hook(lambda *_: None)
    assert dense_chain(model, tensors, loss, head) is None
