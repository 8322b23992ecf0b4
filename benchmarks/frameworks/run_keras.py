"""Keras 3: compile, fit, predict, with what Keras does by itself (jit_compile="auto"). The backend is set from outside."""

from __future__ import annotations

from importlib.metadata import version

import keras
import numpy as np

from frameworks import keras_networks
from frameworks.runner import AfterEpoch, Job, Subject, main

_BACKENDS = {"tensorflow": "tensorflow_cpu", "jax": "jax", "torch": "torch"}


class Watch(keras.callbacks.Callback):
    """Tells when an epoch has ended."""

    def __init__(self, after_epoch: AfterEpoch) -> None:
        super().__init__()
        self.after_epoch = after_epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.model.stop_training = not self.after_epoch(float((logs or {})["loss"]))


class Keras(Subject):
    """A compiled model."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        keras.utils.set_random_seed(job.seed)
        _set_threads(job.threads)
        if job.variant:
            keras.config.set_image_data_format(job.variant)
        if job.precision == "bfloat16":
            keras.mixed_precision.set_global_policy("mixed_bfloat16")

    def build(self) -> int:
        network = self.network
        self.model = keras_networks.build(network)
        loss = "mse"
        if network.classes:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(keras_networks.optimizer(network.optimizer, network.rate), loss)
        return sum(int(np.prod(v.shape)) for v in self.model.trainable_variables)

    def train(self, x: np.ndarray, y: np.ndarray, most_epochs: int, after_epoch: AfterEpoch) -> None:
        watch, size = Watch(after_epoch), self.network.batch
        self.model.fit(self._arranged(x), y, batch_size=size, epochs=most_epochs, verbose=0, callbacks=[watch])

    def epoch(self, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
        validation = (self._arranged(x_test), y_test)
        history = self.model.fit(self._arranged(x), y, batch_size=self.network.batch, validation_data=validation, verbose=0)
        return float(history.history["val_loss"][-1])

    def predict(self, x: np.ndarray) -> int:
        return len(self.model.predict(self._arranged(x), batch_size=self.network.predicted, verbose=0))

    def versions(self) -> dict[str, str]:
        package = _BACKENDS[keras.config.backend()]
        return {"keras": keras.__version__, package: version(package)}

    def _arranged(self, x: np.ndarray) -> np.ndarray:
        """Return images with their channels where Keras is told to expect them."""
        if x.ndim == 4 and keras.config.image_data_format() == "channels_last":
            return np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        return x


def _set_threads(threads: int) -> None:
    """Tell the backend how many; JAX has no such setting, and takes the processors that the process may use."""
    if keras.config.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    elif keras.config.backend() == "torch":
        import torch

        torch.set_num_threads(threads)


if __name__ == "__main__":
    main(Keras)
