"""One job in a process of its own; what goes wrong there is told in one line, and stops nobody else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import asdict
from typing import Any

from frameworks.candidates import FOLDER, FRAMEWORKS, OURS, Framework
from frameworks.environments import python_of
from frameworks.runner import Job

__all__ = ["rates", "run"]


def run(job: Job, timeout: float) -> dict[str, Any]:
    """Return what the process of a job printed, and the seconds from its start to its end as `wall_s`; or its `error`."""
    framework = FRAMEWORKS[job.framework]
    with tempfile.TemporaryDirectory() as empty:
        environment = _environment(job, framework, empty)
        started = time.time()
        found = _run_module(framework.module, [json.dumps(asdict(job))], environment, timeout, python_of(framework.home))
    if "error" in found:
        return {**asdict(job), **found}
    return {**found, "wall_s": found.pop("finished") - started}


def rates(threads: int) -> dict[str, float]:
    """Return what the machine can do with so many threads, measured in a process of its own; see `frameworks.rates`."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(FOLDER.parent)}
    found = _run_module("frameworks.rates", [str(threads)], environment, 120, python_of(""))
    if "error" in found:
        raise RuntimeError(f"the machine's rates could not be measured: {found['error']}")
    return found


def _run_module(module: str, arguments: list[str], environment: dict[str, str], timeout: float, python: str) -> dict[str, Any]:
    """Return the JSON object in the last line that a module prints, or {"error": its last words}."""
    command = [python, "-m", module, *arguments]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        printed, complaints = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _end(process)
        return {"error": f"not finished after {timeout:.0f} s"}
    except BaseException:  # Ctrl-C: the process is in a session of its own, and would go on
        _end(process)
        raise
    if process.returncode:
        return {"error": _last_words(complaints, process.returncode)}
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def _environment(job: Job, framework: Framework, empty: str) -> dict[str, str]:
    """Return the variables of a process: the same number of threads for all, and no GPU."""
    path = [str(FOLDER.parent)]
    if not framework.home:
        path += filter(None, [os.environ.get("PYTHONPATH")])
    found = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "OMP_NUM_THREADS": str(job.threads),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    if "spinning" in job.variant:
        del found["OMP_WAIT_POLICY"]
    if framework.backend:
        found["KERAS_BACKEND"] = framework.backend
    if job.framework == OURS and job.variant == "first ever":
        found["LAMINAR_CACHE"] = empty  # its kernels have never been compiled
    return found


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a process and all that it has started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _last_words(complaints: str, code: int) -> str:
    lines = [line.strip() for line in complaints.splitlines() if line.strip()]
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return (lines[-1] if lines else f"ended with status {code}")[:300]
