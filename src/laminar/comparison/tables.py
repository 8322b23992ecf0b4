"""A table of the report, and numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from laminar.comparison.drawing.scales import MINUS

__all__ = ["DASH", "Table", "amount", "bytes_text", "number", "seconds_text"]

DASH = "\N{EN DASH}"
"""What stands where there is no number."""


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        id: of its caption, unique on the page.
        caption: what it shows.
        head: a name for each column.
        rows: the first cell of each is the row's name.
        words: columns, beside the first, that hold words and not numbers.
    """

    id: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = ()

    @property
    def numbers(self) -> list[int]:
        """The columns of numbers."""
        return [column for column in range(1, len(self.head)) if column not in self.words]


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with so many significant digits; a dash for None and nan.

    >>> number(0.98765432), number(-1234.5), number(float("inf")), number(None), number(0.0)
    ('0.9877', '\u22121,234', '\u221e', '\u2013', '0')
    """
    if value is None or math.isnan(value):
        return DASH
    if math.isinf(value):
        return "\N{INFINITY}" if value > 0 else f"{MINUS}\N{INFINITY}"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    text = f"{value:,.{max(0, digits - 1 - size)}f}" if -5 <= size < 12 else f"{value:.{digits - 1}e}"
    return text.replace("-", MINUS)


def amount(count: int, thing: str) -> str:
    """Return a count and what is counted.

    >>> amount(1, "run"), amount(1200, "run")
    ('1 run', '1,200 runs')
    """
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def seconds_text(value: float | None) -> str:
    """Return a time.

    >>> seconds_text(0.0123), seconds_text(52.4), seconds_text(754.0), seconds_text(8000.0), seconds_text(None)
    ('12.3 ms', '52.4 s', '12 min 34 s', '2 h 13 min', '\u2013')
    """
    if value is None:
        return DASH
    if value < 1:
        return f"{number(1000 * value, 3)} ms"
    if value < 120:
        return f"{number(value, 3)} s"
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 120 else f"{minutes} min {seconds} s"


def bytes_text(value: int | None) -> str:
    """Return an amount of memory.

    >>> bytes_text(512), bytes_text(12_345_678), bytes_text(None)
    ('512 B', '12.3 MB', '\u2013')
    """
    if value is None:
        return DASH
    units = ["B", "kB", "MB", "GB", "TB"]
    power = min(len(units) - 1, max(0, int(math.log10(max(value, 1)) // 3)))
    return f"{number(value / 1000**power, 3)} {units[power]}"
