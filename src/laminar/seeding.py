"""Random numbers that depend on a seed and a place, never on what was drawn before.

A seed is derived from a root seed and a path ("conv1/weight", "shuffle", 3), so two networks that differ in one layer still
start from the same numbers everywhere else, and a run can be repeated from any point.
"""

from __future__ import annotations

import hashlib
import operator
import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch

__all__ = [
    "ambient_generator",
    "derive",
    "generator",
    "generator_states",
    "loader_preserved",
    "preserved",
    "seed_all",
    "seed_torch",
    "seeded",
]

_AMBIENT: ContextVar[int | None] = ContextVar("laminar_seed", default=None)


def derive(seed: int, *path: str | int) -> int:
    """Return a seed in [0, 2**63) that is a fixed function of `seed` and `path`.

    >>> derive(0, "conv1", "weight") == derive(0, "conv1", "weight") != derive(0, "conv2", "weight")
    True
    """
    text = "\x1f".join([str(int(seed)), *(f"str:{p}" if isinstance(p, str) else f"int:{operator.index(p)}" for p in path)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *path: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a fresh torch generator on `device`, seeded with `derive(seed, *path)`."""
    return torch.Generator(device=device).manual_seed(derive(seed, *path))


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators, for code that draws from them (dropout does)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    seed_torch(seed)


def seed_torch(seed: int) -> None:
    """Seed torch's global generators: as torch.manual_seed, without its half a millisecond where there is only the CPU."""
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def generator_states() -> dict[str, bytes]:
    """Return the states of the global generators by whose they are, to be compared: "torch", "NumPy" and "Python".

    >>> before = generator_states()
    >>> _ = torch.rand(3)
    >>> [name for name, state in generator_states().items() if state != before[name]]
    ['torch']
    """
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "NumPy": pickle.dumps(np.random.get_state()),
        "Python": pickle.dumps(random.getstate()),
    }


@contextmanager
def preserved() -> Iterator[None]:
    """Give Python's, NumPy's and torch's global generators their states back after what is drawn inside.

    >>> before = torch.get_rng_state()
    >>> with preserved():
    ...     _ = torch.rand(3)
    >>> torch.equal(before, torch.get_rng_state())
    True
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)


@contextmanager
def loader_preserved(source: object) -> Iterator[None]:
    """Give a DataLoader's own generator its state back afterwards; of anything else, do nothing.

    >>> loader = torch.utils.data.DataLoader([1, 2, 3], shuffle=True, generator=torch.Generator().manual_seed(0))
    >>> with loader_preserved(loader):
    ...     once = [int(n) for n in loader]
    >>> once == [int(n) for n in loader]
    True
    """
    own = getattr(source, "generator", None) if isinstance(source, torch.utils.data.DataLoader) else None
    state = None if own is None else own.get_state()
    try:
        yield
    finally:
        if own is not None:
            own.set_state(state)


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Let every layer built inside draw its initial values from `seed` and its own path."""
    token = _AMBIENT.set(seed)
    try:
        yield
    finally:
        _AMBIENT.reset(token)


def ambient_generator(*path: str | int) -> torch.Generator | None:
    """Return the generator for `path` under the innermost `seeded`; None where there is no seed, for torch's global one."""
    seed = _AMBIENT.get()
    return None if seed is None else generator(seed, *path)
