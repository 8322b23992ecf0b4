"""skorch: NeuralNetClassifier (NeuralNetRegressor for a regression) without its printed log."""

from __future__ import annotations

import functools

import numpy as np
import skorch
import torch
from skorch.helper import predefined_split
from torch import nn

from frameworks import torch_networks
from frameworks.runner import AfterEpoch, Job, Subject, main


class Watch(skorch.callbacks.Callback):
    """Tells when an epoch has ended; skorch ends a training on KeyboardInterrupt, with what was learned."""

    def __init__(self, after_epoch: AfterEpoch) -> None:
        self.after_epoch = after_epoch

    def on_epoch_end(self, net: skorch.NeuralNet, **rest: object) -> None:
        if not self.after_epoch(net.history[-1, "train_loss"]):
            raise KeyboardInterrupt


class Skorch(Subject):
    """An estimator."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        if job.precision != "float32":
            raise SystemExit("skorch has no setting for reduced precision")
        torch.set_num_threads(job.threads)
        torch.manual_seed(job.seed)

    def build(self) -> int:
        network = self.network
        kind, loss = skorch.NeuralNetRegressor, nn.MSELoss
        if network.classes:
            kind, loss = skorch.NeuralNetClassifier, nn.CrossEntropyLoss
        self.module = torch_networks.build(network.name)
        self.make = functools.partial(
            kind,
            self.module,
            criterion=loss,
            optimizer=_optimizer,
            optimizer__name=network.optimizer,
            optimizer__model=self.module,
            lr=network.rate,
            batch_size=network.batch,
            iterator_train__shuffle=True,
            verbose=0,
        )
        if network.classes:
            self.make = functools.partial(self.make, classes=list(range(network.classes)))
        self.net = self.make(train_split=None).initialize()
        return sum(p.numel() for p in self.module.parameters() if p.requires_grad)

    def train(self, x: np.ndarray, y: np.ndarray, most_epochs: int, after_epoch: AfterEpoch) -> None:
        self.net = self.make(train_split=None, max_epochs=most_epochs, callbacks=[Watch(after_epoch)])
        self.net.fit(x, y)

    def epoch(self, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
        self.net = self.make(train_split=predefined_split(skorch.dataset.Dataset(x_test, y_test)), max_epochs=1)
        self.net.fit(x, y)
        return float(self.net.history[-1, "valid_loss"])

    def predict(self, x: np.ndarray) -> int:
        self.net.set_params(batch_size=self.network.predicted)
        return len(self.net.predict_proba(x))

    def versions(self) -> dict[str, str]:
        return {"skorch": skorch.__version__, "torch": torch.__version__}


def _optimizer(parameters: object, lr: float, name: str, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer that treats weights and biases apart, as skorch asks for it."""
    return torch_networks.optimizer(name, lr, model)


if __name__ == "__main__":
    main(Skorch)
