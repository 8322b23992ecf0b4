"""Where the runs of comparisons are kept: one Optuna study for each comparison, one finished trial for each run."""

from __future__ import annotations

import functools
import json
import os
import threading
import time
import uuid
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from laminar.comparison.claims import Claims, Key
from laminar.comparison.connections import open_storage, persistently, place_of
from laminar.comparison.runs import Run
from laminar.errors import ArgumentError, StoreError, complaint

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial
    from sqlalchemy.orm import Session

__all__ = ["Store", "shared_store"]

Result = TypeVar("Result")

_TOKEN = "laminar:claim"  # system attribute of a trial: the claim under which it was written
_OPENING: Key = ("", -1)  # the claim of whoever writes down what a study is; no variant has an empty name
_CONTINUED = ("seeds", "margin", "stop", "alpha", "target", "contrasts")  # what may change when a comparison goes on


class _LostError(Exception):
    """The claim belongs to somebody else by now."""


class Store:
    """Where the runs of comparisons are kept, and who runs what is agreed upon.

    Any number of processes may use one store at once; machines share one on a PostgreSQL server. Each comparison is a study
    of Optuna, and each run one finished trial of it, written in one transaction: what is there is whole. It can be read by
    `optuna.load_study` and looked at with optuna-dashboard.

    Args:
        where: a SQLite file ("laminar.db", "sqlite:///laminar.db"), "postgresql://user:password@host/database", or None: in
            memory, for this process alone.
        patience: seconds without a sign of life after which a run is taken over from a process on another machine.
        beat: seconds between two signs of life.
        endurance: seconds for which a database that is locked or out of reach is tried again.

    Raises:
        StoreError: if the store cannot be opened.
        MissingPackageError: if PostgreSQL's driver is not installed.

    >>> store = Store(None)
    >>> store.open_study("elu", {"variants": ["elu", "relu"], "metric": "accuracy", "higher_is_better": True}, "a1b2")
    >>> store.claim("elu", [("elu", 0), ("relu", 0)])
    ('elu', 0)
    >>> store.record("elu", Run("elu", 0, 7, value=0.5))
    True
    >>> [(run.variant, run.value) for run in store.runs("elu")]
    [('elu', 0.5)]
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | None,
        *,
        patience: float = 60.0,
        beat: float = 5.0,
        endurance: float = 600.0,
    ) -> None:
        from sqlalchemy import event

        self._place = place_of(where)
        self._endurance = endurance
        self._beat = beat
        self._lock = threading.RLock()  # the signs of life come from a thread of their own
        self._held: dict[tuple[str, Key], str] = {}  # study and run -> token
        self._studies: dict[str, Study] = {}
        self._stop_beating = threading.Event()
        self._settling: str | None = None  # the claim that ends with the transaction that is being committed
        self._storage = open_storage(self._place, endurance)
        weakref.finalize(self, self._storage.engine.dispose)
        self._claims = Claims(self._storage.engine, patience)
        persistently(self._claims.make_table, self._place, endurance=endurance, otherwise=5.0)
        event.listen(self._storage.scoped_session, "before_commit", self._settle)

    @property
    def where(self) -> str | None:
        """What another process passes to open the same store; None for one in memory. It may hold a password."""
        return self._place.address

    def __repr__(self) -> str:
        return f"Store({self._place.shown!r})"

    @functools.cached_property
    def storage(self) -> BaseStorage:
        """Optuna's storage, for a search: its trials are Optuna's own. Each that has ended is read only once."""
        import optuna

        return optuna.storages.get_storage(self._storage)

    def tried(self, operation: Callable[[], Result]) -> Result:
        """Return what `operation` on `storage` returns, trying again while the database is locked or out of reach.

        Args:
            operation: safe to repeat, also where its first try was carried out and only the answer was lost.

        Raises:
            StoreError: if that lasts longer than `endurance`.
        """
        return self._tried(operation)

    # ── studies ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def open_study(self, name: str, protocol: Mapping[str, Any], fingerprint: str) -> None:
        """Make the study, or check that the one of this name is the same comparison or search.

        A comparison may go on with more seeds or another margin: the study then keeps the newest protocol, and what was
        declared before it under the attribute "earlier".

        Args:
            name: of the study.
            protocol: what was declared, as plain values.
            fingerprint: what must be equal for runs to belong together.

        Raises:
            StoreError: if the name is taken by another comparison, or by a study of something else.
        """
        protocol = json.loads(json.dumps(protocol))  # as it will be read again
        if self._is_open(name, protocol, fingerprint):
            return
        while not self._take(name, [_OPENING]):  # somebody else is writing it down
            time.sleep(0.05)
        try:
            if not self._is_open(name, protocol, fingerprint):
                self._tried(lambda: self._write_study(name, protocol, fingerprint))
        finally:
            self.release(name)

    def declared(self, name: str) -> list[dict[str, Any]]:
        """Return the protocols that a study was opened with, the present one last; none where there is no such study."""
        study = self._tried(lambda: self._study(name))
        known = {} if study is None else self._tried(lambda: study.user_attrs)
        return [*known.get("earlier", []), known["protocol"]] if "fingerprint" in known else []

    def _is_open(self, name: str, protocol: Mapping[str, Any], fingerprint: str) -> bool:
        """Return whether the study is there as it is wanted."""
        study = self._tried(lambda: self._study(name))
        if study is None:
            return False
        known = self._tried(lambda: study.user_attrs)
        if "fingerprint" not in known:
            if not self._tried(lambda: study.get_trials(deepcopy=False)):
                return False  # whoever began to make it has died
            fix = "Pass another name="
            expected = f"a comparison or search of Laminar's under the name {name!r}"
            received = "another study of Optuna"
            raise StoreError(complaint(repr(self), expected=expected, received=received, fix=fix))
        if known["fingerprint"] != fingerprint:
            raise self._another(name, known, protocol, fingerprint)
        return bool(known["protocol"] == protocol)

    def _another(self, name: str, known: Mapping[str, Any], protocol: Mapping[str, Any], fingerprint: str) -> StoreError:
        before = known["protocol"]
        differ = [key for key in protocol if key not in _CONTINUED and before.get(key) != protocol[key]]
        what = ", ".join(differ) if differ else "what the functions build, the data, or the arguments of fit"
        expected = f"the study that {name!r} was begun with (fingerprint {known['fingerprint']})"
        received = f"one that differs in {what} (fingerprint {fingerprint})"
        fix = "Pass another name= to begin anew, or what it was begun with to go on"
        return StoreError(complaint(repr(self), expected=expected, received=received, fix=fix))

    def _write_study(self, name: str, protocol: Mapping[str, Any], fingerprint: str) -> None:
        import optuna

        study = self._study(name)
        if study is None:
            study = optuna.create_study(
                storage=self._storage,
                study_name=name,
                direction="maximize" if protocol["higher_is_better"] else "minimize",
                load_if_exists=True,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([protocol["metric"]])  # what the dashboard calls the values
        known = study.user_attrs
        if "protocol" in known and known["protocol"] != protocol:
            study.set_user_attr("earlier", [*known.get("earlier", []), known["protocol"]])
        study.set_user_attr("protocol", protocol)
        study.set_user_attr("fingerprint", fingerprint)  # last: where it stands, the rest does, too

    def _study(self, name: str) -> Study | None:
        """Return Optuna's study, which reads each finished trial only once; None if there is none."""
        import optuna

        if name not in self._studies:
            try:
                self._studies[name] = optuna.load_study(study_name=name, storage=self._storage)
            except KeyError:
                return None
        return self._studies[name]

    def _ask(self, name: str, question: Callable[[Study], Result]) -> Result:
        """Return what a study answers."""
        study = self._tried(lambda: self._study(name))
        if study is not None:
            try:
                return self._tried(lambda: question(study))
            except KeyError:  # so Optuna says that somebody has deleted it meanwhile
                del self._studies[name]
        names = self._tried(lambda: [s.study_name for s in self._storage.get_all_studies()])
        received = ", ".join(map(repr, sorted(names))) or "none at all"
        fix = "Call open_study first"
        raise StoreError(complaint(repr(self), expected=f"a study named {name!r}", received=received, fix=fix))

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def runs(self, name: str) -> list[Run]:
        """Return every run of a study, each (variant, index) once, in the order in which they ended.

        Raises:
            StoreError: if there is no such study.
        """
        return [Run.from_dict(trial.user_attrs) for trial in self._trials(name).values()]

    def _trials(self, name: str) -> dict[Key, FrozenTrial]:
        trials = self._ask(name, lambda study: study.get_trials(deepcopy=False))
        found: dict[Key, FrozenTrial] = {}
        for trial in trials:
            if trial.state.is_finished() and "variant" in trial.user_attrs:
                found.setdefault((trial.user_attrs["variant"], trial.user_attrs["index"]), trial)
        return found

    def claim(self, name: str, wanted: Sequence[Key]) -> Key | None:
        """Return the first of `wanted` that is neither run nor claimed by a process that lives, now claimed; else None.

        A claim ends with `record` or `release`; until then a thread gives signs of life. That of a dead process on this
        machine is taken over at once, any other one after `patience` seconds without a sign.

        Raises:
            StoreError: if there is no such study.
        """
        left = list(wanted)
        while (key := self._take(name, left)) is not None:
            # It may have been run after the caller looked; now that the claim is ours, nobody else can write it.
            try:
                over = key in self._trials(name)
            except BaseException:
                self.release(name, key)
                raise
            if not over:
                return key
            self.release(name, key)
            left.remove(key)
        return None

    def _take(self, name: str, wanted: Sequence[Key]) -> Key | None:
        token = uuid.uuid4().hex
        key = self._tried(lambda: self._claims.take(name, wanted, token))
        if key is not None:
            with self._lock:
                if not self._held:
                    self._start_beating()
                self._held[name, key] = token
        return key

    def record(self, name: str, run: Run) -> bool:
        """Write a run that this store has claimed, and end the claim; both or neither.

        Returns:
            Whether it was written: False if the claim was lost to another process meanwhile, whose run counts.

        Raises:
            ArgumentError: if the run was not claimed.
            StoreError: if the database is out of reach for longer than `endurance`.
        """
        key = (run.variant, run.index)
        token = self._held.get((name, key))
        if token is None:
            received = f"{run.variant!r}, {run.index}, which is not claimed"
            raise ArgumentError(complaint("record(run=)", expected="a claimed run", received=received, fix="Call claim first"))
        trial = _trial(run, self._ask(name, lambda study: study.user_attrs)["protocol"], token)

        def write(study: Study) -> bool:
            self._settling = token
            try:
                study.add_trial(trial)
                return True
            except _LostError:
                pass  # to another, or to ourselves: an earlier try may have been carried out, and only its answer lost
            finally:
                self._settling = None
            found = self._trials(name).get(key)
            return found is not None and found.system_attrs.get(_TOKEN) == token

        written = self._ask(name, write)
        self._forget(name, key)
        return written

    def _settle(self, session: Session) -> None:
        """End the claim in the transaction that writes the run."""
        if self._settling is not None and session.connection().execute(self._claims.deletion(self._settling)).rowcount != 1:
            raise _LostError

    def release(self, name: str, key: Key | None = None) -> None:
        """Give claims of a study back: that of one run, or all that this store holds.

        Where the database is out of reach, nothing is raised: a claim without signs of life ends by itself.
        """
        for study, held in list(self._held):
            if study == name and key in (None, held):
                token = self._held[study, held]
                self._forget(study, held)
                with suppress(StoreError):
                    self._tried(functools.partial(self._claims.release, token), min(self._endurance, 5.0))

    # ── signs of life, and trying again ──────────────────────────────────────────────────────────────────────────────────

    def _forget(self, name: str, key: Key) -> None:
        with self._lock:
            self._held.pop((name, key), None)
            if not self._held:
                self._stop_beating.set()

    def _start_beating(self) -> None:
        self._stop_beating = threading.Event()
        threading.Thread(target=self._keep_beating, args=(self._stop_beating,), daemon=True, name="laminar-claims").start()

    def _keep_beating(self, stop: threading.Event) -> None:
        while not stop.wait(self._beat):
            with suppress(StoreError):  # the next sign may come through
                self._tried(lambda: self._claims.beat(list(self._held.values())), self._beat)

    def _tried(self, operation: Callable[[], Result], endurance: float | None = None) -> Result:
        def alone() -> Result:
            with self._lock:
                return operation()

        return persistently(alone, self._place, endurance=self._endurance if endurance is None else endurance)


