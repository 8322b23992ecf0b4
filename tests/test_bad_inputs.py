"""Bad inputs of every kind: each gives one error that says where, what was expected, what came instead, and what mends it.

Every message is asserted word for word, so that changing one means reading it again as the person who will get it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import laminar as lm
from laminar import layers as L
from laminar.errors import (
    ArgumentError,
    DataError,
    DivergedError,
    DtypeError,
    FileError,
    GradientError,
    LabelError,
    LaminarError,
    LayerError,
    NotBuiltError,
    NotCompiledError,
    ShapeError,
    UnknownNameError,
)
from laminar.metrics import Accuracy
from laminar.optimizers import SGDM

X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
Y = np.arange(20) % 3
IMAGES = np.zeros((6, 3, 8, 8), np.float32)
SIX = np.arange(6) % 3

CROSSENTROPY = "sparse_categorical_crossentropy"


# ── networks, sources and layers that the cases need ─────────────────────────────────────────────────────────────────────


def chain(*layers: nn.Module, optimizer: Any = "sgd", loss: Any = CROSSENTROPY) -> lm.Sequential:
    """Return a compiled network that was not built yet."""
    model = lm.Sequential(list(layers))
    model.compile(optimizer, loss)
    return model


def dense(units: int = 3, loss: Any = CROSSENTROPY, optimizer: Any = None, **settings: Any) -> lm.Sequential:
    """Return a network for four features."""
    model = lm.Sequential([L.Dense(units)]).build((4,), seed=0)
    model.compile(SGDM(0.1) if optimizer is None else optimizer, loss, **settings)
    return model


def conv() -> lm.Sequential:
    """Return a network for images of three channels."""
    return chain(L.Conv2D(4, 3), L.Flatten(), L.Dense(3)).build((3, 8, 8), seed=0)  # type: ignore[return-value]


def fit(x: Any = X, y: Any = Y, model: lm.Model | None = None, **settings: Any) -> lm.History:
    return (model or dense()).fit(x, y, **{"verbose": 0, **settings})


def with_value(value: float, observation: int) -> np.ndarray[Any, Any]:
    """Return the data with one number replaced."""
    x = X.copy()
    x[observation, 2] = value
    return x


def frozen() -> lm.Sequential:
    model = dense()
    model.trainable = False
    return model


class Nothing(Dataset[Any]):
    """An empty dataset."""

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> Any:
        raise IndexError(index)


class Dry(IterableDataset[Any]):
    """An empty stream."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class UsedUp:
    """Hands out what is left of one iterator, each time it is asked."""

    def __init__(self) -> None:
        self.rest = iter([(X, Y)] * 3)

    def __iter__(self) -> Iterator[Any]:
        return self.rest


def emptied() -> lm.History:
    """Train on a list of batches that is emptied after the first epoch."""
    batches = [(X, Y)]

    class Clear(lm.Callback):
        def on_epoch_end(self, model: Any, state: Any) -> None:
            batches.clear()

    return fit(batches, None, epochs=9, callbacks=Clear())


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=5)


class NoReturn(lm.Layer):
    def forward(self, x: Tensor) -> Any:
        x * 2  # the return is missing


class NoReturnTorch(nn.Module):
    def forward(self, x: Tensor) -> Any:
        x * 2


class Pair(lm.Layer):
    def forward(self, x: Tensor) -> Any:
        return x, x


