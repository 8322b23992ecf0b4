"""Activations as curves."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from laminar import activations as named
from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.plots.canvas import GREY, legend, palette, panels, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["activations"]


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
        ArgumentError: if low is not below high, or there is no name.
        ShapeError: if a function returns another shape than it was given.

    >>> [text.get_text() for text in activations().legends[0].get_texts()]
    ['ELU (alpha 1)', 'leaky ReLU (slope 0.1)', 'ReLU']
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        where, received, fix = "plots.activations(low, high)", f"{low}, {high}", "Pass low=-10, high=3"
        raise ArgumentError(complaint(where, expected="low below high", received=received, fix=fix))
    if names is None:
        leaky = functools.partial(named.leaky_relu, negative_slope=0.1)
        curves: dict[str, Any] = {"ELU (alpha 1)": named.elu, "leaky ReLU (slope 0.1)": leaky, "ReLU": named.relu}
    else:
        listed = [names] if isinstance(names, str) else names
        curves = dict(names) if isinstance(names, Mapping) else {name: named.get(name) for name in listed}
    if not curves:
        raise ArgumentError(complaint("plots.activations(names)", expected="a name", received=f"{names!r}", fix="Pass None"))
    values = {label: _curve(label, function, low, high) for label, function in curves.items()}
    picture, drawn = panels(1 + derivative, 2, (4.8, 3.6), ax)
    # Later lines are thinner, so that those which coincide can all be seen.
    widths = np.linspace(min(0.4 + 1.2 * len(values), 4.0), 1.4, len(values))
    for which, panel in enumerate(drawn):
        lines = [
            panel.plot(arrays[0], arrays[1 + which], color=colour, linewidth=width, label=label)[0]
            for (label, arrays), colour, width in zip(values.items(), palette(len(values)), widths, strict=True)
        ]
        panel.set(xlabel="input x", ylabel="derivative dz/dx" if which else "output z")
        panel.axhline(0, color=GREY, linewidth=0.6, zorder=1)
        panel.axvline(0, color=GREY, linewidth=0.6, zorder=1)
        tidy(panel)
    legend(lines, picture, ax)
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
