"""R19: transfer on MNIST, line by line, on 3,000 images; the whole of it is `laminar study transfer`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import laminar as lm
from laminar.layers import Activation, Conv2D, Dense, Dropout, Flatten, MaxPooling2D


@pytest.mark.data
def test_r19() -> None:
    batch_size, num_classes, epochs = 128, 5, 2
    filters, pool_size, kernel_size = 32, 2, 3
    img_rows, img_cols = 28, 28
    input_shape = (1, img_rows, img_cols)

    def train_model(
        model: lm.Sequential, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], num_classes: int
    ) -> float:
        x_train = train[0].reshape((train[0].shape[0], *input_shape))
        x_test = test[0].reshape((test[0].shape[0], *input_shape))
        x_train = x_train.astype("float32")
        x_test = x_test.astype("float32")
        x_train /= 255
        x_test /= 255
        y_train = lm.data.to_categorical(train[1], num_classes)
        y_test = lm.data.to_categorical(test[1], num_classes)
        model.compile(loss="categorical_crossentropy", optimizer="adadelta", metrics=["accuracy"])
        model.fit(x_train, y_train, batch_size=batch_size, epochs=epochs, verbose=0, validation_data=(x_test, y_test), seed=0)
        score = model.evaluate(x_test, y_test)
        assert score[0] > 0
        return score[1]

    (x_train, y_train), (x_test, y_test) = lm.data.mnist(raw=True)
    x_train, y_train, x_test, y_test = x_train[:3000], y_train[:3000], x_test[:1000], y_test[:1000]

    x_train_lt5, y_train_lt5 = x_train[y_train < 5], y_train[y_train < 5]
    x_test_lt5, y_test_lt5 = x_test[y_test < 5], y_test[y_test < 5]
    x_train_gte5, y_train_gte5 = x_train[y_train >= 5], y_train[y_train >= 5] - 5
    x_test_gte5, y_test_gte5 = x_test[y_test >= 5], y_test[y_test >= 5] - 5

    feature_layers = [
        Conv2D(filters, kernel_size, padding="valid"),
        Activation("relu"),
        Conv2D(filters, kernel_size),
        Activation("relu"),
        MaxPooling2D(pool_size=pool_size),
        Dropout(0.25),
        Flatten(),
    ]
    classification_layers = [
        Dense(128),
        Activation("relu"),
        Dropout(0.5),
        Dense(num_classes),
        Activation("softmax"),
    ]
    model = lm.Sequential(feature_layers + classification_layers)
    assert train_model(model, (x_train_lt5, y_train_lt5), (x_test_lt5, y_test_lt5), num_classes) > 0.8

    before = {name: value.clone() for name, value in model.state_dict().items()}
    for layer in feature_layers:
        layer.trainable = False
    assert train_model(model, (x_train_gte5, y_train_gte5), (x_test_gte5, y_test_gte5), num_classes) > 0.6
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"dense.weight", "dense.bias", "dense_1.weight", "dense_1.bias"}
