"""Figures of a training over its epochs or iterations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np

from laminar.errors import ArgumentError, DataError, complaint
from laminar.names import unknown_name
from laminar.plots.canvas import COLOURS, GREY, legend, palette, panels, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["history"]


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
        ax: axes to draw in; a new figure is made without it.

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
    drawn = _panels(runs, figures)
    picture, axes = panels(len(drawn), 3, (4.6, 3.2), ax, extra=0.4)
    kinds = {_kind(part) for parts in drawn.values() for part in parts for run in runs.values() if part in run}
    looks = _looks(runs, dashed="validation" in kinds)
    for panel, (name, parts) in zip(axes, drawn.items(), strict=True):
        _draw_panel(panel, runs, name, parts, looks)
        panel.set_xlabel(per)
    legend(_handles(runs, kinds, looks), picture, ax)
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
    chosen: dict[str, list[str]] = {}
    for name in wanted:
        parts = chosen.setdefault(name.removeprefix("val_"), [])
        parts += [part for part in (name, f"val_{name}") if part not in parts]
    return chosen


def _kind(name: str) -> str:
    return "validation" if name.startswith("val_") else "training"


def _looks(runs: Runs, dashed: bool) -> Looks:
    """Return the colour of each run and the style of each kind of curve; of a single run the kinds differ in colour too."""
    looks: Looks = {}
    for run, colour in zip(runs, palette(len(runs)), strict=True):
        looks[run, "training"] = {"color": colour, "linestyle": "--" if dashed else "-"}
        looks[run, "validation"] = {"color": colour if len(runs) > 1 else COLOURS[1], "linestyle": "-"}
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
        ax.text(0.5, 0.5, "no finite value", transform=ax.transAxes, ha="center", va="center", color=GREY)
        ax.set(xticks=[], yticks=[])
    unit = " (%)" if scale > 1 else ""
    if "loss" in name and everything.size and everything.max() > 100 * everything.min() > 0:
        ax.set_yscale("log")
        unit = " (log scale)"
    ax.set_ylabel(name.replace("_", " ") + unit)
    tidy(ax)


def _handles(runs: Runs, kinds: Iterable[str], looks: Looks) -> list[Any]:
    """Return what the legend shows: each run, if there are several, and each kind of curve."""
    from matplotlib.lines import Line2D

    grey = {} if len(runs) == 1 else {"color": GREY}
    first = next(iter(runs))
    handles = [Line2D([], [], color=looks[run, "training"]["color"], linewidth=2.5, label=run) for run in runs if len(runs) > 1]
    styles = [Line2D([], [], **(looks[first, kind] | grey), label=kind) for kind in sorted(kinds)]
    return handles if len(styles) == 1 and handles else handles + styles  # one style needs no key beside the runs' colours
