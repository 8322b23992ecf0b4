"""What users have → tensors that the network takes, looked at once before any of it is trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from laminar.errors import ArgumentError, DataError, DtypeError, LabelError, ShapeError, complaint

__all__ = ["Batch", "ClassWeight", "Converter", "Inputs", "about", "as_numpy", "same_length", "to_tensor"]

Inputs: TypeAlias = Tensor | tuple[Tensor, ...]
Prepare: TypeAlias = Callable[[Tensor, torch.dtype], Tensor]
ClassWeight: TypeAlias = Mapping[int, float] | Sequence[float]

_KINDS = {"U": "text", "S": "text", "T": "text", "O": "objects", "M": "dates", "m": "durations"}


@dataclass(frozen=True)
class Batch:
    """Some observations: inputs (B, ...), targets (B, ...) and weights (B,), the last two where there are any.

    With several outputs the targets are a tuple.
    """

    x: Inputs
    y: Any
    weight: Tensor | None

    @property
    def size(self) -> int:
        """The number of observations B."""
        return int((self.x[0] if isinstance(self.x, tuple) else self.x).shape[0])

    def copied(self) -> Batch:
        """Return the batch with inputs of its own."""
        return Batch(tuple(t.clone() for t in self.x) if isinstance(self.x, tuple) else self.x.clone(), self.y, self.weight)

    @property
    def was_written_to(self) -> bool:
        """Whether anything was done in place to inputs that `copied` made."""
        return any(self.versions)

    @property
    def versions(self) -> list[int]:
        """How often each of the inputs was written to."""
        return [t._version for t in (self.x if isinstance(self.x, tuple) else (self.x,))]

    def parts(self, most: int | None) -> list[Batch]:
        """Return the batch in parts of nearly one size, of at most so many observations; itself where None, or it is small.

        >>> [part.size for part in Batch(torch.zeros(10, 2), torch.zeros(10), None).parts(4)]
        [4, 3, 3]
        """
        if most is None or self.size <= most:
            return [self]
        count = -(-self.size // most)

        def cut(t: Any) -> Any:
            if t is None:
                return [None] * count
            return list(zip(*map(cut, t), strict=True)) if isinstance(t, tuple) else t.tensor_split(count)

        return [Batch(x, y, weight) for x, y, weight in zip(cut(self.x), cut(self.y), cut(self.weight), strict=True)]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""
        x = tuple(t.to(device) for t in self.x) if isinstance(self.x, tuple) else self.x.to(device)
        y = tuple(t.to(device) for t in self.y) if isinstance(self.y, tuple) else None if self.y is None else self.y.to(device)
        return Batch(x, y, None if self.weight is None else self.weight.to(device))


@contextmanager
def about(what: str) -> Iterator[None]:
    """Put `what` in front of every complaint about data inside."""
    try:
        yield
    except (ArgumentError, DataError, DtypeError, ShapeError) as error:
        raise type(error)(f"{what}: {error}") from error


def to_tensor(value: Any, where: str, dtype: torch.dtype, *, keep_integers: bool = False) -> Tensor:
    """Return an array, tensor or nested list as a tensor without graph; floats (and whole numbers, unless kept) in `dtype`.

    Args:
        value: the data; it is copied only where torch cannot share its memory.
        where: its name in messages ("x").
        dtype: the network's float dtype.
        keep_integers: whether whole numbers stay whole (labels, indices of an embedding).

    Raises:
        DtypeError: if it holds objects or text, or is no array at all.

    >>> to_tensor(np.zeros((2, 3)), "x", torch.float32).dtype
    torch.float32
    """
    tensor = value.detach() if isinstance(value, Tensor) else _from_array(_as_array(value, where), where)
    if tensor.is_complex():
        raise _is_complex(where, tensor.dtype)
    keep = keep_integers and not tensor.is_floating_point()
    return tensor.long() if keep else tensor.to(dtype)


def as_numpy(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return a tensor on the CPU as an array; bfloat16, which NumPy has not, as float32.

    >>> as_numpy(torch.ones(1, dtype=torch.bfloat16)).dtype
    dtype('float32')
    """
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


def _as_array(value: Any, where: str) -> np.ndarray[Any, Any]:
    if value is None:
        raise DtypeError(complaint(where, expected="numbers", received="None", fix="Pass an array or a tensor"))
    try:
        return np.asarray(value)
    except ValueError as error:
        raise DtypeError(
            complaint(where, expected="an array with rows of one length", received="rows of several lengths", fix="Pad them")
        ) from error


