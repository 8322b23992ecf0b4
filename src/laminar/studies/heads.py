"""R25: what stands between the last convolution of a residual network and its answer? Six heads on one network, on CIFAR-10.

The question is that of a reader whose network of ten convolutions ended in 93 % with global average pooling, and in 85 %,
75 %, 25 % and 12 % with what he tried in its place. His heads are taken over: the maximum of four parts, the exponential
moving average over positions, the convolution with one kernel; beside them the dense layer on everything, and global maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from laminar import layers as L
from laminar.data import cifar10
from laminar.errors import ShapeError, complaint
from laminar.layers.base import Layer
from laminar.optimizers import SGDM
from laminar.schedules import CosineDecay
from laminar.sequential import Sequential
from laminar.shapes import Shape
from laminar.studies.drawn import part_by_seed

__all__ = ["HEADS", "MovingAverage", "SplitMaximum", "comparison", "network"]


class SplitMaximum(Layer):
    """The maximum of each channel in each of `parts` bands of rows: (B, C, H, W) becomes (B, C * parts).

    Args:
        parts: bands, which the height is cut into.
    """

    def __init__(self, parts: int = 4) -> None:
        super().__init__()
        self.parts = parts

    def check_input(self, shape: Shape) -> None:
        """Refuse a height that cannot be cut into bands of one size.

        Raises:
            ShapeError: saying so.
        """
        if len(shape) != 3 or shape[1] % self.parts:
            expected = f"input (channels, height, width) whose height is a multiple of {self.parts}"
            fix = "Choose parts that divide the height"
            raise ShapeError(complaint(self.label, expected=expected, received=str(shape), fix=fix))

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima, (B, C * parts), from x of shape (B, C, H, W)."""
        bands: Tensor = x.unflatten(2, (self.parts, -1))  # (B, C, parts, H / parts, W)
        return bands.amax((3, 4)).flatten(1)


class MovingAverage(Layer):
    """The exponential moving average over the positions, row by row: a ← β x + (1 − β) a; (B, C, H, W) becomes (B, C).

    Args:
        beta: weight of the newest position; with 0.5 the last four positions have 94 % of the weight.
    """

    def __init__(self, beta: float = 0.5) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        """Return the last average, (B, C), from x of shape (B, C, H, W)."""
        positions = x.flatten(2)  # (B, C, H * W)
        n = positions.shape[2]
        ages = torch.arange(n - 1, -1, -1, device=x.device, dtype=x.dtype)
        weights = self.beta * (1 - self.beta) ** ages
        weights = torch.cat([(weights[:1] / self.beta), weights[1:]])  # the first position is what the average begins with
        return positions @ weights


_EPOCHS, _BATCH = 2, 128
_SAMPLE = 200 * _BATCH

HEADS: Mapping[str, Callable[[], list[Layer]]] = {
    "global average": lambda: [L.GlobalAveragePooling2D()],
    "global maximum": lambda: [L.GlobalMaxPooling2D()],
    "dense on everything": lambda: [L.Flatten()],
    "maximum of four parts": lambda: [SplitMaximum()],
    "moving average": lambda: [MovingAverage()],
    "convolution with one kernel": lambda: [L.Conv2D(1, 3, strides=2, padding="same"), L.Flatten()],
}
"""What each head has before the dense layer of ten."""


def network(head: str) -> Sequential:
    """Return a residual network of ten convolutions with one of the `HEADS`, compiled.

    A convolution of stride 2, two blocks of 16 filters on maps of 16, two of 32 filters on maps of 8. The learning rate falls
    to zero: at a constant one, what a run ends with depends on its last steps, and the seeds differ by four points.

    >>> network("global average").build((3, 32, 32), seed=0).output_shape
    (10,)
    """
    model = Sequential(
        [
            *_convolution(16, 2),
            L.ReLU(),
            _block(16),
            _block(16),
            _block(32, 2),
            _block(32),
            *HEADS[head](),
            L.Dense(10, activation="softmax"),
        ]
    )
    rate = CosineDecay(0.05, _EPOCHS * _SAMPLE // _BATCH)
    model.compile(SGDM(rate, weight_decay=5e-4), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def comparison() -> dict[str, Any]:
    """Return the arguments of `lm.compare`: five heads against global average pooling, two epochs on half of the images.

    Every pair draws its own 25,600 of the 50,000 training images, so that the data vary from run to run, too.

    Raises:
        FileError: if the data are neither there nor to be had.
    """
    (x, y), test = cifar10()

    return {
        "variants": {name: _builder(name) for name in HEADS},
        "train": part_by_seed(x, y, _SAMPLE),
        "test": test,
        "metric": "accuracy",
        "margin": 0.01,
        "seeds": 10,
        "epochs": _EPOCHS,
        "batch_size": _BATCH,
        "drop_last": True,
    }


def _builder(head: str) -> Callable[[], Sequential]:
    return lambda: network(head)


def _block(filters: int, strides: int = 1) -> L.Residual:
    main = [*_convolution(filters, strides), L.ReLU(), *_convolution(filters)]
    return L.Residual(main, _convolution(filters, strides, 1) if strides > 1 else None, activation="relu")


def _convolution(filters: int, strides: int = 1, kernel: int = 3) -> list[Layer]:
    return [L.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False), L.BatchNormalization()]
