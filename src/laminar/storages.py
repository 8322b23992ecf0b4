"""Memory counted exactly: every storage that an operation makes, from its making until nothing refers to it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["counted", "format_bytes", "peak", "saved"]


def format_bytes(count: int) -> str:
    """Return a size in memory as people read it.

    >>> format_bytes(512), format_bytes(2_400_000)
    ('512 B', '2.4 MB')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


class _Alive(TorchDispatchMode):
    """Counts the bytes of the storages made inside that are still referred to, and the most there ever were."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        self.now = 0
        self.most = 0
        self._known = {t.untyped_storage()._cdata for t in known}
        self._watched: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._watch(leaf)
        return result

    def _watch(self, t: Tensor) -> None:
        storage = t.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known or key in self._watched:
            return

        def gone(_: Any) -> None:
            del self._watched[key]
            self.now -= size

        self._watched[key] = weakref.ref(storage, gone)
        self.now += size
        self.most = max(self.most, self.now)


def counted(action: Callable[[], object], known: Iterable[Tensor]) -> int:
    """Return the most bytes that `action` held at once in tensors, beyond those `known` before; on a GPU, too.

    What a kernel needs for itself while it runs is in no tensor, and not counted: the figure is that of the program, on any
    device.

    >>> x = torch.zeros(1000)
    >>> counted(lambda: (x + 1) * 2 - 3, [x])  # two at a time: what is read, and what is made
    8000
    """
    alive = _Alive(known)
    with alive:
        action()
    return alive.most


def peak(action: Callable[[], object], known: Iterable[Tensor]) -> int:
    """Return the most bytes that `action` held at once, beyond those of the tensors `known` before.

    On a GPU it is what torch's allocator gave out, so with the work space of its kernels; elsewhere what `counted` says.

    >>> x = torch.zeros(1000)
    >>> peak(lambda: x + 1, [x])
    4000
    """
    known = list(known)
    if any(t.is_cuda for t in known):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        action()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    return counted(action, known)


def saved(action: Callable[[], object], known: Iterable[Tensor]) -> int:
    """Return how many bytes `action` keeps for a backward pass, without those of the tensors `known` before.

    >>> x = torch.zeros(1000, requires_grad=True)
    >>> saved(lambda: x * 2, [x]), saved(lambda: x.exp(), [x])  # exp keeps its output
    (0, 4000)
    """
    own = {t.untyped_storage()._cdata for t in known}
    kept: dict[int, int] = {}

    def note(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        result = action()  # it holds what was kept, so that no storage takes another's place
    del result
    return sum(kept.values())
