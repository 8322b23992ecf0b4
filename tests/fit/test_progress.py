"""What people see while a network trains: the table, the bar, and that neither can stop a training."""

from __future__ import annotations

import io
import itertools
import math
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laminar.errors import ArgumentError
from laminar.fit import progress as module
from laminar.fit.progress import Layout, Notebook, Plain, Progress, Row, Silent, Terminal, make_progress

FIGURES = ["loss", "accuracy", "val_loss", "val_accuracy"]
ROWS = [  # from the published table of R5, with two validations
    Row(1, 1, 0.01, None, {"loss": 2.5899, "accuracy": 0.1016}, 0.01),
    Row(2, 50, 0.61, 13.66, {"loss": 0.4156, "accuracy": 0.8594, "val_loss": 0.5, "val_accuracy": 0.8712}, 0.01),
    Row(11, 400, 4.85, 9.33, {"loss": math.nan, "accuracy": 1.0}, 0.01),
    Row(30, 1170, 14.08, 0.0, {"loss": 0.0042, "accuracy": 1.0, "val_loss": 0.6, "val_accuracy": 0.9878}, 0.00001),
]

WIDE = """\
Training 3 layers
                                          batch     batch       val       val  learning
epoch  iteration   elapsed  remaining      loss  accuracy      loss  accuracy      rate
---------------------------------------------------------------------------------------
    1          1      0.0s               2.5899    10.16%                          0.01
    2         50      0.6s      13.7s    0.4156    85.94%    0.5000    87.12%      0.01
   11        400      4.8s       9.3s       nan   100.00%                          0.01
   30       1170     14.1s       0.0s    0.0042   100.00%    0.6000    98.78%      1e-5
Stopped by Ctrl+C.
"""

AT_80 = """\
Training 3 layers
                                      batch    batch      val      val learning
epoch iteration  elapsed remaining     loss accuracy     loss accuracy     rate
-------------------------------------------------------------------------------
    1         1     0.0s             2.5899   10.16%                       0.01
    2        50     0.6s     13.7s   0.4156   85.94%   0.5000   87.12%     0.01
   11       400     4.8s      9.3s      nan  100.00%                       0.01
   30      1170    14.1s      0.0s   0.0042  100.00%   0.6000   98.78%     1e-5
Stopped by Ctrl+C.
"""

AT_60 = """\
Training 3 layers
                   batch    batch      val      val learning
epoch iteration     loss accuracy     loss accuracy     rate
------------------------------------------------------------
    1         1   2.5899   10.16%                       0.01
    2        50   0.4156   85.94%   0.5000   87.12%     0.01
   11       400      nan  100.00%                       0.01
   30      1170   0.0042  100.00%   0.6000   98.78%     1e-5
Stopped by Ctrl+C.
"""


class Window(io.StringIO):
    """A stream that says it is a terminal, and can tell what a person would see on it."""

    def __init__(self, width: int = 120) -> None:
        super().__init__(newline="")
        os.environ["COLUMNS"] = str(width)  # restored by the fixture below

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """Follow the control sequences used here and fail at others, like hiding the cursor; the last line has the cursor."""
        screen, row, column = [""], 0, 0
        for control, text in re.findall(r"(\x1b\[[\d;?]*[a-zA-Z]|[\r\n])|([^\x1b\r\n]+)", self.getvalue()):
            if text:
                screen[row] = screen[row][:column].ljust(column) + text + screen[row][column + len(text) :]
                column += len(text)
            elif control == "\n":
                row, column = row + 1, 0
                screen += [""] * (row == len(screen))
            elif control == "\r":
                column = 0
            elif control == "\x1b[2K":
                screen[row] = ""
            elif control == "\x1b[1A":
                row -= 1
            else:
                assert re.fullmatch(r"\x1b\[[\d;]*m", control), f"unexpected {control!r}"
        assert not any(screen[row + 1 :]), "something is left below the cursor"
        return [line.rstrip() for line in screen[: row + 1]]


@pytest.fixture(autouse=True)
def _modern_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")


def begin(progress: Progress, figures: list[str] = FIGURES, iterations: int | None = 1170) -> Any:
    progress.start(epochs=30, iterations=iterations, columns=figures, title="Training 3 layers")
    return progress


def show(progress: Progress) -> None:
    begin(progress)
    for row in ROWS:
        progress.tick(row.epoch, row.iteration)
        progress.row(row)
    progress.note("Stopped by Ctrl+C.")
    progress.stop()


