"""What this machine can do at best: how fast it multiplies matrices, and how fast it copies memory."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Machine", "clock", "measured"]

_SIZE, _NUMBERS = 512, 1 << 24  # of the matrices, and of the tensor that is copied
_SECONDS, _FEWEST = 0.25, 3


@dataclass(frozen=True)
class Machine:
    """What a device can do, measured.

    Attributes:
        flops: floating-point operations a second, in the product of two large matrices.
        bandwidth: bytes a second, read and written, in the copy of a large tensor.
    """

    flops: float
    bandwidth: float

    def floor(self, flops: float, moved: float) -> float:
        """Return the seconds that so many operations and so many bytes take at least.

        >>> Machine(1e9, 1e8).floor(2e9, 1e8)
        2.0
        """
        return max(flops / self.flops, moved / self.bandwidth)


def clock(device: torch.device) -> float:
    """Return the time in seconds when the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@functools.cache
def measured(device: torch.device, dtype: torch.dtype = torch.float32) -> Machine:
    """Measure a device, once in a process: half a second.

    Args:
        device: where.
        dtype: of the matrices.
    """
    a, b = (torch.ones(_SIZE, _SIZE, dtype=dtype, device=device) for _ in range(2))
    source = torch.ones(_NUMBERS, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    product = _best(lambda: torch.mm(a, b), device)
    copy = _best(lambda: target.copy_(source), device)
    return Machine(2 * _SIZE**3 / product, 2 * source.nbytes / copy)


def _best(run: Callable[[], Any], device: torch.device) -> float:
    """Return the shortest of several runs."""
    run()
    times: list[float] = []
    end = clock(device) + _SECONDS
    while len(times) < _FEWEST or clock(device) < end:
        start = clock(device)
        run()
        times.append(clock(device) - start)
    return min(times)
