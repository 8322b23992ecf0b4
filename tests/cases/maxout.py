"""Maxout."""

from cases.case import Case
from laminar import layers as L

CASES = [
    Case(L.Maxout, (4,), (5, 3), draws=True),
    Case(L.Maxout, (2, 3), (2,), {"use_bias": False, "kernel_initializer": "he_normal"}, draws=True),
]
