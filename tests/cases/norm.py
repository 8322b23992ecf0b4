"""Normalizations."""

from cases.case import Case
from laminar import layers as L

CASES = [
    Case(L.BatchNormalization, (3, 4, 2)),
    Case(L.BatchNormalization, (6,), (0.8, 1e-3)),
    Case(L.Normalization, (3, 4, 5), ("zscore",), {"per": "channel"}, prepare=lambda layer, x: layer.adapt(x * 3 + 5)),
    Case(L.Normalization, (4,), ("rescale-symmetric",), prepare=lambda layer, x: layer.adapt(x)),
]
