"""A network with normalizations folded into convolutions predicts what it does without, and is left as it was."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.fit.folding import _folds, _right, folded
from laminar.fit.forward import Execution, inference
from laminar.kernels.library import library

AUTO = Execution("auto")


class Noted(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


NOTED = Noted()


@pytest.fixture(autouse=True)
def _messages() -> Iterator[None]:
    log = logging.getLogger("laminar.fold")
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(NOTED)
    NOTED.messages.clear()
    yield
    log.removeHandler(NOTED)
    log.setLevel(level)


def stirred(model: nn.Module, seed: int = 0, *, least: float = 1e-3) -> nn.Module:
    """Give normalizations random statistics, tiny variances among them, and scales of both signs and 0."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, L.BatchNormalization | nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            mean, variance = module.running_mean, module.running_var
            assert mean is not None
            assert variance is not None
            mean.copy_(torch.randn(mean.shape, generator=generator, dtype=torch.float64))
            variance.copy_(torch.rand(mean.shape, generator=generator, dtype=torch.float64))
            variance[:1] = least
            for p in module.parameters():
                p.data.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
                p.data[-1:] = 0
    return model.eval()


def both(model: nn.Module, x: Any) -> tuple[Tensor, Tensor]:
    with torch.no_grad(), folded(model, AUTO) as run:
        return run(x), model(x)


def assert_folds(model: nn.Module, x: Any, number: int) -> None:
    """Assert that so many folds are found, and that the outputs agree to rounding in float64."""
    assert len(_folds(model)) == number
    found, expected = both(model, x)
    assert (found - expected).abs().max() <= 1e-10 * expected.abs().max()
    assert NOTED.messages == []  # the check had nothing to say
    assert not any("forward" in m.__dict__ for m in model.modules())


def built(layers: list[nn.Module], shape: tuple[int, ...]) -> lm.Sequential:
    model = lm.Sequential(layers).build(shape, seed=0).double()
    return stirred(model)  # type: ignore[return-value]


CASES: dict[str, tuple[list[nn.Module], tuple[int, ...]]] = {
    "same": ([L.Conv2D(6, 3, padding="same"), L.BatchNormalization()], (4, 9, 8)),
    "strides, no bias": ([L.Conv2D(6, 3, 2, padding="same", use_bias=False), L.BatchNormalization(), L.ReLU()], (4, 9, 8)),
    "dilation and groups": ([L.Conv2D(6, 3, dilation_rate=2, groups=2), L.BatchNormalization(), nn.ReLU()], (4, 9, 8)),
    "padding before": (
        [L.ZeroPadding2D(1), L.Conv2D(6, 3), L.BatchNormalization(scale=False), L.Activation("relu")],
        (4, 9, 8),
    ),
    "few channels": ([L.Conv2D(6, 3), L.BatchNormalization(center=False), L.ReLU()], (1, 40, 40)),
    "depthwise": ([L.DepthwiseConv2D(3, depth_multiplier=2), L.BatchNormalization()], (3, 9, 8)),
    "transposed": ([L.Conv2DTranspose(5, 3, strides=2, padding="same"), L.BatchNormalization(), L.ReLU()], (4, 5, 6)),
    "series": ([L.Conv1D(6, 3), L.BatchNormalization()], (4, 20)),
    "volumes": ([L.Conv3D(4, 2), L.BatchNormalization()], (2, 4, 5, 3)),
    "dense": ([L.Dense(6), L.BatchNormalization(), L.ReLU(), nn.Hardtanh()], (7,)),
    "tanh behind": ([L.Conv2D(6, 3), L.BatchNormalization(), L.Activation("tanh")], (4, 9, 8)),
    "torch's": (
        [nn.Conv2d(4, 6, 3, 2, 1, groups=2, padding_mode="reflect"), nn.BatchNorm2d(6, affine=False), nn.ReLU()],
        (4, 9, 8),
    ),
    "torch's transposed": ([nn.ConvTranspose2d(4, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(inplace=True)], (4, 9, 8)),
}


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_the_same(name: str) -> None:
    """Every kind of convolution, with scales that are negative or 0 and a variance of next to nothing."""
    layers, shape = CASES[name]
    assert_folds(built(copy.deepcopy(layers), shape), torch.randn(3, *shape, dtype=torch.float64), 1)


@pytest.mark.skipif(library(torch.float64) is None, reason="no kernels here")
def test_nothing_is_folded_where_one_kernel_computes_the_network() -> None:
    """It normalizes on its way; another layer behind it, or more weights than it takes, and the fold is back."""
    small = [L.Dense(6), L.BatchNormalization(), L.ReLU()]
    for layers, expected in ((small, 0), ([*small, nn.Hardtanh()], 1), ([*small, L.Dense(30000)], 1)):
        model = built(copy.deepcopy(layers), (7,))
        with torch.no_grad(), folded(model, AUTO) as run:
            run(torch.randn(20, 7, dtype=torch.float64))
            assert len(_right.get(model, ())) == expected


@settings(max_examples=25, deadline=None)
@given(
    filters=st.sampled_from([2, 4, 6]), kernel=st.integers(1, 3), stride=st.integers(1, 2), dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]), padding=st.sampled_from(["valid", "same", 1]), bias=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_outputs_are_the_same_whatever_the_convolution(
    filters: int, kernel: int, stride: int, dilation: int, groups: int, padding: Any, bias: bool, seed: int
) -> None:
    """Two in a row, of random settings."""
    settings = {"dilation_rate": dilation, "padding": padding, "use_bias": bias}
    model = lm.Sequential(
        [L.Conv2D(filters, kernel, stride, groups=groups, **settings), L.BatchNormalization(epsilon=1e-8), L.ReLU(),
         L.Conv2D(4, 1), L.BatchNormalization()]
    )  # fmt: skip
    model.build((4, 11, 10), seed=seed).double()
    assert_folds(stirred(model, seed, least=1e-12), torch.randn(2, 4, 11, 10, dtype=torch.float64), 2)


