"""R7: the ways of the optimizers through a canyon, over a saddle, and past a local minimum."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from laminar import optimizers
from laminar.optimizers import Optimizer
from laminar.plots import paths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LANDSCAPES", "OPTIMIZERS", "Landscape", "Outcome", "as_rows", "pictures", "study", "table", "way"]


@dataclass(frozen=True)
class Landscape:
    """A loss of two weights.

    Attributes:
        loss: of x and y.
        start: where the ways begin.
        frame: least and greatest x, least and greatest y, of the picture.
        steps: how many are taken.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    start: tuple[float, float]
    frame: tuple[float, float, float, float]
    steps: int


LANDSCAPES: Mapping[str, Landscape] = {
    # steep across, shallow along: plain SGD zigzags
    "canyon": Landscape(lambda x, y: 0.5 * (0.3 * x**2 + 13 * y**2), (-1.8, 0.6), (-2, 1, -0.9, 0.9), 100),
    # the gradient along y is all but nothing at the start; the minima lie at y = ±1
    "saddle": Landscape(lambda x, y: x**2 + 0.25 * y**4 - 0.5 * y**2, (-1.5, 1e-3), (-2, 2, -1.5, 1.5), 100),
    # a hollow at x = -1.1 before the minimum at x = 1.3: what has momentum may roll through it
    "local minimum": Landscape(
        lambda x, y: 0.1 * (x**2 - 1.44) ** 2 - 0.08 * x + 0.4 * y**2, (-2.3, 1.0), (-2.5, 2.2, -1.5, 1.5), 100
    ),
}

OPTIMIZERS: Mapping[str, Callable[[], Optimizer]] = {
    "SGD": lambda: optimizers.SGD(0.14),
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
    "Nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "Adagrad": lambda: optimizers.Adagrad(0.3),
    "RMSprop": lambda: optimizers.RMSprop(0.03),
    "Adadelta": lambda: optimizers.Adadelta(1.0),
    "Adam": lambda: optimizers.Adam(0.1),
}
"""Name -> optimizer, at rates that suit a landscape two units wide; each is the same in all of them.

Muon is not among them: it orthogonalizes the step of a matrix, and here are two numbers.
"""


@dataclass(frozen=True)
class Outcome:
    """One way.

    Attributes:
        landscape: a name of `LANDSCAPES`.
        optimizer: a name of `OPTIMIZERS`.
        loss: at its end, above the least loss in the frame.
        points: x and y of the start and after each step.
    """

    landscape: str
    optimizer: str
    loss: float
    points: tuple[tuple[float, float], ...]


def way(landscape: Landscape, optimizer: Optimizer) -> list[tuple[float, float]]:
    """Return the points that an optimizer goes through, the start first.

    >>> bowl = Landscape(lambda x, y: x**2 + y**2, (1.0, 0.0), (-2, 2, -2, 2), 1)
    >>> [(round(x, 6), y) for x, y in way(bowl, optimizers.SGD(0.1))]
    [(1.0, 0.0), (0.8, 0.0)]
    """
    weights = nn.Parameter(torch.tensor(landscape.start))
    steps = optimizer.create([], [weights])
    points = [weights.tolist()]
    for _ in range(landscape.steps):
        steps.zero_grad()
        landscape.loss(weights[0], weights[1]).backward()
        steps.step()
        points.append(weights.tolist())
    return [(x, y) for x, y in points]


def least(landscape: Landscape) -> float:
    """Return the least loss in the frame, on a grid of 401 by 401."""
    left, right, low, high = landscape.frame
    x, y = torch.meshgrid(torch.linspace(left, right, 401), torch.linspace(low, high, 401), indexing="xy")
    return float(landscape.loss(x, y).min())


def study(*, report: Callable[[str], object] = print) -> list[Outcome]:
    """Let every optimizer go through every landscape.

    Args:
        report: is given a line for each way.
    """
    outcomes = []
    for place, landscape in LANDSCAPES.items():
        floor = least(landscape)
        for name, make in OPTIMIZERS.items():
            points = way(landscape, make())
            x, y = points[-1]
            loss = max(float(landscape.loss(torch.tensor(x), torch.tensor(y))) - floor, 0.0)
            outcomes.append(Outcome(place, name, loss, tuple(points)))
            report(
                f"{place:<14} {name:<9} after {landscape.steps} steps at ({x:6.2f}, {y:6.2f}), {loss:.4f} above the least loss"
            )
    return outcomes


def pictures(outcomes: Iterable[Outcome]) -> dict[str, Figure]:
    """Return a picture for each landscape, with the ways of all optimizers."""
    runs = list(outcomes)
    return {
        f"landscape-{place.replace(' ', '-')}": paths(
            landscape.loss,
            {o.optimizer: o.points for o in runs if o.landscape == place},
            width=landscape.frame[:2],
            height=landscape.frame[2:],
            title=place,
        )
        for place, landscape in LANDSCAPES.items()
        if any(o.landscape == place for o in runs)
    }


def table(outcomes: Iterable[Outcome]) -> str:
    """Return how far above the least loss each optimizer ends, as Markdown.

    >>> print(table([Outcome("canyon", "SGD", 0.25, ((1.0, 2.0),))]))
    | optimizer | canyon |
    |---|---|
    | SGD | 0.2500 |
    """
    runs = list(outcomes)
    places = list(dict.fromkeys(o.landscape for o in runs))
    found = {(o.optimizer, o.landscape): f"{o.loss:.4f}" for o in runs}
    lines = [f"| optimizer | {' | '.join(places)} |", "|" + "---|" * (1 + len(places))]
    names = dict.fromkeys(o.optimizer for o in runs)
    lines += [f"| {name} | " + " | ".join(found.get((name, place), "–") for place in places) + " |" for name in names]
    return "\n".join(lines)


def as_rows(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return the ways, with every point, as plain dictionaries, for JSON."""
    return [asdict(o) for o in outcomes]
