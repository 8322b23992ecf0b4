"""Layers, a family a file. Every one is a `torch.nn.Module`; shapes are channels first, without the batch axis."""

from laminar.layers.activation import (
    ELU,
    GELU,
    SELU,
    Activation,
    Exponential,
    HardSigmoid,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from laminar.layers.base import Layer
from laminar.layers.batchnorm import BatchNormalization
from laminar.layers.conv import Conv2D
from laminar.layers.core import Dense, Flatten, Reshape
from laminar.layers.factors import learning_rate_factors, set_learning_rate_factor
from laminar.layers.groupnorm import GroupNormalization
from laminar.layers.maxout import Maxout
from laminar.layers.merge import Add, Average, Concatenate, Dot, Maximum, Minimum, Multiply, Subtract
from laminar.layers.noise import (
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from laminar.layers.norm import LayerNormalization, LocalResponseNormalization, RMSNormalization, UnitNormalization
from laminar.layers.pool import MaxPooling2D
from laminar.layers.prelu import PReLU
from laminar.layers.preprocessing import Normalization, Rescaling

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "Add",
    "AlphaDropout",
    "Average",
    "BatchNormalization",
    "Concatenate",
    "Conv2D",
    "Dense",
    "Dot",
    "Dropout",
    "Exponential",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GroupNormalization",
    "HardSigmoid",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "LocalResponseNormalization",
    "MaxPooling2D",
    "Maximum",
    "Maxout",
    "Minimum",
    "Multiply",
    "Normalization",
    "PReLU",
    "RMSNormalization",
    "ReLU",
    "Rescaling",
    "Reshape",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "Subtract",
    "Tanh",
    "UnitNormalization",
    "learning_rate_factors",
    "set_learning_rate_factor",
]
