"""Laminar: compile, fit, predict, with what it does by itself."""

from __future__ import annotations

import numpy as np
import torch

import laminar as lm
from frameworks import laminar_networks
from frameworks.runner import AfterEpoch, Job, Subject, main
from laminar.callbacks import Callback


class Watch(Callback):
    """Tells when an epoch has ended."""

    def __init__(self, after_epoch: AfterEpoch) -> None:
        self.after_epoch = after_epoch

    def on_epoch_end(self, model: lm.Model, state: lm.callbacks.State) -> None:
        if not self.after_epoch(state.history.history["loss"][-1]):
            state.stop = "enough"


class Laminar(Subject):
    """A compiled network."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        torch.set_num_threads(job.threads)

    def build(self) -> int:
        network = self.network
        self.model = laminar_networks.build(network.name).build(network.shape, seed=self.job.seed)
        loss = "sparse_categorical_crossentropy" if network.classes else "mse"
        optimizer = laminar_networks.optimizer(network.optimizer, network.rate)
        self.model.compile(optimizer, loss, precision=self.job.precision)
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    def train(self, x: np.ndarray, y: np.ndarray, most_epochs: int, after_epoch: AfterEpoch) -> None:
        how = {"batch_size": self.network.batch, "seed": self.job.seed, "verbose": 0}
        self.model.fit(x, y, epochs=most_epochs, callbacks=Watch(after_epoch), **how)

    def epoch(self, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
        how = {"batch_size": self.network.batch, "seed": self.job.seed, "verbose": 0}
        history = self.model.fit(x, y, validation_data=(x_test, y_test), **how)
        return history.history["val_loss"][-1]

    def predict(self, x: np.ndarray) -> int:
        return len(self.model.predict(x, batch_size=self.network.predicted))

    def versions(self) -> dict[str, str]:
        return {"laminar": lm.__version__, "torch": torch.__version__}


if __name__ == "__main__":
    main(Laminar)
