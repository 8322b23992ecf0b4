"""R5: does batch normalization matter beside ELU, and does it matter whether alpha learns? Four networks on synthetic digits.

Conv 5x5x20, [batch normalization], ELU, Dense 10, softmax; SGD with momentum 0.9, rate 0.01, L2 1e-4 on the weights; 30
epochs of 39 steps of 128 observations, the last partial batch dropped, the data shuffled once. The documents behind the mission
train three of the networks, once each, and change two things between the first and the last; the fourth, with batch
normalization and a fixed alpha, separates them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from laminar import layers as L
from laminar.data import digits
from laminar.layers.base import Layer
from laminar.optimizers import SGDM
from laminar.sequential import Sequential

__all__ = ["CONTRASTS", "FIT", "PUBLISHED", "VARIANTS", "comparison", "network"]

PUBLISHED: Mapping[str, str] = {"with BN": "0.9878, 0.9872", "without BN": "0.9808", "without BN, alpha fixed": "0.9702"}
"""Test accuracies of single runs in the documents behind the mission, on MATLAB's digits, which are not ours."""

FIT: Mapping[str, Any] = {"epochs": 30, "batch_size": 128, "shuffle": "once", "drop_last": True}
"""How `Model.fit` is called."""


def network(elu: Layer, *, batch_norm: bool) -> Sequential:
    """Return the R5 network around the given activation, compiled.

    >>> [layer.name for layer in network(L.ELU(), batch_norm=False)]
    ['normalization', 'conv2d', 'elu', 'flatten', 'dense', 'softmax']
    """
    normalization: list[Layer] = [L.BatchNormalization()] if batch_norm else []
    model = Sequential(
        [L.Normalization("zerocenter"), L.Conv2D(20, 5), *normalization, elu, L.Flatten(), L.Dense(10), L.Softmax()]
    )
    model.compile(
        optimizer=SGDM(learning_rate=0.01, momentum=0.9, weight_decay=1e-4),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


VARIANTS: Mapping[str, Callable[[], Sequential]] = {
    "with BN": lambda: network(L.ELU("uniform", learnable=True), batch_norm=True),
    "without BN": lambda: network(L.ELU("uniform", learnable=True), batch_norm=False),
    "with BN, alpha fixed": lambda: network(L.ELU(1.0), batch_norm=True),
    "without BN, alpha fixed": lambda: network(L.ELU(1.0), batch_norm=False),
}
"""The networks. Alpha starts uniform in (0, 1) and learns, or is 1, as in the documents."""

CONTRASTS = (
    ("without BN", "with BN"),
    ("without BN, alpha fixed", "with BN"),
    ("with BN, alpha fixed", "with BN"),
    ("without BN, alpha fixed", "without BN"),
)
"""The questions: R5's two against its first network, then a fixed against a learning alpha, with and without normalization."""


def comparison() -> dict[str, Any]:
    """Return the arguments of `lm.compare`: the four networks at R5's full length."""
    train, test = digits()
    return {
        "variants": VARIANTS,
        "train": train,
        "test": test,
        "metric": "accuracy",
        "margin": 0.002,
        "seeds": 20,
        "stop": "fixed",  # for the narrowest intervals; looking after every pair, all four verdicts are there after ten
        "baseline": CONTRASTS,
        **FIT,
    }
