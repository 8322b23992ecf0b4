"""The kernels called on tensors, without derivatives. Shapes and contiguity are the caller's affair: see `switch.serve`."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "Kind",
    "Normalization",
    "Statistics",
    "affine",
    "at",
    "convolve",
    "convolve_backward",
    "declare",
    "dense",
    "dense_backward",
    "elu",
    "elu_backward",
    "normalize",
    "normalize_backward",
    "notes",
]


class Kind(IntEnum):
    """The activation behind a normalization."""

    IDENTITY = 0
    RELU = 1
    ELU = 2


@dataclass(frozen=True)
class Normalization:
    """How a batch is normalized, and what comes after it.

    Attributes:
        running: mean and variance (C,), which take the share `momentum` of the batch's, its variance unbiased; or None.
        momentum: that share, torch's momentum.
        epsilon: added to the variance.
        kind: the activation.
    """

    running: tuple[Tensor, Tensor] | None
    momentum: float
    epsilon: float
    kind: Kind = Kind.IDENTITY


@dataclass
class Statistics:
    """What a normalization found in its batch, and made of it: z = activation(scale x + shift).

    Attributes:
        mean: (C,), in float64.
        inverse: 1 / sqrt(variance + epsilon), (C,), in float64.
        scale: (C,).
        shift: (C,).
        fixed: whether they have nothing to do with the batch, so that no gradient goes through them.
    """

    mean: Tensor
    inverse: Tensor
    scale: Tensor
    shift: Tensor
    fixed: bool = False

    @classmethod
    def room(cls, x: Tensor) -> Statistics:
        """Return statistics for x (B, C, ...), to be written."""
        mean, inverse, scale, shift = (
            x.new_empty(x.shape[1], dtype=d) for d in (torch.float64, torch.float64, x.dtype, x.dtype)
        )
        return cls(mean, inverse, scale, shift)


_ARGUMENTS = {"p": ctypes.c_void_p, "n": ctypes.c_int64, "i": ctypes.c_int, "d": ctypes.c_double}
_SIGNATURES = {
    "elu_forward": "pppnnni",
    "elu_backward": "ppppppnnni",
    "normalize_forward": "ppppppppppp" + "nnn" + "iddi",
    "affine_forward": "ppppp" + "nnn" + "ii",
    "normalize_backward": "pppppppp" + "pppp" + "nnn" + "ii",
    "convolve_forward": "pppp" + "nnnnnnn" + "i",
    "convolve_backward": "pppp" + "nnnnnnn" + "i",
    "dense_forward": "pppp" + "nnn" + "i",
    "dense_backward": "pppppp" + "nnn" + "i",
    "winograd_forward": "pppppp" + "nnnnnn" + "iii",
    "winograd_backward": "pppppp" + "nnnnnn" + "i",
    "images_forward": "ppppp" + "pn" + "ii",
    "images_backward": "pppppp" + "pn" + "i",
    "normalize_last_forward": "pppppp" + "pppppp" + "p" + "nn" + "iddi",
    "normalize_last_backward": "pppp" + "pppp" + "ppppp" + "p" + "nn" + "iii",
    "affine_last": "pppppp" + "nn" + "ii",
    "pool_forward": "ppp" + "pn" + "i",
    "pool_backward": "ppp" + "pn" + "i",
    "dropout_forward": "ppppnd",
    "dropout_backward": "pppnd",
    "lstm_forward": "pppppppppp" + "pi",
    "lstm_backward": "pppppppp" + "pp" + "pppppp" + "p" + "pi",
    "perceptron_forward": "ppppp" + "pp" + "nn",
    "perceptron_backward": "ppppp" + "ppp" + "nn",
    "perceptron_predict": "ppp" + "ppp" + "nni",
}
"""Function of source/ -> its arguments: pointers, sizes, ints, doubles. Told once, so that a call converts plain numbers."""

_ROOMS = {
    "winograd_room": "nni",
    "winograd_backward_room": "nni",
    "images_room": "pi",
    "images_backward_room": "pi",
    "lstm_room": "pi",
    "lstm_backward_room": "pi",
    "perceptron_kept": "pnn",
    "perceptron_room": "pnn",
    "perceptron_predict_room": "pnni",
}
"""Those that return how many numbers of room another one needs."""


def declare(calls: Any) -> None:
    """Tell ctypes what the functions of the library take, of all that there are in some library."""
    for names, result in ((_SIGNATURES, None), (_ROOMS, ctypes.c_int64)):
        for name, signature in names.items():
            function = getattr(calls, name, None)
            if function is not None:
                function.argtypes, function.restype = [_ARGUMENTS[letter] for letter in signature], result


def at(t: Tensor | None) -> int | None:
    """Return where the numbers of t begin."""
    return None if t is None else t.data_ptr()


def notes(found: Statistics) -> list[int | None]:
    """Return where the parts of statistics begin."""
    return [at(t) for t in (found.mean, found.inverse, found.scale, found.shift)]


def _rows(x: Tensor) -> tuple[int, int, int]:
    """Return observations, channels and positions of x (B, C, ...)."""
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def elu(calls: Any, x: Tensor, alpha: Tensor) -> Tensor:
    """Return x (B, C, ...) through an ELU with alpha (C,)."""
    z = torch.empty_like(x)
    calls.elu_forward(at(x), at(alpha), at(z), *_rows(x), torch.get_num_threads())
    return z


def elu_backward(calls: Any, x: Tensor, z: Tensor, dz: Tensor, alpha: Tensor, of_alpha: bool) -> tuple[Tensor, Tensor | None]:
    """Return dx (B, C, ...), and dalpha (C,) where it is asked for."""
    dx, dalpha = torch.empty_like(x), torch.empty_like(alpha) if of_alpha else None
    numbers = [*_rows(x), torch.get_num_threads()]
    calls.elu_backward(at(x), at(z), at(dz), at(alpha), at(dx), at(dalpha), *numbers)
    return dx, dalpha


def normalize(
    calls: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, alpha: Tensor | None, how: Normalization
) -> tuple[Tensor, Statistics]:
    """Return x (B, C, ...) normalized over the batch and activated; weight, bias and the alpha of an ELU are (C,)."""
    z, found = torch.empty_like(x), Statistics.room(x)
    mean, variance = how.running or (None, None)
    settings = [int(how.kind), how.momentum, how.epsilon, torch.get_num_threads()]
    read = [at(t) for t in (x, weight, bias, alpha)]
    calls.normalize_forward(*read, at(z), at(mean), at(variance), *notes(found), *_rows(x), *settings)
    return z, found


def normalize_backward(
    calls: Any,
    x: Tensor,
    z: Tensor | None,
    dz: Tensor,
    found: Statistics,
    kind: Kind,
    alpha: Tensor | None,
    needed: tuple[bool, bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of x (B, C, ...) and of weight, bias and alpha (C,), of those that are needed.

    z is read for an ELU alone.
    """
    made = [torch.empty_like(like) if need else None for like, need in zip((x, *[found.scale] * 3), needed, strict=True)]
    numbers = [*_rows(x), int(kind), torch.get_num_threads()]
    seen = x if z is None else z
    calls.normalize_backward(at(x), at(seen), at(dz), at(alpha), *notes(found), *map(at, made), *numbers)
    return made[0], made[1], made[2], made[3]


