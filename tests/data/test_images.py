from __future__ import annotations

import gzip
import hashlib
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from laminar.data import cifar10, fashion_mnist, images, mnist
from laminar.errors import FileError

CIFAR10_CHANNELS = ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])  # mean and standard deviation, as published


def idx_gz(array: np.ndarray) -> bytes:
    return gzip.compress(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, ...]:
    """All three sets, a few random images each, in the published formats under $LAMINAR_DATA."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (6, 28, 28), np.uint8), rng.integers(0, 10, 6, np.uint8)
    x_test, y_test = rng.integers(0, 256, (3, 28, 28), np.uint8), rng.integers(0, 10, 3, np.uint8)
    colour, label = rng.integers(0, 256, (12, 3, 32, 32), np.uint8), rng.integers(0, 10, 12, np.uint8)
    rows = np.concatenate([label[:, None], colour.reshape(12, -1)], 1)
    contents = {
        "_MNIST": [idx_gz(a) for a in (x, y, x_test, y_test)],
        "_FASHION": [idx_gz(a) for a in (255 - x, y, x_test, y_test)],
        "_CIFAR10": [rows[2 * i : 2 * i + 2].tobytes() for i in range(6)],
    }
    for table, datas in contents.items():
        ours = []
        for file, data in zip(getattr(images, table), datas, strict=True):
            path = tmp_path / file.folder / file.name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            ours.append(replace(file, size=len(data), checksum=f"sha256:{hashlib.sha256(data).hexdigest()}"))
        monkeypatch.setattr(images, table, tuple(ours))
    monkeypatch.setenv("LAMINAR_DATA", str(tmp_path))
    return x, y, x_test, y_test, colour, label


@pytest.mark.parametrize("load", [mnist, fashion_mnist])
def test_grey_sets(small: tuple[np.ndarray, ...], load: Callable[..., Any]) -> None:
    x, y, x_test, y_test, *_ = small
    x = 255 - x if load is fashion_mnist else x
    (a, b), (a_test, b_test) = load()
    assert (a.dtype, b.dtype) == (np.float32, np.int64)
    assert np.array_equal(a, (x[:, None].astype(np.float64) / 255).astype(np.float32))
    assert np.array_equal(a_test, (x_test[:, None].astype(np.float64) / 255).astype(np.float32))
    assert b.tolist() == y.tolist()
    assert b_test.tolist() == y_test.tolist()
    (raw, _), (raw_test, _) = load(raw=True)
    assert (raw.dtype, raw.flags.writeable, raw_test.flags.writeable) == (np.uint8, True, True)
    assert np.array_equal(raw[:, 0], x)
    assert np.array_equal(raw_test[:, 0], x_test)


def test_colour_set(small: tuple[np.ndarray, ...]) -> None:
    *_, colour, label = small
    (x, y), (x_test, y_test) = cifar10()
    assert (x.dtype, y.dtype) == (np.float32, np.int64)
    assert np.array_equal(x, (colour[:10].astype(np.float64) / 255).astype(np.float32))
    assert np.array_equal(x_test, (colour[10:].astype(np.float64) / 255).astype(np.float32))
    assert [*y, *y_test] == label.tolist()
    (raw, _), (raw_test, _) = cifar10(raw=True)
    assert (raw.dtype, raw.flags.writeable, raw_test.flags.writeable) == (np.uint8, True, True)
    assert np.array_equal(np.concatenate([raw, raw_test]), colour)


def test_every_published_file_has_a_mirror_and_a_checksum() -> None:
    lengths = {"md5": 32, "sha256": 64}
    for file in (*images._MNIST, *images._FASHION, *images._CIFAR10, images._CIFAR10_ARCHIVE):
        algorithm, _, digest = file.checksum.partition(":")
        assert len(bytes.fromhex(digest)) * 2 == lengths[algorithm]
        source = file.archive or file
        assert source.mirrors
        assert all(m.startswith("http") and m.endswith("/") for m in source.mirrors)


def test_a_missing_set_names_the_mirrors_and_the_place(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.error
    import urllib.request

    def offline(*args: object, **more: object) -> None:
        raise urllib.error.URLError(OSError(101, "Network is unreachable"))

    monkeypatch.delenv("LAMINAR_DATA", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(FileError) as e:
        mnist()
    assert str(e.value) == (
        "mnist/train-images-idx3-ubyte.gz: expected 9912422 bytes with MD5 f68b3c2dcbeaaa9fbdd348bbdeb94873 from a mirror, "
        "received https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz gave Network is unreachable; "
        "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz gave Network is unreachable. "
        f"Put a copy into {cache / 'mnist'}, or set LAMINAR_DATA to a folder that holds mnist/."
    )
    with pytest.raises(FileError) as e:
        cifar10()
    assert str(e.value) == (
        "cifar-10-batches-bin/cifar-10-binary.tar.gz: expected 170052171 bytes with MD5 c32a1d4ab5d03f1284b67883e8d87530 "
        "from a mirror, received https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz gave Network is unreachable. "
        f"Unpack a copy in {cache}, or set LAMINAR_DATA to a folder that holds cifar-10-batches-bin/."
    )


# --- the real files --------------------------------------------------------------------------------------------------------


@pytest.mark.data
def test_mnist_is_mnist() -> None:
    (x, y), (x_test, y_test) = mnist()
    assert (x.shape, x.dtype) == ((60000, 1, 28, 28), np.float32)
    assert (x_test.shape, y_test.shape) == ((10000, 1, 28, 28), (10000,))
    assert np.bincount(y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert x.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert x.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)
    assert (x.min(), x.max()) == (0, 1)


@pytest.mark.data
def test_cifar10_is_cifar10() -> None:
    (x, y), (x_test, y_test) = cifar10(raw=True)
    assert (x.shape, x.dtype, y.dtype) == ((50000, 3, 32, 32), np.uint8, np.int64)
    assert x_test.shape == (10000, 3, 32, 32)
    assert np.bincount(y).tolist() == [5000] * 10
    assert np.bincount(y_test).tolist() == [1000] * 10
    share = np.stack([np.bincount(x[:, c].ravel(), minlength=256) for c in range(3)]) / x[:, 0].size
    level = np.arange(256) / 255
    mean = share @ level
    assert mean == pytest.approx(CIFAR10_CHANNELS[0], abs=5e-5)
    assert np.sqrt(share @ level**2 - mean**2) == pytest.approx(CIFAR10_CHANNELS[1], abs=5e-5)


@pytest.mark.data
def test_a_truncated_mnist_file_is_named(tmp_path: Path, data_root: Path) -> None:
    shutil.copytree(data_root / "mnist", tmp_path / "mnist", copy_function=shutil.copyfile)
    path = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileError) as e:
        mnist(tmp_path)
    assert str(e.value) == (
        f"{path}: expected 4542 bytes with MD5 ec29112dd5afa0611ce80d1b7f02629c, "
        f"received 4541 bytes with MD5 {hashlib.md5(path.read_bytes()).hexdigest()}. "
        "Put the publisher's file in its place, or move it away to have it downloaded again."
    )
