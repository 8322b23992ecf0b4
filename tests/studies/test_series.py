"""The forecasts: what they are given, how they are judged, and that the LSTM beats the last value on data held out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from laminar.errors import ArgumentError, FileError
from laminar.studies import series as r28


@pytest.fixture
def without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMINAR_DATA", raising=False)


def test_last_value_and_straight_line_are_what_they_say() -> None:
    """On a ramp the last value is one step behind, and a line through the window foretells it exactly."""
    ramp = np.arange(400, dtype=np.float32)
    last, line = r28.forecasts(ramp, 0, 1, report=lambda _: None)
    assert (last.forecast, line.forecast, last.seed, line.seed) == ("last value", "linear autoregression", None, None)
    assert (last.mae, last.rmse) == pytest.approx((1.0, 1.0), abs=1e-4)
    assert line.mae < 1e-2


def test_only_the_first_four_fifths_are_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after may be anything: the network, the mean and the deviation do not see it."""
    seen: list[Any] = []

    class Spy:
        def fit(self, x: Any, y: Any, **_: Any) -> None:
            seen.append((x.copy(), y.copy()))

        def predict(self, x: Any) -> Any:
            assert len(x) == 80
            return np.zeros((len(x), 1), np.float32)

    monkeypatch.setattr(r28, "network", Spy)
    values = r28.generated(400)
    other = values.copy()
    other[320:] += 1000
    outcomes = [r28.forecasts(v, 1, 1, report=lambda _: None)[-1] for v in (values, other)]
    assert np.array_equal(seen[0][0], seen[1][0])
    assert np.array_equal(seen[0][1], seen[1][1])
    assert len(seen[0][0]) == 320 - r28.STEPS
    learned = values[:320]
    foretold = values[320:] - learned.mean()  # zeros say: the mean of the training part
    assert outcomes[0].mae == pytest.approx(float(np.abs(foretold).mean()), rel=1e-5)
    assert outcomes[0].rmse == pytest.approx(math.sqrt(float((foretold**2).mean())), rel=1e-5)


@pytest.mark.usefixtures("without_data")
def test_a_made_up_series_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    short = r28.generated(400)
    monkeypatch.setattr(r28, "generated", lambda: short)
    said: list[str] = []
    outcomes = r28.study(seeds=1, epochs=1, report=said.append)
    assert said[0] == (
        "400 samples of a GENERATED series, two noisy damped oscillators: $LAMINAR_DATA has no series/daily-min-temperatures.csv"
    )
    assert [o.forecast for o in outcomes] == ["last value", "linear autoregression", "LSTM"]
    assert len(said) == 4
    assert r28.as_rows(outcomes)[0]["seed"] is None
    assert "| LSTM | 1 |" in r28.table(outcomes)


def test_the_oscillators_have_the_periods_they_are_given() -> None:
    values = r28.generated(20_000).astype(np.float64)
    power = np.abs(np.fft.rfft(values)) ** 2
    smooth = np.convolve(power, np.ones(101) / 101, "same")
    near = [smooth[int(20_000 / p)] for p in (40, 20, 11, 4)]
    assert near[0] > 10 * near[1]
    assert near[2] > 3 * near[1]
    assert near[2] > 10 * near[3]
    assert np.array_equal(r28.generated(50), r28.generated(50))
    assert not np.array_equal(r28.generated(50), r28.generated(50, seed=1))


def test_a_file_is_read_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "series").mkdir()
    file = tmp_path / r28.FILE
    file.write_text('"Date","Temp"\n"1981-01-01",20.7\n"1981-01-02",17.9\n')
    monkeypatch.setenv("LAMINAR_DATA", str(tmp_path))
    said: list[str] = []
    assert r28.series(said.append).tolist() == pytest.approx([20.7, 17.9], abs=1e-5)
    assert said == [f"2 daily minimum temperatures, in degrees Celsius, from {file}"]
    file.write_text('"Date","Temp"\n"1981-01-01",?\n')
    with pytest.raises(FileError) as caught:
        r28.series(said.append)
    assert str(caught.value) == (
        f"{file}, line 2: expected a date and a number, received 1981-01-01,?. Replace the file by the publisher's."
    )


def test_no_seed_is_refused() -> None:
    with pytest.raises(ArgumentError) as caught:
        r28.study(seeds=0)
    assert str(caught.value) == "study(seeds=): expected at least 1, received 0. Pass seeds=5."


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("without_data")
def test_an_lstm_beats_the_last_value_on_a_made_up_series() -> None:
    last, _, lstm = r28.study(seeds=1, report=lambda _: None)
    assert lstm.mae < 0.9 * last.mae
    assert lstm.rmse < 0.9 * last.rmse


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.data
def test_an_lstm_beats_the_last_value_on_real_temperatures() -> None:
    last, _, lstm = r28.study(seeds=1, report=lambda _: None)
    assert lstm.mae < 0.95 * last.mae
    assert lstm.rmse < 0.95 * last.rmse
