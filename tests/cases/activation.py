"""Activations."""

from cases.case import Case
from laminar import layers as L

CASES = [
    Case(L.Activation, (3, 4), ("gelu",)),
    Case(L.Activation, (3, 4), ("softmax",), alone=False),
    Case(L.ELU, (3, 4, 5), ("uniform",), {"learnable": True}, draws=True),
    Case(L.ELU, (4,), (0.5,)),
    Case(L.ReLU, (3, 4, 5)),
    Case(L.Softmax, (5, 2), alone=False),
]
