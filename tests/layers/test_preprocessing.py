"""R10: Normalization against NumPy, Rescaling against its formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, DataError, NotBuiltError, ShapeError, UnknownNameError

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)

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
    monkeypatch.setattr("laminar.layers.preprocessing._AT_A_TIME", 10)
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


# -- the document's four kinds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "formula"),
    [
        (L.Normalization("zerocenter"), lambda x, t: x - t.mean(0)),
        (L.Normalization("zerocenter", per="channel"), lambda x, t: x - t.mean((0, 2, 3), keepdims=True)),
        (L.Normalization("zscore"), lambda x, t: (x - t.mean(0)) / t.std(0)),
        (L.Normalization("rescale-symmetric"), lambda x, t: 2 * (x - t.min(0)) / (t.max(0) - t.min(0)) - 1),
    ],
    ids=["mean image", "mean of each channel", "unit variance", "range [-1, 1]"],
)
def test_the_four_kinds_fitted_by_fit_kept_in_the_file_applied_by_predict(layer: Any, formula: Any, tmp_path: Any) -> None:
    """Of training data only: validation data are far away and leave no trace."""
    rng = np.random.default_rng(0)
    train, valid = rng.normal(3, 2, (40, 2, 4, 4)), rng.normal(90, 7, (10, 2, 4, 4))
    y = np.arange(40) % 2

    def network() -> lm.Sequential:
        kind = L.Normalization(layer.method, per=layer.per)
        return lm.Sequential([kind, L.Flatten()])

    model = network()
    model.compile(optimizer="sgd", loss="mse")
    trained = lm.Sequential([model[0], L.Flatten(), L.Dense(2, "softmax")])
    trained.compile(loss="sparse_categorical_crossentropy")
    trained.fit(train, y, epochs=1, validation_data=(valid, y[:10]), verbose=0)
    want = formula(valid, train).reshape(10, -1)
    np.testing.assert_allclose(np.asarray(model.predict(valid)), want, rtol=1e-4, atol=1e-4)
    model.save_weights(tmp_path / "w.safetensors")
    other = network()
    other.build((2, 4, 4))
    other.load_weights(tmp_path / "w.safetensors")
    np.testing.assert_allclose(np.asarray(other.predict(valid)), want, rtol=1e-4, atol=1e-4)


# -- Rescaling ----------------------------------------------------------------------------------------------------------------


@given(st.floats(-3, 3), st.floats(-3, 3), st.booleans(), shapes)
def test_rescaling_is_its_formula(scale: float, offset: float, each: bool, shape: tuple[int, ...]) -> None:
    x = torch.randn(4, *shape, dtype=torch.float64)
    per = np.arange(1, shape[0] + 1).reshape(-1, *(1,) * (len(shape) - 1)) if each else np.ones(1)
    given_scale: Any = [scale * (i + 1) for i in range(shape[0])] if each else scale
    z = L.Rescaling(given_scale, offset)(x)
    np.testing.assert_allclose(z.numpy(), x.numpy() * scale * per + offset, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        L.Rescaling(offset, given_scale)(x).numpy(), x.numpy() * offset + scale * per, rtol=1e-12, atol=1e-12
    )


def test_bytes_become_floats() -> None:
    x = torch.arange(256, dtype=torch.uint8).reshape(4, 64)
    z = L.Rescaling(1 / 127.5, offset=-1)(x)
    assert z.dtype is torch.float32
    assert (float(z.min()), float(z.max())) == (-1.0, 1.0)


def test_rescaling_says_how() -> None:
    assert repr(L.Rescaling(0.5)) == "Rescaling(scale=0.5)"
    assert repr(L.Rescaling([0.5, 2], -1)) == "Rescaling(scale=(0.5, 2.0), offset=-1.0)"


@pytest.mark.parametrize("scale", ["1", None, [], [1, "2"], float("nan"), True])
def test_rescaling_bad_arguments(scale: Any) -> None:
    for key in ("scale", "offset"):
        with pytest.raises(ArgumentError) as caught:
            L.Rescaling(**{"scale": 1, key: scale})
        assert str(caught.value) == (
            f"Rescaling({key}=): expected a finite number, or one for each channel, received {scale!r}. Pass 1 / 255, say."
        )


def test_rescaling_another_number_of_channels() -> None:
    with pytest.raises(ShapeError) as caught:
        L.Rescaling(1, (1, 2, 3))(torch.zeros(2, 1, 4, 4))
    assert str(caught.value) == (
        "layer 'rescaling' (Rescaling, scale=1.0, offset=(1.0, 2.0, 3.0)): expected input (batch, channels, ...) of 3 channels, "
        "received (batch, 1, 4, 4). Pass one number for each channel, or one for all."
    )
