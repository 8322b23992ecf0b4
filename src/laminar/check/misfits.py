"""Two results inside a module that do not fit each other: an operation on both fails for some sizes of the input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from laminar.check.plain import tensors_kept
from laminar.check.running import run

__all__ = ["misfit"]


class _Watch(TorchDispatchMode):
    """Notes the tensors of the first operation that fails, its name, and whether one of them is the module's own.

    Args:
        own: the tensors of the module. What is computed from them alone, as the part of a mask, is its own, too.
    """

    def __init__(self, own: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        self.operands: list[Tensor] | None = None
        self.operation = ""
        self.of_module = False
        self._own = {t.untyped_storage()._cdata: t for t in own}  # held, so that no other tensor takes its place

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = _tensors((args, kwargs))
        own = [t.untyped_storage()._cdata in self._own for t in given]
        try:
            result = func(*args, **(kwargs or {}))
        except Exception:
            if self.operands is None:
                self.operands, self.operation, self.of_module = given, func._overloadpacket.__name__, any(own)
            raise
        if own and all(own):
            self._own.update((t.untyped_storage()._cdata, t) for t in _tensors(result))
        return result


def _tensors(values: Any) -> list[Tensor]:
    return [t for t in tree_leaves(values) if isinstance(t, Tensor)]


def misfit(module: nn.Module, xs: Sequence[Tensor]) -> tuple[str, list[tuple[int, ...]]] | None:
    """Return the operation that fails in `module(*xs)` and the shapes of the results that do not fit; else None.

    Where a learnable, a buffer or another tensor of the module itself does not fit, or what is computed from these alone, it
    was made for one size, or for sizes up to one, which is no fault.

    >>> class Halves(nn.Module):
    ...     def forward(self, x):
    ...         return x[:, ::2] + x[:, 1::2]
    >>> misfit(Halves(), [Tensor(4, 7)])
    ('add', [(4, 4), (4, 3)])
    """
    watch = _Watch([*module.parameters(), *module.buffers(), *(k.value for k in tensors_kept(module))])
    try:
        with watch:
            run(module, xs)
    except Exception:
        shapes = [tuple(t.shape) for t in watch.operands or ()]
        if not watch.of_module and len(set(shapes)) > 1:
            return watch.operation, shapes
    return None