# fmt: off
TEXTS = [(module._clock, (seconds,), text) for seconds, text in [
    (None, ""), (math.nan, ""), (math.inf, ""), (-1.0, "0.0s"), (0.04, "0.0s"), (59.94, "59.9s"), (59.96, "1:00"),
    (65.4, "1:05"), (3599.6, "1:00:00"), (3723, "1:02:03"), (359_999, "99:59:59"), (360_000, "4d04h"),
]] + [(module._figure, ("loss", value), text) for value, text in [
    (2.58994, "2.5899"), (0.0, "0.0000"), (0.0042, "0.0042"), (0.00042, "4.200e-4"), (-0.00042, "-4.20e-4"),
    (123.45678, "123.4568"), (12345.678, "12345.68"), (1.2345e12, "1.234e12"), (-1.2e-300, "-1e-300"), (-math.inf, "-inf"),
]] + [(module._figure, ("val_top_5_accuracy", value), text) for value, text in [
    (0.98765, "98.77%"), (1, "100.00%"), (0, "0.00%"), (math.nan, "nan"),
]] + [(module._speed, (speed,), text) for speed, text in [
    (0.0, ""), (0.25, "4.0 s/it"), (8.34, "8.3 it/s"), (99.94, "99.9 it/s"), (99.96, "100 it/s"), (1234.5, "1234 it/s"),
]]
# fmt: on


@pytest.mark.parametrize(("function", "arguments", "text"), TEXTS)
def test_numbers_as_text(function: Callable[..., str], arguments: tuple[Any, ...], text: str) -> None:
    assert function(*arguments) == text


@given(st.floats(-1e308, 1e308), st.floats(0, 8e8))
def test_numbers_fit_their_columns_and_read_as_themselves(value: float, seconds: float) -> None:
    assert 0 < len(module._clock(seconds)) <= 8
    text = module._figure("loss", value)
    assert len(text) <= 8
    # Four decimals, or four digits; fewer digits only where the sign and a long exponent leave no room for them.
    digits = 4 if 1e-9 <= value <= 1e10 else 1
    assert float(text) == pytest.approx(value, abs=5.1e-5 if abs(value) >= 1e-3 else 0, rel=0.51 * 10 ** (1 - digits))


names = st.lists(st.sampled_from(["loss", "accuracy", "mean_absolute_percentage_error", "top_5_accuracy", "auc"]), unique=True)


@given(names, names, st.integers(1, 10**7), st.none() | st.integers(1, 10**12), st.none() | st.integers(1, 250), st.data())
def test_rows_align_with_the_heading_at_every_width(
    training: list[str], validation: list[str], epochs: int, iterations: int | None, width: int | None, data: st.DataObject
) -> None:
    figures = [*training, *(f"val_{name}" for name in validation)]
    layout = Layout(epochs, iterations, figures, width)
    *heading, rule = layout.above("")
    assert len(rule) == layout.width == max(map(len, heading))
    if width is None:
        assert list(layout.widths) == ["epoch", "iteration", "elapsed", "remaining", *figures, "learning_rate"]
    assert {"epoch", *training[:1]} <= set(layout.widths)
    assert width is None or layout.width <= width or len(layout.widths) == 1 + len(training[:1])
    seconds = data.draw(st.floats(0, 1e8))
    row = Row(epochs, iterations or 10**8, seconds, seconds, dict.fromkeys(figures, data.draw(st.floats(0, 1))), 1.23e-5)
    cells = layout.cells(row)
    line, at = layout.joined(cells), 0
    assert len(line) == layout.width
    for cell, size in zip(cells, layout.widths.values(), strict=True):
        assert line[at : at + size] == cell.rjust(size)
        at += size + layout.gap


def test_what_is_left_out_first() -> None:
    """The order that the docstring names, one column at a time."""
    figures = ["loss", "accuracy", "auc", "val_loss", "val_accuracy", "val_auc"]
    kept = [set(Layout(5, 5, figures, width).widths) for width in range(200, 0, -1)]
    gone = [key for wide, narrow in itertools.pairwise(kept) for key in wide - narrow]
    assert " ".join(gone) == "remaining elapsed auc val_auc learning_rate iteration accuracy val_accuracy val_loss"


