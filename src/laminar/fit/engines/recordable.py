"""What can be recorded as a CUDA graph, and what a recording depends on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from laminar.fit.pace import Pace
from laminar.layers.hooks import has_hooks
from laminar.optimizers.averages import Averages
from laminar.optimizers.clipping import Clipping
from laminar.optimizers.fused import SameLayout

__all__ = ["capturable", "hindrance", "settings_of"]

# those of torch's whose step can read the learning rate and the count of steps from the device
_OPTIMIZERS = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.RMSprop,
    torch.optim.Adadelta,
    torch.optim.Adamax,
    torch.optim.NAdam,
)


def hindrance(model: nn.Module, pace: Pace) -> str | None:
    """Return why a training step cannot be recorded; None where nothing is known to stand in the way.

    Args:
        model: the network.
        pace: the optimizer of its parameters.

    >>> linear = nn.Linear(3, 2)
    >>> hindrance(linear, Pace(torch.optim.LBFGS(linear.parameters())))
    'the network is on the CPU'
    """
    if any(p.device.type != "cuda" for p in model.parameters()):
        return "the network is on the CPU"
    return _of_optimizer(pace) or _of_hooks(model)


def _of_optimizer(pace: Pace) -> str | None:
    """Return what of an optimizer's step happens on the host, and differs from step to step."""
    optimizer = pace.optimizer
    name = type(optimizer).__name__
    if type(optimizer) not in _OPTIMIZERS:
        return f"the step of {name} is not known to be the same operations each time"
    if pace.batches_an_update > 1:
        return f"an update is made from {pace.batches_an_update} batches"
    if type(optimizer) is torch.optim.SGD and not all(group["fused"] for group in optimizer.param_groups):
        return "SGD reads its learning rate on the host, where it is not fused"
    hooks = [*optimizer._optimizer_step_pre_hooks.values(), *optimizer._optimizer_step_post_hooks.values()]
    if any(isinstance(hook, Averages) and hook.every is not None for hook in hooks):
        return "running means take the place of the weights every so many steps (ema_overwrite_frequency)"
    if any(not isinstance(hook, Averages | Clipping | SameLayout) for hook in hooks):
        return f"{name} has hooks, which a graph does not call"
    return None


def _of_hooks(model: nn.Module) -> str | None:
    for name, module in model.named_modules():
        if has_hooks(module):
            return f"{name or type(module).__name__!r} has hooks, which a graph does not call"
    for name, p in model.named_parameters():
        if p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None):
            return f"{name!r} has hooks, which a graph does not call"
    return None


def settings_of(modules: Sequence[nn.Module], parameters: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer) -> Any:
    """Return what a recording depends on beside shapes: it is made anew where this changes.

    Args:
        modules: of the network.
        parameters: of the network.
        optimizer: of the parameters.

    >>> linear = nn.Linear(3, 2)
    >>> sgd = torch.optim.SGD(linear.parameters(), lr=0.1)
    >>> before = settings_of([linear], [*linear.parameters()], sgd)
    >>> sgd.param_groups[0]["lr"] = 0.2
    >>> settings_of([linear], [*linear.parameters()], sgd) == before
    True
    >>> linear.bias.requires_grad_(False) is linear.bias
    True
    >>> settings_of([linear], [*linear.parameters()], sgd) == before
    False
    """
    apart = ("params", "lr", "capturable")
    groups = [[v for k, v in group.items() if k not in apart] + [len(group["params"])] for group in optimizer.param_groups]
    return groups, [(p.requires_grad, p.data_ptr()) for p in parameters], [(m.training, has_hooks(m)) for m in modules]


@contextmanager
def capturable(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Let an optimizer count its steps on the device inside, where it can be told to."""
    groups = [group for group in optimizer.param_groups if "capturable" in group and not group["capturable"]]
    optimizer._warned_capturable_if_run_uncaptured = True  # we know
    for group in groups:
        group["capturable"] = True
        for p in group["params"]:
            kept = optimizer.state.get(p, {})
            counts = [key for key, value in kept.items() if isinstance(value, Tensor) and not value.dim()]
            for key in counts:
                kept[key] = kept[key].to(p.device)
    try:
        yield
    finally:
        for group in groups:
            group["capturable"] = False
