"""How fast which parameters learn: factors of the learning rate, by layer and by learnable."""

from __future__ import annotations

import math
import numbers
from typing import Any

from torch import nn

from laminar.errors import ArgumentError, complaint
from laminar.names import unknown_name

__all__ = ["LearningRateFactor", "factors_of", "learning_rate_factors", "set_learning_rate_factor"]

_KEY = "_learning_rate_factors"  # in the module's __dict__: name of a learnable (or "" for all) -> factor; copied with it


class LearningRateFactor:
    """The attribute `learning_rate_factor` of a layer: what the learning rate of everything in it is multiplied by."""

    def __get__(self, module: nn.Module | None, owner: type) -> Any:
        """Return the layer's factor, 1 where none was set."""
        return self if module is None else factors_of(module).get("", 1.0)

    def __set__(self, module: nn.Module, value: float) -> None:
        """Set it; see `set_learning_rate_factor`."""
        set_learning_rate_factor(module, value)


def set_learning_rate_factor(module: nn.Module, factor: float, path: str = "") -> None:
    """Multiply the learning rate of a part of a network; it holds from the next `fit` on, and is copied with the part.

    Factors multiply along the path: 0.1 for a block and 2 for a layer in it make 0.2. A factor of 0 keeps a part as it is.

    Args:
        module: a network, a layer, or any other module.
        factor: at least 0.
        path: to a part of it or to one learnable, with slashes or dots: "block/conv", "block/conv/bias"; the whole of
            `module` where empty. A layer that is not built yet takes any name of a learnable.

    Raises:
        ArgumentError: if the factor is no number of at least 0.
        UnknownNameError: if there is no such part.

    Source: MATLAB's `setLearnRateFactor`; rows R5 and R19 of the mission.

    >>> net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    >>> set_learning_rate_factor(net, 0.1, "0")
    >>> set_learning_rate_factor(net, 2, "0/bias")
    >>> learning_rate_factors(net)
    {'0.weight': 0.1, '0.bias': 0.2, '1.weight': 1.0, '1.bias': 1.0}
    """
    if not isinstance(factor, numbers.Real) or isinstance(factor, bool) or not 0 <= factor < math.inf:
        fix = "Set layer.learning_rate_factor = 0.1, for example"
        raise ArgumentError(
            complaint("learning_rate_factor", expected="a number of at least 0", received=repr(factor), fix=fix)
        )
    name = ""
    for step in path.replace("/", ".").split(".") if path else ():
        children = dict(module.named_children())
        if not name and step in children:
            module = children[step]
            continue
        own = [n for n, _ in module.named_parameters(recurse=False)]
        if name or (step not in own and getattr(module, "built", True)):
            raise unknown_name(f"{type(module).__name__}: part", step, [*children, *own])
        name = step
    module.__dict__.setdefault(_KEY, {})[name] = float(factor)


def factors_of(module: nn.Module) -> dict[str, float]:
    """Return the factors that were set on `module` itself: "" for all of it, and names of learnables."""
    factors: dict[str, float] = module.__dict__.get(_KEY, {})
    return factors


def learning_rate_factors(model: nn.Module) -> dict[str, float]:
    """Return the factor of every parameter by its name; one that two layers share has that of its first name.

    Source: as `set_learning_rate_factor`; row R19 of the mission.

    >>> block = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False))
    >>> set_learning_rate_factor(block, 0)
    >>> learning_rate_factors(nn.Sequential(block, nn.Linear(2, 1)))
    {'0.0.weight': 0.0, '0.1.weight': 0.0, '1.weight': 1.0, '1.bias': 1.0}
    """
    of_module = {"": factors_of(model).get("", 1.0)}
    for path, module in model.named_modules():
        if path:
            of_module[path] = of_module[path.rpartition(".")[0]] * factors_of(module).get("", 1.0)
    found = {}
    for path, module in model.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            found[f"{path}.{name}" if path else name] = of_module[path] * factors_of(module).get(name, 1.0)
    return {name: found[name] for name, _ in model.named_parameters()}
