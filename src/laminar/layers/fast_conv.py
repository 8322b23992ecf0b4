"""Convolutions of images by Laminar's kernels, and the layout in memory that suits them, where both are to be had."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.kernels import channels_last, switch
from laminar.kernels.functions import MOST, WIDEST, convolution
from laminar.kernels.last_calls import STEP
from laminar.kernels.parts import Part

__all__ = ["Geometry", "convolve"]

_FEW = 4  # channels: with more of them torch's matrix products have enough to do


@dataclass(frozen=True)
class Geometry:
    """How kernels move over an image: strides, zeros around it, distance between the kernels' entries, groups of channels."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def is_plain(self) -> bool:
        """Whether kernels without gaps are moved one by one over all channels."""
        return self.stride == self.dilation == (1, 1) and self.groups == 1


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, how: Geometry, *, relu: bool) -> Tensor | None:
    """Return the convolution of x (B, C, H, W) with weight (F, C / groups, h, w) plus bias (F,); None where torch is to do it.

    Args:
        x: input of the layer, whatever it is.
        weight: the kernels.
        bias: (F,), or None.
        how: the rest.
        relu: whether the result goes through a ReLU.

    Where any layout is taken, images of few channels become channels-last tensors if the filters are a multiple of 16, and what
    has many channels is brought into that layout, which suits torch's own convolutions as well, and what comes after them.
    """
    if not isinstance(x, Tensor) or x.dim() != 4 or not switch.wanted() or x.shape[1] != weight.shape[1] * how.groups:
        return None
    if how.is_plain and x.shape[1] <= _FEW and weight[0].numel() <= MOST:
        width = x.shape[3] + 2 * how.padding[1] - weight.shape[3] + 1
        to_last = switch.any_layout() and len(weight) % STEP == 0 and width >= STEP
        if switch.serve(x, weight, bias, part=Part.LAST if to_last else Part.CONTIGUOUS):
            return _of_few(x, weight, bias, how.padding, relu, to_last)
    if (x.shape[1] % STEP and x.shape[1] > _FEW) or len(weight) % STEP:
        return None
    if switch.any_layout() and switch.serve(x, weight, bias, part=Part.LAST):
        x = x.contiguous(memory_format=torch.channels_last)
    if not switch.serve_last(x, weight, bias):
        return None
    pad, other = how.padding
    fits = how.is_plain and x.shape[1] % STEP == 0 and weight.shape[2:] == (3, 3) and pad == other <= 2
    if fits and _is_worth_it(x, weight, pad):
        return channels_last.convolve(x, weight, bias, pad, relu=relu)
    spans = [d * (k - 1) + 1 for d, k in zip(how.dilation, weight.shape[2:], strict=True)]
    if any(n + 2 * p < span for n, p, span in zip(x.shape[2:], how.padding, spans, strict=True)):
        return None
    z = F.conv2d(x, weight, bias, how.stride, how.padding, how.dilation, how.groups)
    return z.relu() if relu else z


def _is_worth_it(x: Tensor, weight: Tensor, pad: int) -> bool:
    """Return whether there are outputs, and tiles of 4x4 enough for the transformation of the weights; measured."""
    n, channels, *sizes = x.shape
    rows, columns = (size + 2 * pad - 2 for size in sizes)
    tiles = n * -(-rows // 4) * -(-columns // 4)
    return min(rows, columns) > 0 and tiles * (channels + len(weight)) >= channels * len(weight)


def _of_few(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, ...], relu: bool, to_last: bool
) -> Tensor | None:
    rows, columns = padding
    sizes = [n + 2 * p - k + 1 for n, p, k in zip(x.shape[2:], padding, weight.shape[2:], strict=True)]
    if min(sizes) < 1:
        return None
    if to_last:
        return channels_last.convolve_images(x, weight, bias, (rows, columns), relu=relu)
    if weight.shape[-1] > WIDEST:
        return None
    z = convolution(F.pad(x, (columns, columns, rows, rows)) if rows or columns else x, weight, bias)
    return z.relu() if relu else z
