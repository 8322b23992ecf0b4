"""The table that `check_layer` returns and prints."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from laminar.check.outcome import Outcome, Status
from laminar.check.words import shapes_text
from laminar.errors import CheckError
from laminar.names import unknown_name
from laminar.shapes import Shape

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["CheckReport"]

_IN_TABLE = {
    Status.PASS: ("pass", "green"),
    Status.FAIL: ("fail", "bold red"),
    Status.NOTE: ("note", "yellow"),
    Status.NOT_APPLICABLE: ("n/a", "dim"),
}
"""The word and the style of each status: the table has room for short ones only."""


@dataclass(frozen=True)
class CheckReport:
    """What every check said of a layer. It is true where none failed; print it, or index it with a check's name.

    Attributes:
        layer: what was checked: class and settings.
        given: the shapes of one observation, as given.
        shapes: the shapes that were used.
        outcomes: what each check said, in the order of the table.
        seconds: how long all took.

    >>> from laminar import layers as L
    >>> from laminar.check.run import check_layer
    >>> report = check_layer(L.ReLU(), (3, 5, 5), checks=["nan-in", "second-derivative"], show=False)
    >>> report.passed, report["nan-in"].status.value
    (True, 'pass')
    """

    layer: str
    given: tuple[Shape, ...]
    shapes: tuple[Shape, ...]
    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def failures(self) -> list[Outcome]:
        """The outcomes of the checks that failed."""
        return [o for o in self.outcomes if o.status is Status.FAIL]

    def __bool__(self) -> bool:
        return self.passed

    def __getitem__(self, check: str) -> Outcome:
        """Return what one check said.

        Raises:
            UnknownNameError: if it is not in the table.
        """
        by_name = {o.check: o for o in self.outcomes}
        if check not in by_name:
            raise unknown_name("check", check, by_name)
        return by_name[check]

    def raise_for_failures(self) -> None:
        """Raise what the failures say, where there are any.

        Raises:
            CheckError: with the layer, and each failure in full.
        """
        if self.failures:
            raise CheckError("\n".join([f"{self.title}: {self.verdict}", *map(described, self.failures)]))

    def to_dict(self) -> dict[str, Any]:
        """Return everything in plain types, ready for JSON."""
        outcomes = [{**asdict(o), "status": o.status.value} for o in self.outcomes]
        return {**asdict(self), "outcomes": outcomes, "passed": self.passed}

    @property
    def title(self) -> str:
        """What was checked, on which shapes."""
        sizes = shapes_text(self.given)
        if self.shapes == self.given:
            return f"{self.layer} on {sizes}"
        return f"{self.layer} on {sizes}, checked on the smaller {shapes_text(self.shapes)}"

    @property
    def verdict(self) -> str:
        """The counts, in words."""
        counts = Counter(o.status for o in self.outcomes)
        parts = [
            (Status.PASS, "passed"),
            (Status.FAIL, "failed"),
            (Status.NOTE, "noted"),
            (Status.NOT_APPLICABLE, "not applicable"),
        ]
        return ", ".join(f"{counts[s]} {word}" for s, word in parts if counts[s]) or "nothing was checked"

    def show(self, console: Console | None = None) -> None:
        """Print the table, then each failure in full, to `console` or the standard output."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console = console or Console()
        table = Table(title=Text(self.title), title_justify="left", box=None, pad_edge=False, show_edge=False)
        table.add_column("check", no_wrap=True)
        table.add_column("result", no_wrap=True)
        table.add_column("what was seen", min_width=20)
        for group, outcomes in itertools.groupby(self.outcomes, key=lambda o: o.group):
            table.add_row(Text(group, style="bold"), "", "")
            for o in outcomes:
                word, style = _IN_TABLE[o.status]
                summary = "see below" if o.status is Status.FAIL else o.summary
                table.add_row(
                    Text(f"  {o.check}"), Text(word, style=style), Text(summary, style="dim" if style == "dim" else "")
                )
        console.print(table)
        for o in self.failures:
            console.print(Text(f"\n{_heading(o)}", style="bold"))
            lines = Table.grid(padding=(0, 2, 0, 0))
            lines.add_column(no_wrap=True)
            lines.add_column(overflow="fold")
            for name, text in _parts(o):
                lines.add_row(Text(f"  {name}"), Text(text))
            console.print(lines)
        console.print(Text(f"\n{self.verdict}; {self.seconds:.1f} s", style="bold"))

    def __str__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        self.show(Console(file=text, width=120, color_system=None))
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def __repr__(self) -> str:
        """Return one line: a shell shows it after the table itself was printed."""
        return f"<CheckReport: {self.layer}: {self.verdict}>"


def described(outcome: Outcome) -> str:
    """Return a failure in full: which check, then expected, found, cause and fix, a line each."""
    return "\n".join([f"\n{_heading(outcome)}", *(f"  {name:<9} {text}" for name, text in _parts(outcome))])


def _heading(outcome: Outcome) -> str:
    return f"✗ {outcome.check} ({outcome.group})"


def _parts(outcome: Outcome) -> list[tuple[str, str]]:
    parts = [("expected", outcome.expected), ("found", outcome.found), ("cause", outcome.cause), ("fix", outcome.fix)]
    return [(name, text) for name, text in parts if text]
