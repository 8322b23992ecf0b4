"""Padding, cropping, enlarging, and axes in another order."""

from cases.case import Case
from laminar import layers as L

CASES = [
    Case(L.ZeroPadding1D, (3, 4), ((1, 2),)),
    Case(L.ZeroPadding2D, (3, 4, 5)),
    Case(L.ZeroPadding2D, (3, 4, 5), (((1, 0), (2, 3)),)),
    Case(L.ZeroPadding3D, (2, 3, 4, 2), ((0, 1, 2),)),
    Case(L.Cropping1D, (3, 4), ((2, 1),)),
    Case(L.Cropping2D, (3, 4, 5)),
    Case(L.Cropping2D, (3, 4, 5), ((1, (0, 3)),)),
    Case(L.Cropping3D, (2, 3, 4, 3)),
    Case(L.UpSampling1D, (3, 4), (3,)),
    Case(L.UpSampling2D, (3, 2, 3), ((2, 3),)),
    Case(L.UpSampling2D, (3, 2, 3), (2, "bilinear"), alone=False),
    Case(L.UpSampling3D, (2, 2, 3, 2), ((1, 2, 3),)),
    Case(L.Permute, (3, 4, 2), ((3, 1, 2),), alone=False),
]
