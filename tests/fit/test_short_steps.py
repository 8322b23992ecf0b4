"""Steps of small perceptrons without autograd: the same training, and only where nobody sees a difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar import optimizers as O
from laminar.callbacks import LambdaCallback
from laminar.fit.engines.short import ShortStep
from laminar.kernels.library import library, reason_without

pytestmark = pytest.mark.skipif(library(torch.float64) is None, reason=f"no kernels here: {reason_without(torch.float64)}")

Make = Callable[[], list[nn.Module]]
STEPS = 2 * 4  # epochs of three full batches and a last one of 5 observations


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that were learned from without autograd."""
    sizes: list[int] = []
    learned = ShortStep._learned

    def noted(self: ShortStep, plan: Any, x: Tensor, batch: Any) -> Any:
        sizes.append(batch.size)
        return learned(self, plan, x, batch)

    monkeypatch.setattr(ShortStep, "_learned", noted)
    return sizes


def data(*shape: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(53, *(shape or (7,)), generator=generator, dtype=torch.float64)
    return x, torch.randint(classes, (53,), generator=generator)


def made(layers: list[nn.Module], shape: tuple[int, ...] = (7,)) -> lm.Sequential:
    return lm.Sequential(layers).build(shape, seed=1).double()  # type: ignore[return-value]


def hidden(*last: nn.Module) -> list[nn.Module]:
    torch.manual_seed(0)  # torch's layer draws its weights when it is made
    return [L.Dense(6, "relu"), L.BatchNormalization(), nn.Linear(6, 5), nn.Tanh(), *(last or (L.Dense(3, "softmax"),))]


def doubled(p: Tensor) -> None:
    assert p.grad is not None
    p.grad.mul_(2)


def trained(
    model: lm.Sequential, engine: Any, x: Tensor, y: Tensor, optimizer: Any = None, loss: Any = None, **settings: Any
) -> tuple[list[Tensor], dict[str, list[float]]]:
    """Return the network's numbers after two epochs, and the figures of every step."""
    optimizer = optimizer or O.SGD(0.1, momentum=0.9)
    model.compile(optimizer, loss or "sparse_categorical_crossentropy", engine=engine, device="cpu")
    history = model.fit(x, y, epochs=2, batch_size=16, seed=3, verbose=0, **settings)
    return list(model.state_dict().values()), dict(history.iterations)


def same(
    make: Make, short: list[int], *, x: Tensor | None = None, y: Tensor | None = None, sizes: int = STEPS, **settings: Any
) -> None:
    """Train twice, and compare; `sizes` steps are expected to be short."""
    own_x, own_y = data()
    x, y = own_x if x is None else x, own_y if y is None else y
    found = trained(made(make(), tuple(x.shape[1:])), "auto", x, y, **settings)
    assert len(short) == sizes
    expected = trained(made(make(), tuple(x.shape[1:])), "eager", x, y, **settings)
    assert len(short) == sizes
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: O.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=1e-2, clipnorm=0.5),
        lambda: O.Adam(0.01, global_clipnorm=1.0, use_ema=True, ema_momentum=0.9),
        lambda: O.RMSprop(lm.schedules.ExponentialDecay(0.01, 3, 0.5)),
        lambda: O.SGD(0.1, gradient_accumulation_steps=3),
        lambda: O.Muon(),
    ],
    ids=["sgd", "adam", "rmsprop", "accumulated", "muon"],
)
def test_optimizers(optimizer: Callable[[], Any], short: list[int]) -> None:
    own_x, own_y = data()
    results = [trained(made(hidden()), engine, own_x, own_y, optimizer()) for engine in ("auto", "eager")]
    torch.testing.assert_close(*results, rtol=1e-8, atol=1e-10)
    assert short == [16, 16, 16, 5] * 2


@pytest.mark.parametrize(
    ("last", "loss", "target"),
    [
        (lambda: L.Dense(3), "sparse_categorical_crossentropy", None),
        (lambda: torch.manual_seed(1) and nn.Linear(5, 3), nn.CrossEntropyLoss(label_smoothing=0.1), None),
        (lambda: L.Dense(1), "mse", lambda y: y.double()),
        (lambda: L.Dense(1, "sigmoid"), "binary_crossentropy", lambda y: (y > 0).double()),
        (lambda: L.Dense(1, "tanh"), lambda z, t: (z[:, 0] - t).abs().mean(), lambda y: y.double()),
    ],
    ids=["logits", "torch's", "regression", "binary", "of one's own"],
)
def test_losses(last: Any, loss: Any, target: Any, short: list[int]) -> None:
    y = data()[1]
    same(lambda: hidden(last()), short, y=y if target is None else target(y), loss=loss)


