"""Data: synthetic digits made on the spot, and the published image sets, verified by checksum.

>>> from laminar.data import digits
>>> (x, y), (x_test, y_test) = digits(n_train=30, n_test=10)
>>> x.shape, y.shape
((30, 1, 28, 28), (30,))
"""

from laminar.data.digits import digits
from laminar.data.folders import ImageFolder, image_folder
from laminar.data.images import cifar10, fashion_mnist, mnist
from laminar.data.kernels import image_kernels
from laminar.data.labels import to_categorical
from laminar.data.series import windows

__all__ = [
    "ImageFolder",
    "cifar10",
    "digits",
    "fashion_mnist",
    "image_folder",
    "image_kernels",
    "mnist",
    "to_categorical",
    "windows",
]
