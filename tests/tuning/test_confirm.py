"""What survives of a search's gain, its result in words, and its ways out."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from typing import Any

import numpy as np
import optuna
import pytest
from tuning.problem import DEFAULT, TEST, net, tuned

import laminar as lm
from laminar.comparison.protocol import make_protocol
from laminar.comparison.verdicts import judge
from laminar.errors import ArgumentError, TooFewRunsError
from laminar.seeding import derive
from laminar.tuning.confirm import DEFAULT as BEFORE
from laminar.tuning.confirm import TUNED, Survival, survival
from laminar.tuning.result import Tuning

GOOD: dict[str, Any] = {"trials": 6, "default": DEFAULT, "epochs": 6}


@pytest.fixture(scope="module")
def confirmed() -> Tuning:
    """A search whose winner was confirmed on test data."""
    return tuned(**GOOD, confirm=6, test=TEST, margin=0.05, name="mine")


def test_the_confirmation_is_a_comparison_on_fresh_seeds(confirmed: Tuning) -> None:
    comparison = confirmed.confirmation
    assert comparison is not None
    runs = {name: [r for r in comparison.runs if r.variant == name] for name in (BEFORE, TUNED)}
    assert [r.index for r in runs[TUNED]] == [r.index for r in runs[BEFORE]] == list(range(6))
    root = derive(0, "confirmation")
    assert [r.seed for r in runs[TUNED]] == [derive(root, "run", k) for k in range(6)]
    assert not {r.seed for r in comparison.runs} & {t.seed for t in confirmed.trials}
    assert (comparison.protocol.margin, comparison.protocol.stop, comparison.protocol.seeds) == (0.05, "fixed", 6)
    assert comparison.protocol.contrasts == ((TUNED, BEFORE),)
    # A run is the training of the search, from another seed, on the test data.
    first = runs[TUNED][0]
    model = confirmed.best_model(first.seed)
    usual: dict[str, Any] = {"epochs": 6, "batch_size": 16, "verbose": 0}
    model.fit(*confirmed.search.train, validation_data=confirmed.search.validation, seed=first.seed, **usual)
    assert model.evaluate(*TEST)["accuracy"] == first.value


def test_what_survives_is_measured(confirmed: Tuning) -> None:
    left, comparison = confirmed.survival, confirmed.confirmation
    assert left is not None
    assert comparison is not None
    values = {name: [r.value for r in comparison.runs if r.variant == name] for name in (BEFORE, TUNED)}
    gains = [b - a for a, b in zip(values[BEFORE], values[TUNED], strict=True) if a is not None and b is not None]
    assert left.confirmed == pytest.approx(statistics.fmean(gains))
    assert left.claimed == confirmed.gain
    verdict = comparison[TUNED]
    assert (left.low, left.high, left.pairs, left.fresh) == (verdict.low, verdict.high, 6, True)
    assert left.claimed is not None
    assert left.confirmed is not None
    assert left.share == (left.confirmed / left.claimed, left.low / left.claimed, left.high / left.claimed)
    assert "of the claimed gain survives" in str(confirmed)
    assert f"Verdict: {comparison.sentences[0]}" in str(confirmed)


def test_where_lower_is_better_a_gain_is_still_positive() -> None:
    protocol = make_protocol([BEFORE, TUNED], metric="loss", margin=0.1, seeds=6, stop="fixed")
    values = {BEFORE: dict.fromkeys(range(6), 1.0), TUNED: {k: 0.7 - k / 100 for k in range(6)}}
    verdict = judge(values, protocol)[0]
    left = survival("loss", 0.5, verdict, higher_is_better=False, fresh=True)
    assert verdict.word == "better"
    assert left.confirmed == pytest.approx(0.325)
    assert 0.299 < left.low < left.high < 0.351
    assert left.share == pytest.approx((0.65, left.low / 0.5, left.high / 0.5))


def test_survival_in_words() -> None:
    flattered = Survival("loss", 0.5, 0.1, 0.05, math.inf, 8, fresh=False)
    assert str(flattered) == (
        "Claimed: +0.5000, one training each, on the validation data.\n"
        "Confirmed: +0.1000 (+0.05000 to +∞), 8 pairs of fresh seeds, on the validation data, which the search has seen.\n"
        "20 % of the claimed gain survives (10 % to ∞)."
    )
    lost = Survival("accuracy", 0.2, -0.05, -0.1, 0.02, 8, fresh=True)
    assert str(lost).endswith("\nNothing of the claimed gain survives (\u221250 % to 10 %).")
    assert flattered.to_dict()["high"] is None
    assert flattered.to_dict()["share"] == [0.2, 0.1, None]
    unclaimed = Survival("loss", None, None, -math.inf, math.inf, 8, fresh=True)
    assert unclaimed.share is None
    assert str(unclaimed) == (
        "Claimed: none: the default has no value, one training each, on the validation data.\n"
        "Confirmed: no pair in which both finished, 8 pairs of fresh seeds, on data that the search has not seen."
    )


def test_without_test_data_it_says_that_the_claim_is_flattered(confirmed: Tuning) -> None:
    result = dataclasses.replace(confirmed, confirmation=None)
    assert result.survival is None
    assert "Not confirmed: the best of many trainings flatters." in str(result)
    result.confirm(6, verbose=0)
    assert result.survival is not None
    assert not result.survival.fresh
    assert result.confirmation is not None
    assert result.confirmation.protocol.margin == pytest.approx((result.gain or 0.0) / 2)
    assert "on the validation data, which the search has seen" in str(result)


def test_there_is_nothing_to_confirm_where_the_default_is_best() -> None:
    best = {"units": 16, "learning_rate": 1.0, "activation": "relu"}
    result = tuned(trials=1, default=best, confirm=6, epochs=1)
    assert result.confirmation is None
    assert "The default itself is the best: nothing was gained." in str(result)


def test_a_default_without_a_value_needs_a_margin() -> None:
    def build(trial: optuna.Trial) -> lm.Model:
        model = net(trial)
        if trial.params["units"] == 3:
            model.compile(lm.optimizers.SGD(1e30), "sparse_categorical_crossentropy", ["accuracy"], device="cpu")
        return model

    result = tuned(build, trials=2, default=DEFAULT)
    assert result.trials[0].status == "diverged"
    assert result.gain is None
    assert "The default has no value, so no gain can be told." in str(result)
    with pytest.raises(ArgumentError) as e:
        result.confirm(6)
    assert str(e.value) == (
        "Tuning.confirm(margin=): expected the smallest gain that matters, because the search claims none, received None. "
        "Pass margin=0.005, say."
    )
    result.confirm(6, margin=0.01, verbose=0)
    assert result.survival is not None
    assert result.survival.share is None


def test_importance_is_optunas(confirmed: Tuning) -> None:
    shares = confirmed.importance()
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert sum(shares.values()) == pytest.approx(1.0)
    study = optuna.create_study(direction="maximize")
    study.add_trials(confirmed.study.trials)
    assert shares == optuna.importance.get_param_importances(study)
    assert set(shares) == set(DEFAULT)
    with pytest.raises(TooFewRunsError) as e:
        tuned(trials=1).importance()
    assert str(e.value) == (
        "Tuning.importance: expected at least 2 finished trials, received 1. Search on with more trials, or pass pruner='none'."
    )


def test_ways_out(confirmed: Tuning) -> None:
    frame = confirmed.to_pandas()
    assert list(frame["value"]) == [t.value for t in confirmed.trials]
    assert list(frame["params_units"]) == [t.params["units"] for t in confirmed.trials]
    assert set(frame["epochs"]) == {6}
    plain = json.loads(json.dumps(confirmed.to_dict()))
    assert plain["survival"]["claimed"] == confirmed.gain
    assert len(plain["trials"]) == 6
    markdown = confirmed.to_markdown()
    table = [line for line in markdown.splitlines() if line.startswith("| ")]
    ranked = sorted(confirmed.trials, key=lambda t: (-(t.value or 0.0), t.place))
    assert [line.split(" |")[0] for line in table[1:]] == [f"| {t.place}{' (default)' if t.default else ''}" for t in ranked]
    assert "| trial | accuracy | epochs | seconds | parameters |" in table
    assert confirmed._repr_markdown_() == markdown
    assert repr(confirmed) == f"Tuning(accuracy, 6 trials: best {confirmed.best_value:.4f})"
    assert str(confirmed).splitlines()[0] == (
        f"Best of 6 trials (6 finished): accuracy {100 * confirmed.best_value:.2f} % in trial {confirmed.best.place}."
    )


def test_a_search_in_which_nothing_finished() -> None:
    def build(trial: optuna.Trial) -> lm.Model:
        raise optuna.TrialPruned

    result = tuned(build, trials=2)
    assert str(result).startswith("No trial has finished: 2 trials (2 pruned).")
    assert repr(result) == "Tuning(accuracy, 2 trials: none finished)"
    with pytest.raises(TooFewRunsError) as e:
        _ = result.best
    assert str(e.value) == (
        "Tuning.best: expected a finished trial, received none of 2. Look at Tuning.trials for what ended them, and search on."
    )


def test_pictures(confirmed: Tuning) -> None:
    picture = lm.plots.trials(confirmed)
    (panel,) = picture.axes
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("trial", "accuracy (%)")
    best = {str(line.get_label()): line for line in panel.get_lines()}["best so far"]
    values = np.array([t.value for t in confirmed.trials], dtype=float)
    np.testing.assert_allclose(np.asarray(best.get_ydata(), dtype=float), 100 * np.maximum.accumulate(values))
    marks = {str(c.get_label()): np.asarray(c.get_offsets()) for c in panel.collections}
    np.testing.assert_allclose(marks["best"], [[confirmed.best.place, 100 * confirmed.best_value]])
    np.testing.assert_allclose(marks["default"], [[0, 100 * values[0]]])
    drawn = lm.plots.slices(confirmed).axes
    assert [(p.get_xlabel(), p.get_xscale()) for p in drawn] == [
        ("units", "linear"),
        ("learning_rate", "log"),
        ("activation", "linear"),
    ]
    assert len(lm.plots.slices(confirmed, "units").axes) == 1
    (bars,) = lm.plots.importance(confirmed).axes
    assert [label.get_text() for label in bars.get_yticklabels()] == list(confirmed.importance())[::-1]
    with pytest.raises(lm.errors.UnknownNameError) as e:
        lm.plots.slices(confirmed, "unit")
    assert str(e.value) == (
        "plots.slices(parameters=): parameter 'unit' is unknown. Did you mean 'units'? Known: activation, learning_rate, units."
    )
    with pytest.raises(lm.errors.ArgumentError, match=r"^plots.slices\(parameters=\): expected at least one parameter"):
        lm.plots.slices(confirmed, [])


def test_a_picture_of_trials_without_values() -> None:
    def build(trial: optuna.Trial) -> lm.Model:
        if trial.number == 1:
            raise ValueError
        return net(trial)

    result = tuned(build, trials=3)
    (panel,) = lm.plots.trials(result).axes
    marks = {str(c.get_label()): np.asarray(c.get_offsets()) for c in panel.collections}
    np.testing.assert_allclose(marks["diverged or failed"][:, 0], [1])

    def refuse(trial: optuna.Trial) -> lm.Model:
        raise optuna.TrialPruned

    with pytest.raises(lm.errors.DataError) as e:
        lm.plots.trials(tuned(refuse, trials=1))
    assert str(e.value) == (
        "plots.trials(tuning): expected a trial with a value, received 1 trials without one. "
        "Look at tuning.trials for what ended them."
    )
