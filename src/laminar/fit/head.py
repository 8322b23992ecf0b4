"""What a network's output means: probabilities, logits, or plain numbers.

A cross-entropy is exact only on logits (the scores before softmax or sigmoid). Where a network ends in the activation that the
loss undoes, training and evaluation leave that activation out; where it ends without, its output is taken as logits, and
`predict` adds the activation. A network whose last step is hidden in its own `forward` is asked once, with real data.
"""

from __future__ import annotations

import re
from collections import Counter
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
from laminar.layers.activation import ActivatedLayer, Activation, Softmax
from laminar.layers.chain import Chain
from laminar.layers.recurrence import Recurrence
from laminar.layers.wrappers import Bidirectional, TimeDistributed
from laminar.losses import Loss
from laminar.snapshots import Before

__all__ = ["Head", "find_axis", "find_head", "last_module"]

_PROBED = 16  # observations that a network whose last step is hidden is asked with
# what may stand between a network's last layer with weights and its output, without moving the classes
_KEEPS_THE_AXES = (Activation, Softmax, nn.Softmax, nn.LogSoftmax, nn.Sigmoid, nn.Identity, nn.Dropout)


def _identity(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class Head:
    """How to read a network's output.

    Attributes:
        activation: what turns logits into probabilities ("softmax", "sigmoid"); None where the loss takes the output as it is.
        module: the module that applies it and can be told not to; None where there is none.
        gives_probabilities: whether the network's plain output is probabilities.
        axis: of the classes in a batch of outputs; None where the network does not tell.
    """

    activation: str | None
    module: nn.Module | None
    gives_probabilities: bool
    axis: int | None = None

    @property
    def trains_on_logits(self) -> bool:
        """Whether the loss is computed on logits."""
        return self.activation is not None and (self.module is not None or not self.gives_probabilities)

    def criterion(self, loss: Loss) -> Loss:
        """Return the loss as it is computed: on logits where they can be had, with the classes where the network has them."""
        loss = loss.along(self.axis)
        return loss.on_logits() if self.trains_on_logits else loss

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
        if self.activation is None:
            return z
        return z.sigmoid() if self.activation == "sigmoid" else z.softmax(self.axis or 1)

    def finish(self, output: Tensor) -> Tensor:
        """Return what `predict` returns for the network's plain output."""
        return output if self.gives_probabilities else self.probabilities(output)


def last_module(module: nn.Module) -> nn.Module:
    """Return the module that a chain of modules ends in.

    >>> last_module(nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU(), nn.Softmax(1))))
    Softmax(dim=1)
    """
    while tail := _tail(module):
        module = tail[-1]
    return module


def _ends_alone(module: nn.Module) -> bool:
    """Return whether what a chain ends in, and what that is in, stands nowhere else: left out, it would be missing there."""
    held = Counter(id(child) for parent in module.modules() for child in parent._modules.values())
    while tail := _tail(module):
        module = tail[-1]
        if held[id(module)] != 1:
            return False
    return True


def _tail(module: nn.Module) -> list[nn.Module]:
    """Return the children that the module's output goes through last, in order; none where a forward of its own hides them."""
    if isinstance(module, nn.Sequential):
        return list(module) if type(module).forward in (nn.Sequential.forward, Chain.forward) else []
    # the mark of a Network, which stands above this file
    return module.tail() if hasattr(module, "is_chain") else []  # type: ignore[operator]  # a method of it


def find_axis(model: nn.Module) -> int | None:
    """Return where a network has its classes in a batch of outputs, if its last layer tells: -1 behind Dense, 1 behind Conv.

    Activations and dropout after that layer are looked through.

    >>> (
    ...     find_axis(nn.Sequential(nn.Conv1d(3, 5, 1), nn.Softmax(1))),
    ...     find_axis(nn.Sequential(nn.Linear(3, 5))),
    ...     find_axis(nn.ReLU()),
    ... )
    (1, -1, None)
    """
    for module in _from_the_end(model):
        if isinstance(module, nn.Linear | Recurrence | Bidirectional):
            return -1
        if isinstance(module, TimeDistributed):  # which puts the steps before the axes of its layer
            axis = find_axis(module.layer)
            return axis + 1 if axis is not None and axis > 0 else axis
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            return 1
        if not isinstance(module, _KEEPS_THE_AXES):
            axis = getattr(module, "channel_axis", None)
            return axis if isinstance(axis, int) else None
    return None


def _from_the_end(module: nn.Module) -> Iterator[nn.Module]:
    """Return the modules of a chain, and of the chains in it, from the last to the first."""
    tail = _tail(module)
    if not tail:
        yield module
    for child in reversed(tail):
        yield from _from_the_end(child)


def find_head(model: nn.Module, loss: Loss, example: Callable[[], Inputs], axes: int = 1) -> Head:
    """Return how to read the output of `model`, a network with one output, under `loss`.

    Args:
        model: the network.
        loss: its loss; one that undoes no activation takes the output as it is.
        example: returns some real observations; called only where the network is asked.
        axes: how many an observation of the output has.
    """
    told = find_axis(model) if loss.axis is None else loss.axis
    axis = 1 if axes < 2 else None if told is None else told % (axes + 1)
    if loss.activation is None:
        return Head(None, None, gives_probabilities=True, axis=axis)

    def probe() -> Tensor:
        x = example()
        few = tuple(t[:_PROBED] for t in x) if isinstance(x, tuple) else x[:_PROBED]
        before = Before(model)
        try:
            with inference(model):
                output: Tensor = forward(model, few)
        finally:
            before.put_back()  # a recurrent layer must not go on from the states of a question
        return output

    last = last_module(model)
    head = Head(loss.activation, last, gives_probabilities=True, axis=axis)
    if _applies(last, loss.activation, axis or 1, axes) and _ends_alone(model) and _leaves_out(head, probe):
        return head
    if _scores(last):
        return Head(loss.activation, None, gives_probabilities=False, axis=axis)
    with _LastStretch() as stretch:
        output = probe()
    axis = axis or stretch.channel_axis(output)
    gives = _sums_to_one(output, axis or 1) if loss.activation == "softmax" else _is_squashed(output, stretch.names)
    return Head(loss.activation, None, gives_probabilities=gives, axis=axis)


def _scores(module: nn.Module) -> bool:
    """Return whether `module` ends in a linear map for certain, so that nobody needs to be asked."""
    if isinstance(module, ActivatedLayer) and not isinstance(module, Activation):
        return type(module).__module__.startswith("laminar.") and module.activation is activations.linear
    return type(module) in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _applies(module: nn.Module, activation: str, axis: int, axes: int) -> bool:
    """Return whether the last thing that `module` does is `activation`, over the classes if it is a softmax."""
    last: Any = module.activation if isinstance(module, ActivatedLayer) else module
    if activation == "sigmoid":
        return last in (activations.sigmoid, torch.sigmoid, nn.functional.sigmoid) or isinstance(last, nn.Sigmoid)
    if isinstance(last, nn.Softmax):
        over: Any = last.dim
    elif last is activations.softmax:
        over = getattr(module, "axis", getattr(module, "channel_axis", None))
    else:
        return False
    return isinstance(over, int) and -axes - 1 <= over <= axes and over % (axes + 1) == axis


def _leaves_out(head: Head, probe: Callable[[], Tensor]) -> bool:
    """Return whether `head.logits` has its effect: a user's subclass of our layers may call its activation directly."""
    if not isinstance(head.module, ActivatedLayer) or type(head.module).__module__.startswith("laminar."):
        return True
    with head.logits():
        logits = probe()
    return not torch.equal(logits, probe())


# -- asking a network that does not tell ----------------------------------------------------------------------------------


_MIXING = re.compile(r"mm$|mv$|conv|dot|^(mkldnn_)?linear|lstm|gru|rnn|embedding")
_MOVING = frozenset({"permute", "transpose", "t", "movedim", "moveaxis", "swapaxes", "flip", "flatten"})
_SQUASHING = frozenset(
    {"sigmoid", "hardsigmoid", "_softmax", "softmax", "tanh", "erf", "exp", "special_ndtr", "clamp", "hardtanh"}
)


class _LastStretch(TorchDispatchMode):
    """Notes the operations after the last one that mixes features: what a network does to its own scores."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        self.names: set[str] = set()
        self._mixed: tuple[str, tuple[int, ...]] | None = None  # the operation's name and the shape of what it returned

    def channel_axis(self, output: Tensor) -> int | None:
        """Return the axis of `output` that the mixing put its features on; None where that cannot be told."""
        if self._mixed is None or not _MOVING.isdisjoint(self.names):
            return None
        name, shape = self._mixed
        axis = 1 if "conv" in name else output.dim() - 1
        same = len(shape) > 1 and output.dim() > axis and shape[1 if "conv" in name else -1] == output.shape[axis]
        return axis if same else None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::").rstrip("_")
        result = func(*args, **(kwargs or {}))
        if _MIXING.search(name):
            self.names.clear()
            self._mixed = (name, tuple(result.shape) if isinstance(result, Tensor) else ())
        else:
            self.names.add(name)
        return result


def _sums_to_one(output: Tensor, axis: int) -> bool:
    return output.dim() > 1 and _within_bounds(output) and bool(((output.float().sum(axis) - 1).abs() < 1e-3).all())


def _is_squashed(output: Tensor, operations: set[str]) -> bool:
    """Return whether the scores were squashed into [0, 1]; that they lie there is not enough: small logits may, too."""
    return _within_bounds(output) and not _SQUASHING.isdisjoint(operations)


def _within_bounds(output: Tensor) -> bool:
    return output.numel() > 0 and bool(((output >= 0) & (output <= 1)).all())
