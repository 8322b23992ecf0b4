"""What each of Laminar's CPU kernels saves against torch's operations, forward and backward together.

    .venv/bin/python benchmarks/kernels.py [--repeats 9] [--threads 2]

Convolutions, normalizations and poolings of torch get channels-last images, which suit them best. Repeats are interleaved,
A B B A ...; told are medians, and the median of the ratios of neighbours with the lowest and highest.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar import layers as L
from laminar.fit.memory import reuse_freed_memory
from laminar.kernels import channels_last, dropout
from laminar.kernels.calls import Kind, Normalization
from laminar.kernels.last_calls import PoolWindow
from laminar.kernels.lstm import lstm
from laminar.kernels.perceptron import perceptron as at_once
from laminar.kernels.switch import enabled
from laminar.layers.stretch import stretch_of
from laminar.sequential import Sequential

Call = Callable[[], Tensor]


def images(n: int, channels: int, size: int) -> Tensor:
    """Return channels-last images with a gradient."""
    return torch.randn(n, channels, size, size).contiguous(memory_format=torch.channels_last).requires_grad_()


def perceptron() -> tuple[str, list[Tensor], Call, Call]:
    """Return the case of a whole network: its kernel takes one thread, torch as many as there are."""
    layers = [L.Dense(20, "relu"), L.BatchNormalization(), L.Dense(15, "relu"), L.BatchNormalization(), L.Dense(10)]
    model, x = Sequential(layers).build((3072,), seed=0), torch.randn(128, 3072)
    tensors = list(model.parameters())

    def kernel() -> Tensor:
        stretch = stretch_of(layers, x)
        assert stretch is not None
        return at_once(x, stretch.stages, stretch.tensors)

    before = torch.get_num_threads()

    def by_one() -> Tensor:
        torch.set_num_threads(1)
        try:
            with enabled():
                return kernel()
        finally:
            torch.set_num_threads(before)

    return "MLP 3072-20-15-10 with BN, 128 rows", tensors, by_one, lambda: model(x)


def cases() -> Iterator[tuple[str, list[Tensor], Call, Call]]:
    """Yield what it is, whose gradients are wanted, the kernel, and torch."""
    for n, c, size in ((128, 16, 32), (128, 32, 16), (128, 64, 8), (32, 128, 16), (32, 256, 8)):
        x, w, b = images(n, c, size), torch.randn(c, c, 3, 3).requires_grad_(), torch.zeros(c, requires_grad=True)
        yield (
            f"3×3 convolution with ReLU, {n} images {size}×{size}×{c}",
            [x, w, b],
            lambda x=x, w=w, b=b: channels_last.convolve(x, w, b, 1, relu=True),
            lambda x=x, w=w, b=b: F.conv2d(x, w, b, padding=1).relu(),
        )
    x, w = torch.randn(128, 1, 28, 28), torch.randn(32, 1, 3, 3).requires_grad_()
    yield (
        "3×3 convolution with ReLU, 128 images 28×28×1 to 32 channels",
        [w],
        lambda x=x, w=w: channels_last.convolve_images(x, w, None, (0, 0), relu=True),
        lambda x=x, w=w: F.conv2d(x, w).relu(),
    )
    x, other, one = images(128, 32, 16), images(128, 32, 16), torch.ones(32, requires_grad=True)
    how = Normalization(None, 0.1, 1e-5, Kind.RELU)
    yield (
        "BN, sum and ReLU, 128 images 16×16×32",
        [x, other, one],
        lambda x=x: channels_last.batch_norm(x, one, None, how, None, other),
        lambda x=x: (F.batch_norm(x, None, None, one, None, True) + other).relu(),
    )
    x = images(128, 32, 24)
    window = PoolWindow((2, 2), (2, 2), (0, 0))
    yield (
        "max-pooling 2×2, 128 images 24×24×32",
        [x],
        lambda x=x: channels_last.max_pool(x, window),
        lambda x=x: F.max_pool2d(x, 2),
    )
    yield perceptron()
    x = torch.randn(128, 4608, requires_grad=True)
    yield "dropout, 128×4608", [x], lambda x=x: dropout.dropout(x, 0.25), lambda x=x: F.dropout(x, 0.25)
    x, h = torch.randn(128, 20, 8), torch.zeros(128, 64)
    weights = [torch.randn(256, k).mul(0.1).requires_grad_() for k in (8, 64)] + [torch.zeros(256, requires_grad=True)]
    zeros = torch.zeros(256)
    yield (
        "LSTM(64), 128 sequences of 20 steps of 8",
        weights,
        lambda: lstm(x, h, h, *weights)[0],
        lambda: torch.lstm(x, (h[None], h[None]), [*weights, zeros], True, 1, 0.0, True, False, True)[0],
    )


def seconds(call: Call, wanted: list[Tensor], slope: Tensor) -> float:
    """Return how long one call and its gradients take."""
    began = time.perf_counter()
    torch.autograd.grad(call(), wanted, slope)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    reuse_freed_memory()
    print(
        f"{datetime.date.today()}, {os.cpu_count()} cores, torch {torch.__version__} with {options.threads} threads, "
        f"{options.repeats} interleaved repeats.\n\n"
        "| forward and backward | torch, ms | kernel, ms | times faster (lowest to highest) |\n|---|---|---|---|"
    )
    for name, wanted, ours, theirs in cases():
        slope = torch.ones_like(ours())
        times: tuple[list[float], list[float]] = ([], [])
        for repeat in range(-2, options.repeats):
            for which in (0, 1) if repeat % 2 else (1, 0):
                took = seconds((ours, theirs)[which], wanted, slope)
                if repeat >= 0:
                    times[which].append(took)
        ratios = [b / a for a, b in zip(*times, strict=True)]
        own, torch_s = (statistics.median(t) * 1e3 for t in times)
        spread = f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {name} | {torch_s:.2f} | {own:.2f} | {spread} |")


if __name__ == "__main__":
    main()
