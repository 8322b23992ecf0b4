"""R23: numbers that explode or vanish on their way through a ReLU network, and the initialization that keeps them in range.

The network of the question: images 3×100×100, conv 4×4×12 with stride 4, max-pooling 3 with stride 2, conv 5×5×24 with padding
2, max-pooling 4 with stride 2, 600 → 300 → 3; ReLU after both convolutions and the hidden dense layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from laminar import initializers
from laminar import layers as L
from laminar.sequential import Sequential

__all__ = ["INITIALIZATIONS", "Outcome", "as_rows", "measure", "network", "study", "table"]

INITIALIZATIONS: Mapping[str, Callable[[], Any]] = {
    "N(0, 1)": lambda: initializers.RandomNormal(stddev=1.0),
    "N(0, 0.01)": lambda: initializers.RandomNormal(stddev=0.01),
    "He": lambda: initializers.get("he_normal"),
}
"""Name -> initializer of every weight: normal with standard deviation 1 or 0.01, and He's √(2/fan-in)."""


@dataclass(frozen=True)
class Outcome:
    """One layer of one network.

    Attributes:
        initialization: a name of `INITIALIZATIONS`.
        seed: of initial weights and images.
        layer: its name.
        shape: of one observation of its output.
        output: standard deviation of its output over a batch.
        gradient: standard deviation of the loss's gradient by that output.
    """

    initialization: str
    seed: int
    layer: str
    shape: tuple[int, ...]
    output: float
    gradient: float


def network(kernel_initializer: Any) -> Sequential:
    """Return the network of the question, its weights drawn as told.

    >>> [name for name, _ in network("he_normal").named_children()][:3]
    ['conv2d', 'max_pooling2d', 'conv2d_1']
    """
    start = {"kernel_initializer": kernel_initializer}
    return Sequential(
        [
            L.Conv2D(12, 4, strides=4, activation="relu", **start),
            L.MaxPooling2D(3, strides=2),
            L.Conv2D(24, 5, padding=2, activation="relu", **start),
            L.MaxPooling2D(4, strides=2),
            L.Flatten(),
            L.Dense(300, activation="relu", **start),
            L.Dense(3, **start),
        ]
    )


def measure(model: Sequential, x: Tensor, y: Tensor) -> list[tuple[str, tuple[int, ...], float, float]]:
    """Return name, output shape, and the standard deviations of output and gradient for each layer with weights.

    Args:
        model: ends in logits.
        x: (B, 3, 100, 100).
        y: (B,), class numbers.
    """
    outputs: list[tuple[str, Tensor]] = []
    for name, layer in model.named_children():
        x = layer(x)
        if next(layer.parameters(), None) is not None:
            x.retain_grad()
            outputs.append((name, x))
    torch.nn.functional.cross_entropy(x, y).backward()
    return [(n, tuple(z.shape[1:]), float(z.detach().std()), float(z.grad.std())) for n, z in outputs if z.grad is not None]


def study(*, seeds: int = 1, report: Callable[[str], object] = print) -> list[Outcome]:
    """Measure every initialization on 64 images of independent standard normal pixels, from seeds 0, 1, ...

    Args:
        seeds: how many runs.
        report: is given a line for each layer.
    """
    outcomes = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        x, y = torch.randn(64, 3, 100, 100, generator=generator), torch.randint(3, (64,), generator=generator)
        for name, make in INITIALIZATIONS.items():
            model = network(make()).build(tuple(x.shape[1:]), seed=seed)
            for layer, shape, output, gradient in measure(model, x, y):
                outcomes.append(Outcome(name, seed, layer, shape, output, gradient))
                report(f"seed {seed}  {name:<11} {layer:<9} {shape!s:<13} output {output:9.3g}  gradient {gradient:9.3g}")
    return outcomes


def table(outcomes: Iterable[Outcome]) -> str:
    """Return the standard deviations of the first seed, a row for each layer, as Markdown.

    >>> print(table([Outcome("He", 0, "dense", (3,), 1.25, 0.003)]))
    | layer | shape | He: output | He: gradient |
    |---|---|---|---|
    | dense | (3,) | 1.25 | 0.003 |
    """
    runs = [o for o in outcomes if o.seed == 0]
    names = list(dict.fromkeys(o.initialization for o in runs))
    layers = list(dict.fromkeys((o.layer, o.shape) for o in runs))
    found = {(o.initialization, o.layer): f"{o.output:.3g} | {o.gradient:.3g}" for o in runs}
    head = " | ".join(f"{name}: output | {name}: gradient" for name in names)
    lines = [f"| layer | shape | {head} |", "|" + "---|" * (2 + 2 * len(names))]
    lines += [f"| {layer} | {shape} | " + " | ".join(found[name, layer] for name in names) + " |" for layer, shape in layers]
    return "\n".join(lines)


def as_rows(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return the figures as plain dictionaries, for JSON."""
    return [asdict(o) for o in outcomes]