def affine(calls: Any, x: Tensor, scale: Tensor, shift: Tensor, kind: Kind, alpha: Tensor | None) -> Tensor:
    """Return activation(scale x + shift), with scale and shift (C,) for x (B, C, ...)."""
    z = torch.empty_like(x)
    calls.affine_forward(at(x), at(scale), at(shift), at(alpha), at(z), *_rows(x), int(kind), torch.get_num_threads())
    return z


def convolve(calls: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the convolution of x (B, C, H, W) with weight (F, C, h, w), of stride 1, without padding, plus bias (F,)."""
    (n, _, height, width), (filters, _, h, w) = x.shape, weight.shape
    y = x.new_empty(n, filters, height - h + 1, width - w + 1)
    numbers = [*x.shape, *_kernel(weight), torch.get_num_threads()]
    calls.convolve_forward(at(x), at(weight), at(bias), at(y), *numbers)
    return y


def convolve_backward(
    calls: Any, x: Tensor, dy: Tensor, weight: Tensor, needed: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of weight (F, C, h, w) and bias (F,), of those that are needed."""
    dw, db = torch.empty_like(weight), weight.new_empty(len(weight)) if needed[1] else None
    numbers = [*x.shape, *_kernel(weight), torch.get_num_threads()]
    calls.convolve_backward(at(x), at(dy), at(dw), at(db), *numbers)
    return dw if needed[0] else None, db


def dense(calls: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x (B, features) times weight (units, features) transposed, plus bias (units,)."""
    y = x.new_empty(len(x), len(weight))
    numbers = [*x.shape, len(weight), torch.get_num_threads()]
    calls.dense_forward(at(x), at(weight), at(bias), at(y), *numbers)
    return y


def dense_backward(
    calls: Any, x: Tensor, dy: Tensor, weight: Tensor, needed: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of x (B, features), weight (units, features) and bias (units,), of those that are needed."""
    like = (x, weight, weight[:, 0])
    made = [t.new_empty(t.shape) if need else None for t, need in zip(like, needed, strict=True)]
    numbers = [*x.shape, len(weight), torch.get_num_threads()]
    calls.dense_backward(at(x), at(dy), at(weight), *map(at, made), *numbers)
    return made[0], made[1], made[2]


def _kernel(weight: Tensor) -> tuple[int, int, int]:
    """Return filters, height and width of the kernels."""
    filters, _, height, width = weight.shape
    return filters, height, width
