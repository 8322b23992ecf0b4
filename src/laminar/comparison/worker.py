"""The loop of a process that runs a comparison: claim a run, execute it, record it, until nothing is left."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from laminar.comparison.claims import Key
from laminar.comparison.runs import Run, values_by_variant
from laminar.comparison.schedule import pending
from laminar.comparison.store import Store
from laminar.comparison.task import Task, execute
from laminar.comparison.together import Grouping, execute_together

__all__ = ["terminable", "work"]

_SHORTEST, _LONGEST = 0.05, 2.0  # seconds between two looks at a store whose last runs others have claimed


def work(task: Task, store: Store, name: str, *, report: Callable[[Run], None] | None = None) -> None:
    """Run what is left of a comparison, together with whoever else works on it, until nothing is left.

    What others have claimed is waited for, and taken over should they die. Ctrl-C and SIGTERM give the claimed run back; a
    run that was cut short leaves nothing behind.

    Args:
        task: the comparison.
        store: where its study has been opened.
        name: of the study.
        report: called with every run that this process has recorded.

    Raises:
        StoreError: if the store is out of reach.
        KeyboardInterrupt: on Ctrl-C.
        SystemExit: on SIGTERM.
    """
    better = task.protocol.higher_is_better
    grouping = Grouping(task)
    pause = _SHORTEST
    with terminable():
        try:
            while wanted := pending(values_by_variant(runs := store.runs(name), higher_is_better=better), task.protocol):
                key = store.claim(name, wanted)
                if key is None:
                    time.sleep(pause)
                    pause = min(2 * pause, _LONGEST)
                    continue
                pause = _SHORTEST
                others = [store.claim(name, [other]) for other in grouping.beside(key, wanted, runs)]
                for run in _executed(task, [key, *filter(None, others)]):
                    if store.record(name, run) and report is not None:
                        report(run)
        finally:
            store.release(name)


def _executed(task: Task, keys: Sequence[Key]) -> list[Run]:
    """Return the runs of one variant."""
    (variant, first), indexes = keys[0], [index for _, index in keys]
    return [execute(task, variant, first)] if len(keys) == 1 else execute_together(task, variant, indexes)


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the process by way of its `finally` blocks, where the program has no plan of its own for it."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def on_terminate(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, on_terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
