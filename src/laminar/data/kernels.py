"""The classic image kernels: 3×3 windows that find edges, sharpen, blur, emboss or outline."""

from __future__ import annotations

from torch import Tensor, float32, tensor

from laminar.names import Registry

__all__ = ["image_kernels"]

_SIXTEENTHS = ((1, 2, 1), (2, 4, 2), (1, 2, 1))

image_kernels: Registry[Tensor] = Registry(
    "image kernel",
    {
        name: tensor(rows, dtype=float32) / scale
        for name, scale, rows in (
            ("identity", 1, ((0, 0, 0), (0, 1, 0), (0, 0, 0))),
            ("top sobel", 1, ((1, 2, 1), (0, 0, 0), (-1, -2, -1))),
            ("bottom sobel", 1, ((-1, -2, -1), (0, 0, 0), (1, 2, 1))),
            ("left sobel", 1, ((1, 0, -1), (2, 0, -2), (1, 0, -1))),
            ("right sobel", 1, ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))),
            ("sharpen", 1, ((0, -1, 0), (-1, 5, -1), (0, -1, 0))),
            ("blur", 16, _SIXTEENTHS),
            ("emboss", 1, ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))),
            ("outline", 1, ((-1, -1, -1), (-1, 8, -1), (-1, -1, -1))),
        )
    },
)
"""Name -> kernel (3, 3), rows from top to bottom, applied as a convolution layer applies its own: by correlation, no flip.

Source: row R17 of the mission; Sobel and Feldman 1968 for the edges; the collection "Image Kernels" of Setosa for the names.

>>> image_kernels["right sobel"].sum(1).tolist(), float(image_kernels["blur"].sum())
([0.0, 0.0, 0.0], 1.0)
"""
