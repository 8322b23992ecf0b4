"""A store on a PostgreSQL server, which each run of this file starts for itself."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from comparison.killing import Studies, assert_whole, disturb, optunas, undisturbed
from comparison.server import Server, postgresql
from comparison.tiny import FINGERPRINT, tiny_task
from sqlalchemy import text

from laminar.comparison.processes import run_workers
from laminar.comparison.runs import Run
from laminar.comparison.store import Store
from laminar.comparison.task import execute
from laminar.comparison.worker import work
from laminar.errors import StoreError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MOMENTS = 30


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Return a server."""
    with postgresql() as running:
        yield running


def test_a_store_on_a_server(server: Server) -> None:
    task = tiny_task(6)
    store = Store(server.url)
    assert store.where == server.url
    store.open_study("all of it", task.protocol.to_dict(), FINGERPRINT)
    work(task, store, "all of it")
    runs = store.runs("all of it")
    assert [(run.variant, run.index, run.value) for run in runs] == [
        (variant, index, execute(task, variant, index).value) for index in range(6) for variant in ("narrow", "wide")
    ]
    with optunas(server.url, "all of it") as study:
        assert [Run.from_dict(trial.user_attrs) for trial in study.trials] == runs == Store(server.url).runs("all of it")
        assert study.best_value == max(run.value for run in runs if run.value is not None)


def test_claims_on_a_server(server: Server) -> None:
    protocol = tiny_task(6).protocol.to_dict()
    one, other = Store(server.url, beat=0.05), Store(server.url)
    one.open_study("claims", protocol, FINGERPRINT)
    assert one.claim("claims", [("narrow", 0)]) == ("narrow", 0)
    assert other.claim("claims", [("narrow", 0)]) is None

    def beat() -> float:
        with other._storage.engine.connect() as connection:
            return float(connection.execute(text("SELECT beat FROM laminar_claims WHERE study = 'claims'")).scalar_one())

    begun = beat()
    while beat() == begun:
        time.sleep(0.02)
    quiet = Store(server.url, patience=0.2)
    silent = Store(server.url, beat=3600.0)
    assert silent.claim("claims", [("wide", 0)]) == ("wide", 0)
    while quiet.claim("claims", [("wide", 0)]) is None:
        time.sleep(0.02)
    assert not silent.record("claims", Run("wide", 0, 7, value=0.25))
    assert quiet.record("claims", Run("wide", 0, 7, value=0.5))
    one.release("claims")
    assert [run.value for run in other.runs("claims")] == [0.5]


def test_four_open_a_new_database_at_once(server: Server) -> None:
    failed: list[BaseException] = []
    with server.connect() as connection:
        connection.execute("CREATE DATABASE fresh")

    def open_it() -> None:
        try:
            Store(server.url.replace("/postgres", "/fresh")).open_study("x", tiny_task(6).protocol.to_dict(), FINGERPRINT)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_database_that_is_not_there(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laminar.comparison.connections._OPENING", 0.1)
    url = server.url.replace("/postgres", "/nowhere")
    with pytest.raises(StoreError) as caught:
        Store(url)
    message = str(caught.value)
    assert message.startswith(f"store '{url}': expected a server that answers, received 'connection ")
    assert 'database "nowhere" does not exist\'' in message
    assert message.endswith("Start it, or mend host, port, user or database in the URL.")


def test_a_server_that_is_started_anew_is_waited_for(server: Server) -> None:
    task = tiny_task(6)
    store = Store(server.url)
    store.open_study("anew", task.protocol.to_dict(), FINGERPRINT)
    thread = threading.Thread(target=work, args=(task, store, "anew"))
    thread.start()
    while not Store(server.url).runs("anew"):
        time.sleep(0.05)
    server.stop()
    time.sleep(0.5)
    server.start()
    thread.join()
    assert len(Store(server.url).runs("anew")) == 12


def test_four_workers_share_a_server(server: Server, tmp_path: Path) -> None:
    """No run twice, none lost."""
    log = tmp_path / "log"
    task = tiny_task(110, log)
    store = Store(server.url)
    store.open_study("four", task.protocol.to_dict(), FINGERPRINT)
    run_workers(task, store, "four", 4)
    executed = log.read_text().splitlines()
    runs = store.runs("four")
    assert (len(executed), len(set(executed))) == (220, 220)
    assert (len(runs), len({(run.variant, run.index) for run in runs})) == (220, 220)
    assert len({run.environment["process"] for run in runs}) == 4


@pytest.mark.timeout(1800)  # processes are started some twenty times
def test_killed_at_random_moments(server: Server, tmp_path: Path) -> None:
    studies = Studies(server.url, tmp_path)
    cut: list[int] = []

    def cut_connections(rng: random.Random) -> bool:
        """End every connection for a while, each as soon as it is made."""
        until = time.monotonic() + rng.uniform(0.1, 1.0)
        query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'laminar' AND pid <> pg_backend_pid()"
        with server.connect() as connection:
            while time.monotonic() < until:
                ((count,),) = connection.execute(query).fetchall()
                cut.append(count)
        return True

    with server.connect() as connection:
        connection.execute("CREATE DATABASE killed")
    studies.where = server.url.replace("/postgres", "/killed")
    ways = {"parent": lambda _rng: studies.kill_parent(), "worker": studies.kill_worker, "connections": cut_connections}
    done = disturb(studies, ways, MOMENTS, seed=11)
    assert_whole(studies.where, studies, undisturbed().runs("whole"))
    print(f"{dict(done)}: {len(studies.names)} studies, {studies.executions()} runs begun, {sum(cut)} connections cut")
    assert min(done[way] for way in ways) > 0
    assert sum(cut) > 0
