"""What every picture shares: the figure, the colours, the legend, panels in somebody else's axes, and the file."""

from __future__ import annotations

import functools
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from laminar.atomic import replacing
from laminar.errors import ArgumentError, DataError, FileError, complaint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["COLOURS", "GREY", "WRONG", "legend", "numbers", "palette", "panels", "save", "tidy"]

# Okabe and Ito 2008, without the yellow, which is too pale for a line on white; the black comes last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WRONG = "#C00000"
GREY = "#555555"


def panels(
    count: int, columns: int, size: tuple[float, float], ax: Axes | None, *, gap: float = 0.25, extra: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """Return a figure and `count` axes in rows of at most `columns`: of a figure of their own, or inside `ax`.

    Args:
        count: of axes.
        columns: in a row at most.
        size: width and height of each, in inches, in a figure of its own.
        ax: axes to draw in; a single panel is these axes, several lie inside them.
        gap: between panels inside `ax`, as a share of a panel.
        extra: inches of height for a title or legend.
    """
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    if ax is None:
        picture = figure_of(size[0] * columns, size[1] * rows + extra)
        return picture, [picture.add_subplot(rows, columns, i + 1) for i in range(count)]
    if count == 1:
        return cast("Figure", ax.figure), [ax]
    ax.set_axis_off()
    width, height = 1 / (columns + gap * (columns - 1)), 1 / (rows + gap * (rows - 1))
    corners = [divmod(i, columns) for i in range(count)]
    step = (width * (1 + gap), height * (1 + gap))
    inside = [ax.inset_axes((c * step[0], 1 - height - r * step[1], width, height)) for r, c in corners]
    return cast("Figure", ax.figure), inside


def numbers(where: str, value: Any) -> NDArray[Any]:
    """Return a tensor of any device and dtype, an array or a list as an array of numbers."""
    if isinstance(value, Tensor):
        value = (value.float() if value.dtype == torch.bfloat16 else value).detach().cpu()  # NumPy has no bfloat16
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "buif" or not array.size:
        received = f"a {type(value).__name__} of {'nothing' if not array.size else array.dtype}"
        raise DataError(complaint(where, expected="at least one number", received=received, fix="Pass a tensor or an array"))
    return array


def palette(count: int) -> list[str]:
    """Return `count` colours that can be told apart: the seven, or for more the range of viridis."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    from matplotlib import colormaps, colors

    return [colors.to_hex(colour) for colour in colormaps["viridis"](np.linspace(0, 0.92, count))]


def tidy(ax: Axes) -> None:
    """Take away what carries no figure, and draw a pale grid below the curves."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)


def figure_of(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that pyplot does not know and a notebook shows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(picture)
    vars(picture)["_repr_png_"] = functools.partial(_png, picture)  # IPython asks for it
    return picture


def _png(picture: Figure) -> bytes:
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def legend(handles: Sequence[Any], picture: Figure, ax: Axes | None) -> None:
    """Put the legend where no curve can be: below the panels of a figure of ours, above the axes of somebody else's."""
    from matplotlib.textpath import TextPath

    width = picture.get_figwidth() * (1 if ax is None else ax.get_position().width)
    needed = [0.68 + TextPath((0, 0), str(handle.get_label()), size=10).get_extents().width / 72 for handle in handles]
    fitting = [n for n in range(1, len(handles) + 1) if sum(map(max, np.array_split(needed, n))) - 0.28 <= width]
    columns = max(fitting, default=1)
    if ax is None:
        picture.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    else:
        ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False)


def save(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 150) -> Path:
    """Write a figure to a file, which is either complete or not there, and return its path.

    The same figure gives the same bytes: no date is written.

    Args:
        figure: what a function of this module, or of matplotlib, returned.
        path: where to; the suffix .png, .svg or .pdf says what.
        dpi: dots per inch of a PNG.

    Raises:
        ArgumentError: if the suffix is another one.
        FileError: if the file cannot be written.

    >>> import tempfile
    >>> from laminar import plots
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plots.save(plots.activations(), f"{folder}/curves.svg").name
    'curves.svg'
    """
    import matplotlib

    target = Path(path)
    kind = target.suffix.lower().removeprefix(".")
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    if kind not in undated:
        expected, fix = "a file name that ends in .png, .svg or .pdf", f"Pass '{target.stem or 'picture'}.png'"
        raise ArgumentError(complaint("plots.save(path)", expected=expected, received=f"{str(path)!r}", fix=fix))
    try:
        with matplotlib.rc_context({"svg.hashsalt": "laminar"}), replacing(target) as file:
            figure.savefig(file, format=kind, dpi=dpi, metadata=undated[kind])
    except OSError as e:
        where, received = f"plots.save({str(path)!r})", e.strerror or str(e)
        fix = "Pass another path" if target.parent.exists() else f"Make the folder first: mkdir -p '{target.parent}'"
        raise FileError(complaint(where, expected="a path that can be written", received=received, fix=fix)) from e
    return target
