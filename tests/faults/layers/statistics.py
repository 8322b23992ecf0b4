"""Running statistics that go the wrong way, hold the wrong thing, are not kept or not used."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import laminar as lm
from faults.fault import Fault

__all__ = ["FAULTS"]

COUPLED = {"declares": ("batch",)}
"""What a batch normalization does on purpose."""


class BatchStandard(nn.Module):
    """Gives each channel mean 0 and variance 1, over the batch in training, by running statistics in inference."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.keep(torch.zeros(channels), torch.ones(channels))

    def keep(self, mean: Tensor, var: Tensor) -> None:
        self.register_buffer("running_mean", mean)
        self.register_buffer("running_var", var)

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training:
            return self.running_mean, self.running_var
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        with torch.no_grad():
            self.update(mean, var)
        return mean, var

    def update(self, mean: Tensor, var: Tensor) -> None:
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var, self.momentum)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        mean, var = (s.view(-1, 1, 1) for s in self.statistics(x))
        return (x - mean) * (var + self.eps).rsqrt()


class BatchStandardMomentumReversed(BatchStandard):
    """A batch normalization that keeps a tenth of what it knew: momentum as others define it."""

    def update(self, mean: Tensor, var: Tensor) -> None:
        self.running_mean.mul_(self.momentum).add_(mean, alpha=1 - self.momentum)
        self.running_var.mul_(self.momentum).add_(var, alpha=1 - self.momentum)


class BatchStandardNotAssigned(BatchStandard):
    """A batch normalization whose new statistics are computed and dropped: an underscore is missing."""

    def update(self, mean: Tensor, var: Tensor) -> None:
        self.running_mean.lerp(mean, self.momentum)
        self.running_var.lerp(var, self.momentum)


class BatchStandardAlwaysOfTheBatch(BatchStandard):
    """A batch normalization that keeps running statistics and never uses them."""

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        if self.training:
            with torch.no_grad():
                self.update(mean, var)
        return mean, var


class BatchStandardUpdatedInInference(BatchStandard):
    """A batch normalization whose statistics also follow what it is asked in inference."""

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        if self.training:
            with torch.no_grad():
                self.update(mean, var)
            return mean, var
        found = self.running_mean.clone(), self.running_var.clone()
        with torch.no_grad():
            self.update(mean, var)
        return found


class BatchStandardPlainTensors(BatchStandard):
    """A batch normalization whose statistics are plain tensors: not saved, not moved."""

    def keep(self, mean: Tensor, var: Tensor) -> None:
        self.running_mean = mean
        self.running_var = var


class BatchStandardWithGraph(BatchStandard):
    """A batch normalization whose statistics keep the graph of every batch they came from."""

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training:
            return self.running_mean, self.running_var
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
        self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var
        return mean, var


class BatchStandardWrongName(BatchStandard):
    """A batch normalization that asks in inference for statistics by a name they do not have."""

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training:
            return self.moving_mean, self.moving_var  # type: ignore[return-value]  # the mistake
        return super().statistics(x)


