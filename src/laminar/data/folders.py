"""Images in folders, one for each class, read as they are asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from laminar.errors import ArgumentError, DataError, FileError, complaint

__all__ = ["ImageFolder", "image_folder"]

_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_MODES = {"rgb": "RGB", "grayscale": "L", "rgba": "RGBA"}


class ImageFolder(Dataset[tuple[NDArray[np.float32], int]]):
    """What `image_folder` returns: image (C, H, W) and class number by position, each read when it is asked for.

    Attributes:
        classes: names of the subfolders, sorted; class k is the k-th.
        files: path of each image.
        labels: class of each image, (N,), for `class_weight`, say.
    """

    def __init__(
        self, classes: list[str], files: list[Path], labels: NDArray[np.int64], size: tuple[int, int], mode: str
    ) -> None:
        self.classes, self.files, self.labels = classes, files, labels
        self._size, self._mode = size, mode

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], int]:
        """Return an image (C, H, W), numbers in [0, 1], and its class.

        Raises:
            FileError: if the file cannot be read, or holds no whole image.
        """
        return self._read(self.files[index]), int(self.labels[index])

    def _read(self, file: Path) -> NDArray[np.float32]:
        from PIL import Image, UnidentifiedImageError

        height, width = self._size
        try:
            with Image.open(file) as image:
                scaled = image.convert(self._mode).resize((width, height), Image.Resampling.BILINEAR)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # PIL's many ways to say it
            unknown = isinstance(error, UnidentifiedImageError)
            received = "something else" if unknown else (getattr(error, "strerror", None) or str(error) or type(error).__name__)
            fix = "Replace the file, or take it out of the folder"
            raise FileError(complaint(f"image_folder: {file}", expected="an image", received=received, fix=fix)) from error
        pixels = np.asarray(scaled, dtype=np.float32) / 255
        return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def image_folder(
    path: str | os.PathLike[str],
    image_size: tuple[int, int] = (256, 256),
    *,
    color_mode: Literal["rgb", "grayscale", "rgba"] = "rgb",
) -> ImageFolder:
    """Return the images under a folder as a dataset for `fit`, `evaluate` and `predict`, or a DataLoader.

    Each subfolder is a class, and holds its images, also in folders of its own; classes and files are sorted by name. Only
    names are read here: an image is read, scaled and converted when it is asked for.

    Args:
        path: the folder.
        image_size: (height, width) in pixels that every image is scaled to, bilinearly.
        color_mode: "rgb", "grayscale" or "rgba": 3, 1 or 4 channels.

    Raises:
        FileError: if there is no such folder.
        DataError: if it holds no subfolder, or a subfolder holds no image.
        ArgumentError: if the size is not two whole numbers of at least 1, or the color mode is another.

    Source: Keras' `image_dataset_from_directory`; torchvision's `ImageFolder`.

    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cat", "dog"):
    ...         Path(folder, name).mkdir()
    ...         Image.new("RGB", (40, 30), "red").save(Path(folder, name, "1.png"))
    ...     images = image_folder(folder, (15, 20))
    ...     x, y = images[1]
    >>> images.classes, x.shape, y
    (['cat', 'dog'], (3, 15, 20), 1)
    """
    where = f"image_folder({os.fspath(path)!r})"
    size = tuple(image_size) if isinstance(image_size, tuple | list) else ()
    if len(size) != 2 or any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in size):
        expected, fix = "height and width, whole numbers of at least 1", "Pass (256, 256), say"
        raise ArgumentError(complaint("image_folder(image_size=)", expected=expected, received=repr(image_size), fix=fix))
    if color_mode not in _MODES:
        expected = '"rgb", "grayscale" or "rgba"'
        fix = 'Pass color_mode="rgb", say'
        raise ArgumentError(complaint("image_folder(color_mode=)", expected=expected, received=repr(color_mode), fix=fix))
    root = Path(path)
    if not root.is_dir():
        received = "a file" if root.exists() else "nothing of this name"
        raise FileError(complaint(where, expected="a folder", received=received, fix="Check the path"))
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        fix = "Put the images of each class into a folder of its own"
        raise DataError(complaint(where, expected="a subfolder for each class", received="none", fix=fix))
    found = [_images(folder) for folder in folders]
    for folder, files in zip(folders, found, strict=True):
        if not files:
            expected, received = f"images ({', '.join(_ENDINGS)}) in {folder.name!r}", "none"
            raise DataError(
                complaint(where, expected=expected, received=received, fix="Put images there, or remove the folder")
            )
    labels = np.repeat(np.arange(len(folders)), [len(files) for files in found])
    files = [file for of_class in found for file in of_class]
    return ImageFolder([f.name for f in folders], files, labels.astype(np.int64), (size[0], size[1]), _MODES[color_mode])


def _images(folder: Path) -> list[Path]:
    """Return the images under a folder, sorted."""
    entries: list[Any] = [Path(at, name) for at, _, names in os.walk(folder, followlinks=True) for name in names]
    return sorted(e for e in entries if e.suffix.lower() in _ENDINGS and not e.name.startswith("."))
