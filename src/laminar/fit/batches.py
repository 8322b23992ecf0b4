"""Where batches come from: arrays in memory, datasets, loaders, or anything that can be iterated again.

Data in memory is checked once, as a whole, and then cut by index: it never goes through worker processes. A stream is checked
batch by batch, before it goes to the device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from laminar import seeding
from laminar.errors import ArgumentError, DataError, DtypeError, LabelError, complaint

__all__ = ["Batch", "Batches", "Inputs", "Order", "Shuffle", "make_batches", "split", "to_tensor"]

Inputs: TypeAlias = Tensor | tuple[Tensor, ...]
Shuffle = Literal["epoch", "once"] | bool
Prepare: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Batch:
    """Some observations: inputs (B, ...), targets (B, ...) and weights (B,), the last two where there are any."""

    x: Inputs
    y: Tensor | None
    weight: Tensor | None

    @property
    def size(self) -> int:
        """The number of observations B."""
        return int((self.x[0] if isinstance(self.x, tuple) else self.x).shape[0])

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""
        x = tuple(t.to(device) for t in self.x) if isinstance(self.x, tuple) else self.x.to(device)
        return Batch(x, *(None if t is None else t.to(device) for t in (self.y, self.weight)))


@dataclass(frozen=True)
class Order:
    """How observations are put into batches.

    Attributes:
        size: observations a batch.
        shuffle: "epoch" (anew for every epoch), "once" (one order for all), or False (as they come).
        drop_last: whether a last batch that is not full is left out.
        seed: of the orders.
    """

    size: int
    shuffle: Shuffle = False
    drop_last: bool = False
    seed: int = 0


class Batches(ABC):
    """A source of batches that can be gone through once for each epoch."""

    observations: int | None
    """How many there are; None where a stream does not tell."""

    steps: int | None
    """Batches an epoch; None where a stream does not tell."""

    @abstractmethod
    def epoch(self, number: int) -> Iterator[Batch]:
        """Return the batches of epoch `number`, from 1."""

    @abstractmethod
    def example(self) -> Batch:
        """Return the first batch, in order."""


# -- arrays ---------------------------------------------------------------------------------------------------------------


def to_tensor(value: Any, where: str, dtype: torch.dtype, *, keep_integers: bool = False) -> Tensor:
    """Return an array, tensor or nested list as a tensor; floats (and whole numbers, unless kept) in `dtype`.

    Args:
        value: the data.
        where: its name in messages ("x").
        dtype: the network's float dtype.
        keep_integers: whether whole numbers stay whole (labels, indices of an embedding).

    Raises:
        DtypeError: if it holds objects or text, or is no array at all.

    >>> to_tensor(np.zeros((2, 3)), "x", torch.float32).dtype
    torch.float32
    """
    if not isinstance(value, Tensor):
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise DtypeError(
                complaint(
                    where, expected="an array with rows of one length", received="rows of several lengths", fix="Pad them"
                )
            ) from error
        if array.dtype.kind not in "fiub":
            received = f"dtype {array.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
            raise DtypeError(
                complaint(
                    where, expected="numbers", received=received, fix=f"Convert it: np.asarray({where}, dtype=np.float32)"
                )
            )
        if array.dtype.kind == "u" and array.dtype.itemsize > 1:
            array = array.astype(np.int64)
        if not array.flags.writeable or any(s < 0 for s in array.strides):
            array = array.copy()
        value = torch.from_numpy(array)
    if value.is_complex():
        raise DtypeError(
            complaint(where, expected="real numbers", received=f"dtype {value.dtype}", fix="Split real and imaginary parts")
        )
    tensor: Tensor = value
    keep = keep_integers and not tensor.is_floating_point()
    return tensor.long() if keep else tensor.to(dtype)


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


def _same_length(parts: Mapping[str, int]) -> None:
    if len(set(parts.values())) > 1:
        raise DataError(
            complaint(
                " and ".join(parts),
                expected="as many observations in each",
                received=", ".join(f"{n} in {name}" for name, n in parts.items()),
                fix="Pass arrays of one length",
            )
        )


def _class_weights(class_weight: Mapping[int, float] | Sequence[float], y: Tensor) -> Tensor:
    pairs = class_weight.items() if isinstance(class_weight, Mapping) else enumerate(class_weight)
    table = {int(k): float(v) for k, v in pairs}
    if y.is_floating_point() or y.dim() != 1:
        raise ArgumentError(
            complaint(
                "fit(class_weight=)",
                expected="one class number for each observation in y",
                received=f"labels of shape {tuple(y.shape)} and dtype {y.dtype}",
                fix="Pass sample_weight instead",
            )
        )
    missing = sorted(set(y.unique().tolist()) - set(table))
    if missing:
        raise ArgumentError(
            complaint(
                "fit(class_weight=)",
                expected="a weight for every class in y",
                received=f"none for class {missing[0]}",
                fix=f"Add {missing[0]}: 1.0",
            )
        )
    weights = torch.zeros(max(table) + 1)
    weights[list(table)] = torch.tensor(list(table.values()))
    return weights[y]


class _InMemory(Batches):
    """Observations held as tensors on the device, cut by index."""

    def __init__(self, whole: Batch, order: Order, device: torch.device) -> None:
        self._whole = whole.to(device)
        self._order = order
        self.observations = n = whole.size
        self.steps = n // order.size if order.drop_last else -(-n // order.size)
        if self.steps == 0:
            raise DataError(
                complaint(
                    "fit(drop_last=True)",
                    expected=f"at least one full batch of {order.size}",
                    received=f"{n} observations",
                    fix=f"Pass batch_size={n} or less, or drop_last=False",
                )
            )

    def epoch(self, number: int) -> Iterator[Batch]:
        size, n = self._order.size, self.observations or 0
        end = (self.steps or 0) * size if self._order.drop_last else n
        if not self._order.shuffle:
            for start in range(0, end, size):
                yield self._take(slice(start, min(start + size, end)))
            return
        key = 0 if self._order.shuffle == "once" else number
        permutation = torch.randperm(n, generator=seeding.generator(self._order.seed, "shuffle", key))
        for index in permutation[:end].to(self._device).split(size):
            yield self._take(index)

    @property
    def _device(self) -> torch.device:
        x = self._whole.x
        return (x[0] if isinstance(x, tuple) else x).device

    def _take(self, index: Tensor | slice) -> Batch:
        whole = self._whole

        def cut(t: Tensor) -> Tensor:
            # index_select is about a third faster than t[index] here, and gives the same batch
            return t[index] if isinstance(index, slice) else t.index_select(0, index)

        x = tuple(cut(t) for t in whole.x) if isinstance(whole.x, tuple) else cut(whole.x)
        return Batch(x, None if whole.y is None else cut(whole.y), None if whole.weight is None else cut(whole.weight))

    def example(self) -> Batch:
        return self._take(slice(0, self._order.size))


class _Stream(Batches):
    """Anything that yields (x, y) or (x, y, weight) batches each time it is iterated."""

    def __init__(self, source: Any, convert: Callable[[Any], Batch], device: torch.device) -> None:
        self._source, self._convert, self._device = source, convert, device
        self.observations = None
        try:
            self.steps = len(source)
        except TypeError:
            self.steps = None
        if self.steps == 0:
            raise DataError(complaint("x", expected="at least one batch", received="none", fix="Pass data that is not empty"))

    def epoch(self, number: int) -> Iterator[Batch]:
        count = 0
        for item in self._source:
            count += 1
            yield self._convert(item).to(self._device)
        if count == 0:
            raise DataError(
                complaint(
                    "x",
                    expected=f"batches in epoch {number}",
                    received="none",
                    fix="Pass something that can be iterated again for every epoch, such as a list or a DataLoader",
                )
            )

    def example(self) -> Batch:
        for item in self._source:
            return self._convert(item).to(self._device)
        raise DataError(complaint("x", expected="at least one batch", received="none", fix="Pass data that is not empty"))


# -- choosing -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Converter:
    """Turns what a user's source yields into batches for the network."""

    dtype: torch.dtype
    keep_integers: bool
    ready: Callable[[Inputs], None]
    prepare: Prepare
    class_weight: Mapping[int, float] | Sequence[float] | None = None

    def inputs(self, x: Any, where: str = "x") -> Inputs:
        if isinstance(x, tuple) and all(hasattr(t, "shape") for t in x):
            tensors = tuple(self.input(t, f"{where}[{i}]") for i, t in enumerate(x))
            _same_length({f"{where}[{i}]": len(t) for i, t in enumerate(tensors)})
            return tensors
        return self.input(x, where)

    def input(self, x: Any, where: str) -> Tensor:
        tensor = to_tensor(x, where, self.dtype, keep_integers=self.keep_integers)
        _check_inputs(tensor, where)
        return tensor

    def whole(self, x: Any, y: Any, weight: Any) -> Batch:
        inputs = self.inputs(x)
        self.ready(inputs)
        n = Batch(inputs, None, None).size
        target = None
        if y is not None:
            target = to_tensor(y, "y", self.dtype, keep_integers=True)
            if target.dim() == 0:
                raise LabelError(
                    complaint("y", expected="one label for each observation", received="a single number", fix="Pass a list")
                )
            _same_length({"x": n, "y": len(target)})
            target = self.prepare(target)
        return Batch(inputs, target, self.weights(weight, target, n))

    def weights(self, weight: Any, target: Tensor | None, n: int) -> Tensor | None:
        result = None
        if weight is not None:
            result = to_tensor(weight, "sample_weight", self.dtype)
            if result.dim() != 1:
                raise DataError(
                    complaint(
                        "sample_weight",
                        expected="one number for each observation, (N,)",
                        received=f"shape {tuple(result.shape)}",
                        fix="Reduce it to one axis",
                    )
                )
            _same_length({"x": n, "sample_weight": len(result)})
            _check_inputs(result, "sample_weight")
        if self.class_weight is not None and target is not None:
            by_class = _class_weights(self.class_weight, target.cpu()).to(self.dtype)
            result = by_class if result is None else result * by_class
        return result

    def item(self, item: Any) -> Batch:
        parts = tuple(item) if isinstance(item, (tuple, list)) else (item,)
        if not 1 <= len(parts) <= 3:
            raise DataError(
                complaint("x", expected="batches (x, y) or (x, y, weight)", received=f"{len(parts)} parts", fix="Yield pairs")
            )
        x, y, weight = (*parts, None, None)[:3]
        return self.whole(x, y, weight)


