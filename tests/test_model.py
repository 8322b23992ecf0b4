"""The facade: building, names, compiling, predicting, summaries, copies, devices."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, LayerError, NotBuiltError, UnknownNameError
from laminar.metrics import Accuracy, CustomMetric
from laminar.optimizers import SGDM, Adam


def data(n: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 1, 6, 6, generator=generator), torch.randint(3, (n,), generator=generator)


def network() -> lm.Sequential:
    layers = [L.Normalization(), L.Conv2D(2, 3), L.BatchNormalization(), L.ELU("uniform", learnable=True), L.Flatten()]
    return lm.Sequential([*layers, L.Dropout(0.3), L.Dense(3, "softmax")])


def fitted(epochs: int = 2) -> lm.Sequential:
    model = network()
    model.compile("sgdm", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*data(), epochs=epochs, batch_size=16, seed=0, verbose=0)
    return model


class Two(lm.Model):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = L.Dense(2), L.Dense(3)

    def forward(self, x: Tensor, y: Tensor) -> Any:
        return self.a(x), self.b(torch.cat([x, y], 1))


# ── building ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_shapes_are_known_after_building() -> None:
    """By hand, or with the first data; before it, there is no input shape, and asking for the output's is an error."""
    model = network()
    assert model.input_shape is None
    with pytest.raises(NotBuiltError) as e:
        _ = model.output_shape
    assert str(e.value) == (
        "Sequential.output_shape: expected a network that knows its input shape, received one that has not seen data yet. "
        "Call model.build((channels, height, width)) first."
    )
    assert model.build((1, 6, 6)) is model
    assert (model.input_shape, model.output_shape) == ((1, 6, 6), (3,))
    with pytest.raises(NotBuiltError):
        network().summary()
    two = Two().build((4,), [5])
    assert (two.input_shape, two.output_shape) == (((4,), (5,)), ((2,), (3,)))
    assert lm.Sequential([L.Dense(2)]).build(7).input_shape == (7,)
    fresh = lm.Sequential([L.Dense(2)])
    fresh.predict(np.zeros((3, 7)))
    assert (fresh.input_shape, fresh.output_shape) == ((7,), (2,))


def test_a_seed_gives_a_layer_the_same_start_whatever_stands_beside_it() -> None:
    """A layer put in between changes no other's name and no other's initial values."""
    plain = lm.Sequential([L.Conv2D(2, 3), L.Flatten(), L.Dense(3)]).build((1, 6, 6), seed=4)
    with_bn = lm.Sequential([L.Conv2D(2, 3), L.BatchNormalization(), L.Flatten(), L.Dense(3)]).build((1, 6, 6), seed=4)
    for name, value in plain.state_dict().items():
        assert torch.equal(with_bn.state_dict()[name], value), name
    other = lm.Sequential([L.Conv2D(2, 3), L.Flatten(), L.Dense(3)]).build((1, 6, 6), seed=5)
    assert not torch.equal(other["conv2d"].weight, plain["conv2d"].weight)


def test_building_with_a_seed_draws_nothing_from_the_global_generator() -> None:
    """Not even for modules of torch that wait for their shape."""
    torch.manual_seed(3)
    before = torch.get_rng_state()
    weights = [lm.Sequential([nn.LazyLinear(3)]).build((4,), seed=9)[0].weight for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*weights)


def test_building_computes_nothing_and_leaves_the_mode() -> None:
    model = network()
    assert model.build((1, 6, 6)).training
    assert torch.equal(model["batch_normalization"].running_mean, torch.zeros(2))
    assert int(model["normalization"].fitted) == 0


@pytest.mark.parametrize(
    ("shape", "expected", "received"),
    [
        ((), "the shape of one observation", "none"),
        ((1, 28, 28), "the shape of one observation", "1, 28, 28"),
        (((None, 4),), "whole numbers of at least 1", "(None, 4)"),
        (((0, 4),), "whole numbers of at least 1", "(0, 4)"),
        (((2.5,),), "whole numbers of at least 1", "(2.5,)"),
        (("12",), "whole numbers of at least 1", "'12'"),
        ((None,), "whole numbers of at least 1", "None"),
    ],
)
def test_what_is_no_shape(shape: Any, expected: str, received: str) -> None:
    with pytest.raises(ArgumentError) as e:
        lm.Sequential([L.Dense(2)]).build(*shape)
    assert str(e.value) == (
        f"Sequential.build: expected {expected}, received {received}. Write build((1, 28, 28)), without the batch axis."
    )


