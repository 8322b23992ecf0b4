"""Where batches come from: arrays in memory, datasets, loaders, or anything that can be iterated again.

Data in memory is checked once, as a whole, and then cut by index: it never goes through worker processes. A stream is checked
batch by batch, before it goes to the device.
"""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from laminar import seeding
from laminar.errors import ArgumentError, DataError, DtypeError, complaint
from laminar.fit.convert import Batch, Converter, Inputs, same_length, to_tensor
from laminar.fit.source import Batches, Order, Shuffle
from laminar.fit.stream import FromDataset, Stream

__all__ = ["Batches", "Order", "Shuffle", "SideBySide", "make_batches", "split"]


class _InMemory(Batches):
    """Observations held as tensors on the device, cut by index.

    Args:
        whole: all of them.
        order: how they are put into batches.
        device: where they are held.
        first: observations of the first batch where they are not put into an order, if not as many as of all others.
    """

    def __init__(self, whole: Batch, order: Order, device: torch.device, first: int | None = None) -> None:
        self._whole = whole.to(device)
        self._order = order
        self._first = order.size if first is None else first
        self._device = device
        self.observations: int = whole.size
        self.steps: int = order.steps(whole.size)

    def epoch(self, number: int) -> Iterator[Batch]:
        index = self.index(number)
        if index is None:
            return self._slices(self._end)
        return (self._take(part) for part in index.split(self._order.size))

    @property
    def _end(self) -> int:
        """The number of observations that an epoch goes through."""
        return self.steps * self._order.size if self._order.drop_last else self.observations

    def index(self, number: int) -> Tensor | None:
        """Return the observations of epoch `number` in its order; None where they come as they are."""
        permutation = self._order.permutation(self.observations, number)
        return None if permutation is None else permutation[: self._end].to(self._device)

    def again(self, order: Order, ready: Callable[[Inputs], None]) -> _InMemory:
        """Return the same observations in another order, without a copy, for the network that `ready` tells of them."""
        ready(self._whole.x)
        return _InMemory(self._whole, order, self._device)

    def at_least(self, size: int) -> Batches:
        x = self._whole.x
        if size <= self._order.size or not isinstance(x, Tensor) or not x.is_contiguous():  # no kernel takes other tensors
            return self
        return _InMemory(self._whole, replace(self._order, size=size), self._device, self._order.size)

    def shares(self, other: Batches) -> bool:
        """Return whether `other` cuts batches of the same size out of the same memory."""
        return isinstance(other, _InMemory) and self._whole.x is other._whole.x and self._order.size == other._order.size

    def together(self, indices: Tensor) -> Iterator[Batch]:
        """Return batches of several trainings: for S orders (S, N), tensors (S, B, ...)."""
        for part in indices.split(self._order.size, dim=1):
            yield _Several.of(self._take(part.flatten()), lambda t: t.view(len(indices), -1, *t.shape[1:]))

    def everything(self) -> Iterator[Batch]:
        return self._slices(self.observations)

    def _slices(self, end: int) -> Iterator[Batch]:
        writes = False
        cuts = [0, *range(self._first, end, self._order.size), end]
        for start, behind in itertools.pairwise(cuts):
            batch = self._take(slice(start, behind))
            if start == 0 or writes:  # slices are the user's own memory, which a network may write to: ReLU(inplace=True)
                batch = batch.copied()
            yield batch
            writes = writes or (start == 0 and batch.was_written_to)

    def _take(self, index: Tensor | slice) -> Batch:
        whole = self._whole

        def cut(t: Tensor) -> Tensor:
            # index_select is about a third faster than t[index] here, and gives the same batch
            return t[index] if isinstance(index, slice) else t.index_select(0, index)

        x = tuple(cut(t) for t in whole.x) if isinstance(whole.x, tuple) else cut(whole.x)
        y = tuple(cut(t) for t in whole.y) if isinstance(whole.y, tuple) else None if whole.y is None else cut(whole.y)
        return Batch(x, y, None if whole.weight is None else cut(whole.weight))


# -- several trainings at once --------------------------------------------------------------------------------------------


class _Several(Batch):
    """A batch for each of several networks: tensors (S, B, ...)."""

    @property
    def size(self) -> int:
        """The number of observations B of each."""
        return int((self.x[0] if isinstance(self.x, tuple) else self.x).shape[1])

    @classmethod
    def of(cls, batch: Batch, change: Callable[[Tensor], Tensor]) -> _Several:
        """Return `batch` with every tensor changed."""
        return cls(*tree_map(lambda t: None if t is None else change(t), (batch.x, batch.y, batch.weight)))


class SideBySide(Batches):
    """The batches of several trainings at once: tensors (S, B, ...), each training in its own order.

    Args:
        parts: the batches of each training, as many of the same sizes.

    Raises:
        DataError: if they differ in their number of observations, or are a stream.
    """

    def __init__(self, parts: Sequence[Batches]) -> None:
        counts = [p.observations for p in parts]
        if None in counts or len(set(counts)) > 1:
            fix = "Train them one after the other"
            raise DataError(complaint("SideBySide", expected="data of one length in memory", received=f"{counts}", fix=fix))
        self._parts = list(parts)
        self.observations, self.steps = parts[0].observations, parts[0].steps

    def epoch(self, number: int) -> Iterator[Batch]:
        """See `Batches.epoch`."""
        first = self._parts[0]
        if isinstance(first, _InMemory) and all(first.shares(p) for p in self._parts):
            indices = [p.index(number) for p in self._parts if isinstance(p, _InMemory)]
            if all(index is not None for index in indices):
                return first.together(torch.stack([index for index in indices if index is not None]))
        return (self._stacked(batches) for batches in zip(*(p.epoch(number) for p in self._parts), strict=True))

    def everything(self) -> Iterator[Batch]:
        """See `Batches.everything`."""
        return (self._stacked(batches) for batches in zip(*(p.everything() for p in self._parts), strict=True))

    @staticmethod
    def _stacked(batches: Sequence[Batch]) -> Batch:
        def stacked(*each: Tensor | None) -> Tensor | None:
            return None if each[0] is None else torch.stack([t for t in each if t is not None])

        return _Several(*tree_map(stacked, *((b.x, b.y, b.weight) for b in batches)))


