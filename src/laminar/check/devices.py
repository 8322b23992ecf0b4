"""A second device to move a layer to: a GPU where there is one, and otherwise one that is acted out on the CPU.

On the stand-in a tensor says that it is elsewhere and keeps its numbers on the CPU, where every operation is computed; an
operation that meets tensors of both kinds refuses, as a GPU does. So values, branches on values and `.item()` work as they do
on a GPU, and outputs and gradients can be compared.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

from laminar.check.plain import kept

__all__ = ["DeviceError", "Gpu", "SecondDevice", "StandIn", "second_device"]


class DeviceError(RuntimeError):
    """An operation met tensors on two devices."""


class SecondDevice(abc.ABC):
    """A device that is not the CPU.

    Attributes:
        name: how messages call it.
        exact: whether it computes what the CPU computes, bit by bit but for the order of sums, random draws included.
    """

    name: str
    exact: bool

    @abc.abstractmethod
    def send(self, t: Tensor) -> Tensor:
        """Return `t`, detached, on this device."""

    @abc.abstractmethod
    def holds(self, t: Tensor) -> bool:
        """Return whether `t` is on this device."""

    @abc.abstractmethod
    def fetch(self, t: Tensor) -> Tensor:
        """Return `t`, detached, on the CPU."""

    @abc.abstractmethod
    def move(self, module: nn.Module) -> None:
        """Do what `module.to(device)` does."""

    @abc.abstractmethod
    def move_back(self, module: nn.Module) -> None:
        """Do what `module.to("cpu")` does."""

    @abc.abstractmethod
    def active(self, *, everything: bool = False) -> AbstractContextManager[object]:
        """Return a context in which modules on this device are run.

        Args:
            everything: whether tensors that are made on the CPU inside are to be made on this device as well.
        """


class Gpu(SecondDevice):
    """The GPU that torch uses."""

    name = "the GPU"
    exact = False

    def send(self, t: Tensor) -> Tensor:
        return t.detach().to("cuda")

    def holds(self, t: Tensor) -> bool:
        return t.is_cuda

    def fetch(self, t: Tensor) -> Tensor:
        return t.detach().cpu()

    def move(self, module: nn.Module) -> None:
        module.to("cuda")

    def move_back(self, module: nn.Module) -> None:
        module.to("cpu")

    def active(self, *, everything: bool = False) -> AbstractContextManager[object]:
        return torch.device("cuda") if everything else nullcontext()


_ELSEWHERE = torch.device("meta")  # the one device besides the CPU that every build of torch knows


class _Elsewhere(Tensor):
    """A tensor that says it is on another device; `held` has its numbers."""

    held: Tensor
    is_meta = False  # it has values, whatever its device is called

    @staticmethod
    def __new__(cls, held: Tensor) -> _Elsewhere:
        made: _Elsewhere = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=_ELSEWHERE,
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch declares it without the arguments that it passes
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.held.numpy(force=True)
        _refuse_numpy()

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        _refuse_numpy()


def _refuse_numpy() -> NoReturn:
    raise TypeError("can't convert a tensor on another device to numpy. Use Tensor.cpu() to copy it to host memory first.")


class _Acting(TorchDispatchMode):
    """Makes the tensors that a function is asked to make on the other device."""

    def __init__(self, everything: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        self._everything = everything

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {}, self._everything)


class _FromNumbers(TorchFunctionMode):
    """Makes tensors of numbers on the other device: torch itself would make them without their values there."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.new_tensor:
            kwargs = {"dtype": args[0].dtype, "device": args[0].device, **kwargs}
            func, args = torch.tensor, args[1:]
        device = kwargs.get("device")
        if func not in _OF_NUMBERS or device is None or torch.device(device).type != _ELSEWHERE.type:
            return func(*args, **kwargs)
        requires_grad = kwargs.pop("requires_grad", False)
        made = func(*args, **{**kwargs, "device": None if isinstance(args[0], Tensor) else "cpu"})
        return (made if isinstance(made, _Elsewhere) else _Elsewhere(made)).requires_grad_(requires_grad)


_OF_NUMBERS = (torch.tensor, torch.as_tensor, torch.asarray)


