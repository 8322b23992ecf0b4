"""What is trained: shapes, sizes and recipes, in words that every framework's own file turns into a network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

__all__ = ["NETWORKS", "Network", "miniature", "shortened"]


@dataclass(frozen=True)
class Network:
    """One network and how it is trained.

    Attributes:
        name: its key.
        title: what the table says.
        shape: of one observation, channels first.
        classes: how many; 0 for a regression with one output.
        parameters: how many learn.
        optimizer: "sgd", "sgdm" (momentum 0.9, L2 1e-4 on weights), "adadelta" (rho 0.95, epsilon 1e-7) or "adam"
            (epsilon 1e-7); the weight decay of "sgdm" is that of the coupled L2 penalty.
        rate: learning rate.
        batch: observations in a step.
        steps: steps in an epoch.
        warm: epochs before those that are timed; their last loss is compared.
        predicted: observations that are predicted at a time.
        goals: table -> what the best peer's time is to be, in units of ours.
        trains: whether there are training rows.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    classes: int
    parameters: int
    optimizer: str = "sgdm"
    rate: float = 0.01
    batch: int = 128
    steps: int = 20
    warm: int = 2
    predicted: int = 128
    goals: dict[str, float] = field(default_factory=dict)
    trains: bool = True

    @property
    def observations(self) -> int:
        """How many there are in an epoch; all batches are full."""
        return self.batch * self.steps


_ALL = [
    Network(
        "digits", "digits: conv 5×5×20, BN, learnable ELU", (1, 28, 28), 10, 115_790, steps=39, warm=1, goals={"float32": 2.0}
    ),
    Network("mlp", "MLP 3072-20-15-10 with BN", (3072,), 10, 62_005, "sgd", steps=100, warm=1, goals={"float32": 1.1}),
    Network("mnist", "MNIST CNN", (1, 28, 28), 10, 600_810, "adadelta", 1.0, goals={"float32": 1.2, "best": 1.8}),
    Network("resnet20", "CIFAR ResNet-20", (3, 32, 32), 10, 269_722, steps=5, goals={"float32": 1.2, "best": 1.8}),
    Network("lstm", "LSTM(64), 20 steps of 8", (20, 8), 0, 18_753, "adam", 0.001, steps=100, warm=1, goals={"float32": 1.1}),
    Network("vgg", "VGG-like on CIFAR, batches of 32", (3, 32, 32), 10, 2_197_706, batch=32, steps=8, predicted=32),
    Network(
        "resnet50",
        "ResNet-50 at 224×224, batches of 8",
        (3, 224, 224),
        1000,
        25_557_032,
        batch=8,
        steps=2,
        predicted=8,
        trains=False,
    ),
]

NETWORKS: dict[str, Network] = {network.name: network for network in _ALL}
"""Name -> network, in the order of the table."""


def miniature(network: Network) -> Network:
    """Return the same network with few steps, for a test."""
    return replace(network, steps=min(network.steps, 3), warm=1)


def shortened(network: Network) -> Network:
    """Return the same network with few steps: without units for it, reduced precision takes ten times longer."""
    return replace(network, steps=max(2, network.steps // 4), warm=1)
