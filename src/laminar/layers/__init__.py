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
from laminar.layers.attention import MultiHeadAttention
from laminar.layers.augment import RandomCrop, RandomFlip
from laminar.layers.base import Layer
from laminar.layers.batchnorm import BatchNormalization
from laminar.layers.conv import Conv1D, Conv2D, Conv3D
from laminar.layers.core import Dense, Flatten, Reshape
from laminar.layers.embedding import Embedding
from laminar.layers.factors import learning_rate_factors, set_learning_rate_factor
from laminar.layers.global_pool import (
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
)
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
from laminar.layers.norm import (
    LayerNormalization,
    LocalResponseNormalization,
    RMSNormalization,
    UnitNormalization,
)
from laminar.layers.pool import AveragePooling1D, AveragePooling2D, AveragePooling3D, MaxPooling1D, MaxPooling2D, MaxPooling3D
from laminar.layers.prelu import PReLU
from laminar.layers.preprocessing import Normalization, Rescaling
from laminar.layers.recurrent import GRU, LSTM, SimpleRNN
from laminar.layers.residual import Residual
from laminar.layers.separable import DepthwiseConv2D, SeparableConv2D
from laminar.layers.spatial import (
    Cropping1D,
    Cropping2D,
    Cropping3D,
    Permute,
    UpSampling1D,
    UpSampling2D,
    UpSampling3D,
    ZeroPadding1D,
    ZeroPadding2D,
    ZeroPadding3D,
)
from laminar.layers.transpose import Conv2DTranspose
from laminar.layers.values import Cutout, RandomBrightness, RandomContrast, RandomErasing
from laminar.layers.warp import RandomRotation, RandomTranslation, RandomZoom
from laminar.layers.wrappers import Bidirectional, TimeDistributed

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "SELU",
    "Activation",
    "Add",
    "AlphaDropout",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "Cutout",
    "Dense",
    "DepthwiseConv2D",
    "Dot",
    "Dropout",
    "Embedding",
    "Exponential",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "GroupNormalization",
    "HardSigmoid",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "LocalResponseNormalization",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "Maximum",
    "Maxout",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "Normalization",
    "PReLU",
    "Permute",
    "RMSNormalization",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomErasing",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Residual",
    "SeparableConv2D",
    "SiLU",
    "Sigmoid",
    "SimpleRNN",
    "Softmax",
    "Softplus",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "Subtract",
    "Tanh",
    "TimeDistributed",
    "UnitNormalization",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
    "learning_rate_factors",
    "set_learning_rate_factor",
]
