"""A PostgreSQL server of a test's own: on loopback, in a temporary folder, from Debian's packages."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

USER = "laminar"


class Server:
    """A server that may be ended and started again."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries, self._folder = binaries, folder
        self._user = None if os.getuid() else _somebody()  # it refuses to run as root
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        if self._user is not None:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", USER, "-E", "UTF8", "--no-sync").wait()
        self.start()

    @property
    def url(self) -> str:
        """What a store is given."""
        return f"postgresql://{USER}@127.0.0.1:{self._port}/postgres"

    def connect(self) -> psycopg.Connection:
        """Return a connection of the test's own."""
        return psycopg.connect(self.url, autocommit=True)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
        self._server = self._run("postgres", "-D", str(self._folder / "data"), "-p", str(self._port), *options)
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                if self._server.poll() is not None:
                    raise RuntimeError((self._folder / "log").read_text()) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """End it at once: every connection is cut."""
        self._server.send_signal(signal.SIGINT)
        self._server.wait()

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            command = [str(self._binaries / program), *arguments]
            return subprocess.Popen(command, user=self._user, cwd=self._folder, stdout=log, stderr=log)


@contextmanager
def postgresql() -> Iterator[Server]:
    """Run a server; skip the test, with the reason, where there can be none."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="laminar-postgresql-"))  # not pytest's folder, which no other user may enter
    try:
        server = Server(binaries, folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    found = _installed()
    if found is None and os.getuid() == 0 and shutil.which("apt-get"):
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "install", "-y", "-q", "postgresql"], env=quiet, check=False, capture_output=True)
        found = _installed()
    if found is None:
        pytest.skip("needs PostgreSQL's initdb and postgres: apt-get install postgresql")
    return found


def _installed() -> Path | None:
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    return versions[-1].parent if versions else None


def _somebody() -> str:
    users = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in users else "nobody"
