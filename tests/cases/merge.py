"""Layers of several inputs."""

from cases.case import Case
from laminar import layers as L

CASES = [
    Case(L.Add, ((3, 4, 2), (3, 4, 2), (3, 1, 1))),
    Case(L.Average, ((3, 4), (3, 4), (3, 4))),
    Case(L.Concatenate, ((3, 4, 5), (1, 4, 5), (2, 4, 5)), alone=False),
    Case(L.Concatenate, ((3, 2), (3, 4)), (-1,)),
    Case(L.Dot, ((4,), (4,)), (1,), alone=False),
    Case(L.Dot, ((3, 4), (4, 5)), ((2, 1), True), alone=False),
    Case(L.Maximum, ((3, 4), (3, 4))),
    Case(L.Minimum, ((5,), (5,), (5,))),
    Case(L.Multiply, ((3, 4, 2), (3, 1, 1))),
    Case(L.Subtract, ((3, 4), (3, 4))),
]
