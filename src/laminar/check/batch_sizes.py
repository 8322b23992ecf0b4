"""Any number of observations: an output for each of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from laminar.check.base import Check, register
from laminar.check.outcome import Finding, failed, noted, passed
from laminar.check.running import run
from laminar.check.subject import BATCH, Subject
from laminar.check.words import mode_name, said, shapes_text
from laminar.errors import LaminarError
from laminar.shapes import format_shape

__all__ = ["BatchSizes"]

_SIZES = (BATCH, 1, 2, 3, 7, 16)


@register
class BatchSizes(Check):
    """Batches of 1, 2, 3, 7 and 16 give as many outputs, of the same shape, in both modes, one after the other."""

    name = "batch-sizes"
    group = "contract"
    expects = "an output for every observation"
    needs = ("modes",)

    def run(self, subject: Subject) -> Finding:
        run(subject.built(training=False), subject.data())  # what is wrong with this one is the question of another check
        try:
            axes = subject.batch_axes
        except Exception as error:
            found = f"{said(error)}, for {_inputs(subject, BATCH + 1)} in inference mode"
            return failed(expected=f"an output for a batch of {BATCH + 1}", found=found, fix=_FIX)
        if all(axis is None for axis in axes):
            found = shapes_text(z.shape for z in run(subject.built(training=False), subject.data()))
            return failed(
                expected=f"an output for every observation: an axis of length {BATCH} for a batch of {BATCH}",
                found=f"{found}, and no axis that grows with the batch",
                fix="Reduce over the axes of one observation only, which start at axis 1",
            )
        remarks = []
        for training in (True, False):
            finding, remark = _tried(subject, subject.built(training=training), training)
            if finding:
                return finding
            remarks += [remark] * bool(remark)
        text = f"{', '.join(map(str, sorted(_SIZES)))}: an output for every observation"
        without = [str(i) for i, axis in enumerate(axes) if axis is None]
        if without:
            return noted(f"{text}, but for output {', '.join(without)}, which has no axis for them")
        return passed("; ".join([text, *remarks]))


def _tried(subject: Subject, module: nn.Module, training: bool) -> tuple[Finding | None, str]:
    """Run one batch after the other through `module`; return the failure, or None and a remark."""
    axes, remark = subject.batch_axes, ""
    wanted: list[tuple[torch.Size, bool]] = []
    mode = mode_name(training)
    for batch in _SIZES:
        try:
            zs = run(module, subject.data(batch))
        except Exception as error:
            clear = isinstance(error, LaminarError | ValueError)  # written for the case: so does torch's batch normalization
            if clear and batch == 1 and training and "batch" in subject.traits:
                remark = "a batch of 1 is refused in training"
                continue
            if not (clear and "state" in subject.traits):
                found = f"{said(error)}, for {_inputs(subject, batch)} in {mode} mode"
                return failed(expected=f"an output for a batch of {batch}", found=found, fix=_FIX), ""
            remark = "another batch size is refused while a state of each observation is kept"
            zs = run(subject.built(training=training), subject.data(batch))
        wanted = wanted or [(z.shape, bool(z.isfinite().all())) for z in zs]
        for z, axis, (shape, finite) in zip(zs, axes, wanted, strict=False):
            right = tuple(batch if i == axis else n for i, n in enumerate(shape))
            if tuple(z.shape) != right:
                given = f"for {_inputs(subject, batch)} in {mode} mode"
                return failed(expected=f"{format_shape(right)} {given}", found=format_shape(z.shape), fix=_FIX), ""
            if batch == 1 and finite and not z.isfinite().all():
                return _not_finite(z, mode), ""
    return None, remark


_FIX = "Take the batch size from x.shape[0] in forward, and name the axis in squeeze(dim), mean(dim), reshape(len(x), ...)"


def _not_finite(z: Tensor, mode: str) -> Finding:
    count = int((~z.isfinite()).sum())
    return failed(
        expected=f"numbers for a batch of 1 in {mode} mode, or an error that refuses it",
        found=f"{count} of {z.numel()} are NaN or infinite",
        fix="A single observation has no variance: use var(correction=0), or refuse it in forward",
    )


def _inputs(subject: Subject, batch: int) -> str:
    return shapes_text(x.shape for x in subject.data(batch))