# -- choosing -------------------------------------------------------------------------------------------------------------


def make_batches(data: tuple[Any, Any, Any], order: Order, device: torch.device, converter: Converter) -> Batches:
    """Return the batches of what a user handed to fit, evaluate or predict.

    Args:
        data: x, y and sample weights: arrays, tensors or lists; or x alone, a Dataset, DataLoader or re-iterable of (x, y), or
            what this function has returned for arrays, to cut them in another order for another network of the kind.
        order: how observations are put into batches; a DataLoader or re-iterable has an order of its own.
        device: where the batches go.
        converter: makes checked tensors of what the user has.

    Raises:
        DataError, LabelError, DtypeError: naming what is wrong with the data.
    """
    x, y, weight = _unpacked(data)
    x = converter.arrange(x)
    if isinstance(x, _InMemory):
        return x.again(order, converter.ready)
    if _is_array(x):
        return _InMemory(converter.whole(x, y, weight), order, device)
    by_number = isinstance(x, Dataset) and not isinstance(x, IterableDataset)
    source = x if by_number else _iterable_again(x, order)
    for name, value in (("y", y), ("sample_weight", weight)):
        if value is not None:
            raise _beside_stream(x, name, value)
    if by_number:
        return FromDataset(x, order, converter.item, device)
    return Stream(source, converter.item, device)


def _unpacked(data: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """Return the tensors of a TensorDataset, and anything else as it is."""
    x, y, weight = data
    if isinstance(x, TensorDataset) and y is None and len(x.tensors) <= 3:
        return (*x.tensors, *data[len(x.tensors) :])
    return x, y, weight


def _is_array(x: Any) -> bool:
    if isinstance(x, (Tensor, np.ndarray)) or hasattr(x, "__array__"):
        return True
    if isinstance(x, tuple):
        return bool(x) and all(hasattr(t, "__array__") for t in x)
    # a list of numbers (nested at will) is data; a list of pairs is a list of batches
    while isinstance(x, list) and x:
        x = x[0]
    return isinstance(x, (int, float, list, str, np.generic)) or x is None


def _beside_stream(x: Any, name: str, value: Any) -> ArgumentError:
    if isinstance(x, list) and x and hasattr(x[0], "__array__"):
        return ArgumentError(
            complaint(
                "x",
                expected="an array, or a tuple of arrays for several inputs",
                received=f"a list of {type(x[0]).__name__} beside {name}",
                fix="Pass np.stack(x), or tuple(x) for several inputs",
            )
        )
    return ArgumentError(
        complaint(
            name,
            expected=f"none, because x, a {type(x).__name__}, yields its own",
            received=type(value).__name__,
            fix=f"Leave {name} out, or pass x as an array",
        )
    )


def _iterable_again(x: Any, order: Order) -> Any:
    if isinstance(x, DataLoader):
        return x
    if isinstance(x, IterableDataset):
        return DataLoader(x, order.size, drop_last=order.drop_last, generator=seeding.generator(order.seed, "loader"))
    if not hasattr(x, "__iter__") or isinstance(x, (str, bytes, Mapping)):
        raise DtypeError(
            complaint(
                "x",
                expected="an array, a tensor, a Dataset, a DataLoader, or a re-iterable of (x, y)",
                received=type(x).__name__,
                fix="Convert it to one of these",
            )
        )
    if iter(x) is iter(x):  # always the same one: what was taken from it is gone
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
        DataError: if the parts have several lengths.

    >>> split(np.arange(10), np.arange(10), None, 0.2)[1][0]
    array([8, 9])
    """
    where = "fit(validation_split=)"
    if not isinstance(share, numbers.Real) or not 0 < share < 1:
        raise ArgumentError(
            complaint(where, expected="a share in (0, 1)", received=f"{share!r}", fix="Pass validation_split=0.2, say")
        )
    x, y, weight = _unpacked((x, y, weight))
    if not _is_array(x):
        raise ArgumentError(complaint(where, expected="arrays", received=type(x).__name__, fix="Pass validation_data instead"))
    parts = {"x": x, "y": y, "sample_weight": weight}
    arrays = {name: _sliceable(value, name) for name, value in parts.items() if value is not None}
    lengths = {name: Batch(value, None, None).size for name, value in arrays.items()}
    same_length(lengths)
    n = lengths["x"]
    cut = int(n * (1 - share))
    if cut in (0, n):
        raise ArgumentError(
            complaint(
                where,
                expected="observations left on both sides",
                received=f"{share!r} of {n}",
                fix="Pass validation_data instead",
            )
        )

    def part(name: str, which: slice) -> Any:
        value = arrays.get(name)
        return tuple(t[which] for t in value) if isinstance(value, tuple) else None if value is None else value[which]

    first, last = (tuple(part(name, which) for name in parts) for which in (slice(None, cut), slice(cut, None)))
    return first, last


def _sliceable(value: Any, where: str) -> Any:
    """Return `value` as something whose slices are observations."""
    if isinstance(value, tuple):
        return tuple(_sliceable(t, f"{where}[{i}]") for i, t in enumerate(value))
    if isinstance(value, (Tensor, np.ndarray)) and value.ndim:
        return value
    tensor = to_tensor(value, where, torch.float64, keep_integers=True)
    return tensor if tensor.dim() else tensor[None]
