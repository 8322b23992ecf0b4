"""One-hot rows, against Keras' and torch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from laminar.data import to_categorical
from laminar.errors import LabelError


def test_rows_are_those_of_torch() -> None:
    labels = np.random.default_rng(0).integers(0, 7, (5, 3))
    want = torch.nn.functional.one_hot(torch.from_numpy(labels), 7).float().numpy()
    for given in (labels, torch.from_numpy(labels), labels.tolist(), labels.astype(np.float32)):
        rows = to_categorical(given, 7)
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, want)
    assert to_categorical([0, 3]).shape == (2, 4)


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, 5], 5, "to_categorical(labels): expected whole numbers from 0 to 4, received 5. Pass class numbers, 0 to K - 1."),
        (
            [0, -1],
            None,
            "to_categorical(labels): expected whole numbers from 0 to 0, received -1. Pass class numbers, 0 to K - 1.",
        ),
        (
            [0.5],
            None,
            "to_categorical(labels): expected whole numbers from 0, received float64. Pass class numbers, 0 to K - 1.",
        ),
        ([], None, "to_categorical(labels): expected whole numbers from 0, received none. Pass class numbers, 0 to K - 1."),
        (["cat"], None, "to_categorical(labels): expected whole numbers from 0, received <U3. Pass class numbers, 0 to K - 1."),
    ],
)
def test_bad_labels(labels: Any, classes: int | None, message: str) -> None:
    with pytest.raises(LabelError) as e:
        to_categorical(labels, classes)
    assert str(e.value) == message