def residual() -> lm.Sequential:
    halve = L.Residual(
        [L.Conv2D(8, 3, 2, padding="same", use_bias=False), L.BatchNormalization(), L.ReLU(),
         L.Conv2D(8, 3, padding="same", use_bias=False), L.BatchNormalization()],
        shortcut=[L.Conv2D(8, 1, 2, use_bias=False), L.BatchNormalization()],
        activation="relu",
    )  # fmt: skip
    return lm.Sequential([halve, L.GlobalAveragePooling2D(), L.Dense(3)])


def test_residual_blocks_and_graphs() -> None:
    """In a path and in its shortcut; in a network made from inputs, where nobody else sees the convolution's output."""
    x = torch.randn(2, 4, 10, 10, dtype=torch.float64)
    assert_folds(stirred(residual().build((4, 10, 10), seed=0).double()), x, 3)
    inputs = lm.Input((4, 10, 10))
    first, second = L.Conv2D(4, 3, padding="same")(inputs), L.Conv2D(4, 3, padding="same")(inputs)
    alone = L.ReLU()(L.BatchNormalization()(first))
    seen_twice = L.BatchNormalization()(second) + second
    model = lm.Model(inputs, alone + seen_twice).build(seed=0).double()
    assert_folds(stirred(model), x, 1)


def watched() -> list[nn.Module]:
    layers: list[nn.Module] = [L.Conv2D(4, 3), L.BatchNormalization(), L.ReLU()]
    layers[0].register_forward_hook(lambda *_: None)
    return layers


NOT: dict[str, list[nn.Module]] = {
    "an activation between": [L.Conv2D(4, 3, activation="relu"), L.BatchNormalization()],
    "a layer between": [L.Conv2D(4, 3), L.ReLU(), L.BatchNormalization()],
    "a hook": watched(),
    "another axis": [L.Conv2D(6, 3), L.BatchNormalization(axis=-1)],
    "no running statistics": [nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)],
    "transposed with groups": [nn.ConvTranspose2d(4, 4, 3, groups=2), nn.BatchNorm2d(4)],
    "parametrized": [nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)), nn.BatchNorm2d(4)],
}


@pytest.mark.parametrize("name", NOT)
def test_what_is_not_folded(name: str) -> None:
    """Nothing is, where somebody sees what lies between, or it is not a factor for each kernel."""
    model = lm.Sequential(NOT[name]).build((4, 8, 8), seed=0)
    assert _folds(model.eval()) == []


def test_a_layer_in_two_places_is_not_folded() -> None:
    """For one place it would be right, for the other it would not."""
    conv = L.Conv2D(4, 3, padding="same")
    model = nn.Sequential(nn.Sequential(conv, L.BatchNormalization()), nn.Sequential(conv, L.ReLU()))
    model(torch.zeros(1, 4, 8, 8))
    assert _folds(model.eval()) == []


