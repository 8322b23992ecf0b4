"""What convolutions are and see: image kernels applied, a layer's kernels, feature maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laminar.data.kernels import image_kernels as classic
from laminar.errors import ArgumentError, DataError, ShapeError, complaint
from laminar.plots.canvas import numbers, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["feature_maps", "image_kernels", "kernels"]


def image_kernels(
    image: Any,
    kernels: Sequence[str] | Mapping[str, Any] | None = None,
    *,
    columns: int = 5,
    ax: Axes | None = None,
) -> Figure:
    """Draw an image, and what each of several kernels makes of it.

    The image is extended at its borders by its outermost pixels, so that a border does not look like an edge. Values below 0
    and above 1 are cut off, as image programs do.

    Args:
        image: (H, W), (1, H, W) or (3, H, W), numbers in [0, 1] or whole ones up to 255; colours are averaged to grey.
        kernels: names of `data.image_kernels`, or a dict name -> kernel (k, k) with k odd; without it, all of those.
        columns: pictures in a row at most.
        ax: axes to draw in; a new figure is made without it.

    Raises:
        ShapeError: if the image or a kernel has another shape.
        UnknownNameError: on an unknown name.

    Source: row R17 of the mission.

    >>> picture = image_kernels(torch.rand(28, 28), ["right sobel", "blur"])
    >>> [panel.get_title() for panel in picture.axes]
    ['image', 'right sobel', 'blur']
    """
    grey = _grey("plots.image_kernels(image)", image)
    listed = [kernels] if isinstance(kernels, str) else kernels
    windows = dict(listed) if isinstance(listed, Mapping) else {n: classic[n] for n in (classic if listed is None else listed)}
    results = {name: _apply(name, window, grey) for name, window in windows.items()}
    picture, axes = panels(1 + len(results), columns, (1.9, 2.1), ax)
    for panel, (name, values) in zip(axes, {"image": grey, **results}.items(), strict=True):
        panel.imshow(np.clip(values, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        panel.set(title=name, xticks=[], yticks=[])
    return picture


def _grey(where: str, image: Any) -> NDArray[np.float64]:
    array = numbers(where, image)
    if array.ndim == 3 and len(array) in (1, 3):
        array = array.mean(0) if array.dtype.kind == "f" else array.mean(0) / 255
    elif array.dtype.kind in "ui":
        array = array / 255
    if array.ndim != 2:
        expected, fix = "one image (H, W), (1, H, W) or (3, H, W)", "Pass x[0], the first of a batch"
        raise ShapeError(complaint(where, expected=expected, received=f"shape {array.shape}", fix=fix))
    return array.astype(np.float64)


def _apply(name: str, window: Any, image: NDArray[np.float64]) -> NDArray[np.float64]:
    kernel = torch.as_tensor(numbers(f"plots.image_kernels: {name!r}", window), dtype=torch.float64)
    if kernel.dim() != 2 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
        where, expected = f"plots.image_kernels: {name!r}", "a square kernel of odd size, (3, 3) for example"
        received = f"shape {tuple(kernel.shape)}"
        raise ShapeError(complaint(where, expected=expected, received=received, fix="Pass data.image_kernels['blur'], say"))
    border = kernel.shape[0] // 2
    padded = F.pad(torch.as_tensor(image)[None, None], (border,) * 4, mode="replicate")
    result: NDArray[np.float64] = F.conv2d(padded, kernel[None, None])[0, 0].numpy()
    return result


def kernels(layer: nn.Module | Tensor, *, limit: int = 64, columns: int = 8, ax: Axes | None = None) -> Figure:
    """Draw the kernels of a convolution; those of one input channel in grey, of three in colour, of more a row of planes each.

    Grey is 0, white the largest and black the smallest weight; all are drawn on one scale.

    Args:
        layer: a layer with a `weight` (filters, channels, H, W), or such a weight.
        limit: pictures at most, the first ones.
        columns: pictures in a row at most; of more than three channels, as many planes of each kernel.
        ax: axes to draw in; a new figure is made without it.

    Raises:
        ShapeError: if the weight has another number of axes.
        ArgumentError: if the layer has no weight yet.

    Source: row R17 of the mission.

    >>> picture = kernels(nn.Conv2d(1, 6, 5))
    >>> len(picture.axes), picture.axes[0].get_title()
    (6, '0')
    """
    weight = layer if isinstance(layer, Tensor) else getattr(layer, "weight", None)
    if not isinstance(weight, Tensor):
        received, fix = f"{type(layer).__name__} without one", "Build the network first, and pass model[0]"
        raise ArgumentError(complaint("plots.kernels(layer)", expected="a layer with a weight", received=received, fix=fix))
    array = numbers("plots.kernels(layer)", weight).astype(np.float64)
    if array.ndim != 4:
        expected, fix = "a weight (filters, channels, H, W)", "Pass a Conv2D"
        received = f"shape {array.shape}"
        raise ShapeError(complaint("plots.kernels(layer)", expected=expected, received=received, fix=fix))
    scaled = 0.5 + 0.5 * array / max(float(np.abs(array).max()), np.finfo(np.float64).tiny)
    if array.shape[1] in (1, 3):
        shown = {str(i): np.moveaxis(kernel, 0, 2) for i, kernel in enumerate(scaled[:limit])}
    else:
        columns = min(columns, array.shape[1])
        rows = max(limit // columns, 1)
        shown = {f"{i}, {c}": kernel[c][..., None] for i, kernel in enumerate(scaled[:rows]) for c in range(columns)}
    picture, axes = panels(len(shown), columns, (0.9, 1.1), ax)
    for panel, (title, kernel) in zip(axes, shown.items(), strict=True):
        panel.imshow(kernel, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        panel.set(xticks=[], yticks=[])
        panel.set_title(title, fontsize=8, pad=2)
    return picture


def feature_maps(maps: Mapping[str, Any], *, limit: int = 8, ax: Axes | None = None) -> Figure:
    r"""Draw what layers make of one observation: a row for each layer, a picture for each of its first channels.

    Each picture has its own scale, from its least number (black) to its greatest (white).

    Args:
        maps: layer -> output (C, H, W) for one observation, as `lm.layer_outputs(model, x[:1])` returns them with a batch axis
            of 1, which is left out here.
        limit: channels of each layer at most.
        ax: axes to draw in; a new figure is made without it.

    Raises:
        DataError: if there are no maps.
        ShapeError: if one is not (C, H, W).

    Source: row R17 of the mission, feature maps with and without pooling.

    >>> x = torch.rand(4, 24, 24)
    >>> picture = feature_maps({"convolution": x, "pooled": F.max_pool2d(x, 2)})
    >>> [panel.get_ylabel() for panel in picture.axes if panel.get_ylabel()]
    ['convolution\n24×24', 'pooled\n12×12']
    """
    if not maps:
        fix = "Pass lm.layer_outputs(model, x[:1])"
        raise DataError(complaint("plots.feature_maps(maps)", expected="at least one layer", received="none", fix=fix))
    arrays = {name: _map(name, values) for name, values in maps.items()}
    columns = min(limit, max(len(array) for array in arrays.values()))
    picture, axes = panels(len(arrays) * columns, columns, (1.25, 1.25), ax, gap=0.1)
    for row, (name, array) in enumerate(arrays.items()):
        for column in range(columns):
            panel = axes[row * columns + column]
            panel.set(xticks=[], yticks=[])
            if column >= len(array):
                panel.set_axis_off()
                continue
            panel.imshow(array[column], cmap="gray", interpolation="nearest")
            if column == 0:
                panel.set_ylabel(f"{name}\n{array.shape[1]}×{array.shape[2]}", fontsize=9)
    return picture


def _map(name: str, values: Any) -> NDArray[Any]:
    array = numbers(f"plots.feature_maps: {name!r}", values)
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim != 3:
        where, expected = f"plots.feature_maps: {name!r}", "the output (C, H, W) for one observation"
        fix = "Pass the outputs for x[:1], and layers that return images only"
        raise ShapeError(complaint(where, expected=expected, received=f"shape {array.shape}", fix=fix))
    return array
