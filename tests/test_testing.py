"""`laminar.testing.assert_layer`, as it stands in somebody's test suite."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar.errors import CheckError
from laminar.testing import assert_layer


class Forgets(lm.Layer):
    """Learns a factor that it keeps where no optimizer finds it."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.factors = [self.learnable(shape[0], init="ones")]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.per_channel(self.factors[0], x)


def test_a_right_layer_gives_its_table() -> None:
    report = assert_layer(nn.Linear(4, 3), (4,), skip=["cost", "compile"])
    assert report.passed
    assert report.failures == []


def test_a_wrong_layer_is_an_assertion_error_that_says_what_is_wrong() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_layer(Forgets(), (3, 4, 4), checks=["learnables-registered"])
    assert isinstance(caught.value, CheckError)
    assert str(caught.value).startswith("Forgets() on (3, 4, 4): 1 failed\n\n✗ learnables-registered (contract)\n")


def test_nothing_is_printed_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert_layer(nn.ReLU(), (3,), checks=["builds"])
    assert capsys.readouterr().out == ""
    assert_layer(nn.ReLU(), (3,), checks=["builds"], show=True)
    assert "1 passed" in capsys.readouterr().out


def test_the_failing_test_shows_its_own_line(tmp_path: Path) -> None:
    """Not the inside of the checker."""
    (tmp_path / "test_mine.py").write_text(
        "import torch\nfrom laminar.testing import assert_layer\n\n"
        "class Bad(torch.nn.Module):\n    def forward(self, x):\n        return x.mul_(2)\n\n"
        "def test_mine():\n    assert_layer(Bad(), (3,), checks=['input-unchanged'])\n"
    )
    source = Path(__file__).parents[1] / "src"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert ">       assert_layer(Bad(), (3,), checks=['input-unchanged'])" in done.stdout
    assert "raise_for_failures" not in done.stdout
    assert "✗ input-unchanged (behaviour)" in done.stdout


def test_the_user_s_random_numbers_are_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert_layer(nn.Dropout(0.5), (3,), checks=["behaviour"])
    assert torch.equal(torch.get_rng_state(), before)
