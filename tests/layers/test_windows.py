"""R17: the arithmetic of sliding windows, and Keras' definition of "same"."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from laminar.errors import ArgumentError
from laminar.layers.windows import Window

lengths = st.integers(1, 40)
kernels = st.integers(1, 7)
strides = st.integers(1, 5)
dilations = st.integers(1, 4)


def places(n: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Count by hand: the starts, from `padding` before the input, at which the whole window lies on the padded input."""
    last = (kernel - 1) * dilation
    return sum(1 for start in range(-padding, n + padding, stride) if start + last < n + padding)


@given(lengths, kernels, strides, st.integers(0, 4), dilations)
def test_output_length_is_the_number_of_places(n: int, kernel: int, stride: int, padding: int, dilation: int) -> None:
    window = Window.make("Test", ("kernel_size", kernel), stride, padding, dilation, 1)
    counted = places(n, kernel, stride, padding, dilation)
    assert max(window.output((n,))[0], 0) == counted
    assert (n >= window.least()[0]) == (counted > 0)
    if dilation == 1 and counted:
        assert counted == (n - kernel + 2 * padding) // stride + 1  # R17: (W - K + 2P) / S + 1


@given(lengths, kernels, strides, dilations)
def test_same_is_keras_definition(n: int, kernel: int, stride: int, dilation: int) -> None:
    window = Window.make("Test", ("kernel_size", kernel), stride, "same", dilation, 1)
    ((before, after),) = window.sides((n,))
    total = max((math.ceil(n / stride) - 1) * stride + dilation * (kernel - 1) + 1 - n, 0)
    assert before + after == total
    assert after - before == total % 2  # the odd one after
    assert window.output((n,)) == (math.ceil(n / stride),)
    assert window.least() == (1,)


@given(st.lists(st.tuples(st.integers(1, 9), kernels, strides, dilations), min_size=1, max_size=3))
def test_axes_are_independent(axes: list[tuple[int, int, int, int]]) -> None:
    sizes, kernel, stride, dilation = zip(*axes, strict=True)
    window = Window.make("Test", ("kernel_size", kernel), stride, "same", dilation, len(axes))
    assert window.sides(sizes) == [
        Window.make("Test", ("kernel_size", k), s, "same", d, 1).sides((n,))[0] for n, k, s, d in axes
    ]
    x = torch.randn(2, 3, *sizes)
    padded, left = window.pad(x, value=7.0)
    want = np.pad(x.numpy(), [(0, 0), (0, 0), *window.sides(sizes)], constant_values=7.0)
    got = np.pad(padded.numpy(), [(0, 0), (0, 0), *((p, p) for p in left)], constant_values=7.0)
    np.testing.assert_array_equal(got, want)


def test_valid_pads_nothing() -> None:
    x = torch.randn(1, 1, 4, 4)
    window = Window.make("Test", ("kernel_size", 3), 1, "valid", 1, 2)
    assert window.pad(x)[0] is x
    assert window.sides((4, 4)) == [(0, 0), (0, 0)]


def test_the_example_of_r17() -> None:
    """A 7 × 7 image under a 3 × 3 kernel with stride 2 gives 3 × 3."""
    assert Window.make("Conv2D", ("kernel_size", 3), 2, 0, 1, 2).output((7, 7)) == (3, 3)
    assert Window.make("Conv2D", ("kernel_size", 5), 1, 0, 1, 2).output((28, 28)) == (24, 24)


def test_numbers_of_numpy_are_numbers() -> None:
    window = Window.make("Test", ("kernel_size", np.int64(3)), np.array([2, 1]), np.int32(1), 1, 2)
    assert window == Window((3, 3), (2, 1), (1, 1), (1, 1))
    assert all(type(n) is int for n in (*window.kernel, *window.stride, *window.padding))


# -- errors ---------------------------------------------------------------------------------------------------------------

WHOLE = "expected a whole number of at least 1, or 2 of them, received"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0, 1, "valid", 1), f"Conv2D(kernel_size=): {WHOLE} 0. Pass 2, say."),
        ((2.5, 1, "valid", 1), f"Conv2D(kernel_size=): {WHOLE} 2.5. Pass 2, say."),
        ((None, 1, "valid", 1), f"Conv2D(kernel_size=): {WHOLE} None. Pass 2, say."),
        (((3, 3, 3), 1, "valid", 1), f"Conv2D(kernel_size=): {WHOLE} (3, 3, 3). Pass 2, say."),
        (("33", 1, "valid", 1), f"Conv2D(kernel_size=): {WHOLE} '33'. Pass 2, say."),
        ((3, (1, 0), "valid", 1), f"Conv2D(strides=): {WHOLE} (1, 0). Pass 2, say."),
        ((3, True, "valid", 1), f"Conv2D(strides=): {WHOLE} True. Pass 2, say."),
        ((3, 1, "valid", -1), f"Conv2D(dilation_rate=): {WHOLE} -1. Pass 2, say."),
        (
            (3, 1, "full", 1),
            """Conv2D(padding=): expected "valid", "same" or whole numbers, received 'full'. Pass padding="same".""",
        ),
        ((3, 1, -1, 1), "Conv2D(padding=): expected a whole number of at least 0, or 2 of them, received -1. Pass 2, say."),
        (
            (3, 1, (1, None), 1),
            "Conv2D(padding=): expected a whole number of at least 0, or 2 of them, received (1, None). Pass 2, say.",
        ),
        ((3, 1, None, 1), "Conv2D(padding=): expected a whole number of at least 0, or 2 of them, received None. Pass 2, say."),
    ],
)
def test_impossible_numbers(arguments: tuple[object, ...], text: str) -> None:
    kernel, stride, padding, dilation = arguments
    with pytest.raises(ArgumentError) as caught:
        Window.make("Conv2D", ("kernel_size", kernel), stride, padding, dilation, 2)
    assert str(caught.value) == text
