"""What a network's output is taken for, whatever it ends in: trained on logits where that is possible, probabilities out."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import laminar as lm
from laminar import activations
from laminar import layers as L
from laminar.fit.head import find_head, last_module
from laminar.losses import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy

FEATURES, CLASSES = 6, 3


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, FEATURES, generator=generator), torch.randint(CLASSES, (40,), generator=generator)


class Net(lm.Model):
    """A forward of one's own, whose last step is hidden in it."""

    def __init__(self, last: Callable[[Tensor], Tensor], units: int = CLASSES) -> None:
        super().__init__()
        self.hidden, self.scores = L.Dense(5, "relu"), L.Dense(units)
        self.last = [last]  # in a list, so that no module is found

    def forward(self, x: Tensor) -> Tensor:
        return self.last[0](self.scores(self.hidden(x)))


class Chain(nn.Sequential):
    """A chain with a forward of its own: its last child is not the last step."""

    def forward(self, x: Tensor) -> Tensor:
        return self[0](self[1](x))


class Direct(L.Dense):
    """A user's layer that calls its activation itself."""

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(F.linear(x, self.weight, self.bias))


class Obedient(L.Dense):
    """A user's layer that goes the documented way."""

    def forward(self, x: Tensor) -> Tensor:
        return self.activate(F.linear(x, self.weight, self.bias))


def sequential(*layers: nn.Module) -> Callable[[], lm.Model]:
    return lambda: lm.Sequential([L.Dense(5, "relu"), *copy.deepcopy(layers)])


def dense(*args: Any) -> L.Dense:
    return L.Dense(CLASSES, *args)


# name -> (network, does its plain output give probabilities, are these left out of training)
SOFTMAX: dict[str, tuple[Callable[[], lm.Model], bool, bool]] = {
    "logits": (sequential(dense()), False, True),
    "Dense(activation)": (sequential(dense("softmax")), True, True),
    "Dense(activation=function)": (sequential(dense(activations.softmax)), True, True),
    "Dense(activation=module)": (sequential(dense(nn.Softmax(dim=-1))), True, True),
    "Softmax layer": (sequential(dense(), L.Softmax()), True, True),
    "Activation": (sequential(dense(), L.Activation("softmax")), True, True),
    "nn.Softmax(1)": (sequential(dense(), nn.Softmax(dim=1)), True, True),
    "nn.Softmax(-1)": (sequential(dense(), nn.Softmax(dim=-1)), True, True),
    "nested": (sequential(lm.Sequential([nn.Sequential(dense(), nn.Softmax(dim=1))])), True, True),
    "a chain with a forward of its own": (sequential(Chain(nn.Softmax(dim=1), nn.LazyLinear(CLASSES))), True, False),
    "a chain that ends before its last child": (sequential(Chain(nn.LazyLinear(CLASSES), nn.Softmax(dim=1))), False, True),
    "an activation that does nothing, after softmax": (sequential(dense("softmax"), L.Activation("linear")), True, False),
    "log-softmax": (sequential(dense("log_softmax")), False, True),
    "hidden": (lambda: Net(lambda z: F.softmax(z, dim=1)), True, False),
    "hidden and rounded": (lambda: Net(lambda z: F.softmax(z, dim=1).clamp(1e-6, 1)), True, False),
    "hidden logits": (lambda: Net(lambda z: z), False, True),
    "a layer that calls its activation": (sequential(Direct(CLASSES, "softmax")), True, False),
    "a layer that asks for it": (sequential(Obedient(CLASSES, "softmax")), True, True),
    "a function named softmax": (sequential(dense(functools.partial(activations.softmax, axis=-1))), True, False),
}


@pytest.mark.parametrize("name", SOFTMAX)
@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
def test_softmax_and_its_crossentropy(name: str, loss: str) -> None:
    """Trained on logits or on probabilities, the loss is cross-entropy; predict gives probabilities that sum to one."""
    make, gives, on_logits = SOFTMAX[name]
    x, y = data()
    model = make()
    model.compile("sgdm", loss, metrics=["accuracy"])
    model.build((FEATURES,), seed=0)
    history = model.fit(x, y, epochs=2, batch_size=40, shuffle=False, verbose=0)
    assert model._head is not None
    assert (model._head.gives_probabilities, model._head.trains_on_logits) == (gives, on_logits)
    p = model.predict(x)
    torch.testing.assert_close(p.sum(1), torch.ones(40))
    plain = model(x).detach()
    torch.testing.assert_close(p, plain if gives else plain.softmax(1))
    figures = model.evaluate(x, y, batch_size=7)
    assert figures["loss"] == pytest.approx(F.nll_loss(p.log(), y).item(), rel=1e-5)
    assert figures["accuracy"] == pytest.approx((p.argmax(1) == y).float().mean().item())
    assert torch.equal(model.classify(x), p.argmax(1))
    assert history.history["loss"][1] < history.history["loss"][0]
    assert F.cross_entropy(torch.log(first_output(make, x)), y).item() == pytest.approx(history.history["loss"][0], rel=1e-4)


