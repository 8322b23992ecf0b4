"""What a network's output means: probabilities, logits, or plain numbers.

A cross-entropy is exact only on logits (the scores before softmax or sigmoid). Where a network ends in the activation that the
loss undoes, training and evaluation leave that activation out; where it ends without, its output is taken as logits, and
`predict` adds the activation. A network whose last step is hidden in its own `forward` is asked once, with real data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from laminar.layers.activation import ActivatedLayer
from laminar.losses import Loss

__all__ = ["Head", "find_head", "last_module"]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda z: z.softmax(1),
    "sigmoid": torch.sigmoid,
}


def _identity(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class Head:
    """How to read a network's output.

    Attributes:
        activation: what turns logits into probabilities ("softmax", "sigmoid"); None where the loss takes the output as it is.
        module: the module that applies it and can be told not to; None where there is none.
        gives_probabilities: whether the network's plain output is probabilities.
    """

    activation: str | None
    module: nn.Module | None
    gives_probabilities: bool

    @property
    def trains_on_logits(self) -> bool:
        """Whether the loss is computed on logits."""
        return self.activation is not None and (self.module is not None or not self.gives_probabilities)

    @contextmanager
    def logits(self) -> Iterator[None]:
        """Let the network return logits inside, where it can."""
        module = self.module
        if module is None:
            yield
        elif isinstance(module, ActivatedLayer):
            attributes = module.__dict__  # nn.Module's own __setattr__ takes a microsecond
            attributes["_emits_logits"] = True
            try:
                yield
            finally:
                attributes["_emits_logits"] = False
        else:  # torch's own Softmax or Sigmoid: its forward is shadowed, its hooks still run
            module.__dict__["forward"] = _identity
            try:
                yield
            finally:
                del module.__dict__["forward"]

    def probabilities(self, z: Tensor) -> Tensor:
        """Return what `logits` left out: probabilities from logits."""
        return z if self.activation is None else _ACTIVATIONS[self.activation](z)

    def finish(self, output: Tensor) -> Tensor:
        """Return what `predict` returns for the network's plain output."""
        return output if self.gives_probabilities else self.probabilities(output)


def last_module(module: nn.Module) -> nn.Module:
    """Return the module that a chain of modules ends in.

    >>> last_module(nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU(), nn.Softmax(1))))
    Softmax(dim=1)
    """
    while isinstance(module, nn.Sequential) or getattr(module, "is_chain", False):
        children = list(module._modules.values())
        if not children or children[-1] is None:
            break
        module = children[-1]
    return module


def _applied(module: nn.Module) -> str | None:
    if isinstance(module, ActivatedLayer):
        return module.activation_name
    if isinstance(module, nn.Softmax) and module.dim in (1, -1):
        return "softmax"
    return "sigmoid" if isinstance(module, nn.Sigmoid) else None


def find_head(model: nn.Module, loss: Loss, probe: Callable[[], Tensor]) -> Head:
    """Return how to read `model`'s output under `loss`.

    Args:
        model: the network.
        loss: its loss; one that undoes no activation takes the output as it is.
        probe: returns the output for a few real observations; called only where the network's last module does not tell.
    """
    if loss.activation is None:
        return Head(None, None, gives_probabilities=True)
    last = last_module(model)
    if _applied(last) == loss.activation:
        return Head(loss.activation, last, gives_probabilities=True)
    with torch.enable_grad():
        output = probe()
    return Head(loss.activation, None, gives_probabilities=_PROBES[loss.activation](output))


def _sums_to_one(output: Tensor) -> bool:
    output = output.detach().float()
    if output.numel() == 0 or bool(((output < 0) | (output > 1)).any()):
        return False
    return bool(((output.sum(1) - 1).abs() < 1e-3).all())


def _ends_in_sigmoid(output: Tensor) -> bool:
    """Ask autograd what made the output: small logits lie between 0 and 1 as probabilities do, so values cannot tell."""
    node: Any = output.grad_fn
    while node is not None and node.name().removesuffix("Backward0") in _VIEWS:
        node = node.next_functions[0][0]
    return node is not None and node.name() == "SigmoidBackward0"


_VIEWS = {"View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Select", "Slice", "Alias", "Transpose", "Permute"}
_PROBES = {"softmax": _sums_to_one, "sigmoid": _ends_in_sigmoid}
