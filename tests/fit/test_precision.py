"""`compile(precision=)`: what is rounded to bfloat16, what stays float32, and what "auto" takes."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, UnknownNameError
from laminar.fit import precision
from laminar.fit.forward import Execution, forward
from laminar.optimizers import SGD, Adam

CPU = torch.device("cpu")


def images(n: int = 48) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, 12, 12, generator=generator), torch.randint(4, (n,), generator=generator)


def network() -> lm.Sequential:
    torch.manual_seed(2)
    layers = [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(600, 4)]
    return lm.Sequential(layers).build((3, 12, 12))  # type: ignore[return-value]


def compiled(
    model: Any, chosen: Any, optimizer: Any = "sgd", loss: Any = "sparse_categorical_crossentropy", **more: Any
) -> Any:
    model.compile(optimizer, loss, device="cpu", precision=chosen, **more)
    return model


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Return a function that gives this machine units for bfloat16, or takes them away."""
    return lambda found: monkeypatch.setattr(precision, "bfloat16_units", lambda device: found)


# -- what is computed -----------------------------------------------------------------------------------------------------


def test_training_is_that_of_a_loop_under_torchs_autocast() -> None:
    """Bit by bit; the loss is computed in float32, behind autocast."""
    x, y = images()
    ours = compiled(network(), "bfloat16", SGD(0.05, momentum=0.9))
    by_hand = copy.deepcopy(nn.Sequential(*ours))
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(3):
        for i in range(0, 48, 16):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                z = by_hand(x[i : i + 16])
            assert z.dtype == torch.bfloat16
            loss = F.cross_entropy(z.float(), y[i : i + 16])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert ours.fit(x, y, epochs=3, batch_size=16, shuffle=False, verbose=0).iterations["loss"] == losses
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        z = by_hand.eval()(x).float()
    assert torch.equal(ours.predict(x), z.softmax(1))
    assert ours.evaluate(x, y)["loss"] == F.cross_entropy(z, y).item()


def test_what_is_kept_is_float32() -> None:
    x, y = images()
    model = compiled(network(), "bfloat16", Adam(1e-3, use_ema=True, global_clipnorm=1.0), metrics=["accuracy"])
    dtypes = set()

    class Look(lm.Callback):
        def on_batch_end(self, model: nn.Module, state: Any) -> None:
            dtypes.update(p.grad.dtype for p in model.parameters() if p.grad is not None)

    model.fit(x, y, callbacks=Look(), verbose=0)
    kept = model._learner._pace.optimizer.state.values()
    dtypes |= {t.dtype for state in kept for t in state.values()} | {t.dtype for t in model.state_dict().values()}
    assert dtypes == {torch.float32, torch.int64}  # the count of a BatchNorm2d's batches
    assert model.predict(x).dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("layers", "x"),
    [
        ([L.LSTM(8), L.Dense(4)], torch.randn(16, 4, 3)),
        ([L.GRU(8, return_sequences=True), L.LayerNormalization(), L.SimpleRNN(6), L.Dense(4)], torch.randn(16, 4, 3)),
        ([L.Bidirectional(L.LSTM(4)), L.Dense(4)], torch.randn(16, 4, 3)),
        ([L.Embedding(10, 6), L.Conv1D(6, 3), L.GlobalMaxPooling1D(), L.Dense(4)], torch.randint(10, (16, 7))),
        ([L.Conv2D(8, 3), L.GroupNormalization(4), L.PReLU(), L.Flatten(), L.Maxout(5), L.Dense(4)], torch.randn(16, 3, 8, 8)),
        ([L.SeparableConv2D(8, 3), L.RMSNormalization(), L.GELU(), L.GlobalAveragePooling2D(), L.Dense(4)], torch.randn(16, 3, 8, 8)),
        ([L.Conv2DTranspose(4, 3), L.BatchNormalization(), L.ELU("uniform", learnable=True), L.AveragePooling2D(2), L.Flatten(), L.Dense(4)], torch.randn(16, 3, 8, 8)),
        ([L.GaussianNoise(0.1), L.RandomFlip(), L.RandomRotation(0.1), L.Conv2D(4, 3), L.LocalResponseNormalization(), L.Flatten(), L.Dense(4)], torch.randn(16, 3, 8, 8)),
    ],
    ids=lambda value: type(value[0]).__name__ if isinstance(value, list) else "",
)  # fmt: skip
def test_layers_of_all_families_walk_the_way_of_float32(layers: list[nn.Module], x: Tensor) -> None:
    """A loss to two hundredths, over six steps; bfloat16 has eight bits."""
    y = torch.arange(16) % 4
    losses = []
    for chosen in ("float32", "bfloat16"):
        model = compiled(
            lm.Sequential(copy.deepcopy(layers)).build(tuple(x.shape[1:]), seed=1), chosen, SGD(0.05), engine="eager"
        )
        losses.append(model.fit(x, y, epochs=6, batch_size=16, seed=3, verbose=0).iterations["loss"])
        assert model.predict(x).dtype == torch.float32
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], abs=0.02)


