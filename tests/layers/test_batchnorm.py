"""R11, R16: BatchNormalization against torch's over several steps, and against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError, UnknownNameError

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
TORCH = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d, 4: nn.BatchNorm3d}


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@given(shapes, st.integers(2, 5), st.sampled_from([0.9, 0.99, 0.5, 0.0]), st.sampled_from([1e-5, 1e-3]), st.integers(0, 2**31))
@settings(max_examples=20)
def test_equals_torch_over_training_steps(
    shape: tuple[int, ...], batch: int, momentum: float, epsilon: float, seed: int
) -> None:
    torch.manual_seed(seed)
    ours = L.BatchNormalization(momentum=momentum, epsilon=epsilon)
    plain = TORCH[len(shape)](shape[0], eps=epsilon, momentum=1 - momentum, dtype=torch.float64)
    ours(torch.zeros(batch, *shape, dtype=torch.float64))
    plain.load_state_dict({k: v.detach().clone() for k, v in ours.state_dict().items()}, strict=False)
    ours.running_mean.zero_(), ours.running_var.fill_(1), plain.reset_running_stats()
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (ours, plain)]
    for step in range(3):
        x = (torch.randn(batch, *shape, dtype=torch.float64) * (step + 1) + step).requires_grad_()
        dz = torch.randn_like(x)
        results = []
        for module, optimizer in zip((ours, plain), optimizers, strict=True):
            optimizer.zero_grad()
            z = module(x)
            (dx,) = torch.autograd.grad(z, x, dz, retain_graph=True)
            z.backward(dz)
            results.append((z, dx, module.weight.grad.clone(), module.bias.grad.clone()))
            optimizer.step()
        for got, want in zip(*results, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
        close(ours.running_mean, plain.running_mean)
        close(ours.running_var, plain.running_var)
    ours.eval(), plain.eval()
    x = torch.randn(batch, *shape, dtype=torch.float64)
    close(ours(x), plain(x))
    close(ours(x[:1]), plain(x[:1]))


def test_population_statistics_are_those_of_the_data() -> None:
    """Many steps on the same batch: the running statistics become its mean and its unbiased variance."""
    x = torch.randn(6, 3, 2, dtype=torch.float64) * 3 + 1
    layer = L.BatchNormalization(momentum=0.5)
    for _ in range(50):
        layer(x)
    flat = x.numpy().transpose(0, 2, 1).reshape(-1, 3)
    np.testing.assert_allclose(layer.running_mean.numpy(), flat.mean(0), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy(), flat.var(0, ddof=1), rtol=1e-12)


def test_frozen_layer_uses_population_statistics_and_leaves_them() -> None:
    layer = L.BatchNormalization()
    for _ in range(3):
        layer(torch.randn(8, 3, 4) * 2 + 1)
    kept = {k: v.clone() for k, v in layer.state_dict().items()}
    x = torch.randn(8, 3, 4, requires_grad=True)
    want = layer.eval()(x)
    layer.train()
    layer.trainable = False
    z = layer(x)
    assert torch.equal(z, want)
    z.sum().backward()
    assert all(torch.equal(v, kept[k]) for k, v in layer.state_dict().items())
    assert layer.weight.grad is None
    assert x.grad is not None
    layer.trainable = True
    assert not torch.equal(layer(x), want)
    assert not torch.equal(layer.running_mean, kept["running_mean"])


def test_freezing_its_learnables_by_name_does_not_freeze_its_statistics() -> None:
    layer = L.BatchNormalization()
    x = torch.randn(8, 3) + 5
    layer(x)
    layer.freeze("weight", "bias")
    before = layer.running_mean.clone()
    layer(x)
    assert not torch.equal(layer.running_mean, before)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1), (1, 3, 1, 1), (0, 3, 2, 2)])
def test_a_batch_of_one_number_per_channel_uses_population_statistics(shape: tuple[int, ...]) -> None:
    layer = L.BatchNormalization()
    layer(torch.randn(8, *shape[1:]) + 2)
    mean, var = layer.running_mean.clone(), layer.running_var.clone()
    x = torch.randn(shape)
    want = (x - layer.per_channel(mean, x)) / (layer.per_channel(var, x) + 1e-5).sqrt()
    torch.testing.assert_close(layer(x), want, rtol=1e-5, atol=1e-6)
    assert torch.equal(layer.running_mean, mean)
    assert torch.equal(layer.running_var, var)


def test_batch_normalization_says_what_differs_from_the_defaults() -> None:
    assert L.BatchNormalization().label == "layer 'batch_normalization' (BatchNormalization)"
    assert repr(L.BatchNormalization(1, 0.99, 1e-3)) == "BatchNormalization(momentum=0.99, epsilon=0.001)"
    assert repr(L.BatchNormalization(-1, center=False, scale=False)) == "BatchNormalization(axis=-1, center=False, scale=False)"


MOMENTUM = "BatchNormalization(momentum=): expected a share in [0, 1], received"
EPSILON = "BatchNormalization(epsilon=): expected a number above 0, received"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"momentum": 1.1}, f"{MOMENTUM} 1.1. Pass momentum=0.9, say."),
        ({"momentum": "0.9"}, f"{MOMENTUM} '0.9'. Pass momentum=0.9, say."),
        ({"epsilon": 0}, f"{EPSILON} 0. Pass epsilon=1e-5, say."),
        ({"epsilon": None}, f"{EPSILON} None. Pass epsilon=1e-5, say."),
    ],
)
def test_batch_normalization_bad_arguments(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        L.BatchNormalization(**options)
    assert str(caught.value) == text


def test_batch_normalization_bad_shapes() -> None:
    where = "layer 'batch_normalization' (BatchNormalization): expected input (batch, channels, ...) with"
    with pytest.raises(ShapeError) as caught:
        L.BatchNormalization()(torch.zeros(4))
    assert str(caught.value) == f"{where} a channel axis, received observations of shape (). Pass x[:, None]."
    layer = L.BatchNormalization()
    layer(torch.zeros(4, 3, 2))
    fix = "Give it the shape that it was built for."
    for shape in ((2, 3), (2,)):
        with pytest.raises(ShapeError) as caught:
            layer(torch.zeros(4, *shape))
        assert str(caught.value) == f"{where} 3 channels and 2 axes, received observations of shape {shape}. {fix}"
    with pytest.raises(ShapeError) as caught:
        L.BatchNormalization(3)(torch.zeros(4, 3, 2))
    where = where.replace("(BatchNormalization)", "(BatchNormalization, axis=3)")
    assert (
        str(caught.value)
        == f"{where} a channel axis at axis 3, received observations of shape (3, 2). Pass axis=1, or x[:, None]."
    )


@pytest.mark.parametrize("axis", [0, 0.9, True, "channels"])
def test_an_axis_is_a_whole_number_but_not_the_batch(axis: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        L.BatchNormalization(axis)
    assert str(caught.value) == (
        "BatchNormalization(axis=): expected an axis, as a whole number other than 0, the batch axis, "
        f"received {axis!r}. Pass axis=1, the channels."
    )


def test_unknown_options() -> None:
    with pytest.raises(UnknownNameError) as caught:
        L.BatchNormalization(centre=False)
    assert str(caught.value) == (
        "BatchNormalization: argument 'centre' is unknown. Did you mean 'center'? Known: axis, beta_initializer, center, "
        "epsilon, gamma_initializer, momentum, moving_mean_initializer, moving_variance_initializer, name, scale."
    )


# -- axes, scale and offset, where it starts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [L.BatchNormalization(3), L.GroupNormalization(1, axis=3)])
def test_keras_axis_of_images_is_refused(layer: L.Layer) -> None:
    """Listings written for channels last say axis=3; here that would be the width, and nobody would notice."""
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(2, 3, 8, 8))
    assert str(caught.value) == (
        f"{layer.label}: expected the channels first, received axis=3, the last one of (batch, 3, 8, 8). "
        "Leave axis out, or pass axis=-1 for features that come last."
    )


@pytest.mark.parametrize("axis", [2, -1, -3, -2])
def test_another_axis_is_the_same_with_the_axes_exchanged(axis: int) -> None:
    x = torch.randn(4, 3, 5, 2, dtype=torch.float64) * 2 + 1
    own, plain = L.BatchNormalization(axis), L.BatchNormalization()
    for _ in range(2):
        close(own(x), plain(x.movedim(axis, 1)).movedim(1, axis))
    close(own.running_var, plain.running_var)
    close(own.eval()(x), plain.eval()(x.movedim(axis, 1)).movedim(1, axis))


@pytest.mark.parametrize(("center", "scale"), [(False, True), (True, False), (False, False)])
def test_without_scale_or_offset(center: bool, scale: bool) -> None:
    layer = L.BatchNormalization(center=center, scale=scale, gamma_initializer=3.0, beta_initializer=0.5)
    x = torch.randn(50, 3, dtype=torch.float64)
    want = (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()
    close(layer(x), (3 * want if scale else want) + (0.5 if center else 0))
    assert sorted(dict(layer.named_parameters())) == [n for n, there in (("bias", center), ("weight", scale)) if there]
    assert layer.explain((3,)).parameters == 3 * (center + scale)


def test_statistics_start_where_they_are_told() -> None:
    layer = L.BatchNormalization(epsilon=1e-12, moving_mean_initializer=2.0, moving_variance_initializer=4.0).eval()
    close(layer(torch.full((1, 3), 6.0, dtype=torch.float64)), torch.full((1, 3), 2.0, dtype=torch.float64))


def test_what_it_explains() -> None:
    assert str(L.BatchNormalization().explain((20, 24, 24))) == (
        "BatchNormalization(): (20, 24, 24) → (20, 24, 24)\n"
        "  parameters: 20 scales + 20 offsets = 40\n"
        "  statistics kept, not learned: 20 means + 20 variances = 40"
    )


def test_after_a_convolution_under_autocast() -> None:
    network = lm.Sequential([L.Conv2D(4, 3), L.BatchNormalization()]).build((2, 6, 6), seed=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = network(torch.randn(5, 2, 6, 6))
    z.float().sum().backward()
    assert network[1].running_mean.dtype is torch.float32
