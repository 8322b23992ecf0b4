"""R11: normalizations of one observation, against NumPy float64 written from the formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError, UnknownNameError

Array = NDArray[np.float64]
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


def close(got: Tensor, want: Array) -> None:
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-9, atol=1e-10)


def prepared(layer: Any, x: Array) -> tuple[Tensor, Array | float, Array | float]:
    """Give a layer scale and offset that are no ones and zeros; return its output, and both."""
    tensor = torch.from_numpy(x)
    layer(tensor)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.rand(p.shape, dtype=torch.float64) + 0.5)
    gamma, beta = (getattr(layer, key, None) for key in ("weight", "bias"))
    values = [default if p is None else p.detach().numpy() for p, default in ((gamma, 1.0), (beta, 0.0))]
    return layer(tensor), values[0], values[1]


def along(values: Array | float, axes: list[int], rank: int, shape: tuple[int, ...]) -> Array | float:
    """Shape scale or offset so that it broadcasts: its axes are `axes` of the batch, ascending."""
    return values if isinstance(values, float) else values.reshape([shape[i] if i in axes else 1 for i in range(rank)])


@st.composite
def axes_of(draw: Any) -> tuple[tuple[int, ...], list[int]]:
    shape = draw(shapes)
    axes = draw(st.lists(st.integers(1, len(shape)), min_size=1, unique=True))
    signs = draw(st.lists(st.booleans(), min_size=len(axes), max_size=len(axes)))
    return shape, [a - len(shape) - 1 if negative else a for a, negative in zip(axes, signs, strict=True)]


# -- LayerNormalization -----------------------------------------------------------------------------------------------------


@given(axes_of(), st.sampled_from([1e-3, 1e-6]), st.booleans(), st.booleans(), st.integers(0, 2**31))
def test_layer_normalization_is_its_formula(
    where: tuple[tuple[int, ...], list[int]], epsilon: float, center: bool, scale: bool, seed: int
) -> None:
    """μ = (1/H) Σ x, σ² = (1/H) Σ (x - μ)², z = γ (x - μ)/√(σ² + ε) + β over the H numbers along the axes."""
    shape, given_axes = where
    x = np.random.default_rng(seed).normal(2, 3, (3, *shape))
    layer = L.LayerNormalization(given_axes, epsilon, center=center, scale=scale)
    z, gamma, beta = prepared(layer, x)
    axes = [a % x.ndim for a in given_axes]
    h = math.prod(x.shape[a] for a in axes)
    mu = x.sum(axis=tuple(axes), keepdims=True) / h
    variance = ((x - mu) ** 2).sum(axis=tuple(axes), keepdims=True) / h
    normed = (x - mu) / np.sqrt(variance + epsilon)
    close(z, along(gamma, axes, x.ndim, x.shape) * normed + along(beta, axes, x.ndim, x.shape))


def test_over_the_units_of_a_dense_layer() -> None:
    """The document's case: H hidden units, one observation, also in a batch of one."""
    a = np.random.default_rng(0).normal(size=(1, 50))
    layer = L.LayerNormalization(epsilon=1e-12)
    z = layer(torch.from_numpy(a)).detach().numpy()
    np.testing.assert_allclose([z.mean(), z.var()], [0, 1], atol=1e-9)
    assert layer.weight.shape == layer.bias.shape == (50,)


def test_over_all_units_of_an_image() -> None:
    layer = L.LayerNormalization(axis=(1, 2, 3))
    z = layer(torch.randn(4, 3, 5, 6, dtype=torch.float64) * 9 + 4)
    np.testing.assert_allclose(z.detach().numpy().mean((1, 2, 3)), np.zeros(4), atol=1e-9)
    assert layer.weight.shape == (3, 5, 6)
    assert str(layer.explain()) == (
        "LayerNormalization(axis=(1, 2, 3)): (3, 5, 6) → (3, 5, 6)\n"
        "  normalized together: 3×5×6 = 90\n"
        "  parameters: 90 scales + 90 offsets = 180"
    )


