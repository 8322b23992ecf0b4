"""Where a store lies and how it is reached: a SQLite file, the memory of this process, or a PostgreSQL server."""

from __future__ import annotations

import importlib.util
import logging
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from laminar.errors import MissingPackageError, StoreError, complaint

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

__all__ = ["Place", "open_storage", "persistently", "place_of"]

Result = TypeVar("Result")

_OPENING = 5.0  # seconds after which a server that has not answered is said to be out of reach
_BUSY = 5.0  # seconds that SQLite itself waits for a lock: Python sees no Ctrl-C in that time, so the longer wait is ours
_HEADER = b"SQLite format 3\x00"


@dataclass(frozen=True)
class Place:
    """Where a store lies.

    Attributes:
        kind: what keeps it.
        address: of the file, absolute, or the server's URL; what another process opens. None for memory.
        shown: the address without a password.
    """

    kind: Literal["memory", "sqlite", "postgresql"]
    address: str | None
    shown: str


def place_of(where: str | os.PathLike[str] | None) -> Place:
    """Return where a store lies, its address checked as far as that needs no server.

    Raises:
        StoreError: if the address is of no known kind, or the file cannot be a store.
        MissingPackageError: if PostgreSQL's driver is not installed.

    >>> place_of(None).shown
    'in memory'
    """
    if where is None:
        return Place("memory", None, "in memory")
    if not isinstance(where, str | os.PathLike):
        fix = 'Pass "laminar.db", "postgresql://user@host/database", or None for memory'
        raise StoreError(complaint("store", expected="a file or a PostgreSQL URL", received=repr(where), fix=fix))
    text = os.fspath(where)
    kind, separator, rest = text.partition("://")
    if not separator:
        return _file(Path(text))
    if kind == "sqlite" and rest.startswith("/") and rest not in ("/", "/:memory:"):
        return _file(Path(rest[1:]))
    if kind in ("postgresql", "postgres", "postgresql+psycopg"):
        return _server(text)
    fix = 'Pass "laminar.db", "postgresql://user@host/database", or None for memory'
    received = repr(_without_password(text))
    raise StoreError(complaint("store", expected="a file or a PostgreSQL URL", received=received, fix=fix))


def _file(path: Path) -> Place:
    path = path.expanduser().absolute()
    place = Place("sqlite", str(path), str(path))
    if path.is_dir():
        fix = f"Pass {str(path / 'laminar.db')!r}"
        raise StoreError(complaint(_named(place), expected="a file", received="a folder", fix=fix))
    if not path.parent.is_dir():
        fix = f"Type: mkdir -p {path.parent}"
        raise StoreError(
            complaint(_named(place), expected="a file in a folder", received="a folder that is not there", fix=fix)
        )
    if path.exists() and path.stat().st_size and os.access(path, os.R_OK):
        with path.open("rb") as file:
            if file.read(len(_HEADER)) != _HEADER:
                fix = "Pass another name: this file is left as it is"
                raise StoreError(
                    complaint(_named(place), expected="a SQLite database", received="another kind of file", fix=fix)
                )
    return place


def _server(text: str) -> Place:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if importlib.util.find_spec("psycopg") is None:
        fix = 'Type: pip install "laminar[postgresql]"'
        where = f"store {_without_password(text)!r}"
        raise MissingPackageError(complaint(where, expected="the package psycopg", received="none installed", fix=fix))
    try:
        url = make_url(text).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError) as error:
        fix = 'Pass "postgresql://user:password@host:5432/database"'
        received = repr(_without_password(text))
        raise StoreError(complaint("store", expected="a PostgreSQL URL", received=received, fix=fix)) from error
    plain = url.set(drivername="postgresql")
    return Place("postgresql", plain.render_as_string(hide_password=False), plain.render_as_string(hide_password=True))


def _without_password(text: str) -> str:
    """Return an address that may not be a URL, its password hidden."""
    kind, separator, rest = text.partition("://")
    credentials, at, host = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{kind}{separator}{user}{colon and ':***'}{at}{host}"


def _named(place: Place) -> str:
    return f"store {place.shown!r}"


# ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def open_storage(place: Place, endurance: float) -> RDBStorage:
    """Return Optuna's storage at `place`, its tables made where they are not there yet.

    Args:
        place: where it lies.
        endurance: seconds for which a locked file is waited for.

    Raises:
        StoreError: if it cannot be reached, or is of a version that the installed Optuna does not read.
    """
    from optuna.storages import RDBStorage

    def opened() -> RDBStorage:
        try:
            return RDBStorage(_url(place), engine_kwargs=_engine_options(place))
        except RuntimeError as error:  # this is how Optuna says that another version has made the tables
            fix = f"Type: optuna storage upgrade --storage {'sqlite:///' if place.kind == 'sqlite' else ''}{place.shown}"
            received = "those of another version"
            raise StoreError(complaint(_named(place), expected="Optuna's tables", received=received, fix=fix)) from error

    # Processes that open a new store at once find each other's tables half-made: what fails so is tried again.
    return persistently(opened, place, endurance=endurance, otherwise=_OPENING)


