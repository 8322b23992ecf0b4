"""The published image sets: MNIST, Fashion-MNIST and CIFAR-10, as channels-first NumPy arrays."""

from __future__ import annotations

import gzip
import os
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from laminar.data.files import Published, obtain, parse_cifar10, parse_idx

__all__ = ["cifar10", "fashion_mnist", "mnist"]

Folder: TypeAlias = str | os.PathLike[str] | None
Part: TypeAlias = tuple[NDArray[Any], NDArray[np.int64]]

_MNIST_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
_FASHION_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
_CIFAR10_MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)

# Images, labels of the training set; images, labels of the test set.
_MNIST = (
    Published("mnist", "train-images-idx3-ubyte.gz", 9912422, "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873", _MNIST_MIRRORS),
    Published("mnist", "train-labels-idx1-ubyte.gz", 28881, "md5:d53e105ee54ea40749a09fcbcd1e9432", _MNIST_MIRRORS),
    Published("mnist", "t10k-images-idx3-ubyte.gz", 1648877, "md5:9fb629c4189551a2d022fa330f9573f3", _MNIST_MIRRORS),
    Published("mnist", "t10k-labels-idx1-ubyte.gz", 4542, "md5:ec29112dd5afa0611ce80d1b7f02629c", _MNIST_MIRRORS),
)
_FASHION = (
    Published(
        "fashion-mnist", "train-images-idx3-ubyte.gz", 26421880, "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d", _FASHION_MIRRORS
    ),
    Published("fashion-mnist", "train-labels-idx1-ubyte.gz", 29515, "md5:25c81989df183df01b3e8a0aad5dffbe", _FASHION_MIRRORS),
    Published("fashion-mnist", "t10k-images-idx3-ubyte.gz", 4422102, "md5:bef4ecab320f06d8554ea6380940ec79", _FASHION_MIRRORS),
    Published("fashion-mnist", "t10k-labels-idx1-ubyte.gz", 5148, "md5:bb300cfdad3c16e7a12a480ee83cd310", _FASHION_MIRRORS),
)
_CIFAR10_FOLDER = "cifar-10-batches-bin"
_CIFAR10_ARCHIVE = Published(
    _CIFAR10_FOLDER, "cifar-10-binary.tar.gz", 170052171, "md5:c32a1d4ab5d03f1284b67883e8d87530", _CIFAR10_MIRRORS
)
# Five training batches, then the test batch.
_CIFAR10 = tuple(
    Published(_CIFAR10_FOLDER, name, 30730000, f"sha256:{digest}", archive=_CIFAR10_ARCHIVE)
    for name, digest in (
        ("data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        ("data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        ("data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        ("data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        ("data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
        ("test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
    )
)


def mnist(folder: Folder = None, *, raw: bool = False) -> tuple[Part, Part]:
    """Return MNIST: 60,000 training and 10,000 test images of handwritten digits.

    The four published files are looked for in `$LAMINAR_DATA/mnist`, then in the user cache (`$LAMINAR_CACHE` moves it), else
    downloaded into the cache. Every file is verified by its published checksum each time it is read.

    Args:
        folder: the data folder to use instead: look in `folder/mnist`, and download to it.
        raw: if true, the images are bytes as published: uint8, 0 to 255.

    Returns:
        `((x, y), (x_test, y_test))`: `x` float32 (n, 1, 28, 28) in [0, 1], bright on black; `y` int64 (n,), 0 to 9.

    Raises:
        FileError: if a file is truncated or altered, or cannot be downloaded.

    Source:
        Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", 1998.

    >>> (x, y), (x_test, y_test) = mnist()  # doctest: +SKIP
    >>> x.shape, x_test.shape  # doctest: +SKIP
    ((60000, 1, 28, 28), (10000, 1, 28, 28))
    """
    return _from_idx(_MNIST, folder, raw)


def fashion_mnist(folder: Folder = None, *, raw: bool = False) -> tuple[Part, Part]:
    """Return Fashion-MNIST: 60,000 training and 10,000 test images of clothes, in ten classes.

    Found, downloaded and verified like `mnist`, in the folder `fashion-mnist`.

    Args:
        folder: the data folder to use instead: look in `folder/fashion-mnist`, and download to it.
        raw: if true, the images are bytes as published: uint8, 0 to 255.

    Returns:
        `((x, y), (x_test, y_test))`: `x` float32 (n, 1, 28, 28) in [0, 1]; `y` int64 (n,): 0 T-shirt, 1 trouser, 2 pullover,
        3 dress, 4 coat, 5 sandal, 6 shirt, 7 sneaker, 8 bag, 9 ankle boot.

    Raises:
        FileError: if a file is truncated or altered, or cannot be downloaded.

    Source:
        H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
        algorithms", 2017.

    >>> (x, y), (x_test, y_test) = fashion_mnist()  # doctest: +SKIP
    >>> x.shape, x_test.shape  # doctest: +SKIP
    ((60000, 1, 28, 28), (10000, 1, 28, 28))
    """
    return _from_idx(_FASHION, folder, raw)


def cifar10(folder: Folder = None, *, raw: bool = False) -> tuple[Part, Part]:
    """Return CIFAR-10: 50,000 training and 10,000 test photographs in ten classes.

    The six files of the binary version are looked for in `$LAMINAR_DATA/cifar-10-batches-bin`, then in the user cache
    (`$LAMINAR_CACHE` moves it), else downloaded (170 MB) into the cache. Each is verified by its checksum whenever it is read.

    Args:
        folder: the data folder to use instead: look in `folder/cifar-10-batches-bin`, and download to it.
        raw: if true, the images are bytes as published: uint8, 0 to 255 (184 MB of memory instead of 737).

    Returns:
        `((x, y), (x_test, y_test))`: `x` float32 (n, 3, 32, 32) in [0, 1], channels red, green, blue; `y` int64 (n,):
        0 airplane, 1 automobile, 2 bird, 3 cat, 4 deer, 5 dog, 6 frog, 7 horse, 8 ship, 9 truck.

    Raises:
        FileError: if a file is truncated or altered, or cannot be downloaded.

    Source:
        A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.

    >>> (x, y), (x_test, y_test) = cifar10()  # doctest: +SKIP
    >>> x.shape, x_test.shape  # doctest: +SKIP
    ((50000, 3, 32, 32), (10000, 3, 32, 32))
    """
    batches = [parse_cifar10(d, f.label) for d, f in zip(obtain(_CIFAR10, folder), _CIFAR10, strict=True)]
    x, y = (np.concatenate(arrays) for arrays in zip(*batches[:-1], strict=True))
    return _part(x, y, raw), _part(*batches[-1], raw)


def _from_idx(files: tuple[Published, ...], folder: Folder, raw: bool) -> tuple[Part, Part]:
    data = [gzip.decompress(d) for d in obtain(files, folder)]
    x, y, x_test, y_test = (parse_idx(d, f.label, axes=a) for d, f, a in zip(data, files, (3, 1, 3, 1), strict=True))
    return _part(x[:, None], y, raw), _part(x_test[:, None], y_test, raw)


def _part(x: NDArray[np.uint8], y: NDArray[np.uint8], raw: bool) -> Part:
    """Return fresh, writable arrays: images (n, channels, height, width) and labels (n,)."""
    return x.copy() if raw else np.divide(x, np.float32(255), dtype=np.float32), y.astype(np.int64)
