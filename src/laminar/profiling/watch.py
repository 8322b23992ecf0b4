"""When each layer of a network works in a training step, without hooks: these would keep Laminar's kernels from being used."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from laminar.layers import chain
from laminar.layers.base import Layer

__all__ = ["Call", "Key", "Watch"]

Key: TypeAlias = tuple[str, ...]
"""The paths of the layers that one row is about: one, or two that a kernel computes at once."""


@dataclass
class Call:
    """What is known of one row.

    Attributes:
        modules: the layers.
        forward: seconds in forward, without the layers inside.
        backward: seconds in backward, likewise.
        kept: bytes kept for backward.
        read: bytes that came in, of the last call.
        made: bytes that went out, of the last call; of a view, 0.
        feeds_back: whether a gradient is asked for what came in.
        inside: whether other layers were called inside.
    """

    modules: tuple[nn.Module, ...]
    forward: float = 0.0
    backward: float = 0.0
    kept: int = 0
    read: int = 0
    made: int = 0
    feeds_back: bool = False
    inside: bool = False


@dataclass
class _Frame:
    key: Key
    started: float
    inner: float = 0.0  # seconds in calls inside


@dataclass
class Watch:
    """Notes one training step.

    Args:
        model: the network.
        now: the clock, in seconds; it waits for the device.

    Attributes:
        calls: by row, in the order of the calls.
        loss: seconds in the loss, forward and backward.
        update: seconds in the optimizer.
        total: seconds from the beginning of the step to its end.
    """

    model: nn.Module
    now: Callable[[], float] = time.perf_counter
    calls: dict[Key, Call] = field(default_factory=dict)
    loss: float = 0.0
    update: float = 0.0
    total: float = 0.0
    _frames: list[_Frame] = field(default_factory=list)
    _seen: dict[int, Any] = field(default_factory=dict)  # autograd's nodes that have a mark
    _marks: list[tuple[float, Key]] = field(default_factory=list)
    _backward: bool = False
    _left: float = 0.0  # when the network's forward had ended

    def __post_init__(self) -> None:
        self._paths: dict[int, str] = {}
        for name, module in self.model.named_modules():
            self._paths.setdefault(id(module), name.replace(".", "/"))

    def step(self, run: Callable[[], Any], optimizer: torch.optim.Optimizer) -> None:
        """Run a step and note what happens when."""
        began: list[float] = []

        def begin(*_: Any) -> None:
            began.append(self.now())

        def end(*_: Any) -> None:
            self.update += self.now() - began.pop()

        hooks = [optimizer.register_step_pre_hook(begin), optimizer.register_step_post_hook(end)]
        try:
            with self._watching():
                start = self.now()
                run()
                self.total = self.now() - start
        finally:
            for hook in hooks:
                hook.remove()

    def memory(self, run: Callable[[], Any], known: set[int]) -> None:
        """Run a step and note the bytes that each row keeps for backward, beyond the storages `known`."""
        held: list[Tensor] = []  # so that no storage takes another's place

        def note(t: Tensor) -> Tensor:
            storage = t.untyped_storage()
            if storage._cdata not in known and self._frames and not self._backward:
                known.add(storage._cdata)
                held.append(t.detach())
                self.calls[self._frames[-1].key].kept += storage.nbytes()
            return t

        with self._watching(), torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            run()

    @contextmanager
    def _watching(self) -> Iterator[None]:
        with ExitStack() as stack:
            for owner, name, made in (
                (nn.Module, "__call__", self._calling),
                (Layer, "__call__", self._calling),
                (chain, "two_at_once", self._two),
                (Tensor, "backward", self._going_back),
            ):
                before = getattr(owner, name)
                stack.callback(setattr, owner, name, before)
                setattr(owner, name, made(before))
            yield

    def _calling(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            path = self._paths.get(id(module))
            if path is None or self._backward or (self._frames and self._frames[-1].key == (path,)):
                return original(module, *args, **kwargs)
            return self._noted((path,), (module,), (args, kwargs), lambda: original(module, *args, **kwargs))

        return call

    def _two(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(module: nn.Module, following: nn.Module, x: Any) -> Any:
            paths = [self._paths.get(id(m)) for m in (module, following)]
            key = tuple(p for p in paths if p is not None)
            if len(key) < 2 or self._backward:
                return original(module, following, x)
            fresh = key not in self.calls
            z = self._noted(key, (module, following), x, lambda: original(module, following, x))
            if z is None and fresh:
                del self.calls[key]
            return z

        return call

    def _noted(self, key: Key, modules: tuple[nn.Module, ...], given: Any, run: Callable[[], Any]) -> Any:
        call = self.calls.setdefault(key, Call(modules))
        frame = _Frame(key, self.now())
        self._frames.append(frame)
        try:
            z = run()
        finally:
            self._frames.pop()
        end = self.now()
        if z is None:
            return None
        whole = end - frame.started
        call.forward += whole - frame.inner
        call.inside = call.inside or frame.inner > 0
        if self._frames:
            self._frames[-1].inner += whole
        else:
            self._left = end
        self._mark(key, call, given, z)
        return z

    def _mark(self, key: Key, call: Call, given: Any, z: Any) -> None:
        """Note sizes, and let autograd tell when the backward pass comes to what was returned."""
        inputs, outputs = ([t for t in tree_leaves(nest) if isinstance(t, Tensor)] for nest in (given, z))
        storages = {t.untyped_storage()._cdata for t in inputs}
        call.read = sum(t.nbytes for t in inputs)
        call.made = sum(t.nbytes for t in outputs if t.untyped_storage()._cdata not in storages)
        call.feeds_back = any(t.requires_grad for t in inputs)
        for node in (t.grad_fn for t in outputs):
            if node is not None and id(node) not in self._seen:  # one that returns what it was given is not the one that works
                self._seen[id(node)] = node
                node.register_prehook(lambda gradients: self._marks.append((self.now(), key)))

    def _going_back(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def backward(loss: Tensor, *args: Any, **kwargs: Any) -> Any:
            self._backward, start = True, self.now()
            self.loss += start - self._left
            try:
                result = original(loss, *args, **kwargs)
            finally:
                self._backward = False
            self._divide(start, self.now())
            return result

        return backward

    def _divide(self, start: float, end: float) -> None:
        """Give each row the time from its mark to the next one."""
        marks = [*self._marks, (end, ())]
        self.loss += marks[0][0] - start
        for (begun, key), (ended, _) in itertools.pairwise(marks):
            self.calls[key].backward += ended - begun
        self._marks.clear()
        self._seen.clear()
