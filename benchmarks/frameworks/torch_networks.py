"""The networks as one writes them in PyTorch: for the loop by hand, Lightning and skorch, and for counting FLOPs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["build", "optimizer"]


class ELU(nn.Module):
    """ELU with a learnable alpha for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.alpha * F.elu(x))


class Block(nn.Module):
    """Two convolutions of ResNet-20, and a shortcut without parameters (option A)."""

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.added = filters - inputs

    def forward(self, x: Tensor) -> Tensor:
        z = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.added:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.added))
        return F.relu(z + x)


class Bottleneck(nn.Module):
    """Three convolutions of ResNet-50, and a projection where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.shortcut = None
        if project:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        z = F.relu(self.bn1(self.conv1(x)))
        z = F.relu(self.bn2(self.conv2(z)))
        z = self.bn3(self.conv3(z))
        return F.relu(z + (x if self.shortcut is None else self.shortcut(x)))


class Series(nn.Module):
    """An LSTM, and a dense layer on its last step.

    torch's LSTM adds two biases, where only their sum matters; one is kept at zero, so that as many learn as elsewhere.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 64, batch_first=True)
        self.head = nn.Linear(64, 1)
        self.lstm.bias_hh_l0.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def _digits() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 20, 5), nn.BatchNorm2d(20), ELU(20), nn.Flatten(), nn.Linear(11_520, 10))


def _mlp() -> nn.Module:
    hidden = [nn.Linear(3072, 20), nn.ReLU(), nn.BatchNorm1d(20), nn.Linear(20, 15), nn.ReLU(), nn.BatchNorm1d(15)]
    return nn.Sequential(*hidden, nn.Linear(15, 10))


def _mnist() -> nn.Module:
    features = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)]
    head = [nn.Flatten(), nn.Linear(4608, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)]
    return nn.Sequential(*features, *head)


def _resnet20() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    inputs = 16
    for filters in (16, 32, 64):
        for i in range(3):
            layers.append(Block(inputs, filters, 2 if i == 0 and filters > 16 else 1))
            inputs = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def _vgg() -> nn.Module:
    layers: list[nn.Module] = []
    inputs = 3
    for filters in (64, 128, 256):
        for _ in range(2):
            layers += [nn.Conv2d(inputs, filters, 3, 1, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()]
            inputs = filters
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4096, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10))


def _resnet50() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for i in range(blocks):
            layers.append(Bottleneck(inputs, width, 2 if i == 0 and width > 64 else 1, i == 0))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


_BUILDERS = {
    "digits": _digits,
    "mlp": _mlp,
    "mnist": _mnist,
    "resnet20": _resnet20,
    "lstm": Series,
    "vgg": _vgg,
    "resnet50": _resnet50,
}


def build(name: str) -> nn.Module:
    """Return a network with the initial values that Keras and Laminar give: Glorot's, biases of zero."""
    model = _BUILDERS[name]()
    model.apply(_initialize)
    return model


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.LSTM):
        nn.init.xavier_uniform_(module.weight_ih_l0)
        nn.init.orthogonal_(module.weight_hh_l0)
        nn.init.zeros_(module.bias_hh_l0)
        nn.init.zeros_(module.bias_ih_l0)
        with torch.no_grad():
            module.bias_ih_l0[64:128] = 1.0  # of the forget gate


def optimizer(name: str, rate: float, model: nn.Module, *, fused: bool = False) -> torch.optim.Optimizer:
    """Return torch's optimizer: as people write it, or fused where torch has that."""
    learned = [p for p in model.parameters() if p.requires_grad]
    quick = True if fused else None
    if name == "sgd":
        return torch.optim.SGD(learned, rate, fused=quick)
    if name == "sgdm":
        weights, others = [p for p in learned if _is_weight(p)], [p for p in learned if not _is_weight(p)]
        groups = [{"params": weights, "weight_decay": 1e-4}, {"params": others}]
        return torch.optim.SGD(groups, rate, momentum=0.9, fused=quick)
    if name == "adam":
        return torch.optim.Adam(learned, rate, eps=1e-7, fused=quick)
    return torch.optim.Adadelta(learned, rate, rho=0.95, eps=1e-7, foreach=quick)


def _is_weight(parameter: Tensor) -> bool:
    """Return whether a parameter is that of a convolution or dense layer, not a bias, a scale or an alpha (C, 1, 1)."""
    return parameter.dim() in (2, 4)