def _is_complex(where: str, dtype: object) -> DtypeError:
    return DtypeError(
        complaint(where, expected="real numbers", received=f"dtype {dtype}", fix="Split real and imaginary parts")
    )


def _from_array(array: np.ndarray[Any, Any], where: str) -> Tensor:
    """Return `array` as a tensor that shares its memory if possible."""
    kind = array.dtype.kind
    if kind == "c":
        raise _is_complex(where, array.dtype)
    if kind not in "fiub":
        fix = f"Convert it: np.asarray({where}, dtype=np.float32)"
        if _KINDS.get(kind) == "text":
            fix = f"Number the values: np.unique({where}, return_inverse=True)[1]" if array.ndim else "Read the data first"
        received = f"{_KINDS.get(kind, 'records')} (dtype {array.dtype})"
        raise DtypeError(complaint(where, expected="numbers", received=received, fix=fix))
    if kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    elif kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    elif not array.dtype.isnative:  # as files of other machines, and of MNIST, have it
        array = array.astype(array.dtype.newbyteorder("="))
    if not array.flags.writeable or any(s < 0 for s in array.strides):
        array = array.copy()
    return torch.from_numpy(array)


def _check_inputs(x: Tensor, where: str) -> None:
    if x.dim() == 0 or x.shape[0] == 0:
        raise DataError(
            complaint(
                where,
                expected="at least one observation",
                received=f"shape {tuple(x.shape)}",
                fix="Pass data that is not empty",
            )
        )
    if x.is_floating_point() and not bool(torch.isfinite(x.sum())):  # one pass; only a doubt is looked into
        bad = ~torch.isfinite(x).flatten(1).all(1) if x.dim() > 1 else ~torch.isfinite(x)
        if bool(bad.any()):
            first = int(bad.nonzero()[0])
            kind = "nan" if bool(torch.isnan(x[first]).any()) else "inf"
            raise DataError(
                complaint(
                    where,
                    expected="finite numbers",
                    received=f"{kind} at observation {first} ({int(bad.sum())} of {x.shape[0]} observations are affected)",
                    fix=f"Drop or repair them: keep = np.isfinite({where}).reshape(len({where}), -1).all(1)",
                )
            )


def same_length(parts: Mapping[str, int]) -> None:
    """Refuse parts, name -> number of observations, that are not of one length.

    Raises:
        DataError: naming each.
    """
    if len(set(parts.values())) > 1:
        raise DataError(
            complaint(
                " and ".join(parts),
                expected="as many observations in each",
                received=", ".join(f"{n} in {name}" for name, n in parts.items()),
                fix="Pass arrays of one length",
            )
        )


def _class_weights(class_weight: ClassWeight, y: Tensor) -> Tensor:
    """Return the weight of each observation's class, (N,); y is (N,), or (N, 1) with zeros and ones."""
    try:
        pairs = class_weight.items() if isinstance(class_weight, Mapping) else enumerate(class_weight)
        table = {int(k): float(v) for k, v in pairs}
    except (TypeError, ValueError) as error:
        expected, fix = "class number -> weight, or a weight for each class", "Pass class_weight={0: 1.0, 1: 2.0}"
        raise ArgumentError(complaint("fit(class_weight=)", expected=expected, received=repr(class_weight), fix=fix)) from error
    if y.is_floating_point() and y.numel() == len(y) and bool(((y == 0) | (y == 1)).all()):
        y = y.reshape(-1).long()
    if y.is_floating_point() or y.dim() != 1:
        raise ArgumentError(
            complaint(
                "fit(class_weight=)",
                expected="one class number for each observation in y",
                received=f"labels of shape {tuple(y.shape)} and dtype {y.dtype}",
                fix="Pass sample_weight instead",
            )
        )
    present = y.unique().tolist()
    missing = [c for c in present if c not in table]
    if missing:
        raise ArgumentError(
            complaint(
                "fit(class_weight=)",
                expected="a weight for every class in y",
                received=f"none for class {missing[0]}",
                fix=f"Add {missing[0]}: 1.0",
            )
        )
    weights = torch.zeros(max(present) + 1, dtype=torch.float64)
    weights[present] = torch.tensor([table[c] for c in present], dtype=torch.float64)
    return weights[y]


def _as_it_is(value: Any) -> Any:
    """Return `value`."""
    return value


