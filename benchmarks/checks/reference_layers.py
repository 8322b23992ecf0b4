"""How long `check_layer` takes for layers with a derivative by hand: in a fresh process, and once more in the same one.

    .venv/bin/python benchmarks/checks/reference_layers.py [--repeats 5] [--slowest] [--skip compile]

The first time is that of a user at his prompt: what torch loads and compiles when it is first asked counts, the import of torch
and Laminar does not. Beside it stands the time that the processor spent on it, in all threads: where that is less, the machine
was busy with something else. The layers are those of tests/check/reference.py. `--slowest` lists the checks that take longest.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2] / "tests"
THREADS = 2
LIMIT = 3.0  # seconds that the first time may take

CODE = f"""
import json, sys, time
sys.path.insert(0, {str(TESTS)!r})
import torch
torch.set_num_threads({THREADS})
import laminar as lm
from check.reference import REFERENCES
make, shape = REFERENCES[sys.argv[1]]
times, spent = [], []
for _ in range(2):
    start, used = time.perf_counter(), time.process_time()
    report = lm.check_layer(make, shape, skip=sys.argv[2:], show=False)
    times.append(time.perf_counter() - start)
    spent.append(time.process_time() - used)
    report.raise_for_failures()
    if len(times) == 1:
        slowest = sorted(((o.seconds, o.check) for o in report.outcomes), reverse=True)[:5]
passed = sum(o.status.value == "pass" for o in report.outcomes)
print(json.dumps([times, spent, passed, len(report.outcomes), slowest]))
"""

Run = tuple[list[float], list[float], int, int, list[tuple[float, str]]]
"""Seconds of the two calls, processor seconds of the two, checks passed and in all, and the slowest of the first."""


def once(name: str, skip: list[str]) -> Run:
    """Check the layer `name` in a fresh interpreter, less the checks in `skip`."""
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}  # as the Makefile has it: idle threads sleep
    done = subprocess.run(
        [sys.executable, "-c", CODE, name, *skip], capture_output=True, text=True, check=True, env=environment
    )
    result: Run = json.loads(done.stdout)
    return result


def names() -> list[str]:
    """Return the names of the reference layers."""
    sys.path.insert(0, str(TESTS))
    from check.reference import REFERENCES

    return list(REFERENCES)


def main() -> None:
    """Measure every reference layer and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--slowest", action="store_true", help="list the checks that take longest")
    parser.add_argument("--skip", nargs="*", default=[], help="checks to leave out")
    given = parser.parse_args()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"{datetime.date.today()}, {machine}, {THREADS} threads, medians of {given.repeats} fresh interpreters.\n")
    print("| layer | checks passed | first time, s (lowest to highest) | processor, s | again, s |\n|---|---|---|---|---|")
    notes = []
    for name in names():
        runs = [once(name, given.skip) for _ in range(given.repeats)]
        firsts, seconds = zip(*(run[0] for run in runs), strict=True)
        processor = statistics.median(run[1][0] for run in runs)
        *_, passed, asked, slowest = runs[-1]
        first = statistics.median(firsts)
        print(
            f"| {name} | {passed} of {asked} | **{first:.2f}** ({min(firsts):.2f} to {max(firsts):.2f}) "
            f"| {processor:.2f} | {statistics.median(seconds):.2f} |"
        )
        if given.slowest:
            notes.append(f"{name}: {', '.join(f'{check} {took:.2f} s' for took, check in slowest)}")
        if first > LIMIT:
            notes.append(f"{name}: over the limit of {LIMIT:g} s")
    print("\n".join(["", *notes]) if notes else "", end="\n" if notes else "")


if __name__ == "__main__":
    main()
