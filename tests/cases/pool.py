"""Pooling."""

from cases.case import Case
from laminar import layers as L

CASES = [
    Case(L.MaxPooling2D, (3, 5, 6)),
    Case(L.MaxPooling2D, (3, 5, 6), (3,), {"strides": 2, "padding": "same"}),
]
