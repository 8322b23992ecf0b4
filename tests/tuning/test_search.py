"""What a search tries, keeps, prunes, and does again."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from tuning.problem import DEFAULT, TRAIN, VALIDATION, net, suggested, tuned

import laminar as lm
from laminar.comparison.connections import place_of
from laminar.comparison.store import Store
from laminar.errors import StoreError
from laminar.tuning import attempt, loop
from laminar.tuning.strategies import sampler_seed
from laminar.tuning.studies import begin, open_study
from laminar.tuning.trials import Tried


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Optuna logs what the tests do with it directly."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


def found(trials: tuple[Tried, ...]) -> list[tuple[Any, ...]]:
    return [(t.place, dict(t.params), t.status, t.value, t.curve, t.seed) for t in trials]


class PruneAll(optuna.pruners.BasePruner):
    """Ends every training that it is asked about."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return True


def test_the_default_is_trial_0_and_what_the_gain_is_measured_against() -> None:
    result = tuned(default=DEFAULT)
    first = result.trials[0]
    assert (first.place, first.params, first.default) == (0, DEFAULT, True)
    assert [t.default for t in result.trials] == [True, False, False, False]
    assert result.best_value == max(t.value or 0.0 for t in result.trials)
    assert result.gain == result.best_value - (first.value or 0.0)
    assert result.best_params == result.best.params
    assert result.counts == {"finished": 4}


@pytest.mark.parametrize(("name", "kind", "count"), [("tpe", "TPESampler", 12), ("random", "RandomSampler", 3)])
def test_suggestions_are_those_of_optuna(name: str, kind: str, count: int) -> None:
    """The same sampler, seeded in the same way and told the same values, in a loop of Optuna's own."""
    result = tuned(sampler=name, trials=count, epochs=1, seed=5)
    study = optuna.create_study(direction="maximize")
    for trial in result.trials:
        study.sampler = getattr(optuna.samplers, kind)(seed=sampler_seed(5, trial.place))
        asked = study.ask()
        assert suggested(asked) == trial.params
        study.tell(asked, trial.value)
    assert len({t.params["learning_rate"] for t in result.trials}) == count


def test_the_value_is_that_of_the_trained_network() -> None:
    """Whoever trains the winner again from its seed has the value again; the curve is the history's."""
    result = tuned()
    model = result.best_model()
    history = model.fit(*TRAIN, validation_data=VALIDATION, epochs=2, batch_size=16, seed=result.best.seed, verbose=0)
    assert model.evaluate(*VALIDATION)["accuracy"] == result.best_value
    assert tuple(history.history["val_accuracy"]) == result.best.curve
    assert result.best.history["val_accuracy"] == list(result.best.curve)


def test_lower_may_be_better() -> None:
    result = tuned(metric="loss", default=DEFAULT)
    assert result.best_value == min(t.value or 9.0 for t in result.trials)
    assert result.gain is not None
    assert result.gain >= 0


def test_a_search_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    """In two parts, and with a trial that was cut short between them, it is the search that nobody interrupted."""
    kept: dict[str, Any] = {"store": tmp_path / "trials.db", "default": DEFAULT}
    assert len(tuned(**kept, trials=2).trials) == 2
    first = tuned(**kept, trials=2)  # nothing is missing
    store = Store(kept["store"])
    begin(open_study(store, first.name), store, 2, seed=1, default=None)  # a process that died in the middle of its trial
    result = tuned(**kept, trials=4)
    assert found(result.trials) == found(tuned(default=DEFAULT).trials)
    everything = optuna.load_study(study_name=result.name, storage=f"sqlite:///{kept['store']}").trials
    assert [t.state.name for t in everything] == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert everything[2].user_attrs["outcome"] == {"status": "cut short"}
    assert [t.number for t in result.trials] == [0, 1, 3, 4]
    assert {"place", "seed", "default", "started", "environment", "outcome"} <= set(everything[0].user_attrs)
    assert everything[0].user_attrs["outcome"]["history"]["val_accuracy"] == list(result.trials[0].curve)


