"""Layers, a family a file. Every one is a `torch.nn.Module`; shapes are channels first, without the batch axis."""

from laminar.layers.activation import ELU, Activation, ReLU, Softmax
from laminar.layers.base import Layer
from laminar.layers.conv import Conv2D
from laminar.layers.core import Dense, Flatten, Reshape
from laminar.layers.noise import (
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from laminar.layers.norm import BatchNormalization, Normalization
from laminar.layers.pool import MaxPooling2D

__all__ = [
    "ELU",
    "Activation",
    "AlphaDropout",
    "BatchNormalization",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "Layer",
    "MaxPooling2D",
    "Normalization",
    "ReLU",
    "Reshape",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
]
