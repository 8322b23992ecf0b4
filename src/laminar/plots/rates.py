"""Learning rates over the iterations of a training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from laminar.errors import ArgumentError, complaint
from laminar.plots.canvas import legend, palette, panels, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["schedules"]


def schedules(schedules: Mapping[str, Callable[[int], Any]], iterations: int, *, ax: Axes | None = None) -> Figure:
    """Draw learning-rate schedules: the rate at each iteration.

    A range of more than two decades is drawn on a logarithmic axis.

    Args:
        schedules: name -> function from the iteration (0 is the first) to the rate, such as those of `lm.schedules`.
        iterations: how many to draw.
        ax: axes to draw in; a new figure is made without it.

    Raises:
        ArgumentError: if there is no schedule, or no iteration.

    Source: row R6 of the mission.

    >>> picture = schedules({"halved": lambda i: 0.1 * 0.5 ** (i // 100)}, 400)
    >>> picture.axes[0].get_ylabel()
    'learning rate'
    """
    if not schedules or iterations < 1:
        received, fix = f"{len(schedules)} and {iterations}", "Pass {'cosine': schedule}, 1000"
        expected = "at least one schedule and one iteration"
        raise ArgumentError(complaint("plots.schedules", expected=expected, received=received, fix=fix))
    values = {name: np.array([float(rate(i)) for i in range(iterations)]) for name, rate in schedules.items()}
    picture, (panel,) = panels(1, 1, (5.2, 3.4), ax, extra=0.3)
    lines = [
        panel.plot(np.arange(iterations), rates, color=colour, linewidth=1.6, label=name)[0]
        for (name, rates), colour in zip(values.items(), palette(len(values)), strict=True)
    ]
    everything = np.concatenate(list(values.values()))
    positive = everything[everything > 0]
    if positive.size == everything.size and math.log10(positive.max() / positive.min()) > 2:
        panel.set_yscale("log")
    panel.set(xlabel="iteration", ylabel="learning rate")
    tidy(panel)
    legend(lines, picture, ax)
    return picture
