"""Asking one check about one layer, for the tests of the checks of numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

import laminar as lm
from laminar.check.outcome import Outcome

__all__ = ["NUMBER", "asked", "of", "shape_of"]

NUMBER = r"(?<![a-z\d])-?(?:\d+\.?\d*(?:e[+-]?\d+)?|inf)"
"""One number in a text, but not that of float64."""


def asked(check: str, layer: Any, *shape: Any, **options: Any) -> Outcome:
    """Return what `check` says of `layer`."""
    return lm.check_layer(layer, *shape, checks=[check], show=False, **options)[check]


def of(function: Callable[[Tensor], Tensor]) -> nn.Module:
    """Return a layer that applies `function`."""

    class Of(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x)

    return Of()


def shape_of(text: str) -> str:
    """Return a text with # for each number measured."""
    return re.sub(NUMBER, "#", text)