def test_no_observation_sees_another() -> None:
    x = torch.randn(5, 3, 4)
    for layer in (
        L.LayerNormalization(),
        L.GroupNormalization(3),
        L.RMSNormalization(),
        L.UnitNormalization(),
        L.LocalResponseNormalization(),
    ):
        together = layer(x)
        torch.testing.assert_close(torch.cat([layer(one) for one in x.split(1)]), together)
        assert torch.equal(layer.eval()(x), together)


# -- RMSNormalization and UnitNormalization -------------------------------------------------------------------------------------


@given(axes_of(), st.sampled_from([1e-6, 1e-2]), st.integers(0, 2**31))
def test_rms_and_unit_normalization_are_their_formulas(
    where: tuple[tuple[int, ...], list[int]], epsilon: float, seed: int
) -> None:
    shape, given_axes = where
    x = np.random.default_rng(seed).normal(2, 3, (3, *shape))
    axes = tuple(a % x.ndim for a in given_axes)
    z, gamma, _ = prepared(L.RMSNormalization(given_axes, epsilon), x)
    mean_square = (x**2).mean(axis=axes, keepdims=True)
    close(z, along(gamma, list(axes), x.ndim, x.shape) * x / np.sqrt(mean_square + epsilon))
    close(L.UnitNormalization(given_axes)(torch.from_numpy(x)), x / np.sqrt((x**2).sum(axis=axes, keepdims=True)))


def test_unit_normalization_of_nothing_is_nothing() -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    z = L.UnitNormalization()(x)
    z.sum().backward()
    assert torch.equal(z, torch.zeros(2, 3))
    assert bool(x.grad.isfinite().all())


# -- GroupNormalization -------------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 3), st.integers(1, 3), st.lists(st.integers(1, 4), max_size=2), st.booleans(), st.booleans(), st.integers(0, 2**31)
)  # fmt: skip
def test_group_normalization_is_its_formula(
    groups: int, each: int, sizes: list[int], center: bool, last: bool, seed: int
) -> None:
    channels = groups * each
    x = np.random.default_rng(seed).normal(2, 3, (4, channels, *sizes))
    axis = -1 if last else 1
    layer = L.GroupNormalization(-1 if each == 1 else groups, axis, center=center)
    z, gamma, beta = prepared(layer, np.moveaxis(x, 1, axis).copy())
    parts = x.reshape(4, groups, -1)
    normed = (parts - parts.mean(2, keepdims=True)) / np.sqrt(parts.var(2, keepdims=True) + 1e-3)
    want = along(gamma, [1], x.ndim, x.shape) * normed.reshape(x.shape) + along(beta, [1], x.ndim, x.shape)
    close(z, np.moveaxis(want, 1, axis))


def test_one_group_and_as_many_groups_as_channels() -> None:
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    everything, instance = L.GroupNormalization(1), L.GroupNormalization(-1)
    torch.testing.assert_close(everything(x), L.LayerNormalization((1, 2, 3))(x))
    torch.testing.assert_close(instance(x), L.LayerNormalization((2, 3))(x))


def test_one_number_a_group_gives_the_offset() -> None:
    layer = L.GroupNormalization(-1, beta_initializer=0.5)
    torch.testing.assert_close(layer(torch.randn(1, 6)), torch.full((1, 6), 0.5))


# -- LocalResponseNormalization -------------------------------------------------------------------------------------------------


