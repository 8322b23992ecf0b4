"""ModelCheckpoint: which files, when, and what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from callbacks.support import Figures, network, numbers

import laminar as lm
from laminar.callbacks import ModelCheckpoint
from laminar.errors import ArgumentError, FileError, UnknownNameError


def names(folder: Path) -> list[str]:
    """Return the paths of all files below `folder`; a part of a file that was not finished would be among them."""
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def fit(callback: ModelCheckpoint, **figures: list[float]) -> lm.Sequential:
    x, y = numbers()
    model = network()
    model.fit(x, y, epochs=4, batch_size=4, callbacks=[Figures(**figures), callback], seed=0, verbose=0)
    return model


def test_a_file_an_epoch_with_epoch_and_figure_in_its_name(tmp_path: Path) -> None:
    fit(ModelCheckpoint(tmp_path / "run" / "{epoch:02d}-{e:.3f}-{iteration}.safetensors"), e=[1.0, 0.5, 0.25, 0.125])
    assert names(tmp_path) == [f"run/0{n}.safetensors" for n in ("1-1.000-3", "2-0.500-6", "3-0.250-9", "4-0.125-12")]


def test_the_file_holds_parameters_and_buffers_of_its_epoch(tmp_path: Path) -> None:
    x, y = numbers()
    model, kept = network(), {}

    class Keep(lm.Callback):
        def on_epoch_end(self, model: Any, state: Any) -> None:
            kept[state.epoch] = {name: t.clone() for name, t in model.state_dict().items()}

    model.fit(x, y, epochs=2, callbacks=[Keep(), ModelCheckpoint(tmp_path / "{epoch}.safetensors")], verbose=0)
    for epoch in (1, 2):
        other = network()
        other.load_weights(tmp_path / f"{epoch}.safetensors")
        assert all(torch.equal(t, kept[epoch][name]) for name, t in other.state_dict().items())


@pytest.mark.parametrize(
    ("options", "kept"),
    [({"mode": "min"}, "1 3"), ({"mode": "max"}, "1 2"), ({"mode": "min", "initial_value_threshold": 1.5}, "3"), ({"mode": "min", "initial_value_threshold": 0.5}, "")],
)  # fmt: skip
def test_only_the_best(tmp_path: Path, options: Any, kept: str) -> None:
    keep = ModelCheckpoint(tmp_path / "{epoch}.safetensors", monitor="e", save_best_only=True, **options)
    for _ in range(2):  # it starts afresh at each fit
        fit(keep, e=[2.0, 3.0, 1.0, 1.0])
        assert names(tmp_path) == [f"{epoch}.safetensors" for epoch in kept.split()]


def test_without_a_field_each_file_replaces_the_last(tmp_path: Path) -> None:
    model = fit(ModelCheckpoint(str(tmp_path / "best.safetensors")))
    assert names(tmp_path) == ["best.safetensors"]
    other = network()
    other.load_weights(tmp_path / "best.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(other.state_dict().values(), model.state_dict().values(), strict=True))


def test_every_so_many_iterations_over_the_whole_training(tmp_path: Path) -> None:
    fit(ModelCheckpoint(tmp_path / "{epoch}-{iteration}.safetensors", save_freq=5))
    assert names(tmp_path) == ["2-5.safetensors", "4-10.safetensors"]


def test_it_tells_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = numbers()
    network().fit(x, y, callbacks=ModelCheckpoint("{epoch}.safetensors", verbose=1), verbose=2)
    assert "Epoch 1: saved 1.safetensors.\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"filepath": "best.weights.h5"}, "ModelCheckpoint(filepath=): expected a name that ends in .safetensors, received 'best.weights.h5'. Pass 'best.safetensors'."),
        ({"filepath": "best.keras"}, "ModelCheckpoint(filepath=): expected a name that ends in .safetensors, received 'best.keras'. Pass 'best.safetensors'."),
        ({"filepath": "{val_loss:02d}.safetensors"}, "ModelCheckpoint(filepath=): expected fields as in '{epoch:02d}-{val_loss:.4f}.safetensors', received '{val_loss:02d}.safetensors' (Unknown format code 'd' for object of type 'float'). Write them so."),
        ({"filepath": "{}.safetensors"}, "ModelCheckpoint(filepath=): expected fields as in '{epoch:02d}-{val_loss:.4f}.safetensors', received '{}.safetensors' (Replacement index 0 out of range for positional args tuple). Write them so."),
        ({"filepath": "a.safetensors", "save_freq": "iteration"}, "ModelCheckpoint(save_freq=): expected \"epoch\" or a number of iterations, received 'iteration'. Pass save_freq=\"epoch\"."),
        ({"filepath": "a.safetensors", "save_freq": 0}, "ModelCheckpoint(save_freq=): expected a whole number of at least 1, received 0. Pass 1 or more."),
        ({"filepath": "a.safetensors", "save_freq": 5, "save_best_only": True}, "ModelCheckpoint(save_freq=): expected \"epoch\" with save_best_only=True, because figures belong to epochs, received 5 iterations. Leave one of them out."),
        ({"filepath": "a.safetensors", "initial_value_threshold": "low"}, "ModelCheckpoint(initial_value_threshold=): expected a number, received 'low'. Pass initial_value_threshold=0.5, for example."),
        ({"filepath": "a.safetensors", "save_best_only": True, "mode": "best"}, "ModelCheckpoint(mode=): expected \"auto\", \"min\" or \"max\", received 'best'. Pass mode=\"min\" where smaller is better."),
    ],
)  # fmt: skip
def test_arguments_that_cannot_work(options: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as e:
        ModelCheckpoint(**options)
    assert str(e.value) == text


def test_a_field_without_its_end() -> None:
    with pytest.raises(ArgumentError, match=r"^ModelCheckpoint\(filepath=\): expected fields as in .*, received '{epoch:.safe"):
        ModelCheckpoint("{epoch:.safetensors")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"filepath": "{val_loss}.safetensors"}, "ModelCheckpoint(filepath=): field 'val_loss' is unknown. Did you mean 'loss'? Known: epoch, iteration, learning_rate, loss, mean_absolute_error."),
        ({"filepath": "{loss}.safetensors", "save_freq": 2}, "ModelCheckpoint(filepath=): field 'loss' is unknown. Known: epoch, iteration."),
        ({"filepath": "a.safetensors", "save_best_only": True, "monitor": "los"}, "ModelCheckpoint(monitor=): figure 'los' is unknown. Did you mean 'loss'? Known: learning_rate, loss, mean_absolute_error."),
    ],
)  # fmt: skip
def test_an_unknown_figure_is_told_before_the_first_step(options: Any, text: str) -> None:
    x, y = numbers()
    model = network()
    with pytest.raises(UnknownNameError) as e:
        model.fit(x, y, callbacks=ModelCheckpoint(**options), verbose=0)
    assert str(e.value) == text
    assert model.history is not None
    assert not any(model.history.iterations.values())


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    x, y = numbers()
    path = tmp_path / "file" / "a.safetensors"
    with pytest.raises(FileError) as e:
        network().fit(x, y, callbacks=ModelCheckpoint(path), verbose=0)
    assert (
        str(e.value) == f"ModelCheckpoint(filepath=): '{path}': expected a folder, received File exists. Choose another path."
    )


def test_a_path_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").mkdir()
    x, y = numbers()
    with pytest.raises(FileError, match=r"expected a file that can be written, received Is a directory"):
        network().fit(x, y, callbacks=ModelCheckpoint(tmp_path / "a.safetensors"), verbose=0)
    assert names(tmp_path) == []
