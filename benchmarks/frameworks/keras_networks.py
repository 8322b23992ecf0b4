"""The networks as one writes them in Keras 3, on any backend and with channels first or last."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from frameworks.networks import Network

__all__ = ["build", "optimizer"]


class ELU(layers.Layer):
    """ELU with a learnable alpha for each channel."""

    def build(self, shape: Any) -> None:
        first = keras.config.image_data_format() == "channels_first"
        channels = shape[1] if first else shape[-1]
        self.alpha = self.add_weight(
            shape=(channels, 1, 1) if first else (channels,), initializer=keras.initializers.RandomUniform(0, 1)
        )

    def call(self, x: Any) -> Any:
        return ops.where(x > 0, x, self.alpha * ops.elu(x))


class OptionA(layers.Layer):
    """The shortcut without parameters: every second position, and channels of zeros."""

    def __init__(self, added: int) -> None:
        super().__init__()
        self.added = added

    def call(self, x: Any) -> Any:
        if keras.config.image_data_format() == "channels_first":
            return ops.pad(x[:, :, ::2, ::2], [[0, 0], [0, self.added], [0, 0], [0, 0]])
        return ops.pad(x[:, ::2, ::2, :], [[0, 0], [0, 0], [0, 0], [0, self.added]])


def _decay(network: Network) -> Any:
    """Return what "sgdm" asks for, whose gradient is 1e-4·w."""
    return keras.regularizers.L2(0.5e-4) if network.optimizer == "sgdm" else None


def _conv(network: Network, filters: int, size: int, strides: int = 1, **options: Any) -> layers.Layer:
    settings = {"padding": "same", "use_bias": False, **options}
    return layers.Conv2D(filters, size, strides, kernel_regularizer=_decay(network), **settings)


def _dense(network: Network, units: int, activation: str | None = None) -> layers.Layer:
    return layers.Dense(units, activation, kernel_regularizer=_decay(network))


def _norm() -> layers.Layer:
    """Return a batch normalization with the momentum and epsilon of the others."""
    axis = 1 if keras.config.image_data_format() == "channels_first" else -1
    return layers.BatchNormalization(axis=axis, momentum=0.9, epsilon=1e-5)


def _digits(network: Network) -> keras.Model:
    conv = _conv(network, 20, 5, padding="valid", use_bias=True)
    return keras.Sequential([conv, _norm(), ELU(), layers.Flatten(), _dense(network, 10)])


def _mlp(network: Network) -> keras.Model:
    norms = [layers.BatchNormalization(momentum=0.9, epsilon=1e-5) for _ in range(2)]
    return keras.Sequential([_dense(network, 20, "relu"), norms[0], _dense(network, 15, "relu"), norms[1], _dense(network, 10)])


def _mnist(network: Network) -> keras.Model:
    options = {"padding": "valid", "use_bias": True, "activation": "relu"}
    features = [
        _conv(network, 32, 3, **options),
        _conv(network, 32, 3, **options),
        layers.MaxPooling2D(2),
        layers.Dropout(0.25),
    ]
    return keras.Sequential(
        [*features, layers.Flatten(), _dense(network, 128, "relu"), layers.Dropout(0.5), _dense(network, 10)]
    )


def _same(size: int, x: Any) -> Any:
    """Pad as PyTorch does with padding=size // 2; Keras' "same" pads unevenly where there are strides."""
    return layers.ZeroPadding2D(size // 2)(x)


def _block(network: Network, x: Any, inputs: int, filters: int, strides: int) -> Any:
    if strides == 1:
        z = _conv(network, filters, 3)(x)
    else:
        z = _conv(network, filters, 3, strides, padding="valid")(_same(3, x))
    z = layers.ReLU()(_norm()(z))
    z = _norm()(_conv(network, filters, 3)(z))
    return layers.ReLU()(layers.Add()([z, x if filters == inputs else OptionA(filters - inputs)(x)]))


def _resnet20(network: Network) -> keras.Model:
    inputs = keras.Input(shape(network))
    x = layers.ReLU()(_norm()(_conv(network, 16, 3)(inputs)))
    before = 16
    for filters in (16, 32, 64):
        for i in range(3):
            x = _block(network, x, before, filters, 2 if i == 0 and filters > 16 else 1)
            before = filters
    return keras.Model(inputs, _dense(network, 10)(layers.GlobalAveragePooling2D()(x)))


def _lstm(network: Network) -> keras.Model:
    return keras.Sequential([layers.LSTM(64), layers.Dense(1)])


def _vgg(network: Network) -> keras.Model:
    parts: list[layers.Layer] = []
    for filters in (64, 128, 256):
        for _ in range(2):
            parts += [_conv(network, filters, 3), _norm(), layers.ReLU()]
        parts.append(layers.MaxPooling2D(2))
    return keras.Sequential([*parts, layers.Flatten(), _dense(network, 256, "relu"), layers.Dropout(0.5), _dense(network, 10)])


def _resnet50(network: Network) -> keras.Model:
    inputs = keras.Input(shape(network))
    x = layers.ReLU()(_norm()(_conv(network, 64, 7, 2, padding="valid")(_same(7, inputs))))
    x = layers.MaxPooling2D(3, 2)(_same(3, x))  # zeros do not change the maximum of what a ReLU returns
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for i in range(blocks):
            strides = 2 if i == 0 and width > 64 else 1
            z = layers.ReLU()(_norm()(_conv(network, width, 1)(x)))
            z = _conv(network, width, 3)(z) if strides == 1 else _conv(network, width, 3, 2, padding="valid")(_same(3, z))
            z = _norm()(_conv(network, 4 * width, 1)(layers.ReLU()(_norm()(z))))
            x = layers.ReLU()(layers.Add()([z, _norm()(_conv(network, 4 * width, 1, strides)(x)) if i == 0 else x]))
    return keras.Model(inputs, _dense(network, 1000)(layers.GlobalAveragePooling2D()(x)))


_BUILDERS = {
    "digits": _digits,
    "mlp": _mlp,
    "mnist": _mnist,
    "resnet20": _resnet20,
    "lstm": _lstm,
    "vgg": _vgg,
    "resnet50": _resnet50,
}


def shape(network: Network) -> tuple[int, ...]:
    """Return the shape of an observation in the format that Keras is set to."""
    if len(network.shape) == 3 and keras.config.image_data_format() == "channels_last":
        return (*network.shape[1:], network.shape[0])
    return network.shape


def build(network: Network) -> keras.Model:
    """Return a network with Keras' own initial values: Glorot's, biases of zero."""
    model = _BUILDERS[network.name](network)
    if not model.built:
        model.build((None, *shape(network)))
    return model


def optimizer(name: str, rate: float) -> keras.Optimizer:
    """Return Keras' optimizer."""
    if name == "adadelta":
        return keras.optimizers.Adadelta(rate, rho=0.95, epsilon=1e-7)
    if name == "adam":
        return keras.optimizers.Adam(rate, epsilon=1e-7)
    return keras.optimizers.SGD(rate, momentum=0.9 if name == "sgdm" else 0.0)
