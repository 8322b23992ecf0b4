"""CSVLogger and TensorBoard: what is on disk, also after a program was killed."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from callbacks.support import Figures, network, numbers

import laminar as lm
from laminar.callbacks import CSVLogger, TensorBoard
from laminar.errors import ArgumentError, DivergedError, FileError, MissingPackageError
from laminar.optimizers import SGD

# ── CSVLogger ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_figure_of_every_epoch_is_in_the_file_as_it_ends(tmp_path: Path) -> None:
    """Read back, the numbers are those of the history bit for bit; a row is there before the next epoch begins."""
    x, y = numbers()
    file = tmp_path / "log.csv"
    lines: list[int] = []
    count = lm.callbacks.LambdaCallback(on_epoch_begin=lambda model, state: lines.append(len(file.read_text().splitlines())))
    callbacks = [count, Figures(mine=[0.1, 1e-300, float("inf")]), CSVLogger(file)]
    history = network().fit(x, y, epochs=3, validation_data=(x, y), callbacks=callbacks, verbose=0)
    assert lines == [1, 2, 3]
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert list(rows[0]) == [
        "epoch", "loss", "mean_absolute_error", "val_loss", "val_mean_absolute_error", "learning_rate", "mine",
    ]  # fmt: skip
    assert [row.pop("epoch") for row in rows] == ["1", "2", "3"]
    assert {name: [float(row[name]) for row in rows] for name in rows[0]} == history.history


def test_a_new_training_starts_the_file_anew_or_adds_to_it(tmp_path: Path) -> None:
    x, y = numbers()
    file = tmp_path / "log.csv"
    for append, rows in ((True, 2), (True, 4), (False, 2), (True, 4)):
        network().fit(x, y, epochs=2, callbacks=CSVLogger(file, separator=";", append=append), verbose=0)
        lines = file.read_text().splitlines()
        assert lines[0] == "epoch;loss;mean_absolute_error;learning_rate"
        assert [line.partition(";")[0] for line in lines[1:]] == ["1", "2"] * (rows // 2)


def test_rows_added_after_one_that_was_not_ended_stand_on_a_line_of_their_own(tmp_path: Path) -> None:
    x, y = numbers()
    file = tmp_path / "log.csv"
    file.write_text("epoch,loss,mean_absolute_error,learning_rate\n1,0.5,0.2,0.01")
    network().fit(x, y, callbacks=CSVLogger(file, append=True), verbose=0)
    assert [line.count(",") for line in file.read_text().splitlines()] == [3, 3, 3]


def test_rows_are_not_added_to_a_file_of_other_columns(tmp_path: Path) -> None:
    x, y = numbers()
    file = tmp_path / "log.csv"
    file.write_text("epoch,loss\n1,0.5\n")
    with pytest.raises(ArgumentError) as e:
        network().fit(x, y, callbacks=CSVLogger(file, append=True), verbose=0)
    assert str(e.value) == (
        f"CSVLogger('{file}', append=True): expected a file of the columns epoch, loss, mean_absolute_error, learning_rate, "
        "received epoch, loss. Choose another file."
    )
    assert file.read_text() == "epoch,loss\n1,0.5\n"


def test_nothing_is_lost_when_the_program_is_killed(tmp_path: Path) -> None:
    program = """
        import os, signal
        from callbacks.support import network, numbers
        from laminar.callbacks import CSVLogger, LambdaCallback

        def kill(model, state):
            if state.epoch == 3:
                os.kill(os.getpid(), signal.SIGKILL)

        network().fit(*numbers(), epochs=9, callbacks=[CSVLogger("log.csv"), LambdaCallback(on_epoch_begin=kill)], verbose=0)
    """
    root = Path(__file__).parents[2]
    paths = f"import sys; sys.path[:0] = [{str(root / 'tests')!r}, {str(root / 'src')!r}]\n"
    done = subprocess.run([sys.executable, "-c", paths + textwrap.dedent(program)], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [line.partition(",")[0] for line in (tmp_path / "log.csv").read_text().splitlines()] == ["epoch", "1", "2"]


@pytest.mark.parametrize("separator", ["", ", ", "\n", 3])
def test_a_separator_that_cannot_work(separator: Any) -> None:
    with pytest.raises(ArgumentError) as e:
        CSVLogger("log.csv", separator)
    assert str(e.value) == (
        f'CSVLogger(separator=): expected one character, received {separator!r}. Pass separator=";", for example.'
    )


def test_a_file_that_cannot_be_written_is_told_before_the_first_step(tmp_path: Path) -> None:
    x, y = numbers()
    for path, received, fix in (
        (tmp_path / "no" / "log.csv", "No such file or directory", f"Make the folder first: mkdir -p '{tmp_path / 'no'}'"),
        (tmp_path, "Is a directory", "Choose another path"),
    ):
        for append in (False, True):
            model = network()
            with pytest.raises(FileError) as e:
                model.fit(x, y, callbacks=CSVLogger(path, append=append), verbose=0)
            assert str(e.value) == f"CSVLogger('{path}'): expected a file that can be written, received {received}. {fix}."
            assert model.history is not None
            assert not any(model.history.iterations.values())


# ── TensorBoard ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def written(folder: Path) -> dict[str, Any]:
    """Return run/tag -> [(step, value), ...] of all scalars, and the tags of histograms with their steps."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason='needs pip install "laminar[tensorboard]"'
    )
    found: dict[str, Any] = {}
    for run in sorted(folder.iterdir()):
        events = accumulator.EventAccumulator(str(run))
        events.Reload()
        for tag in events.Tags()["scalars"]:
            found[f"{run.name}/{tag}"] = [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["histograms"]:
            found[f"{run.name}/{tag}"] = [event.step for event in events.Histograms(tag)]
    return found


def test_tensorboard_reads_the_figures_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason='needs pip install "laminar[tensorboard]"')
    x, y = numbers()
    model = network()
    board = TensorBoard(tmp_path / "logs", histogram_freq=2, update_freq=3)
    history = model.fit(x, y, epochs=3, batch_size=4, validation_data=(x, y), callbacks=board, verbose=0)
    found = written(tmp_path / "logs")
    for name, values in history.history.items():
        run = "validation" if name.startswith("val_") else "train"
        steps, kept = zip(*found.pop(f"{run}/epoch_{name.removeprefix('val_')}"), strict=True)
        assert steps == (1, 2, 3)
        assert list(kept) == pytest.approx(values)
    for name, values in history.iterations.items():
        assert found.pop(f"train/batch_{name}") == [(i, pytest.approx(values[i - 1])) for i in (3, 6, 9)]
    assert found == {f"train/{name.replace('.', '/')}": [2] for name, _ in model.named_parameters()}


def test_tensorboard_has_the_iterations_before_a_divergence(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason='needs pip install "laminar[tensorboard]"')
    x, y = numbers()
    model = network()
    model.compile(SGD(1e30), "mse")
    with pytest.raises(DivergedError):
        model.fit(x, y, epochs=3, callbacks=TensorBoard(tmp_path, update_freq="batch"), verbose=0)
    assert model.history is not None
    losses = model.history.iterations["loss"]
    assert written(tmp_path)["train/batch_loss"] == [(i, pytest.approx(loss)) for i, loss in enumerate(losses, 1)]


def test_without_the_package_the_error_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError) as e:
        TensorBoard("logs")
    assert str(e.value) == (
        'TensorBoard: expected the package tensorboard, received none installed. Type: pip install "laminar[tensorboard]".'
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"update_freq": "iteration"}, "TensorBoard(update_freq=): expected a whole number of at least 1, received 'iteration'. Pass 1 or more."),
        ({"histogram_freq": -1}, "TensorBoard(histogram_freq=): expected a whole number of at least 0, received -1. Pass 0 or more."),
    ],
)  # fmt: skip
def test_arguments_that_cannot_work(options: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as e:
        TensorBoard(**options)
    assert str(e.value) == text
