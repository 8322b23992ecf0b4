"""What a person sees while a network trains: a table of figures and, where the place allows it, a moving bar.

The loop knows one interface, `Progress`. Behind it stand four places to write to: nowhere, plain text, a terminal and a
notebook. They share one `Layout`, so that the same table appears everywhere. None of them may ever stop a training: a
stream that can no longer be written to is left alone from then on.
"""

from __future__ import annotations

import html
import importlib
import math
import os
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TextIO, cast, final

from laminar.errors import ArgumentError, complaint

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Progress", "Row", "make_progress"]

_SHARE = 500  # drawing the bar takes at most one part in this many of the time
_NOTEBOOK_ROWS = 100  # lines kept in view in a notebook, because each update sends the whole table again

_WHOLE = ("above", "note", "end")  # marks of a line that is one text, not cells


@dataclass(frozen=True)
class Row:
    """One line of the training table.

    Args:
        epoch: from 1.
        iteration: from 1, over the whole fit.
        elapsed: seconds since the fit began.
        remaining: seconds until it ends, or None while that is unknown.
        figures: name -> value, in column order; those of a validation start with "val_".
        learning_rate: the base learning rate at this iteration.

    >>> Row(epoch=2, iteration=50, elapsed=0.61, remaining=13.7, figures={"loss": 0.4156}, learning_rate=0.01).iteration
    50
    """

    epoch: int
    iteration: int
    elapsed: float
    remaining: float | None
    figures: Mapping[str, float]
    learning_rate: float


class Progress(ABC):
    """What the training loop tells about its progress: `start` comes first, `stop` last and always."""

    @abstractmethod
    def start(self, *, epochs: int, iterations: int | None, columns: Sequence[str], title: str) -> None:
        """Begin one fit.

        Args:
            epochs: how many there will be.
            iterations: how many there will be in all, or None when the data does not say.
            columns: the name of every figure that a row may carry, those of the validation included.
            title: one line above the table; may be empty.
        """

    @abstractmethod
    def tick(self, epoch: int, iteration: int) -> None:
        """Move the bar to `iteration` of `epoch`. Most calls do no more than look at the clock."""

    @abstractmethod
    def row(self, row: Row) -> None:
        """Add a line to the table."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Add a remark between two rows."""

    @abstractmethod
    def stop(self) -> None:
        """End the fit, also after an exception. Calling it twice, or without `start`, does nothing."""


def make_progress(verbose: int | str | bool, stream: TextIO | None = None) -> Progress:
    """Return the progress display that suits the place where the program runs.

    Args:
        verbose: 0 or False is silent; 1, True or "auto" is live in a terminal or a notebook and plain rows elsewhere;
            2 or "plain" is plain rows everywhere.
        stream: where to write; the standard output as it is now when None.

    Raises:
        ArgumentError: if `verbose` is none of these.

    >>> progress = make_progress("plain", sys.stdout)
    >>> progress.start(epochs=1, iterations=2, columns=["loss"], title="A short fit")
    A short fit
                                              batch  learning
    epoch  iteration   elapsed  remaining      loss      rate
    ---------------------------------------------------------
    >>> progress.row(Row(1, 1, 0.01, 0.01, {"loss": 2.5899}, 0.01))
        1          1      0.0s       0.0s    2.5899      0.01
    >>> progress.stop()
    """
    kinds = {0: "silent", 1: "auto", 2: "plain", "auto": "auto", "plain": "plain"}
    kind = kinds.get(verbose) if isinstance(verbose, (int, str)) else None
    if kind is None:
        expected = "0 (silent), 1 or 'auto' (live where that is possible), or 2 or 'plain' (rows of text)"
        raise ArgumentError(complaint("fit(verbose=)", expected=expected, received=repr(verbose), fix="Pass verbose=1"))
    target = sys.stdout if stream is None else stream
    if kind == "silent" or target is None:  # pythonw has no standard output
        return Silent()
    if kind == "auto" and stream is None and _in_notebook():
        return Notebook()
    if kind == "auto" and _is_terminal(target):
        return Terminal(target)
    return Plain(target)