@pytest.mark.parametrize("verbose", [3, -1, "loud", None, 1.5, [1]])
def test_an_unknown_verbosity_is_named(verbose: Any) -> None:
    with pytest.raises(ArgumentError) as e:
        make_progress(verbose)
    assert str(e.value) == (
        "fit(verbose=): expected 0 (silent), 1 or 'auto' (live where that is possible), or 2 or 'plain' (rows of text), "
        f"received {verbose!r}. Pass verbose=1."
    )


@pytest.mark.parametrize(
    ("verbose", "in_terminal", "in_file"),
    [(0, Silent, Silent), (False, Silent, Silent), (1, Terminal, Plain), (True, Terminal, Plain), ("auto", Terminal, Plain)],
)
def test_the_display_suits_the_place(
    verbose: int | str, in_terminal: type, in_file: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert type(make_progress(verbose, Window())) is in_terminal
    assert type(make_progress(verbose, io.StringIO())) is in_file
    monkeypatch.setattr(sys, "stdout", Window())
    assert type(make_progress(verbose)) is in_terminal


def test_places_without_a_live_display(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(make_progress(2, Window())) is type(make_progress("plain", Window())) is Plain
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_progress(1, Window())) is Plain
    closed = io.StringIO()
    closed.close()
    assert type(make_progress(1, closed)) is Plain
    monkeypatch.setattr(sys, "stdout", None)
    assert type(make_progress(1)) is Silent
    show(make_progress(1))


def test_plain_rows_come_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    with path.open("w") as stream:
        progress = begin(make_progress(1, stream))
        for count, row in enumerate(ROWS, 1):
            progress.row(row)
            assert len(path.read_text().splitlines()) == 4 + count
        progress.note("Stopped by Ctrl+C.")
        progress.stop()
    assert path.read_text() == WIDE


def test_plain_text_is_ascii_without_control_characters() -> None:
    stream = io.StringIO()
    progress = make_progress(2, stream)
    progress.start(epochs=1, iterations=None, columns=["loss", "größe"], title="α = 1\x1b[31m")
    progress.row(Row(1, 1, 0.0, None, {"loss": math.inf, "größe": 1.0}, 0.1))
    progress.note("bell\a and\nnew line\r\x00")
    progress.stop()
    assert re.fullmatch(r"[\x20-\x7e\n]*", stream.getvalue())
    assert stream.getvalue().splitlines()[0] == r"\u03b1 = 1 [31m"
    assert stream.getvalue().splitlines()[-1] == "bell  and new line  "


@pytest.mark.parametrize(("width", "table"), [(120, WIDE), (80, AT_80), (60, AT_60)])
def test_the_table_in_a_terminal(width: int, table: str) -> None:
    """Nothing of the bar is left, and the next thing printed begins on an empty line."""
    show(make_progress(1, screen := Window(width)))
    *lines, took, last = screen.lines()
    assert "\n".join(lines).replace("\u2500", "-") + "\n" == table
    assert (re.sub(r"\d", "0", took), last) == ("Took 0.0s.", "")


@pytest.mark.parametrize("width", [200, 120, 80, 60, 45, 30, 15])
def test_the_bar_fits_and_stays_below_the_rows(width: int) -> None:
    progress = begin(make_progress(1, screen := Window(width)))
    for row in ROWS[:3]:
        progress.row(row)
        progress._draw()
        time.sleep(0.01)
    *above, bar = screen.lines()
    assert all(len(line) <= width for line in (*above, bar))
    assert ("100.00%" if width > 40 else "nan") in above[-1]
    assert bar.startswith("epoch 11/30 "[:width])
    parts = [r" 400/1170", r"  \d+\.\ds left", r" +\d\.\ds", r" +\d+ it/s"]
    assert re.search("".join(parts[: 4 if width >= 80 else 3 if width >= 60 else 1 if width >= 30 else 0]) + "$", bar)
    done, rest = bar.count("\u2501"), bar.count("\u2500")
    assert done + rest >= (10 if width >= 60 else 0)
    assert done == round((done + rest) * 400 / 1170)
    progress.stop()


def test_a_stream_of_unknown_length_moves_by_epochs() -> None:
    progress = begin(make_progress(1, screen := Window()), iterations=None)
    progress.tick(16, 12345)
    progress._draw()
    bar = screen.lines()[-1]
    assert "iteration 12345" in bar
    assert "left" not in bar
    assert bar.count("\u2501") == bar.count("\u2500") == 20
    progress.stop()


def test_colours_mark_the_best_validation_and_what_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    show(make_progress(1, screen := Window()))
    green = [text.strip() for text in re.findall(r"\x1b\[1;32m([^\x1b]*)", screen.getvalue())]
    red = [text.strip() for text in re.findall(r"\x1b\[1;31m([^\x1b]*)", screen.getvalue())]
    assert (green, red) == (["0.5000", "87.12%", "98.78%"], ["nan"])  # the loss of the last row is worse than before
    monkeypatch.setenv("NO_COLOR", "1")
    show(make_progress(1, screen := Window()))
    codes = {code for group in re.findall(r"\x1b\[([\d;]*)m", screen.getvalue()) for code in group.split(";")}
    assert codes <= {"0", "1", "2"}, "bold and dim are not colours"


def test_a_terminal_without_unicode() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    stream.isatty = lambda: True  # type: ignore[method-assign]  # only the encoding matters here
    progress = begin(make_progress(1, stream))
    progress.tick(20, 800)
    progress.note("alpha = α")
    progress.stop()
    text = raw.getvalue().decode("ascii")
    assert "=====" in text
    assert "alpha = ?" in text


def test_what_others_print_appears_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", screen := Window())
    progress = begin(make_progress(1))
    progress.tick(1, 1)
    print("from a callback")
    above, bar = screen.lines()[-2:]
    assert above == "from a callback"
    assert bar.startswith("epoch  1/30")
    progress.stop()
    assert sys.stdout is screen


def test_an_interrupt_while_drawing_leaves_the_terminal_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", screen := Window())
    progress = make_progress(1)
    with monkeypatch.context() as patch:
        patch.setattr(Terminal, "_bar", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            begin(progress)
    assert sys.stdout is not screen, "the interrupt came after the output was redirected"
    progress.stop()
    assert sys.stdout is screen
    assert screen.lines()[-1] == ""


def test_it_can_be_stopped_twice_and_started_again() -> None:
    progress = make_progress(1, screen := Window())
    progress.stop()
    assert screen.getvalue() == ""
    show(progress)
    progress.stop()
    progress.tick(1, 1)
    progress.row(ROWS[0])
    progress.note("too late")
    begin(progress)
    begin(progress)
    progress.stop()
    lines = screen.lines()
    assert [lines.count("Training 3 layers"), sum(line.startswith("Took") for line in lines)] == [3, 3]
    assert "too late" not in lines


def test_drawing_takes_little_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock of our own: each drawing costs 1 ms, each iteration 0.1 ms, and 10 s go by."""
    clock = SimpleNamespace(now=100.0, drawn=0)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock.now, thread_time=lambda: clock.now))

    def paint() -> None:
        clock.now += 0.001
        clock.drawn += 1

    progress = begin(make_progress(1, Window()))
    monkeypatch.setattr(progress, "_paint", paint)
    while clock.now < 110:
        clock.now += 0.0001
        progress.tick(1, int(clock.now * 1e4))
    assert 19 <= clock.drawn <= 21  # 1 ms is a five-hundredth of 0.5 s


def test_a_tick_is_cheap() -> None:
    """The best of some repeats, with a wide margin for a busy machine; measured, a tick takes 0.3 µs."""
    progress = begin(make_progress(1, Window()))
    best = math.inf
    for _ in range(20):
        began = time.perf_counter()
        for i in range(1000):
            progress.tick(1, i)
        best = min(best, (time.perf_counter() - began) / 1000)
    progress.stop()
    assert best < 5e-6


CTRL_C = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
from laminar.fit.progress import Row, make_progress
progress = make_progress(1)
progress.start(epochs=3, iterations=99, columns=["loss"], title="")
try:
    progress.row(Row(1, 1, 0.1, None, {"loss": 1.0}, 0.1))
    for i in range(3000):
        progress.tick(1, i)
        time.sleep(0.01)
except KeyboardInterrupt:
    progress.note("Stopped by Ctrl+C.")
finally:
    progress.stop()
print(type(progress).__name__, type(sys.stdout).__name__)
"""


def test_ctrl_c_in_a_real_terminal() -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2]), "COLUMNS": "80"}
    child = subprocess.Popen([sys.executable, "-c", CTRL_C], stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    screen, sent = Window(), False
    while True:
        try:
            screen.write(os.read(master, 4096).decode())
        except OSError:  # the other side has ended
            break
        if not sent and "1.0000" in screen.getvalue():
            child.send_signal(signal.SIGINT)
            sent = True
    os.close(master)
    assert child.wait(30) == 0
    row, note, took, after, end = screen.lines()[-5:]
    assert row.split() == ["1", "1", "0.1s", "1.0000", "0.1"]
    assert (note, took[:5], after, end) == ("Stopped by Ctrl+C.", "Took ", "Terminal TextIOWrapper", "")


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(5, "Input/output"), ValueError("closed")])
@pytest.mark.parametrize("verbose", [1, 2])
@pytest.mark.parametrize("writes", [0, 1, 3])
def test_a_broken_stream_does_not_stop_a_training(error: Exception, verbose: int, writes: int) -> None:
    stream = Window()
    stream.write = Mock(side_effect=[0] * writes + [error] * 99)  # type: ignore[method-assign]  # the reader goes away
    show(make_progress(verbose, stream))
    assert stream.write.call_count == writes + 1, "after the first failure it is left alone"


