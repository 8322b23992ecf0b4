"""`lm.tune`: the search for the parameters that train a network best, and what of its gain is real."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from laminar import seeding
from laminar.comparison.checked import ask, check_apart, ready
from laminar.comparison.connections import place_of
from laminar.comparison.digest import digest
from laminar.comparison.fingerprint import data_of
from laminar.comparison.fitting import checked_fit
from laminar.comparison.processes import Report, run_job
from laminar.comparison.protocol import larger_is_better
from laminar.comparison.store import Store, shared_store
from laminar.comparison.task import as_triple, drawn, made
from laminar.errors import ArgumentError, complaint
from laminar.fit import arguments
from laminar.model import Model
from laminar.tuning.attempt import Search
from laminar.tuning.confirm import check_confirmation
from laminar.tuning.defaults import check_default
from laminar.tuning.live import Live, make_live, short
from laminar.tuning.loop import missing, run_trials
from laminar.tuning.result import Tuning
from laminar.tuning.strategies import check_pruner, check_sampler
from laminar.tuning.studies import in_memory, open_study, tried_so_far
from laminar.tuning.trials import Tried, best_of

__all__ = ["tune"]

_OURS = "none: the search gives it to fit itself"
_TAKEN = {
    "validation_data": (_OURS, "Pass validation=(x, y)"),
    "validation_split": (_OURS, "Split the data before, and pass validation=(x, y)"),
    "sample_weight": (_OURS, "Pass train=(x, y, weight)"),
    "x": (_OURS, "Pass train=(x, y)"),
    "y": (_OURS, "Pass train=(x, y)"),
}
"""Arguments of fit that a search sets itself: what is expected instead, and the fix."""


def tune(
    build: Callable[[Any], Any],
    train: Any,
    validation: Any,
    *,
    metric: str,
    trials: int = 40,
    store: str | os.PathLike[str] | None = "laminar.db",
    name: str | None = None,
    default: Mapping[str, Any] | None = None,
    sampler: Any = "tpe",
    pruner: Any = "median",
    confirm: int = 0,
    test: Any = None,
    margin: float | None = None,
    seed: int = 0,
    workers: int = 1,
    direction: str = "auto",
    verbose: int = 1,
    **fit: Any,
) -> Tuning:
    """Search for the parameters with which a network does best on validation data, and confirm what was gained.

    Each trial trains one network from seeds of its own, looks at the metric after every epoch, and is ended early where the
    pruner says that it lags. One that diverges or fails is a result. Every trial is kept in the store: called again with the
    same arguments, the search goes on with the trials that are missing. Several processes may call it at once; together they
    run no more than `trials`.

    Args:
        build: function of an Optuna trial (`trial.suggest_float`, `suggest_int`, `suggest_categorical`) that returns a compiled
            network.
        train: (x, y), (x, y, weight), a source of batches, or a function of the seed that returns one of these.
        validation: (x, y), (x, y, weight) or a source of batches: what the search looks at.
        metric: figure of the validation data that is searched for, such as "accuracy"; the network is compiled with it.
        trials: how many there are to be, counted from the first call.
        store: SQLite file or "postgresql://..." where trials are kept; None for memory.
        name: of the study in the store; made of the function's name and a digest where None.
        default: parameter -> value before any search. It is trial 0, and what the gain is measured against.
        sampler: "tpe", "random", "gp", "qmc", "brute_force", or a sampler of Optuna's.
        pruner: "median", "hyperband", "successive_halving", "none", or a pruner of Optuna's.
        confirm: pairs of fresh seeds on which the winner is compared with the default at the end; 0 for none.
        test: data for that comparison which the search has not seen; the validation data where None, which flatters.
        margin: the smallest gain that matters to that comparison; half of the claimed gain where None.
        seed: the root of every seed.
        workers: processes that search together.
        direction: "max" or "min" is better; "auto" goes by the metric's name.
        verbose: 0 silent, 1 what suits the place, 2 plain lines.
        fit: further arguments of `Model.fit`; `callbacks` may be a function that makes them, or is copied for every trial.

    Raises:
        ArgumentError, UnknownNameError: on an argument that cannot work, before anything is trained.
        TooFewRunsError: if `confirm` pairs can lead to no verdict.
        StoreError: if the store cannot be reached, or holds another study of that name.
        Exception: whatever `build` or the training raises, as long as no trial has worked: a bug is told at once.

    Source: row R15 of the mission; Akiba et al. 2019, "Optuna: a next-generation hyperparameter optimization framework".

    >>> import numpy as np
    >>> import laminar as lm
    >>> from laminar import layers as L
    >>> x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    >>> y = (x.sum(1) > 0).astype("int64")
    >>> def build(trial):
    ...     model = lm.Sequential([L.Dense(2), L.Softmax()])
    ...     rate = trial.suggest_float("learning_rate", 1e-4, 1.0, log=True)
    ...     model.compile(lm.optimizers.SGD(rate), "sparse_categorical_crossentropy", ["accuracy"])
    ...     return model
    >>> found = tune(build, (x[:48], y[:48]), (x[48:], y[48:]), metric="accuracy", trials=3, store=None, verbose=0)
    >>> list(found.best_params), len(found.trials)
    (['learning_rate'], 3)
    """
    fit = checked_fit("tune", fit, _TAKEN, inspect.signature(tune).parameters.keys() - {"fit"})
    count, crew = arguments.whole_numbers("tune", trials=trials, workers=workers)
    _check_rest(build, name, confirm)
    root = arguments.seed_of("tune(seed=)", seed) or 0
    check_sampler(sampler)
    check_pruner(pruner)
    higher = larger_is_better("tune", metric, direction)
    search = Search(build, train, validation, metric, higher, count, root, default, sampler, pruner, fit)
    live = make_live(verbose)
    if confirm:
        check_confirmation(search, confirm, margin)
    place_of(store)  # an address that cannot be right is said before the data is looked at
    _rehearse(search, test if confirm else None)
    marks = _fingerprint(search)
    name = name or f"{getattr(build, '__name__', 'search')} {digest(marks)}"
    with shared_store(store, crew) as kept:
        kept.open_study(name, _declared(search), marks)
        where = None if store is None else kept.where
        _run(search, kept, name, crew, live, where)
        result = _result(search, kept, name, where)
    if confirm and result.counts.get("finished"):
        result.confirm(confirm, test=test, margin=margin, workers=crew, verbose=min(verbose, 1))
    return result


def _check_rest(build: Any, name: Any, confirm: Any) -> None:
    if not callable(build):
        expected, fix = "a function of a trial that returns a compiled network", "Pass the function itself, without brackets"
        raise ArgumentError(complaint("tune(build=)", expected=expected, received=type(build).__name__, fix=fix))
    if name is not None and not (isinstance(name, str) and name):
        fix = 'Pass name="rates", or leave it out'
        raise ArgumentError(complaint("tune(name=)", expected="a name or None", received=repr(name), fix=fix))
    if isinstance(confirm, bool) or not isinstance(confirm, int) or confirm < 0:
        expected, fix = "how many pairs of seeds, 0 for none", "Pass confirm=10"
        raise ArgumentError(complaint("tune(confirm=)", expected=expected, received=repr(confirm), fix=fix))


def _rehearse(search: Search, test: Any) -> None:
    """Build the default network, look at all data with it, and ask it for its figures, before anything is trained.

    Args:
        search: what is searched for.
        test: data of the confirmation; None where there are none of its own.

    Raises:
        LaminarError: what is wrong with the default parameters, the network, the metric or the data.
    """
    default = search.default
    if default is None:
        return  # what is suggested in its place may not work, and a search has to bear that
    seed = search.seed_of(0)

    def network() -> Model:
        return made(lambda: check_default(search.build, default), seed, "tune(build)")

    model = network()
    with seeding.preserved():
        ready(
            model,
            (drawn(search.train, seed, "tune(train=)"), "tune(train=)"),
            (as_triple(search.validation, "tune(validation=)"), "tune(validation=)"),
            (search.metric, "tune(metric=): figure"),
            seed=seed,
            class_weight=search.fit.get("class_weight"),
        )
        if test is not None:
            ask(model, (as_triple(test, "tune(test=)"), "tune(test=)"), (search.metric, "tune(metric=): figure"), seed=seed)
    check_apart(model, network(), "tune(build)")


def _fingerprint(search: Search) -> str:
    """Return what must be equal for trials to belong together; how many there are and who suggests them may change."""
    parts = {
        "build": digest(search.build, None if search.default is None else dict(search.default)),
        "data": digest(data_of(search.train), data_of(search.validation)),
        "settings": digest(search.metric, search.seed, sorted(search.fit.items())),
    }
    return ", ".join(f"{name} {text}" for name, text in parts.items())


def _declared(search: Search) -> dict[str, Any]:
    """Return the search as values that the store keeps beside its trials."""
    return {
        "metric": search.metric,
        "higher_is_better": search.higher_is_better,
        "trials": search.trials,
        "seed": search.seed,
        "default": None if search.default is None else {name: _plain(value) for name, value in search.default.items()},
        "sampler": _named(search.sampler),
        "pruner": _named(search.pruner),
        "fit": {name: _plain(value) for name, value in sorted(search.fit.items())},
    }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return getattr(value, "__name__", type(value).__name__)


def _named(strategy: Any) -> str:
    return strategy if isinstance(strategy, str) else type(strategy).__name__


def _run(search: Search, store: Store, name: str, workers: int, live: Live, where: str | None) -> None:
    """Run what is missing, and show it; `where` the trials outlive the call, None for nowhere."""
    done = tried_so_far(open_study(store, name), store)
    left = len(missing(search, done))
    if not left:
        return
    best = best_of(done, higher_is_better=search.higher_is_better)
    epochs = search.fit.get("epochs", 1)

    def ended(trial: Tried) -> None:
        nonlocal best
        best = best_of([*([best] if best else []), trial], higher_is_better=search.higher_is_better)
        live.row(trial, best)

    def told(place: int, epoch: int, value: float) -> None:
        live.epoch(f"trial {place} of {search.trials}: epoch {epoch} of {epochs}, {search.metric} {short(value)}")

    again = f", {len(done)} of them are there" if done else ""
    live.start(f"Searching for {search.metric} in {search.trials} trials{again}. Study {name!r}, {place_of(where).shown}.")
    try:
        if workers == 1:
            run_trials(search, store, name, report=ended, told=told)
        else:
            run_job(partial(_share, search), store, name, workers, who="tune", report=lambda t: ended(Tried.from_dict(t)))
    except KeyboardInterrupt:
        live.note("Interrupted. The same call goes on from here." if where else "Interrupted.")
        raise
    finally:
        live.stop()


def _share(search: Search, store: Store, name: str, say: Report) -> None:
    """Do one process's share of a search."""
    run_trials(search, store, name, report=lambda trial: say(trial.to_dict()))


def _result(search: Search, store: Store, name: str, where: str | None) -> Tuning:
    study = open_study(store, name)
    done = tuple(tried_so_far(study, store))
    return Tuning(search, done, in_memory(study, store, search.metric), name, place_of(where).shown, where)
