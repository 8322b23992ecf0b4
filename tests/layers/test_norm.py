"""R11: BatchNormalization against torch's over several steps. R10: Normalization against NumPy."""

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
from laminar.errors import ArgumentError, DataError, NotBuiltError, ShapeError, UnknownNameError

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
TORCH = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d, 4: nn.BatchNorm3d}


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


# -- BatchNormalization -----------------------------------------------------------------------------------------------------


@given(shapes, st.integers(2, 5), st.sampled_from([0.9, 0.99, 0.5, 0.0]), st.sampled_from([1e-5, 1e-3]), st.integers(0, 2**31))
@settings(max_examples=20)
def test_equals_torch_over_training_steps(
    shape: tuple[int, ...], batch: int, momentum: float, epsilon: float, seed: int
) -> None:
    torch.manual_seed(seed)
    ours = L.BatchNormalization(momentum, epsilon)
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
    assert repr(L.BatchNormalization(0.99, epsilon=1e-3)) == "BatchNormalization(momentum=0.99, epsilon=0.001)"


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
    fix = "Give it the shape that it was built for."
    with pytest.raises(ShapeError) as caught:
        L.BatchNormalization()(torch.zeros(4))
    assert str(caught.value) == f"{where} a channel axis, received observations of shape (). {fix}"
    layer = L.BatchNormalization()
    layer(torch.zeros(4, 3, 2))
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(4, 2, 3))
    assert str(caught.value) == f"{where} 3 channels, received observations of shape (2, 3). {fix}"


# -- Normalization ----------------------------------------------------------------------------------------------------------

METHODS = ("zerocenter", "zscore", "rescale-symmetric", "rescale-zero-one")
PER = ("element", "channel", "all")


def formula(x: np.ndarray, data: np.ndarray, method: str, per: str) -> np.ndarray:
    axes = {"element": 0, "channel": (0, *range(2, data.ndim)), "all": None}[per]
    mean, std, low, high = (f(data, axis=axes, keepdims=True) for f in (np.mean, np.std, np.min, np.max))
    if method == "zerocenter":
        return x - mean
    if method == "zscore":
        return (x - mean) / np.where(std > 1e-12, std, 1)
    spread = np.where(high > low, high - low, 1 if method == "rescale-zero-one" else 2)
    return (x - low) / spread if method == "rescale-zero-one" else 2 * (x - (low + high) / 2) / spread


