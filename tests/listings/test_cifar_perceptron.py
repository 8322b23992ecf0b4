"""R15 and R16: the perceptron on CIFAR-10, line by line, on the first 2,000 photographs."""

from __future__ import annotations

import numpy as np
import pytest

import laminar as lm
from laminar import callbacks, layers, optimizers, plots
from laminar.data import to_categorical


@pytest.fixture(scope="module")
def data() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    (train_images, train_labels), (test_images, test_labels) = lm.data.cifar10(raw=True)
    train_images = train_images[:2000].reshape((2000, 32 * 32 * 3))
    train_images = train_images.astype("float32") / 255
    test_images = test_images[:500].reshape((500, 32 * 32 * 3))
    test_images = test_images.astype("float32") / 255
    return (train_images, to_categorical(train_labels[:2000])), (test_images, to_categorical(test_labels[:500]))


@pytest.mark.data
def test_r15(data: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    (train_images, train_labels), (test_images, test_labels) = data
    network = lm.Sequential()
    network.add(layers.Dense(20, activation="relu"))
    network.add(layers.Dense(15, activation="relu"))
    network.add(layers.Dense(10, activation="softmax"))
    callbacks_list = [
        callbacks.ReduceLROnPlateau(
            monitor="val_loss",
            factor=0.1,
            patience=5,
        )
    ]
    sgd = optimizers.SGD(learning_rate=0.01, decay=1e-6, momentum=0.9, nesterov=True)
    network.compile(optimizer=sgd, loss="categorical_crossentropy", metrics=["accuracy"])
    history = network.fit(
        train_images,
        train_labels,
        epochs=5,
        batch_size=128,
        callbacks=callbacks_list,
        validation_split=0.2,
        seed=0,
        verbose=0,
    )

    history_dict = history.history
    assert set(history_dict) == {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
    acc, val_acc = history.history["accuracy"], history.history["val_accuracy"]
    loss, val_loss = history.history["loss"], history.history["val_loss"]
    assert [len(values) for values in (acc, val_acc, loss, val_loss)] == [5] * 4
    assert loss[-1] < loss[0]
    decayed = [0.01 / (1 + 1e-6 * i) for i in range(5 * 13)]
    np.testing.assert_allclose(history.iterations["learning_rate"], decayed, rtol=1e-6)

    picture = plots.history(history)
    assert [panel.get_ylabel() for panel in picture.axes] == ["loss", "accuracy (%)"]
    assert [len(panel.get_lines()) for panel in picture.axes] == [2, 2], "the four curves"
    assert 0 <= network.evaluate(test_images, test_labels)["accuracy"] <= 1


@pytest.mark.data
def test_r16(data: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    (train_images, train_labels), _ = data
    network = lm.Sequential()
    network.add(layers.Dense(20, activation="relu"))
    network.add(layers.BatchNormalization())
    network.add(layers.Dense(15, activation="relu"))
    network.add(layers.BatchNormalization())
    network.add(layers.Dense(10, activation="softmax"))
    network.compile(optimizer="sgd", loss="categorical_crossentropy", metrics=["accuracy"])
    history = network.fit(train_images, train_labels, epochs=3, batch_size=128, validation_split=0.2, seed=0, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert set(history.history["learning_rate"]) == {0.01}
    assert network.summary(show=False).learnable == 3072 * 20 + 20 + 20 * 15 + 15 + 15 * 10 + 10 + 2 * 20 + 2 * 15