def test_a_reader_that_leaves_does_not_stop_a_training() -> None:
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w")
    progress = begin(make_progress(1, stream))
    os.close(reader)
    progress.row(ROWS[0])
    progress.stop()
    with pytest.raises(BrokenPipeError):
        stream.close()


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> list[list[dict[str, str]]]:
    """Pretend to be a Jupyter kernel; return what each display has shown, one after the other."""
    shown: list[list[dict[str, str]]] = []

    def display(bundle: dict[str, str], *, raw: bool, display_id: bool) -> SimpleNamespace:
        shown.append([bundle])
        return SimpleNamespace(update=lambda new, *, raw, versions=shown[-1]: versions.append(new))

    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", cast(ModuleType, SimpleNamespace(get_ipython=lambda: shell)))
    monkeypatch.setitem(sys.modules, "IPython.display", cast(ModuleType, SimpleNamespace(display=display)))
    return shown


def test_a_notebook_shows_the_table_and_the_bar_in_one_cell(cell: list[list[dict[str, str]]]) -> None:
    progress = make_progress(1)
    assert type(progress) is Notebook
    progress.start(epochs=1, iterations=1, columns=["<b>"], title="<script>")
    progress.note("a < b & c")
    escaped = cell[0][-1]["text/html"]
    assert "<script>" not in escaped
    assert all(text in escaped for text in ("&lt;script&gt;", "&lt;b&gt;", "a &lt; b &amp; c"))
    show(progress)  # a second fit takes two displays of its own
    table, bar = cell[2:]
    assert re.sub(r"Took \d\.\ds\.$", "", table[-1]["text/plain"]) == WIDE
    markup = table[-1]["text/html"]
    assert markup.count("<tr>") == 1 + len(ROWS) + 2  # heading, rows, the note and the time taken
    assert '<td style="text-align:right;color:#c00;font-weight:bold">nan</td>' in markup
    assert '<td style="text-align:right;font-weight:bold">87.12%</td>' in markup
    assert "<th>batch<br>loss</th>" in markup
    assert re.fullmatch(r'epoch 30/30 <progress value="1.0000" max="1"></progress> 1170/1170, .*', bar[-2]["text/html"])
    assert bar[-1] == {"text/html": "", "text/plain": ""}


def test_a_long_training_does_not_flood_a_notebook(cell: list[list[dict[str, str]]]) -> None:
    """Thousands of rows: few updates, each with the last hundred lines."""
    progress = begin(make_progress(1))
    for i in range(3000):
        progress.row(Row(1, i, 0.0, None, {"loss": 1.0}, 0.1))
    progress.stop()
    table, _ = cell
    assert len(table) < 30
    assert "(2901 earlier lines are not shown)" in table[-1]["text/html"]
    assert table[-1]["text/html"].count("<tr>") == 101
    assert len(table[-1]["text/plain"].splitlines()) == 4 + 1 + 100


def test_what_wins_over_the_notebook(cell: list[list[dict[str, str]]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of one's own, plain rows, silence; and IPython in a terminal is a terminal."""
    assert [type(p) for p in (make_progress(1, io.StringIO()), make_progress(2), make_progress(0))] == [Plain, Plain, Silent]
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", SimpleNamespace)
    monkeypatch.setattr(sys, "stdout", Window())
    assert type(make_progress(1)) is Terminal
    assert cell == []
