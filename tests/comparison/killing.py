"""Studies whose processes are killed at random moments, and what must be true of them afterwards."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

import optuna
from comparison.tiny import FINGERPRINT, tiny_task
from sqlalchemy import text

from laminar.comparison.runs import Run, values_by_variant
from laminar.comparison.store import Store
from laminar.comparison.verdicts import judge
from laminar.comparison.worker import work

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 40
WORKERS = 2


@dataclass
class Studies:
    """One study after the other in one store, by a parent with two workers; a new one is begun where one is complete.

    Attributes:
        where: the store.
        folder: for the logs of what was executed.
        names: the studies so far.
    """

    where: str
    folder: Path
    names: list[str] = field(default_factory=list)
    _parent: subprocess.Popen[bytes] | None = None

    def keep_going(self) -> None:
        """Start the parent where there is none: the study it had goes on if it was killed."""
        if self._parent is not None and self._parent.poll() is None:
            return
        if self._parent is None or self._parent.returncode == 0:
            self.names.append(f"study {len(self.names)}")
        self._start()

    def _start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "comparison.tiny",
            self.where,
            self.names[-1],
            str(SEEDS),
            str(self.log()),
            str(WORKERS),
        ]
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
        with (self.folder / "errors.txt").open("ab") as errors:
            self._parent = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}, stderr=errors)

    def log(self, name: str | None = None) -> Path:
        """Return the file that has a line for every execution."""
        return self.folder / f"{name or self.names[-1]}.log"

    def executions(self) -> int:
        """Return how many runs have been begun."""
        return sum(len(self.log(name).read_text().splitlines()) for name in self.names if self.log(name).exists())

    def until_busy(self) -> None:
        """Wait until a run begins."""
        before = self.executions()
        while self.executions() == before:
            self.keep_going()
            time.sleep(0.02)

    def kill_parent(self) -> bool:
        """Kill the parent; its workers end by themselves."""
        assert self._parent is not None
        self._parent.kill()
        return self._parent.wait() == -signal.SIGKILL

    def kill_worker(self, rng: random.Random) -> bool:
        """Kill one of the parent's workers."""
        assert self._parent is not None
        try:
            workers = Path(f"/proc/{self._parent.pid}/task/{self._parent.pid}/children").read_text().split()
            os.kill(int(rng.choice(workers)), signal.SIGKILL)
        except (OSError, IndexError):  # it was done, or was starting them
            return False
        return True

    def finish(self) -> None:
        """Let the last study be completed."""
        while self._parent is None or self._parent.wait() != 0:
            self._start()


def disturb(studies: Studies, ways: Mapping[str, Callable[[random.Random], bool]], moments: int, seed: int) -> Counter[str]:
    """Do one of `ways` at each of so many random moments, and return how often each was done.

    Every third moment lies anywhere, in the start of the processes, too; the others lie within the first runs after it.
    """
    rng = random.Random(seed)
    done: Counter[str] = Counter()
    while done.total() < moments:
        studies.keep_going()
        if done.total() % 3:
            studies.until_busy()
            time.sleep(rng.uniform(0.0, 0.5))
        else:
            time.sleep(rng.uniform(0.0, 3.0))
        way = rng.choice(sorted(ways))
        done[way] += ways[way](rng)
    studies.finish()
    return done


def undisturbed() -> Store:
    """Return a store in memory with the study "whole", made without any trouble."""
    store = Store(None)
    task = tiny_task(SEEDS)
    store.open_study("whole", task.protocol.to_dict(), FINGERPRINT)
    work(task, store, "whole")
    return store


@contextmanager
def optunas(where: str, name: str) -> Iterator[optuna.Study]:
    """Give a study as Optuna itself reads it."""
    url = where.replace("postgresql://", "postgresql+psycopg://") if "://" in where else f"sqlite:///{where}"
    storage = optuna.storages.RDBStorage(url)
    yield optuna.load_study(study_name=name, storage=storage)
    storage.engine.dispose()


def assert_whole(where: str, studies: Studies, whole: list[Run]) -> None:
    """Every study has each run once, none is half-written, and the verdict is that of an undisturbed study."""
    protocol = tiny_task(SEEDS).protocol
    values = {(run.variant, run.index): run.value for run in whole}
    assert len(values) == 2 * SEEDS
    for name in studies.names:
        with optunas(where, name) as study:
            trials = study.trials
        assert {trial.state.name for trial in trials} == {"COMPLETE"}
        assert sorted((t.params["variant"], t.params["index"]) for t in trials) == sorted(values), "each run once"
        assert [trial.number for trial in trials] == list(range(2 * SEEDS))
        for trial in trials:
            assert set(trial.user_attrs) == {f.name for f in fields(Run)}
            assert trial.value == trial.user_attrs["value"] == values[trial.params["variant"], trial.params["index"]]
        store = Store(where)
        runs = store.runs(name)
        assert judge(values_by_variant(runs, higher_is_better=True), protocol) == judge(
            values_by_variant(whole, higher_is_better=True), protocol
        )
        with store._storage.engine.connect() as connection:
            assert connection.execute(text("SELECT * FROM laminar_claims")).all() == []
