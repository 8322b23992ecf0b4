"""The store: what is recorded comes back, Optuna reads it, and what cannot work is said."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from laminar.comparison.runs import Run
from laminar.comparison.store import Store
from laminar.errors import ArgumentError, MissingPackageError, StoreError

PROTOCOL = {"variants": ["elu", "relu"], "metric": "accuracy", "higher_is_better": True, "seeds": 3, "margin": 0.01}
WHOLE = Run(
    "relu",
    2,
    12345,
    value=0.75,
    figures={"loss": 0.5, "accuracy": 0.75},
    history={"loss": [0.9, 0.6], "accuracy": [0.5, 0.7], "val_accuracy": [0.55, 0.75]},
    elapsed=[0.1, 0.2],
    seconds=0.2,
    evaluation=1e5,
    parameters=10,
    memory=4096,
    started="2026-03-04T05:06:07+00:00",
    environment={"torch": "2.9"},
)
FAILED = Run("elu", 1, 6789, "failed", error="ValueError: no", history={"loss": [1.0]}, started="2026-03-04T05:06:08+00:00")


@pytest.fixture(scope="module")
def memory() -> Store:
    """Return a store for tests that each have a study of their own."""
    return Store(None)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a study "kept" of two runs."""
    path = tmp_path_factory.mktemp("store") / "runs.db"
    store = Store(path)
    store.open_study("kept", PROTOCOL, "f1")
    for run in (WHOLE, FAILED):
        put(store, "kept", run)
    return path


def put(store: Store, name: str, run: Run) -> None:
    """Record a run."""
    assert store.claim(name, [(run.variant, run.index)]) == (run.variant, run.index)
    assert store.record(name, run)


def test_runs_come_back_as_they_were_recorded(memory: Store, file: Path) -> None:
    memory.open_study("back", PROTOCOL, "f1")
    put(memory, "back", WHOLE)
    put(memory, "back", FAILED)
    assert memory.runs("back") == [WHOLE, FAILED]
    assert Store(f"sqlite:///{file}").runs("kept") == [WHOLE, FAILED], "another process reads the same"


def test_optuna_reads_the_store_as_it_is(file: Path) -> None:
    study = optuna.load_study(study_name="kept", storage=f"sqlite:///{file}")
    assert (study.direction.name, study.metric_names) == ("MAXIMIZE", ["accuracy"])
    assert study.user_attrs == {"protocol": PROTOCOL, "fingerprint": "f1"}
    whole, failed = study.trials
    assert (whole.state.name, whole.value, whole.params) == ("COMPLETE", 0.75, {"variant": "relu", "index": 2})
    assert whole.intermediate_values == {1: 0.55, 2: 0.75}, (
        "the metric on the test data, epoch by epoch, where it was asked for"
    )
    assert whole.user_attrs == WHOLE.to_dict()
    assert (failed.state.name, failed.value, failed.params) == ("FAIL", None, {"variant": "elu", "index": 1})
    assert failed.intermediate_values == {}
    assert failed.user_attrs["error"] == "ValueError: no"
    assert study.best_trial.number == 0
    assert whole.datetime_start is not None
    assert whole.datetime_start.astimezone().timestamp() == 1772600767


def test_the_dashboard_reads_the_store_as_it_is(file: Path) -> None:
    from optuna_dashboard import wsgi  # type: ignore[import-untyped]  # it ships none

    app = wsgi(f"sqlite:///{file}")

    def get(path: str) -> Any:
        status: list[str] = []
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path,
            "SERVER_NAME": "x",
            "SERVER_PORT": "80",
            "wsgi.input": io.BytesIO(),
        }
        environ |= {"wsgi.errors": io.StringIO(), "wsgi.url_scheme": "http"}
        body = b"".join(app(environ, lambda code, *_: status.append(code)))
        assert status == ["200 OK"]
        return json.loads(body)

    (summary,) = get("/api/studies")["study_summaries"]
    assert summary["study_name"] == "kept"
    page = get(f"/api/studies/{summary['study_id']}")
    assert [trial["state"] for trial in page["trials"]] == ["Complete", "Fail"]
    assert {param["name"]: param["param_external_value"] for param in page["trials"][0]["params"]} == {
        "variant": "relu",
        "index": "2",
    }


def test_a_metric_that_is_better_when_lower(memory: Store) -> None:
    memory.open_study("lower", PROTOCOL | {"metric": "loss", "higher_is_better": False}, "f1")
    assert memory._ask("lower", lambda study: study.direction).name == "MINIMIZE"


