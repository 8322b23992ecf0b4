"""What is wrong with a search is said before anything is trained, in one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tuning.problem import DEFAULT, TRAIN, net, tuned

import laminar as lm
from laminar.errors import ArgumentError, LaminarError, NotCompiledError, TooFewRunsError, UnknownNameError
from laminar.tuning.defaults import check_default

ERRORS: list[tuple[dict[str, Any], type[LaminarError], str]] = [
    ({"sampler": "tp"}, UnknownNameError, "sampler 'tp' is unknown. Did you mean 'tpe'? Known: brute_force, exhaustive, gaussian_process, "
     "gp, qmc, random, sobol, tpe."),
    ({"pruner": "medain"}, UnknownNameError, "pruner 'medain' is unknown. Did you mean 'median'? Known: asha, hyperband, median, none, nop, "
     "successive_halving."),
    ({"sampler": 3}, ArgumentError, "tune(sampler=): expected a name, or a sampler of Optuna's, received 3. "
     "Pass sampler=\"tpe\", or optuna.samplers.CmaEsSampler(seed=0)."),
    ({"pruner": None}, ArgumentError, "tune(pruner=): expected a name, or a pruner of Optuna's, received None. "
     "Pass pruner=\"none\" to train every network to its end."),
    ({"trials": 0}, ArgumentError, "tune(trials=): expected a whole number of at least 1, received 0. Pass 1 or more."),
    ({"epochs": 0}, ArgumentError, "tune(epochs=): expected a whole number of at least 1, received 0. Pass 1 or more."),
    ({"verbose": 5}, ArgumentError, "tune(verbose=): expected 0, 1 or 2, received 5. Pass verbose=1."),
    ({"direction": "up"}, ArgumentError, 'tune(direction=): expected "auto", "min" or "max", received \'up\'. '
     'Pass direction="min" where smaller is better.'),
    ({"metric": None}, ArgumentError, "tune(metric=): expected the name of a figure, received None. "
     'Pass metric="accuracy", as compile(metrics=) has it.'),
    ({"shuffle": "twice"}, ArgumentError, "fit(shuffle=): expected \"epoch\", \"once\" or False, received 'twice'. "
     'Pass shuffle="epoch".'),
    ({"metric": "quality"}, ArgumentError, "tune(direction=): expected \"min\" or \"max\", because 'quality' does not tell which is better, "
     'received "auto". Pass direction="max" where larger is better.'),
    ({"metric": "accurcy"}, ArgumentError, "tune(direction=): expected \"min\" or \"max\", because 'accurcy' does not tell which is better, "
     'received "auto". Pass direction="max" where larger is better, or metric="accuracy" if that is meant.'),
    ({"name": ""}, ArgumentError, "tune(name=): expected a name or None, received ''. Pass name=\"rates\", or leave it out."),
    ({"confirm": -1}, ArgumentError, "tune(confirm=): expected how many pairs of seeds, 0 for none, received -1. Pass confirm=10."),
    ({"confirm": 2.5}, ArgumentError, "tune(confirm=): expected how many pairs of seeds, 0 for none, received 2.5. Pass confirm=10."),
    ({"validation_split": 0.2}, ArgumentError, "tune(validation_split=): expected none: the search gives it to fit itself, received float. "
     "Split the data before, and pass validation=(x, y)."),
    ({"confirm": 6}, ArgumentError, "tune(confirm=): expected default parameters to compare the winner with, received none. "
     "Pass default={...}, the parameters you would have used without a search."),
    ({"confirm": 3, "default": DEFAULT}, TooFewRunsError, "3 paired seeds give at best p = 0.25, so alpha = 0.05 cannot be reached. "
     "Run 6 or more."),
    ({"default": {**DEFAULT, "unit": 3}}, UnknownNameError, "tune(default=): parameter 'unit' is unknown. Did you mean 'units'? "
     "Known: activation, learning_rate, units."),
    ({"default": {"units": 3}}, ArgumentError, "tune(default=): expected a value for 'learning_rate', which build suggests, received none. "
     "Pass default={'learning_rate': ...} along with the others."),
    ({"default": {**DEFAULT, "units": 99}}, ArgumentError, "tune(default=): parameter 'units': expected a whole number from 1 to 16, "
     "received 99. Pass a value that build can suggest, or widen its range."),
    ({"default": {**DEFAULT, "activation": "tanh"}}, ArgumentError, "tune(default=): parameter 'activation': expected one of 'relu', 'elu', "
     "received 'tanh'. Pass a value that build can suggest, or widen its range."),
    ({"default": {**DEFAULT, "learning_rate": "fast"}}, ArgumentError, "tune(default=): parameter 'learning_rate': expected a number from "
     "0.001 to 1, received 'fast'. Pass a value that build can suggest, or widen its range."),
    ({"metric": "acuracy", "direction": "max", "default": DEFAULT}, UnknownNameError, "tune(metric=): figure 'acuracy' is unknown. "
     "Did you mean 'accuracy'? Known: accuracy, loss."),
    ({"metric": "acuracy", "direction": "max"}, UnknownNameError, "tune(metric=): figure 'acuracy' is unknown. "
     "Did you mean 'accuracy'? Known: accuracy, loss."),
]  # fmt: skip


@pytest.mark.parametrize(("options", "kind", "message"), ERRORS)
def test_bad_arguments(options: dict[str, Any], kind: type[LaminarError], message: str) -> None:
    with pytest.raises(kind) as e:
        tuned(**options)
    assert str(e.value) == message


def test_an_argument_that_nobody_knows() -> None:
    with pytest.raises(UnknownNameError, match=r"^tune: argument 'epoch' is unknown. Did you mean 'epochs'\? Known: ") as e:
        tuned(epoch=3)
    assert "validation_split" not in str(e.value)
    assert "pruner" in str(e.value)


def test_what_build_returns_is_looked_at() -> None:
    def uncompiled(trial: Any) -> Any:
        return lm.Sequential([lm.layers.Dense(2)])

    with pytest.raises(ArgumentError) as e:
        tuned(build=3)
    assert str(e.value) == (
        "tune(build=): expected a function of a trial that returns a compiled network, received int. "
        "Pass the function itself, without brackets."
    )
    with pytest.raises(ArgumentError, match=r"^tune\(build\): expected a compiled network, received NoneType"):
        tuned(lambda trial: None, default={})
    with pytest.raises(NotCompiledError, match=r"^tune\(build\): expected a compiled network, received one without a loss"):
        tuned(uncompiled)


def test_data_are_looked_at() -> None:
    with pytest.raises(ArgumentError, match=r"^tune\(train=\): expected \(x, y\) or \(x, y, weight\), received 1 things"):
        lm.tune(net, (TRAIN[0],), TRAIN, metric="accuracy", trials=1, store=None, verbose=0)
    with pytest.raises(lm.errors.DataError, match=r"^tune\(validation=\)"):
        bad = np.full_like(TRAIN[0], np.nan), TRAIN[1]
        lm.tune(net, TRAIN, bad, metric="accuracy", trials=1, store=None, verbose=0, default=DEFAULT)


def test_data_for_the_confirmation_are_looked_at_before_the_search() -> None:
    built: list[Any] = []

    def build(trial: Any) -> Any:
        built.append(trial)
        return net(trial)

    bad = np.full_like(TRAIN[0], np.nan), TRAIN[1]
    with pytest.raises(lm.errors.DataError, match=r"^tune\(test=\)"):
        tuned(build, default=DEFAULT, confirm=6, test=bad)
    assert len(built) <= 2  # to look, and to look for what two networks share


def test_a_layer_that_trials_share_is_refused_without_a_default_too() -> None:
    shared = lm.layers.Dense(2, activation="softmax", name="shared")

    def build(trial: Any) -> Any:
        model = lm.Sequential([lm.layers.Dense(3), shared])
        model.compile(
            lm.optimizers.SGD(trial.suggest_float("rate", 0.01, 0.1)),
            "sparse_categorical_crossentropy",
            ["accuracy"],
            device="cpu",
        )
        return model

    with pytest.raises(
        ArgumentError, match=r"^tune\(build\): expected a new network for each trial, received layer 'shared' of an"
    ):
        tuned(build)


def test_steps_of_a_default_are_looked_at() -> None:
    def stepped(trial: Any) -> float:
        return float(trial.suggest_float("rate", 0.0, 1.0, step=0.25)) + int(trial.suggest_int("units", 4, 16, step=4))

    assert check_default(stepped, {"rate": 0.75, "units": 8}) == 8.75
    assert check_default(stepped, {"rate": 1, "units": np.int64(16)}) == 17
    for wrong in ({"rate": 0.3, "units": 8}, {"rate": 0.5, "units": 9}, {"rate": True, "units": 8}):
        with pytest.raises(ArgumentError, match=r"^tune\(default=\): parameter"):
            check_default(stepped, wrong)


@pytest.mark.parametrize("default", [[1], "units"])
def test_a_default_without_names(default: Any) -> None:
    with pytest.raises(ArgumentError) as error:
        check_default(lambda _trial: None, default)
    assert str(error.value) == (
        f"tune(default=): expected parameters by name, received {type(default).__name__}. "
        'Pass default={"learning_rate": 0.01}, say.'
    )


def test_a_layer_that_trials_would_share_is_refused() -> None:
    shared = lm.layers.Dense(2)

    def build(trial: Any) -> lm.Sequential:
        model = lm.Sequential([shared])
        rate = trial.suggest_float("learning_rate", 1e-3, 1.0)
        model.compile(lm.optimizers.SGD(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    with pytest.raises(ArgumentError) as e:
        lm.tune(build, TRAIN, TRAIN, metric="accuracy", default={"learning_rate": 0.1}, store=None, verbose=0)
    assert str(e.value) == (
        "tune(build): expected a new network from each call, received layer 'dense' in both of two networks. Make it inside of "
        "the function: what one run has learned must not reach the next."
    )
