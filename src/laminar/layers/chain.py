"""A chain of modules run one after the other, or two at once where a kernel does the work of both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from laminar import activations
from laminar.kernels import switch
from laminar.kernels.calls import Kind
from laminar.layers.activation import ELU, Activation, ReLU
from laminar.layers.batchnorm import BatchNormalization
from laminar.layers.conv import Conv2D
from laminar.layers.hooks import has_hooks
from laminar.layers.layout import standard_layout, takes_any_layout
from laminar.layers.recompute import recomputes
from laminar.layers.stretch import stretch_at_once

__all__ = ["Chain", "in_order", "kind_of", "run_chain", "runs_in_order", "two_at_once"]


def run_chain(modules: Iterable[nn.Module], x: Any) -> Any:
    """Return what the last of the modules makes of x, each being given what the one before it returned.

    A batch normalization, or a convolution, and the activation behind it are one pass where kernels are in use, unless one of
    them has hooks, which are to see what lies between, or is computed once more; so is a stretch of small dense layers.
    Between layers of Laminar's images may lie channels-last.
    """
    if not switch.wanted():
        for module in modules:
            x = module(x)
        return x
    outside = switch.any_layout()
    left = list(modules)
    try:
        while left:
            stretch = stretch_at_once(left, x)
            if stretch is not None:
                x = stretch[0]
                del left[: stretch[1]]
                continue
            module = left.pop(0)
            free = isinstance(x, Tensor) and x.dim() == 4 and takes_any_layout(module)
            x = x if free else standard_layout(x)
            switch.let_any_layout(free)
            z = two_at_once(module, left[0], x) if left else None
            if z is None:
                x = module(x)
            else:
                x = z
                del left[0]
    finally:
        switch.let_any_layout(outside)
    return x if outside else standard_layout(x)


class Chain(nn.Sequential):
    """torch's Sequential, run by `run_chain`.

    >>> import torch
    >>> Chain(nn.Linear(2, 3), nn.ReLU())(torch.zeros(4, 2)).shape
    torch.Size([4, 3])
    """

    def forward(self, input: Any) -> Any:
        """Return the last module's output."""
        return run_chain(self, input)


def in_order(module: nn.Module) -> list[nn.Module]:
    """Return the children of a chain as they run: one that stands in two places twice, which `children` would yield once.

    >>> bend = nn.ReLU()
    >>> len(in_order(nn.Sequential(bend, bend)))
    2
    """
    return [child for child in module._modules.values() if child is not None]


def runs_in_order(module: nn.Module) -> bool:
    """Return whether a call of `module` gives its children what it is given, one after the other, and does nothing else.

    >>> runs_in_order(nn.Sequential(nn.ReLU())), runs_in_order(nn.ReLU())
    (True, False)
    """
    if "forward" in module.__dict__:
        return False
    kind: Any = type(module)
    if kind in (nn.Sequential, Chain):
        return True
    # the mark of a Sequential, which stands above this file, unless with a forward of its own
    owner = next((c for c in kind.__mro__ if c.__dict__.get("is_chain")), None)
    return owner is not None and kind.forward is owner.forward


def two_at_once(module: nn.Module, following: nn.Module, x: Any) -> Tensor | None:
    """Return the activation `following` of what `module` makes of x, or None where that is not to be had at once."""
    if not isinstance(module, (BatchNormalization, Conv2D)) or type(module) not in (BatchNormalization, Conv2D):
        return None  # a user's own kind of these may compute something else
    if not module.built or not isinstance(x, Tensor):
        return None
    if "forward" in module.__dict__ or "forward" in following.__dict__:  # somebody else's, for the time being
        return None
    kind = kind_of(following)
    if kind is None or any(has_hooks(m) or recomputes(m) for m in (module, following)):
        return None
    if isinstance(module, Conv2D):
        fits = kind == Kind.RELU and module.activation is activations.linear
        return module.by_kernel(x, relu=True) if fits else None
    return module.by_kernel(x, kind, following.alpha if isinstance(following, ELU) else None)


def kind_of(module: nn.Module) -> Kind | None:
    """Return what a kernel calls this activation; None if it has no word for it.

    >>> kind_of(nn.ReLU()).name, kind_of(nn.Tanh())
    ('RELU', None)
    """
    if type(module) is ELU:
        return Kind.ELU if module.built else None
    plain = type(module) is ReLU and not module.settings
    named = type(module) is Activation and module.activation is activations.relu
    return Kind.RELU if plain or named or type(module) is nn.ReLU else None