def test_nothing_of_optuna_is_seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path / "runs.db")
    store.open_study("quiet", PROTOCOL, "f1")
    put(store, "quiet", WHOLE)
    assert caplog.messages == []
    optuna.create_study(study_name="theirs", storage=f"sqlite:///{tmp_path / 'runs.db'}")
    assert caplog.messages == ["A new study created in RDB with name: theirs"], "a person's own studies speak as before"


def test_a_longer_study_goes_on_and_remembers_what_was_declared_before(memory: Store) -> None:
    memory.open_study("longer", PROTOCOL, "f1")
    put(memory, "longer", WHOLE)
    for _ in range(2):
        memory.open_study("longer", PROTOCOL | {"seeds": 30, "margin": 0.02}, "f1")
    assert memory.runs("longer") == [WHOLE]
    kept = memory._ask("longer", lambda study: study.user_attrs)
    assert (kept["protocol"]["seeds"], kept["earlier"]) == (30, [PROTOCOL])
    late = Run("elu", 29, 7, value=0.5)
    put(memory, "longer", late)
    assert memory.runs("longer") == [WHOLE, late]


def test_a_study_whose_maker_died_is_made_by_the_next(file: Path, tmp_path: Path) -> None:
    path = shutil.copy(file, tmp_path)
    optuna.create_study(storage=f"sqlite:///{path}", study_name="half", direction="maximize").set_user_attr(
        "protocol", PROTOCOL
    )
    store = Store(path)
    store.open_study("half", PROTOCOL, "f1")
    put(store, "half", WHOLE)
    assert optuna.load_study(study_name="half", storage=f"sqlite:///{path}").user_attrs["fingerprint"] == "f1"


