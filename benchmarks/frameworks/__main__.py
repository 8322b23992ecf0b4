"""Measure Laminar against its peers, and write the tables.

    make bench            or: PYTHONPATH=benchmarks .venv/bin/python -m frameworks [options]

A complete run writes its figures to benchmarks/frameworks/results.json and its tables into docs/benchmarks.md; one of a part
(--quick, --only, --networks) prints them, and writes what --output and --docs name. `--from results.json` writes the tables
anew from figures that are there, with the reasons of benchmarks/frameworks/reasons.json. Nothing is written before all is
measured.
"""

from __future__ import annotations

import argparse
import datetime
import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from frameworks import floor
from frameworks.candidates import FOLDER, FRAMEWORKS, OURS, ROOT
from frameworks.document import rewritten
from frameworks.machine import confine, describe
from frameworks.networks import NETWORKS
from frameworks.processes import rates
from frameworks.session import Session, cold_start_data
from frameworks.table import report
from laminar.atomic import replacing


def main() -> None:
    """Do what the command line says."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the process that runs is ended, too
    try:
        results = _from_file(options.source) if options.source else _measure(options)
        if options.update:
            results = _joined(_from_file(options.update), results)
    except KeyboardInterrupt:
        kept = options.output and options.output.with_suffix(".partial.json")
        rest = f"what was measured before is in {kept}" if kept and kept.exists() else "nothing has been written"
        sys.exit(f"Stopped by Ctrl-C; {rest}.")
    text = report(results, json.loads((FOLDER / "reasons.json").read_text(encoding="utf-8")))
    print(f"\n{text}")
    if options.output:
        _write(options.output, json.dumps(results, indent=1) + "\n")
    if options.docs:
        _write(options.docs, rewritten(options.docs.read_text(encoding="utf-8"), text))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="frameworks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a miniature of seconds: ours and the loop by hand, two networks")
    parser.add_argument("--only", nargs="+", choices=list(FRAMEWORKS), metavar="FRAMEWORK", help=", ".join(FRAMEWORKS))
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=2, help="25 minutes on two quiet cores; each further one about 5")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.5, help="that the steps of a process are timed for")
    parser.add_argument("--timeout", type=float, default=240.0, help="seconds that a process may take")
    parser.add_argument("--output", type=Path, help="the raw figures, as JSON")
    parser.add_argument("--update", type=Path, help="figures to keep of all networks that are not measured now")
    parser.add_argument("--docs", type=Path, help="the page whose marked part is written")
    parser.add_argument("--from", dest="source", type=Path, help="a file of raw figures: measure nothing, write the tables")
    options = parser.parse_args()
    if min(options.rounds, options.threads) < 1:
        parser.error("--rounds and --threads are at least 1")
    complete = not (options.quick or options.only or options.networks or options.source)
    if complete:
        options.output = options.output or FOLDER / "results.json"
    if complete or options.source:
        options.docs = options.docs or ROOT / "docs" / "benchmarks.md"
    return options


def _from_file(source: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return results


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    started = time.monotonic()
    confine(options.threads)
    names = options.networks or (["digits", "mlp"] if options.quick else list(NETWORKS))
    session = Session(
        names,
        options.only or ([OURS, "torch"] if options.quick else list(FRAMEWORKS)),
        1 if options.quick else options.rounds,
        options.threads,
        0.1 if options.quick else options.seconds,
        options.timeout,
        options.quick,
    )
    measured, partial = rates(options.threads), options.output and options.output.with_suffix(".partial.json")

    def results() -> dict[str, Any]:
        about = {name: {"flops": floor.flops(NETWORKS[name]), "bytes": floor.bytes_moved(NETWORKS[name])} for name in names}
        return {
            "date": datetime.date.today().isoformat(),
            "machine": describe(),
            "threads": options.threads,
            "rates": measured,
            "minutes": (time.monotonic() - started) / 60,
            "networks": about,
            "missing": session.missing,
            "runs": session.runs,
        }

    def keep() -> None:
        if partial:
            _write(partial, json.dumps(results(), indent=1) + "\n")

    session.keep = keep
    with tempfile.TemporaryDirectory() as folder:
        if "digits" in names and not options.quick:
            cold_start_data(Path(folder))
        session.measure(Path(folder))
    if partial:
        partial.unlink(missing_ok=True)
    return results()


def _joined(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return old figures with those of the networks that have been measured again in the place of theirs.

    The rates of a machine are what it has been seen to do at best: a floor must not rise because others were at work.
    """
    others = [run for run in old["runs"] if run["network"] not in new["networks"]]
    minutes = old["minutes"] + new["minutes"]
    same = all(old[key] == new[key] for key in ("machine", "threads"))
    rates = {name: max(rate, old["rates"].get(name, rate)) for name, rate in new["rates"].items()} if same else new["rates"]
    about = {"networks": {**old["networks"], **new["networks"]}, "runs": [*others, *new["runs"]]}
    return {**new, **about, "minutes": minutes, "rates": rates}


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())


if __name__ == "__main__":
    main()
