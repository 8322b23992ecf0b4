"""PyTorch by hand. The variant names what is added to the plainest loop, joined by "+".

loader          batches by DataLoader over TensorDataset, optimizer by its defaults
index           batches by index into one tensor, fused optimizer: what a tuned loop does
channels_last   memory of network and batches
compiled        torch.compile of the network
spinning        idle threads spin, as torch comes; otherwise OMP_WAIT_POLICY=PASSIVE (set outside)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from frameworks import torch_networks
from frameworks.runner import AfterEpoch, Job, Subject, main

_VALIDATED = 512


class ByHand(Subject):
    """A loop written by hand."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.parts = set(job.variant.split("+"))
        torch.set_num_threads(job.threads)
        torch.manual_seed(job.seed)

    def build(self) -> int:
        self.module = torch_networks.build(self.network.name)
        count = sum(p.numel() for p in self.module.parameters() if p.requires_grad)
        if "channels_last" in self.parts:
            self.module.to(memory_format=torch.channels_last)
        self.model = torch.compile(self.module) if "compiled" in self.parts else self.module
        self.optimizer = torch_networks.optimizer(
            self.network.optimizer, self.network.rate, self.module, fused="index" in self.parts
        )
        self.loss = F.cross_entropy if self.network.classes else F.mse_loss
        return count

    def train(self, x: np.ndarray, y: np.ndarray, most_epochs: int, after_epoch: AfterEpoch) -> None:
        batches = self._batches(x, y)
        for _ in range(most_epochs):
            if not after_epoch(self._one_epoch(batches)):
                return

    def epoch(self, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
        self._one_epoch(self._batches(x, y))
        self.model.eval()
        inputs, targets, total = self._tensor(x_test), torch.from_numpy(y_test), 0.0
        with torch.inference_mode(), self._precision():
            for xb, yb in zip(inputs.split(_VALIDATED), targets.split(_VALIDATED), strict=True):
                total += self.loss(self.model(xb), yb).item() * len(xb)
        return total / len(x_test)

    def predict(self, x: np.ndarray) -> int:
        self.model.eval()
        with torch.inference_mode(), self._precision():
            return len(torch.cat([self.model(xb) for xb in self._tensor(x).split(self.network.predicted)]))

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}

    def _one_epoch(self, batches: Batches) -> float:
        self.model.train()
        total, seen = torch.zeros(()), 0
        for xb, yb in batches:
            self.optimizer.zero_grad()
            with self._precision():
                loss = self.loss(self.model(xb), yb)
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * len(xb)
            seen += len(xb)
        return total.item() / seen

    def _precision(self) -> torch.autocast | nullcontext[None]:
        return torch.autocast("cpu", torch.bfloat16) if self.job.precision == "bfloat16" else nullcontext()

    def _tensor(self, x: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(x)
        return tensor.contiguous(memory_format=torch.channels_last) if "channels_last" in self.parts else tensor

    def _batches(self, x: np.ndarray, y: np.ndarray) -> Batches:
        inputs, targets = self._tensor(x), torch.from_numpy(y)
        if "loader" in self.parts:
            return DataLoader(TensorDataset(inputs, targets), batch_size=self.network.batch, shuffle=True)
        return ByIndex(inputs, targets, self.network.batch)


class ByIndex:
    """Batches of two tensors in another order every time."""

    def __init__(self, x: Tensor, y: Tensor, size: int) -> None:
        self.x, self.y, self.size = x, y, size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(len(self.x)).split(self.size):
            yield self.x[index], self.y[index]


Batches = DataLoader | ByIndex

if __name__ == "__main__":
    main(ByHand)
