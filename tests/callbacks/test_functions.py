"""LambdaCallback, and callbacks that raise: the error is the user's own, the figures are kept."""

from __future__ import annotations

from typing import Any

import pytest
from callbacks.support import network, numbers

import laminar as lm
from laminar.callbacks import LambdaCallback
from laminar.errors import ArgumentError, DivergedError
from laminar.optimizers import SGD

HOOKS = ["on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_divergence", "on_train_end"]


def test_every_function_is_called_at_its_hook() -> None:
    x, y = numbers(8)
    called: list[tuple[str, int]] = []

    def note(name: str) -> Any:
        return lambda model, state, *rest: called.append((name, state.iteration))

    model = network()
    model.fit(x, y, batch_size=4, callbacks=LambdaCallback(**{name: note(name) for name in HOOKS}), verbose=0)
    assert called == [
        ("on_train_begin", 0), ("on_epoch_begin", 0), ("on_batch_end", 1), ("on_batch_end", 2), ("on_epoch_end", 2), ("on_train_end", 2),
    ]  # fmt: skip


def test_the_function_for_divergence_gets_the_error() -> None:
    x, y = numbers()
    errors: list[DivergedError] = []
    model = network()
    model.compile(SGD(1e30), "mse")
    with pytest.raises(DivergedError) as e:
        model.fit(x, y, epochs=9, callbacks=LambdaCallback(on_divergence=lambda *args: errors.append(args[2])), verbose=0)
    assert errors == [e.value]


def test_something_that_is_no_function() -> None:
    with pytest.raises(ArgumentError) as e:
        LambdaCallback(on_epoch_end=print, on_train_end="print")  # type: ignore[arg-type]  # what is tested
    assert str(e.value) == (
        "LambdaCallback(on_train_end=): expected a function of (model, state), received 'print'. "
        "Pass lambda model, state: print(state.epoch), for example."
    )


@pytest.mark.parametrize(
    ("hook", "iterations", "epochs"),
    [
        ("on_train_begin", 0, 0),
        ("on_epoch_begin", 3, 1),
        ("on_batch_end", 4, 1),
        ("on_epoch_end", 6, 2),
        ("on_train_end", 9, 3),
    ],
)
def test_an_error_in_a_hook_is_the_users_own_and_the_figures_before_it_are_kept(
    hook: str, iterations: int, epochs: int
) -> None:
    """Also those of iterations whose figures were still on the device. The error comes in the second epoch, where it can."""

    class MineError(Exception):
        pass

    def fail(model: Any, state: Any) -> None:
        if hook.startswith("on_train") or state.epoch == 2:
            raise MineError("mine")

    x, y = numbers()
    model = network()
    with pytest.raises(MineError, match=r"^mine$"):
        model.fit(x, y, epochs=3, batch_size=4, callbacks=[LambdaCallback(**{hook: fail})], verbose=0)
    history = model.history
    assert history is not None
    names = ["loss", "mean_absolute_error", "learning_rate"]
    assert [len(history.iterations.get(name, [])) for name in names] == [iterations] * 3
    assert [len(history.history.get(name, [])) for name in names] == [epochs] * 3
    assert history.epoch == list(range(1, epochs + 1))
    assert not model.training


@pytest.mark.parametrize(
    ("wrong", "received", "fix"),
    [
        (print, "a function", "Derive its class from laminar.Callback"),
        (lm.callbacks.EarlyStopping, "the class EarlyStopping", "Pass EarlyStopping()"),
        ("EarlyStopping", "str", "Derive its class from laminar.Callback"),
    ],
)
def test_something_that_is_no_callback(wrong: Any, received: str, fix: str) -> None:
    x, y = numbers()
    with pytest.raises(ArgumentError) as e:
        network().fit(x, y, callbacks=[wrong], verbose=0)
    assert str(e.value) == f"fit(callbacks=): expected instances of laminar.Callback, received {received}. {fix}."
