"""The command line, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import laminar
from laminar import cli
from laminar.studies import demo as demo_module
from laminar.studies import digits as r5

runner = CliRunner()


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    part = rng.random((128, 1, 28, 28), dtype=np.float32), np.arange(128) % 10
    monkeypatch.setattr(demo_module, "_PAIRS", 6)
    monkeypatch.setattr(demo_module, "_SHORT", 1)
    for module in (demo_module, r5):
        monkeypatch.setattr(module, "digits", lambda: (part, part))


def test_info_names_versions_device_and_threads() -> None:
    done = runner.invoke(cli.app, ["info"])
    assert done.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in done.output.splitlines())
    assert lines["laminar"] == laminar.__version__
    assert {"torch", "python", "device", "threads", "cpu", "kernels", "precision"} <= set(lines)


@pytest.mark.usefixtures("few_digits")
def test_demo(tmp_path: Path) -> None:
    done = runner.invoke(cli.app, ["demo", "--epochs", "1", "--output", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "curves.png").exists()


@pytest.mark.usefixtures("few_digits")
def test_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "runs.json"
    done = runner.invoke(cli.app, ["study", "digits", "--seeds", "8", "--epochs", "1", "--output", str(file)])
    assert done.exit_code == 0, done.output
    assert {r["variant"] for r in json.loads(file.read_text())["runs"]} == set(r5.VARIANTS)
    assert (tmp_path / "laminar.db").exists()


def test_new_layer(tmp_path: Path) -> None:
    done = runner.invoke(cli.app, ["new-layer", "SoftClip", "--folder", str(tmp_path)])
    assert done.exit_code == 0
    assert done.output.splitlines()[:2] == [str(tmp_path / "soft_clip.py"), str(tmp_path / "test_soft_clip.py")]


def test_check(tmp_path: Path) -> None:
    file = tmp_path / "outcomes.json"
    command = ["check", "laminar.layers:ELU", "--input", "3,5,5", "--args", "'uniform', learnable=True", "--output", str(file)]
    done = runner.invoke(cli.app, [*command, "--check", "contract", "--check", "gradient", "--skip", "other-sizes"])
    assert done.exit_code == 0, done.output
    assert "backward-autograd" in done.output
    outcomes = json.loads(file.read_text())
    assert outcomes["passed"]
    assert {o["group"] for o in outcomes["outcomes"]} == {"contract", "gradient"}


def test_check_of_a_wrong_layer_exits_with_1(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("import torch\nclass Bad(torch.nn.Module):\n    def forward(self, x, y):\n        return x.mul_(y)\n")
    done = runner.invoke(cli.app, ["check", f"{file}:Bad", "--input", "3", "--input", "3", "--check", "input-unchanged"])
    assert done.exit_code == 1
    assert "✗ input-unchanged (behaviour)" in done.output


def test_an_error_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["laminar", "study", "digit"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert (
        capsys.readouterr().err
        == "UnknownNameError: study 'digit' is unknown. Did you mean 'digits'? Known: digits, filters, heads, "
        "initialization, landscapes, mnist, perceptron, series, settings, transfer, tuned.\n"
    )


def test_no_command_shows_the_help() -> None:
    done = runner.invoke(cli.app, [])
    assert "new-layer" in done.output


def test_a_study_draws_its_pictures_and_refuses_what_it_has_not(tmp_path: Path) -> None:
    done = runner.invoke(cli.app, ["study", "landscapes", "--pictures", str(tmp_path / "new")])
    assert done.exit_code == 0, done.output
    names = ["landscape-canyon.png", "landscape-local-minimum.png", "landscape-saddle.png"]
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == names
    assert all(name in done.output for name in names)
    for option, value in (("seeds", "2"), ("epochs", "1")):
        refused = runner.invoke(cli.app, ["study", "landscapes", f"--{option}", value])
        assert str(refused.exception) == (
            f"laminar study landscapes: expected no --{option}, received one: the study has none. Leave out --{option}."
        )
    refused = runner.invoke(cli.app, ["study", "mnist", "--pictures", str(tmp_path)])
    assert str(refused.exception) == (
        "laminar study mnist: expected no --pictures, received one: the study has none. Leave out --pictures."
    )


def test_a_folder_for_the_output_is_made(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "elu.json"
    done = runner.invoke(
        cli.app, ["check", "laminar.layers:ReLU", "--input", "4", "--check", "contract", "--output", str(file)]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(file.read_text())
