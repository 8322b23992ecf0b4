"""What the comparisons with `torch.nn` and Keras share. Keras runs on its torch backend, so both sides use the same kernels.

`make test` looks at a few configurations of each layer, `make test-all` at fifty or more: LAMINAR_PARITY_EXAMPLES says how many.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import Tensor, nn

from laminar.shapes import trace

pytest.importorskip("keras", reason='needs Keras: pip install -e ".[dev]"')
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own imports
    import keras

__all__ = ["EXAMPLES", "assert_close", "copy_into", "gradients", "keras", "parity", "same_initial"]

EXAMPLES = int(os.environ.get("LAMINAR_PARITY_EXAMPLES", "5"))
parity = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
"""Decorator for a hypothesis test that compares with another library: `@parity` above `@given(...)`."""


def gradients(module: Any, inputs: Sequence[Tensor], learnables: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the outputs, and the gradients of inputs (those that are floats) and learnables for fixed output gradients."""
    xs = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    z = module(*xs)
    outputs = list(z) if isinstance(z, tuple | list) else [z]
    generator = torch.Generator().manual_seed(3)
    dz = [torch.randn(t.shape, generator=generator).to(t.dtype) for t in outputs]
    asked = [x for x in xs if x.requires_grad] + list(learnables)
    return [t.detach() for t in outputs], list(torch.autograd.grad(outputs, asked, dz, allow_unused=True)) if asked else []


def assert_close(some: Sequence[Any], others: Sequence[Any], bound: float = 1e-5) -> None:
    """Assert that numbers are the same within `bound`, of the largest number where that is above 1."""
    assert len(some) == len(others)
    for a, b in zip(some, others, strict=True):
        x, y = np.asarray(torch.as_tensor(a).detach()), np.asarray(torch.as_tensor(b).detach())
        assert x.shape == y.shape
        largest = max(1.0, float(np.abs(y).max())) if y.size else 1.0
        np.testing.assert_allclose(x, y, rtol=0, atol=bound * largest)


def copy_into(values: Sequence[Tensor], targets: Sequence[Any]) -> None:
    """Give Keras variables (or tensors) these values; shapes must be those of the targets."""
    for value, target in zip(values, targets, strict=True):
        if isinstance(target, Tensor):
            with torch.no_grad():
                target.copy_(value)
        else:
            target.assign(value.detach().clone())


def same_initial(layer: nn.Module, *shapes: Sequence[int], dtype: torch.dtype | None = None) -> nn.Module:
    """Build `layer` for observations of `shapes` and give every learnable random values of its own, none of them special."""
    trace(layer, *shapes, dtype=dtype)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.5)
    return layer
