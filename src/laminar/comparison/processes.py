"""Several processes that run one comparison together, each with its share of the cores."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

from laminar import errors
from laminar.comparison.parcel import pack, unpack
from laminar.comparison.runs import Run
from laminar.comparison.store import Store
from laminar.comparison.task import Task
from laminar.comparison.worker import work
from laminar.errors import LaminarError, WorkerError, complaint

__all__ = ["Job", "Report", "run_job", "run_workers", "serve", "threads_each"]

Report = Callable[[dict[str, Any]], None]
Job = Callable[[Store, str, Report], None]

_DEATHS = 3  # for each worker: so many in a row, with no run finished between them, end the comparison
_GRACE = 5.0  # seconds in which a worker that is told to end gives its run back
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS")


def threads_each(workers: int) -> int:
    """Return how many threads each of `workers` processes gets: the cores in equal parts, and no more than OMP_NUM_THREADS."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    share = max(1, cores // workers)
    return min(share, int(asked)) if asked.isdecimal() and int(asked) > 0 else share


def run_workers(task: Task, store: Store, name: str, workers: int, *, report: Callable[[Run], None] | None = None) -> None:
    """Run what is left of a comparison in `workers` new processes, and return when nothing is left.

    Args:
        task: the comparison.
        store: where its study has been opened; not one in memory.
        name: of the study.
        workers: how many processes.
        report: called with every run that one of them has recorded.

    Raises:
        ArgumentError, WorkerError, StoreError: as `run_job`.
    """
    tell = report or (lambda run: None)
    run_job(partial(_work, task), store, name, workers, who="compare", report=lambda run: tell(Run.from_dict(run)))


def _work(task: Task, store: Store, name: str, say: Report) -> None:
    work(task, store, name, report=lambda run: say(run.to_dict()))


def run_job(job: Job, store: Store, name: str, workers: int, *, who: str, report: Report) -> None:
    """Do a job that processes share in `workers` new processes, and return when all of them have returned.

    They share the data's memory, and end when this process does, however it ends. One that dies is replaced, and its run begun
    again.

    Args:
        job: is called in each of them with the store, opened anew, the name, and a function that brings what it is given here.
        store: where the study has been opened; not one in memory.
        name: of the study.
        workers: how many processes.
        who: the function that asks for it, for messages.
        report: is given what the job reports, values that JSON knows.

    Raises:
        ArgumentError: if something in the job cannot be brought to another process.
        WorkerError: if a process cannot start, or dies again and again.
        StoreError: if the store is out of reach.
    """
    folder = Path(tempfile.mkdtemp(prefix="laminar-"))
    crew: _Crew | None = None
    try:
        pack((job, store.where, name), folder, f"{who}(workers=)")
        crew = _Crew(folder, workers, f"{who}(workers=)")
        crew.run(report)
    finally:
        if crew is not None:
            crew.end()
        shutil.rmtree(folder, ignore_errors=True)


class _Crew:
    """The processes, and what they say."""

    def __init__(self, folder: Path, workers: int, where: str) -> None:
        self._folder, self._where = folder, where
        self._environment = os.environ | {name: str(threads_each(workers)) for name in _THREADS}
        self._said: queue.Queue[tuple[subprocess.Popen[bytes], dict[str, Any] | None]] = queue.Queue()
        self._alive = [self._start() for _ in range(workers)]
        self._most = _DEATHS * workers

    def run(self, report: Report) -> None:
        """Listen to the processes until all have done what there was to do."""
        deaths, done = 0, set()
        while self._alive:
            process, event = self._said.get()
            if event is None:
                code = process.wait()
                self._forget(process)
                if process in done:
                    continue
                deaths += 1
                if deaths >= self._most:
                    raise _dying(self._where, deaths, code)
                self._alive.append(self._start())
            elif "error" in event:
                raise _as_raised(self._where, *event["error"])
            elif "run" in event:
                deaths = 0
                report(event["run"])
            else:
                done.add(process)

    def end(self) -> None:
        """End every process that is still there."""
        for process in self._alive:
            process.terminate()
        deadline = time.monotonic() + _GRACE
        for process in list(self._alive):
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._forget(process)

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        self._alive.remove(process)
        assert process.stdin is not None
        process.stdin.close()

    def _start(self) -> subprocess.Popen[bytes]:
        # The paths first: what this process can import, the other one can. Nothing of ours is in its __main__.
        code = f"import sys; sys.path[:] = {sys.path!r}; sys.argv[:] = {sys.argv!r}; "
        code += f"from laminar.comparison.processes import serve; serve({str(self._folder)!r})"
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,  # Ctrl-C in a terminal is for this process, which then ends the others
        )
        threading.Thread(target=self._listen, args=(process,), daemon=True, name="laminar-worker").start()
        return process

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                if line.endswith(b"\n"):  # the last one of a process that was killed may be half a line
                    self._said.put((process, json.loads(line)))
        self._said.put((process, None))


def serve(folder: str) -> None:
    """Do a worker's part in a process made for it: what `run_workers` starts.

    Standard output belongs to the process that started this one; what a user's function prints goes to standard error.

    Args:
        folder: where the comparison is packed.
    """
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True, name="laminar-parent").start()
    try:
        job, where, name = unpack(Path(folder))
        job(Store(where), name, lambda run: _say(events, {"run": run}))
    except Exception as error:
        _say(events, {"error": [type(error).__name__, str(error), traceback.format_exc()]})
        sys.exit(1)
    _say(events, {"done": True})


def _say(events: IO[str], event: dict[str, Any]) -> None:
    events.write(json.dumps(event) + "\n")
    events.flush()


def _end_with_parent(folder: str) -> None:
    """Wait for the end of the parent, which holds the other end of standard input open, and end this process, too."""
    while os.read(0, 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)  # gives the run back
    time.sleep(_GRACE)
    os._exit(1)


def _as_raised(where: str, kind: str, text: str, trace: str) -> LaminarError:
    """Return the error that a worker met: one of Laminar's as it is, any other one in words."""
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, LaminarError):
        found = known(text)
    else:
        expected = "a process that can do a worker's part"
        fix = "Import what it needs where other processes find it, or pass workers=1"
        received = f"{kind}: {text.strip().rstrip('.')}"
        found = WorkerError(complaint(where, expected=expected, received=received, fix=fix))
    found.add_note(f"In the worker:\n{trace}")
    return found


def _dying(where: str, deaths: int, code: int) -> WorkerError:
    how = f"exit status {code}"
    if code < 0:
        how = f"signal {-code} ({signal.Signals(-code).name})"
    received = f"{deaths} ends in a row with no run finished between them, the last by {how}"
    fix = "Call it with workers=1 to see what ends it; the runs that are there are kept"
    return WorkerError(complaint(where, expected="workers that live", received=received, fix=fix))
