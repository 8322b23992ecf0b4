"""Layers, a family a file. Every one is a `torch.nn.Module`; shapes are channels first, without the batch axis."""

from laminar.layers.activation import ELU, Activation, ReLU, Softmax
from laminar.layers.base import Layer
from laminar.layers.conv import Conv2D
from laminar.layers.core import Dense, Dropout, Flatten, Reshape
from laminar.layers.norm import BatchNormalization, Normalization
from laminar.layers.pool import MaxPooling2D

__all__ = [
    "ELU",
    "Activation",
    "BatchNormalization",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "MaxPooling2D",
    "Normalization",
    "ReLU",
    "Reshape",
    "Softmax",
]
