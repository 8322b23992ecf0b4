"""The evidence that may be looked at after every pair: fair by enumeration, and an interval wherever it is inverted."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laminar.comparison.evidence import EFFECTS, most_evidence, one_sided_evidence

Array = npt.NDArray[np.float64]

magnitudes = st.lists(st.sampled_from([0.0, 0.01, 0.5, 1.0, 1.0, 2.5, 40.0, math.inf]), min_size=1, max_size=9)
samples = st.lists(st.floats(-4, 4).map(lambda x: round(x, 2)), min_size=1, max_size=15)


def every_sign(magnitudes: list[float]) -> Array:
    """Return the magnitudes with every choice of signs, one a row."""
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(magnitudes))))
    return np.where(np.asarray(magnitudes) == 0, 0.0, signs * np.asarray([m or 1.0 for m in magnitudes]))


@given(magnitudes)
def test_no_capital_grows_in_the_mean_whatever_the_magnitudes(magnitudes: list[float]) -> None:
    """Over all 2^n signs the mean of each capital is 1 after every pair: exactly, not on the average over simulations."""
    d = every_sign(magnitudes)
    for path in one_sided_evidence(d):
        assert np.exp(path).mean(axis=0) == pytest.approx(np.ones(len(magnitudes)), abs=1e-9)


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.01])
def test_it_rarely_ever_reaches_a_bound_by_enumeration(alpha: float) -> None:
    """Ville's inequality: of all signs at most a share alpha ever reaches 1 / alpha, though it is looked at every time."""
    d = every_sign([0.3, 1.1, 0.2, 0.9, 1.4, 0.05, 0.7, 2.0, 0.6, 1.0, 0.8, 0.4])
    above, _ = one_sided_evidence(d)
    reached = (above >= -math.log(alpha)).any(axis=1).mean()
    assert 0 < reached <= alpha


def test_the_first_pairs_by_hand() -> None:
    """Pair 1 knows no spread but its own; pair 2 the same; pair 3 that of the two before."""
    first, second, third = 0.4, 1.0, 0.7
    capital = []
    for effect in EFFECTS:
        own = effect * math.sqrt(1 + effect**2)
        spread = math.sqrt((0.18 + third**2 / (1 + effect**2)) / 2)  # (0.4 - 0.7)² + (1 - 0.7)² = 0.18
        capital.append((1 + math.tanh(own)) ** 2 * (1 + math.tanh(effect * third / spread)))
    above, below = one_sided_evidence([first, second, third])
    assert above[-1] == pytest.approx(math.log(sum(capital) / len(EFFECTS)))
    assert below[0] == pytest.approx(math.log(np.mean([1 - math.tanh(e * math.sqrt(1 + e**2)) for e in EFFECTS])))


@given(samples, st.lists(st.floats(-6, 6), min_size=2, max_size=6))
def test_the_evidence_for_above_never_rises_with_the_centre(d: list[float], centres: list[float]) -> None:
    """So the centres that are not rejected form an interval, and a larger true difference is no easier to mistake."""
    ordered = np.array([-math.inf, *sorted(centres), math.inf])
    above, below = one_sided_evidence(np.broadcast_to(d, (len(ordered), len(d))), ordered)
    assert (np.diff(above, axis=0) <= 1e-6).all()
    assert (np.diff(below, axis=0) >= -1e-6).all()


@given(samples, st.sampled_from([1e-3, 0.7, 300.0]), st.floats(-3, 3).map(lambda x: round(x, 2)))
def test_units_origin_and_names_do_not_matter(d: list[float], scale: float, shift: float) -> None:
    above, below = one_sided_evidence(d, 0.5)
    other = one_sided_evidence(-np.asarray(d), -0.5)
    assert np.allclose(other[0], below)
    assert np.allclose(other[1], above)
    assert np.allclose(one_sided_evidence(scale * np.asarray(d), scale * 0.5)[0], above, atol=1e-6)
    assert np.allclose(one_sided_evidence(np.asarray(d) + shift, 0.5 + shift)[0], above, atol=1e-6)


@given(samples, samples)
def test_later_pairs_change_nothing_of_what_was_known(d: list[float], later: list[float]) -> None:
    for longer, alone in zip(one_sided_evidence([*d, *later]), one_sided_evidence(d), strict=True):
        assert longer[: len(d)].tolist() == alone.tolist()


@given(samples)
def test_many_at_once_are_each_alone(d: list[float]) -> None:
    several = np.stack([d, np.asarray(d) * 2 + 1, np.asarray(d)[::-1]])
    centres = np.array([0.0, 0.3, -1.0])
    together, _ = one_sided_evidence(several, centres)
    alone = np.stack([one_sided_evidence(one, centre)[0] for one, centre in zip(several, centres, strict=True)])
    assert np.allclose(together, alone, atol=1e-12)


def test_the_most_that_pairs_can_say() -> None:
    """Equal differences leave no doubt about the spread; nothing says more, neither lost pairs nor any other."""
    assert one_sided_evidence([2.0] * 7)[0][-1] == pytest.approx(most_evidence(7))
    assert one_sided_evidence([*[2.0] * 6, math.inf])[0][-1] == pytest.approx(most_evidence(7))
    assert one_sided_evidence([math.inf] * 7)[0][-1] < most_evidence(7)
    rng = np.random.default_rng(0)
    assert one_sided_evidence(rng.exponential(size=(500, 7)))[0][:, -1].max() <= most_evidence(7)


def test_differences_too_small_to_be_squared() -> None:
    """A difference of 1e-199 has a sign, and a square that is 0."""
    above, below = one_sided_evidence([1e-199, -2e-199, 1.0])
    assert np.isfinite(above).all()
    assert np.isfinite(below).all()
    assert above[0] == one_sided_evidence([1.0])[0][0]


def test_differences_of_exactly_zero_say_nothing() -> None:
    assert one_sided_evidence([0.0] * 5)[0].tolist() == pytest.approx([0.0] * 5)
    # at another centre they all lie on one side
    assert one_sided_evidence([0.0] * 5, 0.01)[1][-1] == pytest.approx(most_evidence(5))


def test_a_lost_pair_is_a_bet_and_no_spread() -> None:
    above, _ = one_sided_evidence([0.5, -math.inf, 0.7, 0.6])
    assert np.isfinite(above).all()
    assert above[1] < above[0]
    first, *_ = one_sided_evidence([-math.inf, 0.5, 0.7])
    assert np.isfinite(first).all()
