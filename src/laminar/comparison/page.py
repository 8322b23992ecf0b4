"""The report of a comparison: one HTML page that holds its pictures, its numbers and its data, and fetches nothing."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laminar.atomic import replacing
from laminar.comparison import explained, figures
from laminar.comparison.protocol import Protocol
from laminar.comparison.runs import Run
from laminar.comparison.tables import DASH, Table, amount, number, seconds_text
from laminar.comparison.units import Units, units_of

if TYPE_CHECKING:
    from laminar.comparison.result import Comparison

__all__ = ["html", "write"]


def write(comparison: Comparison, path: Path) -> Path:
    """Write the report, whole or not at all, and return its path.

    Args:
        comparison: what is reported.
        path: the file to be; its folder is made where there is none.

    Raises:
        OSError: if the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(html(comparison).encode("utf-8", "replace"))
    return path


def html(comparison: Comparison) -> str:
    """Return the report as one HTML page, with no script and no reference to anything outside.

    Every text is escaped: names and errors are shown as they are, whatever they hold. The page forbids itself to fetch
    anything (a content security policy), and follows the reader's light or dark scheme.
    """
    import jinja2

    folder = files("laminar.comparison") / "templates"
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((folder / "report.html.j2").read_text(encoding="utf-8"))
    text = template.render(style=(folder / "report.css").read_text(encoding="utf-8"), **_contents(comparison))
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # what HTML cannot hold, not even escaped


def _contents(comparison: Comparison) -> dict[str, Any]:
    """Return what the template shows, by name."""
    protocol, runs, verdicts = comparison.protocol, comparison.runs, comparison.verdicts
    units = units_of(protocol.metric)
    days = sorted({run.started[:10] for run in runs if run.started})
    return {
        "title": _title(protocol),
        "counted": amount(len(runs), "run"),
        "when": " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "",
        "study": comparison.name,
        "version": version("laminar"),
        "contrasts": protocol.contrasts,
        "measure": explained.measure(protocol, units),
        "declared": explained.declared(protocol, units),
        "verdicts": [
            _Card(v.word, figures.told(v), v.variant, v.baseline, sentence, explained.detail(v, protocol))
            for v, sentence in zip(verdicts, comparison.sentences, strict=True)
        ],
        "notes": comparison.notes,
        "forest": figures.forest(verdicts, protocol),
        "strips": figures.every_run(runs, protocol, unused=any(v.unused for v in verdicts)),
        "failures": _failures(runs),
        "curves": figures.learning_curves(runs, protocol),
        "costs": figures.costs(runs, protocol),
        "statistics": {"table": explained.statistics_table(verdicts, units), "meanings": explained.meanings(protocol)},
        "method": {"paragraphs": explained.method(protocol), "sources": explained.sources(protocol)},
        "repeat": _repeat(comparison),
        "data": _data(comparison, units),
    }


@dataclass(frozen=True)
class _Card:
    """A verdict in words, and its numbers in small print."""

    word: str
    told: str
    variant: str
    baseline: str
    sentence: str
    detail: str


def _failures(runs: Iterable[Run]) -> list[dict[str, str]]:
    """Return runs that failed, those of one variant with one error together."""
    alike: dict[tuple[str, str, str], list[int]] = {}
    for run in runs:
        if run.status != "finished":
            alike.setdefault((run.variant, run.status, run.error or ""), []).append(run.index)
    return [
        {
            "variant": variant,
            "status": status,
            "error": error,
            "counted": amount(len(pairs), "run"),
            "pairs": f"pair{'s' * (len(pairs) > 1)} {', '.join(map(str, sorted(pairs)))}",
        }
        for (variant, status, error), pairs in alike.items()
    ]


def _title(protocol: Protocol) -> str:
    """Return the names, where they make a headline, else their number."""
    names = protocol.variants
    joined = f"{', '.join(names[:-1])} and {names[-1]}, compared by {protocol.metric}"
    return joined if len(joined) <= 70 else f"{len(names)} variants compared by {protocol.metric}"


# -- to repeat it -----------------------------------------------------------------------------------------------------------