def test_any_file_name_will_do(tmp_path: Path) -> None:
    name = "ä 50% {x}?y=1&z#.db"
    Store(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_where_is_what_another_process_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("sqlite:///runs.db")
    assert (store.where, repr(store)) == (str(tmp_path / "runs.db"), f"Store('{tmp_path}/runs.db')")
    assert Store(None).where is None


# ── waiting, and trying again ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_locked_file_is_waited_for(file: Path) -> None:
    store = Store(file)
    other = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    locked = threading.Timer(0.5, lambda: other.execute("ROLLBACK"))
    locked.start()
    assert store.claim("kept", [("elu", 0)]) == ("elu", 0)
    locked.join()
    store.release("kept")
    other.close()


def test_a_file_that_stays_locked_is_said_to_be(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laminar.comparison.connections._BUSY", 0.05)
    store = Store(file, endurance=0.1)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError) as caught:
        store.claim("kept", [("elu", 0)])
    other.close()
    assert str(caught.value) == (
        f"store '{file}': expected a file that others release, received 'database is locked'. End the process that holds it."
    )


def test_a_run_is_there_once_where_only_the_answer_was_lost(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.open_study("answer", PROTOCOL, "f1")
    study = memory._ask("answer", lambda study: study)
    add, tries = study.add_trial, []

    def lose_the_first_answer(trial: optuna.trial.FrozenTrial) -> None:
        tries.append(trial)
        add(trial)
        if len(tries) == 1:
            raise OperationalError(
                "COMMIT", {}, Exception("server closed the connection unexpectedly"), connection_invalidated=True
            )

    monkeypatch.setattr(study, "add_trial", lose_the_first_answer)
    put(memory, "answer", WHOLE)
    assert len(tries) == 2
    assert [trial.user_attrs["index"] for trial in study.trials] == [2]


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_another_comparison_under_the_name_is_refused(memory: Store) -> None:
    memory.open_study("taken", PROTOCOL, "f1")
    expected = (
        "Store('in memory'): expected the study that 'taken' was begun with (fingerprint f1), received one that differs in "
    )
    fix = "Pass another name= to begin anew, or what it was begun with to go on."
    with pytest.raises(StoreError) as caught:
        memory.open_study("taken", PROTOCOL, "f2")
    what = "what the functions build, the data, or the arguments of fit"
    assert str(caught.value) == f"{expected}{what} (fingerprint f2). {fix}"
    with pytest.raises(StoreError) as caught:
        memory.open_study("taken", PROTOCOL | {"variants": ["elu"], "metric": "loss", "seeds": 9}, "f2")
    assert str(caught.value) == f"{expected}variants, metric (fingerprint f2). {fix}"


def test_a_study_of_something_else_is_left_alone(file: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{shutil.copy(file, tmp_path)}"
    theirs = optuna.create_study(storage=url, study_name="search")
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(StoreError) as caught:
        Store(url).open_study("search", PROTOCOL, "f1")
    assert str(caught.value) == (
        f"Store('{tmp_path}/runs.db'): expected a comparison or search of Laminar's under the name 'search', received another study of Optuna. Pass another name=."
    )
    assert theirs.user_attrs == {}


def test_a_study_that_is_not_there(memory: Store) -> None:
    store = Store(None)
    with pytest.raises(StoreError) as caught:
        store.runs("elu")
    assert str(caught.value) == "Store('in memory'): expected a study named 'elu', received none at all. Call open_study first."
    store.open_study("relu", PROTOCOL, "f1")
    with pytest.raises(StoreError, match="expected a study named 'elu', received 'relu'"):
        store.claim("elu", [("elu", 0)])
    assert store._claims.take("elu", [("elu", 0)], "a token") == ("elu", 0), "no claim is left of the one that could not be"


def test_a_study_that_somebody_deletes(file: Path) -> None:
    store = Store(file)
    store.open_study("deleted", PROTOCOL, "f1")
    put(store, "deleted", WHOLE)
    store.claim("deleted", [("elu", 1)])
    optuna.delete_study(study_name="deleted", storage=f"sqlite:///{file}")
    missing = f"Store('{file}'): expected a study named 'deleted', received 'kept'. Call open_study first."
    for act in (lambda: store.runs("deleted"), lambda: store.record("deleted", FAILED)):
        with pytest.raises(StoreError) as caught:
            act()
        assert str(caught.value) == missing
    store.release("deleted")
    store.open_study("deleted", PROTOCOL, "f2")
    assert store.runs("deleted") == [], "nothing is left of the old one"


def test_what_was_not_claimed_is_not_recorded(memory: Store) -> None:
    memory.open_study("unclaimed", PROTOCOL, "f1")
    with pytest.raises(ArgumentError) as caught:
        memory.record("unclaimed", WHOLE)
    assert (
        str(caught.value) == "record(run=): expected a claimed run, received 'relu', 2, which is not claimed. Call claim first."
    )


ADDRESSES = {
    "mysql://me:secret@host/runs": (
        "store: expected a file or a PostgreSQL URL, received 'mysql://me:***@host/runs'. "
        'Pass "laminar.db", "postgresql://user@host/database", or None for memory.'
    ),
    "sqlite://": (
        "store: expected a file or a PostgreSQL URL, received 'sqlite://'. "
        'Pass "laminar.db", "postgresql://user@host/database", or None for memory.'
    ),
    "postgresql://me:secret@host:door/runs": (
        "store: expected a PostgreSQL URL, received 'postgresql://me:***@host:door/runs'. "
        'Pass "postgresql://user:password@host:5432/database".'
    ),
    "TMP/no/runs.db": "store 'TMP/no/runs.db': expected a file in a folder, received a folder that is not there. Type: mkdir -p TMP/no.",
    "TMP": "store 'TMP': expected a file, received a folder. Pass 'TMP/laminar.db'.",
    "TMP/text.db": "store 'TMP/text.db': expected a SQLite database, received another kind of file. Pass another name: this file is left as it is.",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_cannot_work(address: str, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database at all")
    with pytest.raises(StoreError) as caught:
        Store(address.replace("TMP", str(tmp_path)))
    assert str(caught.value) == ADDRESSES[address].replace("TMP", str(tmp_path))
    assert (tmp_path / "text.db").read_text() == "not a database at all"


def test_a_server_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laminar.comparison.connections._OPENING", 0.1)
    with pytest.raises(StoreError) as caught:
        Store("postgresql://me:secret@127.0.0.1:1/runs")
    text = str(caught.value)
    assert text.startswith(
        "store 'postgresql://me:***@127.0.0.1:1/runs': expected a server that answers, received 'connection "
    )
    assert text.endswith("Start it, or mend host, port, user or database in the URL.")
    assert "secret" not in text


def test_postgresql_without_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError) as caught:
        Store("postgresql://me:secret@host/runs")
    assert str(caught.value) == (
        "store 'postgresql://me:***@host/runs': expected the package psycopg, received none installed. "
        'Type: pip install "laminar[postgresql]".'
    )


def test_tables_of_another_version_of_optuna(file: Path, tmp_path: Path) -> None:
    path = shutil.copy(file, tmp_path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v0.9.0.a'")
    connection.close()
    with pytest.raises(StoreError) as caught:
        Store(path)
    assert str(caught.value) == (
        f"store '{path}': expected Optuna's tables, received those of another version. Type: optuna storage upgrade --storage sqlite:///{path}."
    )


def test_a_damaged_file(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laminar.comparison.connections._OPENING", 0.1)
    path = tmp_path / "runs.db"
    path.write_bytes(file.read_bytes()[:4096])  # the rest is gone
    with pytest.raises(StoreError) as caught:
        Store(path)
    assert str(caught.value) == (
        f"store '{path}': expected a file that can be read and written, received 'database disk image is malformed'. "
        "Pass one of your own, on a disk with room."
    )