def test_ctrl_c_leaves_nothing_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, Any] = {"store": tmp_path / "trials.db", "name": "mine"}
    original = attempt.attempt

    def interrupted(search: attempt.Search, trial: optuna.Trial, *args: Any, **options: Any) -> Any:
        outcome = original(search, trial, *args, **options)
        if trial.number == 1:
            raise KeyboardInterrupt
        return outcome

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "attempt", interrupted)
        tuned(**kept)
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{kept['store']}")
    assert [t.state.name for t in study.trials] == ["COMPLETE", "FAIL"]
    assert found(tuned(**kept).trials) == found(tuned().trials)


def test_pruned_trials_are_results_and_the_default_is_never_pruned() -> None:
    result = tuned(pruner=PruneAll(), default=DEFAULT, epochs=3)
    assert [(t.status, t.value is None, len(t.curve)) for t in result.trials] == [
        ("finished", False, 3),
        *[("pruned", True, 1)] * 3,
    ]
    assert result.trials[1].shown == result.trials[1].curve[0]
    assert result.best.default
    assert result.study.trials[1].state.name == "PRUNED"


def test_a_training_at_its_end_is_not_pruned() -> None:
    assert tuned(pruner=PruneAll(), epochs=1).counts == {"finished": 4}


def test_a_trial_that_diverges_fails_or_is_refused_is_a_result() -> None:
    def build(trial: Any) -> Any:
        if trial.number == 1:
            raise optuna.TrialPruned("too wide")
        if trial.number == 2:
            raise ValueError("no such thing")
        model = net(trial)
        if trial.number == 3:
            model.compile(lm.optimizers.SGD(1e30), "sparse_categorical_crossentropy", ["accuracy"], device="cpu")
        return model

    result = tuned(build, trials=5)
    assert [t.status for t in result.trials] == ["finished", "pruned", "failed", "diverged", "finished"]
    assert (result.trials[1].error, result.trials[2].error) == ("too wide", "ValueError: no such thing")
    assert (result.trials[3].error or "").startswith("loss became")
    assert [t.state.name for t in result.study.trials] == ["COMPLETE", "PRUNED", "FAIL", "FAIL", "COMPLETE"]
    assert "Best of 5 trials (2 finished, 1 pruned, 1 failed, 1 diverged)" in str(result)


def test_a_metric_that_is_no_number_is_a_divergence() -> None:
    def build(trial: Any) -> Any:
        model = net(trial)
        model.compile("sgd", "sparse_categorical_crossentropy", [lambda p, t: p.sum() * float("nan")], device="cpu")
        return model

    trial = tuned(build, metric="<lambda>", direction="max", trials=1).trials[0]
    assert (trial.status, trial.error) == ("diverged", "<lambda> on the validation data is nan")


def test_a_bug_is_told_at_once_and_its_trial_does_not_count(tmp_path: Path) -> None:
    broken = True

    def build(trial: Any) -> Any:
        return 1 / 0 if broken else net(trial)

    kept: dict[str, Any] = {"store": tmp_path / "trials.db", "name": "mine"}
    with pytest.raises(ZeroDivisionError):
        tuned(build, **kept)
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{kept['store']}")
    assert [t.state.name for t in study.trials] == ["FAIL"]
    broken = False
    with pytest.raises(StoreError, match="'mine' was begun with"):
        tuned(build, **kept)  # the function is another one now, so its trials would not belong to those before


def test_a_sampler_may_say_that_everything_was_tried(tmp_path: Path) -> None:
    def build(trial: Any) -> Any:
        trial.suggest_categorical("unused", [1, 2])
        return net(optuna.trial.FixedTrial(DEFAULT))

    grid = optuna.samplers.GridSampler({"unused": [1, 2]}, seed=0)
    kept: dict[str, Any] = {"store": tmp_path / "trials.db", "epochs": 1}
    assert sorted(t.params["unused"] for t in tuned(build, sampler=grid, **kept).trials) == [1, 2]
    assert len(tuned(build, sampler=grid, **kept).trials) == 2
    assert len(tuned(build, sampler="brute_force", epochs=1).trials) == 2


