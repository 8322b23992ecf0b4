"""What a loss is, and what the element-by-element ones share."""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from typing import TypeGuard

import torch
from torch import Tensor

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.losses import labels

__all__ = ["Elementwise", "Loss", "full", "is_number", "match", "per_observation", "share"]

EPSILON = 1e-7  # Keras' fuzz factor: what probabilities and divisors are kept away from 0 by

_HALF = (torch.bfloat16, torch.float16)


class Loss(ABC):
    """One number that training makes small: the mean over observations of a value for each.

    Attributes:
        name: what History and messages call it.
        activation: "softmax" or "sigmoid" if this loss is a cross-entropy of such an output, which is computed more accurately
            from the numbers before that activation (see `on_logits`); else None.
        from_logits: whether it takes those numbers.
        axis: where the classes are in a batch, if the loss has classes and knows; else None.

    >>> class Cubic(Loss):
    ...     name = "cubic"
    ...
    ...     def values(self, prediction, target):
    ...         return (prediction - target).abs().pow(3).flatten(1).mean(1)
    >>> Cubic()(torch.tensor([[2.0], [0.0]]), torch.tensor([[0.0], [0.0]]))
    tensor(4.)
    """

    name: str
    activation: str | None = None
    from_logits: bool = False
    axis: int | None = None

    @abstractmethod
    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return one value per observation.

        Args:
            prediction: the network's outputs (B, ...).
            target: as `prepare` returns it (B, ...).

        Returns:
            (B,); over further axes, such as pixels, it is the mean.
        """

    def __call__(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the mean over observations, a scalar.

        With weights it is Σ wᵢ·lᵢ / B: divided by the number of observations, not by the sum of weights, as Keras does.

        Args:
            prediction: (B, ...).
            target: (B, ...).
            weight: (B,).

        Raises:
            ShapeError: if the shapes do not fit each other; nothing is broadcast.
        """
        if weight is None:
            return self._mean(prediction, target)
        values = self.values(prediction, target)
        if weight.shape != values.shape:
            received, count = f"shape {tuple(weight.shape)}", len(values)
            fix = f"Pass {count} of them: weight.reshape({count})"
            raise ShapeError(
                complaint("weight", expected=f"one number per observation, shape ({count},)", received=received, fix=fix)
            )
        return (values * weight).mean()

    def _mean(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean of `values`; overridden where one call of torch gives it."""
        return self.values(prediction, target).mean()

    def on_logits(self) -> Loss:
        """Return the form that takes the numbers before `activation`; itself if there is none, or it does so already."""
        return self

    def along(self, axis: int | None) -> Loss:
        """Return this loss told where the network has its classes; itself if it has none, or knows already.

        Args:
            axis: of a batch of outputs: 1 or -1; None if the network does not tell.
        """
        return self

    def to(self, device: torch.device | str) -> Loss:
        """Return this loss with whatever tensors it holds (class weights, say) on `device`."""
        return self

    def prepare(
        self, target: Tensor, output_shape: tuple[int, ...], where: str = "y", dtype: torch.dtype | None = None
    ) -> Tensor:
        """Return the targets of a data set as this loss wants them, after looking at each; here: finite numbers.

        Args:
            target: (N, ...).
            output_shape: of the network, without the batch axis.
            where: what the targets are called, for messages.
            dtype: of results that are not class numbers; torch's default dtype if None.

        Raises:
            LabelError: if they do not fit the network or the loss.
        """
        return labels.numbers(target, output_shape, where, dtype=dtype)


class Elementwise(Loss):
    """A loss with a value for each number that the network puts out."""

    @abstractmethod
    def elements(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return one value per number; shape and dtype of the two agree already."""

    def values(self, prediction: Tensor, target: Tensor) -> Tensor:
        """See `Loss.values`."""
        return per_observation(self.elements(*match(prediction, target, self.name)))

    def _mean(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.elements(*match(prediction, target, self.name)).mean()


def per_observation(values: Tensor) -> Tensor:
    """Return (B,): the mean over all axes but the first.

    >>> per_observation(torch.tensor([[1.0, 3.0], [0.0, 0.0]]))
    tensor([2., 0.])
    """
    return values.flatten(1).mean(1) if values.ndim > 1 else values


def full(prediction: Tensor) -> Tensor:
    """Return outputs in float32 at least: a loss in half precision has three digits.

    >>> full(torch.ones(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return prediction.float() if prediction.dtype in _HALF else prediction


def match(prediction: Tensor, target: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Return both in one dtype, float32 at least.

    Raises:
        ShapeError: if their shapes differ: (B, 1) against (B,) would become (B, B).

    >>> match(torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.int64), "mean_squared_error")[1]
    tensor([[1., 1.]])
    """
    if prediction.shape != target.shape:
        expected, received = f"a target of the prediction's shape {tuple(prediction.shape)}", f"{tuple(target.shape)}"
        fix = (
            f"Pass target.reshape({tuple(prediction.shape)})" if prediction.numel() == target.numel() else "Pass such a target"
        )
        raise ShapeError(complaint(f"loss '{name}'", expected=expected, received=received, fix=fix))
    if target.dtype is prediction.dtype and prediction.dtype not in _HALF:
        return prediction, target
    prediction = full(prediction)
    return prediction, target.to(prediction.dtype)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether `value` is one real number.

    >>> is_number(0.5), is_number("0.5"), is_number(True)
    (True, False, False)
    """
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def share(where: str, value: object) -> None:
    """Refuse a `value` outside [0, 1].

    Raises:
        ArgumentError: naming `where`.
    """
    if not is_number(value) or not 0 <= value <= 1:
        name = where.partition("(")[2].rstrip(")")
        raise ArgumentError(
            complaint(where, expected="a number in [0, 1]", received=repr(value), fix=f"Pass {name}0.1, for example")
        )
