"""`recompute = True` changes no number, and keeps less."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.comparison.memory import step_memory
from laminar.errors import ArgumentError
from laminar.optimizers import SGDM


def images(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(24, 2, 10, 10, generator=generator, dtype=dtype), torch.randint(3, (24,), generator=generator)


class Cube(L.Layer):
    """A layer with a derivative of its own, and a memory."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        square = x * x
        return square * x, square

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: Tensor) -> Tensor:
        return 3 * memory * dz


class Running(nn.Module):
    """Its output depends on a state that it changes, and on how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.calls, self.last = 0, torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        z = x * (1 + self.mean) + self.last + 0.01 * self.calls
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * x.detach().mean())
            self.last = x.detach().std()
        return z * z


def block() -> list[nn.Module]:
    return [
        L.Conv2D(4, 3, padding="same", use_bias=False),
        L.BatchNormalization(),
        L.ELU("uniform", learnable=True),
        L.Dropout(0.3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        Cube(),
        L.LayerNormalization(),
    ]


def flagged(module: Any) -> Any:
    module.recompute = True
    return module


def nested(flag: Callable[[Any], Any]) -> lm.Sequential:
    return lm.Sequential([flag(lm.Sequential(block())), L.Flatten(), L.Dense(3, "softmax")])


def residual(flag: Callable[[Any], Any]) -> lm.Sequential:
    first = [L.Conv2D(4, 3, padding="same"), L.BatchNormalization()]
    return lm.Sequential([*first, flag(L.Residual(block(), activation="relu")), L.Flatten(), L.Dense(3, "softmax")])


def each(flag: Callable[[Any], Any]) -> lm.Sequential:
    return lm.Sequential([*(flag(m) if isinstance(m, L.Layer) else m for m in block()), L.Flatten(), L.Dense(3, "softmax")])


def last(flag: Callable[[Any], Any]) -> lm.Sequential:
    """The activation that training leaves out is in the part that is computed again."""
    return lm.Sequential([*block(), L.Flatten(), flag(L.Dense(3, "softmax"))])


def last_of_torch(flag: Callable[[Any], Any]) -> lm.Sequential:
    return lm.Sequential([*block(), L.Flatten(), flag(lm.Sequential([nn.Linear(400, 3), nn.Softmax(1)]))])


def everything(flag: Callable[[Any], Any]) -> lm.Sequential:
    return flag(nested(flag))


def graph(flag: Callable[[Any], Any]) -> lm.Model:
    x = lm.Input((2, 10, 10))
    stem = flag(L.Conv2D(4, 3, activation="relu"))(x)
    both = flag(L.Concatenate(axis=1))(
        [flag(lm.Sequential([L.Conv2D(3, 3), L.BatchNormalization()]))(stem), L.Conv2D(2, 3)(stem)]
    )
    return lm.Model(x, L.Dense(3, "softmax")(L.Flatten()(both)))


def states(flag: Callable[[Any], Any]) -> lm.Sequential:
    layers = [Running(), flag(lm.Sequential([Running(), L.Reshape((10, 20)), L.LSTM(5, stateful=True, dropout=0.2)]))]
    return lm.Sequential([*layers, L.Dense(3, "softmax")])


def attention(flag: Callable[[Any], Any]) -> lm.Model:
    x = lm.Input((2, 10, 10))
    tokens = L.Reshape((10, 20))(x)
    return lm.Model(x, L.Dense(3, "softmax")(L.Flatten()(flag(L.MultiHeadAttention(2, 4, dropout=0.1))(tokens, tokens))))


def augmented(flag: Callable[[Any], Any]) -> lm.Sequential:
    first = flag(lm.Sequential([L.RandomTranslation(0.2, 0.2), L.GaussianNoise(0.1), L.Conv2D(4, 3)]))
    return lm.Sequential([first, L.Flatten(), L.Dense(3, "softmax")])


NETWORKS = (nested, residual, each, last, last_of_torch, everything, graph, states, attention, augmented)


def trained(build: Callable[[Any], lm.Model], flag: Callable[[Any], Any], engine: Any, **options: Any) -> lm.Model:
    torch.manual_seed(1)
    model = build(flag)
    model.compile(SGDM(0.01), "sparse_categorical_crossentropy", ["accuracy"], engine=engine)
    model.fit(*images(torch.get_default_dtype()), epochs=3, batch_size=8, seed=0, verbose=0, **options)
    return model


def same(one: lm.Model, other: lm.Model) -> None:
    """To the last bit."""
    for name, value in other.state_dict().items():
        assert torch.equal(one.state_dict()[name], value), name
    assert one.history is not None
    assert other.history is not None
    assert one.history.iterations == other.history.iterations


@pytest.mark.parametrize("engine", ["auto", "eager"])
@pytest.mark.parametrize("build", NETWORKS)
def test_the_training_is_the_same(build: Callable[[Any], lm.Model], engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout, running statistics, states, hand-written derivatives, kernels: all as without the flag."""
    monkeypatch.setattr("laminar.layers.batchnorm._LEAST", 1)
    monkeypatch.setattr("laminar.kernels.switch._LEAST", 1)
    same(trained(build, flagged, engine), trained(build, lambda module: module, engine))


