"""B7: any `torch.nn.Module` is a layer here, and everything made here is a `torch.nn.Module`.

The networks of this file are written as people write them who never heard of Laminar. What comes out of `fit` is compared, to
the bit, with a loop written by hand around the same module.
"""

from __future__ import annotations

import copy
import functools
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel

import laminar as lm
from laminar import layers as L

# ── written without Laminar ──────────────────────────────────────────────────────────────────────────────────────────────


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut, which is projected where the shape changes."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module | None = None
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += x if self.shortcut is None else self.shortcut(x)
        return F.relu(out, inplace=True)


class Mixture(nn.Module):
    """A weighted sum of several linear maps: a plain tensor as attribute, parameters in a ParameterList."""

    def __init__(self, features: int, units: int, count: int) -> None:
        super().__init__()
        self.maps = nn.ParameterList([nn.Parameter(torch.randn(features, units) / features**0.5) for _ in range(count)])
        self.mixing = torch.linspace(0.1, 1.0, count)  # neither a parameter nor a buffer
        self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return sum(w * (x @ m) for w, m in zip(self.mixing.tolist(), self.maps, strict=True)) + self.bias


class LastStep(nn.Module):
    """An LSTM over the rows of an image, of which the last output is classified."""

    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, num_layers=2, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4:
            x = x.squeeze(1)
        output, (h, _) = self.lstm(x)
        assert h.shape[0] == 2
        return self.head(output[:, -1])


class Attention(nn.Module):
    """Rows of an image as words, with learned positions, through torch's own encoder."""

    def __init__(self, rows: int, features: int, classes: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(1, rows, features))
        self.register_buffer("scale", torch.tensor(features**-0.5))
        layer = nn.TransformerEncoderLayer(features, nhead=2, dim_feedforward=16, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=1, enable_nested_tensor=False)
        self.head = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x.squeeze(1) * self.scale + self.positions).mean(1))


CLASSES = 3

