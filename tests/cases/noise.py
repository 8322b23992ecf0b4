"""Dropout and noise."""

from cases.case import Case
from laminar import layers as L

CASES = [
    Case(L.AlphaDropout, (6, 2), (0.4,), random=True),
    Case(L.Dropout, (6, 2), (0.4,), random=True),
    Case(L.Dropout, (6, 2), (0.4,), {"noise_shape": (None, 1)}, random=True),
    Case(L.GaussianDropout, (6, 2), (0.4,), random=True),
    Case(L.GaussianNoise, (6, 2), (0.3,), random=True),
    Case(L.SpatialDropout1D, (6, 3), (0.4,), random=True),
    Case(L.SpatialDropout2D, (6, 3, 4), (0.4,), random=True),
    Case(L.SpatialDropout3D, (6, 3, 4, 2), (0.4,), random=True),
]
