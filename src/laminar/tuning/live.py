"""What a person sees while a search runs: a line for each trial, and in a terminal how far the running one has come."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TextIO, final

from laminar.errors import ArgumentError, complaint
from laminar.tuning.trials import Tried

__all__ = ["HEADING", "Live", "line", "make_live", "parameters", "short"]

HEADING = f"{'trial':>5}  {'value':>8}  {'best':>8}  {'epochs':>6}  {'seconds':>7}  {'':<8}  parameters"


def short(value: float | None) -> str:
    """Return a number in at most eight characters.

    >>> short(0.43218), short(0.0000312), short(123456.7), short(None)
    ('0.4322', '3.12e-05', '1.23e+05', '')
    """
    if value is None:
        return ""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1000 else f"{value:.3g}"


def parameters(params: Mapping[str, Any]) -> str:
    """Return parameters in a line, numbers to three digits.

    >>> parameters({"learning_rate": 0.0123456, "units": 20, "activation": "elu"})
    'learning_rate=0.0123 units=20 activation=elu'
    """
    return " ".join(f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in params.items())


def line(trial: Tried, best: Tried | None) -> str:
    """Return what is shown of a trial that has ended.

    Args:
        trial: the one.
        best: the best one so far, itself included.

    >>> print(line(Tried(3, 3, {"units": 20}, value=0.4123, curve=(0.38, 0.4123), seconds=1.26), None))
        3    0.4123                 2      1.3            units=20
    """
    mark = "best" if best is not None and best.place == trial.place else "default" if trial.default else ""
    mark = mark if trial.status == "finished" else trial.status
    value, top = short(trial.shown), short(None if best is None else best.value)
    told = f"  ({trial.error})" if trial.error and trial.status == "failed" else ""
    text = f"{trial.place:>5}  {value:>8}  {top:>8}  {len(trial.curve):>6}  {trial.seconds:>7.1f}  {mark:<8}  "
    return text + parameters(trial.params) + told


class Live(ABC):
    """What the search tells about its progress: `start` comes first, `stop` last and always."""

    @abstractmethod
    def start(self, title: str) -> None:
        """Begin one search, under a line that says what is searched for."""

    @abstractmethod
    def epoch(self, text: str) -> None:
        """Say how far the running trial has come, where that line can be replaced by the next."""

    @abstractmethod
    def row(self, trial: Tried, best: Tried | None) -> None:
        """Show a trial that has ended."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Show a remark between two rows."""

    @abstractmethod
    def stop(self) -> None:
        """End the search, also after an exception."""


def make_live(verbose: int | bool, stream: TextIO | None = None) -> Live:
    """Return what suits the place where the program runs.

    Args:
        verbose: 0 is silent, 1 live in a terminal and plain lines elsewhere, 2 plain lines everywhere.
        stream: where to write; the standard output as it is now when None.

    Raises:
        ArgumentError: if `verbose` is none of these.
    """
    if verbose not in (0, 1, 2):
        fix = "Pass verbose=1"
        raise ArgumentError(complaint("tune(verbose=)", expected="0, 1 or 2", received=repr(verbose), fix=fix))
    target = sys.stdout if stream is None else stream
    if not verbose or target is None:  # pythonw has no standard output
        return Silent()
    return Terminal(target) if verbose == 1 and target.isatty() else Plain(target)


@final
class Silent(Live):
    """Says nothing."""

    def start(self, title: str) -> None: ...
    def epoch(self, text: str) -> None: ...
    def row(self, trial: Tried, best: Tried | None) -> None: ...
    def note(self, text: str) -> None: ...
    def stop(self) -> None: ...


@final
class Plain(Live):
    """Lines of text without control characters, each flushed at once: for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def start(self, title: str) -> None:
        self.note(title)
        self.note(HEADING)

    def epoch(self, text: str) -> None: ...

    def row(self, trial: Tried, best: Tried | None) -> None:
        self.note(line(trial, best))

    def note(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self._stream.flush()

    def stop(self) -> None: ...


@final
class Terminal(Live):
    """Rows that scroll away above a line that says how far the running trial has come."""

    _styles: ClassVar = {"pruned": "dim", "diverged": "red", "failed": "red"}

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live as Bottom
        from rich.text import Text

        self._text = Text
        self._console = Console(file=stream, highlight=False)
        self._bottom = Bottom("", console=self._console, auto_refresh=False, transient=True)

    def start(self, title: str) -> None:
        self._bottom.start()
        self.note(title)
        self._console.print(self._text(HEADING, "bold"))

    def epoch(self, text: str) -> None:
        self._bottom.update(self._text(text, "cyan", no_wrap=True, overflow="crop"), refresh=True)

    def row(self, trial: Tried, best: Tried | None) -> None:
        is_best = best is not None and best.place == trial.place
        style = "bold green" if is_best else self._styles.get(trial.status, "")
        self._console.print(self._text(line(trial, best), style, overflow="fold"))

    def note(self, text: str) -> None:
        self._console.print(self._text(text))

    def stop(self) -> None:
        self._bottom.update("")
        self._bottom.stop()
