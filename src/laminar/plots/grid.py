"""Images with what a network says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from laminar.errors import ArgumentError, LabelError, ShapeError, complaint
from laminar.plots.canvas import GREY, WRONG, numbers, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["predictions"]


def predictions(
    x: Any,
    predicted: Any,
    actual: Any = None,
    *,
    rows: int = 4,
    columns: int = 8,
    probabilities: Any = None,
    class_names: Sequence[str] | None = None,
    worst_first: bool | None = None,
    ax: Axes | None = None,
) -> Figure:
    r"""Draw images with their predicted labels, and in red, with the true label, those that are wrong.

    Args:
        x: images (N, C, H, W) with C = 1 or 3, or (N, H, W). Grey values of any range: all are drawn on one scale.
        predicted: labels (N,), whole numbers from 0, as `model.classify(x)` returns them.
        actual: the true labels (N,).
        rows: how many rows of images at most.
        columns: how many images in a row at most.
        probabilities: (N, K), as `model.predict(x)` returns them; the one of the predicted label is shown.
        class_names: K names to show for the labels.
        worst_first: whether the images with the largest cross-entropy come first, rather than the first N. Without it,
            this is so when both `probabilities` and `actual` are given.
        ax: axes to draw in; a new figure is made without it.

    Raises:
        ShapeError: if `x` or `probabilities` has another number of axes, or the lengths differ.
        LabelError: if a label is not a whole number, or has no class.
        ArgumentError: if rows or columns is below 1, or worst_first lacks what it needs.

    >>> import torch
    >>> picture = predictions(torch.rand(2, 1, 28, 28), [0, 1], [0, 0], class_names=["cat", "dog"])
    >>> [panel.get_title().split("\n") for panel in picture.axes]
    [['cat'], ['dog', 'is cat']]
    """
    images = _images(x)
    shown = _labels("predicted", predicted, len(images), class_names)
    truth = None if actual is None else _labels("actual", actual, len(images), class_names)
    chances = None if probabilities is None else _probabilities(probabilities, shown, truth)
    for name, count in (("rows", rows), ("columns", columns)):
        if count < 1:
            where = f"plots.predictions({name}=)"
            raise ArgumentError(complaint(where, expected="1 or more", received=str(count), fix=f"Pass {name}=4"))
    worst = _worst(chances, truth, worst_first)
    order = (np.arange(len(images)) if worst is None else worst)[: rows * columns]
    names = range(1 << 62) if class_names is None else class_names
    height, extra = (1.45, 0.0) if truth is None else (1.6, 0.3)
    picture, axes = panels(len(order), columns, (1.2, height), ax, gap=0.45, extra=extra)
    titles = [f"{names[int(shown[i])]}" + ("" if chances is None else f" ({chances[i, shown[i]]:.0%})") for i in order]
    size = max(min(10.0, 140 / max(map(len, titles))), 5.0)  # points, so that neighbours do not touch
    for panel, i, title, image in zip(axes, order, titles, _on_one_scale(images[order]), strict=True):
        panel.set(xticks=[], yticks=[])
        panel.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        wrong = truth is not None and shown[i] != truth[i]
        title += f"\nis {names[int(truth[i])]}" if truth is not None and wrong else ""
        panel.set_title(title, fontsize=size, pad=3, color=WRONG if wrong else "black", weight="bold" if wrong else "normal")
        panel.spines[:].set(color=WRONG if wrong else GREY, linewidth=2.0 if wrong else 0.6)
    if truth is not None:
        right = int((shown == truth).sum())
        how = f"{len(order):,} shown" + ("" if worst is None else ", the largest loss first")
        title = f"{right:,} of {len(images):,} right ({right / len(images):.2%}); {how}"
        picture.suptitle(title, fontsize=11) if ax is None else ax.set_title(title, fontsize=11, pad=24)
    return picture


def _images(x: Any) -> NDArray[Any]:
    """Return the images as (N, C, H, W)."""
    where, expected = "plots.predictions(x)", "images (N, C, H, W) with C = 1 or 3, or (N, H, W)"
    images = numbers(where, x)
    if images.ndim != 3 and (images.ndim != 4 or images.shape[1] not in (1, 3)):
        last = images.shape[3:] in ((1,), (3,))
        fix = "Put the channels first: x.transpose(0, 3, 1, 2)" if last else "Pass x[None] for a single image"
        raise ShapeError(complaint(where, expected=expected, received=f"{images.shape}, {images.ndim} axes", fix=fix))
    return images.reshape(len(images), -1, *images.shape[-2:])


def _on_one_scale(images: NDArray[Any]) -> NDArray[np.float64]:
    """Map (N, C, H, W) to (N, H, W, C) in [0, 1]: as it is where it lies in there, else from the least to the greatest."""
    scaled = np.moveaxis(images, 1, 3).astype(np.float64) / (255 if images.dtype == np.uint8 else 1)
    finite = scaled[np.isfinite(scaled)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    if low < 0 or high > 1:
        scaled = (scaled - low) / max(high - low, np.finfo(np.float64).tiny)
    return np.asarray(scaled)


def _labels(name: str, labels: Any, count: int, class_names: Sequence[str] | None) -> NDArray[np.int64]:
    """Return labels (N,) as whole numbers."""
    where = f"plots.predictions({name})"
    array = numbers(where, labels)
    if array.shape != (count,):
        fix = f"Pass the labels: {name}.argmax(1)" if array.ndim == 2 else "Pass one label for each image"
        raise ShapeError(complaint(where, expected=f"shape ({count},)", received=f"shape {array.shape}", fix=fix))
    top = math.inf if class_names is None else len(class_names)
    wrong = array[(array != np.floor(array)) | (array < 0) | (array >= top)]
    if wrong.size:
        expected = "whole numbers from 0" + ("" if class_names is None else f" to {top - 1}, one for each of class_names")
        raise LabelError(complaint(where, expected=expected, received=f"{wrong[0]}", fix="Pass model.classify(x)"))
    return array.astype(np.int64)


def _probabilities(probabilities: Any, shown: NDArray[np.int64], truth: NDArray[np.int64] | None) -> NDArray[Any]:
    """Return probabilities (N, K) of as many observations as there are labels, and of enough classes."""
    where, fix = "plots.predictions(probabilities=)", "Pass model.predict(x) of the same x"
    array = numbers(where, probabilities)
    classes = 1 + int(max(shown.max(), shown.max() if truth is None else truth.max()))
    if array.ndim != 2 or len(array) != len(shown) or array.shape[1] < classes:
        expected = f"shape ({len(shown)}, K) with K of at least {classes}"
        raise ShapeError(complaint(where, expected=expected, received=f"shape {array.shape}", fix=fix))
    return array


def _worst(chances: NDArray[Any] | None, truth: NDArray[np.int64] | None, wanted: bool | None) -> NDArray[np.int64] | None:
    """Return the observations, those first whose true class was given the least probability; None to leave their order."""
    if chances is not None and truth is not None and wanted is not False:
        return np.argsort(np.nan_to_num(chances[np.arange(len(truth)), truth], nan=-1.0), kind="stable")
    if wanted:
        where, expected = "plots.predictions(worst_first=True)", "probabilities= and actual, from which the loss comes"
        raise ArgumentError(complaint(where, expected=expected, received="not both", fix="Pass probabilities= and actual"))
    return None