def test_several_outputs() -> None:
    x, y = images()
    inputs = lm.Input((3, 12, 12))
    flat = L.Flatten()(L.Conv2D(4, 3)(inputs))
    losses = []
    model = lm.Model(inputs, [L.Dense(4, "softmax", name="digit")(flat), L.Dense(1, name="sum")(flat)]).build(seed=0)
    start = copy.deepcopy(model.state_dict())
    for chosen in ("float32", "bfloat16"):
        model.load_state_dict(start)
        compiled(model, chosen, loss=["sparse_categorical_crossentropy", "mse"])
        history = model.fit(x, [y, x.mean((1, 2, 3))], batch_size=16, seed=1, verbose=0).iterations
        losses.append([history[name] for name in ("loss", "digit_loss", "sum_loss")])
        assert [z.dtype for z in model.predict(x)] == [torch.float32] * 2
    assert losses[0] != losses[1]
    torch.testing.assert_close(losses[0], losses[1], rtol=0.02, atol=0.02)


def test_a_network_in_half_precision_is_computed_as_it_is() -> None:
    x, _ = images()
    model = compiled(network().bfloat16(), "float32")
    assert model.predict(x).dtype == torch.bfloat16
    assert compiled(model, "auto").predict(x).dtype == torch.bfloat16


# -- refused --------------------------------------------------------------------------------------------------------------


def test_another_dtype_is_refused_before_anything_is_changed() -> None:
    message = (
        "compile(precision=\"bfloat16\"): expected parameters in float32, received 'conv2d.weight' in float64. "
        'Call model.float() first, or pass precision="float32", which computes in the dtype of the parameters.'
    )
    model = compiled(network(), "float32")
    recipe = model._recipe
    model.double()
    with pytest.raises(ArgumentError) as e:
        compiled(model, "bfloat16")
    assert str(e.value) == message
    assert model._recipe is recipe
    later = compiled(network(), "bfloat16").double()
    with pytest.raises(ArgumentError) as e:
        later.fit(*images(), verbose=0)
    assert str(e.value) == message


def test_an_unknown_precision() -> None:
    with pytest.raises(UnknownNameError) as e:
        compiled(network(), "bfloat")
    assert str(e.value) == ("compile(precision=) 'bfloat' is unknown. Did you mean 'bfloat16'? Known: auto, bfloat16, float32.")


# -- "auto" ---------------------------------------------------------------------------------------------------------------


def narrow() -> lm.Sequential:
    return lm.Sequential([L.Conv2D(20, 5), L.Flatten(), L.Dense(4)]).build((3, 12, 12))  # type: ignore[return-value]


def wide() -> lm.Sequential:
    return lm.Sequential([L.Conv2D(16, 3), L.Conv2D(4, 3), L.Flatten(), L.Dense(4)]).build((3, 12, 12))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("build", "found", "device", "chosen", "reason"),
    [
        (wide, "AMX", "cpu", True, "this processor has AMX, and the network convolutions over 16 channels or more"),
        (wide, None, "cpu", False, "this processor has no units for bfloat16"),
        (narrow, "AMX", "cpu", False, "no convolution of the network goes over 16 channels or more"),
        (lambda: wide().double(), "AMX", "cpu", False, "'conv2d.weight' is float64"),
        (narrow, "tensor cores", "cuda", True, "this GPU has tensor cores for it"),
        (narrow, None, "cuda", False, "this GPU has no units for bfloat16"),
    ],
)
def test_auto_decides_by_device_and_network_and_says_why(
    build: Any, found: Any, device: str, chosen: bool, reason: str, units: Any, caplog: pytest.LogCaptureFixture
) -> None:
    units(found)
    with caplog.at_level(logging.INFO, "laminar.engine"):
        assert precision.computes_in_bfloat16(build(), "auto", torch.device(device)) is chosen
    assert caplog.messages == [f"precision: {'bfloat16' if chosen else 'float32'}, because {reason}"]


def test_auto_is_what_fit_takes(units: Any) -> None:
    x, y = images()
    losses = {}
    start = wide()
    for chosen, found in (("float32", "AMX"), ("bfloat16", None), ("auto", None), ("auto", "AMX")):
        units(found)
        model = compiled(copy.deepcopy(start), chosen)
        losses[chosen, found] = model.fit(x, y, shuffle=False, verbose=0).iterations["loss"]
    assert losses["auto", None] == losses["float32", "AMX"] != losses["bfloat16", None] == losses["auto", "AMX"]


def test_the_words_of_laminar_info(units: Any) -> None:
    units("AMX")
    assert precision.automatic("cpu") == '"auto" is bfloat16, for networks with convolutions over 16 channels or more: AMX'
    units("tensor cores")
    assert precision.automatic("cuda") == '"auto" is bfloat16: tensor cores'


def test_the_range_test_is_computed_as_the_training(units: Any) -> None:
    x, y = images()
    found = [
        lm.range_test(compiled(start, p), x, y, iterations=10, seed=0) for start in [network()] for p in ("float32", "bfloat16")
    ]
    assert found[0].losses != found[1].losses


def test_forward_without_tensors_and_with_several() -> None:
    class Both(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Any:
            return {"product": a @ b, "sum": [a + b, 3]}

    a = torch.randn(3, 3)
    found = forward(Both(), (a, a), Execution(bfloat16=True))
    assert torch.equal(found["product"], (a.bfloat16() @ a.bfloat16()).float())
    assert torch.equal(found["sum"][0], a + a)
    assert found["sum"][1] == 3
