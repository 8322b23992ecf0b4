"""The parts that the kernels are compiled in: a network waits for those that it needs."""

from __future__ import annotations

from enum import Enum

__all__ = ["Part"]


class Part(Enum):
    """What one library holds: units of source/kernels.c."""

    CONTIGUOUS = (1, 2, 3)
    """Activations, normalizations, convolutions of few channels and dense layers, of tensors as torch lays them out."""

    LAST = (4, 5, 6)
    """Convolutions, normalizations and pooling of channels-last images."""

    DROPOUT = (7,)
    LSTM = (8,)
    PERCEPTRON = (9,)
