"""The trials of a search in the store: begun, told of, ended, and taken over from a process that died."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from laminar.comparison.environment import environment
from laminar.comparison.store import Store
from laminar.tuning.trials import OUTCOME, PLACE, Outcome, Tried, tried

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

__all__ = ["abandon", "begin", "end", "ended", "in_memory", "is_exhausted", "open_study", "tried_so_far"]

Result = TypeVar("Result")

_TOKEN, _EXHAUSTED = "token", "exhausted"


def open_study(store: Store, name: str, sampler: Any = None, pruner: Any = None) -> optuna.Study:
    """Return the study of a search, read afresh.

    Args:
        store: where it has been opened.
        name: of the study.
        sampler: of Optuna's; its own where None.
        pruner: of Optuna's; its own where None.
    """
    import optuna

    class Study(optuna.Study):
        """Lets a sampler say that there is nothing left to try, which Optuna takes only in its own loop."""

        def stop(self) -> None:
            self.set_user_attr(_EXHAUSTED, True)

    return store.tried(lambda: Study(name, store.storage, sampler, pruner))


def is_exhausted(study: optuna.Study, store: Store) -> bool:
    """Return whether a sampler has said that everything there is has been tried."""
    return bool(store.tried(lambda: study.user_attrs).get(_EXHAUSTED))


def ended(study: optuna.Study, store: Store) -> dict[int, FrozenTrial]:
    """Return place -> trial of Optuna's for every trial that counts, each place once, in their order."""
    found: dict[int, FrozenTrial] = {}
    for trial in store.tried(lambda: study.get_trials(deepcopy=False)):
        result = tried(trial)
        if result is not None:
            found.setdefault(result.place, trial)
    return {place: found[place] for place in sorted(found)}


def tried_so_far(study: optuna.Study, store: Store) -> list[Tried]:
    """Return every trial that counts, each place once, in the order of their places."""
    return [result for trial in ended(study, store).values() if (result := tried(trial)) is not None]


def in_memory(study: optuna.Study, store: Store, metric: str) -> optuna.Study:
    """Return a study of Optuna's in memory, with the trials that count."""
    import optuna

    trials = list(ended(study, store).values())
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # whoever did not ask for Optuna need not hear of its study
    try:
        copy = optuna.create_study(study_name=study.study_name, direction=store.tried(lambda: study.direction))
    finally:
        optuna.logging.set_verbosity(verbosity)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        copy.set_metric_names([metric])
    copy.add_trials(trials)
    return copy


def begin(study: optuna.Study, store: Store, place: int, *, seed: int, default: Mapping[str, Any] | None) -> optuna.Trial:
    """Return a new trial of Optuna's that runs, whose place this process has claimed.

    Whatever another process has left of a trial of this place is marked as failed: it has died.

    Args:
        study: with the sampler that is to suggest the parameters.
        store: where it is.
        place: which of the trials that were asked for it is.
        seed: of the training.
        default: parameters to try, instead of suggested ones.
    """
    from optuna.trial import TrialState, create_trial

    open_states = (TrialState.RUNNING, TrialState.WAITING)
    for trial in store.tried(lambda: study.get_trials(deepcopy=False, states=open_states)):
        if trial.user_attrs.get(PLACE) == place:
            abandon(store, trial._trial_id)
    token = uuid.uuid4().hex
    started = datetime.now(UTC).isoformat(timespec="seconds")
    known = {PLACE: place, "default": default is not None, "seed": seed, "started": started, "environment": environment()}
    known[_TOKEN] = token

    def begun() -> int:
        """Return the trial's number in the database; made once, however often the connection drops."""
        if not (made := _with_token(study, token)):
            if default is None:
                study.add_trial(create_trial(state=TrialState.WAITING, user_attrs=known))
            else:
                study.enqueue_trial(dict(default), user_attrs=known)
            made = _with_token(study, token)
        store.storage.set_trial_state_values(made[0], TrialState.RUNNING)
        return made[0]

    number = store.tried(begun)
    return _trial(study, number, store)


def _with_token(study: optuna.Study, token: str) -> list[int]:
    return [trial._trial_id for trial in study.get_trials(deepcopy=False) if trial.user_attrs.get(_TOKEN) == token]


def abandon(store: Store, number: int) -> None:
    """Mark a trial that was cut short as failed, and as none that counts."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    def failed() -> None:
        try:
            store.storage.set_trial_user_attr(number, OUTCOME, {"status": "cut short"})
            store.storage.set_trial_state_values(number, TrialState.FAIL)
        except UpdateFinishedTrialError:
            pass  # somebody else has just done so

    store.tried(failed)


def end(study: optuna.Study, store: Store, trial: optuna.Trial, outcome: Outcome) -> Tried | None:
    """End a trial and return what there is of it; None where another process has taken it over meanwhile.

    Args:
        study: whose trial it is.
        store: where it is.
        trial: which has been run.
        outcome: how it ended.
    """
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    state = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(outcome.status, TrialState.FAIL)
    try:
        trial.set_user_attr(OUTCOME, asdict(outcome))
        return tried(store.tried(lambda: study.tell(trial, outcome.value, state, skip_if_finished=True)))
    except UpdateFinishedTrialError:
        return None


def _trial(study: optuna.Study, number: int, store: Store) -> optuna.Trial:
    """Return Optuna's trial for the user's function; where the connection drops, it tries again."""
    import optuna

    class Trial(optuna.Trial):
        def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:
            return again(lambda: optuna.Trial.suggest_float(self, name, low, high, step=step, log=log))

        def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
            return again(lambda: optuna.Trial.suggest_int(self, name, low, high, step=step, log=log))

        def suggest_categorical(self, name: str, choices: Any) -> Any:
            return again(lambda: optuna.Trial.suggest_categorical(self, name, choices))

        def report(self, value: float, step: int) -> None:
            again(lambda: optuna.Trial.report(self, value, step))

        def should_prune(self) -> bool:
            return again(lambda: optuna.Trial.should_prune(self))

        def set_user_attr(self, key: str, value: Any) -> None:
            again(lambda: optuna.Trial.set_user_attr(self, key, value))

    def again(operation: Callable[[], Result]) -> Result:
        return store.tried(operation)

    return again(lambda: Trial(study, number))