@contextmanager
def shared_store(where: str | os.PathLike[str] | None, workers: int) -> Iterator[Store]:
    """Yield a store that `workers` processes can share: for several, "in memory" is a file that ends with the block."""
    if where is not None or workers == 1:
        yield Store(where)
        return
    with TemporaryDirectory(prefix="laminar-", ignore_cleanup_errors=True) as folder:
        yield Store(Path(folder) / "runs.db")


def _trial(run: Run, protocol: Mapping[str, Any], token: str) -> FrozenTrial:
    """Return a run as a finished trial: all of it in the attributes, and what Optuna draws where Optuna looks for it."""
    from optuna.distributions import CategoricalDistribution, IntDistribution
    from optuna.trial import TrialState, create_trial

    metric = protocol["metric"]
    curve = run.history.get(f"val_{metric}") or run.history.get(metric) or []
    trial = create_trial(
        state=TrialState.FAIL if run.value is None else TrialState.COMPLETE,
        value=run.value,
        params={"variant": run.variant, "index": run.index},
        distributions={
            "variant": CategoricalDistribution(protocol["variants"]),
            "index": IntDistribution(0, max(int(protocol.get("seeds", 1)) - 1, run.index)),
        },
        user_attrs=run.to_dict(),
        system_attrs={_TOKEN: token},
        intermediate_values={epoch: float(value) for epoch, value in enumerate(curve, 1)},
    )
    with suppress(ValueError):  # a run need not say when it began
        trial.datetime_start = datetime.fromisoformat(run.started).astimezone().replace(tzinfo=None)  # Optuna's are local
    return trial