FOREIGN: dict[str, Callable[[], list[nn.Module]]] = {
    "stock chain": lambda: [
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, CLASSES),
    ],
    "stock nn.Sequential": lambda: [nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.GELU(), nn.Linear(8, CLASSES))],
    "lazy modules": lambda: [nn.LazyConv2d(3, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(CLASSES)],
    "residual blocks": lambda: [
        ResidualBlock(1, 4),
        ResidualBlock(4, 4),
        ResidualBlock(4, 8, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    ],
    "plain tensor and ParameterList": lambda: [Mixture(64, 6, 3), nn.Tanh(), nn.Linear(6, CLASSES)],
    "LSTM": lambda: [LastStep(8, 6, CLASSES)],
    "transformer": lambda: [Attention(8, 8, CLASSES)],
    "between ours": lambda: [L.Conv2D(3, 3), ResidualBlock(3, 4), L.Flatten(), nn.LazyLinear(5), L.ELU(), L.Dense(CLASSES)],
}


def data(n: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 1, 8, 8, generator=generator), torch.randint(CLASSES, (n,), generator=generator)


def by_hand(model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int = 2, size: int = 8) -> None:
    """Train as everybody does."""
    x, y = data()
    model.train()
    for _ in range(epochs):
        for a, b in zip(x.split(size), y.split(size), strict=True):
            optimizer.zero_grad()
            F.cross_entropy(model(a), b).backward()
            optimizer.step()


def same(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_networks_go_through_everything_unchanged(name: str) -> None:
    """Built, summed up, trained to the same bits as by hand, evaluated, asked; shapes and parameters are all accounted for."""
    x, y = data()
    torch.manual_seed(0)
    model = lm.Sequential(FOREIGN[name]()).build((1, 8, 8))
    assert model.output_shape == (CLASSES,)
    twin = copy.deepcopy(model)

    summary = model.summary(show=False)
    assert summary.learnable == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sum(row.learnable for row in summary.rows) == summary.learnable
    assert summary.rows[-1].output == ((CLASSES,),)
    assert summary.multiply_adds > 0

    model.compile(functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9), "sparse_categorical_crossentropy", ["accuracy"])
    history = model.fit(x, y, epochs=2, batch_size=8, shuffle=False, verbose=0)
    assert len(history.iterations["loss"]) == 6
    by_hand(twin, torch.optim.SGD(twin.parameters(), lr=0.05, momentum=0.9))
    assert same(model, twin)

    twin.eval()
    with torch.no_grad():
        logits = twin(x)
    torch.testing.assert_close(model.predict(x), logits.softmax(1), rtol=1e-4, atol=1e-5)
    figures = model.evaluate(x, y, batch_size=5)
    assert figures["loss"] == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-4)
    assert figures["accuracy"] == pytest.approx((logits.argmax(1) == y).float().mean().item())
    assert torch.equal(model.classify(x), model.predict(x).argmax(1))


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_networks_learn(name: str) -> None:
    """24 images by heart, more or less."""
    x, y = data()
    torch.manual_seed(0)
    model = lm.Sequential(FOREIGN[name]())
    model.compile(functools.partial(torch.optim.Adam, lr=0.02), "sparse_categorical_crossentropy")
    losses = model.fit(x, y, epochs=30, seed=0, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_a_foreign_network_is_the_same_object_afterwards() -> None:
    """Not wrapped, not copied, no attribute added, no hook left behind; its owner can go on with it."""
    block = ResidualBlock(1, 4)
    attributes = set(vars(block))
    model = lm.Sequential([block, nn.Flatten(), nn.LazyLinear(CLASSES)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(*data(), verbose=0)
    model.summary(show=False)
    assert model[0] is block
    assert set(vars(block)) == attributes
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    block(torch.randn(2, 1, 8, 8)).sum().backward()


def test_a_frozen_foreign_module_stays_as_it_is() -> None:
    """With requires_grad_, as in torch."""
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU()).requires_grad_(False)
    before = copy.deepcopy(backbone.state_dict())
    model = lm.Sequential([backbone, nn.Linear(8, CLASSES)])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*data(), epochs=2, verbose=0)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert model.summary(show=False).frozen == 64 * 8 + 8


# ── ours, where torch's are expected ─────────────────────────────────────────────────────────────────────────────────────


def ours() -> lm.Sequential:
    layers = [L.Conv2D(4, 3), L.BatchNormalization(), L.ELU("uniform", learnable=True), L.MaxPooling2D(2), L.Flatten()]
    return lm.Sequential([*layers, L.Dense(CLASSES)]).build((1, 8, 8), seed=0)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def test_a_laminar_model_in_a_plain_loop() -> None:
    """It learns there what it learns in fit."""
    plain, fit = ours(), ours()
    by_hand(plain, sgd(plain))
    fit.compile(sgd(fit), nn.CrossEntropyLoss())
    fit.fit(*data(), epochs=2, batch_size=8, shuffle=False, verbose=0)
    assert same(plain, fit)


def test_a_laminar_model_that_nobody_built() -> None:
    """The first batch builds it, as it does torch's lazy modules."""
    x, y = data()
    model = nn.Sequential(
        L.Conv2D(4, 3), L.BatchNormalization(), L.ELU("uniform", learnable=True), L.Flatten(), L.Dense(CLASSES)
    )
    model(x)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    first = F.cross_entropy(model(x), y).item()
    for _ in range(20):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < first / 2


def test_torch_compile_trains_it_to_the_same_numbers() -> None:
    """The hand-written backward of ELU included; the graph is captured whole."""
    eager, compiled = ours(), ours()
    by_hand(eager, sgd(eager))
    by_hand(torch.compile(compiled, backend="aot_eager", fullgraph=True), sgd(compiled))  # type: ignore[arg-type]
    for a, b in zip(eager.state_dict().values(), compiled.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_gradients_can_be_clipped_scheduled_and_averaged() -> None:
    """torch's utilities around a loop: clip_grad_norm_, a scheduler, averaged weights."""
    x, y = data()
    model = ours()
    optimizer = sgd(model)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
    averaged = AveragedModel(model)
    for _ in range(5):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        clip_grad_norm_(model.parameters(), 0.1)
        total = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
        assert total <= 0.1001
        optimizer.step()
        scheduler.step()
        averaged.update_parameters(model)
    assert averaged(x).shape == (24, CLASSES)


def test_state_dicts_and_files_of_torch() -> None:
    """Names as in torch; what torch.save writes, torch.load reads, as a state and as a whole."""
    model, other = ours(), lm.Sequential([*map(copy.deepcopy, ours())]).build((1, 8, 8), seed=1)
    assert list(model.state_dict()) == [
        "conv2d.weight", "conv2d.bias",
        "batch_normalization.weight", "batch_normalization.bias",
        "batch_normalization.running_mean", "batch_normalization.running_var",
        "elu.alpha", "dense.weight", "dense.bias",
    ]  # fmt: skip
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert same(model, other)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    assert same(torch.load(buffer, weights_only=False), model)


def test_a_laminar_model_as_a_part_of_a_foreign_one() -> None:
    class Owner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = lm.Sequential([L.Conv2D(4, 3, activation="relu"), L.Flatten()])
            self.classify = nn.LazyLinear(CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.classify(self.features(x))

    model = Owner()
    model(data()[0])
    by_hand(model, sgd(model))
    assert sorted(name for name, _ in model.named_parameters()) == [
        "classify.bias",
        "classify.weight",
        "features.conv2d.bias",
        "features.conv2d.weight",
    ]
    again = lm.Sequential([model])
    again.compile("sgd", "sparse_categorical_crossentropy")
    again.fit(*data(), verbose=0)


def test_functional_calls_and_gradients_for_each_observation() -> None:
    """torch.func sees through the layers, their hand-written backward too."""
    x, y = data()
    model = lm.Sequential([L.Conv2D(4, 3), L.ELU("uniform", learnable=True), L.Flatten(), L.Dense(CLASSES)]).build((1, 8, 8))
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(p: Any, a: Tensor, b: Tensor) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(model, p, (a[None],)), b[None])

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
    F.cross_entropy(model(x), y).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(each[name].mean(0), p.grad, rtol=1e-4, atol=1e-6)


def test_parametrizations_of_torch_wrap_our_weights() -> None:
    x, y = data()
    model = ours()
    nn.utils.parametrizations.weight_norm(model["dense"])
    model.compile(functools.partial(torch.optim.SGD, lr=0.01), "sparse_categorical_crossentropy")
    before = model["dense"].weight.clone()
    model.fit(x, y, verbose=0)
    assert not torch.equal(before, model["dense"].weight)


# ── torch's optimizers and losses in compile ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        lambda p: torch.optim.RMSprop(p, lr=0.01),
        lambda p: torch.optim.Adagrad(p, lr=0.05),
    ],
)
@pytest.mark.parametrize("way", ["instance", "function"])
def test_torch_optimizers_as_instances_and_functions(make: Any, way: str) -> None:
    model, twin = ours(), ours()
    model.compile(make(model.parameters()) if way == "instance" else make, nn.CrossEntropyLoss(), metrics=["accuracy"])
    for _ in range(2):
        model.fit(*data(), epochs=1, batch_size=8, shuffle=False, verbose=0)
    by_hand(twin, make(twin.parameters()))
    if way == "instance":
        assert same(model, twin)
    else:  # a function is given weights first and biases after them; sums over them are the same to rounding
        for a, b in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_groups_of_an_optimizer_are_respected() -> None:
    """Another learning rate for the head, none for the rest."""
    model = ours()
    before = copy.deepcopy(model.state_dict())
    model.compile(torch.optim.SGD([{"params": list(model["dense"].parameters())}, {"params": [model["elu"].alpha], "lr": 0.0},
                                   {"params": [*model["conv2d"].parameters(), *model["batch_normalization"].parameters()],
                                    "lr": 0.0}], lr=0.1), "sparse_categorical_crossentropy")  # fmt: skip
    model.fit(*data(), verbose=0)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {
        "dense.weight", "dense.bias", "batch_normalization.running_mean", "batch_normalization.running_var",
    }  # fmt: skip


def test_an_onlooker_with_numpy_data() -> None:
    """NumPy in, NumPy out, around a network of torch."""
    x, y = (t.numpy() for t in data())
    model = lm.Sequential(FOREIGN["LSTM"]())
    model.compile("adam", nn.CrossEntropyLoss(), metrics=["accuracy"])
    model.fit(x, y, validation_split=0.25, verbose=0)
    assert isinstance(model.predict(x), np.ndarray)
