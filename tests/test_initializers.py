"""Initializers against torch.nn.init, SciPy's distributions and the formulas of row R9."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from laminar import initializers
from laminar.errors import ArgumentError, ShapeError, UnknownNameError
from laminar.initializers import (
    INITIALIZERS,
    Constant,
    Given,
    Identity,
    Initializer,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    VarianceScaling,
)
from laminar.initializers.scaled import STD_WITHIN_TWO

RANDOM = [name for name in INITIALIZERS if name not in ("zeros", "ones", "constant", "identity")]
SHAPES = st.lists(st.integers(1, 6), min_size=2, max_size=5).map(tuple)


def fresh(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ── against torch, to the bit ────────────────────────────────────────────────────────────────────────────────────────────

TORCH: dict[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor]] = {
    "constant": lambda t, g: nn.init.zeros_(t),
    "zeros": lambda t, g: nn.init.zeros_(t),
    "ones": lambda t, g: nn.init.ones_(t),
    "normal": lambda t, g: nn.init.normal_(t, 0, 0.01, generator=g),
    "standard_normal": lambda t, g: nn.init.normal_(t, generator=g),
    "random_normal": lambda t, g: nn.init.normal_(t, 0, 0.05, generator=g),
    "truncated_normal": lambda t, g: nn.init.trunc_normal_(t, 0, 0.05, -0.1, 0.1, generator=g),
    "uniform": lambda t, g: nn.init.uniform_(t, generator=g),
    "random_uniform": lambda t, g: nn.init.uniform_(t, -0.05, 0.05, generator=g),
    "xavier_normal": lambda t, g: nn.init.xavier_normal_(t, generator=g),
    "xavier_uniform": lambda t, g: nn.init.xavier_uniform_(t, generator=g),
    "glorot_relu_normal": lambda t, g: nn.init.xavier_normal_(t, math.sqrt(2), generator=g),
    "glorot_relu_uniform": lambda t, g: nn.init.xavier_uniform_(t, math.sqrt(2), generator=g),
    "kaiming_normal": lambda t, g: nn.init.kaiming_normal_(t, nonlinearity="relu", generator=g),
    "kaiming_uniform": lambda t, g: nn.init.kaiming_uniform_(t, nonlinearity="relu", generator=g),
    "lecun_normal": lambda t, g: nn.init.kaiming_normal_(t, nonlinearity="linear", generator=g),
    "lecun_uniform": lambda t, g: nn.init.kaiming_uniform_(t, nonlinearity="linear", generator=g),
    "orthogonal": lambda t, g: nn.init.orthogonal_(t, generator=g),
}


@pytest.mark.parametrize("name", TORCH)
@given(shape=SHAPES, seed=st.integers(0, 2**31))
def test_same_as_torch(name: str, shape: tuple[int, ...], seed: int) -> None:
    """R9: from the same generator, the same numbers as torch.nn.init to rounding, for 2 to 5 axes."""
    ours = initializers.get(name)(shape, generator=fresh(seed))
    torchs = TORCH[name](torch.empty(shape), fresh(seed))
    torch.testing.assert_close(ours, torchs, rtol=1e-6, atol=1e-9)
    assert not ours.requires_grad


def test_every_name_has_a_torch_twin_or_a_distribution_test() -> None:
    """A new name must be added to one of the two tests."""
    assert {initializers.INITIALIZERS.name_of(n) for n in TORCH} | {"variance_scaling", "identity"} == set(INITIALIZERS)


@given(shape=SHAPES)
def test_fans_same_as_torch(shape: tuple[int, ...]) -> None:
    """(out, in / groups, *kernel), counted as torch counts."""
    assert initializers.fans(shape) == nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))  # type: ignore[no-untyped-call]


# ── against the published spreads ────────────────────────────────────────────────────────────────────────────────────────

SHAPE = (60, 40, 5, 5)
FAN_IN, FAN_OUT = 40 * 25, 60 * 25


@pytest.mark.parametrize(
    ("name", "distribution"),
    [
        ("glorot_normal", stats.norm(0, math.sqrt(2 / (FAN_IN + FAN_OUT)))),
        ("glorot_uniform", stats.uniform(-math.sqrt(6 / (FAN_IN + FAN_OUT)), 2 * math.sqrt(6 / (FAN_IN + FAN_OUT)))),
        ("glorot_relu_normal", stats.norm(0, math.sqrt(4 / (FAN_IN + FAN_OUT)))),
        ("glorot_relu_uniform", stats.uniform(-math.sqrt(12 / (FAN_IN + FAN_OUT)), 2 * math.sqrt(12 / (FAN_IN + FAN_OUT)))),
        ("he_normal", stats.norm(0, math.sqrt(2 / FAN_IN))),
        ("he_uniform", stats.uniform(-math.sqrt(6 / FAN_IN), 2 * math.sqrt(6 / FAN_IN))),
        ("lecun_normal", stats.norm(0, math.sqrt(1 / FAN_IN))),
        ("lecun_uniform", stats.uniform(-math.sqrt(3 / FAN_IN), 2 * math.sqrt(3 / FAN_IN))),
        ("normal", stats.norm(0, 0.01)),
        ("standard_normal", stats.norm(0, 1)),
        ("uniform", stats.uniform(0, 1)),
        ("truncated_normal", stats.truncnorm(-2, 2, scale=0.05)),
    ],
)
def test_published_distribution(name: str, distribution: Any) -> None:
    """R9: Kolmogorov-Smirnov over 60,000 values does not tell the sample from the published distribution."""
    values = initializers.get(name)(SHAPE, generator=fresh()).numpy().ravel()
    assert stats.kstest(values.astype(float), distribution.cdf).pvalue > 0.01


@pytest.mark.parametrize("distribution", ["untruncated_normal", "uniform", "truncated_normal"])
@pytest.mark.parametrize(("mode", "n"), [("fan_in", FAN_IN), ("fan_out", FAN_OUT), ("fan_avg", (FAN_IN + FAN_OUT) / 2)])
def test_variance_scaling_has_the_variance(distribution: str, mode: str, n: float) -> None:
    """The variance is scale / n; truncation does not shrink it."""
    values = VarianceScaling(3.0, mode, distribution)(SHAPE, generator=fresh()).double()
    assert values.var().item() == pytest.approx(3.0 / n, rel=0.03)  # 5 standard errors
    assert values.mean().item() == pytest.approx(0.0, abs=5 * math.sqrt(3.0 / n / values.numel()))


def test_correction_for_truncation() -> None:
    """The constant in the file is SciPy's standard deviation of a normal truncated at two."""
    assert pytest.approx(stats.truncnorm(-2, 2).std(), rel=1e-12) == STD_WITHIN_TWO


