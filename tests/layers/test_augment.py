"""Augmentation that all share, flips and crops: against torch.flip, NumPy's pad and slices, and what chance allows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import vmap

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError, UnknownNameError
from laminar.layers.augment import Augmentation, interval

LAYERS: dict[str, Any] = {
    "Cutout": lambda: L.Cutout(3, 0.5),
    "RandomBrightness": lambda: L.RandomBrightness(0.3, (-9, 9)),
    "RandomContrast": lambda: L.RandomContrast(0.5, (-9, 9)),
    "RandomCrop": lambda: L.RandomCrop(3, 4),
    "RandomCrop of padded": lambda: L.RandomCrop(6, 7, padding=2, fill_mode="wrap"),
    "RandomErasing": lambda: L.RandomErasing(0.9, (0.3, 0.6)),
    "RandomFlip": lambda: L.RandomFlip(),
    "RandomRotation": lambda: L.RandomRotation(0.2),
    "RandomTranslation": lambda: L.RandomTranslation(0.4, 0.2, "wrap"),
    "RandomZoom": lambda: L.RandomZoom(0.4, fill_mode="constant", fill_value=0.3),
}
every_augmentation = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def within(measured: float, expected: float, deviation: float) -> None:
    """Assert that an estimate lies within five of its standard deviations."""
    assert abs(measured - expected) <= 5 * deviation


# -- what all of them do ------------------------------------------------------------------------------------------------------


@every_augmentation
def test_each_observation_its_own_way_and_the_seed_repeats_it(make: Any) -> None:
    x = torch.rand(1, 2, 5, 6).expand(40, 2, 5, 6)
    layer = make()
    torch.manual_seed(1)
    first, second = layer(x), layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)
    assert first.unique(dim=0).shape[0] >= 4


@every_augmentation
def test_fit_s_seed_repeats_it(make: Any) -> None:
    x, y = torch.rand(40, 2, 5, 6), torch.arange(40) % 2

    def weights(seed: int) -> Tensor:
        lm.seeding.seed_all(seed + 100)
        model = lm.Sequential([make(), L.Flatten(), L.Dense(2, "softmax", kernel_initializer="zeros")])
        model.compile(loss="sparse_categorical_crossentropy")
        model.fit(x, y, epochs=2, batch_size=20, shuffle=False, seed=seed, verbose=0)
        return model[2].weight.detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@every_augmentation
def test_inference_draws_nothing(make: Any) -> None:
    x = torch.rand(3, 2, 5, 6)
    state = torch.get_rng_state()
    z = make().eval()(x)
    assert torch.equal(torch.get_rng_state(), state)
    if z.shape == x.shape and "Crop" not in repr(make()):
        assert z is x


@every_augmentation
def test_dtypes_batches_and_meta(make: Any) -> None:
    shape = make().eval()(torch.rand(1, 2, 5, 6)).shape[1:]
    for mode in (True, False):
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            for batch in (0, 1, 3):
                z = make().train(mode)(torch.rand(batch, 2, 5, 6).to(dtype))
                assert (z.dtype, z.shape) == (dtype, (batch, *shape))
        assert make().train(mode)(torch.ones(3, 2, 5, 6, dtype=torch.uint8)).dtype is torch.float32
        assert make().train(mode)(torch.empty(3, 2, 5, 6, device="meta")).shape == (3, *shape)


@every_augmentation
def test_the_gradient_is_that_of_the_map_that_was_drawn(make: Any) -> None:
    def run(x: Tensor) -> Tensor:
        torch.manual_seed(0)
        return make()(x)

    x = torch.rand(2, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, [x])


@every_augmentation
def test_under_autocast_half_precision_and_channels_last_it_is_the_same_map(make: Any) -> None:
    x = torch.rand(6, 2, 5, 6)
    torch.manual_seed(0)
    want = make()(x)
    torch.manual_seed(0)
    torch.testing.assert_close(make()(x.to(memory_format=torch.channels_last)), want)
    if isinstance(make(), L.RandomErasing):
        return  # its noise is drawn in the images' dtype
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(make()(x), want)
    torch.manual_seed(0)
    assert float((make()(x.bfloat16()).float() - want).abs().max()) <= 0.02 * max(1.0, float(want.abs().max()))


@every_augmentation
def test_under_vmap_each_observation_draws_its_own(make: Any) -> None:
    x = torch.rand(1, 2, 5, 6).expand(40, 2, 5, 6)
    z = vmap(make(), randomness="different")(x)
    assert z.shape == make()(x).shape
    assert z.unique(dim=0).shape[0] >= 4
    at_rest = vmap(make().eval())(x)
    assert torch.equal(at_rest, make().eval()(x))


@every_augmentation
def test_compiled_whole_in_training(make: Any) -> None:
    torch._dynamo.reset()
    layer = make()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = torch.rand(8, 2, 5, 6)
    torch.manual_seed(0)
    z = compiled(x)
    torch.manual_seed(0)
    torch.testing.assert_close(z, layer(x))


@every_augmentation
def test_no_image(make: Any) -> None:
    layer = make()
    start = f"{layer.label}: expected input (batch, channels, height, width), received"
    for shape, rest in (((5, 6), "(batch, 5, 6), 3 axes. Pass x[:, None] for grey images without a channel axis."), ((7,), "(batch, 7), 2 axes. Add a Reshape before it.")):  # fmt: skip
        with pytest.raises(ShapeError) as caught:
            lm.Sequential([layer]).build(shape)
        assert str(caught.value) == f"{start} {rest}"


def test_an_augmentation_of_one_s_own() -> None:
    class Negative(Augmentation):
        def augment(self, x: Tensor) -> Tensor:
            return 1 - x

    x = torch.rand(2, 1, 3, 3)
    assert torch.equal(Negative()(x), 1 - x)
    assert torch.equal(Negative().eval()(x), x)


def test_an_interval_is_a_pair_or_a_number_both_ways() -> None:
    assert interval("f", 0.2, -1, 1) == (-0.2, 0.2)
    assert interval("f", -0.2, -1, 1) == (-0.2, 0.2)
    assert interval("f", (0.1, 0.3), -1, 1) == (0.1, 0.3)
    for bad in (2, "1", None, (0.3, 0.1), (0.1, 2), (1, 2, 3), math.nan, True):
        with pytest.raises(ArgumentError) as caught:
            interval("f", bad, -1, 1)  # type: ignore[arg-type]
        assert (
            str(caught.value) == f"f: expected a number, or two of them in order, in [-1, 1], received {bad!r}. Pass 0.1, say."
        )


# -- RandomFlip -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "flips"), [("horizontal", [(), (-1,)]), ("vertical", [(), (-2,)]), ("horizontal_and_vertical", [(), (-1,), (-2,), (-1, -2)])])  # fmt: skip
def test_flips_are_torch_s_in_equal_shares(mode: Any, flips: list[tuple[int, ...]]) -> None:
    n = 4000
    x = torch.rand(n, 1, 2, 3)
    z = L.RandomFlip(mode)(x)
    shares = [(z == x.flip(f)).flatten(1).all(1).double() for f in flips]
    assert torch.equal(sum(shares), torch.ones(n, dtype=torch.float64)), "each image is one of them"
    p = 1 / len(flips)
    for share in shares:
        within(float(share.mean()), p, math.sqrt(p * (1 - p) / n))


def test_a_flip_that_there_is_not() -> None:
    with pytest.raises(UnknownNameError) as caught:
        L.RandomFlip("horizontaly")
    assert str(caught.value) == (
        "RandomFlip: mode 'horizontaly' is unknown. Did you mean 'horizontal'? Known: horizontal, horizontal_and_vertical, vertical."
    )


# -- RandomCrop -----------------------------------------------------------------------------------------------------------------

PAD: dict[str, Any] = {"constant": "constant", "nearest": "edge", "reflect": "symmetric", "wrap": "wrap"}


@pytest.mark.parametrize("fill_mode", PAD)
@pytest.mark.parametrize(("height", "width", "padding"), [(3, 4, 0), (5, 6, 2), (2, 3, 1), (9, 10, 2), (12, 14, 4)])
def test_every_crop_is_a_slice_of_numpy_s_pad_in_equal_shares(fill_mode: Any, height: int, width: int, padding: int) -> None:
    n = 3000
    image = np.random.default_rng(0).random((2, 5, 6))
    options = {"constant_values": 7.0} if fill_mode == "constant" else {}
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)), PAD[fill_mode], **options)
    layer = L.RandomCrop(height, width, padding, fill_mode, 7.0)
    z = layer(torch.from_numpy(image).expand(n, 2, 5, 6)).numpy()
    rows, columns = padded.shape[1] - height + 1, padded.shape[2] - width + 1
    found = np.zeros((n, rows, columns), bool)
    for i in range(rows):
        for j in range(columns):
            found[:, i, j] = (z == padded[:, i : i + height, j : j + width]).all((1, 2, 3))
    assert found.any((1, 2)).all()
    if fill_mode != "wrap":  # where two slices may be the same
        p = 1 / (rows * columns)
        assert np.abs(found.mean(0) - p).max() <= 5 * math.sqrt(p * (1 - p) / n) + 1e-12
    top, left = (padded.shape[1] - height) // 2, (padded.shape[2] - width) // 2
    middle = layer.eval()(torch.from_numpy(image)[None]).numpy()[0]
    np.testing.assert_array_equal(middle, padded[:, top : top + height, left : left + width])


def test_with_cifar_s_padding_an_image_passes_as_it_is_at_inference() -> None:
    x = torch.rand(2, 3, 8, 8)
    assert L.RandomCrop(8, 8, padding=4).eval()(x) is x


def test_what_a_crop_explains() -> None:
    assert str(L.RandomCrop(32, 32, padding=4).explain((3, 32, 32))) == (
        "RandomCrop(height=32, width=32, padding=4): (3, 32, 32) → (3, 32, 32)\n"
        "  places: (32 + 2·4 − 32 + 1)·(32 + 2·4 − 32 + 1) = 81\n"
        "  parameters: none"
    )


CROP = "RandomCrop({}=): expected a whole number of at least {}, received {!r}. Pass {} or more."


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0, 3), CROP.format("height", 1, 0, 1)),
        ((3, 1.5), CROP.format("width", 1, 1.5, 1)),
        ((3, 3, -1), CROP.format("padding", 0, -1, 0)),
        ((3, 3, 1, "mirror"), "RandomCrop: fill_mode 'mirror' is unknown. Known: constant, nearest, reflect, wrap."),
        ((3, 3, 1, "constant", math.nan), "RandomCrop(fill_value=): expected a finite number, received nan. Pass fill_value=0.0, say."),
    ],
)  # fmt: skip
def test_crops_that_cannot_be(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        L.RandomCrop(*arguments)
    assert str(caught.value) == text


def test_images_that_are_too_small() -> None:
    with pytest.raises(ShapeError) as caught:
        L.RandomCrop(8, 6, padding=1)(torch.zeros(2, 1, 5, 5))
    assert str(caught.value) == (
        "layer 'random_crop' (RandomCrop, height=8, width=6, padding=1): expected images of at least 6 × 4 pixels, "
        "received (batch, 1, 5, 5), 5 × 5. Cut a smaller part, or pass padding=."
    )


def test_what_they_call_themselves() -> None:
    assert repr(L.RandomFlip("vertical")) == "RandomFlip(mode='vertical')"
    assert repr(L.RandomCrop(3, 4)) == "RandomCrop(height=3, width=4)"
    assert repr(L.RandomCrop(3, 4, 1, "constant", 0.5)) == "RandomCrop(height=3, width=4, padding=1, fill_value=0.5)"
    assert repr(L.RandomCrop(3, 4, 1, "wrap")) == "RandomCrop(height=3, width=4, padding=1, fill_mode='wrap')"
