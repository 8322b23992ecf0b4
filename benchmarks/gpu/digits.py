"""R5 at full length on a GPU: thirty epochs of the digits network with batch normalization.

    PYTHONPATH=benchmarks python -m gpu.digits [--miniature]

Told are the seconds of `fit` in all, and those after the fifth step, behind which the step is recorded as a CUDA graph.
The goal: under 1.5 s after that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import laminar as lm
from gpu.common import Place, arguments, header, synchronize, table
from laminar.studies.digits import FIT, VARIANTS

__all__ = ["main"]

GOAL = 1.5  # seconds


class After(lm.Callback):
    """The moment of an iteration, when the device has done it."""

    def __init__(self, iteration: int, place: Place) -> None:
        self.iteration, self.place, self.moment = iteration, place, 0.0

    def on_batch_end(self, model: Any, state: Any) -> None:
        if state.iteration == self.iteration:
            synchronize(self.place.device)
            self.moment = time.perf_counter()


def main(given: Sequence[str] | None = None) -> str:
    """Measure, and return the table."""
    place = arguments(__doc__.splitlines()[0] if __doc__ else None, given)
    training, test = lm.data.digits(n_train=place.pick(5000, 400), n_test=place.pick(2000, 100))
    rows = []
    for seed in range(place.pick(5, 1)):
        model = VARIANTS["with BN"]()
        recipe = model._compiled("fit")
        model.compile(recipe.optimizer, recipe.loss, recipe.metrics, device=place.device)
        after = After(5, place)
        epochs = place.pick(FIT["epochs"], 2)
        history = model.fit(*training, **{**FIT, "epochs": epochs}, seed=seed, callbacks=after, log_every=10_000, verbose=0)
        synchronize(place.device)
        recorded = time.perf_counter() - after.moment
        accuracy = model.evaluate(*test)["accuracy"]
        met = "yes" if recorded < GOAL else "no"
        rows.append(
            [
                str(seed),
                f"{history.seconds:.2f}",
                f"{recorded:.2f}",
                f"{len(history.iterations['loss'])}",
                f"{accuracy:.4f}",
                met,
            ]
        )
    head = ["seed", "seconds in all", "after the 5th step", "steps", "test accuracy", f"under {GOAL} s"]
    return header("R5 at full length", place) + "\n" + table(head, rows)


if __name__ == "__main__":
    print(main())
