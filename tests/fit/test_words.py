"""Arguments that a network's methods do not have: Keras' words, slips, and too many without a name."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, UnknownNameError

X, Y = np.zeros((4, 3), np.float32), np.zeros(4, int)
MAKE: Any = lm  # the arguments are wrong on purpose


def network() -> Any:
    model = lm.Sequential([L.Dense(2)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (lambda m: m.evaluate(X, Y, verbose=0), "Sequential.evaluate(verbose=): expected none: it prints nothing, received 0. Leave it out."),
        (lambda m: m.predict(X, verbose=0), "Sequential.predict(verbose=): expected none: it prints nothing, received 0. Leave it out."),
        (lambda m: m.compile("adam", "mse", learning_rate=0.1), "Sequential.compile(learning_rate=): expected none: it is the "
         "optimizer's, received 0.1. Write compile(optimizers.Adam(learning_rate=0.001), ...), say."),
        (lambda m: m.fit(X, Y, steps_per_epoch=5), "Sequential.fit(steps_per_epoch=): expected none: an epoch is one pass over the "
         "data, received 5. Leave it out."),
        (lambda m: m.fit(X, Y, 32, 2), "Sequential.fit: expected only x and y without a name, received 4 arguments. "
         "Name the others, as in epochs=."),
        (lambda m: MAKE.Sequential(L.Flatten(), L.Dense(2)), "Sequential(layers=): expected a list of layers, received 2 arguments. "
         "Put them into brackets: Sequential([a, b])."),
        (lambda m: MAKE.Sequential([lm.Input((3,)), L.Dense(2)]), "Sequential(layers=), position 0: expected a layer or "
         "torch.nn.Module, received Symbol. Leave Input out, shapes are inferred; or write Model(inputs, outputs)."),
    ],
)  # fmt: skip
def test_keras_and_torch_words(use: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        use(network())
    assert str(caught.value) == text


def test_slips() -> None:
    model = network()
    for use, text in (
        (lambda: model.fit(X, Y, nb_epoch=2), "Sequential.fit: argument 'nb_epoch' is unknown. Did you mean 'epochs'? Known: "),
        (
            lambda: model.compile(optimiser="sgd"),
            "Sequential.compile: argument 'optimiser' is unknown. Did you mean 'optimizer'? ",
        ),
        (
            lambda: model.predict(X, batchsize=2),
            "Sequential.predict: argument 'batchsize' is unknown. Did you mean 'batch_size'? ",
        ),
    ):
        with pytest.raises(UnknownNameError) as caught:
            use()
        assert str(caught.value).startswith(text)
    assert not list(model.parameters())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: MAKE.callbacks.ModelCheckpoint("a.safetensors", save_weights_only=True),
         "ModelCheckpoint(save_weights_only=): expected none: weights are all that is saved, received True. Leave it out."),
        (lambda: MAKE.callbacks.ReduceLROnPlateau(epsilon=1e-3),
         "ReduceLROnPlateau(epsilon=): expected none: it is min_delta, received 0.001. Pass min_delta=1e-4, say."),
        (lambda: MAKE.callbacks.EarlyStopping(restore_best=True), "EarlyStopping: argument 'restore_best' is unknown. "
         "Did you mean 'restore_best_weights'? Known: baseline, min_delta, mode, monitor, patience, restore_best_weights, "
         "start_from_epoch, verbose."),
    ],
)  # fmt: skip
def test_callbacks(make: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value) == text


def test_the_methods_read_as_they_are_written() -> None:
    assert list(inspect.signature(lm.Model.predict).parameters) == ["self", "x", "batch_size"]
    assert (lm.Model.fit.__doc__ or "").startswith("Train the network")
