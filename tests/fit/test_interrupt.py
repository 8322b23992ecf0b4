"""Ctrl-C: the first ends the training after the iteration, the second at once; what was learned stays."""

from __future__ import annotations

import math
import os
import signal
import threading
from typing import Any

import pytest
import torch
from torch import Tensor

import laminar as lm
from laminar import layers as L


def press() -> None:
    """Send this process what Ctrl-C sends, and give Python the chance to notice."""
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):
        pass


class PressAt(lm.Callback):
    """Presses Ctrl-C `times` after iteration `at`."""

    def __init__(self, at: int, times: int = 1) -> None:
        self.at, self.times = at, times

    def on_batch_end(self, model: Any, state: Any) -> None:
        if state.iteration == self.at:
            for _ in range(self.times):
                press()


def compiled(*extra: Any) -> lm.Sequential:
    model = lm.Sequential([L.Dense(8, "relu"), *extra, L.Dense(3, "softmax")]).build((4,), seed=0)
    model.compile("sgdm", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 4, generator=generator), torch.randint(3, (40,), generator=generator)


def lengths(history: lm.History) -> tuple[set[int], set[int]]:
    """Return the lengths of the iterations' and of the epochs' figures: one each, if all is well."""
    return {len(v) for v in history.iterations.values()}, {len(v) for v in history.history.values()} | {len(history.epoch)}


@pytest.fixture(autouse=True)
def _own_handler() -> Any:
    """Start every test with Python's own handler, and find it again afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    after = signal.signal(signal.SIGINT, before)
    assert after is signal.default_int_handler


def test_the_first_ends_the_training_after_the_iteration() -> None:
    """Figures of every iteration that was done, those of the epoch cut short, its validation; then everything goes on."""
    x, y = data()
    model = compiled()
    start = [p.clone() for p in model.parameters()]
    history = model.fit(x, y, epochs=4, batch_size=5, validation_data=(x, y), callbacks=[PressAt(13)], verbose=0)
    assert history.stopped == "Ctrl-C"
    assert model.history is history
    assert lengths(history) == ({13}, {2})
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(start, model.parameters(), strict=True))
    assert not model.training
    assert history.seconds > 0
    again = model.fit(x, y, epochs=2, batch_size=5, verbose=0)
    assert again.stopped is None
    assert lengths(again) == ({16}, {2})


def test_what_was_learned_is_what_as_many_iterations_teach() -> None:
    x, y = data()
    interrupted, short = compiled(), compiled()
    interrupted.fit(x, y, epochs=4, batch_size=5, callbacks=[PressAt(8)], seed=1, verbose=0)
    short.fit(x, y, epochs=1, batch_size=5, seed=1, verbose=0)
    assert all(torch.equal(a, b) for a, b in zip(interrupted.parameters(), short.parameters(), strict=True))


def test_the_second_ends_it_at_once() -> None:
    """Out of the middle of a step: the figures there are, are even."""

    class Impatient(lm.Layer):
        """Presses Ctrl-C twice in the 6th forward."""

        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += self.training
            if self.calls == 6 and self.training:
                press()
                press()
                raise AssertionError("the second one did not raise")
            return x

    x, y = data()
    model = compiled(Impatient())
    history = model.fit(x, y, epochs=4, batch_size=5, validation_data=(x, y), verbose=0)
    assert history.stopped == "Ctrl-C"
    assert lengths(history) == ({5}, {0})
    assert not model.training
    assert model.evaluate(x, y)["loss"] > 0


def test_the_second_during_validation() -> None:
    """The epoch has no validation figure, so it is not among the ended ones; its iterations are."""

    class Slow(lm.Layer):
        pressed = False

        def predict(self, x: Tensor) -> Tensor:
            if self.pressed:
                press()
            return x

        def forward(self, x: Tensor) -> Tensor:
            return x

    class First(lm.Callback):
        def on_batch_end(self, model: Any, state: Any) -> None:
            if state.iteration == 10:
                press()
                slow.pressed = True

    slow = Slow()
    x, y = data()
    model = compiled(slow)
    history = model.fit(x, y, epochs=4, batch_size=5, validation_data=(x, y), callbacks=First(), verbose=0)
    assert history.stopped == "Ctrl-C"
    assert lengths(history) == ({10}, {1})


def test_between_the_noting_of_two_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of five iterations is noted, their accuracy is not: they are left out of both."""
    fsum, calls = math.fsum, []

    def interrupted(values: Any) -> float:
        calls.append(1)
        if len(calls) == 3:  # after the row of the first iteration, whose two figures come first
            raise KeyboardInterrupt
        return fsum(values)

    monkeypatch.setattr("laminar.fit.loop.math.fsum", interrupted)
    x, y = data()
    history = compiled().fit(x, y, batch_size=5, log_every=6, verbose=0)
    assert history.stopped == "Ctrl-C"
    assert lengths(history) == ({1}, {0})


def test_a_program_with_a_handler_of_its_own_gets_it_back() -> None:
    def mine(_signal: int, _frame: Any) -> None:
        raise AssertionError("not during fit")

    x, y = data()
    before = signal.signal(signal.SIGINT, mine)
    try:
        compiled().fit(x, y, callbacks=[PressAt(1)], verbose=0)
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_job_in_the_background_goes_on_ignoring_it() -> None:
    x, y = data()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        history = compiled().fit(x, y, callbacks=[PressAt(1)], batch_size=10, verbose=0)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert history.stopped is None
    assert lengths(history) == ({4}, {1})


def test_fit_works_in_a_thread() -> None:
    """Where Python allows no handlers."""
    x, y = data()
    model, result = compiled(), []
    thread = threading.Thread(target=lambda: result.append(model.fit(x, y, verbose=0)))
    thread.start()
    thread.join()
    assert len(result[0].history["loss"]) == 1


def test_the_handler_is_restored_after_an_error() -> None:
    """See the fixture; here the error comes out of a callback."""

    class Fails(lm.Callback):
        def on_batch_end(self, model: Any, state: Any) -> None:
            raise OSError("disk")

    x, y = data()
    with pytest.raises(OSError, match="disk"):
        compiled().fit(x, y, callbacks=[Fails()], verbose=0)
