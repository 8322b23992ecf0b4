"""The picture of a learning-rate range test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from laminar.errors import DataError, complaint
from laminar.plots.canvas import COLOURS, GREY, legend, panels, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from laminar.rates import RangeTest

__all__ = ["range_test"]


def range_test(found: RangeTest, *, ax: Axes | None = None) -> Figure:
    """Draw the loss of a learning-rate range test over the rate, smoothed and as it was, with the suggested rate.

    What lies more than half as far again above the smallest loss as the first one is cut off: there the loss has diverged.
    The rates are on a logarithmic axis.

    Args:
        found: what `lm.range_test` returned.
        ax: axes to draw in; a new figure is made without it.

    Raises:
        DataError: if there are fewer than two losses.

    Source: Smith 2017, "Cyclical learning rates for training neural networks", figure 3; row R6 of the mission.

    >>> from laminar.rates import RangeTest
    >>> picture = range_test(RangeTest([0.001, 0.01, 0.1, 1.0], [2.0, 1.9, 0.9, 9.0], diverged=True))
    >>> picture.axes[0].get_xlabel()
    'learning rate'
    """
    rates, losses, smoothed = np.asarray(found.rates), np.asarray(found.losses), found.smoothed
    if len(losses) < 2:
        fix = "Test a wider range: low=1e-7, high=10"
        raise DataError(complaint("plots.range_test", expected="at least two losses", received=f"{len(losses)}", fix=fix))
    picture, (panel,) = panels(1, 1, (5.6, 3.6), ax, extra=0.3)
    lines = panel.plot(rates, losses, color=COLOURS[5], linewidth=0.9, label="mini-batch")
    lines += panel.plot(rates, smoothed, color=COLOURS[0], linewidth=2.0, label="smoothed")
    lines.append(panel.axvline(found.at_minimum, color=GREY, linestyle=":", label=f"smallest, {found.at_minimum:.2g}"))
    lines.append(panel.axvline(found.steepest, color=COLOURS[2], linestyle="--", label=f"steepest, {found.steepest:.2g}"))
    if found.suggestion is not None:
        text = f"suggestion, {found.suggestion:.2g}"
        lines.append(panel.axvline(found.suggestion, color=COLOURS[1], linewidth=1.6, label=text))
    lowest, first = float(min(losses.min(), smoothed.min())), float(smoothed[0])
    top = max(lowest + 1.5 * (first - lowest), float(losses[: int(smoothed.argmin()) + 1].max()))
    if losses.max() > top > lowest:
        room = 0.05 * (top - lowest)
        panel.set_ylim(lowest - room, top + room)
    panel.set_xscale("log")
    panel.set(xlabel="learning rate", ylabel="loss")
    tidy(panel)
    legend(lines, picture, ax)
    return picture