def _in_notebook() -> bool:
    """Whether this process is a Jupyter kernel; never imports IPython, which a kernel has imported already."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if callable(get_ipython) else None
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)  # hosted notebooks subclass it


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    except (AttributeError, ValueError):  # not quite a file, or a closed one
        return False


def _clock(seconds: float | None) -> str:
    """5.3s, 1:05, 1:02:03, 4d04h."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 59.95:
        return f"{max(seconds, 0.0):.1f}s"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 100:
        return f"{hours // 24}d{hours % 24:02}h"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _short(text: str) -> str:
    """1.23e-05 -> 1.23e-5."""
    mantissa, _, power = text.partition("e")
    return f"{mantissa}e{int(power)}" if power else text


def _figure(name: str, value: float) -> str:
    """A percentage for an accuracy, else four decimals or, in at most eight characters, what comes nearest to them."""
    value = float(value)
    if "accuracy" in name or not math.isfinite(value):
        return f"{100 * value:.2f}%" if math.isfinite(value) else str(value)
    candidates = [_short(f"{value:.{digits}e}") for digits in (3, 2, 1, 0)]
    if value == 0 or abs(value) >= 1e-3:
        candidates = [f"{value:.{digits}f}" for digits in (4, 3, 2, 1)] + candidates
    return next((text for text in candidates if len(text) <= 8), candidates[-1])


def _speed(per_second: float) -> str:
    if 0 < per_second < 1:
        return f"{1 / per_second:.1f} s/it"
    return f"{per_second:.{0 if per_second >= 99.95 else 1}f} it/s" if per_second else ""


def _printable(text: str) -> str:
    """`text` on one line, without characters that would steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


@final
class Layout:
    """Which columns the table has and how wide they are: decided once, so that every row aligns with the heading.

    Where the width is too small, the space between columns shrinks first. Then columns are left out, the least important
    first: remaining, elapsed, mini-batch and validation figures beyond the first two of each, learning rate, iteration, the
    second mini-batch figure, the validation figures. (The bar of a terminal shows the times and the iteration too.)

    Args:
        epochs: how many there will be.
        iterations: how many there will be in all, or None.
        figures: the name of every figure that a row may carry.
        width: characters that fit on a line, or None where nothing limits them.

    >>> for line in Layout(30, 1170, ["loss", "accuracy", "val_loss", "val_accuracy"], width=60).above("Digits"):
    ...     print(line)
    Digits
                       batch    batch      val      val learning
    epoch iteration     loss accuracy     loss accuracy     rate
    ------------------------------------------------------------
    """

    def __init__(self, epochs: int, iterations: int | None, figures: Sequence[str], width: int | None = None) -> None:
        training = [name for name in figures if not name.startswith("val_")]
        validation = [name for name in figures if name.startswith("val_")]
        leave_out = ["remaining", "elapsed", *training[:1:-1], *validation[:1:-1], "learning_rate", "iteration"]
        leave_out += [*training[1:2], *validation[1::-1]]
        # The words of a name stand one above the other: the heading is printed once, so its height costs nothing.
        words = {"epoch": ["epoch"], "iteration": ["iteration"], "elapsed": ["elapsed"], "remaining": ["remaining"]}
        words |= {name: ["batch", *name.split("_")] for name in training}
        words |= {name: name.split("_") for name in [*validation, "learning_rate"]}
        least = dict.fromkeys(words, 8) | {"epoch": len(str(epochs)), "iteration": len(str(iterations))}
        self.widths = {key: max(least[key], *map(len, stack)) for key, stack in words.items()}
        self.gap = 2
        while width is not None and self.width > width and leave_out:
            if self.gap == 2:
                self.gap = 1
            else:
                del self.widths[leave_out.pop(0)]
        self.headings = [words[key] for key in self.widths]  # each from top to bottom

    @property
    def width(self) -> int:
        """Characters of one row."""
        return sum(self.widths.values()) + self.gap * (len(self.widths) - 1)

    def above(self, title: str, dash: str = "-") -> list[str]:
        """Return the lines above the first row: the title if there is one, the heading, a rule."""
        height = max(map(len, self.headings))
        stacks = [[""] * (height - len(stack)) + stack for stack in self.headings]
        heading = [self.joined(level) for level in zip(*stacks, strict=True)]
        return [*([title] if title else []), *heading, dash * self.width]

    def cells(self, row: Row) -> list[str]:
        """Return the texts of one row; a figure that the row does not carry is empty."""
        texts = {name: _figure(name, value) for name, value in row.figures.items()}
        texts |= {"epoch": str(row.epoch), "iteration": str(row.iteration), "learning_rate": _short(f"{row.learning_rate:.3g}")}
        texts |= {"elapsed": _clock(row.elapsed), "remaining": _clock(row.remaining)}
        return [texts.get(key, "") for key in self.widths]

    def padded(self, cells: Sequence[str]) -> list[str]:
        """Return `cells`, each at the right of its column and with the space before the column."""
        widths = zip(cells, self.widths.values(), strict=True)
        return [text.rjust(width + self.gap * bool(i)) for i, (text, width) in enumerate(widths)]

    def joined(self, cells: Sequence[str]) -> str:
        """Return one line."""
        return "".join(self.padded(cells)).rstrip()


@final
class _Guard:
    """A text stream that swallows its first failure and is silent from then on, because a training outlives its reader."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._broken = False
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self.isatty, self.fileno = stream.isatty, stream.fileno

    def write(self, text: str) -> int:
        # A character that the stream cannot encode is no reason to fall silent.
        self._try(lambda: self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding)))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], object]) -> None:
        if not self._broken:
            try:
                action()
            except (OSError, ValueError):  # ValueError: the stream was closed
                self._broken = True


