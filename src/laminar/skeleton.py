"""Writes the skeleton of a new layer and a test that passes: `laminar new-layer NAME`."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from laminar.errors import ArgumentError, FileError, complaint

__all__ = ["write_skeleton"]

_LAYER = '''"""{cls}: say in one sentence what it does."""

from __future__ import annotations

import torch
from torch import Tensor

import laminar as lm


class {cls}(lm.Layer):
    """x times the sigmoid of a learnable factor times x, one factor for each channel. Put your own formula in its place.

    >>> {cls}()(torch.zeros(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """

    def build(self, shape: tuple[int, ...]) -> None:
        """Declare what is learned, from the shape of one observation: (C, H, W), or (features,)."""
        self.factor = self.learnable(shape[0], init="ones")

    def forward(self, x: Tensor) -> Tensor:
        """Return z, (B, C, ...). This method alone is needed."""
        return x * torch.sigmoid(self.per_channel(self.factor, x) * x)

    # Optional: `predict(self, x)` where inference differs from training.

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        """Return dL/dx and dL/dfactor from dL/dz. Delete this method, and autograd does it."""
        factor = self.per_channel(self.factor, x)
        s = torch.sigmoid(factor * x)
        slope = s * (1 - s)
        return dz * (s + factor * x * slope), self.sum_to_channels(dz * x.square() * slope)
'''

_TEST = '''"""{cls}: its shape, whether it is right, and its life in a network."""

from __future__ import annotations

import laminar as lm
import pytest
import torch
from laminar import layers as L
from laminar.testing import assert_layer
from {module} import {cls}


@pytest.mark.parametrize("shape", [(3,), (3, 8), (3, 5, 5)])
def test_shape_is_kept(shape: tuple[int, ...]) -> None:
    assert {cls}()(torch.randn(4, *shape)).shape == (4, *shape)


@pytest.mark.parametrize("shape", [(3,), (3, 5, 5)])
def test_it_is_right(shape: tuple[int, ...]) -> None:
    """Contract, gradient, numbers, behaviour, placement: what fails is said with figures."""
    assert_layer({cls}(), shape)


def test_trains_in_a_network() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(64, 3, 5, 5), torch.arange(64) % 2
    model = lm.Sequential([{cls}(), L.Flatten(), L.Dense(2, activation="softmax")])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    losses = model.fit(x, y, epochs=20, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
'''


def write_skeleton(name: str, folder: Path) -> tuple[Path, Path]:
    """Write a layer file and its test file into `folder`; nothing that exists is overwritten.

    Args:
        name: of the layer, "SoftClip" or "soft_clip": the class is SoftClip, the files soft_clip.py and test_soft_clip.py.
        folder: made if it is not there.

    Returns:
        The two files.

    Raises:
        ArgumentError: if the name cannot be a class name.
        FileError: if a file exists already, or cannot be written.
    """
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z][a-z0-9]*|[A-Z]+[0-9]*|[0-9]+", name)
    cls = name if name[:1].isupper() and "_" not in name else "".join(w[:1].upper() + w[1:] for w in words)
    module = "_".join(w.lower() for w in words)
    if not cls.isidentifier() or not module.isidentifier() or keyword.iskeyword(module) or not name.replace("_", "").isalnum():
        raise ArgumentError(
            complaint(
                "new-layer NAME", expected="a class name", received=f"{name!r}", fix="Use letters, digits and _: SoftClip"
            )
        )
    files = folder / f"{module}.py", folder / f"test_{module}.py"
    for path in files:
        if path.exists():
            raise FileError(
                complaint(
                    str(path), expected="no such file yet", received="one that exists", fix="Choose another name or folder"
                )
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, template in zip(files, (_LAYER, _TEST), strict=True):
            path.write_text(template.format(cls=cls, module=module), encoding="utf-8")
    except OSError as error:
        raise FileError(
            complaint(str(folder), expected="a folder that can be written to", received=str(error), fix="Choose another folder")
        ) from error
    return files
