"""Results as matplotlib figures. Nothing heavy is computed here, and matplotlib is imported when a picture is drawn.

Every function returns a `matplotlib.figure.Figure` of its own: no global state is touched, no window opens, and a notebook
shows the returned figure. The colours are those of Okabe and Ito, which colour-blind people tell apart.
"""

from __future__ import annotations

import functools
import io
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from laminar import activations as named
from laminar.atomic import replacing
from laminar.errors import ArgumentError, DataError, FileError, LabelError, ShapeError, complaint
from laminar.names import unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["activations", "history", "predictions", "save"]

# Okabe and Ito 2008, without the yellow, which is too pale for a line on white; the black comes last.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_WRONG = "#C00000"
_GREY = "#555555"

Curves: TypeAlias = Mapping[str, Sequence[float]]
Runs: TypeAlias = "dict[str, dict[str, NDArray[np.float64]]]"  # name -> figure -> values
Looks: TypeAlias = dict[tuple[str, str], dict[str, Any]]  # (run, "training" or "validation") -> keywords of a line


class HistoryLike(Protocol):
    """What `model.fit` returns, as far as a picture needs it."""

    history: dict[str, list[float]]
    iterations: dict[str, list[float]]


def history(
    history: HistoryLike | Curves | Mapping[str, HistoryLike | Curves],
    *,
    figures: str | Iterable[str] | None = None,
    per: Literal["epoch", "iteration"] = "epoch",
    ax: Axes | None = None,
) -> Figure:
    """Draw how the figures of one or several trainings developed, a panel for each figure.

    The training's curve is dashed and the validation's solid; where nothing was validated, the training's is solid. Of
    several runs each has a colour. A value that is not finite is left out. A loss that spans more than two decades is drawn
    on a logarithmic axis; an accuracy is in percent.

    Args:
        history: what `fit` returned, or a dict figure -> numbers; or a dict name -> either of these, to compare runs.
        figures: which ones, for example "loss" or ["loss", "val_accuracy"]; "loss" brings "val_loss" along. Without it
            all are drawn but the learning rate.
        per: "epoch", or "iteration" for the figures of each mini-batch.
        ax: axes to draw in, for a single figure; a new figure is made without it.

    Raises:
        DataError: if there is nothing to draw, or the figures of a run are of different lengths.
        UnknownNameError: if a figure is in none of the runs.

    >>> picture = history({"loss": [2.3, 0.9, 0.5], "val_loss": [1.2, 0.8, 0.7], "accuracy": [0.2, 0.7, 0.8]})
    >>> [panel.get_ylabel() for panel in picture.axes]
    ['loss', 'accuracy (%)']
    """
    if per not in ("epoch", "iteration"):
        raise unknown_name("plots.history(per=)", per, ["epoch", "iteration"])
    runs = _runs(history, per)
    panels = _panels(runs, figures)
    if ax is not None and len(panels) > 1:
        received, fix = f"{len(panels)}: {', '.join(panels)}", "Pass figures='loss', or no ax"
        raise ArgumentError(complaint("plots.history(ax=)", expected="one figure", received=received, fix=fix))
    rows, columns = math.ceil(len(panels) / 3), min(len(panels), 3)
    picture = _figure(4.6 * columns, 3.2 * rows + 0.4) if ax is None else cast("Figure", ax.figure)
    axes = [ax] if ax is not None else [picture.add_subplot(rows, columns, i + 1) for i in range(len(panels))]
    kinds = {_kind(part) for parts in panels.values() for part in parts for run in runs.values() if part in run}
    looks = _looks(runs, dashed="validation" in kinds)
    for panel, (name, parts) in zip(axes, panels.items(), strict=True):
        _draw_panel(panel, runs, name, parts, looks)
        panel.set_xlabel(per)
    _legend(_handles(runs, kinds, looks), picture, ax)
    return picture


