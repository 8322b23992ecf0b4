"""A callback made of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import nn

from laminar.errors import ArgumentError, DivergedError, complaint
from laminar.fit.callbacks import Callback
from laminar.fit.state import State

__all__ = ["LambdaCallback"]

Hook: TypeAlias = Callable[[nn.Module, State], Any] | None


class LambdaCallback(Callback):
    """Calls functions at the hooks of `Callback`; what they return is left aside.

    Args:
        on_train_begin: function of (model, state).
        on_epoch_begin: function of (model, state).
        on_batch_end: function of (model, state).
        on_epoch_end: function of (model, state).
        on_divergence: function of (model, state, error).
        on_train_end: function of (model, state).

    Raises:
        ArgumentError: if one of them is no function.

    Source: Keras 3, whose hooks take (epoch, logs) and the like.

    >>> import torch
    >>> import laminar as lm
    >>> from laminar import layers as L
    >>> net = lm.Sequential([L.Dense(1)])
    >>> net.compile("sgd", "mse")
    >>> tell = LambdaCallback(on_epoch_end=lambda model, state: print("epoch", state.epoch, "iteration", state.iteration))
    >>> history = net.fit(torch.ones(4, 2), torch.ones(4), epochs=2, batch_size=2, callbacks=tell, verbose=0)
    epoch 1 iteration 2
    epoch 2 iteration 4
    """

    def __init__(
        self,
        *,
        on_train_begin: Hook = None,
        on_epoch_begin: Hook = None,
        on_batch_end: Hook = None,
        on_epoch_end: Hook = None,
        on_divergence: Callable[[nn.Module, State, DivergedError], Any] | None = None,
        on_train_end: Hook = None,
    ) -> None:
        hooks: dict[str, Callable[..., Any] | None] = {
            "on_train_begin": on_train_begin,
            "on_epoch_begin": on_epoch_begin,
            "on_batch_end": on_batch_end,
            "on_epoch_end": on_epoch_end,
            "on_divergence": on_divergence,
            "on_train_end": on_train_end,
        }
        self._hooks = {name: function for name, function in hooks.items() if function is not None}
        for name, function in self._hooks.items():
            if not callable(function):
                told = "(model, state, error)" if name == "on_divergence" else "(model, state)"
                expected, fix = f"a function of {told}", "Pass lambda model, state: print(state.epoch), for example"
                raise ArgumentError(complaint(f"LambdaCallback({name}=)", expected=expected, received=repr(function), fix=fix))

    def _call(self, name: str, *arguments: Any) -> None:
        if name in self._hooks:
            self._hooks[name](*arguments)

    def on_train_begin(self, model: nn.Module, state: State) -> None:
        """Call the function for it."""
        self._call("on_train_begin", model, state)

    def on_epoch_begin(self, model: nn.Module, state: State) -> None:
        """Call the function for it."""
        self._call("on_epoch_begin", model, state)

    def on_batch_end(self, model: nn.Module, state: State) -> None:
        """Call the function for it."""
        self._call("on_batch_end", model, state)

    def on_epoch_end(self, model: nn.Module, state: State) -> None:
        """Call the function for it."""
        self._call("on_epoch_end", model, state)

    def on_divergence(self, model: nn.Module, state: State, error: DivergedError) -> None:
        """Call the function for it."""
        self._call("on_divergence", model, state, error)

    def on_train_end(self, model: nn.Module, state: State) -> None:
        """Call the function for it."""
        self._call("on_train_end", model, state)