@pytest.mark.parametrize("sampler", ["gp", "qmc"])
def test_other_samplers(sampler: str) -> None:
    result = tuned(sampler=sampler, epochs=1, trials=3)
    assert len({t.params["learning_rate"] for t in result.trials}) == 3


@pytest.mark.parametrize("pruner", ["median", "hyperband", "successive_halving"])
def test_other_pruners(pruner: str) -> None:
    result = tuned(pruner=pruner, trials=3)
    assert set(result.counts) <= {"finished", "pruned"}
    assert sum(result.counts.values()) == 3


def test_callbacks_are_made_for_every_trial() -> None:
    stopping = lm.callbacks.EarlyStopping("val_accuracy", patience=0)
    result = tuned(callbacks=[stopping], epochs=9)
    assert min(len(t.curve) for t in result.trials) < 9
    assert all(t.status == "finished" for t in result.trials)
    again = tuned(callbacks=iter([stopping]), epochs=9)  # what can be gone through once does for every trial, too
    assert [t.curve for t in again.trials] == [t.curve for t in result.trials]


def test_a_place_that_another_process_took_over_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent for so long that it was thought dead, a process gives up its trial, and runs none twice."""
    told: list[int] = []
    store = Store(None)
    run = attempt.Search(net, TRAIN, VALIDATION, "accuracy", True, 2, fit={"epochs": 1, "batch_size": 16})
    store.open_study("mine", {"metric": "accuracy", "higher_is_better": True}, "marks")
    original = attempt.attempt

    def late(*args: Any, **options: Any) -> Any:
        outcome = original(*args, **options)
        if not told:
            told.append(1)
            study = open_study(store, "mine")
            begin(study, store, 0, seed=1, default=None)  # marks ours as cut short
        return outcome

    monkeypatch.setattr(loop, "attempt", late)
    ended: list[Tried] = []
    loop.run_trials(run, store, "mine", report=ended.append)
    assert sorted(t.place for t in ended) == [0, 1]


def test_a_search_that_is_told_to_end_gives_its_trial_back(tmp_path: Path) -> None:
    ended: list[int] = []

    def build(trial: Any) -> Any:
        if trial.number == 2 and not ended:
            ended.append(trial.number)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)  # cut short at once
        return net(trial)

    with pytest.raises(SystemExit):
        tuned(build, store=tmp_path / "trials.db", name="mine")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{tmp_path / 'trials.db'}")
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    assert Store(tmp_path / "trials.db").claim("mine", [("trial", 2)]) == ("trial", 2)


def test_what_is_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    result = tuned(trials=3, verbose=1, default=DEFAULT, name="mine")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "Searching for accuracy in 3 trials. Study 'mine', in memory.",
        "trial     value      best  epochs  seconds            parameters",
    ]
    value = f"{result.trials[0].value:.4f}"
    assert lines[2] == f"    0    {value}    {value}       2      0.0  best      units=3 learning_rate=0.01 activation=relu"
    assert [line.split()[0] for line in lines[2:]] == ["0", "1", "2"]
    monkeypatch.undo()
    tuned(trials=1)
    assert capsys.readouterr().out == ""


def test_a_terminal_shows_how_far_a_trial_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    class Window(io.StringIO):
        def isatty(self) -> bool:
            return True

    window = Window()
    monkeypatch.setattr("sys.stdout", window)
    monkeypatch.setenv("TERM", "xterm")
    tuned(trials=2, verbose=1, name="mine")
    text = window.getvalue()
    assert "trial 1 of 2: epoch 2 of 2, accuracy" in text
    assert "\x1b[" in text
    assert "Searching for accuracy in 2 trials." in text


def test_the_store_is_told_without_its_password() -> None:
    result = tuned(trials=1)
    assert (result.store, result.where) == (place_of(None).shown, None)
