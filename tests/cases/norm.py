"""Normalizations, and preprocessing."""

from cases.case import Case
from laminar import layers as L

CASES = [
    Case(L.BatchNormalization, (3, 4, 2)),
    Case(L.BatchNormalization, (6,), (1, 0.8, 1e-3)),
    Case(L.BatchNormalization, (4, 3), (-1,), {"center": False}),
    Case(L.BatchNormalization, (3, 4), options={"scale": False, "moving_mean_initializer": 0.5}),
    Case(L.GroupNormalization, (6, 3, 2), (3,)),
    Case(L.GroupNormalization, (4, 6), (-1, 2), {"scale": False, "center": False}),
    Case(L.GroupNormalization, (6, 3), (2,), {"scale": False}),
    Case(L.LayerNormalization, (4, 3)),
    Case(L.LayerNormalization, (3, 4, 2), (1, 1e-5), {"center": False}),
    Case(L.LayerNormalization, (3, 4, 2), ((1, 2, 3),)),
    Case(L.LayerNormalization, (3, 4, 2), ((1, -1),), {"scale": False}),
    Case(L.LocalResponseNormalization, (7, 3, 2), (3, 0.1)),
    Case(L.LocalResponseNormalization, (6,), (4, 0.2, 0.5, 1.0)),
    Case(L.LocalResponseNormalization, (6, 3), (5, 0.1)),
    Case(L.Normalization, (3, 4, 5), ("zscore",), {"per": "channel"}, prepare=lambda layer, x: layer.adapt(x * 3 + 5)),
    Case(L.Normalization, (4,), ("rescale-symmetric",), prepare=lambda layer, x: layer.adapt(x)),
    Case(L.RMSNormalization, (4, 3)),
    Case(L.RMSNormalization, (3, 4, 2), ((1, 2), 1e-3)),
    Case(L.Rescaling, (3, 4, 2), (0.5,), {"offset": -1}),
    Case(L.Rescaling, (3, 4, 2), ((0.5, 2.0, 0.5),), {"offset": (0.1, 0.1, 0.2)}),
    Case(L.UnitNormalization, (4, 3)),
    Case(L.UnitNormalization, (3, 4, 2), ((1, 3),)),
]
