"""What a source of batches is, and the order that observations are put into."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from laminar import seeding
from laminar.errors import DataError, complaint
from laminar.fit.convert import Batch

__all__ = ["Batches", "Order", "Shuffle"]

Shuffle = Literal["epoch", "once"] | bool


@dataclass(frozen=True)
class Order:
    """How observations are put into batches.

    Attributes:
        size: observations a batch.
        shuffle: "epoch" (anew for every epoch), "once" (one order for all), or False (as they come).
        drop_last: whether a last batch that is not full is left out.
        seed: of the orders.
    """

    size: int
    shuffle: Shuffle = False
    drop_last: bool = False
    seed: int = 0

    def steps(self, n: int) -> int:
        """Return the number of batches that n observations make.

        Raises:
            DataError: if they make none.
        """
        steps = n // self.size if self.drop_last else -(-n // self.size)
        if steps == 0:
            raise DataError(
                complaint(
                    "fit(drop_last=True)",
                    expected=f"at least one full batch of {self.size}",
                    received=f"{n} observations",
                    fix=f"Pass batch_size={n} or less, or drop_last=False",
                )
            )
        return steps

    def permutation(self, n: int, epoch: int) -> Tensor | None:
        """Return the order of n observations in `epoch` (from 1); None where they come as they are."""
        if not self.shuffle:
            return None
        return torch.randperm(n, generator=seeding.generator(self.seed, "shuffle", 0 if self.shuffle == "once" else epoch))


class Batches(ABC):
    """A source of batches that can be gone through once for each epoch."""

    observations: int | None
    """How many there are; None where a stream does not tell."""

    steps: int | None
    """Batches an epoch; None where a stream does not tell."""

    waited: float = 0.0
    """Seconds that were waited for batches since somebody set it to 0."""

    @property
    def advice(self) -> str:
        """What to do about it, where that is long."""
        return ""

    @abstractmethod
    def epoch(self, number: int) -> Iterator[Batch]:
        """Return the batches of epoch `number`, from 1."""

    @abstractmethod
    def everything(self) -> Iterator[Batch]:
        """Return every observation once: in order, and with the last batch, where that is ours to choose."""

    def at_least(self, size: int) -> Batches:
        """Return the same observations in batches of no fewer than `size`, where that is ours to choose."""
        return self

    def example(self) -> Batch:
        """Return the first batch of `everything`."""
        return next(iter(self.everything()))
