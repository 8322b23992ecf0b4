"""Pooling."""

from cases.case import Case
from laminar import layers as L

CASES = [
    Case(L.MaxPooling1D, (3, 7), (3, 2, "same")),
    Case(L.MaxPooling2D, (3, 5, 6)),
    Case(L.MaxPooling2D, (3, 5, 6), (3,), {"strides": 2, "padding": "same"}),
    Case(L.MaxPooling3D, (2, 3, 4, 5), (2, 1, (1, 0, 1))),
    Case(L.AveragePooling1D, (3, 7), (2, 1, "same")),
    Case(L.AveragePooling2D, (3, 5, 6)),
    Case(L.AveragePooling2D, (2, 5, 6), ((2, 3), 2, "same")),
    Case(L.AveragePooling2D, (2, 5, 6), (3, 2, 1), {"count_include_pad": False}),
    Case(L.AveragePooling3D, (2, 3, 4, 5), (2, 2, "same")),
    Case(L.GlobalAveragePooling1D, (3, 7)),
    Case(L.GlobalAveragePooling2D, (3, 5, 6)),
    Case(L.GlobalAveragePooling3D, (3, 2, 3, 2), (True,)),
    Case(L.GlobalMaxPooling1D, (3, 7), (True,)),
    Case(L.GlobalMaxPooling2D, (3, 5, 6)),
    Case(L.GlobalMaxPooling3D, (3, 2, 3, 2)),
]