def _repeat(comparison: Comparison) -> dict[str, Any]:
    """Return the call, the command, the seeds and the machines."""
    p = comparison.protocol
    first = ", ".join(str(p.seed_of(k)) for k in range(min(3, p.seeds))) + " and so on" * (p.seeds > 3)
    seeds = (
        f'The seed of pair k is laminar.seeding.derive({p.seed}, "run", k), k from 0: {first}. '
        "It stands beside every run in the data below."
    )
    store = f" --store {shlex.quote(comparison.store)}" if comparison.store else ""
    command = f"laminar compare study.py --seeds {p.seeds}{store} --report report.html"
    return {
        "code": _call(comparison),
        "command": command,
        "seeds": seeds,
        "again": comparison.again,
        "machines": _machines(comparison.runs),
    }


def _call(comparison: Comparison) -> str:
    """Return the call of `lm.compare` as Python."""
    p = comparison.protocol
    same = {baseline for _, baseline in p.contrasts}
    others = tuple(name for name in p.variants if name not in same)
    plain = len(same) == 1 and tuple(variant for variant, _ in p.contrasts) == others
    baseline = repr(next(iter(same))) if plain else "[\n" + "".join(f"        {pair!r},\n" for pair in p.contrasts) + "    ]"
    arguments = {
        "metric": repr(p.metric),
        "margin": repr(p.margin),
        "seeds": repr(p.seeds),
        "baseline": baseline,
        "stop": repr(p.stop),
        "seed": repr(p.seed),
        "direction": repr("max" if p.higher_is_better else "min"),
        **({} if p.target is None else {"target": repr(p.target)}),
        "store": repr(comparison.store),
        "name": repr(comparison.name),
        **(p.fit or {}),
    }
    lines = ["lm.compare(", "    {"]
    lines += [f"        {name!r}: {_built(p.own, name)}," for name in p.variants]
    lines += ["    },", "    train,", "    test,", *(f"    {name}={text}," for name, text in arguments.items()), ")"]
    return "\n".join(lines)


def _built(own: Mapping[str, Mapping[str, str]] | None, name: str) -> str:
    """Return the function that nobody can write down, with the arguments of fit beside it that a variant has."""
    arguments = (own or {}).get(name)
    return f"(..., dict({', '.join(f'{key}={text}' for key, text in arguments.items())}))" if arguments else "..."


def _machines(runs: Iterable[Run]) -> Table:
    """Return on what the runs ran, and how many on each."""
    shown = {"device": "Device", "threads": "Threads", "host": "Host", "platform": "System"}
    versions = {"laminar": "Laminar", "torch": "PyTorch", "python": "Python"}
    columns = shown | versions
    counts = Counter(tuple(run.environment.get(key, DASH) for key in columns) for run in runs)
    rows = [[*machine, str(count)] for machine, count in counts.most_common()]
    words = [place for place, key in enumerate(columns) if key != "threads"]
    return Table("table-machines", "Where it ran", [*columns.values(), "Runs"], rows, words=words)


# -- data -------------------------------------------------------------------------------------------------------------------


def _data(comparison: Comparison, units: Units) -> dict[str, Any]:
    """Return every run as a table, and everything as links that hold what they lead to."""
    rows = _csv(comparison.runs).encode("utf-8", "replace")
    everything = json.dumps(comparison.to_dict(), allow_nan=False, ensure_ascii=True).encode("ascii")
    return {
        "name": re.sub(r"[^\w.-]+", "-", comparison.name).strip("-.")[:80] or "comparison",
        "csv": _link("text/csv", rows),
        "csv_size": _size(rows),
        "json": _link("application/json", everything),
        "json_size": _size(everything),
        "summary": f"{amount(len(comparison.runs), 'run')}, one by one",
        "table": _all_runs(comparison, units),
    }


def _csv(runs: Iterable[Run]) -> str:
    """Return a line for each run."""
    rows = [run.to_row() for run in runs]
    columns = dict.fromkeys(key for row in rows for key in row)
    file = io.StringIO()
    writer = csv.DictWriter(file, list(columns), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _link(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _size(content: bytes) -> str:
    return f"{number(len(content) / 1000, 3)} kB"


def _all_runs(comparison: Comparison, units: Units) -> Table:
    metric = comparison.protocol.metric
    rows = [
        [
            run.variant,
            str(run.index),
            run.status,
            units.value(run.value),
            seconds_text(run.seconds),
            str(len(run.elapsed)),
            str(run.seed),
        ]
        for run in comparison.runs
    ]
    head = ["Variant", "Pair", "Status", metric, "Training time", "Epochs", "Seed"]
    return Table("table-runs", "Every run, in the order of the pairs", head, rows, words=[2])
