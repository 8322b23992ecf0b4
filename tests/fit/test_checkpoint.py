"""Weights on disk: whole or not at all, and nothing changed where they do not fit."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import laminar as lm
from laminar import layers as L
from laminar.errors import FileError, NotBuiltError, ShapeError


def network(units: int = 3, seed: int = 0) -> lm.Sequential:
    layers = [L.Conv2D(2, 3), L.BatchNormalization(), L.ELU("uniform", learnable=True), L.Flatten(), L.Dense(units)]
    return lm.Sequential(layers).build((1, 5, 5), seed=seed)


def values(model: nn.Module) -> dict[str, Any]:
    return {name: t.clone() for name, t in model.state_dict().items()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_round_trip(tmp_path: Path) -> None:
    """Parameters and buffers, to the bit, under their own names in a file that anything reads."""
    model, other = network(seed=0), network(seed=1)
    model["batch_normalization"].running_mean.fill_(3.0)
    path = tmp_path / "weights.safetensors"
    model.save_weights(path)
    assert same(load_file(path), values(model))
    assert not same(values(other), values(model))
    other.load_weights(str(path))
    assert same(values(other), values(model))
    x = torch.randn(4, 1, 5, 5)
    assert torch.equal(model.predict(x), other.predict(x))


def test_a_file_is_read_as_any_other_of_the_user(tmp_path: Path) -> None:
    """Its mode follows the umask, as with open(); a temporary file's would keep others out."""
    network().save_weights(tmp_path / "w")
    (tmp_path / "plain").write_text("")
    assert stat.S_IMODE((tmp_path / "w").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_shared_and_other_layouts_of_memory(tmp_path: Path) -> None:
    """A weight under two names, one in channels-last, one in half precision."""

    class Tied(lm.Model):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
            self.one = nn.Linear(4, 4)
            self.two = nn.Linear(4, 4)
            self.two.weight = self.one.weight
            self.low = nn.Linear(2, 3).half()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(self.one(self.conv(x).mean((2, 3))))

    model, other = Tied().build((3, 8, 8)), Tied().build((3, 8, 8))
    model.save_weights(tmp_path / "w")
    other.load_weights(tmp_path / "w")
    assert same(values(other), values(model))
    assert other.one.weight is other.two.weight


@pytest.mark.parametrize("failing", ["write", "sync", "rename"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """The disk is full: the old weights stay, and no rest of the new ones."""
    path = tmp_path / "weights.safetensors"
    network(seed=0).save_weights(path)
    old = path.read_bytes()

    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *args: Any) -> None:
            self.file.close()

        def write(self, data: bytes) -> int:
            self.file.write(data[:10])
            return full()  # type: ignore[no-any-return]

    opened = Path.open
    with monkeypatch.context() as patch:
        if failing == "write":
            patch.setattr(Path, "open", lambda self, *args: Full(opened(self, *args)))
        elif failing == "sync":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr(Path, "replace", full)
        with pytest.raises(FileError) as e:
            network(seed=1).save_weights(path)
    assert str(e.value) == (
        f"save_weights({str(path)!r}): expected a file that can be written, received No space left on device. "
        "Choose another path."
    )
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["weights.safetensors"]


def test_ctrl_c_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w"
    network(seed=0).save_weights(path)
    old = path.read_bytes()

    def pressed(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", pressed)
    with pytest.raises(KeyboardInterrupt):
        network(seed=1).save_weights(path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["w"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, said in [
        (tmp_path / "no" / "w", "No such file or directory"),
        (tmp_path / "file" / "w", "Not a directory"),
        (tmp_path, "Is a directory"),
    ]:
        with pytest.raises(FileError) as e:
            network().save_weights(place)
        assert str(e.value) == (
            f"save_weights({str(place)!r}): expected a file that can be written, received {said}. Choose another path."
        )


def test_files_that_hold_no_weights(tmp_path: Path) -> None:
    """Missing, cut short at every length, empty, of another kind; the network stays as it was."""
    model = network()
    before = values(model)
    path = tmp_path / "w"
    with pytest.raises(FileError) as e:
        model.load_weights(path)
    assert str(e.value) == f"load_weights({str(path)!r}): expected a file, received No such file or directory. Check the path."
    with pytest.raises(FileError) as e:
        model.load_weights(tmp_path)
    assert str(e.value) == f"load_weights({str(tmp_path)!r}): expected a file, received Is a directory. Check the path."
    model.save_weights(path)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(FileError) as e:
        network(seed=1).load_weights(path)
    assert str(e.value) == (
        f"load_weights({str(path)!r}): expected a whole safetensors file, received {e.value.__cause__}. Save the weights again."
    )
    assert "incomplete metadata, file not fully covered" in str(e.value.__cause__)  # safetensors' words
    for rest in (b"", content[:7], content[:100], b"PK\x03\x04 a pickle in a zip, as torch.save writes it"):
        path.write_bytes(rest)
        with pytest.raises(FileError, match=r"expected a whole safetensors file"):
            model.load_weights(path)
    assert same(values(model), before)


def test_weights_of_another_network(tmp_path: Path) -> None:
    """The first name that does not fit is told; nothing is changed, though the names before it would have fitted."""
    path = tmp_path / "w"
    model = network(units=4)
    before = values(model)
    network(units=3).save_weights(path)
    with pytest.raises(ShapeError) as e:
        model.load_weights(path)
    assert str(e.value) == (
        f"load_weights({str(path)!r}): expected 'dense.bias' of shape (4,), received shape (3,). "
        "Build the same network before loading."
    )
    assert same(values(model), before)
    bigger = lm.Sequential([*model, L.Dense(2, name="more")]).build((1, 5, 5))
    with pytest.raises(ShapeError) as e:
        bigger.load_weights(path)
    assert str(e.value) == (
        f"load_weights({str(path)!r}): expected 'dense.bias' of shape (4,), received shape (3,). "
        "Build the same network before loading."
    )
    network(units=4).save_weights(path)
    with pytest.raises(ShapeError) as e:
        bigger.load_weights(path)
    assert str(e.value) == (
        f"load_weights({str(path)!r}): expected 'more.bias' of shape (2,), received none. Build the same network before loading."
    )
    bigger.save_weights(path)
    with pytest.raises(ShapeError) as e:
        model.load_weights(path)
    assert str(e.value) == (
        f"load_weights({str(path)!r}): expected no 'more.bias', received shape (2,). Build the same network before loading."
    )


def test_a_network_that_is_not_built_has_no_weights(tmp_path: Path) -> None:
    model = lm.Sequential([L.Dense(2)])
    for what, call in (("save_weights", model.save_weights), ("load_weights", model.load_weights)):
        with pytest.raises(NotBuiltError) as e:
            call(tmp_path / "w")
        assert str(e.value) == (
            f"Sequential.{what}: expected a network that knows its input shape, received one that has not seen data yet. "
            "Call model.build((channels, height, width)) first."
        )