def make_batches(
    data: tuple[Any, Any, Any],
    order: Order,
    device: torch.device,
    *,
    dtype: torch.dtype,
    ready: Callable[[Inputs], None],
    prepare: Prepare,
    keep_integers: bool = False,
    class_weight: Mapping[int, float] | Sequence[float] | None = None,
) -> Batches:
    """Return the batches of what a user handed to fit, evaluate or predict.

    Args:
        data: x, y and sample weights: arrays, tensors or lists; or x alone, a Dataset, DataLoader or re-iterable of (x, y).
        order: how observations are put into batches; a DataLoader or re-iterable has an order of its own.
        device: where the batches go.
        dtype: of the network's inputs.
        ready: told of the inputs before anything else is done with them, to build the network or check their shape.
        prepare: checks labels and brings them into the form that the loss takes.
        keep_integers: whether inputs of whole numbers stay so (a network with an embedding).
        class_weight: class -> weight, multiplied into the sample weights.

    Raises:
        DataError, LabelError, DtypeError: naming what is wrong with the data.
    """
    x, y, weight = data
    converter = _Converter(dtype, keep_integers, ready, prepare, class_weight)
    if isinstance(x, TensorDataset) and y is None:
        x, y, weight = (*x.tensors, None, None)[:3]
    if isinstance(x, (Dataset, DataLoader)) or not _is_array(x):
        _refuse_beside_stream(y, weight)
        return _Stream(_loader(x, order), converter.item, device)
    return _InMemory(converter.whole(x, y, weight), order, device)


