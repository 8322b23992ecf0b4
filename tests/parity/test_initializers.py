"""Initializers against Keras': the same moments, range and distribution, within five of the samples' own standard errors.

Shapes are PyTorch's for ours and Keras' for theirs: both must count the same fans for the same layer.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity.support import keras, parity
from scipy import stats

from laminar import initializers
from laminar.initializers import INITIALIZERS, fans

Array: TypeAlias = np.ndarray[Any, Any]

# layer -> (our shape of its weights, Keras')
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "dense": ((90, 130), (130, 90)),
    "convolution in 1 dimension": ((64, 48, 3), (3, 48, 64)),
    "in 2": ((40, 30, 3, 3), (3, 3, 30, 40)),
    "in 3": ((20, 16, 3, 3, 3), (3, 3, 3, 16, 20)),
    "grouped, 4 groups": ((64, 12, 3, 3), (3, 3, 12, 64)),
}

# What Keras has by the same name, and whether the distribution is the same or only mean and spread: Keras cuts the normal of
# these at two standard deviations, Glorot's and He's is whole.
SAME = [
    "glorot_uniform",
    "he_uniform",
    "lecun_uniform",
    "variance_scaling",
    "truncated_normal",
    "random_normal",
    "random_uniform",
]
CUT = ["glorot_normal", "he_normal", "lecun_normal"]


def samples(name: str, layer: str) -> tuple[Array, Array]:
    ours, theirs = LAYERS[layer]
    own = initializers.get(name)(ours, generator=torch.Generator().manual_seed(5))
    keras.utils.set_random_seed(5)
    other = keras.initializers.get(name)(theirs)
    return own.double().numpy().ravel(), np.asarray(other.detach(), dtype=np.float64).ravel()


def spread_error(values: Array) -> float:
    """Return the standard error of the variance of a sample, from its own fourth moment."""
    centred = values - values.mean()
    return float(np.sqrt((np.mean(centred**4) - np.mean(centred**2) ** 2) / len(values)))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", [*SAME, *CUT])
def test_moments(name: str, layer: str) -> None:
    """Row R9: mean and variance, and but for the cut normals range and distribution (Kolmogorov-Smirnov of both samples)."""
    own, other = samples(name, layer)
    assert len(own) == len(other)
    assert abs(own.mean() - other.mean()) <= 5 * math.hypot(own.std(), other.std()) / math.sqrt(len(own))
    assert abs(own.var() - other.var()) <= 5 * math.hypot(spread_error(own), spread_error(other))
    if name in SAME:
        assert stats.ks_2samp(own, other).pvalue > 1e-4
        if name != "random_normal":
            assert np.abs(own).max() == pytest.approx(np.abs(other).max(), rel=0.01)


# ── row R9's formulas ────────────────────────────────────────────────────────────────────────────────────────────────────

FORMULAS = {
    "glorot_normal": lambda n_in, n_out: math.sqrt(2 / (n_in + n_out)),
    "glorot_uniform": lambda n_in, n_out: math.sqrt(6 / (n_in + n_out)) / math.sqrt(3),
    "glorot_relu_normal": lambda n_in, n_out: math.sqrt(4 / (n_in + n_out)),
    "glorot_relu_uniform": lambda n_in, n_out: math.sqrt(12 / (n_in + n_out)) / math.sqrt(3),
    "he_normal": lambda n_in, n_out: math.sqrt(2 / n_in),
    "he_uniform": lambda n_in, n_out: math.sqrt(6 / n_in) / math.sqrt(3),
    "normal": lambda n_in, n_out: 0.01,
    "standard_normal": lambda n_in, n_out: 1.0,
}


@pytest.mark.parametrize("name", FORMULAS)
@parity
@given(
    out=st.integers(8, 40),
    channels=st.integers(1, 12),
    kernel=st.lists(st.integers(1, 4), max_size=3).map(tuple),
    seed=st.integers(0, 2**31),
)
def test_published_spread(name: str, out: int, channels: int, kernel: tuple[int, ...], seed: int) -> None:
    """Row R9: the standard deviation, for dense (no kernel), convolution, grouped and depthwise (1 channel) weights.

    A variance from n values has the standard error σ²·√((κ − 1)/n), with κ = 3 for the normal and 9/5 for the uniform.
    """
    shape = (out * 20, channels, *kernel)
    values = initializers.get(name)(shape, generator=torch.Generator().manual_seed(seed)).double().numpy()
    expected = FORMULAS[name](channels * math.prod(kernel), out * 20 * math.prod(kernel))
    kurtosis = 1.8 if name.endswith("uniform") else 3.0
    error = expected**2 * math.sqrt((kurtosis - 1) / values.size)
    assert abs((values**2).mean() - expected**2) <= 5 * error
    if name.endswith("uniform"):
        assert np.abs(values).max() <= expected * math.sqrt(3) * (1 + 1e-6)


# ── fans, and what is not drawn ──────────────────────────────────────────────────────────────────────────────────────────


@parity
@given(out=st.integers(1, 9), channels=st.integers(1, 9), kernel=st.lists(st.integers(1, 4), max_size=3).map(tuple))
def test_fans(out: int, channels: int, kernel: tuple[int, ...]) -> None:
    """Of dense weights and of convolutions in 1 to 3 dimensions, grouped ones too: `channels` are those of one group."""
    from keras.src.initializers.random_initializers import compute_fans

    assert fans((out, channels, *kernel)) == compute_fans((*kernel, channels, out))


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6)])
@pytest.mark.parametrize("name", ["zeros", "ones", "constant", "identity"])
def test_values_without_chance(name: str, shape: tuple[int, int]) -> None:
    theirs = keras.initializers.Constant() if name == "constant" else keras.initializers.get(name)
    np.testing.assert_array_equal(initializers.get(name)(shape), theirs(shape).detach())


@pytest.mark.parametrize("shape", [(30, 30), (40, 20), (20, 40), (16, 4, 3, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    """Both are (semi-)orthogonal over the outputs' axis; their entries have the same distribution."""
    theirs = (*shape[2:], *shape[1::-1])
    own = initializers.get("orthogonal")(shape, generator=torch.Generator().manual_seed(5)).flatten(1)
    keras.utils.set_random_seed(5)
    other = keras.initializers.Orthogonal()(theirs).detach().reshape(-1, shape[0]).T
    for matrix in (own, other):
        smaller = matrix if len(matrix) <= matrix.shape[1] else matrix.T
        torch.testing.assert_close(smaller @ smaller.T, torch.eye(len(smaller)), rtol=0, atol=1e-5)
    assert stats.ks_2samp(own.numpy().ravel(), other.numpy().ravel()).pvalue > 1e-4


def test_every_name_of_keras_is_compared() -> None:
    """But for the Fourier transform, which no layer here has weights for."""
    names = {n for n in keras.initializers.__dict__ if n.islower() and n not in ("deserialize", "get", "serialize")}
    known = {*SAME, *CUT, "zeros", "ones", "constant", "identity", "orthogonal"}
    assert {n for n in names if not n.startswith("_")} - {"stft", "keras"} <= known
    assert known <= set(INITIALIZERS)
