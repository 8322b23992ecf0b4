"""Which numbers a network is computed in: float32, or bfloat16 where the processor multiplies it faster."""

from __future__ import annotations

import functools
import logging
from typing import Literal, TypeAlias

import torch
from torch import nn

from laminar.errors import ArgumentError, complaint
from laminar.layers.conv import Convolution

__all__ = ["Precision", "automatic", "bfloat16_units", "computes_in_bfloat16", "need_float32"]

Precision: TypeAlias = Literal["float32", "bfloat16", "auto"]
"""What `compile(precision=)` takes."""

_log = logging.getLogger("laminar.engine")
_CHANNELS = 16  # of a convolution's input, from which bfloat16 was measured to be faster on a processor that has it


@functools.cache
def bfloat16_units(device: str) -> str | None:
    """Return what multiplies bfloat16 on a device of this machine; None where nothing does, so that it is emulated.

    Args:
        device: type of the device: "cpu", "cuda".

    >>> bfloat16_units("cpu") in (None, "AMX", "AVX-512 BF16")
    True
    """
    if device == "cuda":
        return "tensor cores" if torch.cuda.is_bf16_supported(including_emulation=False) else None
    if device != "cpu":
        return None
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    return "AVX-512 BF16" if torch.cpu._is_avx512_bf16_supported() else None


def automatic(device: str) -> str:
    """Return what "auto" takes on a device of this machine, in words.

    Args:
        device: type of the device.

    >>> automatic("meta")
    '"auto" is float32: no units for bfloat16'
    """
    units = bfloat16_units(device)
    if units is None:
        return '"auto" is float32: no units for bfloat16'
    which = "" if device == "cuda" else f", for networks with convolutions over {_CHANNELS} channels or more"
    return f'"auto" is bfloat16{which}: {units}'


def need_float32(model: nn.Module, precision: Precision) -> None:
    """Refuse bfloat16 for a network that autocast would leave as it is.

    Raises:
        ArgumentError: naming the first parameter that is not float32.
    """
    other = _other_than_float32(model)
    if precision == "bfloat16" and other is not None:
        name, dtype = other
        received = f"{name!r} in {str(dtype).removeprefix('torch.')}"
        fix = 'Call model.float() first, or pass precision="float32", which computes in the dtype of the parameters'
        raise ArgumentError(
            complaint('compile(precision="bfloat16")', expected="parameters in float32", received=received, fix=fix)
        )


def computes_in_bfloat16(model: nn.Module, precision: Precision, device: torch.device) -> bool:
    """Return whether a network is computed in bfloat16 on a device, and log why where that was left to us.

    "auto" takes bfloat16 on a GPU that has units for it; and on a processor that has them where the network has convolutions
    over 16 channels or more, which took 0.5 to 0.6 of the time there, while perceptrons, LSTMs and convolutions over fewer
    channels took longer.

    Raises:
        ArgumentError: if bfloat16 is asked for and the parameters are not float32.
    """
    need_float32(model, precision)
    if precision != "auto":
        return precision == "bfloat16"
    chosen, reason = _chosen(model, device.type)
    _log.info("precision: %s, because %s", "bfloat16" if chosen else "float32", reason)
    return chosen


def _chosen(model: nn.Module, device: str) -> tuple[bool, str]:
    """Return whether "auto" is bfloat16, and the reason."""
    other, units = _other_than_float32(model), bfloat16_units(device)
    place = "GPU" if device == "cuda" else "processor"
    if other is not None:
        return False, f"{other[0]!r} is {str(other[1]).removeprefix('torch.')}"
    if units is None:
        return False, f"this {place} has no units for bfloat16"
    if device == "cuda":
        return True, f"this GPU has {units} for it"
    kernels = [m.weight for m in model.modules() if isinstance(m, Convolution | nn.Conv1d | nn.Conv2d | nn.Conv3d)]
    if any(kernel.shape[1] >= _CHANNELS for kernel in kernels):  # (filters, channels / groups, ...)
        return True, f"this processor has {units}, and the network convolutions over {_CHANNELS} channels or more"
    return False, f"no convolution of the network goes over {_CHANNELS} channels or more"


def _other_than_float32(model: nn.Module) -> tuple[str, torch.dtype] | None:
    """Return the name and dtype of the first parameter with a fraction that is not float32."""
    named = ((name, p.dtype) for name, p in model.named_parameters() if p.is_floating_point() or p.is_complex())
    return next((found for found in named if found[1] != torch.float32), None)