def first_output(make: Callable[[], lm.Model], x: Tensor) -> Tensor:
    """Return the probabilities of the network before training."""
    model = make()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.build((FEATURES,), seed=0)
    result: Tensor = model.predict(x)
    return result


SIGMOID: dict[str, tuple[Callable[[], lm.Model], bool, bool]] = {
    "logits": (sequential(L.Dense(1)), False, True),
    "Dense(activation)": (sequential(L.Dense(1, "sigmoid")), True, True),
    "Dense(activation=torch's)": (sequential(L.Dense(1, torch.sigmoid)), True, True),
    "Activation": (sequential(L.Dense(1), L.Activation("sigmoid")), True, True),
    "nn.Sigmoid": (sequential(L.Dense(1), nn.Sigmoid()), True, True),
    "hidden": (lambda: Net(torch.sigmoid, 1), True, False),
    "hidden and squeezed": (lambda: Net(lambda z: torch.sigmoid(z).squeeze(1), 1), True, False),
    "hidden and clipped": (lambda: Net(lambda z: torch.sigmoid(z).clamp(1e-6, 1 - 1e-6), 1), True, False),
    "hidden, by tanh": (lambda: Net(lambda z: (torch.tanh(z) + 1) / 2, 1), True, False),
    "the mean of several": (lambda: Net(lambda z: torch.sigmoid(z).mean(1, keepdim=True), 4), True, False),
    "hidden logits": (lambda: Net(lambda z: z, 1), False, True),
    "small logits after a sigmoid and a map": (
        sequential(L.Dense(4, "sigmoid"), L.Dense(1, use_bias=False, kernel_initializer=torch.full((1, 4), 0.05))),
        False,
        True,
    ),
    "small logits": (lambda: Net(lambda z: z.abs().clamp_min(0) / 100, 1), False, True),
}


@pytest.mark.parametrize("name", SIGMOID)
@pytest.mark.parametrize("frozen", [False, True])
def test_sigmoid_and_its_crossentropy(name: str, frozen: bool) -> None:
    """Whether small outputs are probabilities cannot be told from their values, nor from a graph where all is frozen."""
    make, gives, on_logits = SIGMOID[name]
    x, y = data()
    yes = (y > 0).float()
    model = make()
    model.compile("sgdm", "binary_crossentropy", metrics=["accuracy"])
    model.build((FEATURES,), seed=0)
    model.trainable = not frozen
    if not frozen:
        model.fit(x, yes, epochs=2, batch_size=40, verbose=0)
    p = model.predict(x)
    assert model._head is not None
    assert (model._head.gives_probabilities, model._head.trains_on_logits) == (gives, on_logits)
    plain = model(x).detach()
    torch.testing.assert_close(p, plain if gives else plain.sigmoid())
    p = p.reshape(-1)
    figures = model.evaluate(x, yes)
    assert figures["loss"] == pytest.approx(F.binary_cross_entropy(p, yes).item(), rel=1e-5)
    assert figures["accuracy"] == pytest.approx(((p > 0.5) == (yes > 0.5)).float().mean().item())
    assert torch.equal(model.classify(x), (p > 0.5).long())


def test_a_loss_that_undoes_nothing_takes_the_output_as_it_is() -> None:
    """Regression, and torch's own losses, which want what they want in plain torch."""
    x, y = data()
    model = lm.Sequential([L.Dense(1)]).build((FEATURES,), seed=0)
    model.compile("sgd", "mse")
    assert torch.equal(model.predict(x), model(x))
    assert model.evaluate(x, y.float())["loss"] == pytest.approx(F.mse_loss(model(x)[:, 0], y.float()).item())
    model = lm.Sequential([L.Dense(CLASSES)]).build((FEATURES,), seed=0)
    model.compile("sgd", nn.CrossEntropyLoss(label_smoothing=0.1), metrics=["accuracy"])
    assert torch.equal(model.predict(x), model(x))
    expected = F.cross_entropy(model(x), y, label_smoothing=0.1).item()
    assert model.evaluate(x, y)["loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "end", "threshold"),
    [
        ("binary_crossentropy", "sigmoid", 0.5),
        (nn.BCEWithLogitsLoss(), None, 0.0),
        ("hinge", None, 0.0),
        ("mse", None, 0.5),
    ],
)
def test_classify_answers_yes_or_no(loss: Any, end: str | None, threshold: float) -> None:
    """At the threshold of the loss; one answer for each output."""
    x, y = data()
    model = lm.Sequential([L.Dense(1, end)]).build((FEATURES,), seed=0)
    model.compile("sgd", loss, metrics=["accuracy"])
    model.fit(x, (y > 0).long(), epochs=1, verbose=0)
    found = model.classify(x.numpy())
    np.testing.assert_array_equal(found, (model(x) > threshold).long()[:, 0].numpy())
    accuracy = model.evaluate(x, (y > 0).long())["accuracy"]
    assert accuracy == pytest.approx(float((found == (y > 0).numpy()).mean()))


def test_classify_several_labels_an_observation() -> None:
    x = data()[0]
    model = lm.Sequential([L.Dense(4, "sigmoid")]).build((FEATURES,), seed=0)
    model.compile("sgd", "binary_crossentropy")
    found = model.classify(x)
    assert found.shape == (40, 4)
    assert torch.equal(found, (model(x) > 0.5).long())


