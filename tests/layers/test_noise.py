"""R11: dropout and noise, against the distributions they are said to have. Bounds are five standard deviations of the estimate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import vmap
from torch.nn import functional as F

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError

N = 200_000
LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "AlphaDropout": (lambda: L.AlphaDropout(0.4), (6, 4)),
    "Dropout": (lambda: L.Dropout(0.4), (6, 4)),
    "Dropout of rows": (lambda: L.Dropout(0.4, noise_shape=(None, 1)), (6, 4)),
    "GaussianDropout": (lambda: L.GaussianDropout(0.4), (6, 4)),
    "GaussianNoise": (lambda: L.GaussianNoise(0.3), (6, 4)),
    "SpatialDropout1D": (lambda: L.SpatialDropout1D(0.4), (6, 4)),
    "SpatialDropout2D": (lambda: L.SpatialDropout2D(0.4), (6, 2, 2)),
    "SpatialDropout3D": (lambda: L.SpatialDropout3D(0.4), (6, 2, 2, 2)),
}
every_noise = pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS)


# -- what all of them do ----------------------------------------------------------------------------------------------------


@every_noise
def test_inference_and_whole_numbers_pass_untouched(make: Any, shape: tuple[int, ...]) -> None:
    x = torch.randn(3, *shape)
    assert make().eval()(x) is x
    labels = torch.ones(3, *shape, dtype=torch.int64)
    assert make()(labels) is labels


@every_noise
def test_torch_s_seed_repeats_them(make: Any, shape: tuple[int, ...]) -> None:
    layer, x = make(), torch.randn(5, *shape)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)
    assert not torch.equal(layer(x[:1].expand(2, *shape))[0], layer(x[:1].expand(2, *shape))[1]), "each observation its own"


@every_noise
def test_fit_s_seed_repeats_them(make: Any, shape: tuple[int, ...]) -> None:
    x, y = torch.randn(40, *shape), torch.arange(40) % 2

    def weights(seed: int) -> Tensor:
        lm.seeding.seed_all(seed + 100)  # what was drawn before does not matter
        model = lm.Sequential([make(), L.Flatten(), L.Dense(2, "softmax", kernel_initializer="zeros")])
        model.compile(loss="sparse_categorical_crossentropy")
        model.fit(x, y, epochs=2, batch_size=20, shuffle=False, seed=seed, verbose=0)
        return model[2].weight.detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@every_noise
def test_dtype_and_shape_stay_in_training(make: Any, shape: tuple[int, ...]) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        for batch in (0, 1, 3):
            z = make()(torch.randn(batch, *shape).to(dtype))
            assert (z.dtype, z.shape) == (dtype, (batch, *shape))
    assert make()(torch.empty(3, *shape, device="meta")).shape == (3, *shape)


@every_noise
def test_under_vmap_each_observation_draws_its_own(make: Any, shape: tuple[int, ...]) -> None:
    z = vmap(make(), randomness="different")(torch.ones(50, *shape))
    assert z.shape == (50, *shape)
    assert z.unique(dim=0).shape[0] > 10


@every_noise
def test_compiled_whole_in_training(make: Any, shape: tuple[int, ...]) -> None:
    torch._dynamo.reset()
    layer = make()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = torch.randn(400, *shape)
    torch.manual_seed(0)
    z = compiled(x)
    torch.manual_seed(0)
    torch.testing.assert_close(z, layer(x))


def within(measured: Tensor, expected: float, deviation: float) -> None:
    """Assert that an estimate lies within five of its standard deviations: by chance it does not once in 1.7 million times."""
    assert abs(float(measured) - expected) <= 5 * deviation


# -- Dropout --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float) -> None:
    x = torch.full((2, N // 2), 3.0, dtype=torch.float64)
    z = L.Dropout(rate)(x)
    kept = z != 0
    torch.testing.assert_close(z[kept], torch.full_like(z[kept], 3 / (1 - rate)))
    spread = math.sqrt(rate * (1 - rate) / N)
    within((~kept).double().mean(), rate, spread)
    within(z.mean(), 3, 3 * spread / (1 - rate))


def test_dropout_is_torch_s() -> None:
    x = torch.ones(8, 8)
    torch.manual_seed(3)
    z = L.Dropout(0.5)(x)
    torch.manual_seed(3)
    assert torch.equal(F.dropout(x, 0.5), z)


@every_noise
def test_gradient_is_that_of_what_was_kept(make: Any, shape: tuple[int, ...]) -> None:
    """All of them are a·x + b with random a and b: doubling x adds a·x."""
    x = torch.rand(5, *shape, dtype=torch.float64).add(0.5).requires_grad_()
    torch.manual_seed(1)
    z = make()(x)
    (dx,) = torch.autograd.grad(z.sum(), x)
    torch.manual_seed(1)
    torch.testing.assert_close(make()(2 * x.detach()) - z.detach(), dx * x.detach())


@pytest.mark.parametrize(
    ("noise_shape", "masks"),
    [((1, None), 300 * 7), ((None, 1), 300 * 5), ((1, 1), 300), ((5, 1), 300 * 5), ((None, None), 300 * 35)],
)
def test_noise_shape_says_what_is_dropped_together(noise_shape: tuple[int | None, ...], masks: int) -> None:
    z = L.Dropout(0.3, noise_shape)(torch.ones(300, 5, 7, dtype=torch.float64))
    dropped = (z == 0).double()
    for axis, entry in enumerate(noise_shape, start=1):
        if entry == 1:
            assert torch.equal(dropped, dropped.narrow(axis, 0, 1).expand_as(dropped))
        else:
            assert not torch.equal(dropped, dropped.narrow(axis, 0, 1).expand_as(dropped))
    within(dropped.mean(), 0.3, math.sqrt(0.3 * 0.7 / masks))
    torch.testing.assert_close(z[z != 0], torch.full_like(z[z != 0], 1 / 0.7))


# -- SpatialDropout ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "axes"), [(L.SpatialDropout1D, 1), (L.SpatialDropout2D, 2), (L.SpatialDropout3D, 3)])
@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_channels_are_dropped_whole_and_independently(cls: Any, axes: int, rate: float) -> None:
    b, c = 500, 20
    z = cls(rate)(torch.ones(b, c, *(3,) * axes, dtype=torch.float64))
    flat = z.flatten(2)
    assert torch.equal(flat, flat[:, :, :1].expand_as(flat))
    dropped = (flat[:, :, 0] == 0).double()
    variance = rate * (1 - rate)
    within(dropped.mean(), rate, math.sqrt(variance / (b * c)))
    torch.testing.assert_close(flat[flat != 0], torch.full_like(flat[flat != 0], 1 / (1 - rate)))
    centred = dropped - rate  # neighbours, among channels and among observations, know nothing of each other
    within((centred[:, 1:] * centred[:, :-1]).mean(), 0, variance / math.sqrt(b * (c - 1)))
    within((centred[1:] * centred[:-1]).mean(), 0, variance / math.sqrt((b - 1) * c))


# -- Gaussian ---------------------------------------------------------------------------------------------------------------


def has_normal_moments(noise: Tensor, stddev: float) -> None:
    """Mean, variance and fourth moment of N(0, stddev²), with the estimates' own standard deviations."""
    n = noise.numel()
    unit = noise.double() / stddev
    within(unit.mean(), 0, 1 / math.sqrt(n))
    within(unit.square().mean(), 1, math.sqrt(2 / n))
    within(unit.pow(4).mean(), 3, math.sqrt(96 / n))
    within(unit.pow(3).mean(), 0, math.sqrt(15 / n))


