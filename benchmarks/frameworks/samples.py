"""Data that can be learned, the same numbers for every framework."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from frameworks.networks import Network

__all__ = ["digits_files", "load", "sample"]

_SIGNAL = 0.1  # of a class's picture, against noise of standard deviation 1: learned in some steps, and not at once
_PARTS = ("x", "y", "x_test", "y_test")


def sample(network: Network, observations: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return x (N, *shape) and y, (N,) class numbers or (N, 1) numbers; another seed gives other noise on the same task."""
    fixed, rng = np.random.default_rng(1), np.random.default_rng([2, seed])
    x = rng.standard_normal((observations, *network.shape), dtype=np.float32)
    if not network.classes:
        weights = fixed.standard_normal(network.shape[-1], dtype=np.float32)
        return x, np.tanh(x.mean(1) @ weights)[:, None].astype(np.float32)
    y = rng.integers(network.classes, size=observations)
    for label in np.unique(y):  # one at a time, or the pictures of 1,000 classes would need the memory that is measured
        x[y == label] += _SIGNAL * _picture(network.shape, int(label))
    return x, y


def _picture(shape: tuple[int, ...], label: int) -> np.ndarray:
    """Return the picture of a class: coarse squares, so that a convolution can see them, too."""
    rng = np.random.default_rng([3, label])
    if len(shape) == 1:
        return rng.standard_normal(shape, dtype=np.float32)
    channels, height, width = shape
    coarse = rng.standard_normal((channels, 4, 4), dtype=np.float32)
    return np.repeat(np.repeat(coarse, height // 4, 1), width // 4, 2)


def digits_files(folder: Path, arrays: tuple[np.ndarray, ...]) -> None:
    """Write x, y, x_test and y_test where the processes of all frameworks find them."""
    for name, array in zip(_PARTS, arrays, strict=True):
        np.save(folder / f"{name}.npy", array)


def load(folder: str) -> list[np.ndarray]:
    """Return what `digits_files` wrote."""
    return [np.load(Path(folder) / f"{name}.npy") for name in _PARTS]