def test_running_statistics_move_once() -> None:
    """torch's own checkpoint moves them twice, if nobody takes care."""
    layers = flagged(lm.Sequential([L.BatchNormalization(momentum=0.9), nn.BatchNorm2d(2), Running()]).build((2, 10, 10)))
    x = images()[0].float()
    layers.train()
    layers(x).sum().backward()
    torch.testing.assert_close(layers[0].running_mean, 0.1 * x.mean((0, 2, 3)))
    assert layers[1].num_batches_tracked == 1
    assert layers[2].calls == 1


def test_gradients_against_autograd() -> None:
    """In float64, also a second derivative, and where the mode is changed before the backward pass."""
    x = images()[0].requires_grad_()
    plain = lm.Sequential(block()[:3] + block()[6:]).build((2, 10, 10), seed=0).double()
    again = flagged(copy.deepcopy(plain))
    found = []
    for network in (plain, again):
        network.train()
        z = network(x).sin().sum()
        network.eval()
        (dx,) = torch.autograd.grad(z, x, retain_graph=True)
        z.backward()
        found.append([dx, *(p.grad for p in network.parameters())])
        network.train()
        x.grad = None
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)
    smooth = lm.Sequential([L.Dense(4, "tanh"), L.LayerNormalization(), L.Dense(2, "tanh")]).build((5,), seed=0).double()
    flagged(smooth)
    torch.autograd.gradgradcheck(smooth, torch.randn(3, 5, dtype=torch.float64, requires_grad=True))


def test_hooks_see_what_they_saw() -> None:
    layer, seen = flagged(L.Dense(3)), list[Tensor]()
    layer(torch.zeros(1, 4))
    layer.register_full_backward_hook(lambda module, dx, dz: seen.append(dz[0]))
    layer(torch.zeros(2, 4, requires_grad=True)).sum().backward()
    assert len(seen) == 1
    assert torch.equal(seen[0], torch.ones(2, 3))


def test_it_is_called_twice() -> None:
    calls = []

    def noted(x: Tensor) -> Tensor:
        calls.append(len(x))
        return x.tanh()

    layer = flagged(L.Activation(noted))
    layer(torch.zeros(2, 4, requires_grad=True)).sum().backward()
    layer(torch.zeros(3, 4, requires_grad=True))
    assert calls == [2, 2, 3]


def test_it_keeps_less() -> None:
    """The inputs of six blocks, and the inside of one with its gradients, in place of the insides of all."""

    def memory(flag: Callable[[Any], Any]) -> int:
        blocks = [flag(lm.Sequential([L.Conv2D(8, 3, padding="same"), L.ELU(), L.Activation("tanh")])) for _ in range(6)]
        model = lm.Sequential([*blocks, L.GlobalAveragePooling2D(), L.Dense(3)])
        model.compile("sgd", "sparse_categorical_crossentropy", engine="eager")
        return step_memory(model, torch.randn(16, 8, 24, 24), torch.zeros(16, dtype=torch.int64))

    once = 16 * 8 * 24 * 24 * 4  # bytes of one activation
    kept, again = memory(lambda module: module), memory(flagged)
    assert kept > 18 * once
    assert again < 13 * once


def test_not_where_nothing_is_kept() -> None:
    """Without gradients, under torch.func, and before it is built, a call is a call."""
    layer = flagged(lm.Sequential([L.Dense(3), Running()]))
    x = torch.randn(2, 4)
    layer.train()
    layer(x).sum().backward()
    assert layer[0].built
    with torch.no_grad():
        assert layer(x).grad_fn is None
    layer.eval()
    assert torch.func.vmap(layer)(x).shape == (2, 3)


def test_the_flag() -> None:
    layer = flagged(L.Dense(3))
    for one in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert one.recompute is True
    layer.recompute = False
    assert layer.recompute is False
    with pytest.raises(ArgumentError) as error:
        layer.recompute = 1  # type: ignore[assignment]
    assert str(error.value) == "Dense.recompute: expected True or False, received 1. Write recompute = True."


def test_it_is_in_the_table() -> None:
    """Also of what is inside of a flagged part."""
    model = lm.Sequential([flagged(lm.Sequential([L.Dense(3), nn.ReLU()])), L.Dense(2)]).build((4,))
    shown = [row.layer for row in model.summary(show=False).rows]
    assert shown == ["Dense(units=3, recompute=True)", "ReLU(recompute=True)", "Dense(units=2)"]
    model[0].recompute = False
    flagged(model[1])
    shown = [row.layer for row in model.summary(show=False).rows]
    assert shown == ["Dense(units=3)", "ReLU", "Dense(units=2, recompute=True)"]