def _is_array(x: Any) -> bool:
    if isinstance(x, (Tensor, np.ndarray)) or hasattr(x, "__array__"):
        return True
    if isinstance(x, tuple):
        return bool(x) and all(isinstance(t, (Tensor, np.ndarray)) for t in x)
    # a list of numbers (nested at will) is data; a list of pairs is a list of batches
    while isinstance(x, list) and x:
        x = x[0]
    return isinstance(x, (int, float, list, str)) or x is None


def _refuse_beside_stream(y: Any, weight: Any) -> None:
    for name, value in (("y", y), ("sample_weight", weight)):
        if value is not None:
            raise ArgumentError(
                complaint(
                    f"fit({name}=)",
                    expected="none, because x yields its own",
                    received=type(value).__name__,
                    fix=f"Leave {name} out, or pass x as an array",
                )
            )


def _loader(x: Any, order: Order) -> Any:
    if isinstance(x, DataLoader):
        return x
    if isinstance(x, IterableDataset):
        return DataLoader(x, batch_size=order.size, drop_last=order.drop_last)
    if isinstance(x, Dataset):
        if len(x) == 0:  # type: ignore[arg-type]  # torch leaves Dataset without __len__, map-style ones have it
            raise DataError(complaint("x", expected="at least one observation", received="an empty dataset", fix="Fill it"))
        mixed = seeding.generator(order.seed, "shuffle")
        return DataLoader(x, batch_size=order.size, shuffle=bool(order.shuffle), drop_last=order.drop_last, generator=mixed)
    if not hasattr(x, "__iter__") or isinstance(x, (str, bytes, Mapping)):
        raise DtypeError(
            complaint(
                "x",
                expected="an array, a tensor, a Dataset, a DataLoader, or a re-iterable of (x, y)",
                received=type(x).__name__,
                fix="Convert it to one of these",
            )
        )
    if iter(x) is x:
        raise DataError(
            complaint(
                "x",
                expected="something that can be iterated again for every epoch",
                received=f"a {type(x).__name__}, which can be iterated once",
                fix="Pass list(x), or an object with an __iter__ method",
            )
        )
    return x


