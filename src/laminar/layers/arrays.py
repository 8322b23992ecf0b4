"""Arrays where a layer wants tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from laminar.errors import DtypeError, complaint

__all__ = ["refuse_arrays"]


def refuse_arrays(label: str, inputs: Iterable[Any]) -> None:
    """Refuse inputs of a layer that are arrays, NumPy's and the like.

    Args:
        label: of the layer, for the message.
        inputs: as given.

    Raises:
        DtypeError: on the first one.
    """
    for value in inputs:
        if hasattr(value, "__array__") and not isinstance(value, Tensor):
            received = f"{type(value).__module__}.{type(value).__qualname__}"
            fix = "Pass torch.as_tensor(x), or arrays to model.predict"
            raise DtypeError(complaint(label, expected="a tensor", received=received, fix=fix))