@pytest.mark.parametrize("stddev", [0.1, 2.5])
def test_gaussian_noise_is_normal(stddev: float) -> None:
    x = torch.linspace(-5, 5, N, dtype=torch.float64).reshape(4, -1)
    has_normal_moments(L.GaussianNoise(stddev)(x) - x, stddev)
    assert torch.equal(L.GaussianNoise(0)(x), x)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_gaussian_dropout_multiplies_by_the_noise_of_dropout(rate: float) -> None:
    x = torch.linspace(1, 5, N, dtype=torch.float64).reshape(4, -1)
    has_normal_moments(L.GaussianDropout(rate)(x) / x - 1, math.sqrt(rate / (1 - rate)))
    assert torch.equal(L.GaussianDropout(0)(x), x)


# -- AlphaDropout -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(rate: float) -> None:
    """By its formula: a·x + b where kept, a·α' + b where dropped, and the moments of a standard normal input stay."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, N // 2)))
    z = L.AlphaDropout(rate)(x)
    saturation = -1.6732632423543772 * 1.0507009873554805
    a = ((1 - rate) * (1 + rate * saturation**2)) ** -0.5
    b = -a * saturation * rate
    dropped = torch.isclose(z, torch.tensor(a * saturation + b, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(z[~dropped], a * x[~dropped] + b)
    within(dropped.double().mean(), rate, math.sqrt(rate * (1 - rate) / N))
    values = torch.where(dropped, a * saturation + b, a * x + b)
    torch.testing.assert_close(z, values)
    fourth = float((z - z.mean()).pow(4).mean())
    within(z.mean(), 0, 1 / math.sqrt(N))
    within(z.square().mean(), 1, math.sqrt((fourth - 1) / N))


# -- what they call themselves, and errors ------------------------------------------------------------------------------------


def test_what_they_call_themselves() -> None:
    assert L.Dropout(0.25).label == "layer 'dropout' (Dropout, rate=0.25)"
    assert L.Dropout(np.float32(0.5)).rate == 0.5
    assert repr(L.Dropout(0.25, [1, None])) == "Dropout(rate=0.25, noise_shape=(1, None))"
    assert L.SpatialDropout2D(0.25).label == "layer 'spatial_dropout2d' (SpatialDropout2D, rate=0.25)"
    assert repr(L.GaussianNoise(1)) == "GaussianNoise(stddev=1.0)"
    assert repr(L.GaussianDropout(0.5)) == "GaussianDropout(rate=0.5)"
    assert repr(L.AlphaDropout(0.5)) == "AlphaDropout(rate=0.5)"


RATES = ["AlphaDropout", "Dropout", "GaussianDropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"]


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("rate", [1, -0.1, math.nan, "half", False])
def test_a_rate_is_a_probability_below_one(name: str, rate: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        getattr(L, name)(rate)
    assert str(caught.value) == f"{name}(rate=): expected a probability in [0, 1), received {rate!r}. Pass rate=0.5, say."


@pytest.mark.parametrize("stddev", [-0.1, math.nan, math.inf, None])
def test_a_standard_deviation_is_finite_and_not_negative(stddev: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        L.GaussianNoise(stddev)
    assert str(caught.value) == (
        f"GaussianNoise(stddev=): expected a finite number of at least 0, received {stddev!r}. Pass stddev=0.1, say."
    )


@pytest.mark.parametrize("noise_shape", [3, "13", (0, 1), (1.5,), (True,)])
def test_a_noise_shape_is_a_sequence_of_lengths(noise_shape: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        L.Dropout(0.5, noise_shape)
    assert str(caught.value) == (
        "Dropout(noise_shape=): expected a sequence of 1, lengths and None, one for each axis but the batch, "
        f"received {noise_shape!r}. Pass (1, None), say."
    )


@pytest.mark.parametrize("shape", [(5,), (5, 6), (2, 5, 7)])
def test_a_noise_shape_that_does_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError) as caught:
        lm.Sequential([L.Dropout(0.5, (1, 7))]).build(shape)
    assert str(caught.value) == (
        "layer 'dropout' (Dropout, rate=0.5, noise_shape=(1, 7)): expected observations of 2 axes that fit the noise shape, "
        f"received (batch, {', '.join(map(str, shape))}). "
        "Give noise_shape one entry for each axis but the batch: 1, None, or the axis' length."
    )


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (L.SpatialDropout1D, (5,), "(batch, channels, length), received (batch, 5), 2 axes. Give it 3 axes."),
        (L.SpatialDropout2D, (5, 6), "(batch, channels, height, width), received (batch, 5, 6), 3 axes. Use SpatialDropout1D."),
        (L.SpatialDropout3D, (3, 5, 6), "(batch, channels, depth, height, width), received (batch, 3, 5, 6), 4 axes. Use SpatialDropout2D."),
    ],
)  # fmt: skip
def test_spatial_dropout_of_another_rank(layer: Any, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        lm.Sequential([layer(0.5, name="drop")]).build(shape)
    assert str(caught.value) == f"layer 'drop' ({layer.__name__}, rate=0.5): expected input {text}"
