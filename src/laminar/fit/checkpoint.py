"""Weights on disk: safetensors files, which hold numbers and cannot run code, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from laminar.atomic import replacing
from laminar.errors import FileError, ShapeError, complaint

__all__ = ["load_weights", "save_weights"]


def save_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write every parameter and buffer to a safetensors file; a crash on the way leaves the old file as it was.

    Raises:
        FileError: if it cannot be written: no such folder, no permission, no space.
    """
    from safetensors.torch import save

    content = save({name: t.detach().cpu().contiguous().clone() for name, t in model.state_dict().items()})
    try:
        with replacing(Path(path)) as file:
            file.write(content)
    except OSError as error:
        raise FileError(
            complaint(
                f"save_weights({str(path)!r})",
                expected="a file that can be written",
                received=error.strerror or str(error),
                fix="Choose another path",
            )
        ) from error


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Read what `save_weights` wrote into a network of the same architecture; on any error nothing is changed.

    Raises:
        FileError: if the file is missing, truncated or no safetensors file.
        ShapeError: if its names or shapes are not those of the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    where = f"load_weights({str(path)!r})"
    try:
        tensors = load(Path(path).read_bytes())
    except OSError as error:
        raise FileError(
            complaint(where, expected="a file", received=error.strerror or str(error), fix="Check the path")
        ) from error
    except SafetensorError as error:
        raise FileError(
            complaint(where, expected="a whole safetensors file", received=str(error), fix="Save the weights again")
        ) from error
    own = model.state_dict()
    for name in sorted({*own, *tensors}):
        have, want = tensors.get(name), own.get(name)
        if have is None or want is None or have.shape != want.shape:
            raise ShapeError(
                complaint(
                    where,
                    expected=f"{name!r} of shape {tuple(want.shape)}" if want is not None else f"no {name!r}",
                    received="none" if have is None else f"shape {tuple(have.shape)}",
                    fix="Build the same network before loading",
                )
            )
    with torch.no_grad():
        model.load_state_dict(tensors)