def split(x: Any, y: Any, weight: Any, share: float) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    """Split arrays into a training part and a validation part: the last `share` of the observations, as Keras does.

    Raises:
        ArgumentError: if the share is not in (0, 1), leaves nothing to train on, or the data is not in memory.

    >>> split(np.arange(10), np.arange(10), None, 0.2)[1][0]
    array([8, 9])
    """
    if not 0 < share < 1:
        raise ArgumentError(
            complaint(
                "fit(validation_split=)",
                expected="a share in (0, 1)",
                received=f"{share!r}",
                fix="Pass validation_split=0.2, say",
            )
        )
    if isinstance(x, (Dataset, DataLoader)) or not _is_array(x):
        raise ArgumentError(
            complaint(
                "fit(validation_split=)", expected="arrays", received=type(x).__name__, fix="Pass validation_data instead"
            )
        )
    x = tuple(x) if isinstance(x, tuple) else (x if hasattr(x, "shape") else np.asarray(x))
    y = y if y is None or hasattr(y, "shape") else np.asarray(y)
    n = len(x[0]) if isinstance(x, tuple) else len(x)
    cut = int(n * (1 - share))
    if cut in (0, n):
        raise ArgumentError(
            complaint(
                "fit(validation_split=)",
                expected="observations left on both sides",
                received=f"{share!r} of {n}",
                fix="Pass validation_data instead",
            )
        )

    def part(value: Any, which: slice) -> Any:
        if value is None:
            return None
        return tuple(t[which] for t in value) if isinstance(value, tuple) else value[which]

    first, last = slice(None, cut), slice(cut, None)
    return (
        (part(x, first), part(y, first), part(weight, first)),
        (part(x, last), part(y, last), part(weight, last)),
    )