# ── the chain ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_names_are_made_from_classes_and_numbered() -> None:
    """Keras' rule; a name of one's own is kept; one that an attribute of the model has is numbered too."""

    class History(L.Layer):
        def forward(self, x: Tensor) -> Tensor:
            return x

    layers = [L.Dense(2), L.Dense(2), L.Dense(2, name="last"), nn.ReLU(), nn.ReLU(), History(), L.MaxPooling2D(2)]
    names = [name for name, _ in lm.Sequential(layers).named_children()]
    assert names == ["dense", "dense_1", "last", "re_lu", "re_lu_1", "history_1", "max_pooling2d"]


@pytest.mark.parametrize("name", ["last", "forward", "a.b", "a/b"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(ArgumentError) as e:
        lm.Sequential([L.Dense(2, name="last"), L.Dense(2, name=name)])
    assert str(e.value) == (
        f"Sequential(layers=): expected names without dots and slashes that are not taken, received {name!r}. "
        f"Call the layer {name.replace('.', '_').replace('/', '_')}_1, say."
    )


def test_a_chain_is_a_container() -> None:
    model = network()
    assert len(model) == 7
    assert [type(layer).__name__ for layer in model][:2] == ["Normalization", "Conv2D"]
    assert model[0] is model["normalization"]
    assert model[-1] is model["dense"]
    with pytest.raises(IndexError):
        _ = model[7]
    with pytest.raises(UnknownNameError) as e:
        _ = model["dens"]
    assert str(e.value) == (
        "layer 'dens' is unknown. Did you mean 'dense'? "
        "Known: batch_normalization, conv2d, dense, dropout, elu, flatten, normalization."
    )


def test_one_layer_used_twice_has_one_set_of_weights() -> None:
    shared = L.Dense(4, "tanh")
    model = lm.Sequential([shared, shared, L.Dense(2)]).build((4,), seed=0)
    assert len(list(model.parameters())) == 4
    summary = model.summary(show=False)
    assert summary.learnable == 4 * 4 + 4 + 4 * 2 + 2
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = torch.randn(8, 4), torch.arange(8) % 2
    by_hand = copy.deepcopy(model)
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.01, fused=True)
    F.cross_entropy(by_hand(x), y).backward()
    optimizer.step()
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_an_empty_chain_hands_its_input_on() -> None:
    x = torch.randn(3, 2)
    assert torch.equal(lm.Sequential([]).predict(x), x)


def test_summary_prints_the_table_and_returns_it(capsys: pytest.CaptureFixture[str]) -> None:
    model = lm.Sequential([L.Flatten(), L.Dense(2)]).build((1, 3, 3))
    model["dense"].freeze("bias")
    summary = model.summary()
    assert capsys.readouterr().out == str(summary) + "\n"
    assert (summary.learnable, summary.frozen, summary.multiply_adds) == (18, 2, 18)
    assert [row.path for row in summary.rows] == ["flatten", "dense"]
    assert model.summary(show=False) == summary
    assert capsys.readouterr().out == ""


# ── compiling ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        ("accuracy", ["accuracy"]),
        (Accuracy(), ["accuracy"]),
        (None, []),
        ((), []),
        (["accuracy", CustomMetric(lambda p, y: p.sum(1), name="sum")], ["accuracy", "sum"]),
    ],
)
def test_metrics_one_or_several(metrics: Any, names: list[str]) -> None:
    model = lm.Sequential([L.Dense(3)])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=metrics)
    history = model.fit(torch.randn(6, 2), torch.arange(6) % 3, verbose=0)
    assert list(history.history) == ["loss", *names, "learning_rate"]


def test_two_figures_of_one_name_are_refused() -> None:
    model = lm.Sequential([L.Dense(3)])

    def loss(p: Tensor, y: Tensor) -> Tensor:
        return p.sum(1)

    for metrics, said in ((["accuracy", "acc"], "'accuracy' twice"), ([loss], "'loss' for a metric")):
        with pytest.raises(ArgumentError) as e:
            model.compile("sgd", "mse", metrics=metrics)
        assert str(e.value) == (
            f'compile(metrics=): expected metrics of different names, other than "loss", received {said}. '
            'Leave it out, or name a function: CustomMetric(function, name="other").'
        )


def test_compiling_again_keeps_the_weights_and_starts_the_optimizer_anew() -> None:
    x, y = data()
    once, twice = fitted(), fitted()
    assert all(torch.equal(a, b) for a, b in zip(once.parameters(), twice.parameters(), strict=True))
    twice.compile("sgdm", "sparse_categorical_crossentropy")
    assert all(torch.equal(a, b) for a, b in zip(once.parameters(), twice.parameters(), strict=True))
    for model in (once, twice):
        model.fit(x, y, seed=1, verbose=0)
    assert not torch.equal(once["dense"].weight, twice["dense"].weight)  # one went on with its momentum


def test_devices() -> None:
    model = lm.Sequential([L.Dense(2)]).build((2,))
    for device in ("auto", "cpu", torch.device("cpu")):
        model.compile("sgd", "mse", device=device)
        model.fit(torch.ones(2, 2), torch.ones(2, 2), verbose=0)
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    model.compile("sgd", "mse")
    model.predict(torch.ones(2, 2))
    assert next(model.parameters()).device.type == expected


