"""Layers of `torch.nn` with usual arguments, and small blocks of them: none has a fault, so no check may say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from check.blocks import BasicBlock, DepthwiseSeparable, Experts, TiedAutoencoder, UnpoolingPair
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrizations

from laminar.check.subject import Sample
from laminar.shapes import Shape

__all__ = ["FOUND_IN_TORCH", "STOCK", "Stock"]


@dataclass(frozen=True)
class Stock:
    """A layer that has no fault.

    Attributes:
        make: makes it.
        shapes: of one observation of each input.
        sample: its inputs, where normal numbers do not serve.
    """

    make: Callable[[], nn.Module]
    shapes: tuple[Shape, ...]
    sample: Sample | None = None

    def __str__(self) -> str:
        text = " ".join(repr(self.make()).split())
        return text if len(text) < 90 else f"{type(self.make()).__name__}({len(list(self.make().modules()))} modules)"


def of(make: Callable[[], nn.Module], *shapes: Shape, sample: Sample | None = None) -> Stock:
    return Stock(make, shapes, sample)


def positive(batch: int, random: Generator) -> Tensor:
    """Numbers above zero, for means of powers."""
    return torch.rand(batch, 3, 6, 8, generator=random, dtype=torch.float64) + 0.1


def bags(batch: int, random: Generator) -> Tensor:
    """Whole numbers in bags of four."""
    return torch.randint(10, (batch, 4), generator=random)


IMAGE, SERIES, VOLUME, FLAT, STEPS = (4, 6, 5), (4, 9), (2, 4, 5, 3), (6,), (5, 8)

ACTIVATIONS = [
    of(nn.CELU, IMAGE),
    of(nn.ELU, IMAGE),
    of(lambda: nn.ELU(0.5), FLAT),
    of(nn.GELU, IMAGE),
    of(lambda: nn.GELU("tanh"), FLAT),
    of(lambda: nn.GLU(1), IMAGE),
    of(nn.Hardshrink, IMAGE),
    of(nn.Hardsigmoid, FLAT),
    of(nn.Hardswish, IMAGE),
    of(nn.Hardtanh, IMAGE),
    of(nn.LeakyReLU, IMAGE),
    of(nn.LogSigmoid, FLAT),
    of(lambda: nn.LogSoftmax(1), FLAT),
    of(nn.Mish, IMAGE),
    of(nn.PReLU, FLAT),
    of(lambda: nn.PReLU(4), IMAGE),
    of(nn.ReLU, (20, 24, 24)),
    of(lambda: nn.ReLU(inplace=False), FLAT),
    of(nn.ReLU6, IMAGE),
    of(nn.RReLU, IMAGE),
    of(nn.SELU, FLAT),
    of(nn.SiLU, IMAGE),
    of(nn.Sigmoid, FLAT),
    of(lambda: nn.Softmax(1), (10,)),
    of(nn.Softmax2d, IMAGE),
    of(lambda: nn.Softmin(1), FLAT),
    of(nn.Softplus, IMAGE),
    of(nn.Softshrink, FLAT),
    of(nn.Softsign, FLAT),
    of(nn.Tanh, IMAGE),
    of(nn.Tanhshrink, FLAT),
    of(lambda: nn.Threshold(0.1, 0.0), FLAT),
]

LINEAR = [
    of(lambda: nn.Linear(6, 3), FLAT),
    of(lambda: nn.Linear(784, 10), (784,)),
    of(lambda: nn.Linear(8, 3, bias=False), STEPS),
    of(lambda: nn.Bilinear(3, 4, 5), (3,), (4,)),
    of(nn.Identity, IMAGE),
    of(nn.Flatten, IMAGE),
    of(lambda: nn.Unflatten(1, (2, 3)), FLAT),
    of(lambda: nn.LazyLinear(3), FLAT),
    of(lambda: parametrizations.spectral_norm(nn.Linear(6, 3)), FLAT),
]

CONVOLUTIONS = [
    of(lambda: nn.Conv1d(4, 3, 3), SERIES),
    of(lambda: nn.Conv1d(4, 4, 3, padding="same", dilation=2), SERIES),
    of(lambda: nn.Conv2d(4, 3, 3), IMAGE),
    of(lambda: nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), (3, 224, 224)),
    of(lambda: nn.Conv2d(4, 8, 3, groups=4), IMAGE),
    of(lambda: nn.Conv2d(4, 3, (3, 2), dilation=(2, 1)), IMAGE),
    of(lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"), IMAGE),
    of(lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="replicate"), IMAGE),
    of(lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular"), IMAGE),
    of(lambda: nn.Conv3d(2, 3, 3), VOLUME),
    of(lambda: nn.ConvTranspose1d(4, 3, 3, stride=2), SERIES),
    of(lambda: nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1), IMAGE),
    of(lambda: nn.ConvTranspose2d(4, 4, 2, groups=2), IMAGE),
    of(lambda: nn.ConvTranspose3d(2, 2, 2), VOLUME),
    of(lambda: nn.LazyConv2d(3, 3), IMAGE),
    of(lambda: nn.LazyConvTranspose1d(3, 3), SERIES),
]

POOLS = [
    of(lambda: nn.MaxPool1d(2), SERIES),
    of(lambda: nn.MaxPool2d(2), IMAGE),
    of(lambda: nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), IMAGE),
    of(lambda: nn.MaxPool3d(2), VOLUME),
    of(lambda: nn.AvgPool1d(3, stride=2), SERIES),
    of(lambda: nn.AvgPool2d(2), IMAGE),
    of(lambda: nn.AvgPool2d(3, padding=1, count_include_pad=False), IMAGE),
    of(lambda: nn.AvgPool3d(2), VOLUME),
    of(lambda: nn.AdaptiveAvgPool1d(3), SERIES),
    of(lambda: nn.AdaptiveAvgPool2d(1), IMAGE),
    of(lambda: nn.AdaptiveAvgPool2d((3, 2)), IMAGE),
    of(lambda: nn.AdaptiveAvgPool3d(2), VOLUME),
    of(lambda: nn.AdaptiveMaxPool1d(3), SERIES),
    of(lambda: nn.AdaptiveMaxPool2d(2), IMAGE),
    of(lambda: nn.AdaptiveMaxPool3d(1), VOLUME),
    of(lambda: nn.LPPool1d(2, 3), SERIES),
    of(lambda: nn.LPPool2d(2, 2), (3, 6, 8), sample=positive),
    of(lambda: nn.FractionalMaxPool2d(2, output_ratio=0.5), IMAGE),
    of(lambda: nn.FractionalMaxPool3d(2, output_size=(2, 3, 1)), VOLUME),
    of(UnpoolingPair, IMAGE),
]

NORMALIZATIONS = [
    of(lambda: nn.BatchNorm1d(6), FLAT),
    of(lambda: nn.BatchNorm1d(4), SERIES),
    of(lambda: nn.BatchNorm2d(4), IMAGE),
    of(lambda: nn.BatchNorm2d(4, affine=False), IMAGE),
    of(lambda: nn.BatchNorm2d(4, track_running_stats=False), IMAGE),
    of(lambda: nn.BatchNorm2d(4, momentum=None), IMAGE),
    of(lambda: nn.BatchNorm3d(2), VOLUME),
    of(nn.LazyBatchNorm2d, IMAGE),
    of(lambda: nn.InstanceNorm1d(4), SERIES),
    of(lambda: nn.InstanceNorm2d(4, affine=True), IMAGE),
    of(lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True), IMAGE),
    of(lambda: nn.InstanceNorm3d(2), VOLUME),
    of(lambda: nn.LayerNorm(8), STEPS),
    of(lambda: nn.LayerNorm((4, 6, 5)), IMAGE),
    of(lambda: nn.GroupNorm(2, 4), IMAGE),
    of(lambda: nn.GroupNorm(4, 4, affine=False), SERIES),
    of(lambda: nn.RMSNorm(8), STEPS),
    of(lambda: nn.LocalResponseNorm(3), IMAGE),
]

RANDOM = [
    of(nn.Dropout, FLAT),
    of(lambda: nn.Dropout(0.0), FLAT),
    of(nn.Dropout1d, SERIES),
    of(nn.Dropout2d, IMAGE),
    of(nn.Dropout3d, VOLUME),
    of(nn.AlphaDropout, FLAT),
    of(nn.FeatureAlphaDropout, IMAGE),
]

SEQUENCES = [
    of(lambda: nn.RNN(8, 3, batch_first=True), STEPS),
    of(lambda: nn.RNN(8, 3, nonlinearity="relu", batch_first=True), STEPS),
    of(lambda: nn.LSTM(8, 3, batch_first=True), STEPS),
    of(lambda: nn.LSTM(8, 3, 2, batch_first=True, bidirectional=True), STEPS),
    of(lambda: nn.LSTM(8, 3, 2, batch_first=True, dropout=0.3), STEPS),
    of(lambda: nn.LSTM(8, 4, batch_first=True, proj_size=3), STEPS),
    of(lambda: nn.GRU(8, 3, batch_first=True), STEPS),
    of(lambda: nn.GRU(8, 3, batch_first=True, bidirectional=True), STEPS),
    of(lambda: nn.LSTMCell(8, 3), (8,)),
    of(lambda: nn.GRUCell(8, 3), (8,), (3,)),
    of(lambda: nn.MultiheadAttention(8, 2, batch_first=True), STEPS, STEPS, STEPS),
    of(lambda: nn.MultiheadAttention(8, 2, dropout=0.2, kdim=4, vdim=3, batch_first=True), STEPS, (6, 4), (6, 3)),
    of(lambda: nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), STEPS),
    of(lambda: nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, norm_first=True, batch_first=True), STEPS),
    of(lambda: nn.TransformerDecoderLayer(8, 2, 12, activation="gelu", batch_first=True), STEPS, (3, 8)),
    of(lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 2), STEPS),
    of(lambda: nn.Embedding(10, 3), (5,)),
    of(lambda: nn.Embedding(10, 3, padding_idx=0), (4, 2)),
    of(lambda: nn.EmbeddingBag(10, 3), (4,), sample=bags),
    of(lambda: nn.EmbeddingBag(10, 3, mode="max"), (4,)),
]

SPATIAL = [
    of(lambda: nn.PixelShuffle(2), IMAGE),
    of(lambda: nn.PixelUnshuffle(2), (3, 6, 4)),
    of(lambda: nn.ChannelShuffle(2), IMAGE),
    of(lambda: nn.Upsample(scale_factor=2), IMAGE),
    of(lambda: nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE),
    of(lambda: nn.Upsample(size=(9, 5), mode="bicubic", align_corners=True), IMAGE),
    of(lambda: nn.Upsample(scale_factor=1.5, mode="linear"), SERIES),
    of(lambda: nn.UpsamplingNearest2d(scale_factor=2), IMAGE),
    of(lambda: nn.UpsamplingBilinear2d(scale_factor=2), IMAGE),
    of(lambda: nn.ZeroPad2d((1, 2, 0, 1)), IMAGE),
    of(lambda: nn.ConstantPad1d(2, 3.5), SERIES),
    of(lambda: nn.ReflectionPad2d(2), IMAGE),
    of(lambda: nn.ReplicationPad1d(2), SERIES),
    of(lambda: nn.ReplicationPad3d(1), VOLUME),
    of(lambda: nn.CircularPad2d(1), IMAGE),
    of(lambda: nn.Unfold(3, padding=1), IMAGE),
    of(lambda: nn.Fold((4, 5), 2), (12, 12)),
]

SEVERAL = [
    of(nn.CosineSimilarity, (6,), (6,)),
    of(nn.PairwiseDistance, (6,), (6,)),
]


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(24, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 10), nn.LogSoftmax(1))


def vgg() -> nn.Module:
    def stage(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]

    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 12), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(12, 5)]
    return nn.Sequential(*stage(3, 4), *stage(4, 8), *head)


def normalized() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3, bias=False), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))


BLOCKS = [
    of(mlp, (2, 3, 4)),
    of(vgg, (3, 32, 32)),
    of(normalized, (3, 7, 6)),
    of(lambda: BasicBlock(4, 4), IMAGE),
    of(lambda: BasicBlock(3, 6, stride=2), (3, 8, 7)),
    of(lambda: DepthwiseSeparable(4, 6), IMAGE),
    of(lambda: TiedAutoencoder(6, 3), FLAT),
    of(lambda: Experts(6, 4, 3), FLAT),
]

STOCK = [
    *ACTIVATIONS,
    *LINEAR,
    *CONVOLUTIONS,
    *POOLS,
    *NORMALIZATIONS,
    *RANDOM,
    *SEQUENCES,
    *SPATIAL,
    *SEVERAL,
    *BLOCKS,
]

FOUND_IN_TORCH = [
    # torch.autograd.gradgradcheck says so too: the second derivative of torch._weight_norm is wrong
    ("second-derivative", of(lambda: parametrizations.weight_norm(nn.Linear(6, 3)), FLAT)),
    # torch.matrix_exp of bfloat16 is NaN on a CPU
    ("dtypes", of(lambda: parametrizations.orthogonal(nn.Linear(6, 6), orthogonal_map="matrix_exp"), FLAT)),
]
"""Alarms that are right, in torch 2.13: the check that says so, and the layer."""
