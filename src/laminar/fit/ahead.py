"""The next batches of a stream, read in a thread of their own while the present one is trained on."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from types import TracebackType
from typing import Generic, Self, TypeVar

__all__ = ["Ahead", "Elsewhere", "is_ahead", "need_main_thread", "reading_ahead_is_wanted"]

Entry = TypeVar("Entry")

_DEPTH = 2  # entries that wait to be taken, beside the one that is being read


class _Thread(threading.local):
    reads_ahead = False


_here = _Thread()


class Elsewhere(Exception):
    """Something that the network itself is needed for was asked while it trains in another thread."""


def is_ahead() -> bool:
    """Return whether this is a thread that reads ahead."""
    return _here.reads_ahead


def need_main_thread() -> None:
    """Go no further in a thread that reads ahead.

    Raises:
        Elsewhere: there.
    """
    if is_ahead():
        raise Elsewhere


def reading_ahead_is_wanted() -> bool:
    """Return whether streams may be read in a thread of their own: unless `LAMINAR_PREFETCH=0` says otherwise."""
    return os.environ.get("LAMINAR_PREFETCH") != "0"


class Ahead(Generic[Entry]):
    """What a function returns, called again and again in a thread of its own, until it returns None.

    No more than three results are there beside those that were taken. Used in a `with`, at the end of which the thread has
    ended, too. What the function raises is raised to whoever takes the result, with its traceback.

    Args:
        read: the function; called in one thread alone.

    >>> numbers = iter([1, 2, 3])
    >>> with Ahead(lambda: next(numbers, None)) as entries:
    ...     list(entries)
    [1, 2, 3]
    """

    def __init__(self, read: Callable[[], Entry | None]) -> None:
        self._read = read
        self._entries: queue.Queue[tuple[Entry | None, BaseException | None]] = queue.Queue(_DEPTH)
        self._over = threading.Event()
        run = copy_context().run  # NumPy's errstate, for one, is part of it
        self._thread = threading.Thread(target=run, args=(self._work,), name="laminar-reads-ahead", daemon=True)

    def _work(self) -> None:
        _here.reads_ahead = True
        going = True
        while going and not self._over.is_set():
            entry, error = None, None
            try:
                entry = self._read()
            except BaseException as caught:  # whatever it is, it belongs to who waits
                error = caught
            going = entry is not None
            self._entries.put((entry, error))
            del entry, error  # so that nothing is held while the next is read

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __iter__(self) -> Iterator[Entry]:
        while True:
            entry, error = self._entries.get()
            if error is not None:
                raise error
            if entry is None:
                return
            yield entry

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._entries.get_nowait()  # it may be waiting for room
            self._thread.join(0.01)
