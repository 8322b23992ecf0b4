"""Lightning: a LightningModule, a DataLoader, and a Trainer with loggers, checkpoints and bars off."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from frameworks import torch_networks
from frameworks.runner import AfterEpoch, Job, Subject, main

_PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}


class Module(lightning.LightningModule):
    """A network with its loss and optimizer."""

    def __init__(self, model: nn.Module, job: Job) -> None:
        super().__init__()
        self.model, self.task = model, job.task
        self.loss = F.cross_entropy if self.task.classes else F.mse_loss
        self.total, self.seen = torch.zeros(()), 0

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        x, y = batch
        loss = self.loss(self.model(x), y)
        self.total += loss.detach() * len(x)
        self.seen += len(x)
        return loss

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        x, y = batch
        self.log("val_loss", self.loss(self.model(x), y))

    def predict_step(self, batch: list[Tensor], index: int) -> Tensor:
        return self.model(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch_networks.optimizer(self.task.optimizer, self.task.rate, self.model)


class Watch(lightning.Callback):
    """Tells when an epoch has ended."""

    def __init__(self, after_epoch: AfterEpoch) -> None:
        self.after_epoch = after_epoch

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Module) -> None:  # type: ignore[override]  # ours
        loss, module.total, module.seen = module.total.item() / module.seen, torch.zeros(()), 0
        trainer.should_stop = not self.after_epoch(loss)


class Lightning(Subject):
    """A Trainer."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        torch.set_num_threads(job.threads)
        torch.manual_seed(job.seed)

    def build(self) -> int:
        model = torch_networks.build(self.network.name)
        self.module = Module(model, self.job)
        return sum(p.numel() for p in model.parameters() if p.requires_grad)

    def train(self, x: np.ndarray, y: np.ndarray, most_epochs: int, after_epoch: AfterEpoch) -> None:
        self._trainer(max_epochs=most_epochs, callbacks=[Watch(after_epoch)]).fit(self.module, self._loader(x, y))

    def epoch(self, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
        trainer = self._trainer(max_epochs=1, num_sanity_val_steps=0)
        trainer.fit(self.module, self._loader(x, y), self._loader(x_test, y_test, shuffle=False))
        return float(trainer.callback_metrics["val_loss"])

    def predict(self, x: np.ndarray) -> int:
        loader = DataLoader(TensorDataset(torch.from_numpy(x)), batch_size=self.network.predicted)
        return sum(len(part) for part in self._trainer().predict(self.module, loader))

    def versions(self) -> dict[str, str]:
        return {"lightning": lightning.__version__, "torch": torch.__version__}

    def _trainer(self, **options: Any) -> lightning.Trainer:
        return lightning.Trainer(
            accelerator="cpu",
            devices=1,
            precision=_PRECISIONS[self.job.precision],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **options,
        )

    def _loader(self, x: np.ndarray, y: np.ndarray, *, shuffle: bool = True) -> DataLoader:
        data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
        return DataLoader(data, batch_size=self.network.batch, shuffle=shuffle)


if __name__ == "__main__":
    main(Lightning)
