"""When gradients move the parameters: after every batch, or after every k batches, by the mean of their gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from laminar.fit.pace import Pace
from laminar.optimizers.update import update_of

__all__ = ["Updates"]


class Updates:
    """Takes the gradient of each batch from the parameters, and lets the optimizer step when it is time.

    The mean is over observations: a batch that is smaller than the others counts less, so that the update is that of all
    its observations in one batch, for a loss that is a mean over them.

    Args:
        pace: of the parameters; it says after how many batches an update is due, and counts the updates.

    >>> from laminar.optimizers import SGD
    >>> w = nn.Parameter(torch.zeros(1))
    >>> rule = SGD(1.0, gradient_accumulation_steps=2)
    >>> updates = Updates(Pace(rule.create([w]), rule))
    >>> for gradient in (1.0, 3.0):
    ...     w.grad = torch.tensor([gradient])
    ...     updates.take(8)
    ...     w.tolist()
    [0.0]
    [-2.0]
    """

    def __init__(self, pace: Pace) -> None:
        self._pace, self._step = pace, update_of(pace.optimizer)
        self.parameters: list[nn.Parameter] = [p for group in pace.optimizer.param_groups for p in group["params"]]
        self._sums: dict[nn.Parameter, Tensor] = {}
        self._batches, self._first, self._seen = 0, 0, 0  # gathered: how many, of what size the first, observations in all

    def take(self, size: int) -> None:
        """Make the update that the gradients of a batch of `size` observations complete, or keep them for it."""
        if self._pace.batches_an_update == 1:
            self._update()
            return
        self._gather(size)
        if self._batches == self._pace.batches_an_update:
            self.finish()

    def finish(self) -> None:
        """Make an update of what is gathered, if anything is."""
        if not self._batches:
            return
        if self._seen != self._first:
            torch._foreach_mul_(list(self._sums.values()), self._first / self._seen)
        for p in self.parameters:
            p.grad = self._sums.get(p) if p.requires_grad else None  # it may have been frozen since
        self._sums, self._batches, self._first, self._seen = {}, 0, 0, 0
        self._update()

    def _gather(self, size: int) -> None:
        """Add the gradients, each batch counting by its size; relative to the first, numbers stay as large as they are."""
        self._first = self._first or size
        self._batches, self._seen = self._batches + 1, self._seen + size
        found = {p: p.grad for p in self.parameters if p.grad is not None}
        known = [p for p in found if p in self._sums]
        new = {p: gradient for p, gradient in found.items() if p not in self._sums}
        share = size / self._first
        if known:
            torch._foreach_add_([self._sums[p] for p in known], [found[p] for p in known], alpha=share)
        if new and share != 1.0:
            torch._foreach_mul_(list(new.values()), share)
        self._sums.update(new)

    def _update(self) -> None:
        self._step()
        self._pace.iterations += 1
