"""Layers without geometry."""

from cases.case import Case
from laminar import layers as L

CASES = [
    Case(L.Dense, (5,), (4,), {"kernel_initializer": "he_normal"}, draws=True),
    Case(L.Dense, (3, 5), (4, "sigmoid"), {"use_bias": False}, draws=True),
    Case(L.Dense, (3, 5), (4, "softmax"), draws=True),
    Case(L.Dense, (3,), (4, "softmax"), draws=True),
    Case(L.Flatten, (2, 3, 4), alone=False),
    Case(L.Reshape, (3, 4), ((2, -1),), alone=False),
]
