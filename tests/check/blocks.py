"""Blocks as people write them in plain torch, without Laminar."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BasicBlock", "DepthwiseSeparable", "Experts", "TiedAutoencoder", "UnpoolingPair"]


class BasicBlock(nn.Module):
    """Two convolutions with a shortcut around them, of ResNet-18."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        z = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(z)) + self.shortcut(x))


class DepthwiseSeparable(nn.Sequential):
    """A kernel for each channel, then a mixture of the channels, of MobileNet."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(
            nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False),
            nn.BatchNorm2d(before),
            nn.ReLU6(inplace=True),
            nn.Conv2d(before, after, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU6(inplace=True),
        )


class TiedAutoencoder(nn.Module):
    """Two linear layers with one weight: the decoder's is the encoder's, transposed."""

    def __init__(self, features: int, code: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(features, code)
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.silu(self.encoder(x)), self.encoder.weight.t(), self.bias)


class Experts(nn.Module):
    """Several linear maps in a ParameterList, mixed by a softmax of the input."""

    def __init__(self, features: int, units: int, experts: int) -> None:
        super().__init__()
        self.gate = nn.Linear(features, experts)
        self.experts = nn.ParameterList(nn.init.xavier_uniform_(torch.empty(units, features)) for _ in range(experts))

    def forward(self, x: Tensor) -> Tensor:
        shares = self.gate(x).softmax(-1)
        return torch.stack([F.linear(x, w) * shares[:, i, None] for i, w in enumerate(self.experts)]).sum(0)


class UnpoolingPair(nn.Module):
    """The largest of each window, back in its place: a layer of torch that takes the places of another."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        z, places = self.pool(x)
        back: Tensor = self.unpool(z, places, output_size=x.shape)
        return back
