"""Augmentation against Keras': where a factor's ends are the same nothing is left to chance, and the images are compared.

Flips, crops and erasing differ from Keras', as docs/differences.md says.
"""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from parity.support import assert_close, gradients, keras, parity

from laminar import layers as L

fills = st.sampled_from(["constant", "nearest", "reflect", "wrap"])
sizes = st.tuples(st.integers(2, 6), st.integers(2, 6))


def compared(own: Any, theirs: Any, size: tuple[int, int], bound: float = 1e-5) -> None:
    x = torch.rand(3, 2, *size)
    z, grads = gradients(own, [x], [])
    want, wanted = gradients(lambda x: theirs(x, training=True), [x], [])
    assert_close([*z, *grads], [*want, *wanted], bound)


@parity
@given(fill=fills, size=sizes, factor=st.floats(-0.99, 0.99), value=st.sampled_from([0.0, 0.4]))
def test_rotation(fill: Any, size: tuple[int, int], factor: float, value: float) -> None:
    own = L.RandomRotation((factor, factor), fill, fill_value=value)
    theirs = keras.layers.RandomRotation((factor, factor), fill, fill_value=value, data_format="channels_first")
    compared(own, theirs, size)


@parity
@given(fill=fills, size=sizes, down=st.floats(-0.9, 0.9), right=st.floats(-0.9, 0.9))
def test_translation(fill: Any, size: tuple[int, int], down: float, right: float) -> None:
    own = L.RandomTranslation((down, down), (right, right), fill)
    theirs = keras.layers.RandomTranslation((down, down), (right, right), fill, data_format="channels_first")
    compared(own, theirs, size)


@parity
@given(fill=fills, size=sizes, height=st.floats(-0.9, 0.9), width=st.none() | st.floats(-0.9, 0.9))
def test_zoom(fill: Any, size: tuple[int, int], height: float, width: float | None) -> None:
    pair = None if width is None else (width, width)
    own = L.RandomZoom((height, height), pair, fill)
    theirs = keras.layers.RandomZoom((height, height), pair, fill, data_format="channels_first")
    compared(own, theirs, size)


@parity
@given(size=sizes, factor=st.floats(0, 0.9))
def test_brightness_and_contrast(size: tuple[int, int], factor: float) -> None:
    brighter = L.RandomBrightness((factor, factor))
    theirs = keras.layers.RandomBrightness((factor, factor), value_range=(0.0, 1.0), data_format="channels_first")
    compared(brighter, lambda x, training: theirs(x.clone(), training=training), size)  # Keras' changes its input
    more = L.RandomContrast((0.0, factor))  # the factor is drawn: compared is what the same draw gives
    x = torch.rand(3, 2, *size)
    torch.manual_seed(0)
    z = more(x)
    torch.manual_seed(0)
    f = 1 + factor * torch.rand(3)
    theirs = keras.layers.RandomContrast((0.0, factor), value_range=(0.0, 1.0), data_format="channels_first")
    want = theirs.transform_images(x, {"contrast_factor": f[:, None, None, None]})
    assert_close([z], [want])