def test_a_kernel_s_elu_is_kept() -> None:
    """Where Laminar's kernel normalizes on its way through the ELU, there is no pass to be saved; without kernels there is."""
    model = lm.Sequential([L.Conv2D(4, 3), L.BatchNormalization(), L.ELU()]).build((4, 8, 8), seed=0).eval()
    from laminar.kernels.library import library

    assert len(_folds(model)) == (0 if library(torch.float32) else 1)
    assert len(_folds(model.to(torch.bfloat16))) == 1


def test_few_observations_are_not_worth_it() -> None:
    """Folding the weights would take longer than it saves; with a stream nobody knows."""
    model = lm.Sequential([L.Conv2D(4, 3), L.BatchNormalization()]).build((4, 8, 8), seed=0).eval()
    x = torch.randn(2, 4, 8, 8)
    for observations, same in ((255, True), (256, False), (None, False)):
        stirred(model)
        with torch.no_grad(), folded(model, AUTO, observations) as run:
            assert torch.equal(run(x), model(x)) is same


class Looks(lm.Model):
    """A network that also looks at what the first layer of its chain returns."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = L.Dense(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)) + self.body[0](x).mean((2, 3)))  # type: ignore[no-any-return]


def test_a_fold_that_is_wrong_is_not_used() -> None:
    """The check finds it on the first batch, and says so; a right one is checked once."""
    model = Looks().build((1, 8, 8), seed=0)
    model.compile("sgdm", "mse")
    stirred(model)
    x = torch.randn(300, 1, 8, 8)
    with torch.no_grad():
        assert torch.allclose(model.predict(x, batch_size=60), model(x), atol=1e-5)
    assert len(NOTED.messages) == 1
    assert NOTED.messages[0].startswith("Normalizations are not folded into convolutions: outputs of up to")


def test_evaluate_and_predict_leave_the_network_as_it_was() -> None:
    """Parameters, modes, hooks, random numbers; also where the network fails midway; and engine="eager" folds nothing."""
    model = residual()
    model.compile("sgdm", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = torch.randn(300, 4, 10, 10), torch.arange(300) % 3
    model.fit(x, y, verbose=0, seed=0)
    stirred(model)
    model.train()
    before, keys = copy.deepcopy(model.state_dict()), [set(m.__dict__) for m in model.modules()]
    random = torch.get_rng_state()
    figures, predicted = model.evaluate(x, y), model.predict(x, batch_size=128)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert [set(m.__dict__) for m in model.modules()] == keys
    assert model.training
    model.compile("sgdm", "sparse_categorical_crossentropy", metrics=["accuracy"], engine="eager")
    assert model.evaluate(x, y)["loss"] == pytest.approx(figures["loss"], rel=1e-4)
    assert torch.allclose(model.predict(x), predicted, atol=1e-4)
    assert NOTED.messages == []
    with inference(model), torch.no_grad(), folded(model, AUTO) as run, pytest.raises((RuntimeError, lm.LaminarError)):
        run(torch.zeros(2, 5, 10, 10))
    assert not any("forward" in m.__dict__ for m in model.modules())


def test_float32_is_as_near_to_float64_as_without() -> None:
    """Rounding is of the same order but for the digit that the 3x3 kernel costs, also where variances are tiny and means are not."""
    model = lm.Sequential([L.Conv2D(16, 3), L.BatchNormalization(), L.ReLU(), L.Conv2D(16, 3), L.BatchNormalization()])
    model.build((8, 12, 12), seed=0)
    x = torch.randn(16, 8, 12, 12)
    stirred(model, least=1e-6)
    exact = copy.deepcopy(model).double()
    with torch.no_grad():
        truth = exact(x.double())
    found, without = both(model, x)
    assert NOTED.messages == []
    assert not torch.equal(found, without)
    assert (found - truth).abs().max() <= 16 * (without - truth).abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_residual_of_channels_last_images_does_not_normalize_twice(dtype: torch.dtype) -> None:
    """The sum, the normalization before it and the ReLU behind it are one kernel, unless the normalization has been folded."""
    block = [L.Conv2D(16, 3, padding=1), L.BatchNormalization(), L.ReLU(), L.Conv2D(16, 3, padding=1), L.BatchNormalization()]
    model = built([L.Conv2D(16, 3, padding=1), L.Residual(block, activation="relu"), L.Flatten(), L.Dense(3)], (3, 16, 16))
    stirred(model.to(dtype))
    x = torch.randn(300, 3, 16, 16, dtype=dtype)
    model.compile(loss="mse", engine="eager")
    expected = model.predict(x)
    model.compile(loss="mse", engine="auto")
    torch.testing.assert_close(
        model.predict(x), expected, rtol=0, atol=1000 * torch.finfo(dtype).eps * float(expected.abs().max())
    )