def krizhevsky(a: Array, n: int, alpha: float, beta: float, k: float) -> Array:
    """bⁱ = aⁱ / (k + α Σ_{j = max(0, i − n/2)}^{min(N − 1, i + n/2)} (aʲ)²)^β, position by position."""
    channels = a.shape[1]
    b = np.empty_like(a)
    for i in range(channels):
        first, last = max(0, i - n // 2), min(channels - 1, i + (n - 1) // 2)  # n odd: (n − 1)/2 = ⌊n/2⌋
        total = np.zeros_like(a[:, 0])
        for j in range(first, last + 1):
            total += a[:, j] ** 2
        b[:, i] = a[:, i] / (k + alpha * total) ** beta
    return b


@given(shapes, st.integers(1, 6), st.sampled_from([1e-4, 0.5]), st.sampled_from([0.75, 1.0, 0.0]), st.sampled_from([1.0, 2.0]), st.integers(0, 2**31))  # fmt: skip
def test_local_response_normalization_is_krizhevsky_s_formula(
    shape: tuple[int, ...], size: int, alpha: float, beta: float, k: float, seed: int
) -> None:
    a = np.random.default_rng(seed).normal(0, 5, (3, *shape))
    layer = L.LocalResponseNormalization(size, alpha, beta, k)
    close(layer(torch.from_numpy(a)), krizhevsky(a, size, alpha, beta, k))


def test_its_constants_are_alexnet_s() -> None:
    a = np.random.default_rng(0).normal(0, 50, (2, 7, 3, 3))
    close(L.LocalResponseNormalization()(torch.from_numpy(a)), krizhevsky(a, 5, 1e-4, 0.75, 2.0))


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_memory_that_is_not_in_order(rank: int) -> None:
    a = np.random.default_rng(0).normal(0, 5, (3, *(4, 2, 3, 2)[:rank]))
    turned = torch.from_numpy(np.ascontiguousarray(a.T)).permute(*reversed(range(rank + 1)))
    close(L.LocalResponseNormalization(3, 0.5)(turned), krizhevsky(a, 3, 0.5, 0.75, 2.0))


# -- in a network -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        L.LayerNormalization(1), L.LayerNormalization((1, 2, 3)), L.GroupNormalization(2), L.RMSNormalization(1),
        L.UnitNormalization(1), L.LocalResponseNormalization(),
    ],
    ids=str,
)  # fmt: skip
def test_after_a_convolution_under_autocast(layer: Any) -> None:
    """What comes in is bfloat16, scale and offset are float32."""
    network = lm.Sequential([L.Conv2D(4, 3), layer, L.Conv2D(2, 1)]).build((2, 6, 6), seed=0)
    x = torch.randn(5, 2, 6, 6)
    want = network(x).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = network(x)
    assert float((z.detach().float() - want).abs().max()) <= 0.05 * float(want.abs().max())
    z.float().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


# -- what they call themselves, and errors ---------------------------------------------------------------------------------------


def test_what_they_call_themselves() -> None:
    assert repr(L.LayerNormalization()) == "LayerNormalization()"
    assert repr(L.LayerNormalization((1, 2), 1e-5, scale=False, name="ln")) == (
        "LayerNormalization(axis=(1, 2), epsilon=1e-05, scale=False)"
    )
    assert L.LayerNormalization(name="ln").label == "layer 'ln' (LayerNormalization)"
    assert repr(L.RMSNormalization(1, 1e-3)) == "RMSNormalization(axis=1, epsilon=0.001)"
    assert repr(L.UnitNormalization((1, 2))) == "UnitNormalization(axis=(1, 2))"
    assert repr(L.GroupNormalization(4, -1, 1e-5, center=False)) == (
        "GroupNormalization(groups=4, axis=-1, epsilon=1e-05, center=False)"
    )
    assert repr(L.LocalResponseNormalization()) == "LocalResponseNormalization(size=5)"
    assert repr(L.LocalResponseNormalization(3, 1, 1, 1)) == "LocalResponseNormalization(size=3, alpha=1.0, beta=1.0, k=1.0)"


def test_what_they_explain() -> None:
    assert L.GroupNormalization(4).explain((8, 5, 5)).lines == (
        "numbers in a group: 8·5·5/4 = 50", "parameters: 8 scales + 8 offsets = 16",
    )  # fmt: skip
    assert L.LocalResponseNormalization(4).explain((8, 5, 5)).lines == ("channels in a sum: 2 + 1 + 1 = 4", "parameters: none")
    assert L.RMSNormalization().explain((8, 5)).lines == ("normalized together: 5 = 5", "parameters: 5 scales = 5")


AXIS = "expected an axis or several, as whole numbers other than 0, the batch axis, received"
FIX = "Pass -1 for the last axis, or (1, 2, 3) for all of an image."