def _url(place: Place) -> str:
    """Return what Optuna is told: it takes braces for a template. `_engine_options` opens files, whatever their names hold."""
    if place.kind == "postgresql" and place.address is not None:
        driven = place.address.replace("postgresql", "postgresql+psycopg", 1)
        return driven.replace("{", "{{").replace("}", "}}")
    return "sqlite://"


def _engine_options(place: Place) -> dict[str, Any]:
    """Return SQLAlchemy's options.

    No connection outlives an operation: a training of hours holds none, so that none can be cut off or be inherited by the
    processes that load its data; a server may be started anew in between.
    """
    from sqlalchemy.pool import NullPool, StaticPool

    if place.kind == "memory":
        return {"poolclass": StaticPool, "creator": lambda: sqlite3.connect(":memory:", check_same_thread=False)}
    if place.kind == "sqlite":
        path = str(place.address)
        return {"poolclass": NullPool, "creator": lambda: sqlite3.connect(path, timeout=_BUSY, check_same_thread=False)}
    alive = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
    return {
        "poolclass": NullPool,
        "connect_args": {"connect_timeout": 10, **alive},
        "pool_events": [(_limit_idling, "connect")],
    }


def _limit_idling(connection: Any, _record: Any) -> None:
    """Let the server end a transaction whose client has gone silent: a machine switched off must not lock out the others."""
    with connection.cursor() as cursor:
        cursor.execute("SET idle_in_transaction_session_timeout = 60000")
    connection.commit()


# ── trying again ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def persistently(operation: Callable[[], Result], place: Place, *, endurance: float, otherwise: float | None = None) -> Result:
    """Return what `operation` returns, trying again while the file is locked or the connection drops.

    Args:
        operation: safe to repeat, also where its first try was carried out and only the answer was lost.
        place: where it goes to.
        endurance: seconds after which no new try is made.
        otherwise: the same for every other error of the database; None lets those through at once.

    Raises:
        StoreError: if the database cannot be reached in that time, or refuses.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    begun, pause = time.monotonic(), 0.02
    while True:
        try:
            with _silence.kept():
                return operation()
        except (SQLAlchemyError, StorageInternalError) as error:
            cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
            waited = time.monotonic() - begun
            patience = endurance if _locked(cause) or (otherwise is None and _dropped(cause)) else (otherwise or 0.0)
            if waited >= patience:
                raise _unreachable(place, cause) from error
        time.sleep(pause * random.uniform(0.5, 1.5))  # not in step with the others that wait
        pause = min(2 * pause, 2.0)


def _locked(error: BaseException) -> bool:
    """Return whether another process holds the SQLite file just now."""
    original = getattr(error, "orig", None)
    return isinstance(original, sqlite3.OperationalError) and "locked" in str(original)


def _dropped(error: BaseException) -> bool:
    """Return whether the server went away, or ended the connection or transaction: the next try may find it well."""
    from sqlalchemy.exc import DBAPIError

    if not isinstance(error, DBAPIError) or isinstance(error.orig, sqlite3.Error):
        return False
    return error.connection_invalidated or type(error).__name__ in ("OperationalError", "InterfaceError")


def _unreachable(place: Place, error: BaseException) -> StoreError:
    said = str(getattr(error, "orig", None) or error).strip().splitlines()
    received = repr(said[0] if said else type(error).__name__)
    if _dropped(error):
        expected, fix = "a server that answers", "Start it, or mend host, port, user or database in the URL"
    elif place.kind == "postgresql":
        expected, fix = "a database to keep runs in", "Pass one in which you may make tables"
    elif _locked(error):
        expected, fix = "a file that others release", "End the process that holds it"
    else:
        expected, fix = "a file that can be read and written", "Pass one of your own, on a disk with room"
    return StoreError(complaint(_named(place), expected=expected, received=received, fix=fix))


class _Silence(logging.Filter):
    """Keeps what Optuna logs from people who did not ask for Optuna, in the threads and while it is `kept`."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.local()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let nothing through from this thread."""
        logging.getLogger("optuna.storages._rdb.storage").addFilter(self)  # where it is already, nothing happens
        before = getattr(self._thread, "kept", False)
        self._thread.kept = True
        try:
            yield
        finally:
            self._thread.kept = before

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether `record` is let through."""
        return not getattr(self._thread, "kept", False)


_silence = _Silence()
