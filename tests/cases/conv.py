"""Convolutions."""

from cases.case import Case
from laminar import layers as L

STRIDED = {"strides": 2, "padding": "same", "dilation_rate": 2, "groups": 2, "use_bias": False}

CASES = [
    Case(L.Conv1D, (2, 9), (3, 4), {"strides": 2, "padding": "same"}, draws=True),
    Case(L.Conv1D, (4, 6), (2, 3), {"padding": 2, "dilation_rate": 2, "groups": 2, "activation": "tanh"}, draws=True),
    Case(L.Conv2D, (2, 5, 6), (3, 3), {"activation": "tanh"}, draws=True),
    Case(L.Conv2D, (4, 5, 4), (2, (3, 2)), STRIDED, draws=True),
    Case(L.Conv2D, (1, 4, 4), (1, 2), {"padding": (1, 0), "activation": "softmax"}, draws=True, alone=False),
    Case(L.Conv3D, (2, 3, 4, 3), (3, 2), {"padding": "same"}, draws=True),
    Case(L.Conv3D, (2, 2, 3, 4), (2, (1, 2, 3)), {"strides": (1, 2, 1), "padding": (0, 1, 1), "groups": 2}, draws=True),
    Case(L.DepthwiseConv2D, (3, 5, 4), (3,), {"padding": "same", "strides": 2}, draws=True),
    Case(L.DepthwiseConv2D, (2, 4, 4), ((2, 3),), {"depth_multiplier": 2, "use_bias": False, "activation": "tanh"}, draws=True),
    Case(L.SeparableConv2D, (3, 5, 4), (2, 3), {"padding": 1, "depth_multiplier": 2}, draws=True),
    Case(L.SeparableConv2D, (2, 4, 5), (3, 2), {"padding": "same", "dilation_rate": 2, "use_bias": False}, draws=True),
    Case(L.Conv2DTranspose, (3, 3, 4), (2, 3), {"strides": 2, "padding": "same", "activation": "tanh"}, draws=True),
    Case(L.Conv2DTranspose, (2, 3, 2), (3, (2, 1)), {"strides": (1, 3), "dilation_rate": (2, 1)}, draws=True),
    Case(
        L.Conv2DTranspose,
        (2, 3, 3),
        (1, 3),
        {"strides": 3, "padding": 1, "output_padding": (2, 0), "use_bias": False},
        draws=True,
    ),
    Case(L.Conv2DTranspose, (1, 3, 3), (2, 3), {"strides": 2, "padding": "same", "output_padding": 1}, draws=True),
]
