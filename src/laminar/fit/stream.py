"""Batches that come from elsewhere: a Dataset, a DataLoader, or anything that can be iterated again."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, IterableDataset

from laminar import seeding
from laminar.errors import DataError, complaint
from laminar.fit.ahead import Ahead, Elsewhere, is_ahead, reading_ahead_is_wanted
from laminar.fit.convert import Batch, about
from laminar.fit.source import Batches, Order

__all__ = ["FromDataset", "Stream"]


class _Read(NamedTuple):
    """What was read of a batch: the batch itself, or what it is to be made of where its network is needed for that."""

    number: int
    batch: Batch | None
    item: Any
    arrived: torch.cuda.Event | None = None  # when the copy to the GPU is complete


class Stream(Batches):
    """Anything that yields (x, y) or (x, y, weight) batches each time it is iterated.

    While one batch is trained on, the next ones are read, checked, converted and, on a GPU, brought into pinned memory and
    copied, in a thread of their own. The first batch of an epoch is read before that, where samplers draw their order. A source
    that draws from a global random generator for its second batch is never read ahead: its numbers would get between those of
    dropout. Nor is a DataLoader with workers, which reads ahead itself, where there is nothing to copy.

    Args:
        source: what is iterated.
        convert: makes a checked batch of what it yields.
        device: where the batches go.
    """

    def __init__(self, source: Any, convert: Callable[[Any], Batch], device: torch.device) -> None:
        self._source, self._convert, self._device = source, convert, device
        self.observations = None
        try:
            self.steps = len(source)
        except TypeError:
            self.steps = None
        with_workers = isinstance(source, DataLoader) and source.num_workers > 0
        wanted = reading_ahead_is_wanted() and (device.type == "cuda" or not with_workers)
        self._reads_ahead: bool | None = None if wanted else False
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None

    def epoch(self, number: int) -> Iterator[Batch]:
        """See `Batches.epoch`."""
        return self._batches(self._source, number)

    def everything(self) -> Iterator[Batch]:
        """See `Batches.everything`."""
        return self._batches(self._all(), 1)

    def example(self) -> Batch:
        """See `Batches.example`."""
        with closing(self._batches(self._all(), 1, ahead=False)) as batches:
            return next(batches)

    def _all(self) -> Any:
        """Return what `everything` goes through."""
        return self._source

    @property
    def advice(self) -> str:
        """What makes reading faster, for somebody whose training waits for it."""
        source, cores = self._source, os.cpu_count() or 1
        if isinstance(source, DataLoader) and source.num_workers:
            ahead = f"or prefetch_factor (now {source.prefetch_factor})"
            return f"Raise num_workers of the DataLoader (now {source.num_workers}, of {cores} cores), {ahead}."
        if isinstance(source, DataLoader) and not isinstance(source.dataset, IterableDataset):
            return f"Raise num_workers of the DataLoader (now 0): num_workers={cores}, say."
        return "Let it do less for each batch, or keep what it makes: in memory, or in files that are read faster."

    def _batches(self, source: Any, epoch: int, *, ahead: bool = True) -> Generator[Batch]:
        read, found = self._reader(source, epoch), False
        with closing(self._entries(read) if ahead else iter_until_none(read)) as entries:
            while True:
                began = time.perf_counter()
                entry = next(entries, None)
                batch = None if entry is None else self._received(entry)
                self.waited += time.perf_counter() - began
                if batch is None:
                    break
                found = True
                del entry
                yield batch
                del batch
        if not found:
            raise _nothing(epoch)

    def _reader(self, source: Any, epoch: int) -> Callable[[], _Read | None]:
        """Return a function that reads the next batch of an epoch; None at its end."""
        items, numbers = iter(source), itertools.count(1)

        def read() -> _Read | None:
            number = next(numbers)
            try:
                item = next(items)
            except StopIteration:
                return None
            except Exception as error:
                where = ", in a thread of its own (LAMINAR_PREFETCH=0: in the main thread)" if is_ahead() else ""
                error.add_note(f"This happened when batch {number} of epoch {epoch} was read{where}.")
                raise
            try:
                return self._sent(number, self._converted(number, item))
            except Elsewhere:
                return _Read(number, None, item)

        return read

    def _entries(self, read: Callable[[], _Read | None]) -> Generator[_Read]:
        """Return what is read, ahead where that changes no random number."""
        entry = read()
        if entry is not None and self._reads_ahead is None:
            yield entry
            before = _generator_states()
            entry = read()
            if entry is not None:
                self._reads_ahead = _generator_states() == before
        if self._reads_ahead and entry is not None:
            with Ahead(read) as entries:
                yield entry
                yield from entries
        elif entry is not None:
            yield entry
            yield from iter_until_none(read)

    def _converted(self, number: int, item: Any) -> Batch:
        with about(f"batch {number}"):
            return self._convert(item)

    def _sent(self, number: int, batch: Batch) -> _Read:
        """Send a batch on its way to the device; on a GPU along with whatever that computes."""
        if self._copies is None:
            return _Read(number, batch.to(self._device), None)
        with torch.cuda.stream(self._copies):
            copied = Batch(*tree_map(self._copied, (batch.x, batch.y, batch.weight)))
            arrived = torch.cuda.Event()
            arrived.record(self._copies)
        return _Read(number, copied, None, arrived)

    def _copied(self, t: Any) -> Any:
        if not isinstance(t, Tensor):
            return t
        pinned = t.pin_memory() if t.device.type == "cpu" and not t.is_pinned() else t
        return pinned.to(self._device, non_blocking=True)

    def _received(self, entry: _Read) -> Batch:
        """Return the batch, on the device as far as what is computed there from now on is concerned."""
        if entry.batch is None:
            entry = self._sent(entry.number, self._converted(entry.number, entry.item))
        assert entry.batch is not None
        if entry.arrived is not None:
            present = torch.cuda.current_stream(self._device)
            present.wait_event(entry.arrived)
            tree_map(lambda t: t.record_stream(present) if isinstance(t, Tensor) else None, (entry.batch.x, entry.batch.y))
            if entry.batch.weight is not None:
                entry.batch.weight.record_stream(present)
        return entry.batch


def iter_until_none(read: Callable[[], _Read | None]) -> Generator[_Read]:
    """Return what is read, as it is asked for."""
    while (entry := read()) is not None:
        yield entry


def _generator_states() -> dict[str, Any]:
    """Return the states of the global generators, to be compared."""
    of_gpu = {"GPU": torch.cuda.get_rng_state().numpy().tobytes()} if torch.cuda.is_initialized() else {}
    return {**seeding.generator_states(), **of_gpu}


def _nothing(epoch: int) -> DataError:
    first = epoch == 1
    fix = "Pass data that is not empty"
    if not first:
        fix = "Pass something that can be iterated again for every epoch, such as a list or a DataLoader"
    expected = "at least one batch" if first else f"batches in epoch {epoch}"
    return DataError(complaint("x", expected=expected, received="none", fix=fix))


class FromDataset(Stream):
    """A dataset whose observations can be asked for by number: in the order that the same observations in arrays would have."""

    def __init__(self, data: Any, order: Order, convert: Callable[[Any], Batch], device: torch.device) -> None:
        n = len(data)
        if n == 0:
            raise DataError(complaint("x", expected="at least one observation", received="an empty dataset", fix="Fill it"))
        super().__init__(None, convert, device)
        self._data, self._order = data, order
        self.observations, self.steps = n, order.steps(n)

    def _loader(self, order: Order, epoch: int) -> Any:
        permutation = order.permutation(len(self._data), epoch)
        return DataLoader(
            self._data,
            order.size,
            sampler=None if permutation is None else permutation.tolist(),
            drop_last=order.drop_last,
            generator=seeding.generator(order.seed, "loader", epoch),  # so that it draws nothing from torch's global one
        )

    @property
    def advice(self) -> str:
        """See `Stream.advice`."""
        cores = os.cpu_count() or 1
        options = f"batch_size={self._order.size}, shuffle={bool(self._order.shuffle)}, num_workers={cores}"
        return f"Pass DataLoader(dataset, {options}) in its place, which reads in several processes, or arrays in memory."

    def epoch(self, number: int) -> Iterator[Batch]:
        """See `Batches.epoch`."""
        return self._batches(self._loader(self._order, number), number)

    def _all(self) -> Any:
        return self._loader(replace(self._order, shuffle=False, drop_last=False), 1)
