"""A search shared by processes, killed, watched from the dashboard, and started from the command line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import optuna
import pytest
from tuning.problem import DEFAULT, tuned
from typer.testing import CliRunner

from laminar import cli

TESTS = Path(__file__).resolve().parent.parent
SOURCE = TESTS.parent / "src"

STUDY_FILE = """
from tuning.problem import DEFAULT, TEST, TRAIN, VALIDATION, net

def search():
    return {"build": net, "train": TRAIN, "validation": VALIDATION, "test": TEST, "metric": "accuracy", "default": DEFAULT,
            "epochs": 2, "batch_size": 16, "pruner": "none", "name": "mine", "trials": 9, "margin": 0.05}
"""


def _program(*arguments: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(SOURCE), str(TESTS)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-m", "tuning.problem", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def _study(file: Path) -> optuna.Study:
    return optuna.load_study(study_name="mine", storage=f"sqlite:///{file}")


def test_from_the_command_line(tmp_path: Path) -> None:
    file, kept, output, pictures = (tmp_path / name for name in ("study.py", "trials.db", "trials.json", "pictures"))
    file.write_text(STUDY_FILE)
    typed = ["tune", str(file), "--trials", "2", "--store", str(kept), "--output", str(output), "--pictures", str(pictures)]
    done = CliRunner().invoke(cli.app, typed)
    assert done.exit_code == 0, done.output
    assert "Searching for accuracy in 2 trials. Study 'mine'" in done.output
    assert "Best of 2 trials (2 finished)" in done.output
    assert json.loads(output.read_text())["trials"][0]["params"] == DEFAULT
    assert sorted(p.name for p in pictures.iterdir()) == ["importance.png", "slices.png", "trials.png"]
    assert len(_study(kept).trials) == 2


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_processes_share_a_search_and_run_no_trial_twice(tmp_path: Path) -> None:
    """Two workers of one call, while another call of the same search runs beside it."""
    kept = tmp_path / "trials.db"
    beside = _program(str(kept), "mine", "12")
    try:
        result = tuned(store=kept, name="mine", trials=12, default=DEFAULT, workers=2)
        assert beside.wait(60) == 0, (beside.stderr.read() if beside.stderr else b"").decode()
    finally:
        beside.kill()
        beside.communicate()
    trials = _study(kept).trials
    assert [t.state.name for t in trials] == ["COMPLETE"] * 12
    assert sorted(t.user_attrs["place"] for t in trials) == list(range(12))
    assert len({t.user_attrs["seed"] for t in trials}) == 12
    assert len({t.user_attrs["environment"]["process"] for t in trials}) > 1
    assert [t.place for t in result.trials] == list(range(12))
    assert result.trials[0].params == DEFAULT


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_search_that_was_killed_is_the_same_in_the_end(tmp_path: Path) -> None:
    """Killed in the middle of a trial, again and again, it ends as the search that nobody disturbed."""
    kept = tmp_path / "trials.db"
    tuned(store=kept, name="mine", trials=1, default=DEFAULT)
    for ended in (2, 4):
        search = _program(str(kept), "mine", "6")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            trials = _study(kept).trials
            running = any(t.state.name == "RUNNING" and "units" in t.params for t in trials)
            if running and sum(t.state.name == "COMPLETE" for t in trials) >= ended:
                break
            time.sleep(0.01)
        search.send_signal(signal.SIGKILL)
        search.communicate()
    result = tuned(store=kept, name="mine", trials=6, default=DEFAULT)
    undisturbed = tuned(trials=6, default=DEFAULT)
    assert [(t.place, t.params, t.value, t.curve, t.seed) for t in result.trials] == [
        (t.place, t.params, t.value, t.curve, t.seed) for t in undisturbed.trials
    ]
    assert not [t for t in _study(kept).trials if not t.state.is_finished()]


@pytest.mark.slow
def test_the_dashboard_shows_the_search_as_it_is(tmp_path: Path) -> None:
    kept = tmp_path / "trials.db"
    result = tuned(store=kept, name="mine", default=DEFAULT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from optuna_dashboard._cli import main; main()", f"sqlite:///{kept}"]
    server = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], stderr=subprocess.PIPE)

    def read(path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return json.load(answer)

    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                (summary,) = read("/api/studies")["study_summaries"]
                break
            except urllib.error.URLError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        page = read(f"/api/studies/{summary['study_id']}")
    finally:
        server.terminate()
        server.communicate()
    assert (summary["study_name"], summary["directions"]) == ("mine", ["maximize"])
    assert page["objective_names"] == ["accuracy"]
    shown = page["trials"]
    assert [t["values"][0] for t in shown] == [t.value for t in result.trials]
    assert [[v["value"] for v in t["intermediate_values"]] for t in shown] == [list(t.curve) for t in result.trials]
    assert {p["name"] for p in shown[0]["params"]} == set(DEFAULT)
    assert {"seed", "outcome", "environment"} <= {a["key"] for a in shown[0]["user_attrs"]}