@pytest.mark.parametrize("device", ["gpu", "cuda:77", "meta", "", None, 3.5])
def test_devices_that_are_not_there(device: Any) -> None:
    with pytest.raises(ArgumentError) as e:
        lm.Sequential([L.Dense(2)]).compile("sgd", "mse", device=device)
    assert str(e.value) == (f'compile(device=): expected a device of this machine, received {device!r}. Pass device="auto".')


# ── predicting ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_predict_needs_no_compile() -> None:
    """It gives the plain output, on the device where the network is, and moves nothing."""
    x, _ = data()
    model = lm.Sequential([L.Flatten(), L.Dense(3)])
    out = model.predict(x)
    torch.testing.assert_close(out, model.eval()(x).detach())
    assert torch.equal(model.classify(x), out.argmax(1))


def test_predict_gives_back_the_kind_it_was_given() -> None:
    x, _ = data()
    model = fitted()
    assert isinstance(model.predict(x), Tensor)
    for form in (x.numpy(), x.tolist(), DataLoader(TensorDataset(x), 7), [x[:20], x[20:]]):
        found = model.predict(form)
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(found, model.predict(x).numpy(), rtol=1e-5)
        assert isinstance(model.classify(form), np.ndarray)


def test_predictions_can_be_trained_on() -> None:
    """They are plain tensors without graph: features for another network, say."""
    x, y = data()
    features = lm.Sequential([L.Flatten(), L.Dense(4, "tanh")]).predict(x)
    assert not features.requires_grad
    other = nn.Linear(4, 3)
    F.cross_entropy(other(features), y).backward()
    assert other.weight.grad is not None
    features.add_(1)


def test_what_a_module_keeps_from_validation_serves_in_training() -> None:
    """A table made on the first call, here in validation or predict, takes part in later steps."""

    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table: Tensor | None = None
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            if self.table is None and not x.is_meta:
                self.table = torch.linspace(0, 1, x.shape[1])
            return x + self.scale * (0 if self.table is None else self.table)

    model = lm.Sequential([Positions(), L.Dense(2)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = torch.randn(8, 4), torch.arange(8) % 2
    model.predict(x)
    model.fit(x, y, validation_data=(x, y), verbose=0)


def test_bfloat16_comes_back_as_float32_arrays() -> None:
    model = lm.Sequential([L.Dense(3)]).build((4,)).bfloat16()
    out = model.predict(np.ones((2, 4)))
    assert out.dtype == np.float32
    assert model.predict(torch.ones(2, 4)).dtype == torch.bfloat16


def test_several_outputs_come_back_together() -> None:
    a, b = torch.randn(10, 4), torch.randn(10, 5)
    model = Two()
    found = model.predict((a.numpy(), b.numpy()), batch_size=3)
    expected = model(a, b)
    assert isinstance(found, tuple)
    for got, want in zip(found, expected, strict=True):
        assert isinstance(got, np.ndarray)
        np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-4, atol=1e-6)
    model.compile("sgd", "mse")
    for call in (lambda: model.fit((a, b), a[:, 0]), lambda: model.evaluate((a, b), a[:, 0]), lambda: model.predict((a, b))):
        with pytest.raises(LayerError) as e:
            call()
        assert str(e.value) == (
            "Two: expected a network with one output, to train it with one loss, received 2 outputs. "
            "Return one tensor from forward."
        )


@pytest.mark.parametrize("call", ["evaluate", "predict", "classify", "summary"])
def test_looking_changes_nothing(call: str) -> None:
    """Neither weights, buffers, modes nor random numbers; not even with dropout and running statistics inside."""
    x, y = data()
    model = fitted()
    model.train()
    model["dropout"].eval()
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    torch.manual_seed(5)
    rng = torch.get_rng_state()
    if call == "summary":
        model.summary(show=False)
    elif call == "evaluate":
        model.evaluate(x, y)
        model.evaluate(TensorDataset(x, y))
    else:
        getattr(model, call)(x)
    assert torch.equal(torch.get_rng_state(), rng)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None or p.requires_grad for p in model.parameters())


def test_figures_do_not_depend_on_the_batch_size() -> None:
    x, y = data(37)
    model = fitted()
    whole = model.evaluate(x, y, batch_size=37)
    expected = F.nll_loss(model.predict(x).log(), y).item()
    for size in (1, 5, 36, 100):
        assert model.evaluate(x, y, batch_size=size) == pytest.approx(whole, rel=1e-5)
        torch.testing.assert_close(model.predict(x, batch_size=size), model.predict(x))
    assert whole["loss"] == pytest.approx(expected, rel=1e-5)


