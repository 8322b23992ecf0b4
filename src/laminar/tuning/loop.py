"""The loop of a process that searches: claim a place, run its trial, until there are as many as were asked for."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial

from laminar.comparison.store import Store
from laminar.comparison.worker import terminable
from laminar.tuning.attempt import Search, Seen, attempt
from laminar.tuning.strategies import make_pruner, make_sampler
from laminar.tuning.studies import abandon, begin, end, is_exhausted, open_study, tried_so_far
from laminar.tuning.trials import Tried

__all__ = ["missing", "run_trials"]

_SHORTEST, _LONGEST = 0.05, 2.0  # seconds between two looks at a store whose last trials others have claimed


def missing(search: Search, done: Sequence[Tried]) -> list[int]:
    """Return the places whose trials are still to be run, the first one first."""
    places = {trial.place for trial in done}
    return [place for place in range(search.trials) if place not in places]


def run_trials(
    search: Search,
    store: Store,
    name: str,
    *,
    report: Callable[[Tried], object],
    told: Callable[[int, int, float], object] = lambda place, epoch, value: None,
) -> None:
    """Run what is left of a search, together with whoever else works on it, until nothing is left.

    What others have claimed is waited for, and taken over should they die. Ctrl-C and SIGTERM give the claimed trial back; one
    that was cut short is done again, from the same seeds.

    Args:
        search: what is searched for.
        store: where its study has been opened.
        name: of the study.
        report: is given every trial that this process has ended.
        told: is given place, epoch and metric after every epoch.

    Raises:
        StoreError: if the store is out of reach.
        KeyboardInterrupt: on Ctrl-C.
        SystemExit: on SIGTERM.
        Exception: whatever the user's function or the training raises, as long as no trial of the search has worked.
    """
    pause = _SHORTEST
    seen: Seen = weakref.WeakValueDictionary()
    with terminable():
        try:
            while True:
                study = open_study(store, name)
                wanted = missing(search, tried_so_far(study, store))
                if not wanted or is_exhausted(study, store):
                    return
                claimed = store.claim(name, [("trial", place) for place in wanted])
                if claimed is None:
                    time.sleep(pause)
                    pause = min(2 * pause, _LONGEST)
                    continue
                pause = _SHORTEST
                try:
                    trial = _run(search, store, name, claimed[1], told, seen)
                finally:
                    store.release(name, claimed)
                if trial is not None:
                    report(trial)
        finally:
            store.release(name)


def _run(
    search: Search, store: Store, name: str, place: int, told: Callable[[int, int, float], object], seen: Seen
) -> Tried | None:
    """Return the trial of a place that this process has claimed; None if another one has run it meanwhile."""
    from optuna.exceptions import UpdateFinishedTrialError

    sampler, pruner = make_sampler(search.sampler, search.seed, place), make_pruner(search.pruner, search.fit.get("epochs", 1))
    study = open_study(store, name, sampler, pruner)  # read afresh: a study remembers the trials it has seen
    done = tried_so_far(study, store)
    if place in {trial.place for trial in done}:
        return None  # it was run after we looked, and before we claimed it
    seed, default = search.seed_of(place), search.default if place == 0 else None
    trial = begin(study, store, place, seed=seed, default=default)
    works = any(trial.status in ("finished", "pruned") for trial in done)
    try:
        tell = partial(told, place)
        outcome = attempt(search, trial, seed, tell, default=default is not None, strict=not works, seen=seen)
        return end(study, store, trial, outcome)
    except UpdateFinishedTrialError:
        return None  # this process gave no sign of life for so long that another one has taken the place over
    except BaseException:
        abandon(store, trial._trial_id)
        raise