@dataclass(frozen=True)
class Converter:
    """Turns what a user's source yields into batches for the network.

    Attributes:
        dtype: of the network's inputs.
        ready: told of the inputs before anything else is done with them, to build the network or check their shape.
        prepare: checks labels and brings them into the form, and the given float dtype, that the loss takes; one for
            each of several outputs; None where labels are left aside.
        keep_integers: whether inputs of whole numbers stay so (a network with an embedding); for each input where they differ.
        arrange: brings the inputs of a dict, or of a list of arrays, into the network's order.
        arrange_targets: does so with the targets of several outputs.
        class_weight: class -> weight, multiplied into the sample weights.
    """

    dtype: torch.dtype
    ready: Callable[[Inputs], None]
    prepare: Prepare | Sequence[Prepare] | None
    keep_integers: bool | Sequence[bool] = False
    arrange: Callable[[Any], Any] = _as_it_is
    arrange_targets: Callable[[Any], Any] = _as_it_is
    class_weight: ClassWeight | None = None

    @property
    def wide(self) -> torch.dtype:
        """The dtype of targets and weights: three digits of a half-precision network would not do."""
        return self.dtype if self.dtype in (torch.float32, torch.float64) else torch.float32

    def whole(self, x: Any, y: Any, weight: Any) -> Batch:
        """Return checked tensors of inputs, targets and weights.

        Raises:
            DataError, LabelError, DtypeError: naming what is wrong.
        """
        inputs = self._inputs(x)
        self.ready(inputs)
        n = Batch(inputs, None, None).size
        target: Any = None
        if self.prepare is not None:
            if y is None:
                fix = "Pass y, or data that yields (x, y)"
                raise LabelError(complaint("y", expected="labels", received="none", fix=fix))
            y = self.arrange_targets(y)
            if isinstance(self.prepare, Sequence):
                target = tuple(
                    self._target(t, f"y[{i}]", n, prepare) for i, (t, prepare) in enumerate(zip(y, self.prepare, strict=True))
                )
            else:
                target = self._target(y, "y", n, self.prepare)
        return Batch(inputs, target, self._weights(weight, target, n))

    def _target(self, y: Any, where: str, n: int, prepare: Prepare) -> Tensor:
        target = to_tensor(y, where, self.wide, keep_integers=True)
        if target.dim() == 0:
            raise LabelError(
                complaint(where, expected="one label for each observation", received="a single number", fix="Pass a list")
            )
        same_length({"x": n, where: len(target)})
        return prepare(target, self.wide)

    def item(self, item: Any) -> Batch:
        """Return the batch in what a stream yields: x, (x, y) or (x, y, weight).

        Raises:
            DataError, LabelError, DtypeError: naming what is wrong.
        """
        parts = tuple(item) if isinstance(item, (tuple, list)) else (item,)
        if not 1 <= len(parts) <= 3:
            raise DataError(
                complaint("x", expected="batches (x, y) or (x, y, weight)", received=f"{len(parts)} parts", fix="Yield pairs")
            )
        x, y, weight = (*parts, None, None)[:3]
        return self.whole(x, y, weight)

    def _inputs(self, x: Any, where: str = "x") -> Inputs:
        x = self.arrange(x)
        # a DataLoader hands several inputs over in a list
        if isinstance(x, (tuple, list)) and len(x) and all(getattr(t, "ndim", 0) for t in x):
            tensors = tuple(self._input(t, f"{where}[{i}]", i) for i, t in enumerate(x))
            same_length({f"{where}[{i}]": len(t) for i, t in enumerate(tensors)})
            return tensors
        return self._input(x, where)

    def _input(self, x: Any, where: str, number: int = 0) -> Tensor:
        keep = self.keep_integers
        if not isinstance(keep, bool):  # too many inputs are for the network to refuse
            keep = number < len(keep) and keep[number]
        tensor = to_tensor(x, where, self.dtype, keep_integers=keep)
        _check_inputs(tensor, where)
        return tensor

    def _weights(self, weight: Any, target: Any, n: int) -> Tensor | None:
        result = None
        if weight is not None:
            result = to_tensor(weight, "sample_weight", self.wide)
            if result.dim() != 1:
                raise DataError(
                    complaint(
                        "sample_weight",
                        expected="one number for each observation, (N,)",
                        received=f"shape {tuple(result.shape)}",
                        fix="Pass sample_weight.reshape(-1)" if result.numel() == n else "Pass as many numbers as observations",
                    )
                )
            same_length({"x": n, "sample_weight": len(result)})
            _check_inputs(result, "sample_weight")
        if self.class_weight is not None and isinstance(target, tuple):
            where, fix = "fit(class_weight=)", "Pass sample_weight instead"
            raise ArgumentError(complaint(where, expected="a network with one output", received=str(len(target)), fix=fix))
        if self.class_weight is not None and target is not None:
            by_class = _class_weights(self.class_weight, target.cpu()).to(target.device, self.wide)
            result = by_class if result is None else result * by_class
        return result
