"""Convolutions."""

from cases.case import Case
from laminar import layers as L

CASES = [
    Case(L.Conv2D, (2, 5, 6), (3, 3), {"activation": "tanh"}, draws=True),
    Case(
        L.Conv2D,
        (4, 5, 4),
        (2, (3, 2)),
        {"strides": 2, "padding": "same", "dilation_rate": 2, "groups": 2, "use_bias": False},
        draws=True,
    ),
]