def test_weights_of_observations_and_classes(short: list[int]) -> None:
    same(hidden, short, sample_weight=torch.linspace(0, 1, 53, dtype=torch.float64), class_weight={0: 1.0, 1: 2.0, 2: 0.5})


def test_what_learns_nothing_may_come_before(short: list[int]) -> None:
    same(lambda: [L.Normalization(), L.Rescaling(0.5), L.Flatten(), *hidden()], short, x=data(1, 3, 4)[0])


def test_single_precision(short: list[int]) -> None:
    x, y = data()
    found, expected = (trained(made(hidden()).float(), engine, x.float(), y)[1] for engine in ("auto", "eager"))
    assert len(short) == STEPS
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: hidden(L.Dropout(0.3), L.Dense(3)),
        lambda: [L.GaussianNoise(0.1), *hidden()],
        lambda: [L.Dense(6, "elu"), L.Dense(3)],
        lambda: [L.Dense(6, "relu"), lm.Sequential([L.Dense(5), L.Dense(3)])],
    ],
    ids=["dropout", "noise", "another activation", "nested"],
)
def test_other_chains_are_computed_by_autograd(make: Make, short: list[int]) -> None:
    same(make, short, sizes=0)


def test_layers_that_share_what_they_learn(short: list[int]) -> None:
    def tied() -> list[nn.Module]:
        first, second = nn.Linear(7, 7), nn.Linear(7, 7)
        torch.nn.init.orthogonal_(first.weight, generator=torch.Generator().manual_seed(0))
        second.weight = first.weight
        second.bias = first.bias
        nn.init.zeros_(first.bias)
        return [first, nn.Tanh(), second, L.Dense(3)]

    same(tied, short, sizes=0)


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        (lambda model: model[0].freeze(), STEPS),
        (lambda model: setattr(model[1], "trainable", False), 3),
        (lambda model: setattr(model[1], "momentum", 0.5), STEPS),
        (lambda model: model[2].weight.requires_grad_(False), STEPS),
        (lambda model: model[2].register_forward_hook(lambda *args: None), 3),
        (lambda model: model[2].weight.register_hook(lambda slope: 2 * slope), 3),
        (lambda model: model[0].weight.register_post_accumulate_grad_hook(doubled), 3),
        (lambda model: setattr(model[4], "forward", model[4].forward), 3),
        (lambda model: setattr(model[0], "recompute", True), 3),
        (lambda model: setattr(model[2].weight, "data", model[2].weight.data.clone()), STEPS),
        (lambda model: setattr(model[2].weight, "data", model[2].weight.data.t().contiguous().t()), 3),
    ],
    ids=[
        "frozen", "normalization frozen", "momentum", "torch layer frozen", "hook", "hook of a gradient", "hook of a sum", "forward",
        "recompute", "moved", "laid out otherwise",
    ],
)  # fmt: skip
def test_what_changes_between_two_steps_counts_from_then_on(change: Any, steps: int, short: list[int]) -> None:
    def at_step_3() -> LambdaCallback:
        return LambdaCallback(on_batch_end=lambda model, state: change(model) if state.iteration == 3 else None)

    x, y = data()
    found = trained(made(hidden()), "auto", x, y, callbacks=at_step_3())
    assert len(short) == steps
    torch.testing.assert_close(found, trained(made(hidden()), "eager", x, y, callbacks=at_step_3()), rtol=1e-9, atol=1e-11)


def test_gradients_are_where_they_always_are(short: list[int]) -> None:
    seen: list[list[Tensor | None]] = []
    look = LambdaCallback(on_batch_end=lambda model, state: seen.append([p.grad for p in model.parameters()]))
    x, y = data()
    model = made(hidden())
    model[0].freeze()
    trained(model, "auto", x, y, callbacks=look)
    assert len(short) == STEPS
    trained(model, "eager", x, y, callbacks=look)
    assert [[g is None for g in each] for each in seen] == [[True, True] + [False] * 6] * (2 * STEPS)


def test_a_last_observation_by_itself_has_no_variance(short: list[int]) -> None:
    x, y = data()
    same(hidden, short, x=x[:49], y=y[:49], sizes=6)
    assert set(short) == {16}


def test_anomaly_detection_sees_every_operation(short: list[int]) -> None:
    x, y = data()
    with pytest.warns(UserWarning, match="Anomaly Detection has been enabled"), torch.autograd.detect_anomaly():
        trained(made(hidden()), "auto", x, y)
    assert short == []
