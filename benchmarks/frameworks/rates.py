"""What the machine can do: the rate of its matrix products, and that of its memory. Prints one line of JSON.

PYTHONPATH=benchmarks .venv/bin/python -m frameworks.rates 2
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import torch

_SIDE = 1536  # of the matrices: 9 MB each
_NUMBERS = 1 << 26  # that are copied: 256 MB, more than any cache
_REPEATS = 5


def _fastest(action: Callable[[], object]) -> float:
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def measure(threads: int) -> dict[str, float]:
    """Return the float32 matrix rate in GFLOP/s and the copy rate in GB/s, bytes read and bytes written both counted."""
    torch.set_num_threads(threads)
    a, b = torch.rand(_SIDE, _SIDE), torch.rand(_SIDE, _SIDE)
    product = _fastest(lambda: a @ b)
    source, target = torch.ones(_NUMBERS), torch.empty(_NUMBERS)
    copy = _fastest(lambda: target.copy_(source))
    return {"gflops": 2 * _SIDE**3 / product / 1e9, "gbs": 2 * 4 * _NUMBERS / copy / 1e9}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