def _runs(history: Any, per: str) -> Runs:
    """Return name -> figure -> values for each of the three forms that `history` may have; a single run is named ''."""
    expected = "what fit returned, a dict figure -> numbers, or a dict name -> either of these"
    where, fix = "plots.history(history)", "Pass the result of model.fit(...)"

    def single(value: object) -> Any:
        return getattr(value, "history" if per == "epoch" else "iterations", value)

    def is_run(value: object) -> bool:
        return isinstance(single(value), Mapping)

    if not is_run(history):
        raise DataError(complaint(where, expected=expected, received=f"a {type(history).__name__}", fix=fix))
    curves = single(history)
    several = curves is history and bool(curves) and all(map(is_run, curves.values()))
    runs = {str(name): single(run) for name, run in curves.items()} if several else {"": curves}
    return {name: _curves(f"{where}[{name!r}]" if name else where, run) for name, run in runs.items()}


def _curves(where: str, run: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Return the figures of one run as arrays of one length."""
    curves = {}
    for name, values in run.items():
        try:
            curves[str(name)] = np.asarray(values, dtype=np.float64).reshape(len(values))
        except (TypeError, ValueError):
            expected, received = f"a list of numbers for {name!r}", f"a {type(values).__name__}"
            fix = "Pass the result of model.fit(...)"
            raise DataError(complaint(where, expected=expected, received=received, fix=fix)) from None
    lengths = {name: len(values) for name, values in curves.items()}
    if not any(lengths.values()):
        expected, fix = "a figure with at least one value", "Train first: history = model.fit(x, y)"
        raise DataError(complaint(where, expected=expected, received=f"{dict(run)!r}", fix=fix))
    if len(set(lengths.values())) > 1:
        received = ", ".join(f"{name!r} of {length}" for name, length in lengths.items())
        fix = "Pad the shorter ones with float('nan')"
        raise DataError(complaint(where, expected="figures of one length", received=received, fix=fix))
    return curves


def _panels(runs: Runs, figures: str | Iterable[str] | None) -> dict[str, list[str]]:
    """Return panel -> the names of its figures: of "loss" these are "loss" and "val_loss"."""
    known = list(dict.fromkeys(name for run in runs.values() for name in run))
    known += [base for name in known if (base := name.removeprefix("val_")) not in known]
    if figures is None:
        wanted = [name for name in known if not name.startswith("val_") and name != "learning_rate"] or known
    else:
        wanted = [figures] if isinstance(figures, str) else list(figures)
    for name in wanted:
        if name not in known:
            raise unknown_name("plots.history(figures=): figure", name, known)
    if not wanted:
        fix = "Pass figures='loss'"
        raise ArgumentError(complaint("plots.history(figures=)", expected="at least one figure", received="none", fix=fix))
    panels: dict[str, list[str]] = {}
    for name in wanted:
        parts = panels.setdefault(name.removeprefix("val_"), [])
        parts += [part for part in (name, f"val_{name}") if part not in parts]
    return panels


def _kind(name: str) -> str:
    return "validation" if name.startswith("val_") else "training"


def _looks(runs: Runs, dashed: bool) -> Looks:
    """Return the colour of each run and the style of each kind of curve; of a single run the kinds differ in colour too."""
    looks: Looks = {}
    for run, colour in zip(runs, _palette(len(runs)), strict=True):
        looks[run, "training"] = {"color": colour, "linestyle": "--" if dashed else "-"}
        looks[run, "validation"] = {"color": colour if len(runs) > 1 else _COLOURS[1], "linestyle": "-"}
    return looks


def _draw_panel(ax: Axes, runs: Runs, name: str, parts: Sequence[str], looks: Looks) -> None:
    """Draw one figure of every run, the training's and the validation's."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    scale = 100.0 if "accuracy" in name else 1.0
    drawn = [np.empty(0)]
    for run, figures in runs.items():
        for part in (part for part in parts if part in figures):
            values = figures[part] * scale
            finite = np.isfinite(values)
            drawn.append(values[finite])
            marker = "o" if len(drawn[-1]) <= 12 else ""
            x = np.arange(1, len(values) + 1)[finite]
            ax.plot(x, drawn[-1], marker=marker, markersize=3.5, linewidth=1.6, **looks[run, _kind(part)])
    everything = np.concatenate(drawn)
    if not everything.size:
        ax.text(0.5, 0.5, "no finite value", transform=ax.transAxes, ha="center", va="center", color=_GREY)
        ax.set(xticks=[], yticks=[])
    unit = " (%)" if scale > 1 else ""
    if "loss" in name and everything.size and everything.max() > 100 * everything.min() > 0:
        ax.set_yscale("log")
        unit = " (log scale)"
    ax.set_ylabel(name.replace("_", " ") + unit)
    _tidy(ax)


def _handles(runs: Runs, kinds: Iterable[str], looks: Looks) -> list[Any]:
    """Return what the legend shows: each run, if there are several, and each kind of curve."""
    from matplotlib.lines import Line2D

    grey = {} if len(runs) == 1 else {"color": _GREY}
    first = next(iter(runs))
    handles = [Line2D([], [], color=looks[run, "training"]["color"], linewidth=2.5, label=run) for run in runs if len(runs) > 1]
    styles = [Line2D([], [], **(looks[first, kind] | grey), label=kind) for kind in sorted(kinds)]
    return handles if len(styles) == 1 and handles else handles + styles  # one style needs no key beside the runs' colours


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

    Raises:
        ShapeError: if `x` or `probabilities` has another number of axes, or the lengths differ.
        LabelError: if a label is not a whole number, or has no class.
        ArgumentError: if rows or columns is below 1, or worst_first lacks what it needs.

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
    rows, columns = math.ceil(len(order) / columns), min(columns, len(order))
    names = range(1 << 62) if class_names is None else class_names
    picture = _figure(1.2 * columns, 1.45 * rows if truth is None else 1.6 * rows + 0.3)
    titles = [f"{names[int(shown[i])]}" + ("" if chances is None else f" ({chances[i, shown[i]]:.0%})") for i in order]
    size = max(min(10.0, 140 / max(map(len, titles))), 5.0)  # points, so that neighbours do not touch
    for place, (i, title, image) in enumerate(zip(order, titles, _on_one_scale(images[order]), strict=True), 1):
        ax = picture.add_subplot(rows, columns, place, xticks=[], yticks=[])
        ax.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        wrong = truth is not None and shown[i] != truth[i]
        title += f"\nis {names[int(truth[i])]}" if truth is not None and wrong else ""
        ax.set_title(title, fontsize=size, pad=3, color=_WRONG if wrong else "black", weight="bold" if wrong else "normal")
        ax.spines[:].set(color=_WRONG if wrong else _GREY, linewidth=2.0 if wrong else 0.6)
    if truth is not None:
        right = int((shown == truth).sum())
        how = f"{len(order):,} shown" + ("" if worst is None else ", the largest loss first")
        picture.suptitle(f"{right:,} of {len(images):,} right ({right / len(images):.2%}); {how}", fontsize=11)
    return picture


def _array(where: str, value: Any) -> NDArray[Any]:
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


def _images(x: Any) -> NDArray[Any]:
    """Return the images as (N, C, H, W)."""
    where, expected = "plots.predictions(x)", "images (N, C, H, W) with C = 1 or 3, or (N, H, W)"
    images = _array(where, x)
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
    array = _array(where, labels)
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
    array = _array(where, probabilities)
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


def activations(
    names: Sequence[str] | Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    low: float = -10.0,
    high: float = 3.0,
    *,
    derivative: bool = False,
    ax: Axes | None = None,
) -> Figure:
    """Draw activations as curves z = f(x). Source: row R4.

    Args:
        names: names that `activations.get` knows, or a dict label -> function of a tensor (N,). Without it: ELU with
            alpha 1, leaky ReLU with slope 0.1, and ReLU.
        low: the least x.
        high: the greatest x.
        derivative: whether to draw dz/dx, found by autograd, in a second panel.
        ax: axes to draw in; a new figure is made without it.

    Raises:
        UnknownNameError: if a name is not one of an activation.
        ArgumentError: if low is not below high, there is no name, or `ax` is given for two panels.
        ShapeError: if a function returns another shape than it was given.

    >>> [text.get_text() for text in activations().legends[0].get_texts()]
    ['ELU (alpha 1)', 'leaky ReLU (slope 0.1)', 'ReLU']
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        where, received, fix = "plots.activations(low, high)", f"{low}, {high}", "Pass low=-10, high=3"
        raise ArgumentError(complaint(where, expected="low below high", received=received, fix=fix))
    if ax is not None and derivative:
        where, received, fix = "plots.activations(ax=)", "derivative=True", "Pass no ax, or derivative=False"
        raise ArgumentError(complaint(where, expected="no ax for two panels", received=received, fix=fix))
    if names is None:
        leaky = functools.partial(named.leaky_relu, negative_slope=0.1)
        curves: dict[str, Any] = {"ELU (alpha 1)": named.elu, "leaky ReLU (slope 0.1)": leaky, "ReLU": named.relu}
    else:
        listed = [names] if isinstance(names, str) else names
        curves = dict(names) if isinstance(names, Mapping) else {name: named.get(name) for name in listed}
    if not curves:
        raise ArgumentError(complaint("plots.activations(names)", expected="a name", received=f"{names!r}", fix="Pass None"))
    values = {label: _curve(label, function, low, high) for label, function in curves.items()}
    count = 1 + derivative
    picture = _figure(4.8 * count, 3.6) if ax is None else cast("Figure", ax.figure)
    panels = [picture.add_subplot(1, count, 1 + i) for i in range(count)] if ax is None else [ax]
    # Later lines are thinner, so that those which coincide can all be seen.
    widths = np.linspace(min(0.4 + 1.2 * len(values), 4.0), 1.4, len(values))
    for which, panel in enumerate(panels):
        lines = [
            panel.plot(arrays[0], arrays[1 + which], color=colour, linewidth=width, label=label)[0]
            for (label, arrays), colour, width in zip(values.items(), _palette(len(values)), widths, strict=True)
        ]
        panel.set(xlabel="input x", ylabel="derivative dz/dx" if which else "output z")
        panel.axhline(0, color=_GREY, linewidth=0.6, zorder=1)
        panel.axvline(0, color=_GREY, linewidth=0.6, zorder=1)
        _tidy(panel)
    _legend(lines, picture, ax)
    return picture


def _curve(label: str, function: Callable[[Tensor], Tensor], low: float, high: float) -> tuple[Any, Any, Any]:
    """Return x, f(x) and f'(x)."""
    x = torch.linspace(low, high, 1001, requires_grad=True)
    with torch.enable_grad():
        z = function(x)
    if not isinstance(z, Tensor) or z.shape != x.shape:
        received = f"shape {tuple(z.shape)}" if isinstance(z, Tensor) else f"a {type(z).__name__}"
        where, expected = f"plots.activations: {label!r}", f"an output of the input's shape {tuple(x.shape)}"
        fix = "Pass a function that acts element by element"
        raise ShapeError(complaint(where, expected=expected, received=received, fix=fix))
    one = torch.ones_like(x)
    slope = torch.autograd.grad(z, x, one, materialize_grads=True)[0] if z.requires_grad else 0 * one
    return x.detach().numpy(), z.detach().float().numpy(), slope.numpy()


def _palette(count: int) -> list[str]:
    """Return `count` colours that can be told apart: the seven, or for more the range of viridis."""
    if count <= len(_COLOURS):
        return list(_COLOURS[:count])
    from matplotlib import colormaps, colors

    return [colors.to_hex(colour) for colour in colormaps["viridis"](np.linspace(0, 0.92, count))]


def _tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)


def _figure(width: float, height: float) -> Figure:
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


def _legend(handles: Sequence[Any], picture: Figure, ax: Axes | None) -> None:
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
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(activations(), f"{folder}/curves.svg").name
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
