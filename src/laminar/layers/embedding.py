"""Embedding: a vector of its own for each word of a vocabulary."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar import initializers
from laminar.errors import DataError, DtypeError, complaint
from laminar.layers.arithmetic import Arithmetic, count
from laminar.layers.base import Layer
from laminar.layers.core import positive
from laminar.shapes import Shape

__all__ = ["Embedding"]


class Embedding(Layer):
    """Replaces each whole number k by row k of a table that learns: (B, steps) becomes (B, steps, output_dim).

    Args:
        input_dim: size of the vocabulary; the numbers are 0 to input_dim − 1.
        output_dim: length of a row.
        embeddings_initializer: where the table starts.
        mask_zero: whether 0 stands for "nothing here": its row is zero and does not learn, so that a recurrent layer with
            `mask_value=0.0` skips these steps.
        name: the layer's name.

    Attributes:
        weight: (input_dim, output_dim), as in torch.

    Raises:
        ArgumentError: if a size is no whole number of at least 1.
        DtypeError: when called on anything but whole numbers.
        DataError: when called on a number outside the vocabulary. On a GPU torch itself stops the program.
        UnknownNameError: on an unknown initializer.

    Source: Bengio et al., "A neural probabilistic language model", 2003; row R28 of the mission.

    >>> Embedding(1000, 16)(torch.tensor([[3, 1, 0, 0], [7, 7, 2, 0]])).shape
    torch.Size([2, 4, 16])
    """

    takes_whole_numbers: ClassVar[bool] = True

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        *,
        mask_zero: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.input_dim = positive("Embedding(input_dim=)", input_dim)
        self.output_dim = positive("Embedding(output_dim=)", output_dim)
        initializers.get(embeddings_initializer)
        self._initializer = embeddings_initializer
        self.mask_zero = bool(mask_zero)

    def build(self, shape: Shape) -> None:
        """Declare the table; it does not depend on `shape`."""
        self.weight = self.learnable((self.input_dim, self.output_dim), init=self._initializer)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, ..., output_dim) from whole numbers (B, ...)."""
        if x.is_floating_point() or x.is_complex() or x.dtype is torch.bool:
            raise DtypeError(
                complaint(
                    self.label, expected="whole numbers", received=f"dtype {x.dtype}", fix='Convert them: x.astype("int64")'
                )
            )
        if x.dtype not in (torch.int32, torch.int64):
            x = x.long()
        try:
            rows = F.embedding(x, self.weight)
        except IndexError as error:  # torch does not say which
            raise self._outside(x) from error
        return rows.masked_fill((x == 0)[..., None], 0.0) if self.mask_zero else rows

    def _outside(self, x: Tensor) -> DataError:
        bad = x[(x < 0) | (x >= self.input_dim)]
        fix = f"Number the words from 0 to {self.input_dim - 1}"
        if int(x.min()) >= 0:
            fix += f", or pass Embedding(input_dim={int(x.max()) + 1})"
        return DataError(
            complaint(
                self.label,
                expected=f"whole numbers from 0 to {self.input_dim - 1}, a vocabulary of {self.input_dim}",
                received=f"{int(bad[0])}",
                fix=fix,
            )
        )

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return the parameters: a row for each word."""
        total = self.input_dim * self.output_dim
        line = f"parameters: {count(self.input_dim)} words of {count(self.output_dim)} numbers = {count(total)}"
        return Arithmetic((*shape, self.output_dim), total, (line,))

    def extra_repr(self) -> str:
        """Return the sizes, and whether 0 is masked."""
        return f"input_dim={self.input_dim}, output_dim={self.output_dim}{', mask_zero=True' if self.mask_zero else ''}"
