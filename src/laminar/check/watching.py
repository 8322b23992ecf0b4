"""Which of torch's operations makes a number that is not finite, or loses a NaN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from laminar.check.running import copied, gradients, run

__all__ = ["SLOPE", "loses_nan", "makes_nonfinite"]

_UNFILLED = {"empty_like", "new_empty", "empty", "empty_strided", "new_empty_strided"}  # their numbers mean nothing
_LOSE_NAN = {"where", "masked_fill", "nan_to_num", "nansum", "nanmedian", "fmax", "fmin", "heaviside", "sign", "threshold"}
_LOSE_NAN |= {"_scaled_dot_product_flash_attention_for_cpu"}  # with fewer keys than fill a register, in torch 2.13


SLOPE = "the slope of "
"""Stands before the name of an operation whose derivative it is."""

_Test: TypeAlias = Callable[[str, list[Tensor], list[Tensor]], bool]


class _Watch(TorchDispatchMode):
    """Notes the operations for which `test(name, inputs, outputs)` is true, by name and in order."""

    def __init__(self, test: _Test) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.names: list[str] = []
        self._test = test

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = _floats([args, kwargs])
        before = [t.clone() for t in inputs]  # an operation in place changes what came in
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        if self._test(name, before, _floats(result)):
            self.names.append(_slope() or name)
        return result


def makes_nonfinite(module: nn.Module, xs: Sequence[Tensor], ordinary: Sequence[Tensor], *, backward: bool) -> str:
    """Return the first operation that makes inf, -inf or NaN on `xs` where it was given none of that kind; "" if none.

    Args:
        module: it is copied.
        xs: inputs.
        ordinary: usual inputs. What such an operation does on them, too, as masking by -inf, is passed over if it can be.
        backward: whether the gradients are computed, too.
    """
    names = _watched(module, xs, _starts_nonfinite, backward=backward)
    usual = _watched(module, ordinary, _starts_nonfinite, backward=backward)
    return next((name for name in names if name not in usual), next(iter(names), ""))


def loses_nan(module: nn.Module, xs: Sequence[Tensor]) -> str:
    """Return the last operation that is given NaN and replaces it, of those that do so by their nature; "" if there is none."""
    names = _watched(module, xs, _drops_nan, backward=False)
    return names[-1] if names else ""


def _watched(module: nn.Module, xs: Sequence[Tensor], test: _Test, *, backward: bool) -> list[str]:
    twin = copied(module)
    try:
        watch = _Watch(test)
        with watch:
            gradients(twin, xs) if backward else run(twin, xs)
    except Exception:  # what cannot be watched has no cause that was seen
        return []
    return watch.names


def _slope() -> str:
    """Return "the slope of log" in the backward pass of torch's logarithm; "" in no such pass."""
    node = torch._C._current_autograd_node()
    name, found, _ = node.name().partition("Backward0") if node is not None else ("", "", "")
    return SLOPE + name.lower() if found else ""


def _floats(values: Any) -> list[Tensor]:
    return [v for v in tree_leaves(values) if isinstance(v, Tensor) and v.is_floating_point() and not v.is_meta]


def _starts_nonfinite(name: str, inputs: list[Tensor], outputs: list[Tensor]) -> bool:
    if name in _UNFILLED or all(bool(t.isfinite().all()) for t in outputs):
        return False
    return not _kinds(outputs) <= _kinds(inputs)  # a mask of -inf may have come in, and inf come out


def _kinds(tensors: list[Tensor]) -> set[str]:
    """Return which numbers that are not finite are among those of some tensors."""
    tests = {"nan": torch.isnan, "inf": torch.isposinf, "-inf": torch.isneginf}
    return {kind for kind, test in tests.items() if any(bool(test(t).any()) for t in tensors)}


def _drops_nan(name: str, inputs: list[Tensor], outputs: list[Tensor]) -> bool:
    if name not in _LOSE_NAN or not outputs:
        return False
    return any(bool(t.isnan().any()) for t in inputs) and not any(bool(t.isnan().any()) for t in outputs)