def test_maps_of_classes() -> None:
    """(B, C, H, W): the classes are on axis 1 for the layers, the loss, the metrics and classify alike."""
    x = torch.randn(10, 2, 4, 4)
    y = torch.randint(3, (10, 4, 4))
    for end in (nn.Softmax(dim=1), nn.Softmax(dim=-3), L.Softmax()):
        model = lm.Sequential([nn.Conv2d(2, 3, 1), end])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x, y, verbose=0)
        assert model._head is not None
        assert model._head.module is end
        p = model.predict(x)
        figures = model.evaluate(x, y)
        assert figures["loss"] == pytest.approx(F.nll_loss(p.log(), y).item(), rel=1e-5)
        assert figures["accuracy"] == pytest.approx((model.classify(x) == y).float().mean().item())
    binary = lm.Sequential([nn.Conv2d(2, 1, 1), nn.Sigmoid()])
    binary.compile("sgd", "binary_crossentropy")
    assert torch.equal(binary.classify(x), (binary(x) > 0.5)[:, 0].long())


def test_a_softmax_over_another_axis_is_not_taken_for_one_over_the_classes() -> None:
    """nn.Softmax(-1) on (B, C, L) normalizes over positions; its outputs are taken as scores."""
    x, y = torch.randn(10, 2, 4), torch.randint(2, (10, 4))
    model = lm.Sequential([nn.Conv1d(2, 2, 1), nn.Softmax(dim=-1)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0)
    assert model._head is not None
    assert model._head.module is None
    assert model.evaluate(x, y)["loss"] == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-5)


def test_metrics_see_probabilities_where_they_want_them() -> None:
    """In training (from the logits of many steps at once), in evaluate, and for losses on plain numbers."""
    x, y = data()
    lows: list[float] = []

    def lowest(prediction: Tensor, target: Tensor) -> Tensor:
        lows.append(float(prediction.min()))
        torch.testing.assert_close(prediction.sum(1), torch.ones(len(prediction)))
        return prediction.amax(1)

    model = lm.Sequential([L.Dense(CLASSES, "softmax")]).build((FEATURES,), seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[lowest])
    before = model(x).amax(1).mean().item()
    history = model.fit(x, y, batch_size=40, verbose=0)
    assert history.iterations["lowest"][0] == pytest.approx(before, rel=1e-5)
    model.evaluate(x, y)
    assert min(lows) >= 0


def test_losses_given_as_instances_on_logits() -> None:
    """from_logits=True says what find_head would find; a network that ends in softmax is still told to leave it out."""
    x, y = data()
    for loss in (SparseCategoricalCrossentropy(from_logits=True), CategoricalCrossentropy(from_logits=True)):
        for end in (None, "softmax"):
            model = lm.Sequential([L.Dense(CLASSES, end)]).build((FEATURES,), seed=0)
            model.compile("sgd", loss)
            scores = F.linear(x, model["dense"].weight, model["dense"].bias)
            assert model.evaluate(x, y)["loss"] == pytest.approx(F.cross_entropy(scores, y).item(), rel=1e-5)
            torch.testing.assert_close(model.predict(x), scores.softmax(1))


def test_a_network_is_asked_only_where_it_does_not_tell() -> None:
    def never() -> Tensor:
        raise AssertionError("asked")

    chain = nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=1))
    assert find_head(chain, CategoricalCrossentropy(), never).module is chain[1]
    assert find_head(nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()), BinaryCrossentropy(), never).trains_on_logits
    for last in (nn.Linear(2, 2), L.Dense(2), nn.Conv2d(1, 2, 1)):
        head = find_head(nn.Sequential(nn.ReLU(), last), CategoricalCrossentropy(), never)
        assert (head.trains_on_logits, head.gives_probabilities, head.module) == (True, False, None)


def test_the_end_of_an_empty_chain_is_itself() -> None:
    empty = nn.Sequential()
    assert last_module(empty) is empty


def test_hooks_on_torchs_softmax_still_run() -> None:
    """It is passed over in training, not taken out."""
    calls = []
    softmax = nn.Softmax(dim=1)
    softmax.register_forward_hook(lambda *args: calls.append(1))
    model = lm.Sequential([L.Dense(CLASSES), softmax]).build((FEATURES,), seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = data()
    calls.clear()
    model.fit(x, y, batch_size=10, verbose=0)
    assert len(calls) == 4
    assert "forward" not in softmax.__dict__


def test_a_network_that_is_asked_keeps_no_states_of_the_question() -> None:
    class Net(lm.Model):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = L.LSTM(4, stateful=True), L.Dense(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.lstm(x)).softmax(1)

    net = Net()
    net.compile("adam", "sparse_categorical_crossentropy")
    net.fit(
        torch.randn(64, 5, 2), torch.arange(64) % 3, batch_size=32, shuffle=False, verbose=0
    )  # 32 go on from 32, not from 16
    assert net.lstm.h.shape == (32, 4)