@pytest.mark.parametrize("cls", [L.LayerNormalization, L.RMSNormalization, L.UnitNormalization])
@pytest.mark.parametrize("axis", [0, 1.5, (), (1, 0), "1", None, True])
def test_axes_are_whole_numbers_but_not_the_batch(cls: Any, axis: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        cls(axis)
    assert str(caught.value) == f"{cls.__name__}(axis=): {AXIS} {axis!r}. {FIX}"


@pytest.mark.parametrize("name", ["LayerNormalization", "GroupNormalization", "RMSNormalization"])
@pytest.mark.parametrize("epsilon", [0, -1e-5, "1e-5", math.inf])
def test_an_epsilon_is_positive(name: str, epsilon: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        getattr(L, name)(epsilon=epsilon)
    assert str(caught.value) == f"{name}(epsilon=): expected a number above 0, received {epsilon!r}. Pass epsilon=1e-5, say."


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: L.GroupNormalization(0), "GroupNormalization(groups=): expected a whole number of at least 1, received 0. Pass 1 or more."),
        (lambda: L.GroupNormalization(1, 0), "GroupNormalization(axis=): expected an axis, as a whole number other than 0, the batch axis, received 0. Pass axis=1, the channels."),
        (lambda: L.LocalResponseNormalization(0), "LocalResponseNormalization(size=): expected a whole number of at least 1, received 0. Pass 1 or more."),
        (lambda: L.LocalResponseNormalization(k=0), "LocalResponseNormalization(k=): expected a number above 0, received 0. Leave it out for AlexNet's constants."),
        (lambda: L.LocalResponseNormalization(alpha=-1), "LocalResponseNormalization(alpha=): expected a number of at least 0, received -1. Leave it out for AlexNet's constants."),
        (lambda: L.LocalResponseNormalization(beta="1"), "LocalResponseNormalization(beta=): expected a number of at least 0, received '1'. Leave it out for AlexNet's constants."),
        (lambda: L.LayerNormalization(gamma_initializer="onnes"), "initializer 'onnes' is unknown. Did you mean 'ones'? Known: "),
        (lambda: L.LayerNormalization(centre=True), "LayerNormalization: argument 'centre' is unknown. Did you mean 'center'? Known: axis, beta_initializer, center, epsilon, gamma_initializer, name, scale."),
    ],
)  # fmt: skip
def test_bad_arguments(make: Any, text: str) -> None:
    with pytest.raises((ArgumentError, UnknownNameError)) as caught:
        make()
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (L.LayerNormalization(3), (4, 5), "layer 'layer_normalization' (LayerNormalization, axis=3): expected observations with the axes 3, each once, the batch axis being 0, received (batch, 4, 5), 3 axes. Pass axis=(1, 2) for all of them."),
        (L.LayerNormalization((1, -2)), (4, 5), "layer 'layer_normalization' (LayerNormalization, axis=(1, -2)): expected observations with the axes 1, -2, each once, the batch axis being 0, received (batch, 4, 5), 3 axes. Pass axis=(1, 2) for all of them."),
        (L.UnitNormalization(), (), "layer 'unit_normalization' (UnitNormalization): expected observations with the axes -1, each once, the batch axis being 0, received (batch,), 1 axis. Pass x[:, None]."),
        (L.GroupNormalization(3), (4, 5), "layer 'group_normalization' (GroupNormalization, groups=3): expected channels that groups=3 divides, received (batch, 4, 5), 4 channels. Choose groups that divides them, or -1 for a group for each channel."),
        (L.LocalResponseNormalization(), (), "layer 'local_response_normalization' (LocalResponseNormalization, size=5): expected input (batch, channels, ...), received (batch,), 1 axis. Pass x[:, None]."),
    ],
)  # fmt: skip
def test_bad_shapes(layer: Any, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(2, *shape))
    assert str(caught.value) == text


def test_another_shape_than_it_was_built_for() -> None:
    layer = L.LayerNormalization()
    layer(torch.zeros(2, 3, 4))
    for shape in ((3, 5), (4,), (3, 3, 4)):
        with pytest.raises(ShapeError) as caught:
            lm.Sequential([layer]).build(shape)
        assert str(caught.value) == (
            "layer 'layer_normalization' (LayerNormalization): expected observations like those it was built for, (3, 4), "
            f"received (batch, {', '.join(map(str, shape))}). Give it that shape, or build a new layer."
        )
    assert layer(torch.zeros(2, 7, 4)).shape == (2, 7, 4), "an axis that is not normalized may have any length"
