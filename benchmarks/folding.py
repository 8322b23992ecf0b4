"""What folding normalizations into convolutions is worth in `predict`: the same network with and without, in turns.

Times are those of the processor over both threads, which other programs disturb least.

.venv/bin/python benchmarks/folding.py [--repeats 9] [--batch 128] [--batches 4]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from laminar import layers as L
from laminar.fit.folding import folded
from laminar.fit.forward import Execution, forward, inference
from laminar.sequential import Sequential

AUTO = Execution("auto")


def _unit(filters: int, strides: int = 1) -> list[nn.Module]:
    return [L.Conv2D(filters, 3, strides, padding="same", use_bias=False), L.BatchNormalization()]


def resnet(n: int = 3) -> Sequential:
    """Return He et al.'s network for CIFAR-10 of 6n + 2 layers."""
    body: list[nn.Module] = [*_unit(16), L.ReLU()]
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(n):
            strides = 2 if stage and not block else 1
            shortcut = [L.Conv2D(filters, 1, strides, use_bias=False), L.BatchNormalization()] if strides == 2 else None
            body.append(L.Residual([*_unit(filters, strides), L.ReLU(), *_unit(filters)], shortcut, "relu"))
    return Sequential([*body, L.GlobalAveragePooling2D(), L.Dense(10)])


def vgg() -> Sequential:
    """Return a VGG of eight convolutions for images of 32×32."""
    body: list[nn.Module] = []
    for filters, times in ((64, 2), (128, 2), (256, 2), (512, 2)):
        for _ in range(times):
            body += [*_unit(filters), L.ReLU()]
        body.append(L.MaxPooling2D())
    return Sequential([*body, L.Flatten(), L.Dense(10)])


NETWORKS: dict[str, tuple[Callable[[], Sequential], tuple[int, ...]]] = {
    "ResNet-20": (resnet, (3, 32, 32)),
    "VGG": (vgg, (3, 32, 32)),
}


def main() -> None:
    """Measure and print one line a network."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--batches", type=int, default=4)
    options = parser.parse_args()
    for name, (make, shape) in NETWORKS.items():
        model, x = make().build(shape, seed=0), torch.randn(options.batch, *shape)
        batches = options.batches

        def with_folds(model: Sequential = model, x: torch.Tensor = x, batches: int = batches) -> None:
            with folded(model, AUTO) as run:  # weights are folded anew each time, as in predict
                for _ in range(batches):
                    run(x)

        def without(model: Sequential = model, x: torch.Tensor = x, batches: int = batches) -> None:
            for _ in range(batches):
                forward(model, x, AUTO)

        times: tuple[list[float], list[float]] = ([], [])
        with inference(model):
            with_folds(), without()
            for _ in range(options.repeats):
                for measured, call in zip(times, (with_folds, without), strict=True):
                    start = time.process_time()
                    call()
                    measured.append(time.process_time() - start)
        ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
        milliseconds = [1e3 * statistics.median(t) for t in times]
        print(f"{name:10s} folded {milliseconds[0]:8.1f} ms, as it stands {milliseconds[1]:8.1f} ms: {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
