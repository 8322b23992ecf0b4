"""Freed memory is reused: page faults are counted in fresh interpreters, because the setting is the process's own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import resource, torch
from laminar.fit.memory import reuse_freed_memory
print(reuse_freed_memory())
for turn in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 << 20)  # 64 MiB: more than glibc ever keeps by itself
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


def run(**environment: str) -> tuple[str, int]:
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "PYTHONPATH": source, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    said, faults = done.stdout.split()
    return said, int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="concerns glibc's allocator")
def test_a_block_that_was_freed_is_taken_again_without_page_faults() -> None:
    said, faults = run()
    assert said == "True"
    assert faults < 10


def test_it_can_be_left_alone() -> None:
    said, _ = run(LAMINAR_REUSE_MEMORY="0")
    assert said == "False"
