"""The transposed convolution: the gradient of a convolution as a layer, which makes images larger."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Unpack

from torch import Tensor
from torch.nn import functional as F

from laminar.errors import ArgumentError, complaint
from laminar.layers.arithmetic import Arithmetic, count
from laminar.layers.axes import AXES, one_each
from laminar.layers.conv import KernelLayer, kernels
from laminar.layers.core import WeightOptions, positive
from laminar.layers.windows import Padding, Window
from laminar.shapes import Shape, format_shape

__all__ = ["Conv2DTranspose"]


def _cuts(window: Window, added: Sequence[int] | None) -> tuple[tuple[int, int], ...]:
    """Return how much of the full output, of length (n - 1)·stride + extent, is cut off (before, after) along each axis.

    Less than nothing is cut where zeros follow: `added` is the output padding, None for Keras' or torch's default.
    """
    pairs = []
    for axis, (extent, stride) in enumerate(zip(window.extent, window.stride, strict=True)):
        more = None if added is None else added[axis]
        if window.padding == "valid":
            pairs.append((0, -(max(stride - extent, 0) if more is None else more)))
        elif window.padding == "same":  # what is padded around the input spread out by the stride, as Keras divides it
            total = extent + stride - 2 if more is None else extent + extent % 2 - 2 + more
            before = min(total - total // 2, extent - 1)
            pairs.append((extent - 1 - before, extent - 1 - (total - before)))
        else:
            pairs.append((window.padding[axis], window.padding[axis] - (more or 0)))
    return tuple(pairs)


class Conv2DTranspose(KernelLayer):
    """Transposed convolution over height and width: every number of the input adds a kernel, times itself, to the output.

    Output height and width, with dilation·(kernel - 1) + 1 for K:

    - "valid": (n - 1)·stride + max(K, stride); with output_padding, (n - 1)·stride + K + output_padding.
    - "same": n·stride; with output_padding, (n - 1)·stride + K mod 2 + output_padding.
    - whole numbers: (n - 1)·stride + K - 2·padding + output_padding, as in torch.

    Args:
        filters: output channels.
        kernel_size: height and width of the kernels, or one number for both.
        strides: distance, in the output, between the kernels of two neighbours in the input.
        padding: "valid", "same", or whole numbers cut off at both sides.
        output_padding: added to the end of each axis; below its stride or dilation. None for what the lengths above say.
        dilation_rate: distance between the kernel's entries.
        activation: name or function; None for none.
        **options: `use_bias`, `kernel_initializer`, `bias_initializer`, `name`: see `WeightOptions`.

    Attributes:
        weight: (channels, filters, height, width), torch's layout.
        bias: (filters,), or None.

    Raises:
        ArgumentError: if a number is not possible.
        ShapeError: if the input is not (batch, channels, height, width), or so small that nothing is left of the output.

    Source: row R17 of the mission; Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", 2016;
    `torch.nn.functional.conv_transpose2d`.

    >>> import torch
    >>> Conv2DTranspose(2, 3, strides=2, padding="same")(torch.zeros(1, 4, 7, 7)).shape
    torch.Size([1, 2, 14, 14])
    """

    rank = 2

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: Padding = "valid",
        output_padding: int | Sequence[int] | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: str | Callable[[Tensor], Tensor] | None = None,
        **options: Unpack[WeightOptions],
    ) -> None:
        owner = type(self).__name__
        window = Window.make(owner, ("kernel_size", kernel_size), strides, padding, dilation_rate, self.rank)
        super().__init__(window, activation, options)
        self.filters = positive(f"{owner}(filters=)", filters)
        where = f"{owner}(output_padding=)"
        self.output_padding = None if output_padding is None else one_each(where, output_padding, self.rank, least=0)
        if any(p >= max(s, d) for p, s, d in zip(self.output_padding or (), window.stride, window.dilation, strict=False)):
            raise ArgumentError(
                complaint(
                    where,
                    expected=f"less than the strides {format_shape(window.stride)} or dilation {format_shape(window.dilation)}",
                    received=f"{output_padding!r}",
                    fix="Pass larger strides, or leave it out",
                )
            )
        self._cut = _cuts(window, self.output_padding)

    def _sizes(self, sizes: Sequence[int]) -> Shape:
        axes = zip(sizes, self.window.stride, self.window.extent, self._cut, strict=True)
        return tuple((n - 1) * s + e - sum(cut) for n, s, e, cut in axes)

    def check_input(self, shape: Shape) -> None:
        """Refuse a shape that this layer cannot take.

        Raises:
            ShapeError: saying what was expected.
        """
        self.check_axes(shape)
        axes = zip(self.window.stride, self.window.extent, self._cut, strict=True)
        least = tuple(max(-((e - 1 - sum(cut)) // s) + 1, 1) for s, e, cut in axes)
        self.check_sizes(shape, least, "Use less padding")
        self.check_channels(shape)

    def build(self, shape: Shape) -> None:
        """Declare weight and bias for observations of `shape` (C, H, W)."""
        self.weight = self.new_weight((shape[0], self.filters, *self.window.kernel))
        self.bias = self.new_bias(self.filters)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, filters, H', W') from x of shape (B, C, H, W)."""
        w = self.window
        before = tuple(first for first, _ in self._cut)  # torch cuts as much off at the end, or less by its output padding
        longer = tuple(max(first - last, 0) for first, last in self._cut)
        z = F.conv_transpose2d(x, self.weight, self.bias, w.stride, before, longer, 1, w.dilation)
        rows, columns = (max(last - first, 0) for first, last in self._cut)
        return self.activate(z[..., : z.shape[-2] - rows, : z.shape[-1] - columns] if rows or columns else z)

    def arithmetic(self, shape: Shape) -> Arithmetic:
        """Return height, width, what a kernel spans, and the parameters."""
        channels, *sizes = shape
        output = self._sizes(sizes)
        w = self.window
        lines = []
        for axis, name in enumerate(AXES[self.rank]):
            n, k, s, d = sizes[axis], w.kernel[axis], w.stride[axis], w.dilation[axis]
            extent = str(k) if d == 1 else f"({d}·({k} − 1) + 1)"
            cut = "".join(f" − {c}" if c >= 0 else f" + {-c}" for c in self._cut[axis])
            lines.append(f"{name}: ({n} − 1)·{s} + {extent}{cut} = {output[axis]}")
        lines.append(f"every number of the input adds a kernel, times itself, to each of the {self.filters} output channels")
        kernel = (self.filters, *w.kernel)
        biases = self.filters if self.use_bias else 0
        total = channels * math.prod(kernel) + biases
        lines.append(f"parameters: {kernels(channels, kernel, biases)} = {count(total)}")
        return Arithmetic((self.filters, *output), total, tuple(lines))

    def extra_repr(self) -> str:
        """Return the filters and what differs from the defaults."""
        added = [] if self.output_padding is None else [f"output_padding={format_shape(self.output_padding)}"]
        return ", ".join([f"filters={self.filters}", *self.settings(*added)])
