"""The miniature of `make bench` runs; a process that fails, hangs or is interrupted spoils nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from frameworks import environments
from frameworks.candidates import FOLDER, FRAMEWORKS
from frameworks.networks import NETWORKS
from frameworks.processes import run
from frameworks.runner import Job

ROOT = Path(__file__).parents[2]


def _command(*options: str) -> tuple[list[str], dict[str, str]]:
    path = os.pathsep.join([str(ROOT / "benchmarks"), str(ROOT / "src")])
    return [sys.executable, "-m", "frameworks", *options], {**os.environ, "PYTHONPATH": path}


def test_the_miniature_measures_and_writes_figures_and_table(tmp_path: Path) -> None:
    page, figures = tmp_path / "page.md", tmp_path / "results.json"
    page.write_text((ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8"), encoding="utf-8")
    command, environment = _command("--quick", "--networks", "mlp", "--output", str(figures), "--docs", str(page))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(figures.read_text())
    assert [(found["network"], found["framework"]) for found in results["runs"]] == [("mlp", "laminar"), ("mlp", "torch")]
    for found in results["runs"]:
        assert "error" not in found
        assert found["parameters"] == NETWORKS[found["network"]].parameters
        assert len(found["ms"]) >= 2
        assert min(found["ms"]) > 0
        assert min(found["images_per_s"]) > 0
        assert found["peak_mb"] is None or found["peak_mb"] > found["imported_mb"]
    assert min(results["rates"].values()) > 0
    assert "| MLP 3072-20-15-10 with BN |" in page.read_text(encoding="utf-8")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.md", "results.json"]


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_what_was_there(signal_number: signal.Signals, tmp_path: Path) -> None:
    figures = tmp_path / "results.json"
    figures.write_text("old")
    command, environment = _command("--quick", "--output", str(figures))
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "== measuring: networks digits, mlp; frameworks laminar, torch\n"
    time.sleep(0.2)  # the first of its processes is being started
    process.send_signal(signal_number)
    _, complaints = process.communicate(timeout=60)
    assert process.returncode == 1
    assert complaints.splitlines()[-1] == "Stopped by Ctrl-C; nothing has been written."
    assert figures.read_text() == "old"


def test_the_last_words_of_a_process_that_fails_are_its_error() -> None:
    found = run(Job("nosuch", "torch", "index"), timeout=60)
    assert found["error"] == "KeyError: 'nosuch'"
    assert found["framework"] == "torch"


def test_a_process_that_hangs_is_ended() -> None:
    assert run(Job("mlp", "torch", "index", seconds=1e6), timeout=0.5)["error"] == "not finished after 0 s"


@pytest.mark.slow  # it makes a virtual environment, with pip in it
def test_an_environment_that_cannot_be_made_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "_HOMES", tmp_path / "homes")
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers" / "none.txt").write_text("no such requirement!\n")
    reason = environments.unavailable("none", lambda line: None)
    assert reason is not None
    assert reason.startswith("ERROR: Invalid requirement")
    assert not (tmp_path / "homes" / "none" / ".installed").exists()


def test_every_environment_has_exact_pins() -> None:
    for home in {framework.home for framework in FRAMEWORKS.values()} - {""}:
        pins = (FOLDER / "peers" / f"{home}.txt").read_text().splitlines()
        assert pins
        assert all(line.count("==") == 1 for line in pins)
