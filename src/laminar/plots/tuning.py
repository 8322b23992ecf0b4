"""What a search has tried: its values one after the other, over each parameter, and which parameters decide."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from laminar.comparison.units import units_of
from laminar.errors import ArgumentError, DataError, complaint
from laminar.layers.core import is_number
from laminar.names import unknown_name
from laminar.plots.canvas import COLOURS, GREY, WRONG, legend, panels, tidy
from laminar.tuning.result import Tuning
from laminar.tuning.trials import Tried

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["importance", "slices", "trials"]

_LOOKS: dict[str, dict[str, Any]] = {
    "finished": {"marker": "o", "color": COLOURS[0], "s": 26},
    "pruned": {"marker": "x", "color": GREY, "s": 22, "linewidths": 1.0},
    "default": {"marker": "D", "color": COLOURS[1], "s": 46, "zorder": 3},
    "best": {"marker": "*", "color": COLOURS[2], "s": 130, "zorder": 4},
}
"""Kind of trial -> how its mark looks: shape and colour say the same."""
_DECADES = 1.5  # numbers that span more of these have a logarithmic axis


def trials(tuning: Tuning, *, ax: Axes | None = None) -> Figure:
    """Draw the value of every trial in the order of their places, and the best one so far.

    A pruned trial stands at the metric of its last epoch; one that diverged or failed is a mark at the lower edge.

    Args:
        tuning: what `laminar.tune` returned.
        ax: axes to draw in; a new figure is made without it.

    Raises:
        DataError: if no trial has a value.
    """
    shown = _shown(tuning, "trials")
    picture, (panel,) = panels(1, 1, (6.4, 3.6), ax, extra=0.3)
    scale = units_of(tuning.search.metric).factor
    handles = _marks(panel, tuning, shown, [float(t.place) for t in shown])
    better = max if tuning.search.higher_is_better else min
    finished = [t for t in shown if t.value is not None]
    if finished:
        best = [scale * better(t.value or 0.0 for t in finished[: i + 1]) for i in range(len(finished))]
        (line,) = panel.plot([t.place for t in finished], best, drawstyle="steps-post", color=COLOURS[0], label="best so far")
        handles.append(line)
    lost = [t.place for t in tuning.trials if t.status in ("diverged", "failed")]
    if lost:
        edge = panel.get_xaxis_transform()
        handles.append(
            panel.scatter(lost, [0.02] * len(lost), marker="v", color=WRONG, transform=edge, label="diverged or failed")
        )
    panel.set(xlabel="trial", ylabel=_label(tuning))
    tidy(panel)
    legend(handles, picture, ax)
    return picture


def slices(tuning: Tuning, parameters: str | Iterable[str] | None = None, *, ax: Axes | None = None) -> Figure:
    """Draw the value of every trial over each parameter, a panel for each.

    Numbers that span more than a decade and a half have a logarithmic axis; what is no number has a place for each value, and
    marks spread a little, so that they do not hide each other.

    Args:
        tuning: what `laminar.tune` returned.
        parameters: one or several; all where None.
        ax: axes to draw in; a new figure is made without it.

    Raises:
        DataError: if no trial has a value.
        UnknownNameError: if no trial had such a parameter.

    >>> import laminar as lm
    >>> x, y = np.arange(32.0, dtype="float32").reshape(16, 2), np.arange(16) % 2
    >>> def build(trial):
    ...     kind = trial.suggest_categorical("activation", ["relu", "elu"])
    ...     model = lm.Sequential([lm.layers.Dense(3, activation=kind), lm.layers.Dense(2), lm.layers.Softmax()])
    ...     rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    ...     model.compile(lm.optimizers.SGD(rate), "sparse_categorical_crossentropy", ["accuracy"])
    ...     return model
    >>> found = lm.tune(build, (x, y), (x, y), metric="accuracy", trials=2, store=None, verbose=0)
    >>> [panel.get_xlabel() for panel in slices(found).axes]
    ['activation', 'learning_rate']
    """
    shown = _shown(tuning, "slices")
    known = list(dict.fromkeys(name for trial in shown for name in trial.params))
    wanted = known if parameters is None else [parameters] if isinstance(parameters, str) else list(parameters)
    for name in wanted:
        if name not in known:
            raise unknown_name("plots.slices(parameters=): parameter", name, known)
    if not wanted:
        fix = 'Pass parameters="learning_rate", say'
        where = "plots.slices(parameters=)"
        raise ArgumentError(complaint(where, expected="at least one parameter", received="none", fix=fix))
    picture, axes = panels(len(wanted), 3, (3.6, 3.0), ax, extra=0.4)
    handles: dict[str, Any] = {}
    for panel, name in zip(axes, wanted, strict=True):
        having = [trial for trial in shown if name in trial.params]
        handles |= {str(h.get_label()): h for h in _marks(panel, tuning, having, _places(panel, having, name))}
        panel.set(xlabel=name, ylabel=_label(tuning))
        tidy(panel)
    legend(list(handles.values()), picture, ax)
    return picture


def importance(tuning: Tuning, *, ax: Axes | None = None) -> Figure:
    """Draw how much each parameter decides whether a trial is among the best, the largest at the top.

    Args:
        tuning: what `laminar.tune` returned.
        ax: axes to draw in; a new figure is made without it.

    Raises:
        TooFewRunsError: with fewer than two finished trials.

    Source: see `Tuning.importance`.
    """
    shares = tuning.importance()
    names = list(shares)[::-1]
    picture, (panel,) = panels(1, 1, (5.2, 0.9 + 0.38 * len(names)), ax)
    bars = panel.barh(names, [100 * shares[name] for name in names], color=COLOURS[0], height=0.65)
    panel.bar_label(bars, fmt="%.0f", padding=3)
    panel.set(xlabel="share of the importance (%)", xlim=(0, 110 * max(shares.values())))
    tidy(panel)
    return picture


def _shown(tuning: Tuning, what: str) -> list[Tried]:
    """Return the trials that have a value to draw."""
    shown = [t for t in tuning.trials if t.shown is not None and math.isfinite(t.shown)]
    if not shown:
        where, fix = f"plots.{what}(tuning)", "Look at tuning.trials for what ended them"
        received = f"{len(tuning.trials)} trials without one"
        raise DataError(complaint(where, expected="a trial with a value", received=received, fix=fix))
    return shown


def _label(tuning: Tuning) -> str:
    units = units_of(tuning.search.metric)
    return f"{tuning.search.metric} ({units.of_values.strip()})" if units.of_values else tuning.search.metric


def _marks(panel: Axes, tuning: Tuning, shown: Sequence[Tried], x: Sequence[float]) -> list[Any]:
    """Draw a mark for each trial and return one handle for each kind."""
    scale = units_of(tuning.search.metric).factor
    best = tuning.best.place if tuning.counts.get("finished") else None
    handles = []
    for kind, look in _LOOKS.items():
        chosen = [
            (place, scale * (trial.shown or 0.0))
            for place, trial in zip(x, shown, strict=True)
            if kind == ("best" if trial.place == best else "default" if trial.default else trial.status)
        ]
        if chosen:
            handles.append(panel.scatter(*zip(*chosen, strict=True), label=kind, **look))
    return handles


def _places(panel: Axes, shown: Sequence[Tried], name: str) -> list[float]:
    """Return where each trial stands on the axis of a parameter, and set that axis up."""
    values = [trial.params[name] for trial in shown]
    if all(is_number(value) for value in values):
        numbers = np.array(values, dtype=float)
        if numbers.min() > 0 and math.log10(numbers.max() / numbers.min()) > _DECADES:
            panel.set_xscale("log")
        return [float(value) for value in numbers]
    choices = sorted({str(value) for value in values})
    panel.set_xticks(range(len(choices)), choices, rotation=30 if sum(map(len, choices)) > 24 else 0)
    panel.set_xlim(-0.6, len(choices) - 0.4)
    return [choices.index(str(value)) + offset for value, offset in zip(values, _spread(len(values)), strict=True)]


def _spread(count: int) -> list[float]:
    """Return offsets in (-0.25, 0.25) that fill the range evenly: multiples of the golden ratio, less their whole part."""
    return [0.5 * ((i * 0.6180339887) % 1.0) - 0.25 for i in range(count)]