@final
class Silent(Progress):
    """Says nothing."""

    def start(self, *, epochs: int, iterations: int | None, columns: Sequence[str], title: str) -> None: ...
    def tick(self, epoch: int, iteration: int) -> None: ...
    def row(self, row: Row) -> None: ...
    def note(self, text: str) -> None: ...
    def stop(self) -> None: ...


@final
class Plain(Progress):
    """Rows of ASCII text without control characters, each flushed at once: for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = _Guard(stream)
        try:
            self._width = os.get_terminal_size(stream.fileno()).columns or None
        except (AttributeError, OSError, ValueError):  # not a terminal: nothing limits a line
            self._width = None

    def start(self, *, epochs: int, iterations: int | None, columns: Sequence[str], title: str) -> None:
        self._layout = Layout(epochs, iterations, columns, self._width)
        self._say(*self._layout.above(title))

    def tick(self, epoch: int, iteration: int) -> None: ...

    def row(self, row: Row) -> None:
        self._say(self._layout.joined(self._layout.cells(row)))

    def note(self, text: str) -> None:
        self._say(text)

    def stop(self) -> None: ...

    def _say(self, *lines: str) -> None:
        text = "".join(_printable(line) + "\n" for line in lines)
        self._stream.write(text.encode("ascii", "backslashreplace").decode())
        self._stream.flush()


class _Live(Progress):
    """What a terminal and a notebook share: pace, highlights, and drawing so seldom that it costs next to nothing."""

    _interval = 0.1  # seconds between two drawings, at least
    _rest = "-"  # what the rule, and of a bar the part not done, is made of
    _running = False

    def start(self, *, epochs: int, iterations: int | None, columns: Sequence[str], title: str) -> None:
        self.stop()
        self._epochs, self._iterations = epochs, iterations
        self._epoch = self._iteration = 0
        self._began = self._drawn = self._due = time.perf_counter()
        self._seen = deque([(self._began, 0)], maxlen=30)  # (time, iteration) of the last drawings
        self._first: tuple[float, int] | None = None
        self._best: dict[str, float] = {}
        self._layout = Layout(epochs, iterations, columns, self._open())
        self._title = _printable(title)
        self._above = self._layout.above(self._title, self._rest)
        self._lines = [[(line, "above")] for line in self._above]  # not drawn yet: (text, mark) of each cell, or of all
        self._running = True  # before the first drawing, so that stop() cleans up after an interrupt during it
        self._draw()

    def tick(self, epoch: int, iteration: int) -> None:
        if self._running:
            self._epoch, self._iteration = epoch, iteration
            if time.perf_counter() >= self._due:
                self._draw()

    def row(self, row: Row) -> None:
        if self._running:
            self._epoch, self._iteration = row.epoch, row.iteration
            marks = {name: self._mark(name, float(value)) for name, value in row.figures.items()}
            cells = self._layout.cells(row)
            self._lines.append([(text, marks.get(key, "")) for text, key in zip(cells, self._layout.widths, strict=True)])
            if time.perf_counter() >= self._drawn + self._interval:
                self._draw()

    def note(self, text: str) -> None:
        if self._running:
            self._lines.append([(_printable(text), "note")])
            self._draw()

    def stop(self) -> None:
        if self._running:
            self._running = False
            self._lines.append([(f"Took {_clock(time.perf_counter() - self._began)}.", "end")])
            self._paint()

    def _mark(self, name: str, value: float) -> str:
        """Return "odd" for a figure that is not finite, "best" for a validation figure better than all before it."""
        if not math.isfinite(value):
            return "odd"
        sign = 1 if "accuracy" in name else -1 if name.endswith("loss") else 0  # other names do not tell which way is better
        if not sign or not name.startswith("val_") or sign * value <= self._best.get(name, -math.inf):
            return ""
        self._best[name] = sign * value
        return "best"

    def _draw(self) -> None:
        now, cpu = time.perf_counter(), time.thread_time()
        self._seen.append((now, self._iteration))
        self._first = self._first or (self._seen[-1] if self._iteration else None)
        self._paint()
        self._drawn = time.perf_counter()
        self._due = self._drawn + min(max(self._interval, _SHARE * (time.thread_time() - cpu)), 1.0)

    def _bar(self) -> tuple[str, float, list[str]]:
        """Return what stands left of the bar, the part done, and what stands right of it, the most important first."""
        now, done = time.perf_counter(), self._iteration
        (t0, i0), (t1, i1) = self._seen[0], self._seen[-1]
        speed = (i1 - i0) / (t1 - t0) if t1 > t0 else 0.0  # over the last few seconds
        left = ""
        if self._iterations and self._first and done > self._first[1]:
            each = (now - self._first[0]) / (done - self._first[1])  # what came before, such as compiling, will not recur
            left = f"{_clock(each * max(self._iterations - done, 0))} left"
        part = done / self._iterations if self._iterations else (self._epoch - 1) / max(self._epochs, 1)
        count = f"{done}/{self._iterations}" if self._iterations else f"iteration {done}"
        epoch = f"epoch {max(self._epoch, 1):>{len(str(self._epochs))}}/{self._epochs}"
        return epoch, min(max(part, 0.0), 1.0), [count, left, _clock(now - self._began), _speed(speed)]

    @abstractmethod
    def _open(self) -> int | None:
        """Get ready to paint, and return how many characters fit on a line if that is limited."""

    @abstractmethod
    def _paint(self) -> None:
        """Show `_lines` and the bar; where not `_running`, without the bar and for the last time."""


@final
class Terminal(_Live):
    """Rows that scroll away above a bar that stays. No thread moves the bar: it moves when the loop calls."""

    _styles: ClassVar = {"odd": "bold red", "best": "bold green", "above": "bold", "note": "yellow", "end": "dim"}

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def _open(self) -> int:
        from rich.console import Console, Group
        from rich.live import Live
        from rich.text import Text

        class Quiet(Console):
            def show_cursor(self, show: bool = True) -> bool:  # never hidden, so that a killed run leaves no trace
                return False

        console = Quiet(file=cast(TextIO, _Guard(self._stream)), force_jupyter=False)
        self._done, self._rest = "=-" if console.options.ascii_only else "\u2501\u2500"
        ours = self._stream in (sys.stdout, sys.stderr)  # then what others print appears above the bar
        self._live = Live(self, console=console, auto_refresh=False, transient=True, redirect_stdout=ours, redirect_stderr=ours)
        self._console, self._text, self._group = console, Text, Group
        return console.width

    def _row(self, cells: Sequence[tuple[str, str]]) -> Text:
        if cells[0][1] in _WHOLE:
            return self._text(cells[0][0], self._styles[cells[0][1]])
        line = self._text(no_wrap=True, overflow="crop")  # where the window has been made narrower meanwhile
        for text, (_, mark) in zip(self._layout.padded([text for text, _ in cells]), cells, strict=True):
            line.append(text, self._styles.get(mark))
        return line

    def _paint(self) -> None:
        rows, self._lines = [self._row(cells) for cells in self._lines], []
        try:
            self._live.start()  # does nothing when it has started
            # Printing draws the bar too, below what is printed.
            self._console.print(self._group(*rows)) if rows else self._live.refresh()
        finally:
            if not self._running:
                self._live.stop()

    def __rich__(self) -> Text:
        """Draw the bar between its texts, dropping the least important of these where the line is too short."""
        before, part, texts = self._bar()
        after = [text.ljust(width) for text, width in zip(texts, (0, 12, 7, 9), strict=True)]  # so that the bar does not jump
        while (size := min(self._console.width - len(before) - len("  ".join(after)) - 3, 40)) < 10 and len(after) > 1:
            after.pop()
        line = self._text(before + " ", no_wrap=True, overflow="crop")
        if size >= 10:
            full = round(part * size)
            line.append(self._done * full, "cyan").append(self._rest * (size - full), "dim").append(" ")
        return line.append("  ".join(after))


@final
class Notebook(_Live):
    """The table and the bar in the output of one cell, as HTML with plain text for what cannot show HTML."""

    _interval = 0.5
    _styles: ClassVar = {"odd": "color:#c00;font-weight:bold", "best": "font-weight:bold"}

    def _open(self) -> None:
        display = importlib.import_module("IPython.display").display
        self._shown: list[list[tuple[str, str]]] = []
        self._views: list[Any] = [display({"text/plain": ""}, raw=True, display_id=True) for _ in ("table", "bar")]

    def _paint(self) -> None:
        new, self._lines = [line for line in self._lines if line[0][1] != "above"], []
        self._shown += new
        self._views[0].update(self._table(), raw=True)
        before, part, texts = self._bar()
        after = ", ".join(filter(None, texts))
        bar = f'{before} <progress value="{part:.4f}" max="1"></progress> {after}'
        self._views[1].update({"text/html": bar * self._running, "text/plain": f"{before} {after}" * self._running}, raw=True)

    def _table(self) -> dict[str, str]:
        """Return the table as HTML and as plain text."""
        earlier, lines = max(len(self._shown) - _NOTEBOOK_ROWS, 0), self._shown[-_NOTEBOOK_ROWS:]
        notice = [f"({earlier} earlier lines are not shown)"] * bool(earlier)
        plain = [line[0][0] if line[0][1] in _WHOLE else self._layout.joined([text for text, _ in line]) for line in lines]
        above = "<br>".join(map(html.escape, [self._title, *notice]))
        head = "".join(f"<th>{'<br>'.join(map(html.escape, words))}</th>" for words in self._layout.headings)
        body = "".join(f"<tr>{''.join(map(self._td, line))}</tr>" for line in lines)
        markup = f"<div>{above}</div><table><tr>{head}</tr>{body}</table>"
        return {"text/html": markup, "text/plain": "\n".join([*self._above, *notice, *plain])}

    def _td(self, cell: tuple[str, str]) -> str:
        text, mark = html.escape(cell[0]), cell[1]
        if mark in _WHOLE:
            return f'<td colspan="{len(self._layout.widths)}" style="text-align:left"><i>{text}</i></td>'
        return f'<td style="text-align:right;{self._styles.get(mark, "")}">{text}</td>'
