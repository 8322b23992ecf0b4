"""Attention."""

from cases.case import Case
from laminar import layers as L

CASES = [
    Case(L.MultiHeadAttention, (3, 4), (2, 2), draws=True, zero_gradient=True),
    Case(
        L.MultiHeadAttention,
        ((3, 4), (2, 3), (2, 5)),
        (2, 3, 1),
        {"use_bias": False, "kernel_initializer": "normal"},
        draws=True,
    ),
    Case(L.MultiHeadAttention, ((2, 4), (3, 4)), (1, 2), {"dropout": 0.3}, draws=True, random=True, zero_gradient=True),
]
