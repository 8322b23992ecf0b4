"""Who runs what just now: one row for each claimed run, in the same database as the runs."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Delete, Engine, Row, Table

__all__ = ["Claims", "Key", "Owner", "this_process"]

Key = tuple[str, int]
"""Variant and index of a run."""


@dataclass(frozen=True)
class Owner:
    """A process, as other processes on the same machine can find it.

    Attributes:
        host: the machine, this boot of it, and the container: process numbers mean something only within these.
        process: its number.
        started: when it began, in ticks since the boot: the same number may be another process later. Empty where the system
            does not tell.
    """

    host: str
    process: int
    started: str

    def is_gone(self) -> bool:
        """Return whether the process is surely dead; False for one on another machine, or where the system does not tell."""
        return self.host == _host() and bool(self.started) and _started(self.process) != self.started


def this_process() -> Owner:
    """Return the process that calls.

    >>> this_process().is_gone()
    False
    """
    return Owner(_host(), os.getpid(), _started(os.getpid()))


@functools.cache
def _host() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _started(process: int) -> str:
    """Return when a process began; empty if there is none, or only the remains of one that its parent has not looked at yet."""
    try:
        # After the program's name, which may hold spaces and brackets: state, then 18 numbers, then the start.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


class Claims:
    """The table of claims.

    A claim is a row with a random token, and whoever knows the token owns the run. Two facts make it safe. The database lets
    only one row stand for each (study, variant, pair), and changes a row only for the token that was read: of two processes
    that want the same run, one gets it. And the row is deleted in the very transaction that writes the run: who has lost
    the claim cannot write, and who has written needs no second step.

    Args:
        engine: of the database.
        patience: seconds without a sign of life, by the database's clock, after which an owner counts as dead.
    """

    def __init__(self, engine: Engine, patience: float) -> None:
        self._engine = engine
        self._patience = patience

    def make_table(self) -> None:
        """Make the table where it is not there yet."""
        _table().create(self._engine, checkfirst=True)

    def take(self, study: str, wanted: Sequence[Key], token: str) -> Key | None:
        """Return the first of `wanted` that nobody alive has claimed, now claimed by `token`; None if there is none.

        Called again with the same token, it returns the same claim.
        """
        from sqlalchemy import select

        table = _table()
        with self._engine.begin() as connection:
            age = (_now(connection) - table.c.beat).label("age")
            query = select(table, age).where(table.c.study == study)
            rows: dict[Key, Row[Any]] = {(row.variant, row.pair): row for row in connection.execute(query)}
        for ours in (key for key, row in rows.items() if row.token == token):
            return ours
        for key in wanted:
            if self._take_one(study, key, token, rows.get(key)):
                return key
        return None

    def _take_one(self, study: str, key: Key, token: str, row: Row[Any] | None) -> bool:
        """Return whether the claim is ours; `row` is the one that stood there."""
        table, me = _table(), this_process()
        with self._engine.begin() as connection:
            mine = {"host": me.host, "process": me.process, "started": me.started, "token": token, "beat": _now(connection)}
            if row is None:
                if connection.dialect.name == "postgresql":
                    from sqlalchemy.dialects.postgresql import insert
                else:
                    from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # the same, for the other
                new = insert(table).values(study=study, variant=key[0], pair=key[1], **mine).on_conflict_do_nothing()
                return connection.execute(new, execution_options={"preserve_rowcount": True}).rowcount == 1
            silent = row.age > self._patience
            if not silent and not Owner(row.host, row.process, row.started).is_gone():
                return False
            stands = (table.c.token == row.token) & (table.c.beat == row.beat)  # a beat since then means that it lives
            return connection.execute(table.update().where(stands).values(**mine)).rowcount == 1

    def beat(self, tokens: Sequence[str]) -> None:
        """Give a sign of life for the claims that `tokens` own."""
        table = _table()
        with self._engine.begin() as connection:
            connection.execute(table.update().where(table.c.token.in_(tokens)).values(beat=_now(connection)))

    def release(self, token: str) -> None:
        """Give a claim back."""
        with self._engine.begin() as connection:
            connection.execute(self.deletion(token))

    def deletion(self, token: str) -> Delete:
        """Return the statement that deletes the claim, for a transaction that stands or falls with it."""
        return _table().delete().where(_table().c.token == token)


@functools.cache
def _table() -> Table:
    from sqlalchemy import Column, Double, Integer, MetaData, Table, Text

    return Table(
        "laminar_claims",
        MetaData(),
        Column("study", Text, primary_key=True),
        Column("variant", Text, primary_key=True),
        Column("pair", Integer, primary_key=True, autoincrement=False),  # the run's index
        Column("host", Text, nullable=False),
        Column("process", Integer, nullable=False),
        Column("started", Text, nullable=False),
        Column("token", Text, nullable=False, unique=True),
        Column("beat", Double, nullable=False),  # seconds since 1970, by the database's clock
    )


def _now(connection: Connection) -> ColumnElement[float]:
    """Return the database's clock, in seconds: the machines' own clocks may differ."""
    from sqlalchemy import Double, cast, extract, func, literal_column

    if connection.dialect.name == "postgresql":
        return cast(extract("epoch", func.clock_timestamp()), Double)
    return literal_column("(julianday('now') - 2440587.5) * 86400.0", Double)
