"""What a network's output means: probabilities, logits, or plain numbers.

A cross-entropy is exact only on logits (the scores before softmax or sigmoid). Where a network ends in the activation that the
loss undoes, training and evaluation leave that activation out; where it ends without, its output is taken as logits, and
`predict` adds the activation. A network whose last step is hidden in its own `forward` is asked once, with real data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from laminar import activations
from laminar.fit.convert import Inputs
from laminar.fit.forward import forward, inference
from laminar.layers.activation import ActivatedLayer, Activation
from laminar.losses import Loss

__all__ = ["Head", "find_head", "last_module"]

_PROBED = 16  # observations that a network whose last step is hidden is asked with

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
    while _is_chain(module):
        children = list(module._modules.values())
        if not children or children[-1] is None:
            break
        module = children[-1]
    return module


def _is_chain(module: nn.Module) -> bool:
    """Return whether the last child's output is the module's: not so where a subclass has a forward of its own."""
    if isinstance(module, nn.Sequential):
        return type(module).forward is nn.Sequential.forward
    return bool(getattr(module, "is_chain", False))


def find_head(model: nn.Module, loss: Loss, example: Callable[[], Inputs]) -> Head:
    """Return how to read the output of `model`, a network with one output, under `loss`.

    Args:
        model: the network.
        loss: its loss; one that undoes no activation takes the output as it is.
        example: returns some real observations; called only where the network is asked.
    """
    if loss.activation is None:
        return Head(None, None, gives_probabilities=True)

    def probe() -> Tensor:
        x = example()
        few = tuple(t[:_PROBED] for t in x) if isinstance(x, tuple) else x[:_PROBED]
        with inference(model):
            output: Tensor = forward(model, few)
        return output

    last = last_module(model)
    head = Head(loss.activation, last, gives_probabilities=True)
    if _applies(last, loss.activation, probe) and _leaves_out(head, probe):
        return head
    if _scores(last):
        return Head(loss.activation, None, gives_probabilities=False)
    with _LastStretch() as stretch:
        output = probe()
    return Head(loss.activation, None, gives_probabilities=_PROBES[loss.activation](output, stretch.names))


def _scores(module: nn.Module) -> bool:
    """Return whether `module` ends in a linear map for certain, so that nobody needs to be asked."""
    if isinstance(module, ActivatedLayer) and not isinstance(module, Activation):
        return type(module).__module__.startswith("laminar.") and module.activation is activations.linear
    return type(module) in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _applies(module: nn.Module, activation: str, probe: Callable[[], Tensor]) -> bool:
    """Return whether the last thing that `module` does is `activation`, over axis 1 if it is a softmax."""
    last: Any = module.activation if isinstance(module, ActivatedLayer) else module
    if activation == "sigmoid":
        return last in (activations.sigmoid, torch.sigmoid, nn.functional.sigmoid) or isinstance(last, nn.Sigmoid)
    if isinstance(last, nn.Softmax):
        return last.dim == 1 or (isinstance(last.dim, int) and last.dim < 0 and last.dim + probe().dim() == 1)
    return last is activations.softmax


def _leaves_out(head: Head, probe: Callable[[], Tensor]) -> bool:
    """Return whether `head.logits` has its effect: a user's subclass of our layers may call its activation directly."""
    if not isinstance(head.module, ActivatedLayer) or type(head.module).__module__.startswith("laminar."):
        return True
    with head.logits():
        logits = probe()
    return not torch.equal(logits, probe())


# -- asking a network that does not tell ----------------------------------------------------------------------------------


_MIXING = re.compile(r"mm$|mv$|conv|dot|^(mkldnn_)?linear|lstm|gru|rnn|embedding")
_SQUASHING = frozenset(
    {"sigmoid", "hardsigmoid", "_softmax", "softmax", "tanh", "erf", "exp", "special_ndtr", "clamp", "hardtanh"}
)


class _LastStretch(TorchDispatchMode):
    """Notes the operations after the last one that mixes features: what a network does to its own scores."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::").rstrip("_")
        if _MIXING.search(name):
            self.names.clear()
        else:
            self.names.add(name)
        return func(*args, **(kwargs or {}))


def _sums_to_one(output: Tensor, _operations: set[str]) -> bool:
    return output.dim() > 1 and _within_bounds(output) and bool(((output.float().sum(1) - 1).abs() < 1e-3).all())


def _is_squashed(output: Tensor, operations: set[str]) -> bool:
    """Return whether the scores were squashed into [0, 1]; that they lie there is not enough: small logits may, too."""
    return _within_bounds(output) and not _SQUASHING.isdisjoint(operations)


def _within_bounds(output: Tensor) -> bool:
    return output.numel() > 0 and bool(((output >= 0) & (output <= 1)).all())


_PROBES = {"softmax": _sums_to_one, "sigmoid": _is_squashed}
