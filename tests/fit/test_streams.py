"""Streams are read ahead of training, in a thread of their own, and no number changes by it."""

from __future__ import annotations

import random
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

import laminar as lm
from laminar import layers as L
from laminar.errors import DataError
from laminar.fit.progress import Silent
from laminar.optimizers import SGDM
from laminar.seeding import generator_states, seed_all

N, BATCH = 44, 4
NAME = "laminar-reads-ahead"


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N, 5, generator=generator), torch.randint(3, (N,), generator=generator)


class Source:
    """Batches, with a note of the thread that reads each.

    Args:
        each: called with the number of each batch before it is yielded; what it returns is added to the inputs.
    """

    def __init__(self, each: Callable[[int], Any] = lambda number: 0.0) -> None:
        self.each, self.threads = each, list[str]()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        x, y = data()
        for number, start in enumerate(range(0, N, BATCH), 1):
            self.threads.append(threading.current_thread().name)
            yield x[start : start + BATCH] + self.each(number), y[start : start + BATCH]


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == NAME]


def trained(x: Any, *, epochs: int = 2, callbacks: Any = (), seed: int | None = None, layers: Any = None) -> lm.Sequential:
    seed_all(1)
    model = lm.Sequential(layers or [L.Dense(8, "tanh"), L.Dropout(0.5), L.BatchNormalization(), L.Dense(3, "softmax")])
    model.compile(SGDM(0.1), "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x, epochs=epochs, batch_size=BATCH, callbacks=callbacks, seed=seed, verbose=0)
    assert alive() == []
    return model


def same(one: lm.Sequential, other: lm.Sequential) -> None:
    """To the last bit."""
    assert one.history is not None
    assert other.history is not None
    assert one.history.iterations == other.history.iterations
    for name, value in other.state_dict().items():
        assert torch.equal(one.state_dict()[name], value), name


# ── the same numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Pairs(Dataset[Any]):
    def __init__(self, each: Callable[[], Any] = lambda: 0.0) -> None:
        self.x, self.y = data()
        self.each, self.threads = each, list[str]()

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        self.threads.append(threading.current_thread().name)
        return self.x[index] + self.each(), self.y[index]


class Flow(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(*data(), strict=True))


DRAWS: dict[str, Callable[[], Any]] = {
    "torch": lambda: torch.rand(()),
    "NumPy": lambda: float(np.random.rand()),  # noqa: NPY002  # as users' datasets do
    "Python": random.random,
}

SOURCES: dict[str, Callable[[], Any]] = {
    "batches": Source,
    "a dataset": Pairs,
    "an iterable dataset": Flow,
    "a loader": lambda: DataLoader(Pairs(), BATCH, shuffle=True),
    "a loader that samples": lambda: DataLoader(
        Pairs(), BATCH, sampler=torch.utils.data.WeightedRandomSampler([1.0] * N, N), drop_last=True
    ),
    **{f"batches drawn from {name}": lambda draw=draw: Source(lambda _: draw()) for name, draw in DRAWS.items()},
    **{f"a dataset drawn from {name}": lambda draw=draw: Pairs(draw) for name, draw in DRAWS.items()},
}


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("source", SOURCES)
def test_random_numbers_are_what_they_were(source: str, seed: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of dropout, of samplers, and of sources that draw from the global generators; afterwards, too."""
    ahead, states = trained(SOURCES[source](), seed=seed), generator_states()
    monkeypatch.setenv("LAMINAR_PREFETCH", "0")
    same(ahead, trained(SOURCES[source](), seed=seed))
    assert generator_states() == states


def test_who_reads() -> None:
    """The first batch of an epoch is read as before, the second of the first epoch, too; then a thread does it."""
    source = Source()
    trained(source)
    main = threading.current_thread().name
    of_epoch = N // BATCH
    first = 1 + 2  # a look at the shapes, and the two batches
    assert source.threads == [main] * first + [NAME] * (of_epoch - 2) + [main] + [NAME] * (of_epoch - 1)


@pytest.mark.parametrize("draw", DRAWS)
def test_who_draws_is_not_read_ahead(draw: str) -> None:
    source = Source(lambda _: DRAWS[draw]())
    trained(source)
    assert set(source.threads) == {threading.current_thread().name}


def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINAR_PREFETCH", "0")
    source = Source()
    trained(source)
    assert set(source.threads) == {threading.current_thread().name}


def test_evaluation_and_prediction_too() -> None:
    source = Source()
    model = trained(source)
    figures, output = model.evaluate(source), model.predict(source)
    assert source.threads.count(NAME) > 2 * (N // BATCH)
    x, y = data()
    assert figures == pytest.approx(dict(model.evaluate(x, y)), rel=1e-5)
    torch.testing.assert_close(torch.as_tensor(output), torch.as_tensor(model.predict(x)))
    assert alive() == []


class OfAllLengths:
    """Series of other lengths in each batch, whose shapes the network is asked about."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for steps in (3, 4, 5, 4, 6, 7, 3, 8):
            x = torch.linspace(-1, 1, 6 * steps * 2).reshape(6, steps, 2)
            yield x, torch.arange(6) % 3


def test_new_shapes_wait_for_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not run for its shapes while it trains."""

    def layers() -> list[nn.Module]:
        return [L.LSTM(4), L.Dropout(0.5), L.Dense(3, "softmax")]

    ahead = trained(OfAllLengths(), layers=layers())
    monkeypatch.setenv("LAMINAR_PREFETCH", "0")
    same(ahead, trained(OfAllLengths(), layers=layers()))


# ── ahead, but not far ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_next_batch_is_read_while_the_present_one_is_trained_on() -> None:
    arrived = threading.Event()

    class Wait(lm.Callback):
        def on_batch_end(self, model: nn.Module, state: lm.State) -> None:
            if state.iteration == 2:
                assert arrived.wait(30)

    source = Source(lambda number: arrived.set() or 0.0 if number == 3 else 0.0)
    trained(source, epochs=1, callbacks=Wait())
    assert arrived.is_set()


def test_three_batches_at_most_lie_ready() -> None:
    far = []

    class Count(lm.Callback):
        def on_batch_end(self, model: nn.Module, state: lm.State) -> None:
            far.append(len(source.threads) - 1 - state.iteration)

    source = Source()
    trained(source, epochs=1, callbacks=Count())
    assert max(far) <= 3


# ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Stop(lm.Callback):
    def __init__(self, what: str) -> None:
        self.what = what

    def on_batch_end(self, model: nn.Module, state: lm.State) -> None:
        if state.iteration == 3:
            if self.what == "stop":
                state.stop = "enough"
            if self.what == "Ctrl-C":
                import signal

                signal.raise_signal(signal.SIGINT)
            if self.what == "error":
                raise RuntimeError("no")
            if self.what == "twice":
                raise KeyboardInterrupt


@pytest.mark.parametrize("what", ["stop", "Ctrl-C", "error", "twice"])
def test_no_thread_is_left(what: str) -> None:
    source = Source()
    if what == "error":
        with pytest.raises(RuntimeError, match="no"):
            trained(source, callbacks=Stop(what))
        assert alive() == []
    else:
        history = trained(source, callbacks=Stop(what)).history
        assert history is not None
        assert len(history.iterations["loss"]) == 3
        assert len(history.waited) == len(history.epoch)


def of_the_user(number: int) -> float:
    if number == 5:
        raise ValueError("file 5 is damaged")
    return 0.0


def test_an_error_of_the_source_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="file 5 is damaged") as error:
        trained(Source(of_the_user))
    assert alive() == []
    assert "of_the_user" in [frame.name for frame in traceback.extract_tb(error.tb)]
    place = "This happened when batch 5 of epoch 1 was read"
    assert error.value.__notes__ == [f"{place}, in a thread of its own (LAMINAR_PREFETCH=0: in the main thread)."]
    monkeypatch.setenv("LAMINAR_PREFETCH", "0")
    with pytest.raises(ValueError, match="file 5 is damaged") as error:
        trained(Source(of_the_user))
    assert error.value.__notes__ == [f"{place}."]


def test_a_complaint_about_a_batch() -> None:
    with pytest.raises(DataError) as error:
        trained(Source(lambda number: float("nan") if number == 6 else 0.0))
    assert str(error.value).startswith("batch 6: x: expected finite numbers, received nan at observation 0 (4 of 4 ")
    assert alive() == []


# ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def passes(self, seconds: float) -> float:
        self.now += seconds
        return 0.0


class Works(lm.Callback):
    """Training that takes a second for each batch."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_batch_end(self, model: nn.Module, state: lm.State) -> None:
        self.clock.passes(1.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("stream", "loop"):
        monkeypatch.setattr(f"laminar.fit.{module}.time", clock)
    monkeypatch.setenv("LAMINAR_PREFETCH", "0")
    return clock


def test_waiting_is_measured_and_said_once(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(Silent, "note", lambda self, text: notes.append(text))
    model = trained(Source(lambda _: clock.passes(3.0)), callbacks=Works(clock), epochs=3)
    assert model.history is not None
    assert model.history.waited == pytest.approx([0.75] * 3)
    assert notes == [
        "Training waited for data 75% of the time (epoch 1). "
        "Let it do less for each batch, or keep what it makes: in memory, or in files that are read faster."
    ]


@pytest.mark.parametrize(("seconds", "work"), [(0.2, 1.0), (0.01, 0.0)])
def test_a_little_is_not_worth_a_word(clock: Clock, seconds: float, work: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the time, or an epoch of less than a second."""
    monkeypatch.setattr(Silent, "note", lambda self, text: pytest.fail(text))

    class Work(Works):
        def on_batch_end(self, model: nn.Module, state: lm.State) -> None:
            self.clock.passes(work)

    model = trained(Source(lambda _: clock.passes(seconds)), callbacks=Work(clock))
    assert model.history is not None
    assert model.history.waited == pytest.approx([seconds / (seconds + work)] * 2)


def test_data_in_memory_are_not_waited_for() -> None:
    model = lm.Sequential([L.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert model.fit(*data(), epochs=2, verbose=0).waited == [0.0, 0.0]


def test_the_advice_fits_the_source(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(Silent, "note", lambda self, text: notes.append(text))
    monkeypatch.setattr("os.cpu_count", lambda: 6)

    def advice(source: Any) -> str:
        trained(source, epochs=1)
        return notes.pop().partition(". ")[2]

    slow = Pairs(lambda: clock.passes(1.0))
    assert advice(DataLoader(slow, BATCH)) == "Raise num_workers of the DataLoader (now 0): num_workers=6, say."
    assert advice(slow) == (
        "Pass DataLoader(dataset, batch_size=4, shuffle=True, num_workers=6) in its place, which reads in several processes, "
        "or arrays in memory."
    )
    from laminar.fit.stream import Stream

    workers = Stream(DataLoader(Pairs(), BATCH, num_workers=2), lambda item: item, torch.device("cpu"))
    assert workers.advice == "Raise num_workers of the DataLoader (now 2, of 6 cores), or prefetch_factor (now 2)."


def test_a_loader_with_workers_is_left_to_itself() -> None:
    """It reads ahead, and its batches need no copy here."""
    pairs = Pairs()
    one, two = trained(DataLoader(pairs, BATCH, num_workers=1), epochs=1), trained(DataLoader(pairs, BATCH), epochs=1)
    same(one, two)
