"""Schedules against Keras' at every iteration, and against torch's for one-cycle, steps and warm restarts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from parity.support import keras, parity

from laminar import schedules as S

K = keras.optimizers.schedules
RATES = st.floats(1e-3, 1.0)
LENGTHS = st.integers(1, 40)
SHARES = st.floats(0.0, 1.0)


def same(
    ours: S.Schedule, theirs: Callable[[int], Any], *, last: int = 90, but: Callable[[int], bool] = lambda n: False
) -> None:
    """Assert that the rates are those of Keras, which computes in float32, at every iteration up to `last`."""
    kept = [n for n in range(last) if not but(n)]
    assert len(kept) > last / 2
    found, want = [ours(n) for n in kept], [float(theirs(n)) for n in kept]
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=2e-6)


@parity
@given(rate=RATES, steps=LENGTHS, decay=st.floats(0.1, 1.2), staircase=st.booleans())
def test_exponential_and_inverse_time(rate: float, steps: int, decay: float, staircase: bool) -> None:
    same(S.ExponentialDecay(rate, steps, decay, staircase), K.ExponentialDecay(rate, steps, decay, staircase))
    same(S.InverseTimeDecay(rate, steps, decay, staircase), K.InverseTimeDecay(rate, steps, decay, staircase))


@parity
@given(rate=RATES, steps=LENGTHS, end=st.floats(0.0, 0.5), power=st.floats(0.5, 3.0), cycle=st.booleans())
def test_polynomial(rate: float, steps: int, end: float, power: float, cycle: bool) -> None:
    theirs = K.PolynomialDecay(rate, steps, end, power, cycle)
    # near the end, a share of 1e-8 of the way that float32 leaves is no longer small under a root
    same(
        S.PolynomialDecay(rate, steps, end, power, cycle),
        theirs,
        but=lambda n: power < 1 and n > 0 and n % steps == 0 and steps > 2,
    )


@parity
@given(rate=RATES, steps=LENGTHS, alpha=SHARES, target=st.none() | RATES, warmup=st.integers(0, 30))
def test_cosine(rate: float, steps: int, alpha: float, target: float | None, warmup: int) -> None:
    warmup = 0 if target is None else warmup
    same(
        S.CosineDecay(rate, steps, alpha, target, warmup),
        K.CosineDecay(rate, steps, alpha, warmup_target=target, warmup_steps=warmup),
    )


@parity
@given(rate=RATES, steps=st.integers(3, 40), t=st.floats(1.0, 3.0), m=st.floats(0.3, 1.2), alpha=SHARES)
def test_cosine_restarts(rate: float, steps: int, t: float, m: float, alpha: float) -> None:
    assume(t == 1 or t > 1.1)  # Keras' float32 logarithm of a number near 1 has few digits left
    ours, theirs = S.CosineDecayRestarts(rate, steps, t, m, alpha), K.CosineDecayRestarts(rate, steps, t, m, alpha)

    def at_restart(n: int) -> bool:
        """Whether float32 may see the restart an iteration late."""
        _, done = ours._place(n / steps)
        return n > 0 and min(done, 1 - done) < 1e-3

    same(ours, theirs, but=at_restart)


@parity
@given(
    boundaries=st.lists(st.integers(1, 80), unique=True, min_size=1, max_size=5).map(sorted),
    data=st.data(),
)
def test_piecewise_constant(boundaries: list[int], data: st.DataObject) -> None:
    values = data.draw(st.lists(RATES, min_size=len(boundaries) + 1, max_size=len(boundaries) + 1))
    same(S.PiecewiseConstantDecay(boundaries, values), K.PiecewiseConstantDecay(boundaries, values))


# ── torch ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def torchs(make: Callable[[torch.optim.Optimizer], Any], rate: float, steps: int) -> list[float]:
    """Return the rates of `steps` steps under a scheduler of torch."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = make(optimizer)
    rates = []
    for n in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if n < steps - 1:
            scheduler.step()
    return rates


@parity
@given(
    rate=RATES,
    steps=st.integers(5, 90),
    start=st.floats(0.1, 0.5),
    anneal=st.sampled_from(["cos", "linear"]),
    div=st.floats(1.0, 50.0),
    final=st.floats(1.0, 1e4),
    three=st.booleans(),
)
def test_one_cycle(rate: float, steps: int, start: float, anneal: Any, div: float, final: float, three: bool) -> None:
    assume(abs(start * steps - 1) > 1e-6)  # where torch divides by zero
    ours = S.OneCycle(rate, steps, start, anneal, div, final, three)

    def make(optimizer: torch.optim.Optimizer) -> Any:
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=rate,
            total_steps=steps,
            pct_start=start,
            anneal_strategy=anneal,
            cycle_momentum=False,
            div_factor=div,
            final_div_factor=final,
            three_phase=three,
        )

    np.testing.assert_allclose([ours(n) for n in range(steps)], torchs(make, rate, steps), rtol=1e-9, atol=1e-12)


@parity
@given(rate=RATES, every=LENGTHS, factor=st.floats(0.1, 1.0))
def test_step_decay(rate: float, every: int, factor: float) -> None:
    ours = S.StepDecay(rate, every, factor)
    theirs = torchs(lambda o: torch.optim.lr_scheduler.StepLR(o, every, factor), rate, 90)
    np.testing.assert_allclose([ours(n) for n in range(90)], theirs, rtol=1e-9)


@parity
@given(rate=RATES, first=LENGTHS, t=st.integers(1, 3), low=st.floats(0.0, 1.0))
def test_warm_restarts(rate: float, first: int, t: int, low: float) -> None:
    """At every iteration, the restarts too."""
    ours = S.CosineDecayRestarts(rate, first, t, alpha=low)
    theirs = torchs(lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, first, t, eta_min=low * rate), rate, 90)
    np.testing.assert_allclose([ours(n) for n in range(90)], theirs, rtol=1e-9, atol=1e-12)


@parity
@given(first=LENGTHS, t=st.floats(1.0, 4.0), n=st.integers(0, 10**6))
def test_restarts_are_where_the_sum_of_periods_puts_them(first: int, t: float, n: int) -> None:
    """Against adding the periods up one by one."""
    assume(t == 1 or t > 1.001)
    period, start, length = 0, 0.0, 1.0
    done = n / first
    while t > 1 and start + length <= done:
        start, length, period = start + length, length * t, period + 1
    if t == 1:
        period, start = math.floor(done), math.floor(done)
    found, share = S.CosineDecayRestarts(0.1, first, t)._place(done)
    assert abs((found + share) - (period + (done - start) / length)) < 1e-6
