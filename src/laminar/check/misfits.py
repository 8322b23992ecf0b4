"""Two results inside a module that do not fit each other: an operation on both fails for some sizes of the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from laminar.check.plain import tensors_kept
from laminar.check.running import run

__all__ = ["misfit"]


class _Watch(TorchDispatchMode):
    """Notes the tensors of the first operation that fails, and its name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        self.operands: list[Tensor] | None = None
        self.operation = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return func(*args, **(kwargs or {}))
        except Exception:
            if self.operands is None:
                self.operands = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
                self.operation = func._overloadpacket.__name__
            raise


def misfit(module: nn.Module, xs: Sequence[Tensor]) -> tuple[str, list[tuple[int, ...]]] | None:
    """Return the operation that fails in `module(*xs)` and the shapes of the results that do not fit; else None.

    Where a learnable, a buffer or another tensor of the module itself does not fit, it was made for one size, which is no
    fault.

    >>> class Halves(nn.Module):
    ...     def forward(self, x):
    ...         return x[:, ::2] + x[:, 1::2]
    >>> misfit(Halves(), [Tensor(4, 7)])
    ('add', [(4, 4), (4, 3)])
    """
    watch = _Watch()
    try:
        with watch:
            run(module, xs)
    except Exception:
        held = [*module.parameters(), *module.buffers(), *(k.value for k in tensors_kept(module))]
        own = {t.untyped_storage().data_ptr() for t in held}
        operands = [t for t in watch.operands or () if t.untyped_storage().data_ptr() not in own]
        shapes = [tuple(t.shape) for t in operands]
        if len(operands) == len(watch.operands or ()) and len(set(shapes)) > 1:
            return watch.operation, shapes
    return None
