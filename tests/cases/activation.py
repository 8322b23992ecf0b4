"""Activations."""

from cases.case import Case
from laminar import layers as L

CASES = [
    Case(L.Activation, (3, 4), ("gelu",)),
    Case(L.Activation, (3, 4), ("softmax",), alone=False),
    Case(L.Activation, (4, 2), ("glu",), alone=False),
    Case(L.Activation, (5,), ("sparsemax",), alone=False),
    Case(L.ELU, (3, 4, 5), ("uniform",), {"learnable": True}, draws=True),
    Case(L.ELU, (4,), (0.5,)),
    Case(L.Exponential, (3,)),
    Case(L.GELU, (3, 4)),
    Case(L.GELU, (3,), (), {"approximate": True}),
    Case(L.HardSigmoid, (3, 4)),
    Case(L.LeakyReLU, (3, 4, 5)),
    Case(L.PReLU, (3, 4, 5), (0.25,)),
    Case(L.PReLU, (2, 3), ("uniform", None), draws=True),
    Case(L.PReLU, (3, 2, 4), ("uniform", (2,)), draws=True),
    Case(L.ReLU, (3, 4, 5)),
    Case(L.ReLU, (6,), (1.0, 0.1, 0.25)),
    Case(L.SELU, (3,)),
    Case(L.Sigmoid, (3, 4)),
    Case(L.SiLU, (3, 4, 5)),
    Case(L.Softmax, (5, 2), alone=False),
    Case(L.Softmax, (5, 2), (-1,)),
    Case(L.Softplus, (3,)),
    Case(L.Tanh, (3, 4)),
]
