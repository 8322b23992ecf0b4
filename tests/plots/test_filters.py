"""Image kernels against scipy, and that the panels show what they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy import ndimage
from torch import nn

from laminar import data, plots
from laminar.errors import ArgumentError, DataError, LaminarError, ShapeError, UnknownNameError


def shown(panel: object) -> np.ndarray:
    return np.asarray(panel.get_images()[0].get_array(), dtype=np.float64)  # type: ignore[attr-defined]  # an Axes


def test_each_kernel_is_what_its_name_says() -> None:
    """Edges respond to no flat image; Sobel's are those of scipy; the others keep a flat image's brightness."""
    flat = {name: float(kernel.sum()) for name, kernel in data.image_kernels.items()}
    assert flat == {
        **dict.fromkeys(("top sobel", "bottom sobel", "left sobel", "right sobel", "outline"), 0.0),
        **dict.fromkeys(("identity", "sharpen", "blur", "emboss"), 1.0),
    }
    impulse = np.zeros((5, 5))
    impulse[2, 2] = 1
    right = ndimage.correlate(impulse, data.image_kernels["right sobel"].double().numpy())
    np.testing.assert_allclose(right, ndimage.sobel(impulse, axis=1))
    bottom = ndimage.correlate(impulse, data.image_kernels["bottom sobel"].double().numpy())
    np.testing.assert_allclose(bottom, ndimage.sobel(impulse, axis=0))
    np.testing.assert_array_equal(data.image_kernels["left sobel"], -data.image_kernels["right sobel"])
    np.testing.assert_array_equal(data.image_kernels["top sobel"], data.image_kernels["bottom sobel"].flip(0))


@pytest.mark.parametrize("name", list(data.image_kernels))
def test_a_picture_shows_what_scipy_computes(name: str) -> None:
    image = torch.rand(9, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    original, result = plots.image_kernels(image, [name]).axes
    np.testing.assert_array_equal(shown(original), image)
    want = ndimage.correlate(image.numpy(), data.image_kernels[name].double().numpy(), mode="nearest")
    np.testing.assert_allclose(shown(result), want.clip(0, 1), atol=1e-12)
    assert result.get_title() == name


def test_images_of_every_kind() -> None:
    grey = torch.randint(0, 256, (6, 7), dtype=torch.uint8)
    for image in (grey, grey[None], grey.expand(3, 6, 7), (grey / 255).numpy()):
        np.testing.assert_allclose(shown(plots.image_kernels(image, "blur").axes[0]), grey / 255, atol=1e-7)
    assert len(plots.image_kernels(grey).axes) == 1 + len(data.image_kernels)
    own = {"mean": torch.full((5, 5), 1 / 25)}
    want = ndimage.uniform_filter((grey / 255).double().numpy(), 5, mode="nearest")
    np.testing.assert_allclose(shown(plots.image_kernels(grey, own).axes[1]), want, atol=1e-7)


def test_kernels_of_a_layer() -> None:
    grey, colour, deep = nn.Conv2d(1, 6, 5), nn.Conv2d(3, 4, 3), nn.Conv2d(7, 5, 3)
    picture = plots.kernels(grey)
    largest = float(grey.weight.detach().abs().max())
    for i, panel in enumerate(picture.axes):
        np.testing.assert_allclose(shown(panel), 0.5 + 0.5 * grey.weight[i, 0].detach() / largest, atol=1e-6)
    assert shown(plots.kernels(colour).axes[2]).shape == (3, 3, 3)
    rows = plots.kernels(deep, limit=20, columns=4)
    assert [panel.get_title() for panel in rows.axes] == [f"{i}, {c}" for i in range(5) for c in range(4)]
    assert len(plots.kernels(grey.weight, limit=4).axes) == 4


def test_feature_maps_with_and_without_pooling() -> None:
    maps = torch.rand(1, 3, 8, 8)
    pooled = nn.functional.max_pool2d(maps, 2)
    mine = Figure(figsize=(6, 4))
    ax = mine.subplots()
    assert plots.feature_maps({"conv": maps, "pool": pooled[0, :2]}, ax=ax) is mine
    panels = ax.child_axes
    assert len(panels) == 6
    for i in range(3):
        np.testing.assert_allclose(shown(panels[i]), maps[0, i], atol=1e-7)
    np.testing.assert_allclose(shown(panels[4]), pooled[0, 1], atol=1e-7)
    assert not panels[5].axison, "the pooled map has two channels only"


ERRORS = [
    (lambda: plots.image_kernels(torch.rand(2, 5, 5)), ShapeError, "plots.image_kernels(image): expected one image (H, W), "
     "(1, H, W) or (3, H, W), received shape (2, 5, 5). Pass x[0], the first of a batch."),
    (lambda: plots.image_kernels(torch.rand(5, 5), {"even": torch.rand(2, 2)}), ShapeError, "plots.image_kernels: 'even': "
     "expected a square kernel of odd size, (3, 3) for example, received shape (2, 2). Pass data.image_kernels['blur'], say."),
    (lambda: plots.image_kernels(torch.rand(5, 5), "blurr"), UnknownNameError, "image kernel 'blurr' is unknown. Did you mean "
     "'blur'? Known: blur, bottom sobel, emboss, identity, left sobel, outline, right sobel, sharpen, top sobel."),
    (lambda: plots.kernels(nn.ReLU()), ArgumentError, "plots.kernels(layer): expected a layer with a weight, received ReLU "
     "without one. Build the network first, and pass model[0]."),
    (lambda: plots.kernels(nn.Linear(2, 3)), ShapeError, "plots.kernels(layer): expected a weight (filters, channels, H, W), "
     "received shape (3, 2). Pass a Conv2D."),
    (lambda: plots.feature_maps({}), DataError, "plots.feature_maps(maps): expected at least one layer, received none. Pass "
     "lm.layer_outputs(model, x[:1])."),
    (lambda: plots.feature_maps({"dense": torch.rand(1, 10)}), ShapeError, "plots.feature_maps: 'dense': expected the output "
     "(C, H, W) for one observation, received shape (1, 10). Pass the outputs for x[:1], and layers that return images only."),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS)
def test_bad_input_gives_one_clear_error(call: Callable[[], object], kind: type[LaminarError], message: str) -> None:
    with pytest.raises(kind) as e:
        call()
    assert str(e.value) == message
