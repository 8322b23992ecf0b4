"""Images in folders: which, in what order, what numbers, and what is said of damaged ones."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import laminar as lm
from laminar import layers as L
from laminar.data import image_folder
from laminar.errors import ArgumentError, DataError, FileError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes, made in another order than that of their names; sizes, modes, formats and depths of all kinds."""
    rng = np.random.default_rng(0)
    places = ["dog/b.png", "dog/a.jpg", "cat/deep/er/1.PNG", "cat/0.bmp", "ant/x.png", "ant/y.webp", "dog/grey.png"]
    for i, place in enumerate(places):
        file = tmp_path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (10 + i, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert("L" if "grey" in place else "RGB").save(file)
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    (tmp_path / "dog" / ".hidden.png").write_text("no image")
    (tmp_path / ".git").mkdir()
    (tmp_path / "loose.png").write_text("in no class")
    return tmp_path


def test_which_images_and_in_what_order(folder: Path) -> None:
    images = image_folder(folder)
    assert images.classes == ["ant", "cat", "dog"]
    names = [file.relative_to(folder).as_posix() for file in images.files]
    assert names == ["ant/x.png", "ant/y.webp", "cat/0.bmp", "cat/deep/er/1.PNG", "dog/a.jpg", "dog/b.png", "dog/grey.png"]
    assert images.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert len(images) == 7


def test_numbers_as_they_are_stored(folder: Path) -> None:
    """In the image's own size, against Pillow's pixels."""
    images = image_folder(folder, (10, 12))
    x, y = images[5]  # dog/b.png, the first that was made
    expected = np.asarray(Image.open(folder / "dog" / "b.png"))
    assert (x.dtype, x.shape, y) == (np.float32, (3, 10, 12), 2)
    np.testing.assert_array_equal(x, expected.transpose(2, 0, 1).astype(np.float32) / 255)


@pytest.mark.parametrize(("mode", "channels", "letters"), [("rgb", 3, "RGB"), ("grayscale", 1, "L"), ("rgba", 4, "RGBA")])
def test_size_and_color(folder: Path, mode: Any, channels: int, letters: str) -> None:
    images = image_folder(str(folder), (7, 5), color_mode=mode)
    for number, file in enumerate(images.files):
        x, _ = images[number]
        assert x.shape == (channels, 7, 5)
        scaled = Image.open(file).convert(letters).resize((5, 7), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(x, np.asarray(scaled).reshape(7, 5, channels).transpose(2, 0, 1) / 255, atol=1e-7)


def test_it_trains(folder: Path) -> None:
    """By itself, and behind a loader whose workers read; the numbers are those of arrays."""
    images = image_folder(folder, (8, 8))
    x, y = np.stack([images[i][0] for i in range(7)]), images.labels

    def losses(*given: Any, **options: Any) -> list[float]:
        model = lm.Sequential([L.Flatten(), L.Dense(3, "softmax")]).build((3, 8, 8), seed=0)
        model.compile("sgd", "sparse_categorical_crossentropy")  # type: ignore[attr-defined]
        found: list[float] = model.fit(*given, seed=0, verbose=0, **options).iterations["loss"]  # type: ignore[attr-defined]
        return found

    assert losses(images, batch_size=3) == losses(x, y, batch_size=3)
    assert losses(DataLoader(images, 3, num_workers=2)) == losses(x, y, batch_size=3, shuffle=False)
    assert len(pickle.loads(pickle.dumps(images))) == 7
    assert isinstance(torch.as_tensor(images[0][0]), torch.Tensor)


def damaged(file: Path) -> None:
    file.write_bytes(b"no image at all")


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


def missing(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize(
    ("harm", "received"),
    [(damaged, "something else"), (cut_off, "image file is truncated"), (missing, "No such file or directory")],
)
def test_a_file_that_holds_no_image_is_named(folder: Path, harm: Any, received: str) -> None:
    images = image_folder(folder, (8, 8))
    harm(folder / "dog" / "b.png")
    with pytest.raises(FileError) as error:
        images[5]
    start = f"image_folder: {folder / 'dog' / 'b.png'}: expected an image, received {received}"
    assert str(error.value).startswith(start)
    assert str(error.value).endswith(". Replace the file, or take it out of the folder.")
    model = lm.Sequential([L.Flatten(), L.Dense(3)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(FileError):
        model.fit(images, verbose=0)


def test_what_is_no_folder_of_images(tmp_path: Path, folder: Path) -> None:
    def message(kind: type[Exception], *given: Any, **options: Any) -> str:
        with pytest.raises(kind) as error:
            image_folder(*given, **options)
        return str(error.value)

    nowhere = tmp_path / "nowhere"
    assert message(FileError, nowhere) == (
        f"image_folder({str(nowhere)!r}): expected a folder, received nothing of this name. Check the path."
    )
    file = tmp_path / "loose.png"
    assert message(FileError, file) == f"image_folder({str(file)!r}): expected a folder, received a file. Check the path."
    deep = folder / "cat" / "deep" / "er"
    assert message(DataError, deep) == (
        f"image_folder({str(deep)!r}): expected a subfolder for each class, received none. "
        "Put the images of each class into a folder of its own."
    )
    (folder / "bee").mkdir()
    assert message(DataError, folder) == (
        f"image_folder({str(folder)!r}): expected images (.bmp, .gif, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff, .webp) in 'bee', "
        "received none. Put images there, or remove the folder."
    )
    assert message(ArgumentError, folder, (0, 3)) == (
        "image_folder(image_size=): expected height and width, whole numbers of at least 1, received (0, 3). Pass (256, 256), say."
    )
    assert message(ArgumentError, folder, color_mode="RGB") == (
        'image_folder(color_mode=): expected "rgb", "grayscale" or "rgba", received \'RGB\'. Pass color_mode="rgb", say.'
    )
