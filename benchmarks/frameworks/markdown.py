"""Cells and tables of Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from frameworks.figures import Measured, Ratio

__all__ = ["cell", "number", "quotient", "table"]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; nothing where it has no rows."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else ""


def number(value: float) -> str:
    """Return three digits, and no exponent.

    >>> number(0.01234), number(12.34), number(1234.5)
    ('0.0123', '12.3', '1,234')
    """
    if value >= 1000:
        return f"{value:,.0f}"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3 if value >= 0.1 else 4
    return f"{value:.{digits}f}"


def cell(measured: Measured | None, *, precision: bool = False) -> str:
    """Return a candidate's median, lowest and highest, its variant and, if asked for, its precision.

    >>> cell(Measured("torch", "index+channels_last", "float32", {0: 2.0}, 1.5, 2.25))
    '2.00 (1.50 to 2.25); channels last'
    """
    if measured is None:
        return "—"
    variant = [part.replace("_", " ") for part in measured.variant.split("+") if part not in ("", "index")]
    words = [*variant, measured.precision] if precision else variant
    spread = f" ({number(measured.low)} to {number(measured.high)})" if measured.low != measured.high else ""
    return f"{number(measured.middle)}{spread}{'; ' if words else ''}{', '.join(words)}"


def quotient(ratio: Ratio | None, goal: float | None = None) -> str:
    """Return a ratio, and whether it is below its goal.

    >>> quotient(Ratio(1.05, 1.0, 1.1), 1.2)
    '**1.05** (1.00 to 1.10), below'
    """
    if ratio is None:
        return "—"
    spread = f" ({ratio.low:.2f} to {ratio.high:.2f})" if ratio.low != ratio.high else ""
    return f"**{ratio.middle:.2f}**{spread}{', below' if goal is not None and ratio.middle < goal else ''}"
