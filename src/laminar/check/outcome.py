"""What a check says."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Finding", "Outcome", "Status", "failed", "not_applicable", "noted", "passed"]


class Status(enum.Enum):
    """How a check ended."""

    PASS = "pass"
    FAIL = "fail"
    NOTE = "note"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Finding:
    """What a check found out.

    Attributes:
        status: how it ended.
        summary: one line for the table: the figures seen, or the reason why the check does not apply.
        expected: of a failure: what would have been right.
        found: of a failure: what was there instead, in numbers.
        cause: of a failure: why, only where that was verified; else "".
        fix: of a failure: what to change.
    """

    status: Status
    summary: str
    expected: str = ""
    found: str = ""
    cause: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Outcome(Finding):
    """What a check found out, and which check it was.

    Attributes:
        check: its name.
        group: the group it belongs to.
        seconds: how long it took.
    """

    check: str = ""
    group: str = ""
    seconds: float = 0.0


def passed(summary: str) -> Finding:
    """Return the finding that all is well, with the figures that say so."""
    return Finding(Status.PASS, summary)


def noted(summary: str) -> Finding:
    """Return something worth knowing that is no failure."""
    return Finding(Status.NOTE, summary)


def not_applicable(reason: str) -> Finding:
    """Return that the question does not arise here, and why."""
    return Finding(Status.NOT_APPLICABLE, reason)


def failed(*, expected: str, found: str, fix: str, cause: str = "") -> Finding:
    """Return a failure.

    Args:
        expected: what would have been right.
        found: what was there instead, in numbers.
        fix: what to change, as a sentence without the final stop.
        cause: why; only what the check has verified.

    >>> failed(expected="(2, 3)", found="(2, 4)", fix="Sum over the last axis").summary
    'expected (2, 3), found (2, 4)'
    """
    return Finding(Status.FAIL, f"expected {expected}, found {found}", expected, found, cause, fix)
