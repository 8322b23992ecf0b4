"""The arithmetic of a layer in words and numbers: how the output's shape and the parameters come about."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from laminar.errors import NotBuiltError, complaint
from laminar.shapes import Shape, format_shape, normalize_shape, trace

__all__ = [
    "Arithmetic",
    "Explanation",
    "count",
    "default_arithmetic",
    "explanation",
    "listing",
    "shapes_to_explain",
    "window_length",
]


class Explained(Protocol):
    """What `explain` needs of a layer."""

    input_shape: Shape | tuple[Shape, ...] | None

    @property
    def label(self) -> str:
        """How messages name it."""


@dataclass(frozen=True)
class Arithmetic:
    """What a layer computes about itself, from its settings and the input's shape alone; nothing is run.

    Attributes:
        output: shape of one observation of the output; a tuple of shapes where there are several outputs.
        parameters: numbers in learnables, frozen ones included.
        lines: sentences. A line `label: left = right` is an equation of whole numbers, in which ` of ` and × and · multiply,
            ⌊ ⌋ and ⌈ ⌉ round, and other words are units: "parameters: 64 kernels of 32×5×5 + 64 biases = 51 264".
    """

    output: Shape | tuple[Shape, ...]
    parameters: int
    lines: tuple[str, ...]

    @property
    def outputs(self) -> tuple[Shape, ...]:
        """One shape for each output."""
        several = bool(self.output) and isinstance(self.output[0], tuple)
        return self.output if several else (self.output,)  # type: ignore[return-value]  # told apart by its first entry


@dataclass(frozen=True)
class Explanation:
    """What `explain` returns; `str` gives it as text.

    Attributes:
        title: what is explained, and its input.
        lines: one for each step of the arithmetic.
        outputs: shape of one observation of each output.
        parameters: numbers in learnables, frozen ones included.
        parts: explanations of the layers inside, for a network.
    """

    title: str
    lines: tuple[str, ...]
    outputs: tuple[Shape, ...]
    parameters: int
    parts: tuple[Explanation, ...] = ()

    def __str__(self) -> str:
        """Return title and lines, the lines indented; then the parts."""
        own = [self.title, *("  " + line for line in self.lines)]
        return "\n".join([*own, *(str(part) for part in self.parts)])

    def __repr__(self) -> str:
        """Return one line: a shell shows it after the text itself was printed."""
        return f"<Explanation: {self.title}>"


def count(n: int) -> str:
    """Return a whole number with its thousands apart.

    >>> count(51264)
    '51 264'
    """
    return f"{n:,}".replace(",", " ")


def window_length(name: str, size: int, kernel: int, pads: tuple[int, int], stride: int, dilation: int = 1) -> tuple[str, int]:
    """Return the equation of how often a window fits along one axis, and its result.

    Args:
        name: of the axis, "height" for example.
        size: length of the axis, W.
        kernel: length of the window, K.
        pads: what is added before and after, P each where they are equal.
        stride: step of the window, S.
        dilation: distance between two numbers under the window, D.

    Source: (W − K + 2P)/S + 1, row R17 of the mission; with dilation, K is D·(K − 1) + 1.

    >>> window_length("height", 7, 3, (0, 0), 2)
    ('height: (7 − 3 + 2·0)/2 + 1 = 3', 3)
    >>> window_length("width", 28, 3, (0, 1), 2, dilation=2)
    ('width: (28 − (2·(3 − 1) + 1) + 0 + 1)/2 + 1 = 13', 13)
    """
    extent = dilation * (kernel - 1) + 1
    length = size - extent + sum(pads)
    window = str(kernel) if dilation == 1 else f"({dilation}·({kernel} − 1) + 1)"
    padding = f"2·{pads[0]}" if pads[0] == pads[1] else f"{pads[0]} + {pads[1]}"
    ratio = f"({size} − {window} + {padding})/{stride}"
    result = length // stride + 1
    return f"{name}: {ratio if length % stride == 0 else f'⌊{ratio}⌋'} + 1 = {result}", result


def listing(parameters: Sequence[tuple[str, Shape]]) -> tuple[tuple[str, ...], int]:
    """Return a line for each parameter with its count, a line for the sum, and the sum.

    >>> listing([("weight", (10, 5)), ("bias", (10,))])
    (('weight: 10×5 = 50', 'bias: 10 = 10', 'parameters: 50 + 10 = 60'), 60)
    """
    sizes = [math.prod(shape) for _, shape in parameters]
    products = ["×".join(map(str, shape)) or "1" for _, shape in parameters]
    lines = [f"{name}: {p} = {count(n)}" for (name, _), p, n in zip(parameters, products, sizes, strict=True)]
    total = sum(sizes)
    if len(sizes) > 1:
        lines.append(f"parameters: {' + '.join(map(count, sizes))} = {count(total)}")
    return tuple(lines) or ("parameters: none",), total


def default_arithmetic(layer: nn.Module, shapes: Sequence[Shape]) -> Arithmetic:
    """Return the arithmetic of a layer that does not give its own: its learnables, and the shape it was seen to return."""
    copied = copy.deepcopy(layer)  # a question about a shape does not build the layer
    outputs = trace(copied, *shapes).outputs
    named = dict(copied.named_parameters())
    lines, total = listing([(name, tuple(p.shape)) for name, p in named.items()])
    result = " and ".join(map(format_shape, outputs))
    return Arithmetic(outputs[0] if len(outputs) == 1 else outputs, total, (f"output {result}", *lines))


def explanation(title: str, shapes: Sequence[Shape], found: Arithmetic) -> Explanation:
    """Return the explanation of a layer called `title` on observations of `shapes`."""
    received = " and ".join(map(format_shape, shapes))
    returned = " and ".join(map(format_shape, found.outputs))
    return Explanation(f"{title}: {received} → {returned}", found.lines, found.outputs, found.parameters)


def shapes_to_explain(layer: Explained, given: Sequence[int | Sequence[int]]) -> tuple[Shape, ...]:
    """Return the shapes that `explain` was given, or those that the layer was built for.

    Raises:
        NotBuiltError: if there are neither.
    """
    if given:
        alone = all(isinstance(n, int) for n in given)  # explain(3, 32, 32) means explain((3, 32, 32))
        return (normalize_shape(given),) if alone else tuple(map(normalize_shape, given))  # type: ignore[arg-type]  # as told
    own = layer.input_shape
    if own is None:
        raise NotBuiltError(
            complaint(
                f"{layer.label}: explain",
                expected="the shape of one observation",
                received="none, and the layer is not built",
                fix="Pass it: layer.explain((channels, height, width))",
            )
        )
    several = bool(own) and isinstance(own[0], tuple)
    return own if several else (own,)  # type: ignore[return-value]  # told apart by its first entry
