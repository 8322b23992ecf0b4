"""Residual: a main path and a shortcut around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from laminar import activations
from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.kernels import switch
from laminar.kernels.calls import Kind
from laminar.layers.activation import ActivatedLayer
from laminar.layers.batchnorm import BatchNormalization
from laminar.layers.chain import Chain, in_order, run_chain
from laminar.layers.hooks import has_hooks
from laminar.layers.layout import same_layout
from laminar.layers.naming import free_name
from laminar.layers.recompute import recomputes
from laminar.shapes import Shape, format_batch

__all__ = ["Residual"]


class Residual(ActivatedLayer):
    """The sum of a main path and a shortcut around it: z = activation(main(x) + shortcut(x)).

    Args:
        main: the layers of the main path: a list of layers, or any module, a `Sequential` for example.
        shortcut: the layers of the shortcut, a projection for example, where the main path changes the shape; None for x
            itself.
        activation: name or function, applied to the sum; None for none.
        name: the layer's name.

    Attributes:
        main: the main path, a module.
        shortcut: the shortcut, a module; None for x itself.

    Raises:
        ArgumentError: if a path is neither a module nor a list of modules, or an empty list.
        ShapeError: if main path and shortcut return different shapes; it names both, and the projection that would fit.

    Source: He et al., "Deep residual learning for image recognition", 2016; rows R24 and R26 of the mission.

    >>> import torch
    >>> from laminar.layers import BatchNormalization, Conv2D
    >>> halve = Residual(
    ...     [Conv2D(8, 3, strides=2, padding="same", use_bias=False), BatchNormalization()],
    ...     shortcut=[Conv2D(8, 1, strides=2, use_bias=False), BatchNormalization()],
    ...     activation="relu",
    ... )
    >>> halve(torch.zeros(2, 4, 10, 10)).shape
    torch.Size([2, 8, 5, 5])
    """

    def __init__(
        self,
        main: nn.Module | Sequence[nn.Module],
        shortcut: nn.Module | Sequence[nn.Module] | None = None,
        activation: str | Callable[[Tensor], Tensor] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(activation, name=name)
        self.main = _path("main", main)
        self.shortcut = None if shortcut is None else _path("shortcut", shortcut)

    def build(self, shape: Shape) -> None:
        """Declare nothing: the layers inside build themselves, under names that they are given after this."""

    def forward(self, x: Any) -> Tensor:
        """Return activation(main(x) + shortcut(x)), of the shape that both return, from x of shape (B, ...)."""
        last = self._last_normalization()
        z = run_chain([self.main] if last is None else in_order(self.main)[:-1], x)
        around = x if self.shortcut is None else run_chain([self.shortcut], x)
        if last is not None:
            around = same_layout(around, z)
            at_once = last.by_kernel(z, Kind.RELU, other=around)
            if at_once is not None:
                return at_once
            z = last(z)
        if z.shape != around.shape:
            raise ShapeError(self._differ(tuple(z.shape[1:]), tuple(around.shape[1:])))
        return self.activate(z + around)

    def _last_normalization(self) -> BatchNormalization | None:
        """Return the normalization that ends the main path, where a kernel may do the sum and the ReLU behind it as well."""
        if not switch.any_layout() or self.activation is not activations.relu or type(self.main) is not Chain:
            return None
        last = next(reversed(self.main._modules.values()), None)
        # a forward of its own, for the time being, is how a normalization is left out that has been folded
        seen = any(has_hooks(m) or recomputes(m) or "forward" in m.__dict__ for m in (last, self.main) if m is not None)
        fits = type(last) is BatchNormalization and last.built and not seen
        return last if fits else None  # type: ignore[return-value]  # of that type

    def _differ(self, main: Shape, shortcut: Shape) -> str:
        expected = "main path and shortcut to return one shape"
        received = f"{format_batch(main)} from the main path and {format_batch(shortcut)} from the shortcut"
        fix = "Let both change the shape alike"
        if self.shortcut is None:
            projection = _projection(shortcut, main)
            received = (
                f"{format_batch(main)} from the main path and {format_batch(shortcut)} from the shortcut, the input itself"
            )
            fix = f"Pass shortcut={projection}" if projection else "Let the main path keep the shape"
        return complaint(self.label, expected=expected, received=received, fix=fix)

    def extra_repr(self) -> str:
        """Return the activation, and whether the shortcut is the input itself."""
        return ", ".join(filter(None, ["" if self.shortcut is not None else "shortcut=None", super().extra_repr()]))


def _path(argument: str, given: Any) -> nn.Module:
    """Return the module of a path: a list of layers in a chain, under the names that they would have in a network."""
    if isinstance(given, nn.Module):
        return given
    layers = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    where = f"Residual({argument}=)"
    if not layers or not all(isinstance(layer, nn.Module) for layer in layers):
        expected, received = "a layer, or a list of layers", f"{given!r}"
        raise ArgumentError(complaint(where, expected=expected, received=received, fix=f"Pass {argument}=[Conv2D(64, 3), ...]"))
    chain = Chain()
    for layer in layers:
        chain.add_module(free_name(chain, layer, where), layer)
    return chain


def _projection(before: Shape, after: Shape) -> str | None:
    """Return what takes `before` to `after`: a convolution of 1×1 with strides, or a Dense; None if nothing of the kind does.

    >>> _projection((64, 56, 56), (256, 28, 28)), _projection((8,), (4,)), _projection((8, 4), (8, 5))
    ('Conv2D(256, 1, strides=2)', 'Dense(4)', None)
    """
    if len(before) != len(after) or not 1 <= len(after) <= 4 or 0 in after:
        return None
    if len(after) == 1:
        return f"Dense({after[0]})"
    strides = [max(n // m, -(-n // m)) for n, m in zip(before[1:], after[1:], strict=True)]
    fits = all((n - 1) // s + 1 == m for n, s, m in zip(before[1:], strides, after[1:], strict=True))
    if not fits:
        return None
    stride = strides[0] if len(set(strides)) == 1 else tuple(strides)
    return f"Conv{len(strides)}D({after[0]}, 1{'' if stride == 1 else f', strides={stride}'})"
