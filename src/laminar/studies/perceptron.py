"""R15 and R16: a small multilayer perceptron on CIFAR-10, and the same with batch normalization after each hidden layer.

3072 → 20 → 15 → 10, ReLU, softmax; a fifth of the 50,000 training images, the last ones, to validate on; batches of 128. R15
trains with SGD (rate 0.01, decay 1e-6, Nesterov momentum 0.9) and divides the rate by ten when the validation loss has not
fallen for five epochs. R16 trains with plain SGD at 0.01, as its listing does; to compare like with like, both networks are
trained both ways here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from laminar import layers as L
from laminar.callbacks import Callback, ReduceLROnPlateau
from laminar.comparison.result import Comparison
from laminar.data import cifar10, to_categorical
from laminar.layers.base import Layer
from laminar.optimizers import SGD
from laminar.plots import history as draw_history
from laminar.sequential import Sequential

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["VARIANTS", "comparison", "flat", "network", "pictures"]


def flat(part: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return images as rows (N, 3072) and labels as one-hot rows (N, 10), as the listing makes them."""
    x, y = part
    return x.reshape(len(x), -1), to_categorical(y, 10)


def network(*, batch_norm: bool) -> Sequential:
    """Return the perceptron.

    >>> len(network(batch_norm=False)), len(network(batch_norm=True))
    (3, 5)
    """

    def normalization() -> list[Layer]:
        return [L.BatchNormalization()] if batch_norm else []

    hidden = [L.Dense(20, activation="relu"), *normalization(), L.Dense(15, activation="relu"), *normalization()]
    return Sequential([*hidden, L.Dense(10, activation="softmax")])


def _builder(*, batch_norm: bool, plain: bool) -> Callable[[], Sequential]:
    def build() -> Sequential:
        model = network(batch_norm=batch_norm)
        sgd = SGD() if plain else SGD(learning_rate=0.01, decay=1e-6, momentum=0.9, nesterov=True)
        model.compile(optimizer=sgd, loss="categorical_crossentropy", metrics=["accuracy"])
        return model

    return build


def _callbacks() -> list[Callback]:
    return [ReduceLROnPlateau(monitor="val_loss", factor=0.1, patience=5)]


VARIANTS: dict[str, Any] = {
    "plain SGD": _builder(batch_norm=False, plain=True),
    "plain SGD, with BN": _builder(batch_norm=True, plain=True),
    "momentum": (_builder(batch_norm=False, plain=False), {"callbacks": _callbacks}),
    "momentum, with BN": (_builder(batch_norm=True, plain=False), {"callbacks": _callbacks}),
}
"""Both networks in both trainings; "momentum" is R15's: momentum, decay and a rate that falls on a plateau."""


def comparison() -> dict[str, Any]:
    """Return the arguments of `lm.compare`: with against without normalization in each training, and training against training.

    Raises:
        FileError: if the data are neither there nor to be had.
    """
    train, test = cifar10()
    return {
        "variants": VARIANTS,
        "train": flat(train),
        "test": flat(test),
        "metric": "accuracy",
        "margin": 0.005,
        "seeds": 40,
        "baseline": [
            ("plain SGD, with BN", "plain SGD"),
            ("momentum, with BN", "momentum"),
            ("momentum", "plain SGD"),
        ],
        "epochs": 20,
        "batch_size": 128,
        "validation_split": 0.2,
    }


def pictures(found: Comparison) -> dict[str, Figure]:
    """Return the four curves (loss and accuracy, training and validation) of both networks of pair 0, for each training."""
    first = {run.variant: run.history for run in found.runs if run.index == 0}
    return {
        f"perceptron-{way.replace(' ', '-').lower()}": draw_history(
            {name: history for name, history in first.items() if name.startswith(way)}, figures=["loss", "accuracy"]
        )
        for way in ("plain SGD", "momentum")
    }
