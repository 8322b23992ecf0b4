"""Losses that people bring along: torch's loss modules, and functions."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.losses import labels
from laminar.losses.base import Loss, match, per_observation

__all__ = ["CustomLoss", "TorchLoss"]


class CustomLoss(Loss):
    """A function of prediction and target that returns a value per observation, (B,) or (B, ...), or their mean.

    Sample weights need a value per observation. Targets come as they are, only floats in the network's dtype.

    Args:
        function: called with (prediction, target).
        name: for History; the function's own name if None.

    Raises:
        ArgumentError: on a call, if it does not return a tensor, or only a mean where values are needed.

    >>> CustomLoss(lambda p, y: (p - y) ** 4, name="quartic")(torch.tensor([[2.0]]), torch.tensor([[0.0]]))
    tensor(16.)
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Any], name: str | None = None) -> None:
        self.function = function
        self.name = name or str(getattr(function, "__name__", type(function).__name__))

    def __repr__(self) -> str:
        return f"CustomLoss({self.name})"

    def _call(self, prediction: Tensor, target: Tensor) -> Tensor:
        result = self.function(prediction, target)
        if not isinstance(result, Tensor):
            expected, received = "a tensor from the function", type(result).__name__
            fix = "Return the tensor itself, not .item() or a NumPy array, which have no gradient"
            raise ArgumentError(complaint(f"loss '{self.name}'", expected=expected, received=received, fix=fix))
        return result

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Loss.values`."""
        result = self._call(prediction, target)
        if result.ndim == 0 or len(result) != len(prediction):
            expected = f"one value per observation, shape ({len(prediction)},), because observations are weighted"
            received, fix = f"shape {tuple(result.shape)}", "Return the values before taking their mean"
            raise ShapeError(complaint(f"loss '{self.name}'", expected=expected, received=received, fix=fix))
        return per_observation(result)

    def _mean(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self._call(prediction, target).mean()

    def prepare(
        self, target: Tensor, output_shape: tuple[int, ...], where: str = "y", dtype: torch.dtype | None = None
    ) -> Tensor:
        """Return the targets as they are, floats in `dtype` (torch's default dtype if None)."""
        return target.to(dtype or torch.get_default_dtype()) if target.is_floating_point() else target


_NUMBERS = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
_BINARY = (nn.BCELoss, nn.BCEWithLogitsLoss)
_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss)


class TorchLoss(Loss):
    """A loss module of torch, or one that is called like it; it gets the network's raw outputs, as in plain torch.

    Without sample weights the result is the module's own. With them it is Σ wᵢ·lᵢ / B over the module's unreduced values, which
    needs a module with a `reduction`; the class weights of torch's cross-entropy then multiply but do not divide.

    Args:
        module: called with (prediction, target).

    Raises:
        ShapeError: if a regression or binary module is given a target of another shape than the prediction's.
        ArgumentError: if sample weights come with a module that has no `reduction`.

    >>> loss = TorchLoss(nn.CrossEntropyLoss(label_smoothing=0.1))
    >>> loss.name, loss(torch.zeros(1, 2), torch.tensor([0]))
    ('cross_entropy', tensor(0.6931))
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(module).__name__).lower()
        self.name = words.removesuffix("_loss") or words
        self._pointwise = isinstance(module, _NUMBERS + _BINARY)
        self.axis = 1 if isinstance(module, _CLASSES) else None  # torch's own have the classes there, whatever the network

    def __repr__(self) -> str:
        return f"TorchLoss({self.module})"

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Loss.values`."""
        if not hasattr(self.module, "reduction"):
            expected, received = "a module with a `reduction`, because observations are weighted", "one without"
            fix = 'Give it the attribute reduction, and a value per observation for "none"'
            raise ArgumentError(complaint(f"loss '{self.name}'", expected=expected, received=received, fix=fix))
        unreduced: Any = copy.copy(self.module)  # shares its tensors
        unreduced.reduction = "none"
        return per_observation(self._call(unreduced, prediction, target))

    def _call(self, module: nn.Module, prediction: Tensor, target: Tensor) -> Tensor:
        if self._pointwise:
            prediction, target = match(prediction, target, self.name)
        result: Tensor = module(prediction, target)
        return result

    def _mean(self, prediction: Tensor, target: Tensor) -> Tensor:
        result = self._call(self.module, prediction, target)
        return result.mean() if result.ndim else result

    def to(self, device: torch.device | str) -> TorchLoss:
        """Move the module's tensors, in place as torch does, and return this loss."""
        self.module.to(device)
        return self

    def prepare(
        self, target: Tensor, output_shape: tuple[int, ...], where: str = "y", dtype: torch.dtype | None = None
    ) -> Tensor:
        """See `Loss.prepare`; for a module that is not torch's own, targets stay as they are, floats in `dtype`."""
        dtype = dtype or torch.get_default_dtype()
        if isinstance(self.module, _CLASSES):
            soft, ignore = isinstance(self.module, nn.CrossEntropyLoss), self.module.ignore_index
            target = labels.class_numbers(target, output_shape, where, loss=self.name, soft=soft, ignore=ignore, axis=1)
        elif isinstance(self.module, _BINARY):
            return labels.binary(target, output_shape, where, dtype=dtype)
        elif isinstance(self.module, _NUMBERS):
            return labels.numbers(target, output_shape, where, dtype=dtype)
        return target.to(dtype) if target.is_floating_point() else target
