"""Class numbers as one-hot rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from laminar.errors import LabelError, complaint

__all__ = ["to_categorical"]


def to_categorical(labels: Any, num_classes: int | None = None) -> NDArray[np.float32]:
    """Return class numbers as one-hot rows, (N, ..., K) from (N, ...), as Keras' function of that name.

    The losses take class numbers as they are ("sparse_categorical_crossentropy" and the metrics too): this is for programs
    that are written with rows.

    Args:
        labels: whole numbers from 0, an array, tensor or list.
        num_classes: K; one more than the largest label where None.

    Raises:
        LabelError: if a label is not a whole number from 0 to K - 1, or there is none.

    >>> to_categorical([0, 2], 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    numbers = np.asarray(labels)
    where, fix = "to_categorical(labels)", "Pass class numbers, 0 to K - 1"
    whole = numbers.size and numbers.dtype.kind in "biuf" and bool((numbers == np.floor(numbers)).all())
    if not whole:
        received = f"{numbers.dtype}" if numbers.size else "none"
        raise LabelError(complaint(where, expected="whole numbers from 0", received=received, fix=fix))
    classes = int(numbers.max()) + 1 if num_classes is None else num_classes
    wrong = numbers[(numbers < 0) | (numbers >= classes)]
    if wrong.size:
        expected = f"whole numbers from 0 to {classes - 1}"
        raise LabelError(complaint(where, expected=expected, received=f"{wrong.flat[0]}", fix=fix))
    return np.eye(classes, dtype=np.float32)[numbers.astype(np.int64)]
