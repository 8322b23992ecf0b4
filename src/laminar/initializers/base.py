"""What an initializer is, and the fans that scale it."""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch

from laminar.errors import ArgumentError, complaint

__all__ = ["Initializer", "fans", "finite"]


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """Return `(fan_in, fan_out)` of a learnable: how many inputs one output sums over, and the reverse.

    Source: Keras' `compute_fans`, for torch's layout of weights; row R9.

    >>> fans((64, 32, 3, 3)), fans((10, 784)), fans((20,)), fans(())
    ((288, 576), (784, 10), (20, 20), (1, 1))
    """
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


class Initializer(ABC):
    """A rule for initial values. To write your own, subclass and fill a float32 tensor in place in `fill`.

    Attributes:
        seed: if set, every call draws from a fresh generator with this seed, whatever generator is passed. Two learnables of
            one shape that share such an initializer start equal.
        exact: fill a tensor of the wanted dtype instead of a float32 one; for rules that draw nothing.

    >>> class Halves(Initializer):
    ...     def fill(self, values, generator):
    ...         values.fill_(0.5)
    >>> Halves()((2, 2))
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """

    seed: int | None = None
    exact: ClassVar[bool] = False

    @abstractmethod
    def fill(self, values: torch.Tensor, generator: torch.Generator | None) -> object:
        """Fill `values` (contiguous, without gradient; float32 unless `exact`) in place, drawing only from `generator`."""

    def __call__(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> torch.Tensor:
        """Return a new tensor of initial values, without gradient.

        Args:
            shape: the lengths of its axes.
            generator: where random numbers come from; torch's global CPU generator if None.
            dtype: of the result; torch's default dtype if None.
            device: of the result; torch's default device if None. On "meta" nothing is drawn.
        """
        dtype = torch.get_default_dtype() if dtype is None else dtype
        device = torch.get_default_device() if device is None else torch.device(device)
        shape = tuple(shape)
        if device.type == "meta":
            return torch.empty(shape, dtype=dtype, device=device)
        if self.seed is not None:
            generator = torch.Generator().manual_seed(self.seed)
        origin = torch.device("cpu") if generator is None else generator.device
        values = torch.empty(shape, dtype=dtype if self.exact else torch.float32, device=origin)
        if values.numel():
            with torch.no_grad():
                self.fill(values, generator)
        return values.to(device=device, dtype=dtype)


def finite(where: str, value: object, *, above: float | None = None, least: float | None = None) -> None:
    """Refuse a `value` that is not a finite number in the range."""
    limit = f" above {above:g}" if above is not None else f" of at least {least:g}" if least is not None else ""
    ok = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(number := float(value))
    if not ok or (above is not None and number <= above) or (least is not None and number < least):
        raise ArgumentError(
            complaint(where, expected=f"a finite number{limit}", received=repr(value), fix="Pass such a number")
        )
