"""Dropout and noise against Keras': the same share, mean and variance, the same numbers kept or dropped together.

Draws cannot be compared one by one. Bounds are six standard deviations of the difference of two estimates.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity.support import keras, parity
from torch import Tensor

from laminar import layers as L

rates = st.floats(0.1, 0.8)
OBSERVATIONS = 4000


def alike(own: Any, theirs: Any, x: Tensor, *, independent: int) -> tuple[np.ndarray, np.ndarray]:
    """Return both outputs in training, after comparing the moments of each and finding inference the identity."""
    torch.testing.assert_close(own.eval()(x), theirs(x, training=False))
    a = own.train()(x).double().numpy()
    b = theirs(x, training=True).detach().double().numpy()
    assert a.shape == b.shape
    for f in (lambda z: z, np.square, lambda z: (z == 0).astype(float)):
        largest = max(f(a).std(), f(b).std())
        assert abs(f(a).mean() - f(b).mean()) <= 6 * largest * math.sqrt(2 / independent) + 1e-12
    return a, b


@parity
@given(rate=rates)
def test_independent_numbers(rate: float) -> None:
    x = torch.randn(OBSERVATIONS, 6)
    own: Any
    for own, theirs in [
        (L.Dropout(rate), keras.layers.Dropout(rate)),
        (L.GaussianDropout(rate), keras.layers.GaussianDropout(rate)),
        (L.GaussianNoise(rate), keras.layers.GaussianNoise(rate)),
        (L.AlphaDropout(rate), keras.layers.AlphaDropout(rate)),
    ]:
        alike(own, theirs, x, independent=x.numel())


@parity
@given(rate=rates, entries=st.tuples(st.sampled_from([1, None]), st.sampled_from([1, None])))
def test_noise_shape(rate: float, entries: tuple[int | None, int | None]) -> None:
    """Keras' has the batch axis in front."""
    x = torch.ones(OBSERVATIONS, 3, 4)
    masks = OBSERVATIONS * (entries[0] or 3) * (entries[1] or 4)
    own, theirs = L.Dropout(rate, entries), keras.layers.Dropout(rate, noise_shape=(None, *entries))
    for z in alike(own, theirs, x, independent=masks):
        for axis, entry in enumerate(entries, start=1):
            assert (np.ptp(z, axis=axis).max() == 0) == (entry == 1)


@parity
@given(rate=rates, axes=st.integers(1, 3))
def test_spatial_dropout(rate: float, axes: int) -> None:
    x = torch.ones(OBSERVATIONS, 3, *(2,) * axes)
    own = [L.SpatialDropout1D, L.SpatialDropout2D, L.SpatialDropout3D][axes - 1](rate)
    if axes == 1:  # Keras' has its channels last, always
        keras_layer = keras.layers.SpatialDropout1D(rate)

        def theirs(x: Tensor, training: bool) -> Tensor:
            return keras_layer(x.movedim(1, -1), training=training).movedim(-1, 1)
    else:
        theirs = getattr(keras.layers, f"SpatialDropout{axes}D")(rate, data_format="channels_first")
    for z in alike(own, theirs, x, independent=OBSERVATIONS * 3):
        assert np.ptp(z.reshape(OBSERVATIONS, 3, -1), axis=2).max() == 0
