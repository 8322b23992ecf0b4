"""R17: the classic image kernels applied to a digit, the kernels that a network has learned, and its maps around pooling."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from laminar import layers as L
from laminar.data import digits, image_kernels
from laminar.outputs import layer_outputs
from laminar.plots import feature_maps, kernels
from laminar.plots import image_kernels as draw_image_kernels
from laminar.sequential import Sequential

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Outcome", "as_rows", "network", "pictures", "study", "table"]


@dataclass(frozen=True)
class Outcome:
    """The trained network and one image.

    Attributes:
        accuracy: on the test images, in [0, 1].
        shapes: layer -> shape of one observation of its output.
        model: the network.
        image: (1, 28, 28).
    """

    accuracy: float
    shapes: dict[str, tuple[int, ...]]
    model: Sequential = field(repr=False)
    image: torch.Tensor = field(repr=False)


def network() -> Sequential:
    """Return a network with two convolutions, each followed by pooling, compiled."""
    model = Sequential(
        [
            L.Conv2D(16, 5, activation="relu"),
            L.MaxPooling2D(2),
            L.Conv2D(16, 3, activation="relu"),
            L.MaxPooling2D(2),
            L.Flatten(),
            L.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def study(*, epochs: int = 10, report: Callable[[str], object] = print) -> list[Outcome]:
    """Train the network on the synthetic digits, and say what its layers make of the first test image.

    Args:
        epochs: passes over the training part.
        report: is given a line for each layer.
    """
    (x, y), (x_test, y_test) = digits()
    model = network()
    model.fit(x, y, epochs=epochs, seed=0, verbose=0)
    image = torch.as_tensor(x_test[0])
    shapes = {path: tuple(z.shape[1:]) for path, z in layer_outputs(model, image[None]).items()}
    for path, shape in shapes.items():
        report(f"{path:<16} {shape}")
    return [Outcome(model.evaluate(x_test, y_test)["accuracy"], shapes, model, image)]


def pictures(outcomes: Iterable[Outcome]) -> dict[str, Figure]:
    """Return the image under each classic kernel, the learned kernels, and the maps of the layers that return images."""
    (outcome,) = outcomes
    maps = layer_outputs(outcome.model, outcome.image[None], *(p for p, s in outcome.shapes.items() if len(s) == 3))
    return {
        "filters-image-kernels": draw_image_kernels(outcome.image, list(image_kernels)),
        "filters-learned": kernels(outcome.model[0]),
        "filters-feature-maps": feature_maps(maps),
    }


def table(outcomes: Iterable[Outcome]) -> str:
    """Return the layers' output shapes as Markdown."""
    (outcome,) = outcomes
    lines = [f"Test accuracy {outcome.accuracy:.4f}", "", "| layer | output |", "|---|---|"]
    return "\n".join([*lines, *(f"| {path} | {shape} |" for path, shape in outcome.shapes.items())])


def as_rows(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return accuracy and shapes as plain dictionaries, for JSON."""
    return [{k: v for k, v in vars(o).items() if k in ("accuracy", "shapes")} for o in outcomes]