def test_one_axis_counts_as_both_fans() -> None:
    """A vector of n values: the spread of fan_in = fan_out = n."""
    values = initializers.get("glorot_normal")((50_000,), generator=fresh())
    assert values.std().item() == pytest.approx(math.sqrt(2 / 100_000), rel=0.02)


@given(shape=SHAPES, gain=st.floats(0.1, 3))
def test_orthogonal(shape: tuple[int, ...], gain: float) -> None:
    """The rows, or the columns if there are fewer, are orthogonal and `gain` long."""
    w = Orthogonal(gain)(shape, generator=fresh()).flatten(1).double()
    w = w if len(w) <= w.shape[1] else w.T
    torch.testing.assert_close(w @ w.T, gain**2 * torch.eye(len(w), dtype=torch.float64), rtol=0, atol=1e-5)


@given(rows=st.integers(1, 5), columns=st.integers(1, 5), gain=st.floats(-2, 2))
def test_identity(rows: int, columns: int, gain: float) -> None:
    """Also where it is not square."""
    np.testing.assert_allclose(Identity(gain)((rows, columns)), gain * np.eye(rows, columns), rtol=1e-6, atol=1e-30)


# ── generator, seed, dtype, device ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", RANDOM)
def test_generator_seed_and_global_state(name: str) -> None:
    """One generator state, one tensor; without a generator torch's global one is used; an own seed overrides both."""
    rule = initializers.get(name)
    first, again, other = rule((4, 5), generator=fresh(1)), rule((4, 5), generator=fresh(1)), rule((4, 5), generator=fresh(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(1)
    assert torch.equal(rule((4, 5)), first)

    seeded = type(rule)(**{**vars(rule), "seed": 1})
    generator = fresh(2)
    before = generator.get_state()
    assert torch.equal(seeded((4, 5), generator=generator), first)
    assert torch.equal(seeded((4, 5)), first)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_one_seed_one_set_of_weights_in_every_dtype(name: str, dtype: torch.dtype) -> None:
    """Drawn in float32, then converted."""
    rule = initializers.get(name)
    converted = rule((3, 4), generator=fresh(), dtype=dtype)
    assert torch.equal(converted, rule((3, 4), generator=fresh()).to(dtype))


@pytest.mark.parametrize("name", list(INITIALIZERS))
def test_meta_device_draws_nothing(name: str) -> None:
    """Shape inference must not move the stream of random numbers."""
    generator = fresh()
    before = generator.get_state()
    with torch.device("meta"):
        implicit = initializers.get(name)((2, 3), generator=generator)
    explicit = initializers.get(name)((2, 3), generator=generator, device="meta", dtype=torch.float64)
    assert (implicit.device.type, explicit.device.type, explicit.dtype) == ("meta", "meta", torch.float64)
    assert torch.equal(generator.get_state(), before)


def test_default_dtype_is_followed() -> None:
    """As torch.empty does."""
    torch.set_default_dtype(torch.float64)
    assert initializers.get("he_normal")((2, 2)).dtype is torch.float64


@pytest.mark.parametrize("shape", [(0,), (3, 0), ()])
def test_empty_and_scalar_shapes(shape: tuple[int, ...]) -> None:
    """No division by a fan of zero, no warning of torch."""
    assert initializers.get("glorot_uniform")(shape).shape == shape


# ── numbers, tensors, functions ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [0.1, 3, np.float32(0.5), -1.5])
def test_a_number_is_every_value(number: float) -> None:
    """Exactly, in float64 too."""
    assert initializers.get(number)((2,), dtype=torch.float64).tolist() == [float(number)] * 2


@pytest.mark.parametrize("make", [torch.tensor, np.array])
def test_a_tensor_is_its_values(make: Callable[..., Any]) -> None:
    """Copied, to the bit in float64."""
    source = make([0.1, 0.2])
    values = initializers.get(source)((2,), dtype=torch.float64)
    values += 1
    assert initializers.get(source)((2,), dtype=torch.float64).tolist() == np.asarray(source, dtype=np.float64).tolist()


@pytest.mark.parametrize("function", [torch.ones, np.ones, lambda shape: 1])
def test_a_function_of_the_shape(function: Callable[..., Any]) -> None:
    """Tensor, array or number."""
    assert initializers.get(function)((2, 3)).tolist() == [[1.0] * 3] * 2


def test_own_class() -> None:
    """A subclass fills a tensor in place and gets dtype, device and seeds for nothing."""

    class Signs(Initializer):
        def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> None:
            values.bernoulli_(0.5, generator=generator).mul_(2).sub_(1)

    assert set(initializers.get(Signs())((100,), generator=fresh()).tolist()) == {-1.0, 1.0}


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

SPECS = "a name, a number, a tensor, an Initializer or a function of the shape"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: initializers.get("he_norm"),
            UnknownNameError,
            "initializer 'he_norm' is unknown. Did you mean 'he_normal'? Known: constant, glorot_normal, glorot_relu_normal, "
            "glorot_relu_uniform, glorot_uniform, he_normal, he_uniform, identity, kaiming_normal, kaiming_uniform, "
            "lecun_normal, lecun_uniform, normal, one, ones, orthogonal, random_normal, random_uniform, standard_normal, truncated_normal, "
            "uniform, variance_scaling, xavier_normal, xavier_uniform, zero, zeros.",
        ),
        (
            lambda: initializers.get(None),  # type: ignore[arg-type]
            ArgumentError,
            f'initializer: expected {SPECS}, received None. Pass "glorot_uniform", for example.',
        ),
        (
            lambda: initializers.get(RandomNormal),
            ArgumentError,
            f"initializer: expected {SPECS}, received the class RandomNormal. Pass RandomNormal() with parentheses.",
        ),
        (
            lambda: initializers.get(math.nan),
            ArgumentError,
            "Constant(value=): expected a finite number, received nan. Pass such a number.",
        ),
        (
            lambda: RandomNormal(stddev=-1),
            ArgumentError,
            "RandomNormal(stddev=): expected a finite number of at least 0, received -1. Pass such a number.",
        ),
        (
            lambda: RandomUniform(1.0, 1.0),
            ArgumentError,
            "RandomUniform(maxval=): expected a finite number above 1, received 1.0. Pass such a number.",
        ),
        (
            lambda: VarianceScaling(mode="fan"),
            ArgumentError,
            "VarianceScaling(mode=): expected one of fan_in, fan_out, fan_avg, received 'fan'. Pass 'fan_in', for example.",
        ),
        (
            lambda: VarianceScaling(distribution="cauchy"),
            ArgumentError,
            "VarianceScaling(distribution=): expected one of truncated_normal, untruncated_normal, uniform, received 'cauchy'. "
            "Pass 'truncated_normal', for example.",
        ),
        (
            lambda: Orthogonal()((3,)),
            ShapeError,
            "Orthogonal(): expected a shape of at least 2 axes, received (3,). "
            'Use another initializer there, for example "normal".',
        ),
        (
            lambda: Identity()((3, 3, 2)),
            ShapeError,
            'Identity(): expected a shape of 2 axes, received (3, 3, 2). Use another initializer there, for example "orthogonal".',
        ),
        (
            lambda: initializers.get(torch.ones(1))((20,)),
            ShapeError,
            "initial values: expected shape (20,), received (1,). Give it the shape (20,).",
        ),
        (
            lambda: Given(lambda shape: "x")((2,)),
            ArgumentError,
            "initializer '<lambda>': expected a tensor, an array or a number, received str. Return torch.zeros((2,)), say.",
        ),
        (
            lambda: Given(lambda shape: torch.ones(1))((2,)),
            ShapeError,
            "initializer '<lambda>': expected shape (2,), received (1,). Give it the shape (2,).",
        ),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    """Where, expected, received, fix."""
    with pytest.raises(error) as e:
        call()
    assert str(e.value) == message


def test_descriptions_are_values() -> None:
    """Equal if their arguments are, and readable."""
    assert Constant(1.0) == initializers.get(1)
    assert repr(initializers.get("he_normal")) == "HeNormal(seed=None)"
    assert initializers.get("he_normal") != initializers.get("glorot_normal")