class Block(nn.Module):
    """Its normalization is for another width than its linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 5), nn.LayerNorm(7)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x))


class Scale(lm.Layer):
    def build(self, shape: tuple[int, ...]) -> None:
        self.factor = self.learnable(shape[0], init="ones")

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class GradientMissing(Scale):
    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Any:
        return dz * self.factor


class GradientMisshapen(Scale):
    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Any:
        return dz * self.factor, dz * x


# ── the cases ────────────────────────────────────────────────────────────────────────────────────────────────────────────

# fmt: off
# what is wrong -> (what is done, the error, its words)
CASES: dict[str, tuple[Callable[[], Any], type[LaminarError], str]] = {
    # data: shapes
    "vectors where images are due": (lambda: fit(np.zeros((6, 784), np.float32), SIX, conv()), ShapeError,
        "layer 'conv2d' (Conv2D, filters=4, kernel_size=(3, 3)): expected input (batch, channels, height, width), received (batch, 784), 2 axes. Add Reshape((1, 28, 28)) before it."),
    "an axis of channels at the end": (lambda: fit(np.zeros((6, 8, 8, 3), np.float32), SIX, conv()), ShapeError,
        "layer 'conv2d' (Conv2D, filters=4, kernel_size=(3, 3)): expected input of 3 channels, received (batch, 8, 8, 3), 8 channels. Pass x.movedim(-1, 1) if its last axis is the channels."),
    "other features than it was built for": (lambda: fit(np.zeros((20, 5))), ShapeError,
        "layer 'dense' (Dense, units=3): expected input of 4 features, received (batch, 5), 5 features. Give it 4 features, or build a new layer."),
    "images smaller than the kernel": (lambda: fit(np.zeros((6, 3, 2, 2)), SIX, conv()), ShapeError,
        'layer \'conv2d\' (Conv2D, filters=4, kernel_size=(3, 3)): expected height and width of at least (3, 3), received (2, 2). Use a smaller window, or padding="same".'),
    "a shape that Reshape cannot give": (lambda: lm.Sequential([L.Reshape((1, 28, 28))]).build((4,)), ShapeError,
        "layer 'reshape' (Reshape, shape=(1, 28, 28)): expected observations of 784 numbers, for shape (1, 28, 28), received (batch, 4), 4 numbers in each. Give Reshape a shape with as many numbers."),
    "two inputs for a chain": (lambda: fit((X, X)), ArgumentError,
        "Sequential: expected one input, received 2, in a tuple. Pass one array, or derive from Model with forward(self, a, b)."),
    "stock module, wrong width": (lambda: fit(X, Y, chain(nn.Linear(5, 3))), LayerError,
        "layer 'linear' (Linear): expected an input that its forward can take, received (batch, 4), on which it raised RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x4 and 5x3). Check it against the output of the layer before it in model.summary()."),
    "stock module, inside another": (lambda: fit(X, Y, chain(L.Dense(4), Block())), LayerError,
        "layer 'block/norm' (LayerNorm): expected an input that its forward can take, received (batch, 5), on which it raised RuntimeError: Given normalized_shape=[7], expected input with shape [*, 7], but got input of size[1, 5]. Check it against the output of the layer before it in model.summary()."),
    "second batch of another width": (lambda: fit([(X, Y), (X[:, :3], Y)], None), ShapeError,
        "batch 2: layer 'dense' (Dense, units=3): expected input of 4 features, received (batch, 3), 3 features. Give it 4 features, or build a new layer."),
    # data: labels
    "fewer outputs than one-hot classes": (lambda: fit(y=np.eye(5)[Y]), LabelError,
        "y: expected class numbers (N,) or one-hot rows (N, 3) (the network has 3 outputs), received shape (20, 5). Give the last layer 5 units, or pass labels of 3 classes."),
    "labels from 1": (lambda: fit(y=Y + 1), LabelError,
        "y: expected whole numbers 0 to 2 (the network has 3 outputs), received 3 at observation 2. The smallest label is 1 and the largest 3: pass y - 1 to count from 0."),
    "labels out of range": (lambda: fit(y=Y * 5), LabelError,
        "y: expected whole numbers 0 to 2 (the network has 3 outputs), received 5 at observation 1. Give the last layer 11 units, or correct the labels."),
    "negative labels": (lambda: fit(y=Y - 1), LabelError,
        "y: expected whole numbers 0 to 2 (the network has 3 outputs), received -1 at observation 0. Correct the labels below 0, or leave those observations out."),
    "floats as labels": (lambda: fit(y=Y.astype(np.float32)), LabelError,
        'y: expected whole numbers 0 to 2 (the network has 3 outputs) of an integer dtype, received torch.float32. Convert them with y.astype("int64"), or y.long() for a tensor.'),
    "nan as target": (lambda: fit(y=np.full(20, np.nan), model=dense(1, "mse")), LabelError,
        "y: expected finite numbers, received nan at observation 0. Remove that observation, or correct its target."),
    "targets of another width": (lambda: fit(y=np.zeros((20, 2)), model=dense(3, "mse")), LabelError,
        "y: expected shape (N, 3), like the network's output, received shape (20, 2). Give the last layer 2 units, or y the shape (N, 3)."),
    "three classes for yes and no": (lambda: fit(model=dense(1, "binary_crossentropy")), LabelError,
        "y: expected labels 0 and 1, or probabilities between them, received 2 at observation 2. Correct the labels."),
    "classes for one output": (lambda: fit(model=dense(1)), ArgumentError,
        'loss \'sparse_categorical_crossentropy\': expected a network of 2 outputs or more, received output shape (N, 1). Use loss="binary_crossentropy" with a sigmoid output.'),
    "no labels": (lambda: fit(y=None), LabelError,
        "y: expected labels, received none. Pass y, or data that yields (x, y)."),
    "no labels to evaluate with": (lambda: dense().evaluate(X), LabelError,
        "y: expected labels, received none. Pass y, or data that yields (x, y)."),
    "no labels in the stream": (lambda: fit([X, X], None), LabelError,
        "batch 1: y: expected labels, received none. Pass y, or data that yields (x, y)."),
    "a single label": (lambda: fit(y=3), LabelError,
        "y: expected one label for each observation, received a single number. Pass a list."),
    "labels as text": (lambda: fit(y=["cat"] * 20), DtypeError,
        "y: expected numbers, received text (dtype <U3). Number the values: np.unique(y, return_inverse=True)[1]."),
    "second batch with a label out of range": (lambda: fit([(X, Y), (X, Y * 5)], None), LabelError,
        "batch 2: y: expected whole numbers 0 to 2 (the network has 3 outputs), received 5 at observation 1. Give the last layer 11 units, or correct the labels."),
    # data: numbers
    "nan": (lambda: fit(with_value(np.nan, 7)), DataError,
        "x: expected finite numbers, received nan at observation 7 (1 of 20 observations are affected). Drop or repair them: keep = np.isfinite(x).reshape(len(x), -1).all(1)."),
    "inf": (lambda: fit(with_value(np.inf, 3)), DataError,
        "x: expected finite numbers, received inf at observation 3 (1 of 20 observations are affected). Drop or repair them: keep = np.isfinite(x).reshape(len(x), -1).all(1)."),
    "nan to predict from": (lambda: dense().predict(with_value(np.nan, 0)), DataError,
        "x: expected finite numbers, received nan at observation 0 (1 of 20 observations are affected). Drop or repair them: keep = np.isfinite(x).reshape(len(x), -1).all(1)."),
    "nan in the second batch": (lambda: fit([(X, Y), (with_value(np.nan, 5), Y)], None), DataError,
        "batch 2: x: expected finite numbers, received nan at observation 5 (1 of 20 observations are affected). Drop or repair them: keep = np.isfinite(x).reshape(len(x), -1).all(1)."),
    "nan among weights": (lambda: fit(sample_weight=np.full(20, np.nan)), DataError,
        "sample_weight: expected finite numbers, received nan at observation 0 (20 of 20 observations are affected). Drop or repair them: keep = np.isfinite(sample_weight).reshape(len(sample_weight), -1).all(1)."),
    "complex array": (lambda: fit(X.astype(np.complex64)), DtypeError,
        "x: expected real numbers, received dtype complex64. Split real and imaginary parts."),
    "complex tensor": (lambda: fit(torch.zeros(20, 4, dtype=torch.complex64)), DtypeError,
        "x: expected real numbers, received dtype torch.complex64. Split real and imaginary parts."),
    # data: kinds and amounts
    "no observation": (lambda: fit(np.zeros((0, 4)), np.zeros(0, np.int64)), DataError,
        "x: expected at least one observation, received shape (0, 4). Pass data that is not empty."),
    "an empty list": (lambda: fit([], []), DataError,
        "x: expected at least one observation, received shape (0,). Pass data that is not empty."),
    "an empty dataset": (lambda: fit(Nothing(), None), DataError,
        "x: expected at least one observation, received an empty dataset. Fill it."),
    "an empty stream": (lambda: fit(Dry(), None), DataError,
        "x: expected at least one batch, received none. Pass data that is not empty."),
    "a number": (lambda: fit(3.0, 3), DataError,
        "x: expected at least one observation, received shape (). Pass data that is not empty."),
    "None": (lambda: fit(None), DtypeError,
        "x: expected numbers, received None. Pass an array or a tensor."),
    "lengths that differ": (lambda: fit(y=Y[:7]), DataError,
        "x and y: expected as many observations in each, received 20 in x, 7 in y. Pass arrays of one length."),
    "inputs of several lengths": (lambda: fit((X, X[:3])), DataError,
        "x[0] and x[1]: expected as many observations in each, received 20 in x[0], 3 in x[1]. Pass arrays of one length."),
    "dtype object": (lambda: fit(np.array([[1, None]] * 20, dtype=object)), DtypeError,
        "x: expected numbers, received objects (dtype object). Convert it: np.asarray(x, dtype=np.float32)."),
    "text": (lambda: fit(np.array([["a", "b"]] * 20)), DtypeError,
        "x: expected numbers, received text (dtype <U1). Number the values: np.unique(x, return_inverse=True)[1]."),
    "the name of a file": (lambda: fit("digits.csv"), DtypeError,
        "x: expected numbers, received text (dtype <U10). Read the data first."),
    "dates": (lambda: fit(np.zeros((20, 4), "M8[D]")), DtypeError,
        "x: expected numbers, received dates (dtype datetime64[D]). Convert it: np.asarray(x, dtype=np.float32)."),
    "rows of several lengths": (lambda: fit([[1.0, 2.0], [3.0]], [0, 1]), DtypeError,
        "x: expected an array with rows of one length, received rows of several lengths. Pad them."),
    "a dict": (lambda: fit({"image": X}), DtypeError,
        "x: expected an array, a tensor, a Dataset, a DataLoader, or a re-iterable of (x, y), received dict. Convert it to one of these."),
    "a function": (lambda: fit(lambda: [(X, Y)], None), DtypeError,
        "x: expected an array, a tensor, a Dataset, a DataLoader, or a re-iterable of (x, y), received function. Convert it to one of these."),
    "a generator": (lambda: fit(((X, Y) for _ in range(2)), None), DataError,
        "x: expected something that can be iterated again for every epoch, received a generator, which can be iterated once. Pass list(x), or an object with an __iter__ method."),
    "an iterable that is used up": (lambda: fit(UsedUp(), None), DataError,
        "x: expected something that can be iterated again for every epoch, received a UsedUp, which can be iterated once. Pass list(x), or an object with an __iter__ method."),
    "batches that are gone after an epoch": (lambda: emptied(), DataError,
        "x: expected batches in epoch 2, received none. Pass something that can be iterated again for every epoch, such as a list or a DataLoader."),
    "batches of four parts": (lambda: fit([(X, Y, X, Y)], None), DataError,
        "batch 1: x: expected batches (x, y) or (x, y, weight), received 4 parts. Yield pairs."),
    "a list of arrays": (lambda: fit([X[0], X[1]], Y[:2]), ArgumentError,
        "x: expected an array, or a tuple of arrays for several inputs, received a list of ndarray beside y. Pass np.stack(x), or tuple(x) for several inputs."),
    "labels beside a loader": (lambda: fit(loader(), Y), ArgumentError,
        "y: expected none, because x, a DataLoader, yields its own, received ndarray. Leave y out, or pass x as an array."),
    "weights beside a loader": (lambda: fit(loader(), None, sample_weight=np.ones(20)), ArgumentError,
        "sample_weight: expected none, because x, a DataLoader, yields its own, received ndarray. Leave sample_weight out, or pass x as an array."),
    # fit: arguments
    "epochs=0": (lambda: fit(epochs=0), ArgumentError,
        "fit(epochs=): expected a whole number of at least 1, received 0. Pass 1 or more."),
    "batch_size=0": (lambda: fit(batch_size=0), ArgumentError,
        "fit(batch_size=): expected a whole number of at least 1, received 0. Pass 1 or more."),
    "batch_size=1.5": (lambda: fit(batch_size=1.5), ArgumentError,
        "fit(batch_size=): expected a whole number of at least 1, received 1.5. Pass 1 or more."),
    "batch_size=True": (lambda: fit(batch_size=True), ArgumentError,
        "fit(batch_size=): expected a whole number of at least 1, received True. Pass 1 or more."),
    "log_every=-1": (lambda: fit(log_every=-1), ArgumentError,
        "fit(log_every=): expected a whole number of at least 1, received -1. Pass 1 or more."),
    "predict(batch_size=0)": (lambda: dense().predict(X, batch_size=0), ArgumentError,
        "predict(batch_size=): expected a whole number of at least 1, received 0. Pass 1 or more."),
    "evaluate(batch_size=0)": (lambda: dense().evaluate(X, Y, batch_size=0), ArgumentError,
        "evaluate(batch_size=): expected a whole number of at least 1, received 0. Pass 1 or more."),
    "shuffle": (lambda: fit(shuffle="batch"), ArgumentError,
        'fit(shuffle=): expected "epoch", "once" or False, received \'batch\'. Pass shuffle="epoch".'),
    "shuffle=1": (lambda: fit(shuffle=1), ArgumentError,
        'fit(shuffle=): expected "epoch", "once" or False, received 1. Pass shuffle="epoch".'),
    "verbose": (lambda: fit(verbose=3), ArgumentError,
        "fit(verbose=): expected 0 (silent), 1 or 'auto' (live where that is possible), or 2 or 'plain' (rows of text), received 3. Pass verbose=1."),
    "seed": (lambda: fit(seed="a"), ArgumentError,
        "fit(seed=): expected a whole number or None, received 'a'. Pass seed=0, say."),
    "drop_last with too few": (lambda: fit(batch_size=50, drop_last=True), DataError,
        "fit(drop_last=True): expected at least one full batch of 50, received 20 observations. Pass batch_size=20 or less, or drop_last=False."),
    "drop_last with too few in a dataset": (lambda: fit(loader().dataset, None, batch_size=50, drop_last=True), DataError,
        "fit(drop_last=True): expected at least one full batch of 50, received 20 observations. Pass batch_size=20 or less, or drop_last=False."),
    "callback class": (lambda: fit(callbacks=[lm.Callback]), ArgumentError,
        "fit(callbacks=): expected instances of laminar.Callback, received the class Callback. Pass Callback()."),
    "callback function": (lambda: fit(callbacks=[print]), ArgumentError,
        "fit(callbacks=): expected instances of laminar.Callback, received a function. Derive its class from laminar.Callback."),
    "class without a weight": (lambda: fit(class_weight={0: 1.0, 1: 2.0}), ArgumentError,
        "fit(class_weight=): expected a weight for every class in y, received none for class 2. Add 2: 1.0."),
    "class weights by a word": (lambda: fit(class_weight="balanced"), ArgumentError,
        "fit(class_weight=): expected class number -> weight, or a weight for each class, received 'balanced'. "
        "Pass class_weight={0: 1.0, 1: 2.0}."),
    "class weights of a regression": (lambda: fit(y=np.linspace(0, 1, 20), model=dense(1, "mse"), class_weight={0: 1.0}), ArgumentError,
        "fit(class_weight=): expected one class number for each observation in y, received labels of shape (20, 1) and dtype torch.float32. Pass sample_weight instead."),
    "weights of another length": (lambda: fit(sample_weight=np.ones(3)), DataError,
        "x and sample_weight: expected as many observations in each, received 20 in x, 3 in sample_weight. Pass arrays of one length."),
    "weights in a column": (lambda: fit(sample_weight=np.ones((20, 1))), DataError,
        "sample_weight: expected one number for each observation, (N,), received shape (20, 1). Pass sample_weight.reshape(-1)."),
    "weights for each number": (lambda: fit(sample_weight=np.ones((20, 4))), DataError,
        "sample_weight: expected one number for each observation, (N,), received shape (20, 4). Pass as many numbers as observations."),
    # fit: validation
    "a share above one": (lambda: fit(validation_split=1.5), ArgumentError,
        "fit(validation_split=): expected a share in (0, 1), received 1.5. Pass validation_split=0.2, say."),
    "a share as text": (lambda: fit(validation_split="0.2"), ArgumentError,
        "fit(validation_split=): expected a share in (0, 1), received '0.2'. Pass validation_split=0.2, say."),
    "a share that leaves nothing": (lambda: fit(X[:3], Y[:3], validation_split=0.9), ArgumentError,
        "fit(validation_split=): expected observations left on both sides, received 0.9 of 3. Pass validation_data instead."),
    "a share of a loader": (lambda: fit(loader(), None, validation_split=0.2), ArgumentError,
        "fit(validation_split=): expected arrays, received DataLoader. Pass validation_data instead."),
    "a share of lengths that differ": (lambda: fit(y=Y[:7], validation_split=0.2), DataError,
        "x and y: expected as many observations in each, received 20 in x, 7 in y. Pass arrays of one length."),
    "both ways": (lambda: fit(validation_split=0.2, validation_data=(X, Y)), ArgumentError,
        "fit(validation_split=): expected one of validation_data and validation_split, received both. Leave one out."),
    "four parts to validate on": (lambda: fit(validation_data=(X, Y, Y, Y)), ArgumentError,
        "fit(validation_data=): expected (x, y) or (x, y, sample_weight), received a tuple of 4. Put several inputs into a tuple of their own: ((a, b), y)."),
    "validation without labels": (lambda: fit(validation_data=X), LabelError,
        "validation_data: y: expected labels, received none. Pass y, or data that yields (x, y)."),
    "validation with a nan": (lambda: fit(validation_data=(with_value(np.nan, 3), Y)), DataError,
        "validation_data: x: expected finite numbers, received nan at observation 3 (1 of 20 observations are affected). Drop or repair them: keep = np.isfinite(x).reshape(len(x), -1).all(1)."),
    "validation with a label out of range": (lambda: fit(validation_data=(X, Y * 5)), LabelError,
        "validation_data: y: expected whole numbers 0 to 2 (the network has 3 outputs), received 5 at observation 1. Give the last layer 11 units, or correct the labels."),
    "validation of another width": (lambda: fit(validation_data=(X[:, :3], Y)), ShapeError,
        "validation_data: layer 'dense' (Dense, units=3): expected input of 4 features, received (batch, 3), 3 features. Give it 4 features, or build a new layer."),
    "validation with a nan in the second batch": (lambda: fit(validation_data=[(X, Y), (with_value(np.nan, 3), Y)]), DataError,
        "validation_data: batch 2: x: expected finite numbers, received nan at observation 3 (1 of 20 observations are affected). Drop or repair them: keep = np.isfinite(x).reshape(len(x), -1).all(1)."),
    # compile
    "fit before": (lambda: lm.Sequential([L.Dense(3)]).fit(X, Y), NotCompiledError,
        'Sequential.fit: expected a compiled network, received one that does not know its loss. Call model.compile(optimizer="sgdm", loss="sparse_categorical_crossentropy") first.'),
    "evaluate before": (lambda: lm.Sequential([L.Dense(3)]).evaluate(X, Y), NotCompiledError,
        'Sequential.evaluate: expected a compiled network, received one that does not know its loss. Call model.compile(optimizer="sgdm", loss="sparse_categorical_crossentropy") first.'),
    "no loss": (lambda: lm.Sequential([]).compile("sgd"), ArgumentError,
        'compile(loss=): expected a loss, received none. Pass loss="sparse_categorical_crossentropy", say.'),
    "unknown optimizer": (lambda: lm.Sequential([]).compile("adan", "mse"), UnknownNameError,
        "optimizer 'adan' is unknown. Did you mean 'adam'? Known: adadelta, adagrad, adam, adamax, adamw, momentum, muon, nadam, nesterov, rmsprop, sgd, sgdm."),
    "unknown loss": (lambda: lm.Sequential([]).compile("sgd", "mean_square_error"), UnknownNameError,
        "loss 'mean_square_error' is unknown. Did you mean 'mean_squared_error'? Known: bce, binary_crossentropy, binary_focal_crossentropy, categorical_crossentropy, categorical_focal_crossentropy, categorical_hinge, cosine_similarity, crossentropy, hinge, huber, kl_divergence, kld, kullback_leibler_divergence, log_cosh, mae, mape, mean_absolute_error, mean_absolute_percentage_error, mean_squared_error, mean_squared_logarithmic_error, mse, msle, poisson, sparse_categorical_crossentropy, squared_hinge."),
    "unknown metric": (lambda: lm.Sequential([]).compile("sgd", "mse", metrics=["acuracy"]), UnknownNameError,
        "metric 'acuracy' is unknown. Did you mean 'accuracy'? Known: acc, accuracy, auc, bce, binary_accuracy, binary_crossentropy, binary_focal_crossentropy, categorical_accuracy, categorical_crossentropy, categorical_focal_crossentropy, categorical_hinge, cosine_similarity, f1, f1_score, hinge, huber, kl_divergence, kld, log_cosh, mae, mape, mean_absolute_error, mean_absolute_percentage_error, mean_squared_error, mean_squared_logarithmic_error, mse, msle, poisson, precision, r2, r2_score, recall, rmse, root_mean_squared_error, sparse_categorical_accuracy, sparse_categorical_crossentropy, sparse_top_k_categorical_accuracy, squared_hinge, top_5_accuracy, top_k_categorical_accuracy."),
    "loss class": (lambda: lm.Sequential([]).compile("sgd", nn.MSELoss), ArgumentError,
        "loss: expected a name, a Loss, a torch.nn loss or a function of prediction and target, received the class MSELoss. Pass MSELoss() with parentheses."),
    "metric class": (lambda: lm.Sequential([]).compile("sgd", "mse", metrics=[Accuracy]), ArgumentError,
        "metric: expected a name, a Metric or a function of prediction and target, received the class Accuracy. Pass Accuracy() with parentheses."),
    "metric twice": (lambda: lm.Sequential([]).compile("sgd", "mse", metrics=["mae", "mean_absolute_error"]), ArgumentError,
        'compile(metrics=): expected metrics of different names, other than "loss", received \'mean_absolute_error\' twice. Leave it out, or name a function: CustomMetric(function, name="other").'),
    "unknown device": (lambda: dense(device="gpu"), ArgumentError,
        'compile(device=): expected a device of this machine, received \'gpu\'. Pass device="auto".'),
    "negative learning rate": (lambda: SGDM(-1.0), ArgumentError,
        "SGDM(learning_rate=): expected a number above 0, received -1.0. Pass learning_rate=0.01, for example."),
    "optimizer of other parameters": (lambda: fit(model=dense(optimizer=torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1))), ArgumentError,
        "optimizer: expected the parameters of this network and no others, received SGD with 1 that are not its and without 2 to be trained. Give it model.parameters() after model.build, or pass functools.partial(torch.optim.SGD, lr=...)."),
    "optimizer that needs a closure": (lambda: fit(model=dense(optimizer=functools.partial(torch.optim.LBFGS, lr=0.1))), ArgumentError,
        'optimizer: expected one that steps without a closure, received LBFGS. Pass "adam", for example.'),
    "function that makes no optimizer": (lambda: fit(model=dense(optimizer=lambda parameters: 3)), ArgumentError,
        "optimizer: expected a function that returns a torch.optim.Optimizer, received one that returns int. Pass functools.partial(torch.optim.AdamW, lr=1e-3), for example."),
    "loss that returns a number": (lambda: fit(model=dense(loss=lambda p, y: 3.0)), ArgumentError,
        "loss '<lambda>': expected a tensor from the function, received float. Return the tensor itself, not .item() or a NumPy array, which have no gradient."),
    "loss that returns a mean, with weights": (lambda: fit(model=dense(loss=lambda p, y: p.mean()), sample_weight=np.ones(20)), ShapeError,
        "loss '<lambda>': expected one value per observation, shape (20,), because observations are weighted, received shape (). Return the values before taking their mean."),
    "metric that returns nothing": (lambda: fit(model=dense(metrics=[lambda p, y: None])), ArgumentError,
        "metric '<lambda>': expected a tensor or a number from the function, received NoneType. Return one value per observation, or their mean."),
    "the first five of three classes": (lambda: fit(model=dense(metrics=["top_5_accuracy"])), ArgumentError,
        'metric \'top_5_accuracy\': expected more than 5 classes, received 3. Use "accuracy", or k=2.'),
    # networks and layers
    "summary before it is built": (lambda: lm.Sequential([L.Dense(3)]).summary(), NotBuiltError,
        "Sequential.summary: expected a network that knows its input shape, received one that has not seen data yet. Call model.build((channels, height, width)) first."),
    "sizes instead of a shape": (lambda: lm.Sequential([L.Dense(3)]).build(1, 28, 28), ArgumentError,
        "Sequential.build: expected the shape of one observation, received 1, 28, 28. Write build((1, 28, 28)), without the batch axis."),
    "a layer class": (lambda: lm.Sequential([L.Flatten]), ArgumentError,
        "Sequential(layers=), position 0: expected a layer or torch.nn.Module, received the class Flatten. Write Flatten()."),
    "a function as layer": (lambda: lm.Sequential([torch.relu]), ArgumentError,
        "Sequential(layers=), position 0: expected a layer or torch.nn.Module, received a function. Wrap a function: Activation(function)."),
    "a layer without brackets": (lambda: lm.Sequential(L.Flatten()), ArgumentError,
        "Sequential(layers=): expected a list of layers, received Flatten. Put it into brackets: [Flatten(...)]."),
    "unknown name of a layer": (lambda: dense()["dens"], UnknownNameError,
        "layer 'dens' is unknown. Did you mean 'dense'? Known: dense."),
    "unknown activation": (lambda: L.Dense(3, activation="rellu"), UnknownNameError,
        "activation 'rellu' is unknown. Did you mean 'relu'? Known: celu, elu, exponential, gelu, glu, hard_shrink, hard_sigmoid, hard_silu, hard_swish, hard_tanh, identity, leaky_relu, linear, log_sigmoid, log_softmax, mish, relu, relu6, selu, sigmoid, silu, soft_shrink, softmax, softplus, softsign, sparse_plus, sparse_sigmoid, sparsemax, squareplus, swish, tanh, tanh_shrink, threshold."),
    "unknown initializer": (lambda: lm.Sequential([L.Dense(3, kernel_initializer="glorott")]).build((4,)), UnknownNameError,
        "initializer 'glorott' is unknown. Did you mean 'glorot_normal'? Known: constant, glorot_normal, glorot_relu_normal, glorot_relu_uniform, glorot_uniform, he_normal, he_uniform, identity, kaiming_normal, kaiming_uniform, lecun_normal, lecun_uniform, normal, one, ones, orthogonal, random_normal, random_uniform, standard_normal, truncated_normal, uniform, variance_scaling, xavier_normal, xavier_uniform, zero, zeros."),
    "unknown method": (lambda: L.Normalization("zcore"), UnknownNameError,
        "Normalization: method 'zcore' is unknown. Did you mean 'zscore'? Known: rescale-symmetric, rescale-zero-one, zerocenter, zscore."),
    "no units": (lambda: L.Dense(0), ArgumentError,
        "Dense(units=): expected a whole number of at least 1, received 0. Pass 1 or more."),
    "dropping everything": (lambda: L.Dropout(1.0), ArgumentError,
        "Dropout(rate=): expected a probability in [0, 1), received 1.0. Pass rate=0.5, say."),
    "a layer that returns None": (lambda: fit(model=chain(NoReturn(), L.Dense(3))), LayerError,
        "layer 'no_return' (NoReturn): expected forward to return a tensor, received None. Add a return statement to its forward."),
    "a torch module that returns None": (lambda: fit(model=chain(NoReturnTorch(), L.Dense(3))), LayerError,
        "layer 'no_return_torch' (NoReturnTorch): expected forward to return a tensor, received None. Add a return statement to its forward."),
    "two outputs": (lambda: fit(model=chain(L.Dense(3), Pair())), LayerError,
        "Sequential: expected a network with one output, to train it with one loss, received 2 outputs. Return one tensor from forward."),
    "nothing to learn": (lambda: fit(X[:, :3], Y, chain(nn.ReLU())), ArgumentError,
        "Sequential.fit: expected a parameter that learns, received none. Add a layer with weights, such as Dense."),
    "everything frozen": (lambda: fit(model=frozen()), ArgumentError,
        "Sequential.fit: expected a parameter that learns, received 2, all frozen. Unfreeze a layer: layer.trainable = True."),
    "a backward with a missing gradient": (lambda: fit(model=chain(GradientMissing(), L.Dense(3))), GradientError,
        "layer 'gradient_missing' (GradientMissing): expected backward to return dx and 1 gradient ('factor'), received dx and 0. Return one gradient for each learnable, in the order declared."),
    "a backward with a gradient of another shape": (lambda: fit(model=chain(GradientMisshapen(), L.Dense(3))), GradientError,
        "layer 'gradient_misshapen' (GradientMisshapen): expected the gradient of 'factor' to have shape (4,), received (20, 4). Sum over the axes along which it was broadcast."),
    "a loss that is infinite from the start": (lambda: fit(X * 1e20, np.zeros(20), dense(1, "mse")), DivergedError,
        "loss became inf at epoch 1, step 1. First non-finite gradient at step 1: 'dense.weight'. Possible fix: look at the scale of inputs and targets, or put Normalization('zscore') first."),
    "a loss that diverges": (lambda: fit(y=np.zeros(20), model=dense(1, "mse", SGDM(1e30)), epochs=9, batch_size=20), DivergedError,
        "loss became inf at epoch 2, step 2 (last finite 2.77 at step 1). All gradients are finite. Possible fix: lower learning_rate (now 1e+30) or set clipnorm=1.0."),
}
# fmt: on


@pytest.mark.parametrize("what", CASES)
def test_one_clear_error(what: str) -> None:
    """Of a class of ours, with one message and nothing else."""
    action, kind, words = CASES[what]
    with pytest.raises(LaminarError) as e:
        action()
    assert type(e.value) is kind
    assert str(e.value) == words
    assert e.value.args == (words,)


@pytest.mark.parametrize("what", CASES)
def test_every_message_has_its_parts(what: str) -> None:
    """Where, expected, received, fix; or, for a name, the list of those that are known; for a loss, what became of it."""
    _, kind, words = CASES[what]
    assert words.endswith(".")
    if kind is UnknownNameError:
        assert " is unknown. Did you mean " in words
        assert " Known: " in words
    elif kind is DivergedError:
        assert words.startswith("loss became ")
        assert " Possible fix: " in words
    else:
        where, rest = words.split(": expected ", 1)
        assert where
        _, rest = rest.split(", received ", 1)
        _, fix = rest.split(". ", 1)
        assert fix[0].isupper()


def test_a_truncated_file_of_weights(tmp_path: Path) -> None:
    """See tests/fit/test_checkpoint.py for the other ways in which a file can be wrong."""
    model = dense()
    path = tmp_path / "w.safetensors"
    model.save_weights(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileError) as e:
        model.load_weights(path)
    assert str(e.value) == (
        f"load_weights({str(path)!r}): expected a whole safetensors file, received {e.value.__cause__}. Save the weights again."
    )


def test_a_network_works_after_every_error() -> None:
    """What was refused leaves nothing behind."""
    model = dense()
    before = [p.clone() for p in model.parameters()]
    for x, y in [(with_value(np.nan, 1), Y), (X, Y + 1), (X[:, :3], Y), (X, Y[:3])]:
        with pytest.raises(LaminarError):
            fit(x, y, model)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert model.input_shape == (4,)
    assert len(fit(model=model, epochs=2).epoch) == 2
