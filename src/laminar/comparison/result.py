"""What a comparison has found: verdicts in words, the runs behind them, and ways out to other tools."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laminar.comparison.protocol import Contrast, Protocol
from laminar.comparison.runs import Run, values_by_variant
from laminar.comparison.schedule import pending
from laminar.comparison.tables import amount
from laminar.comparison.verdicts import Verdict
from laminar.comparison.words import sentence
from laminar.errors import ArgumentError, MissingPackageError, complaint
from laminar.names import unknown_name

__all__ = ["Comparison", "data_frame"]

_COLUMNS = ("variant", "runs", "mean", "sd", "failed", "seconds", "parameters")


@dataclass(frozen=True, repr=False)
class Comparison:
    """The verdicts of a comparison, and everything they were made from.

    Attributes:
        protocol: what was declared before the first run.
        runs: every run there is, by index and then in the order of the variants.
        verdicts: one for each contrast, in order.
        name: of the study in the store.
        store: where the runs are kept, without a password; None where they were in memory alone.
        fingerprint: of variants, data and settings; runs belong together where it is equal.
        notes: what a reader has to know beside the numbers, in sentences.

    `str(result)` says all of it in words; in a notebook it shows itself as Markdown.
    """

    protocol: Protocol
    runs: tuple[Run, ...]
    verdicts: tuple[Verdict, ...]
    name: str
    store: str | None
    fingerprint: str
    notes: tuple[str, ...] = ()

    def __getitem__(self, variant: str | Contrast) -> Verdict:
        """Return the verdict on a variant, or on a pair (variant, baseline) where the variant has several.

        Raises:
            UnknownNameError: if there is no verdict on it.
            ArgumentError: if there are several.
        """
        found = [v for v in self.verdicts if variant in (v.variant, (v.variant, v.baseline))]
        if not found:
            pairs = isinstance(variant, tuple)
            known = [f"({v.variant!r}, {v.baseline!r})" if pairs else v.variant for v in self.verdicts]
            raise unknown_name("Comparison: variant with a verdict", variant, known)
        if len(found) > 1:
            fix = f"Name the pair: result[{found[0].variant!r}, {found[0].baseline!r}]"
            where, received = f"Comparison[{variant!r}]", f"{len(found)} verdicts on it"
            raise ArgumentError(complaint(where, expected="one verdict", received=received, fix=fix))
        return found[0]

    # -- words ----------------------------------------------------------------------------------------------------------

    @property
    def sentences(self) -> list[str]:
        """The verdicts in words, in order."""
        return [sentence(verdict, self.protocol) for verdict in self.verdicts]

    @property
    def missing(self) -> list[tuple[str, int]]:
        """The runs (variant, index) that verdicts still need; none when the comparison is over."""
        values = values_by_variant(self.runs, higher_is_better=self.protocol.higher_is_better)
        return pending(values, self.protocol)

    @property
    def again(self) -> str:
        """What was declared, and where it ran: what is needed to repeat it, a line each."""
        p = self.protocol
        better = "higher" if p.higher_is_better else "lower"
        lines = [
            f"metric {p.metric} on the test data, {better} is better; differences below {p.margin:g} do not matter",
            f"at most {p.seeds} pairs, stop={p.stop!r}, seed={p.seed}, level {p.alpha:g} over all verdicts together",
            "contrasts: " + "; ".join(f"{variant!r} against {baseline!r}" for variant, baseline in p.contrasts),
        ]
        if p.target is not None:
            lines.append(f"timed until {p.metric} reaches {p.target:g}")
        lines += [f"fit({_named(p.fit)})"] if p.fit else []
        lines += [f"{name!r} has {_named(own)} of its own" for name, own in (p.own or {}).items()]
        lines.append(f"study {self.name!r}, fingerprint {self.fingerprint}, {self._kept}")
        machines = {_machine(run) for run in self.runs if run.environment}
        return "\n".join([*lines, *sorted(machines), *self.notes])

    @property
    def _kept(self) -> str:
        return "kept in memory" if self.store is None else f"kept in {self.store}"

    @property
    def _ending(self) -> list[str]:
        """What is still open, and where the runs are."""
        lines = []
        missing = self.missing
        if missing:
            again = "" if self.store is None else " Call compare again with the same arguments to go on."
            lines.append(f"Not over: {len(missing)} of the runs are missing.{again}")
        undecided = [f"{v.variant!r} against {v.baseline!r}" for v in self.verdicts if v.word in ("undecided", "invalid")]
        if undecided and not missing:
            lines.append(f"Not decided by {self.protocol.seeds} pairs: {'; '.join(undecided)}.")
        lines += self._reasons
        return [*lines, f"{amount(len(self.runs), 'run')} of study {self.name!r}, {self._kept}.", *self.notes]

    @property
    def _reasons(self) -> list[str]:
        """What ended the runs that did not finish, a line for each variant: the most frequent reason, and how many others."""
        lines = []
        for name in self.protocol.variants:
            failed = [run for run in self.runs if run.variant == name and run.status != "finished"]
            if failed:
                reasons = Counter(run.reason for run in failed)
                reason, others = reasons.most_common(1)[0][0], len(reasons) - 1
                more = f"; and {amount(others, 'other reason')}" if others else ""
                lines.append(f"{amount(len(failed), 'run')} of {name!r} did not finish: {reason}{more}.")
        return lines

    def _rows(self) -> list[tuple[str, ...]]:
        """Return a row of text for each variant: how its runs went."""
        rows: list[tuple[str, ...]] = []
        for name in self.protocol.variants:
            runs = [run for run in self.runs if run.variant == name]
            values = [run.value for run in runs if run.value is not None]
            finished = [run for run in runs if run.status == "finished"]
            rows.append(
                (
                    name,
                    str(len(runs)),
                    f"{statistics.fmean(values):.4f}" if values else "",
                    f"{statistics.stdev(values):.4f}" if len(values) > 1 else "",
                    str(len(runs) - len(finished)),
                    f"{statistics.median(run.seconds for run in finished):.1f}" if finished else "",
                    f"{finished[0].parameters:,}" if finished else "",
                )
            )
        return rows

    def __str__(self) -> str:
        """Return the verdicts in words, a line for each variant, what is open, and where the runs are."""
        rows = [(self.protocol.metric, *_COLUMNS[1:]), *self._rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        ]
        return "\n".join([*self.sentences, "", *(line.rstrip() for line in lines), "", *self._ending])

    def __repr__(self) -> str:
        """Return what there is, in one line."""
        found = "; ".join(f"{v.variant!r} {v.word} against {v.baseline!r}" for v in self.verdicts)
        return f"Comparison({self.protocol.metric}, {amount(len(self.runs), 'run')}: {found})"

    def to_markdown(self) -> str:
        """Return the verdicts in words, a table of the variants, and what was declared, as Markdown."""
        return "\n".join(
            [
                *(f"- {_literal(text)}" for text in self.sentences),
                "",
                f"| {' | '.join(_COLUMNS)} |",
                f"|---|{'---:|' * (len(_COLUMNS) - 1)}",
                *(f"| {' | '.join(map(_literal, row))} |" for row in self._rows()),
                "",
                *(f"{_literal(line)}\n" for line in self._ending),
                "Declared before the first run:\n",
                *(f"- {_literal(line)}" for line in self.again.splitlines()),
                "",
            ]
        )

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    # -- ways out -------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON knows."""
        return {
            "name": self.name,
            "store": self.store,
            "fingerprint": self.fingerprint,
            "protocol": self.protocol.to_dict(),
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
            "runs": [run.to_dict() for run in self.runs],
            "notes": list(self.notes),
        }

    def to_pandas(self) -> Any:
        """Return a data frame with one row for each run: what it was, its figures on the test data, what it cost.

        Figures of the test data are columns "test_loss", ...; the curves of a run are in `result.runs`.

        Raises:
            MissingPackageError: if pandas is not installed: `pip install "laminar[pandas]"`.
        """
        return data_frame()([run.to_row() for run in self.runs])

    def verdicts_frame(self) -> Any:
        """Return a data frame with one row for each verdict.

        Raises:
            MissingPackageError: if pandas is not installed: `pip install "laminar[pandas]"`.
        """
        return data_frame()([verdict.to_dict() for verdict in self.verdicts])

    def report(self, path: str | Path) -> Path:
        """Write the report, one HTML page that needs no other file and no network, and return its path.

        Raises:
            OSError: if the file cannot be written.
        """
        from laminar.comparison import page

        return page.write(self, Path(path))


def _literal(text: str) -> str:
    r"""Return text that Markdown shows as it stands: names of variants may hold its signs.

    >>> print(_literal("a_b|<c> _d_"))
    a_b\|\<c\> \_d\_
    """
    return re.sub(r"([\\`*<>|\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", text)


def _named(arguments: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={text}" for name, text in arguments.items())


def data_frame() -> Callable[..., Any]:
    """Return the class of pandas' data frames.

    Raises:
        MissingPackageError: if pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        fix = 'Type: pip install "laminar[pandas]"'
        raise MissingPackageError(
            complaint("to_pandas", expected="the package pandas", received="none installed", fix=fix)
        ) from error
    frame: Callable[..., Any] = pandas.DataFrame
    return frame


def _machine(run: Run) -> str:
    e = run.environment
    return (
        f"ran on {e.get('device')}, {e.get('threads')} threads, {e.get('platform')}, python {e.get('python')}, "
        f"torch {e.get('torch')}, laminar {e.get('laminar')}"
    )
