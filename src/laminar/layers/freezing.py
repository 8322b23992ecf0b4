"""Which parameters learn."""

from __future__ import annotations

from torch import nn

__all__ = ["set_learning", "set_trainable"]


def set_learning(parameter: nn.Parameter | None, learns: bool) -> None:
    """Let a parameter learn, or stop it and drop its gradient."""
    if parameter is not None:
        parameter.requires_grad_(learns)
        if not learns:
            parameter.grad = None  # torch's optimizers pass over a parameter without a gradient and keep its state


def set_trainable(module: nn.Module, value: bool) -> None:
    """Freeze (False) or unfreeze (True) every parameter below `module`; what was frozen by name stays frozen.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> set_trainable(net, False)
    >>> any(p.requires_grad for p in net.parameters())
    False
    """
    for sub in module.modules():
        frozen: set[str] = sub.__dict__.get("_frozen", set())  # a Layer's
        if "_trainable" in sub.__dict__:
            sub.__dict__["_trainable"] = value
        for name, parameter in sub.named_parameters(recurse=False):
            set_learning(parameter, value and name not in frozen)
