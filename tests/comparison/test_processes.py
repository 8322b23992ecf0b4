"""Workers: the same runs as in one process, from wherever they are started, whatever ends one of them, and none left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from comparison.small import compared, net, still, wide

from laminar.comparison.processes import threads_each
from laminar.comparison.store import Store
from laminar.errors import WorkerError

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys, time
sys.path[:0] = ["tests"]
import laminar as lm
from comparison.small import TRAIN, TEST, wide
from laminar import layers as L

units = 5
class Own(lm.Layer):
    def forward(self, x):
        return 2 * x

def own():
    time.sleep(float(sys.argv[2]))
    model = lm.Sequential([L.Dense(units), Own(), L.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
    return model

result = lm.compare({"wide": wide, "own": own}, TRAIN, TEST, metric="accuracy", margin=0.01, seeds=6, stop="fixed", epochs=1,
    workers=2, store=sys.argv[1], callbacks=lambda: [lm.callbacks.EarlyStopping("loss")], name="n")
print(len(result.runs), {run.status for run in result.runs})
"""


def start(store: Path, seconds: float = 0.0) -> subprocess.Popen[str]:
    """Return a process that compares, as `python -c`, with no guard around it."""
    command = [sys.executable, "-c", PROGRAM, str(store), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def children(pid: int) -> list[int]:
    """Return the processes that `pid` has started."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(line) for line in listed.split()]


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the workers, once there are two."""
    deadline = time.monotonic() + 300
    while len(found := children(process.pid)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def count(store: Path) -> int:
    """Return how many runs are in a store, where there is one."""
    return len(Store(store).runs("n")) if store.exists() and Store(store).declared("n") else 0


@pytest.fixture
def one_share() -> Iterator[None]:
    """Give this process as many threads as each of two workers has."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads_each(2))
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_share")
def test_two_workers_give_what_one_process_gives() -> None:
    """Bit for bit, with as many threads each; otherwise to rounding, as where several seeds are trained in one program.

    These are not: they hold a batch normalization.
    """
    variants = {"quick": lambda: net(16, extra=True), "still": lambda: net(16, 1e-9, extra=True)}
    alone = compared(variants, stop="fixed")
    together = compared(variants, stop="fixed", workers=2)
    assert [(r.variant, r.index, r.seed, r.value, r.figures, r.history, r.parameters) for r in together.runs] == [
        (r.variant, r.index, r.seed, r.value, r.figures, r.history, r.parameters) for r in alone.runs
    ]
    assert together.verdicts == alone.verdicts
    assert together.store is None
    processes = {run.environment["process"] for run in together.runs}
    assert str(os.getpid()) not in processes
    assert {run.environment["threads"] for run in together.runs} == {str(threads_each(2))}


def test_each_worker_has_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_each(n) for n in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert [threads_each(n) for n in (1, 2, 8)] == [2, 2, 1]


def test_what_a_worker_cannot_do_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is gone when the workers import it."""
    import importlib

    (tmp_path / "here_today.py").write_text("from comparison.small import wide as net\ndef made():\n    return net()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module: Any = importlib.import_module("here_today")
    (tmp_path / "here_today.py").write_text("raise RuntimeError('gone tomorrow')\n")
    with pytest.raises(WorkerError) as caught:
        compared({"made": module.made, "still": still}, workers=2)
    assert str(caught.value) == (
        "compare(workers=): expected a process that can do a worker's part, received RuntimeError: gone tomorrow. "
        "Import what it needs where other processes find it, or pass workers=1."
    )
    assert "In the worker:\nTraceback" in caught.value.__notes__[0]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_from_a_line_of_python(tmp_path: Path) -> None:
    process = start(tmp_path / "runs.db")
    said, errors = process.communicate(timeout=3000)
    assert said.splitlines()[-1] == "12 {'finished'}", errors
    assert errors == ""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    process = start(store, 0.3)
    for _ in range(3):
        os.kill(workers_of(process)[-1], signal.SIGKILL)
        time.sleep(1.5)
    said, errors = process.communicate(timeout=3000)
    assert said.splitlines()[-1] == "12 {'finished'}", errors
    assert count(store) == 12


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=["kill", "interrupt", "terminate"])
def test_workers_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    store = tmp_path / "runs.db"
    process = start(store, 8.0)  # seconds that every second run takes: enough to be found in the middle
    workers = workers_of(process)
    while count(store) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    said, errors = process.communicate(timeout=300)
    deadline = time.monotonic() + 30
    while any(map(is_alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    if number is signal.SIGINT:
        assert "the same call goes on from there." in said
        assert errors.rstrip().endswith("KeyboardInterrupt")
    done = count(store)
    assert 2 <= done < 12
    again = start(store)
    said, errors = again.communicate(timeout=3000)
    assert said.splitlines()[0] == f"Study 'n' in {store}: {done} of 12 runs are there."
    assert said.splitlines()[-1] == "12 {'finished'}", errors


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_variant_that_kills_its_process_is_an_error_in_the_end() -> None:
    def deadly() -> Any:
        if "laminar.comparison.processes" in sys.modules and not hasattr(sys.modules["__main__"], "__file__"):
            os.kill(os.getpid(), signal.SIGKILL)
        return wide()

    with pytest.raises(WorkerError) as caught:
        compared({"wide": wide, "deadly": deadly}, workers=2)
    assert str(caught.value) == (
        "compare(workers=): expected workers that live, received 6 ends in a row with no run finished between them, the last by "
        "signal 9 (SIGKILL). Call it with workers=1 to see what ends it; the runs that are there are kept."
    )
