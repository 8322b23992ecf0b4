"""The networks as one writes them in Laminar."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

import laminar as lm
from laminar import layers as L
from laminar import optimizers

__all__ = ["build", "optimizer"]


class OptionA(lm.Layer):
    """The shortcut without parameters: every second position, and channels of zeros.

    Args:
        added: channels.
    """

    def __init__(self, added: int) -> None:
        super().__init__()
        self.added = added

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.added))


def _conv(filters: int, size: int = 3, strides: int = 1) -> list[lm.Layer]:
    """Return a convolution and its normalization, padded by size // 2 on every side as in PyTorch."""
    return [L.Conv2D(filters, size, strides=strides, padding=size // 2, use_bias=False), L.BatchNormalization()]


def _digits() -> lm.Sequential:
    return lm.Sequential([L.Conv2D(20, 5), L.BatchNormalization(), L.ELU("uniform", learnable=True), L.Flatten(), L.Dense(10)])


def _mlp() -> lm.Sequential:
    hidden = [L.Dense(20, "relu"), L.BatchNormalization(), L.Dense(15, "relu"), L.BatchNormalization()]
    return lm.Sequential([*hidden, L.Dense(10)])


def _mnist() -> lm.Sequential:
    features = [L.Conv2D(32, 3, activation="relu"), L.Conv2D(32, 3, activation="relu"), L.MaxPooling2D(2), L.Dropout(0.25)]
    return lm.Sequential([*features, L.Flatten(), L.Dense(128, "relu"), L.Dropout(0.5), L.Dense(10)])


def _resnet20() -> lm.Sequential:
    layers = [*_conv(16), L.ReLU()]
    inputs = 16
    for filters in (16, 32, 64):
        for i in range(3):
            strides = 2 if i == 0 and filters > 16 else 1
            main = [*_conv(filters, 3, strides), L.ReLU(), *_conv(filters)]
            around = OptionA(filters - inputs) if filters > inputs else None
            layers.append(L.Residual(main, around, activation="relu"))
            inputs = filters
    return lm.Sequential([*layers, L.GlobalAveragePooling2D(), L.Dense(10)])


def _lstm() -> lm.Sequential:
    return lm.Sequential([L.LSTM(64), L.Dense(1)])


def _vgg() -> lm.Sequential:
    layers: list[lm.Layer] = []
    for filters in (64, 128, 256):
        layers += [*_conv(filters), L.ReLU(), *_conv(filters), L.ReLU(), L.MaxPooling2D(2)]
    return lm.Sequential([*layers, L.Flatten(), L.Dense(256, "relu"), L.Dropout(0.5), L.Dense(10)])


def _resnet50() -> lm.Sequential:
    layers = [*_conv(64, 7, 2), L.ReLU(), L.MaxPooling2D(3, strides=2, padding=1)]
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for i in range(blocks):
            strides = 2 if i == 0 and width > 64 else 1
            main = [*_conv(width, 1), L.ReLU(), *_conv(width, 3, strides), L.ReLU(), *_conv(4 * width, 1)]
            layers.append(L.Residual(main, _conv(4 * width, 1, strides) if i == 0 else None, activation="relu"))
    return lm.Sequential([*layers, L.GlobalAveragePooling2D(), L.Dense(1000)])


_BUILDERS = {
    "digits": _digits,
    "mlp": _mlp,
    "mnist": _mnist,
    "resnet20": _resnet20,
    "lstm": _lstm,
    "vgg": _vgg,
    "resnet50": _resnet50,
}


def build(name: str) -> lm.Sequential:
    """Return a network with Laminar's own initial values: Glorot's, biases of zero."""
    return _BUILDERS[name]()


def optimizer(name: str, rate: float) -> optimizers.Optimizer:
    """Return Laminar's optimizer."""
    kinds = {"sgd": optimizers.SGD, "sgdm": optimizers.SGDM, "adadelta": optimizers.Adadelta, "adam": optimizers.Adam}
    return kinds[name](rate)
