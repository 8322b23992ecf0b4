"""The ways that optimizers take over a surface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.plots.canvas import legend, numbers, palette, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["paths"]


def paths(
    surface: Callable[[Tensor, Tensor], Tensor],
    ways: Mapping[str, Any],
    *,
    width: tuple[float, float] = (-2.0, 2.0),
    height: tuple[float, float] = (-2.0, 2.0),
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw the level lines of a surface and, on it, the ways of several optimizers from a common start.

    Args:
        surface: function of x and y, tensors of one shape, that returns the loss in that shape.
        ways: name -> points (N, 2), from the start on; points outside the frame are cut off.
        width: least and greatest x shown.
        height: least and greatest y shown.
        title: above the picture.
        ax: axes to draw in; a new figure is made without it.

    Raises:
        ShapeError: if a way is not (N, 2).
        ArgumentError: if there is no way, or a range is empty.

    Source: row R7 of the mission.

    >>> picture = paths(lambda x, y: x**2 + 10 * y**2, {"sgd": [[1, 1], [0.8, -0.5], [0.6, 0.2]]})
    >>> [text.get_text() for text in picture.legends[0].get_texts()]
    ['sgd']
    """
    if not ways or not (width[0] < width[1] and height[0] < height[1]):
        received = f"{len(ways)} ways, {width}, {height}"
        expected, fix = "a way, and ranges from low to high", "Pass {'sgd': points}, width=(-2, 2)"
        raise ArgumentError(complaint("plots.paths", expected=expected, received=received, fix=fix))
    points = {name: numbers(f"plots.paths: {name!r}", way).astype(np.float64) for name, way in ways.items()}
    for name, way in points.items():
        if way.ndim != 2 or way.shape[1] != 2:
            fix = "Pass a point x, y for each step"
            received = f"shape {way.shape}"
            raise ShapeError(complaint(f"plots.paths: {name!r}", expected="points (N, 2)", received=received, fix=fix))
    x, y = torch.meshgrid(torch.linspace(*width, 201), torch.linspace(*height, 201), indexing="xy")
    with torch.no_grad():
        z = surface(x, y).numpy()
    picture, (panel,) = panels(1, 1, (5.0, 4.2), ax, extra=0.4)
    # level lines that lie close where the surface is low: its valleys are what the ways go through
    levels = z.min() + (z.max() - z.min()) * np.linspace(0, 1, 25)[1:] ** 3
    panel.contour(x.numpy(), y.numpy(), z, levels=levels, colors="#bbbbbb", linewidths=0.6)
    lines = []
    for (name, way), colour in zip(points.items(), palette(len(points)), strict=True):
        finite = way[np.isfinite(way).all(1)]
        lines += panel.plot(*finite.T, color=colour, linewidth=1.5, marker=".", markersize=3, label=name)
        panel.plot(*finite[-1], color=colour, marker="o", markersize=6, markeredgecolor="white")
    start = next(iter(points.values()))[0]
    panel.plot(*start, color="black", marker="s", markersize=6)
    panel.set(xlim=width, ylim=height, title=title, xlabel="weight x", ylabel="weight y")
    legend(lines, picture, ax)
    return picture
