"""Who is measured in which round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from frameworks import session
from frameworks.candidates import FRAMEWORKS
from frameworks.runner import Job
from frameworks.session import Session

MS = {"laminar": 5.0, "lightning": 12.0, "skorch": 16.0, "keras-tensorflow": 40.0, "keras-jax": 11.0, "keras-torch": 14.0}
BY_HAND = {"loader": 13.0, "index": 10.0, "index+channels_last": 20.0, "index+compiled": 30.0}


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Return the jobs that a session asks for; the processes are not started, their times are those above."""
    asked: list[Job] = []

    def run(job: Job, timeout: float) -> dict[str, Any]:
        asked.append(job)
        own = job.variant.removesuffix("+spinning")
        ms = BY_HAND[own] - (own != job.variant) if job.framework == "torch" else MS[job.framework]
        ms *= 1.0 if job.precision == "float32" else 4.0
        about = {"network": job.network, "framework": job.framework, "variant": job.variant, "precision": job.precision}
        return {**about, "kind": job.kind, "round": job.round, "ms": [ms], "wall_s": 1.0, "images_per_s": [1.0]}

    monkeypatch.setattr(session, "run", run)
    monkeypatch.setattr(session, "unavailable", lambda home, report: "no wheel for this machine" if home == "jax" else None)
    return asked


def _steps(jobs: list[Job], number: int) -> list[tuple[str, str, str]]:
    return [(j.framework, j.variant, j.precision) for j in jobs if j.round == number and j.kind == "train"]


def test_later_rounds_go_through_those_that_are_close_backwards(jobs: list[Job], tmp_path: Path) -> None:
    found = Session(["mlp"], list(FRAMEWORKS), rounds=2, report=lambda line: None)
    found.measure(tmp_path)
    assert found.missing == {"keras-jax": "no wheel for this machine"}
    first = _steps(jobs, 0)
    assert first[:4] == [("laminar", "", "float32"), *(("torch", v, "float32") for v in ("loader", "index", "index+compiled"))]
    twins = [("laminar", "spinning"), ("torch", "loader+spinning"), ("torch", "index+spinning")]  # compiled is far behind
    assert [(framework, variant) for framework, variant, _ in first if "spinning" in variant] == twins
    assert ("laminar", "", "auto") in first
    assert "skorch" not in {framework for framework, _, precision in first if precision == "bfloat16"}
    # 9 ms is the best peer's: 13.5 ms and less is close
    assert _steps(jobs, 1) == [
        ("torch", "index+spinning", "float32"),
        ("torch", "loader+spinning", "float32"),
        ("laminar", "spinning", "float32"),
        ("lightning", "", "float32"),
        ("torch", "index", "float32"),
        ("torch", "loader", "float32"),
        ("laminar", "", "float32"),
    ]


def test_cold_starts_are_repeated_on_digits_alone(jobs: list[Job], tmp_path: Path) -> None:
    Session(["digits", "mlp"], list(FRAMEWORKS), rounds=2, report=lambda line: None).measure(tmp_path)
    cold = [(job.network, job.round, job.data) for job in jobs if job.kind == "epoch" and job.framework == "lightning"]
    assert cold == [("digits", 0, str(tmp_path)), ("mlp", 0, ""), ("digits", 1, str(tmp_path))]
    assert len({job.seed for job in jobs if job.round == 0 and job.network == "digits" and job.kind == "train"}) > 5