@given(shapes, st.sampled_from(METHODS), st.sampled_from(PER), st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**31))
@settings(max_examples=150)
def test_equals_numpy_in_one_go_and_batch_by_batch(
    shape: tuple[int, ...], method: Any, per: Any, count: int, batch: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    data = rng.normal(1e3, 2.0, (count, *shape))  # far from 0: a sum of squares would cancel
    data[:, 0] = 0.1  # a constant feature, whose mean in floating point is not quite itself
    new = rng.normal(1e3, 2.0, (3, *shape))
    whole, parts = L.Normalization(method, per=per), L.Normalization(method, per=per)
    whole.adapt(torch.from_numpy(data))
    parts.adapt(torch.from_numpy(data[i : i + batch]) for i in range(0, count, batch))
    for layer in (whole, parts):
        assert layer.adapted
        for x in (data, new):
            got = layer(torch.from_numpy(x)).numpy()
            np.testing.assert_allclose(got, formula(x, data, method, per), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_feature_that_does_not_vary_stays_small(method: Any) -> None:
    """Its mean rounds to 0.1 ± 1e-17, so that a variance would be 1e-34, and a new value of 0.2 would become 1e16."""
    data = torch.full((7, 2), 0.1, dtype=torch.float64)
    layer = L.Normalization(method)
    layer.adapt(iter(data.split(1)))
    assert torch.equal(layer(data), torch.zeros_like(data))
    torch.testing.assert_close(layer(data + 0.1), torch.full_like(data, 0.1))


def test_ranges_are_exact() -> None:
    data = torch.tensor([[-3.0, 10.0], [1.0, 30.0], [0.0, 20.0]])
    symmetric, unit = L.Normalization("rescale-symmetric"), L.Normalization("rescale-zero-one")
    symmetric.adapt(data)
    unit.adapt(data)
    assert symmetric(data).tolist() == [[-1.0, -1.0], [1.0, 1.0], [0.5, 0.0]]
    assert unit(data).tolist() == [[0.0, 0.0], [1.0, 1.0], [0.75, 0.5]]


@pytest.mark.parametrize(("per", "shape"), [("element", (3, 4, 5)), ("channel", (3, 1, 1)), ("all", (1, 1, 1))])
def test_statistics_have_the_documented_shape(per: Any, shape: tuple[int, ...]) -> None:
    layer = L.Normalization("zscore", per=per)
    layer.adapt(torch.randn(6, 3, 4, 5))
    assert layer.shift.shape == layer.scale.shape == shape


def test_large_data_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laminar.layers.norm._AT_A_TIME", 10)
    data = torch.randn(23, 4, dtype=torch.float64)
    layer = L.Normalization("zscore")
    layer.adapt(data)
    np.testing.assert_allclose(layer(data).numpy(), formula(data.numpy(), data.numpy(), "zscore", "element"), rtol=1e-9)


def test_arrays_of_numpy_and_bytes() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(4, 1, 2, 3)
    images.flags.writeable = False
    layer = L.Normalization("rescale-zero-one", per="all")
    layer.adapt(images)
    z = layer(torch.tensor(images))
    assert z.dtype is torch.float32
    np.testing.assert_allclose(z.numpy(), images / 23, rtol=1e-6)


def test_statistics_of_wider_data_do_not_widen_the_network() -> None:
    layer = L.Normalization("zscore")
    layer.adapt(np.random.default_rng(0).normal(size=(5, 3)))
    assert layer.shift.dtype is torch.float64
    for dtype in (torch.float32, torch.bfloat16):
        assert layer(torch.zeros(2, 3, dtype=dtype)).dtype is dtype


def test_a_second_adapt_takes_the_place_of_the_first() -> None:
    layer = L.Normalization()
    layer.adapt(torch.full((2, 3), 5.0))
    with pytest.raises(ShapeError):
        layer.adapt([torch.full((2, 3), 7.0), torch.zeros(1, 4)])
    assert torch.equal(layer.shift, torch.full((3,), 5.0))
    layer.adapt(torch.full((2, 3), -1.0))
    assert torch.equal(layer.shift, torch.full((3,), -1.0))


@pytest.mark.parametrize("built", [False, True])
def test_state_dict_into_a_network_that_has_seen_no_data(built: bool) -> None:
    torch.manual_seed(0)
    data = torch.randn(20, 2, 3, 3) * 4 + 7

    def network() -> lm.Sequential:
        return lm.Sequential([L.Normalization("zscore", per="channel"), nn.Flatten(), nn.Linear(18, 2)])

    ours, other = network(), network()
    ours[0].adapt(data)
    if built:
        other.build((2, 3, 3))
        assert not other[0].adapted
    other.load_state_dict(ours.state_dict())
    assert other[0].adapted
    assert torch.equal(ours.eval()(data), other.eval()(data))
    empty = network()
    empty.load_state_dict(network().build((2, 3, 3)).state_dict())
    assert not empty[0].adapted
    other.load_state_dict(empty.state_dict())  # and back again: what is loaded counts
    with pytest.raises(NotBuiltError):
        other(data)


def test_it_is_not_trained() -> None:
    layer = L.Normalization("zscore")
    layer.adapt(torch.randn(8, 3))
    assert list(layer.parameters()) == []
    assert sorted(layer.state_dict()) == ["fitted", "scale", "shift"]


def test_normalization_says_how() -> None:
    assert L.Normalization(per="all").label == "layer 'normalization' (Normalization, method='zerocenter', per='all')"


# -- errors of Normalization ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"method": "z-score"}, "Normalization: method 'z-score' is unknown. Did you mean 'zscore'? Known: rescale-symmetric, rescale-zero-one, zerocenter, zscore."),
        ({"per": "channels"}, "Normalization: per 'channels' is unknown. Did you mean 'channel'? Known: all, channel, element."),
    ],
)  # fmt: skip
def test_unknown_names(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        L.Normalization(**options)
    assert str(caught.value) == text


NORMALIZATION = "layer 'normalization' (Normalization, method='zerocenter', per='{}'): expected"


def test_not_adapted() -> None:
    with pytest.raises(NotBuiltError) as caught:
        L.Normalization()(torch.zeros(2, 3))
    assert str(caught.value) == (
        f"{NORMALIZATION.format('element')} statistics of training data, received none yet. Call model.fit, or layer.adapt(x_train)."
    )


@pytest.mark.parametrize("data", [[], [torch.zeros(0, 3)], torch.zeros(0, 3)])
def test_adapted_to_nothing(data: Any) -> None:
    layer = L.Normalization()
    with pytest.raises(NotBuiltError) as caught:
        layer.adapt(data)
    assert str(caught.value) == (
        f"{NORMALIZATION.format('element')} at least one observation, received none. Give adapt() training data."
    )
    assert not layer.adapted


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_adapted_to_what_is_not_finite(bad: float) -> None:
    data = torch.randn(5, 3)
    data[2, 1] = bad
    for method in METHODS:
        layer = L.Normalization(method)
        with pytest.raises(DataError) as caught:
            layer.adapt(data)
        assert str(caught.value) == (
            f"layer 'normalization' (Normalization, method='{method}', per='element'): expected finite numbers in the data to "
            "adapt to, received nan or infinity. Remove those observations, or x = torch.nan_to_num(x)."
        )
        assert not layer.adapted


@pytest.mark.parametrize(
    ("per", "shape", "text"),
    [
        ("element", (1, 4, 4), "observations of shape (3, 4, 4), as in the data it was adapted to, received (batch, 1, 4, 4)."),
        ("element", (4, 4), "observations of shape (3, 4, 4), as in the data it was adapted to, received (batch, 4, 4)."),
        ("channel", (1, 4, 4), "observations of 3 channels and 3 axes, as in the data it was adapted to, received (batch, 1, 4, 4)."),
        ("all", (4, 4), "observations of 3 axes, as in the data it was adapted to, received (batch, 4, 4)."),
    ],
)  # fmt: skip
def test_another_shape_is_refused_before_it_is_broadcast(per: Any, shape: tuple[int, ...], text: str) -> None:
    layer = L.Normalization(per=per)
    layer.adapt(torch.zeros(2, 3, 4, 4))
    with pytest.raises(ShapeError) as caught:
        lm.Sequential([layer]).build(shape)
    fix = "Give it the shape that it was adapted to, or adapt a new layer."
    assert str(caught.value) == f"{NORMALIZATION.format(per)} {text} {fix}"


def test_another_size_is_taken_where_the_statistics_have_none() -> None:
    for per in ("channel", "all"):
        layer = L.Normalization(per=per)
        layer.adapt(torch.zeros(2, 3, 4, 4))
        assert lm.Sequential([layer]).build((3, 9, 5)).output_shape == (3, 9, 5)