class Whiten(lm.Layer):
    """Gives each feature mean 0 and variance 1, over the batch in training, by running statistics in inference."""

    declares: tuple[str, ...] = ("batch",)

    def __init__(self, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum

    def build(self, shape: tuple[int, ...]) -> None:
        self.mean = self.state(shape[0])
        self.var = self.state(shape[0], init="ones")

    def update(self, mean: Tensor, var: Tensor) -> None:
        self.mean.lerp_(mean, self.momentum)
        self.var.lerp_(var, self.momentum)

    def scaled(self, x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        return (x - mean) * (var + 1e-3).rsqrt()

    def forward(self, x: Tensor) -> Tensor:  # (B, features)
        mean, var = x.mean(0), x.var(0, correction=0)
        with torch.no_grad():
            self.update(mean, var)
        return self.scaled(x, mean, var)

    def predict(self, x: Tensor) -> Tensor:
        return self.scaled(x, self.mean, self.var)


class WhitenKeepsDeviation(Whiten):
    """A normalization whose running variance holds standard deviations."""

    def update(self, mean: Tensor, var: Tensor) -> None:
        super().update(mean, var.sqrt())


class WhitenWeightsAboveOne(Whiten):
    """A normalization that adds the whole of a batch's mean to nine tenths of the running one."""

    def update(self, mean: Tensor, var: Tensor) -> None:
        self.mean.mul_(1 - self.momentum).add_(mean)
        self.var.lerp_(var, self.momentum)


class WhitenKeepsFirstOnly(Whiten):
    """A normalization whose running mean is that of one observation of the batch."""

    def forward(self, x: Tensor) -> Tensor:
        mean, var = x.mean(0), x.var(0, correction=0)
        with torch.no_grad():
            self.update(x[0], var)
        return self.scaled(x, mean, var)


class WhitenInSecret(Whiten):
    """A normalization over the batch that does not declare that observations see one another."""

    declares = ()


class MeanSquareScale(lm.Layer):
    """Divides by the root of a running mean square, the same for all numbers; in training by the batch's."""

    declares = ("batch", "modes")

    def __init__(self, keep: float = 0.9) -> None:
        super().__init__()
        self.keep = keep

    def build(self, shape: tuple[int, ...]) -> None:
        self.square = self.state((), init="ones")

    def blend(self, new: Tensor) -> Tensor:
        return self.keep * self.square + (1 - self.keep) * new

    def forward(self, x: Tensor) -> Tensor:  # (B, ...)
        square = x.square().mean()
        if self.training:
            with torch.no_grad():
                self.square.copy_(self.blend(square))
        return x * ((square if self.training else self.square) + 1e-4).rsqrt()


class MeanSquareScaleReversed(MeanSquareScale):
    """Divides by the root of a running mean square that keeps a tenth of what it was."""

    def blend(self, new: Tensor) -> Tensor:
        return (1 - self.keep) * self.square + self.keep * new


class MeanSquareScaleShort(MeanSquareScale):
    """Divides by the root of a running mean square whose weights add up to 0.95."""

    def blend(self, new: Tensor) -> Tensor:
        return self.keep * self.square + (1 - self.keep) / 2 * new


def batch_standard(cls: type[BatchStandard], name: str, check: str) -> Fault:
    """Return the entry of a faulty batch normalization for images."""
    return Fault(name, check, lambda: cls(20), lambda: BatchStandard(20), (20, 24, 24), COUPLED)


FAULTS = [
    batch_standard(BatchStandardMomentumReversed, "momentum reversed", "running-statistics"),
    batch_standard(BatchStandardNotAssigned, "running statistics never assigned", "running-statistics"),
    batch_standard(BatchStandardAlwaysOfTheBatch, "batch statistics in inference", "observations-independent"),
    batch_standard(BatchStandardUpdatedInInference, "running statistics follow inference", "no-hidden-state"),
    batch_standard(BatchStandardPlainTensors, "running statistics that are no buffers", "state-dict"),
    batch_standard(BatchStandardWithGraph, "running statistics with the graph behind them", "deep-copy"),
    batch_standard(BatchStandardWrongName, "a name that only inference uses", "modes"),
    Fault("running variance of standard deviations", "running-statistics", WhitenKeepsDeviation, Whiten, (6,)),
    Fault("weights of old and new above one", "running-statistics", WhitenWeightsAboveOne, Whiten, (6,)),
    Fault("running mean of one observation", "running-statistics", WhitenKeepsFirstOnly, Whiten, (6,)),
    Fault("batch normalization not declared", "observations-independent", WhitenInSecret, Whiten, (6,)),
    Fault("weight of old and new exchanged", "running-statistics", MeanSquareScaleReversed, MeanSquareScale, (3, 6, 6)),
    Fault("weights of old and new below one", "running-statistics", MeanSquareScaleShort, MeanSquareScale, (3, 6, 6)),
]
