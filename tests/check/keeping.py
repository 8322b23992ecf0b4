"""Tiny layers that keep something in training: statistics, right and wrong, and what is no statistic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laminar.seeding import generator

Update = Callable[[Tensor, Tensor], Tensor]
"""Makes the value to keep from the old one and that of the batch."""


def tenth(old: Tensor, new: Tensor) -> Tensor:
    return 0.9 * old + 0.1 * new


class Standard(nn.Module):
    """Mean 0 and variance 1 over the batch; in inference by what is kept of mean and variance."""

    declares = ("batch",)
    mean: Tensor
    var: Tensor

    def __init__(self, of_mean: Update = tenth, of_var: Update = tenth, eps: float = 1e-5) -> None:
        super().__init__()
        self.of_mean, self.of_var, self.eps = of_mean, of_var, eps
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("var", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:  # (B, 4)
        if not self.training:
            return (x - self.mean) * (self.var + self.eps).rsqrt()
        mean, var = x.mean(0), x.var(0, correction=0)
        with torch.no_grad():
            self.mean.copy_(self.of_mean(self.mean, mean))
            self.var.copy_(self.of_var(self.var, var))
        return (x - mean) * (var + self.eps).rsqrt()


class Totals(nn.Module):
    """The same from sums and a count: they grow for ever, and their quotients stand still."""

    declares = ("batch",)
    count: Tensor
    first: Tensor
    second: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.tensor(0.0))
        self.register_buffer("first", torch.zeros(4))
        self.register_buffer("second", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:  # (B, 4)
        if self.training:
            with torch.no_grad():
                self.count += len(x)
                self.first += x.sum(0)
                self.second += x.square().sum(0)
            return (x - x.mean(0)) * (x.var(0, correction=0) + 1e-5).rsqrt()
        mean = self.first / self.count
        return (x - mean) * (self.second / self.count - mean.square() + 1e-5).rsqrt()


class Renormalized(Standard):
    """Batch renormalization: training looks at what is kept as well."""

    def forward(self, x: Tensor) -> Tensor:  # (B, 4)
        old_mean, old_root = self.mean.clone(), (self.var + self.eps).sqrt()
        z = super().forward(x)
        if not self.training:
            return z
        root = (x.var(0, correction=0) + self.eps).sqrt()
        ratio = (root / old_root).clamp(1 / 3, 3).detach()
        shift = ((x.mean(0) - old_mean) / old_root).clamp(-5, 5).detach()
        return z * ratio + shift


class Codebook(nn.Module):
    """Each observation becomes the nearest of some vectors, which are means of what came near them."""

    declares = ("surrogate",)
    vectors: Tensor
    sizes: Tensor
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        vectors = torch.randn(5, 4, generator=generator(0, "codebook"))
        self.register_buffer("vectors", vectors)
        self.register_buffer("sizes", torch.ones(5))
        self.register_buffer("sums", vectors.clone())

    def forward(self, x: Tensor) -> Tensor:  # (B, 4)
        nearest = torch.cdist(x, self.vectors).argmin(1)
        z = x + (self.vectors[nearest] - x).detach()
        if self.training:
            with torch.no_grad():
                hits = F.one_hot(nearest, 5).to(x.dtype)
                self.sizes.lerp_(hits.sum(0), 0.1)
                self.sums.lerp_(hits.T @ x, 0.1)
                self.vectors.copy_(self.sums / (self.sizes + 1e-5)[:, None])
        return z


class Range(nn.Module):
    """Scales to the range that was seen."""

    declares = ("batch",)
    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(0.0))
        self.register_buffer("high", torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:  # (B, ...)
        if self.training:
            with torch.no_grad():
                self.low.copy_(torch.minimum(self.low, x.min()))
                self.high.copy_(torch.maximum(self.high, x.max()))
        return (x - self.low) / (self.high - self.low + 1e-5)


class Memory(nn.Module):
    """Compares with the observations of the last batches."""

    declares = ("modes",)
    rows: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rows", torch.randn(8, 4, generator=generator(0, "memory")))

    def forward(self, x: Tensor) -> Tensor:  # (B, 4)
        z = x @ self.rows.T
        if self.training:
            self.rows = torch.cat([x.detach(), self.rows])[:8]
        return z


class Annealed(nn.Module):
    """Sharper with each batch, whatever is in it."""

    declares = ("state",)
    sharpness: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sharpness", torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.sharpness *= 1.01
        return (x * self.sharpness).tanh()


class Rows(nn.Module):
    """Keeps a number for each observation of the last batch."""

    declares = ("always batch",)
    last: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        z = x + self.last.mean()
        if self.training:
            self.last = x.detach().mean(1)
        return z
