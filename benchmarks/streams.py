"""What reading ahead gains: an epoch with it against one without, in turns; ratios of medians.

python benchmarks/streams.py
"""

from __future__ import annotations

import io
import os
import statistics
import time
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

import laminar as lm
from laminar import layers as L

N, BATCH, REPEATS = 512, 64, 7


class Decoded(Dataset[Any]):
    """Images that are decoded from JPEG as they are asked for: the decoder lets other threads run."""

    def __init__(self) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG")
        self.file = buffer.getvalue()

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(io.BytesIO(self.file)) as image:
            small = np.asarray(image.resize((32, 32)), dtype=np.float32) / 255
        return torch.from_numpy(small).permute(2, 0, 1), index % 10


class Waited(Decoded):
    """Images that come from far away: a millisecond each, in which this machine does nothing."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        time.sleep(0.001)
        return torch.zeros(3, 32, 32), index % 10


class Computed(Decoded):
    """Images that Python computes number by number, and lets no other thread run."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        total = sum(i * index for i in range(12_000))
        return torch.full((3, 32, 32), float(total % 7)), index % 10


def epoch(data: Dataset[Any], ahead: bool) -> tuple[float, float]:
    """Return the seconds of an epoch, and the share of them that was waited."""
    os.environ["LAMINAR_PREFETCH"] = "1" if ahead else "0"
    model = lm.Sequential([L.Conv2D(24, 5, activation="relu"), L.MaxPooling2D(2), L.Conv2D(32, 3), L.Flatten(), L.Dense(10)])
    model.build((3, 32, 32), seed=0)
    model.compile("sgdm", "sparse_categorical_crossentropy")
    history = model.fit(data, batch_size=BATCH, seed=0, verbose=0)
    return history.seconds, history.waited[0]


def main() -> None:
    for data in (Decoded(), Waited(), Computed()):
        epoch(data, True)
        found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for _ in range(REPEATS):
            for ahead in (True, False):
                found[ahead].append(epoch(data, ahead))
        (with_it, waited), (without, waited_without) = (
            tuple(statistics.median(column) for column in zip(*found[ahead], strict=True)) for ahead in (True, False)
        )
        ratios = [b[0] / a[0] for a, b in zip(found[True], found[False], strict=True)]
        print(
            f"{type(data).__name__:10} {without:.2f} s, {waited_without:.0%} waited -> {with_it:.2f} s, {waited:.0%} waited; "
            f"{statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
