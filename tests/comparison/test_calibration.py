"""The simulated verdicts that the calibration counts are those that `judge` gives."""

from __future__ import annotations

import importlib
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from laminar.comparison.protocol import Protocol, make_protocol
from laminar.comparison.verdicts import Verdict, judge

BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "statistics"
WORDS = {0: "undecided", 1: "better", -1: "worse", 2: "equivalent"}


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("many")


@pytest.fixture
def families(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    found: list[Any] = importlib.import_module("families").families()
    return found


def declared(pairs: int, stop: str, margin: float, contrasts: int) -> Protocol:
    names = [f"v{k}" for k in range(contrasts + 1)]
    return make_protocol(names, metric="accuracy", margin=margin, seeds=pairs, stop=stop)


def judged(values: np.ndarray, protocol: Protocol) -> list[Verdict]:
    """Return what `judge` says of one study (variants, pairs)."""
    return judge({name: dict(enumerate(row)) for name, row in zip(protocol.variants, values.tolist(), strict=True)}, protocol)


def compare(many: Any, family: Any, protocol: Protocol, studies: int) -> int:
    """Compare both for random effects, from none to large ones; return how many verdicts there were before the last pair."""
    rng = np.random.default_rng(zlib.crc32(f"{family.name} {protocol}".encode()))
    values = family.draw(rng, studies, len(protocol.variants), protocol.seeds)
    noise = family.noise()
    values[:, 1:] += noise * rng.choice([0.0, 0.0, 0.7, -1.5, 4.0], (studies, len(protocol.variants) - 1, 1))
    found = many.outcomes(values, protocol)
    theta = 0.3 * noise
    holds = many.covered(found, theta, protocol) if len(protocol.contrasts) == 1 else None
    for k, study in enumerate(values):
        verdicts = judged(study, protocol)
        assert [v.word for v in verdicts] == [WORDS[w] for w in found.words[k].tolist()]
        assert [v.pairs for v in verdicts] == found.pairs[k].tolist()
        if holds is not None:
            assert (verdicts[0].low <= theta <= verdicts[0].high) == holds[k]
    return int((found.pairs < protocol.seeds).sum())


def test_a_few_studies_of_each_kind(many: Any, families: list[Any]) -> None:
    normal, hundred_images = families[0], families[5]
    assert hundred_images.name == "accuracies on 100 images"
    assert compare(many, normal, declared(20, "early", 0.8 * normal.noise(), 1), 8) > 0
    assert compare(many, hundred_images, declared(14, "early", hundred_images.noise(), 3), 4) > 0
    assert compare(many, hundred_images, declared(10, "fixed", hundred_images.noise(), 1), 4) == 0


@pytest.mark.slow
@pytest.mark.parametrize("place", range(10))
def test_two_hundred_studies(many: Any, families: list[Any], place: int) -> None:
    family = families[place]
    for stop, contrasts, studies in (("early", 1, 8), ("early", 3, 5), ("fixed", 1, 4), ("fixed", 3, 3)):
        compare(many, family, declared(20, stop, 0.8 * family.noise(), contrasts), studies)


def test_families_have_equal_means(families: list[Any]) -> None:
    """Or a verdict of a difference would be right."""
    for family in families:
        first, second = np.moveaxis(family.draw(np.random.default_rng(3), 40_000, 2, 10), 1, 0)
        d = (first - second).ravel()
        assert abs(d.mean()) < 5 * d.std() / np.sqrt(d.size), family.name
        skewness = ((d - d.mean()) ** 3).mean() / d.std() ** 3
        if family.symmetric and "t, 3" not in family.name:  # which has no third moment
            assert abs(skewness) < 0.2, family.name


def test_recorded_runs_are_whole_images(families: list[Any]) -> None:
    """Accuracies on 5,000 test images."""
    recorded = [family for family in families if family.name.startswith("digits: runs")]
    assert len(recorded) == 4
    for family in recorded:
        drawn = family.draw(np.random.default_rng(0), 10, 2, 5)
        assert np.allclose(drawn * 5000, np.round(drawn * 5000))
