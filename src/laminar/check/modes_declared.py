"""Training and inference differ only where the layer says so."""

from __future__ import annotations

import torch

from laminar.check.base import Check, register
from laminar.check.comparing import declare, gap
from laminar.check.observations import coupled_in_training
from laminar.check.outcome import Finding, failed, passed
from laminar.check.running import run
from laminar.check.subject import Subject

__all__ = ["ModesDeclared"]

_REASONS = {"random", "always random", "batch", "always batch", "modes"}
_DRAWS = 32


@register
class ModesDeclared(Check):
    """Training and inference give the same, unless the layer declares why not."""

    name = "modes-declared"
    group = "behaviour"
    expects = "a layer that runs in training and in inference"
    needs = ("modes", "deterministic")

    def run(self, subject: Subject) -> Finding:
        xs = subject.data()
        module = subject.built(training=True)
        inference = run(subject.built(training=False), xs)
        training = run(module, xs)
        module.eval()
        # what a call in training kept may be what it computed with, as the vectors of a spectral norm
        by = min(gap(training, inference), gap(training, run(module, xs)), key=lambda g: g.relative)
        if not by.seen:
            return passed("the same in training and in inference")
        if "modes" not in subject.traits:
            word = "batch" if coupled_in_training(subject) else "modes"
            return failed(
                expected="training and inference to be the same, as nothing else is declared",
                found=f"they differ {by}",
                fix=f"Use self.training for nothing but what is declared. {declare(word)}",
            )
        if subject.declared & {"random", "modes", "batch"} == {"random"}:
            finding = _scaled(subject)
            if finding is not None:
                return finding
        words = " and ".join(f'"{word}"' for word in sorted(subject.declared & _REASONS))
        return passed(f"they differ, as declared: {words}")


def _scaled(subject: Subject) -> Finding | None:
    """Return what is wrong where numbers are dropped, and those kept are not scaled for it."""
    xs = subject.data(64)
    inference = run(subject.built(training=False), xs)[0]
    if not inference.is_floating_point():
        return None
    large = inference.abs() > 1e-3 * inference.abs().max()
    module = subject.built(training=True)
    ratios = torch.stack([run(module, xs, seed=s)[0][large].double() / inference[large].double() for s in range(_DRAWS)])
    kept = ratios[ratios.abs() > 1e-6]
    share = 1 - kept.numel() / max(ratios.numel(), 1)
    if not 0.02 < share < 0.98 or float(kept.max() - kept.min()) > 1e-3 * float(kept.abs().max()):
        return None  # it does something else than to drop numbers
    factor, means = float(kept.mean()), ratios.mean(1)
    average, error = float(means.mean()), float(means.std()) / _DRAWS**0.5
    if abs(average - 1) < 0.02 + 5 * error:
        return None
    return failed(
        expected="training to equal inference on average over what is drawn",
        found=f"{100 * share:.0f} % of the numbers become 0 and the others are multiplied by {factor:.3g}: "
        f"{average:.3g} times the output of inference on average",
        fix=f"Divide what is kept by the probability of keeping it. {declare('modes')}",
    )
