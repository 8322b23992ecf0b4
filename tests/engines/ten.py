"""Ten networks and three ways to train them, which every engine is to take like the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.callbacks import ReduceLROnPlateau
from laminar.optimizers import SGD, SGDM, Adam
from laminar.schedules import CosineDecay
from laminar.seeding import seed_all

IMAGES, BATCH, STEPS = 80, 16, 50


class Swish(L.Layer):
    """A layer of a user's, with a derivative of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.sigmoid()

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        s = x.sigmoid()
        return dz * (s + z * (1 - s))


def learnable() -> L.Layer:
    return L.ELU("uniform", learnable=True)


def chain(*layers: nn.Module) -> lm.Sequential:
    return lm.Sequential([*layers, L.Flatten(), L.Dense(4, activation="softmax")])


def block(filters: int) -> L.Residual:
    return L.Residual(
        [
            L.Conv2D(filters, 3, padding="same", use_bias=False),
            L.BatchNormalization(),
            L.ReLU(),
            L.Conv2D(filters, 3, padding="same", use_bias=False),
            L.BatchNormalization(),
        ],
        activation="relu",
    )


def branches() -> lm.Model:
    x = lm.Input((1, 20, 20))
    stem = L.BatchNormalization()(L.Conv2D(6, 5)(x))
    both = L.Concatenate(axis=1)([learnable()(stem), L.ReLU()(stem)])
    return lm.Model(x, L.Dense(4, activation="softmax")(L.Flatten()(both)))


NETWORKS: dict[str, Callable[[], lm.Model]] = {
    "digits": lambda: chain(L.Normalization("zerocenter"), L.Conv2D(6, 5), L.BatchNormalization(), learnable()),
    "without normalization": lambda: chain(L.Conv2D(6, 5), learnable()),
    "alpha fixed, and negative": lambda: chain(L.Conv2D(6, 5), L.BatchNormalization(), L.ELU(-0.3)),
    "padded, relu, pooled": lambda: chain(
        L.Conv2D(7, 3, padding="same", activation="relu"), L.MaxPooling2D(2), L.Conv2D(5, 3), L.BatchNormalization(), nn.ReLU()
    ),
    "dropout": lambda: chain(L.Conv2D(6, 5), L.BatchNormalization(), L.ReLU(), L.Dropout(0.3)),
    "augmented": lambda: chain(L.RandomTranslation(0.1, 0.1), L.GaussianNoise(0.1), L.Conv2D(6, 4), L.BatchNormalization()),
    "residual": lambda: chain(L.Conv2D(6, 3), L.BatchNormalization(), L.ReLU(), block(6), block(6)),
    "branches": branches,
    "a frozen normalization, a layer of one's own": lambda: chain(
        L.Conv2D(6, 5), frozen(L.BatchNormalization()), learnable(), Swish(), L.BatchNormalization(scale=False), L.ReLU()
    ),
    "channels last": lambda: chain(
        L.Conv2D(16, 3, activation="relu"),
        L.Conv2D(32, 3),
        nn.ReLU(),
        L.MaxPooling2D(2),
        L.Dropout(0.25),
        L.Conv2D(32, 3, padding="same", use_bias=False),
        L.BatchNormalization(),
        learnable(),
        L.SpatialDropout2D(0.1),
        Swish(),
        L.Conv2D(32, 3, strides=2),
        L.GaussianNoise(0.1),
    ),
    "channels last, residual": lambda: chain(
        L.Conv2D(32, 3), L.MaxPooling2D(3), L.BatchNormalization(), L.ReLU(), block(32), block(32)
    ),
    "torch's own": lambda: chain(nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), L.BatchNormalization(center=False), nn.ReLU()),
}


FEW = ("dropout", "torch's own")  # what is looked at where each training takes seconds


def frozen(layer: L.Layer) -> L.Layer:
    layer.trainable = False
    return layer


SETTINGS: dict[str, dict[str, Any]] = {
    "sgdm": {"optimizer": lambda: SGDM(0.02, weight_decay=1e-3)},
    "adam, schedule, clipped, averaged": {
        "optimizer": lambda: Adam(CosineDecay(1e-3, STEPS), clipnorm=1.0, use_ema=True, ema_momentum=0.9)
    },
    "plateau, weights, validation": {
        "optimizer": lambda: SGD(0.02, momentum=0.9, nesterov=True),
        "callbacks": lambda: [ReduceLROnPlateau(monitor="val_loss", patience=1, factor=0.5)],
        "class_weight": {0: 1.0, 1: 2.0, 2: 0.5, 3: 1.0},
        "validation_split": 0.2,
    },
}


def trained(
    network: str, setting: str, engine: Any, dtype: torch.dtype, images: int = IMAGES, device: str = "cpu", **how: Any
) -> tuple[lm.Model, dict[str, list[float]]]:
    torch.set_default_dtype(dtype)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(images, 1, 20, 20, generator=generator, dtype=torch.float64).to(dtype)
    y = torch.randint(4, (images,), generator=generator)
    given = dict(SETTINGS[setting])
    optimizer, callbacks = given.pop("optimizer")(), given.pop("callbacks", list)()
    seed_all(0)  # torch's own modules draw their weights when they are made
    model = NETWORKS[network]()
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"], device=device, engine=engine, **how)
    epochs = STEPS * BATCH // IMAGES
    history = model.fit(x, y, epochs=epochs, batch_size=BATCH, callbacks=callbacks, seed=3, verbose=0, **given)
    return model, {**history.iterations, **{f"epoch {k}": v for k, v in history.history.items()}}