def _run(func: Any, args: Any, kwargs: dict[str, Any], everything: bool = False) -> Any:
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    if any(t.is_meta for t in tensors):  # in a backward, where torch leaves out function modes, torch.tensor(numbers) has none
        raise NotImplementedError("numbers were turned into a tensor on the device, whose values only a GPU has")
    operation = func._overloadpacket.__name__
    away = any(isinstance(t, _Elsewhere) for t in tensors)
    if away and operation in _MIXES:
        away = _MIXES[operation](args)
    elif away:
        _refuse_mixture(operation, func, tensors)
    device = kwargs.get("device")
    if device is not None:
        away = everything or torch.device(device).type == _ELSEWHERE.type
        kwargs = {**kwargs, "device": torch.device("cpu")}
        if away and not everything and kwargs.get("generator") is not None:
            raise DeviceError(f"{operation} got a generator of the CPU for numbers on another device")
    away = away or (everything and operation == "lift_fresh")  # which makes a tensor of numbers, or of an array
    here = tree_map_only(_Elsewhere, lambda t: t.held, (args, kwargs))
    result = func(*here[0], **here[1])
    if not away:
        return result
    if operation == "_pack_padded_sequence":  # the lengths stay on the CPU
        return _Elsewhere(result[0]), result[1]
    # conjugates and negatives that torch only notes on a tensor would be lost with it
    wrapped = tree_map_only(Tensor, lambda t: _Elsewhere(t.resolve_conj().resolve_neg()), result)
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


def _first(args: Any) -> bool:
    return isinstance(args[0], _Elsewhere)


def _first_unless_index(args: Any) -> bool:
    indices = [i for i in args[1] if i is not None]
    if not _first(args) and any(isinstance(i, _Elsewhere) for i in indices):
        raise DeviceError("index got indices on another device than the tensor they index")
    if len(args) > 2 and args[2].dim() and isinstance(args[2], _Elsewhere) != _first(args):
        raise DeviceError("index_put got values on another device than the tensor they are put into")
    return _first(args)


# What takes tensors of two devices on a GPU too: the operation -> whether its result is on the other device.
_MIXES: dict[str, Callable[[Any], bool]] = {
    "copy_": _first,
    "_to_copy": _first,
    "_pack_padded_sequence": _first,
    "index": _first_unless_index,
    "index_put": _first_unless_index,
    "index_put_": _first_unless_index,
    "_index_put_impl_": _first_unless_index,
}


def _refuse_mixture(operation: str, func: Any, tensors: list[Tensor]) -> None:
    """Raise where a GPU would: a single number on the CPU mixes with anything, but nothing is written into it."""
    changed = func._schema.is_mutable and not isinstance(tensors[0], _Elsewhere)
    left = [t for t in tensors if not isinstance(t, _Elsewhere) and (t.dim() or (changed and t is tensors[0]))]
    if left:
        there = next(t for t in tensors if isinstance(t, _Elsewhere))
        raise DeviceError(
            f"{operation.strip('_')} got a tensor {tuple(there.shape)} on the second device "
            f"and one {tuple(left[0].shape)} on the CPU"
        )


class StandIn(SecondDevice):
    """A second device acted out on the CPU."""

    name = "a second device"
    exact = True

    def send(self, t: Tensor) -> Tensor:
        return t if isinstance(t, _Elsewhere) else _Elsewhere(t.detach())

    def holds(self, t: Tensor) -> bool:
        return isinstance(t, _Elsewhere)

    def fetch(self, t: Tensor) -> Tensor:
        t = t.detach()
        return t.held if isinstance(t, _Elsewhere) else t

    def move(self, module: nn.Module) -> None:
        _applied(module, self.send)

    def move_back(self, module: nn.Module) -> None:
        _applied(module, self.fetch)

    @contextmanager
    def active(self, *, everything: bool = False) -> Iterator[None]:
        with _FromNumbers(), _Acting(everything):
            yield


def _applied(module: nn.Module, move: Callable[[Tensor], Tensor]) -> None:
    """Move what is registered. A real move changes what is in a Parameter; here a new one goes wherever the old one stood."""
    before = dict(module.named_parameters(remove_duplicate=False))
    module._apply(move)
    after = dict(module.named_parameters(remove_duplicate=False))
    new: dict[int, nn.Parameter] = {}
    for name, p in before.items():
        if name in after:
            first = new.setdefault(id(p), after[name])
            owner, _, attribute = name.rpartition(".")
            module.get_submodule(owner)._parameters[attribute] = first  # one Parameter in two places stays one
    for found in list(kept(module)):
        if isinstance(found.value, nn.Parameter) and id(found.value) in new:
            found.put(new[id(found.value)])


def second_device() -> SecondDevice:
    """Return the GPU where there is one, and a stand-in otherwise."""
    return Gpu() if torch.cuda.is_available() else StandIn()
