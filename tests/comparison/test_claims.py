"""Claims: of all who want a run one gets it, the dead lose theirs, and who has lost a claim writes nothing."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from laminar.comparison.claims import Key, _started, this_process
from laminar.comparison.runs import Run
from laminar.comparison.store import Store

PROTOCOL = {"variants": ["a", "b"], "metric": "accuracy", "higher_is_better": True, "seeds": 9}
WANTED: list[Key] = [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file that each test uses for a study of its own."""
    return tmp_path_factory.mktemp("claims") / "runs.db"


@pytest.fixture(scope="module")
def both(path: Path) -> tuple[Store, Store]:
    """Return two stores on one file, as two processes have them."""
    return Store(path), Store(path)


@pytest.fixture
def study(both: tuple[Store, Store], request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the name of a study that no other test has."""
    name = str(request.node.name)
    for store in both:
        store.open_study(name, PROTOCOL, "f1")
    yield name
    for store in both:
        store.release(name)


def alter(store: Store, study: str, **columns: Any) -> None:
    """Write other values into the claims of a study."""
    changes = ", ".join(f"{name} = :{name}" for name in columns)
    with store._storage.engine.begin() as connection:
        connection.execute(text(f"UPDATE laminar_claims SET {changes} WHERE study = :study"), {"study": study, **columns})


def claims(store: Store, study: str) -> list[Any]:
    """Return the claims of a study."""
    with store._storage.engine.connect() as connection:
        return list(connection.execute(text("SELECT * FROM laminar_claims WHERE study = :study"), {"study": study}))


def test_a_claimed_run_is_not_given_again(both: tuple[Store, Store], study: str) -> None:
    one, other = both
    assert one.claim(study, WANTED) == ("a", 0), "the first that is wanted"
    assert other.claim(study, WANTED) == ("b", 0)
    assert one.claim(study, WANTED[:2]) is None
    one.release(study)
    assert other.claim(study, WANTED) == ("a", 0)
    other.release(study, ("b", 0))
    assert one.claim(study, WANTED) == ("b", 0)


def test_a_run_that_was_recorded_meanwhile_is_not_given_again(both: tuple[Store, Store], study: str) -> None:
    one, other = both
    one.claim(study, WANTED)
    assert one.record(study, Run("a", 0, 7, value=0.5))
    assert other.claim(study, WANTED) == ("b", 0), "though the caller still wanted the first"
    assert [claim.variant for claim in claims(one, study)] == ["b"], "nothing is left of the claim of a recorded run"


def test_many_at_once_get_each_run_once(path: Path, study: str) -> None:
    got: list[Key] = []
    wanted = [(variant, index) for index in range(9) for variant in "ab"]
    stores = [Store(path) for _ in range(4)]

    def take(store: Store) -> None:
        while (key := store.claim(study, wanted)) is not None:
            got.append(key)

    threads = [threading.Thread(target=take, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.release(study)
    assert sorted(got) == sorted(wanted)


# ── the dead ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_claim_of_a_dead_process_on_this_machine_is_taken_over_at_once(both: tuple[Store, Store], study: str) -> None:
    """Even before its parent has looked at it, while its number is still taken."""
    one, other = both
    one.claim(study, WANTED)
    with subprocess.Popen(["sleep", "600"]) as process:
        alter(one, study, process=process.pid, started=_started(process.pid))
        assert other.claim(study, WANTED[:1]) is None
        process.kill()
        until(lambda: other.claim(study, WANTED[:1]) == ("a", 0))


def test_the_number_of_a_dead_process_may_be_another_one_later(both: tuple[Store, Store], study: str) -> None:
    one, other = both
    one.claim(study, WANTED)
    alter(one, study, started="1")
    assert other.claim(study, WANTED) == ("a", 0)


@pytest.mark.parametrize("what", ["host", "started"])
def test_where_a_process_cannot_be_seen_its_signs_of_life_count(what: str, both: tuple[Store, Store], study: str) -> None:
    """On another machine, or where the system does not tell: the number alone says nothing."""
    one, other = both
    one.claim(study, WANTED)
    alter(one, study, **{what: "" if what == "started" else "elsewhere", "process": 2**22 + 1})
    assert other.claim(study, WANTED[:1]) is None, "59 seconds are not 60"
    with one._storage.engine.begin() as connection:
        connection.execute(text("UPDATE laminar_claims SET beat = beat - 59 WHERE study = :study"), {"study": study})
    assert other.claim(study, WANTED[:1]) is None
    with one._storage.engine.begin() as connection:
        connection.execute(text("UPDATE laminar_claims SET beat = beat - 2 WHERE study = :study"), {"study": study})
    assert other.claim(study, WANTED[:1]) == ("a", 0)


def test_a_living_process_that_gives_no_signs_loses_its_claim(both: tuple[Store, Store], study: str) -> None:
    one, other = both
    one.claim(study, WANTED)
    alter(one, study, beat=0.0)
    assert other.claim(study, WANTED) == ("a", 0)


def test_who_has_lost_a_claim_writes_nothing(both: tuple[Store, Store], study: str) -> None:
    one, other = both
    one.claim(study, WANTED)
    alter(one, study, beat=0.0)
    other.claim(study, WANTED)
    assert not one.record(study, Run("a", 0, 7, value=0.25))
    assert one.runs(study) == []
    assert other.record(study, Run("a", 0, 7, value=0.5))
    assert [run.value for run in one.runs(study)] == [0.5]

    one.claim(study, WANTED)
    alter(one, study, beat=0.0)
    other.claim(study, WANTED)
    assert other.record(study, Run("b", 0, 7, value=0.5))
    assert not one.record(study, Run("b", 0, 7, value=0.25)), "nor after the other has written"
    assert [run.value for run in one.runs(study)] == [0.5, 0.5]


def test_signs_of_life_are_given_while_a_run_is_claimed(path: Path, both: tuple[Store, Store], study: str) -> None:
    lively = Store(path, beat=0.02)
    lively.claim(study, WANTED)
    begun = claims(lively, study)[0].beat
    until(lambda: claims(lively, study)[0].beat > begun)
    alter(lively, study, beat=0.0)
    until(lambda: claims(lively, study)[0].beat >= begun)
    assert both[1].claim(study, WANTED[:1]) is None
    lively.record(study, Run("a", 0, 7, value=0.5))
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "laminar-claims"])


def until(happens: Callable[[], bool]) -> None:
    """Wait until something happens."""
    while not happens():
        time.sleep(0.01)


def test_a_process_knows_itself() -> None:
    me = this_process()
    assert (me.process, me.is_gone()) == (os.getpid(), False)
    assert replace(me, started="1").is_gone()
    assert not replace(me, started="").is_gone(), "where the system does not tell"
    assert not replace(me, host="elsewhere", started="1").is_gone()
