"""The loop of a worker: what is missing is run, what others do is waited for, and an end leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from comparison.tiny import FINGERPRINT, tiny_task
from sqlalchemy import text

from laminar.comparison import worker
from laminar.comparison.runs import Run
from laminar.comparison.store import Store
from laminar.comparison.task import Task, execute
from laminar.comparison.worker import work

TASK = tiny_task(6)
KEYS = [(variant, index) for index in range(6) for variant in ("narrow", "wide")]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with the study "tiny" and no run."""
    path = tmp_path_factory.mktemp("worker") / "runs.db"
    Store(path).open_study("tiny", TASK.protocol.to_dict(), FINGERPRINT)
    return path


@pytest.fixture
def store(empty: Path, tmp_path: Path) -> Store:
    """Return a store with the study "tiny", of this test alone."""
    return Store(shutil.copy(empty, tmp_path))


def claimed(store: Store) -> list[Any]:
    """Return what is claimed."""
    with store._storage.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT variant, pair FROM laminar_claims"))]


def values(store: Store) -> dict[tuple[str, int], float | None]:
    """Return the values of a study's runs."""
    runs = store.runs("tiny")
    assert len({(run.variant, run.index) for run in runs}) == len(runs)
    return {(run.variant, run.index): run.value for run in runs}


def test_what_is_missing_is_run_in_order_and_reported(store: Store) -> None:
    reported: list[Run] = []
    store.claim("tiny", KEYS[2:])
    known = execute(TASK, *KEYS[2])
    store.record("tiny", known)
    work(TASK, store, "tiny", report=reported.append)
    assert [(run.variant, run.index) for run in reported] == [key for key in KEYS if key != KEYS[2]]
    assert store.runs("tiny") == [known, *reported]
    assert claimed(store) == []
    work(TASK, store, "tiny", report=reported.append)
    assert len(reported) == len(KEYS) - 1, "nothing is left"


def test_a_run_is_the_same_wherever_and_whenever_it_is_made(store: Store) -> None:
    expected = {key: execute(TASK, *key).value for key in KEYS}
    stores = [store, Store(store.where), Store(store.where)]
    threads = [threading.Thread(target=work, args=(TASK, other, "tiny")) for other in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values(store) == expected
    assert len(expected.values()) > len(set(expected.values())) > 1


def test_the_run_of_another_is_waited_for(store: Store) -> None:
    other = Store(store.where)
    other.claim("tiny", KEYS[:1])
    thread = threading.Thread(target=work, args=(TASK, store, "tiny"))
    thread.start()
    while len(store.runs("tiny")) < len(KEYS) - 1:
        time.sleep(0.05)
    assert thread.is_alive()
    other.record("tiny", execute(TASK, *KEYS[0]))
    thread.join()
    assert len(values(store)) == len(KEYS)


def test_the_run_of_another_who_gives_up_is_taken_over(store: Store) -> None:
    other = Store(store.where)
    other.claim("tiny", KEYS[:1])
    thread = threading.Thread(target=work, args=(TASK, store, "tiny"))
    thread.start()
    while len(store.runs("tiny")) < len(KEYS) - 1:
        time.sleep(0.05)
    other.release("tiny")
    thread.join()
    assert len(values(store)) == len(KEYS)


def test_a_variant_that_fails_is_a_result(store: Store) -> None:
    def broken() -> Any:
        raise ValueError("no such network")

    task = replace(TASK, builders={**TASK.builders, "wide": broken})
    work(task, store, "tiny")
    assert {run.status for run in store.runs("tiny") if run.variant == "wide"} == {"failed"}
    assert {run.error for run in store.runs("tiny") if run.variant == "wide"} == {"ValueError: no such network"}
    assert len(values(store)) == len(KEYS)


# ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def interrupted_by(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    """Let the third run be cut short by a signal."""
    done: list[int] = []

    def until_the_third(task: Task, variant: str, index: int) -> Run:
        done.append(index)
        if len(done) == 3:
            os.kill(os.getpid(), number)
            time.sleep(60)  # cut short at once
        return execute(task, variant, index)

    monkeypatch.setattr(worker, "execute", until_the_third)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_run_that_is_cut_short_leaves_nothing_behind(
    number: signal.Signals, raised: type[BaseException], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is begun without it
    try:
        with monkeypatch.context() as patch:
            interrupted_by(patch, number)
            with pytest.raises(raised) as caught:
                work(TASK, store, "tiny")
    finally:
        signal.signal(signal.SIGINT, before)
    if isinstance(caught.value, SystemExit):
        assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert list(values(store)) == KEYS[:2]
    assert claimed(store) == []
    work(TASK, store, "tiny")
    assert list(values(store)) == KEYS


def test_a_programs_own_plan_for_sigterm_stands(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(number: int, _frame: object) -> None:
        raise InterruptedError(number)

    before = signal.signal(signal.SIGTERM, plan)
    try:
        with monkeypatch.context() as patch:
            interrupted_by(patch, signal.SIGTERM)
            with pytest.raises(InterruptedError):
                work(TASK, store, "tiny")
        assert signal.getsignal(signal.SIGTERM) is plan
    finally:
        signal.signal(signal.SIGTERM, before)
    assert claimed(store) == []


def test_a_report_that_fails_leaves_no_claim(store: Store) -> None:
    def full(_run: Run) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        work(TASK, store, "tiny", report=full)
    assert (list(values(store)), claimed(store)) == (KEYS[:1], [])
