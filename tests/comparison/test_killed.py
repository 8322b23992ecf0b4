"""Kill -9 of a worker and of the parent, and a file that others lock, at random moments: every run is there once, none is half-written."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from comparison.killing import ROOT, Studies, assert_whole, disturb, undisturbed
from comparison.tiny import FINGERPRINT, tiny_task

from laminar.comparison.processes import run_workers
from laminar.comparison.store import Store
from laminar.comparison.worker import work

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the processes it kills under /proc"),
]

MOMENTS = 30


@pytest.mark.timeout(1800)  # processes are started some thirty times
def test_killed_at_random_moments(tmp_path: Path) -> None:
    where = str(tmp_path / "runs.db")
    studies = Studies(where, tmp_path)

    def lock(rng: random.Random) -> bool:
        """Hold the file as another process does, now and then for longer than SQLite itself waits."""
        if not Path(where).exists():
            return False
        held = sqlite3.connect(where, isolation_level=None, timeout=60.0)
        held.execute("BEGIN EXCLUSIVE")
        time.sleep(rng.choice([0.1, 1.0, 7.0]))
        held.close()
        return True

    ways = {"parent": lambda _rng: studies.kill_parent(), "worker": studies.kill_worker, "lock": lock}
    done = disturb(studies, ways, MOMENTS, seed=7)
    assert_whole(where, studies, undisturbed().runs("whole"))
    print(f"{dict(done)}: {len(studies.names)} studies, {studies.executions()} runs begun")
    assert min(done[way] for way in ways) > 0


KILLED_AT = {
    "the claim": "take = Claims.take; Claims.take = lambda *a: (take(*a), die())",
    "the training": "worker.execute = lambda *a: die()",
    "the writing, before its commit": "settle = Store._settle; Store._settle = lambda self, s: (settle(self, s), self._settling and die())",
    "the writing, after its commit": "record = Store.record; Store.record = lambda *a: (record(*a), die())",
}


@pytest.mark.parametrize("when", KILLED_AT)
def test_killed_in_the_middle_of(when: str, tmp_path: Path) -> None:
    where = tmp_path / "runs.db"
    code = (
        "import os, sys; from comparison.tiny import tiny_task; from laminar.comparison import worker\n"
        "from laminar.comparison.claims import Claims; from laminar.comparison.store import Store\n"
        "die = lambda: os.kill(os.getpid(), 9)\n"
        "task = tiny_task(6); store = Store(sys.argv[1]); store.open_study('x', task.protocol.to_dict(), 'tiny')\n"
        f"{KILLED_AT[when]}\n"
        "worker.work(task, Store(sys.argv[1]), 'x')"
    )
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    done = subprocess.run([sys.executable, "-c", code, str(where)], env=os.environ | {"PYTHONPATH": paths}, check=False)
    assert done.returncode == -9
    store = Store(where)
    assert len(store.runs("x")) == (when == "the writing, after its commit")
    work(tiny_task(6), store, "x")
    runs = [(run.variant, run.index) for run in store.runs("x")]
    assert (len(runs), len(set(runs))) == (12, 12)


@pytest.mark.timeout(600)
def test_four_workers_share_a_file(tmp_path: Path) -> None:
    """No run twice, none lost."""
    log = tmp_path / "log"
    task = tiny_task(110, log)
    store = Store(tmp_path / "runs.db")
    store.open_study("x", task.protocol.to_dict(), FINGERPRINT)
    run_workers(task, store, "x", 4)
    executed = log.read_text().splitlines()
    runs = store.runs("x")
    assert (len(executed), len(set(executed))) == (220, 220)
    assert (len(runs), len({(run.variant, run.index) for run in runs})) == (220, 220)
    assert len({run.environment["process"] for run in runs}) == 4


def test_four_open_a_new_file_at_once(tmp_path: Path) -> None:
    """Each finds the tables half-made by the others."""
    failed: list[BaseException] = []
    for attempt in range(5):

        def open_it(path: Path = tmp_path / f"{attempt}.db") -> None:
            try:
                Store(path).open_study("x", tiny_task(6).protocol.to_dict(), FINGERPRINT)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=open_it) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []
