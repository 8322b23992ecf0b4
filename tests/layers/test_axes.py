"""R17: numbers for each axis, and what is said about inputs with other axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError
from laminar.layers.axes import one_each, pair_each


def test_one_number_for_each_axis() -> None:
    assert one_each("x", 2, 3, least=1) == (2, 2, 2)
    assert one_each("x", np.array([2, 1]), 2, least=1) == (2, 1)
    assert all(type(n) is int for n in one_each("x", np.int32(0), 2, least=0))


def test_a_pair_for_each_axis() -> None:
    """As Keras reads them: one axis takes a pair, several take a number or a pair each."""
    assert pair_each("x", 2, 2) == ((2, 2), (2, 2))
    assert pair_each("x", (1, 2), 2) == ((1, 1), (2, 2))
    assert pair_each("x", ((1, 2), (3, 4)), 2) == ((1, 2), (3, 4))
    assert pair_each("x", ((1, 2), 0, [3, 4]), 3) == ((1, 2), (0, 0), (3, 4))
    assert pair_each("x", (1, 2), 1) == ((1, 2),)
    assert pair_each("x", ((1, 2),), 1) == ((1, 2),)
    assert pair_each("x", np.int64(1), 1) == ((1, 1),)


@pytest.mark.parametrize(
    ("value", "axes", "text"),
    [
        (-1, 2, "a whole number of at least 0, or 2 numbers or pairs of them, received -1. Pass 1 for all sides, or ((0, 1), (0, 1)), say."),
        ((1, 2, 3), 2, "a whole number of at least 0, or 2 numbers or pairs of them, received (1, 2, 3). Pass 1 for all sides, or ((0, 1), (0, 1)), say."),
        ((1, (1, 2, 3)), 2, "a whole number of at least 0, or 2 numbers or pairs of them, received (1, (1, 2, 3)). Pass 1 for all sides, or ((0, 1), (0, 1)), say."),
        ((1, 2.5), 1, "a whole number of at least 0, or a pair of them, received (1, 2.5). Pass 1 for all sides, or (1, 2), say."),
        (None, 1, "a whole number of at least 0, or a pair of them, received None. Pass 1 for all sides, or (1, 2), say."),
        ("12", 1, "a whole number of at least 0, or a pair of them, received '12'. Pass 1 for all sides, or (1, 2), say."),
    ],
)  # fmt: skip
def test_impossible_pairs(value: Any, axes: int, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        pair_each("Layer(padding=)", value, axes)
    assert str(caught.value) == f"Layer(padding=): expected {text}"


CONV = {
    1: (L.Conv1D, "layer 'conv1d' (Conv1D, filters=2, kernel_size=(3,)): expected input (batch, channels, length)"),
    2: (L.Conv2D, "layer 'conv2d' (Conv2D, filters=2, kernel_size=(3, 3)): expected input (batch, channels, height, width)"),
    3: (L.Conv3D, "layer 'conv3d' (Conv3D, filters=2, kernel_size=(3, 3, 3)): expected input (batch, channels, depth, height, width)"),
}  # fmt: skip
ONE_MISSING = "Pass x[:, None] if it lacks the channel axis, x[None] if it lacks the batch axis."


@pytest.mark.parametrize(
    ("axes", "shape", "text"),
    [
        (2, (784,), "(batch, 784), 2 axes. Add Reshape((1, 28, 28)) before it."),
        (2, (783,), "(batch, 783), 2 axes. Add Reshape((channels, height, width)) before it."),
        (2, (28, 28), f"(batch, 28, 28), 3 axes. {ONE_MISSING}"),
        (2, (28, 3), "(batch, 28, 3), 3 axes. Pass x.permute(2, 0, 1)[None] if it is one image, channels last."),
        (2, (1, 3, 28, 28), "(batch, 1, 3, 28, 28), 5 axes. Remove an axis."),
        (2, (), "(batch,), 1 axis. Add Reshape((channels, height, width)) before it."),
        (1, (30,), f"(batch, 30), 2 axes. {ONE_MISSING}"),
        (1, (3, 30, 2), "(batch, 3, 30, 2), 4 axes. Remove an axis."),
        (3, (9, 9, 9), f"(batch, 9, 9, 9), 4 axes. {ONE_MISSING}"),
        (3, (9, 9), "(batch, 9, 9), 3 axes. Add Reshape((channels, depth, height, width)) before it."),
    ],
)
def test_wrong_number_of_axes(axes: int, shape: tuple[int, ...], text: str) -> None:
    make, expected = CONV[axes]
    with pytest.raises(ShapeError) as caught:
        make(2, 3)(torch.zeros(4, *shape))
    assert str(caught.value) == f"{expected}, received {text}"


SMALLER = 'Use a smaller window, or padding="same".'


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (L.Conv2D(2, 3), (1, 2, 9), f"height and width of at least (3, 3), received (2, 9). {SMALLER}"),
        (L.Conv2D(2, 3, dilation_rate=4), (1, 8, 9), f"height and width of at least (9, 9), received (8, 9). {SMALLER}"),
        (L.Conv2D(2, 5, padding=1), (1, 2, 2), f"height and width of at least (3, 3), received (2, 2). {SMALLER}"),
        (L.Conv2D(2, 2, padding="same"), (1, 0, 4), f"height and width of at least (1, 1), received (0, 4). {SMALLER}"),
        (L.MaxPooling1D(4), (3, 3), f"length of at least (4,), received (3,). {SMALLER}"),
        (L.AveragePooling3D(4), (3, 3, 4, 4), f"depth, height and width of at least (4, 4, 4), received (3, 4, 4). {SMALLER}"),
        (
            L.Conv2D(2, 3),
            (28, 28, 1),
            "height and width of at least (3, 3), received (28, 1). Pass x.movedim(-1, 1) if its last axis is the channels.",
        ),
        (
            L.MaxPooling2D(4),
            (32, 32, 3),
            "height and width of at least (4, 4), received (32, 3). Pass x.movedim(-1, 1) if its last axis is the channels.",
        ),
    ],
)
def test_too_small_for_the_window(layer: Any, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(4, *shape))
    assert str(caught.value) == f"{layer.label}: expected {text}"


def test_other_channels_that_come_last() -> None:
    layer = L.Conv2D(2, 3)
    layer(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(1, 32, 32, 3))
    assert str(caught.value) == (
        f"{layer.label}: expected input of 3 channels, received (batch, 32, 32, 3), 32 channels. "
        "Pass x.movedim(-1, 1) if its last axis is the channels."
    )


def test_the_first_input_of_a_layer_without_learnables_is_checked() -> None:
    """Torch would take (5, 8, 8) for one image of five channels."""
    with pytest.raises(ShapeError) as caught:
        L.MaxPooling2D(2)(torch.zeros(5, 8, 8))
    assert str(caught.value) == (
        "layer 'max_pooling2d' (MaxPooling2D, pool_size=(2, 2)): expected input (batch, channels, height, width), "
        f"received (batch, 8, 8), 3 axes. {ONE_MISSING}"
    )


@pytest.mark.parametrize(
    ("make", "owner"),
    [
        (lambda: L.Conv2D(2, 3, data_format="channels_last"), "Conv2D"),  # type: ignore[call-arg]  # refused
        (lambda: L.MaxPooling2D(2, data_format="channels_last"), "MaxPooling2D"),
        (lambda: L.GlobalAveragePooling2D(data_format="channels_last"), "GlobalAveragePooling2D"),
        (lambda: L.ZeroPadding2D(data_format="channels_last"), "ZeroPadding2D"),
        (lambda: L.SeparableConv2D(2, 3, data_format="channels_last"), "SeparableConv2D"),
        (lambda: L.Flatten(data_format="channels_last"), "Flatten"),  # type: ignore[call-arg]  # refused
    ],
)
def test_data_format_is_refused(make: Any, owner: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value) == (
        f"{owner}(data_format=): expected none: channels come first in every layer, received 'channels_last'. "
        "Leave it out, and give channels-last data as x.movedim(-1, 1)."
    )
