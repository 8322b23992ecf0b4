"""ResNet-20 on CIFAR-10 to the accuracy of its paper, 91.25 %, by its recipe.

    PYTHONPATH=benchmarks python -m gpu.resnet20 [--miniature]

64,000 steps of 128, images flipped and shifted by up to four pixels, rate 0.1 divided by 10 after 32,000 and 48,000 steps,
momentum 0.9, L2 1e-4. Source: He et al. 2016, section 4.2; row R24 of the mission.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from frameworks import laminar_networks

import laminar as lm
from gpu.common import arguments, cifar10, header, synchronize, table
from laminar import layers as L
from laminar.optimizers import SGD
from laminar.schedules import PiecewiseConstantDecay

__all__ = ["main", "network"]

GOAL, STEPS, BATCH = 0.9125, 64_000, 128


def network() -> lm.Sequential:
    """Return ResNet-20 behind its augmentation."""
    return lm.Sequential([L.RandomCrop(32, 32, padding=4), L.RandomFlip(), laminar_networks.build("resnet20")])


def main(given: Sequence[str] | None = None) -> str:
    """Train, and return the table."""
    place = arguments(__doc__.splitlines()[0] if __doc__ else None, given)
    training, test = cifar10(place)
    rows = []
    for precision in ("float32", "bfloat16"):
        model = network()
        rate = PiecewiseConstantDecay([STEPS // 2, STEPS * 3 // 4], [0.1, 0.01, 0.001])
        optimizer = SGD(rate, momentum=0.9, weight_decay=1e-4)
        model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"], device=place.device, precision=precision)
        epochs = 1 if place.miniature else -(-STEPS // (len(training[0]) // BATCH))
        began = time.perf_counter()
        model.fit(*training, epochs=epochs, batch_size=place.pick(BATCH, 8), drop_last=True, seed=0, log_every=1000, verbose=0)
        synchronize(place.device)
        taken = time.perf_counter() - began
        accuracy = model.evaluate(*test)["accuracy"]
        rows.append([precision, f"{epochs}", f"{taken:.1f}", f"{accuracy:.4f}", "yes" if accuracy >= GOAL else "no"])
    head = ["precision", "epochs", "seconds", "test accuracy", f"at least {GOAL:.2%}"]
    return header("ResNet-20 on CIFAR-10", place) + "\n" + table(head, rows)


if __name__ == "__main__":
    print(main())