def test_figures_in_float64_have_its_digits() -> None:
    x, y = torch.randn(50, 3, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    model = lm.Sequential([L.Dense(1)]).build((3,)).double()
    model.compile("sgd", "mse", metrics=["mae"])
    out = model(x)[:, 0]
    figures = model.evaluate(x, y, batch_size=7)
    assert figures["loss"] == pytest.approx(F.mse_loss(out, y).item(), rel=1e-14)
    assert figures["mean_absolute_error"] == pytest.approx(F.l1_loss(out, y).item(), rel=1e-14)


# ── copies ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
@pytest.mark.parametrize("optimizer", ["sgdm", "adam", "factory", "ready"])
def test_a_copy_of_a_trained_network_trains_on_as_the_original_does(how: str, optimizer: str) -> None:
    """Weights, momenta, compiled settings, history; and neither touches the other."""
    x, y = data()
    model = network().build((1, 6, 6), seed=0)
    spec: Any = optimizer
    if optimizer == "factory":
        spec = functools.partial(torch.optim.SGD, lr=0.01, momentum=0.9)
    elif optimizer == "ready":
        spec = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    model.compile(spec, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=2, seed=0, verbose=0)
    twin = copy.deepcopy(model) if how == "deepcopy" else pickle.loads(pickle.dumps(model))
    assert twin.history.history == model.history.history  # type: ignore[union-attr]
    before = copy.deepcopy(model.state_dict())
    twin.fit(x, y, epochs=2, seed=1, verbose=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.fit(x, y, epochs=2, seed=1, verbose=0)
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in model.state_dict().items())
    torch.testing.assert_close(twin.predict(x), model.predict(x), rtol=0, atol=0)


def test_a_copy_keeps_the_guard_of_the_fast_kernels() -> None:
    """They pair elements by place in memory: a copy brought to channels-last must train as the original does."""
    x, y = data()
    model = lm.Sequential([L.Conv2D(4, 3), L.Conv2D(3, 3), L.Flatten(), L.Dense(3)]).build((1, 6, 6), seed=0)
    model.compile(SGDM(0.05), "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=20, seed=0, verbose=0)
    twin = copy.deepcopy(model).to(memory_format=torch.channels_last)
    for network_ in (model, twin):
        network_.fit(x, y, epochs=2, batch_size=20, seed=1, verbose=0)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_network_built_but_not_compiled_can_be_copied() -> None:
    model = network().build((1, 6, 6))
    twin = pickle.loads(pickle.dumps(model))
    assert twin.input_shape == (1, 6, 6)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert copy.deepcopy(network()).input_shape is None


# ── a network of networks ────────────────────────────────────────────────────────────────────────────────────────────────


def test_models_inside_models() -> None:
    """Paths name every layer; a chain's end is found through the nesting; parameters are trained as one."""
    inner = lm.Sequential([L.Flatten(), L.Dense(5, "relu")])
    model = lm.Sequential([inner, lm.Sequential([L.Dense(3, "softmax")])])
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = data()
    model.fit(x, y, verbose=0)
    assert [row.path for row in model.summary(show=False).rows] == [
        "sequential/flatten",
        "sequential/dense",
        "sequential_1/dense",
    ]
    assert inner[1].path == "sequential/dense"
    assert model._head is not None
    assert model._head.module is model[1][0]  # type: ignore[index]


def test_a_model_with_a_forward_of_its_own_that_branches() -> None:
    class Skips(lm.Model):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(L.Dense(8, "relu") for _ in range(3))
            self.first, self.last = L.Dense(8), L.Dense(3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x.flatten(1))
            for block in self.blocks:
                x = x + block(x)
            return self.last(x)

    model = Skips()
    model.compile(Adam(0.03), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = data()
    history = model.fit(x, y, epochs=60, seed=0, verbose=0)
    assert history.history["accuracy"][-1] > 0.9
    assert model.summary(show=False).rows[1].path == "blocks/0"


@pytest.fixture(autouse=True)
def _default_threads() -> Iterator[None]:
    """Keep the small networks of this file off the threads' start-up costs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_chain_grows_layer_by_layer() -> None:
    model = lm.Sequential()
    model.add(L.Dense(4))
    model.compile("sgd", "mse")
    x, y = np.ones((8, 3), dtype=np.float32), np.ones((8, 4), dtype=np.float32)
    model.fit(x, y, verbose=0)
    assert model.output_shape == (4,)
    model.add(L.Dense(2))
    model.fit(x, y[:, :2], verbose=0)
    assert model.output_shape == (2,)
    assert [name for name, _ in model.named_children()] == ["dense", "dense_1"]
    with pytest.raises(ArgumentError, match=r"Sequential\.add\(layer\), position 0: expected a layer or torch\.nn\.Module"):
        model.add(L.Dense)  # type: ignore[arg-type]  # the mistake
