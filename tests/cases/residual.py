"""Residual blocks. A layer in a case's arguments would be shared by all that are made of it, so the case copies it."""

import copy
from typing import Any

from torch import nn

from cases.case import Case
from laminar import layers as L
from laminar.layers.base import Layer


class Fresh(Case):
    """A case whose arguments are layers."""

    def fresh(self) -> Layer:
        """Return a layer of copies."""
        arguments, options = copy.deepcopy((self.arguments, self.options))
        return self.cls(*arguments, **options)


def conv(filters: int, size: int = 3, **options: Any) -> L.Conv2D:
    return L.Conv2D(filters, size, padding="same", **options)


CASES = [
    Fresh(L.Residual, (3, 4, 5), ([conv(4, activation="tanh"), conv(3)],), draws=True),
    Fresh(L.Residual, (3, 5, 4), ([conv(2, strides=2)], conv(2, 1, strides=2), "tanh"), draws=True, alone=False),
    Fresh(L.Residual, (4,), (nn.Sequential(L.Dense(5, "sigmoid"), L.Dense(4)),), {"activation": "softplus"}, draws=True),
]
