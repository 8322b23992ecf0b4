"""Arguments that constructors of layers do not have: Keras' words, slips, and layers that take any."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor

from laminar import layers as L
from laminar.errors import ArgumentError, UnknownNameError

if TYPE_CHECKING:
    from typing import Unpack

    from laminar.layers.core import WeightOptions

MAKE: Any = L  # the arguments are wrong on purpose


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: MAKE.Dense(20, input_shape=(3072,)), "Dense(input_shape=): expected none: shapes are inferred, received (3072,). "
         "Leave it out; model.build(shape) tells the shape before there is data."),
        (lambda: MAKE.LSTM(4, batch_input_shape=(1, 5, 1), stateful=True), "LSTM(batch_input_shape=): expected none: shapes are "
         "inferred, received (1, 5, 1). Leave it out; model.build(shape) tells the shape before there is data."),
        (lambda: MAKE.Embedding(100, 8, input_length=20), "Embedding(input_length=): expected none: shapes are inferred, received 20. "
         "Leave it out; model.build(shape) tells the shape before there is data."),
        (lambda: MAKE.Embedding(100, 8, weights=[np.zeros((100, 8))]), "Embedding(weights=): expected none: initializers give values, "
         "received [array([[0., 0... 0., 0., 0.]])]. Leave it out, and pass a tensor as initializer."),
        (lambda: MAKE.Conv2D(8, 3, kernel_regularizer="l2"), "Conv2D(kernel_regularizer=): expected none: the penalty belongs to training, "
         "received 'l2'. Leave it out, and give the optimizer weight_decay=1e-4, say."),
        (lambda: MAKE.Dense(8, bias_constraint="nonneg"), "Dense(bias_constraint=): expected none: no weight is constrained, "
         "received 'nonneg'. Leave it out."),
        (lambda: MAKE.Flatten(trainable=False), "Flatten(trainable=): expected none: it is an attribute, received False. "
         "Leave it out, and set layer.trainable = False."),
        (lambda: MAKE.Dropout(0.5, seed=1), "Dropout(seed=): expected none: one seed repeats a whole run, received 1. "
         "Leave it out, and pass seed= to build or fit."),
        (lambda: MAKE.Activation("relu", dtype="float16"), "Activation(dtype=): expected none: a network has one dtype, "
         "received 'float16'. Leave it out, and call model.to(torch.float64), say."),
    ],
)  # fmt: skip
def test_keras_words(make: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: MAKE.Dense(unit=20), "Dense: argument 'unit' is unknown. Did you mean 'units'? "
         "Known: activation, bias_initializer, kernel_initializer, name, units, use_bias."),
        (lambda: MAKE.MaxPooling2D(pool=2), "MaxPooling2D: argument 'pool' is unknown. Did you mean 'pool_size'? "
         "Known: name, padding, pool_size, strides."),
        (lambda: MAKE.Flatten(nam="x"), "Flatten: argument 'nam' is unknown. Did you mean 'name'? Known: name."),
    ],
)  # fmt: skip
def test_slips(make: Any, text: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        make()
    assert str(caught.value) == text


class Anything(L.Layer):
    """Says itself what it takes, and so do the annotations that only type checkers read."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.seen = kwargs

    def forward(self, x: Tensor) -> Tensor:
        return x


class Numbers(Anything):
    """Takes any, of one kind."""

    def __init__(self, **kwargs: list[int]) -> None:
        super().__init__(**kwargs)


class Described(L.Dense):
    """A layer whose options are described for type checkers alone."""

    def __init__(self, **options: Unpack[WeightOptions]) -> None:
        super().__init__(2, **options)


def test_layers_that_take_any_argument() -> None:
    assert Anything(input_shape=3, seed=1).seen == {"input_shape": 3, "seed": 1}
    assert Numbers(rows=[1]).seen == {"rows": [1]}
    assert not Described(use_bias=False).use_bias
    with pytest.raises(UnknownNameError, match=r"^Described: argument .input_shape. is unknown\."):  # Dense's own word
        Described(input_shape=(3,))  # type: ignore[call-arg]  # refused


def test_copies_are_made_without_arguments() -> None:
    layer = L.Dense(2, use_bias=False).eval()
    layer(torch.zeros(1, 3))
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin.weight, layer.weight)
