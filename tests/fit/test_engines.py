"""Fifty steps of ten networks: engine "auto" walks the way of "eager", whatever else happens in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.callbacks import ReduceLROnPlateau
from laminar.kernels.library import library, reason_without
from laminar.layers import batchnorm
from laminar.optimizers import SGD, SGDM, Adam
from laminar.schedules import CosineDecay
from laminar.seeding import seed_all

pytestmark = pytest.mark.skipif(library(torch.float32) is None, reason=f"no kernels here: {reason_without()}")

IMAGES, BATCH, STEPS = 80, 16, 50


@pytest.fixture(autouse=True)
def small_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernels be used on images that are cheap to test with."""
    monkeypatch.setattr(batchnorm, "_LEAST", 1)


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


def trained(network: str, setting: str, engine: Any, dtype: torch.dtype, **how: Any) -> tuple[lm.Model, dict[str, list[float]]]:
    torch.set_default_dtype(dtype)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(IMAGES, 1, 20, 20, generator=generator, dtype=torch.float64).to(dtype)
    y = torch.randint(4, (IMAGES,), generator=generator)
    given = dict(SETTINGS[setting])
    optimizer, callbacks = given.pop("optimizer")(), given.pop("callbacks", list)()
    seed_all(0)  # torch's own modules draw their weights when they are made
    model = NETWORKS[network]()
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"], engine=engine, **how)
    epochs = STEPS * BATCH // IMAGES
    history = model.fit(x, y, epochs=epochs, batch_size=BATCH, callbacks=callbacks, seed=3, verbose=0, **given)
    return model, {**history.iterations, **{f"epoch {k}": v for k, v in history.history.items()}}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("network", NETWORKS)
def test_fifty_steps_in_double_precision(network: str, setting: str) -> None:
    (own, figures), (eager, expected) = (trained(network, setting, e, torch.float64) for e in ("auto", "eager"))
    assert figures.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(figures[name], values, rtol=1e-7, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    for name, value in eager.state_dict().items():
        torch.testing.assert_close(own.state_dict()[name], value, rtol=1e-6, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("network", NETWORKS)
def test_fifty_steps_in_single_precision(network: str) -> None:
    """Rounding grows from step to step as training amplifies it: to a ten-thousandth of the loss, here."""
    (_, figures), (_, expected) = (
        trained(network, "adam, schedule, clipped, averaged", e, torch.float32) for e in ("auto", "eager")
    )
    torch.testing.assert_close(figures["loss"], expected["loss"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", [pytest.param(n, marks=() if n in FEW else pytest.mark.slow) for n in NETWORKS])
def test_fifty_steps_in_bfloat16(network: str) -> None:
    """Eight bits of a number: the loss stays within two hundredths of float32's."""
    setting = "adam, schedule, clipped, averaged"
    (_, figures), (_, expected) = (
        trained(network, setting, "eager", torch.float32, precision=p) for p in ("bfloat16", "float32")
    )
    assert figures["loss"] != expected["loss"]
    torch.testing.assert_close(figures["loss"], expected["loss"], rtol=0, atol=0.02)


def test_the_same_seed_gives_the_same_bits_again() -> None:
    (_, figures), (_, again) = (trained("digits", "sgdm", "auto", torch.float32) for _ in range(2))
    assert figures == again
