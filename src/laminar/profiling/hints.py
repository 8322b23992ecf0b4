"""What to try, from the figures of a profile: pure rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from laminar.profiling.result import ProfileRow
from laminar.storages import format_bytes

__all__ = ["Facts", "hints"]

_LARGE, _FAR = 0.3, 0.25  # of the step; of the floor
_FLAT = 0.8  # of a step's time that half the batch takes, where the batch hardly counts
_SLOW_UPDATE = 0.25
_MUCH, _MOST = 100_000_000, 0.25  # bytes; of all that is kept


@dataclass(frozen=True)
class Facts:
    """What is known of a run beside the rows.

    Attributes:
        batch: observations in a step.
        half: share of a step's time that a step on half the batch takes; None where there is no half.
        engine: how the network is computed.
        bfloat16: whether in bfloat16 already.
        faster_bfloat16: whether the device is made for it.
        kernels: whether Laminar's own are there, for this device and dtype.
        threads_wait: whether idle threads wait without spinning.
        load: processes that want to run, for each core.
        fused_update: whether the optimizer updates all parameters in one go.
        hooked: paths of layers with hooks.
    """

    batch: int
    half: float | None = None
    engine: str = "auto"
    bfloat16: bool = False
    faster_bfloat16: bool = False
    kernels: bool = False
    threads_wait: bool = True
    load: float = 0.0
    fused_update: bool = True
    hooked: tuple[str, ...] = ()


def hints(rows: Sequence[ProfileRow], facts: Facts) -> tuple[str, ...]:
    """Return what to try, the most promising first.

    >>> hints([], Facts(batch=32, half=0.95))
    ('a larger batch_size: half of 32 takes 95 % of the time, so most of a step is overhead',)
    """
    return (*_of_the_whole(facts), *_of_layers(rows, facts), *_of_the_update(rows, facts), *_of_memory(rows))


def _of_the_whole(facts: Facts) -> Iterator[str]:
    if facts.half is not None and facts.half > _FLAT:
        share = f"{100 * facts.half:.0f} %"
        yield f"a larger batch_size: half of {facts.batch} takes {share} of the time, so most of a step is overhead"
    if facts.kernels and facts.engine == "eager":
        yield 'compile(engine="auto"): engine="eager" leaves Laminar\'s own kernels aside, which are there'
    if facts.kernels and facts.engine != "eager" and facts.hooked:
        yield f"removing the hooks of {', '.join(map(repr, facts.hooked))}: kernels leave layers with hooks aside"
    if not facts.threads_wait and facts.load > 1:
        yield (
            f"OMP_WAIT_POLICY=PASSIVE, set before Python starts: {facts.load:.1f} processes want each core, and torch's idle "
            "threads spin"
        )


def _of_layers(rows: Sequence[ProfileRow], facts: Facts) -> Iterator[str]:
    for row in sorted(rows, key=lambda r: -r.share):
        if row.share < _LARGE or row.of_floor is None or row.of_floor > _FAR:
            continue
        found = (
            f"{row.path!r} ({row.layer}) takes {100 * row.share:.0f} % of the step, at {100 * row.of_floor:.0f} % of its floor"
        )
        if row.flops and facts.faster_bfloat16 and not facts.bfloat16:
            yield f'compile(precision="bfloat16"): {found}'
        elif facts.half is None or facts.half <= _FLAT:  # or it is not the layer, but what comes with any call
            yield f"another layer in its place, or a smaller one: {found}"


def _of_the_update(rows: Sequence[ProfileRow], facts: Facts) -> Iterator[str]:
    update = next((r for r in rows if r.path == "(update)"), None)
    if update is not None and update.share > _SLOW_UPDATE and not facts.fused_update:
        yield f"an optimizer with fused=True: the update takes {100 * update.share:.0f} % of the step"


def _of_memory(rows: Sequence[ProfileRow]) -> Iterator[str]:
    total = sum(r.kept for r in rows)
    for row in rows:
        if total > _MUCH and row.kept > _MOST * total and " + " not in row.path:
            what = f"{row.path!r} keeps {format_bytes(row.kept)} of {format_bytes(total)} for the backward pass"
            yield f"recompute = True on it or on the block around it, if memory is short: {what}"
