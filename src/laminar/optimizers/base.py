"""What an optimizer is before it has parameters, and the options that all named optimizers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

import torch
from torch.nn import Parameter

from laminar.errors import ArgumentError, complaint
from laminar.optimizers.averages import Averages
from laminar.optimizers.clipping import Clipping
from laminar.optimizers.fused import SameLayout, fusible
from laminar.schedules import Function, InverseTimeDecay, Rate, Schedule
from laminar.settings import Settings

__all__ = ["Groups", "Optimizer", "Rule", "need_some"]

Groups: TypeAlias = list[dict[str, Any]]


class Optimizer(ABC):
    """A description of an optimizer, without parameters yet; one description can make optimizers for many networks.

    >>> class Slow(Optimizer):
    ...     def create(self, weights, others=(), tables=()):
    ...         return torch.optim.SGD([*weights, *others, *tables], lr=1e-4)
    >>> Slow().create(list(torch.nn.Linear(3, 2).parameters())).defaults["lr"]
    0.0001
    """

    @abstractmethod
    def create(
        self, weights: Sequence[Parameter], others: Sequence[Parameter] = (), tables: Sequence[Parameter] = ()
    ) -> torch.optim.Optimizer:
        """Return torch's optimizer for these parameters.

        Args:
            weights: parameters that `weight_decay` applies to.
            others: parameters it does not apply to: biases, scales, alphas.
            tables: weights that are looked up by row, as an embedding's; decayed like the others.

        Raises:
            ArgumentError: if there are no parameters at all.
        """


@dataclass(frozen=True, repr=False)
class Rule(Settings, Optimizer):
    """What the named optimizers share: options, arguments checked, parameters grouped, the fast kernel where it is right.

    Args:
        learning_rate: η: a number above 0, a schedule of `laminar.schedules`, or a function from updates done to a rate.
        weight_decay: λ: the factor of an L2 penalty ½·λ·‖w‖² on weights, not on biases and scales; its gradient λ·w is
            added to the loss's. In `AdamW` and `Muon` it is decoupled from the gradient.
        decay: time-based: the rate after n iterations is η / (1 + decay·n). Callbacks may go on changing η.
        clipnorm: each parameter's gradient is scaled down to this norm where it is longer.
        global_clipnorm: all gradients together are.
        clipvalue: each number of each gradient is cut off at ± this.
        use_ema: keep a running mean of each parameter over the steps; at the end of `fit` it takes the parameter's place.
        ema_momentum: m in mean ← m·mean + (1 − m)·w, at least 0 and below 1; the first mean is the first step's w.
        ema_overwrite_frequency: also put the means in place every so many updates; None for never.
        gradient_accumulation_steps: k, to make one update in `fit` from the mean gradient of k batches, which is that of one
            batch of their observations; None for an update from each. What is left at the end of an epoch makes an update of
            its own. Rates, decay, clipping and means go by updates.

    Raises:
        ArgumentError: if an argument is out of its range, or two ways to clip are asked for.
        UnknownNameError: if there is no such argument.

    >>> from laminar.optimizers import SGD
    >>> rule = SGD(0.1, clipnorm=1.0)
    >>> isinstance(rule, Rule), rule
    (True, SGD(learning_rate=0.1, momentum=0.0, nesterov=False, clipnorm=1.0))
    """

    has_fused: ClassVar[bool] = False
    former: ClassVar[dict[str, str]] = {"lr": "learning_rate", "eps": "epsilon", "alpha": "rho"}

    learning_rate: Rate = 0.001
    weight_decay: float = field(default=0.0, kw_only=True)
    decay: float = field(default=0.0, kw_only=True)
    clipnorm: float | None = field(default=None, kw_only=True)
    global_clipnorm: float | None = field(default=None, kw_only=True)
    clipvalue: float | None = field(default=None, kw_only=True)
    use_ema: bool = field(default=False, kw_only=True)
    ema_momentum: float = field(default=0.99, kw_only=True)
    ema_overwrite_frequency: int | None = field(default=None, kw_only=True)
    gradient_accumulation_steps: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if callable(self.learning_rate):
            if not isinstance(self.learning_rate, Schedule):
                object.__setattr__(self, "learning_rate", Function(self.learning_rate))
            if self.decay:
                self._refuse("decay", "0 beside a schedule, which says itself how the rate falls", "Leave it out")
        else:
            self._number("learning_rate", above=0)
        for name in ("weight_decay", "decay"):
            self._number(name)
        ways = [name for name in ("clipnorm", "global_clipnorm", "clipvalue") if getattr(self, name) is not None]
        for name in ways:
            self._number(name, above=0)
        if len(ways) > 1:
            self._refuse(ways[1], f"one way to clip, and {ways[0]} is set", "Leave one of them out")
        self._number("ema_momentum", below=1)
        every = self.ema_overwrite_frequency
        if every is not None and (not isinstance(every, int) or isinstance(every, bool) or every < 1 or not self.use_ema):
            self._refuse("ema_overwrite_frequency", "a whole number of at least 1, with use_ema=True", "Leave it out")
        batches = self.gradient_accumulation_steps
        if batches is not None and (not isinstance(batches, int) or isinstance(batches, bool) or batches < 1):
            self._refuse("gradient_accumulation_steps", "a whole number of at least 1, or None", "Pass 4")
        self._check()

    def _check(self) -> None:
        """Check the arguments that only this optimizer has."""

    @property
    def schedule(self) -> Schedule | None:
        """What drives the learning rate; None where it is a number, and `decay` is 0.

        >>> from laminar.optimizers import SGD
        >>> SGD(0.1).schedule, SGD(0.1, decay=0.5).schedule(2)
        (None, 0.05)
        """
        if isinstance(self.learning_rate, Schedule):
            return self.learning_rate
        return InverseTimeDecay(self._start, 1, self.decay) if self.decay else None

    @property
    def clips(self) -> bool:
        """Whether gradients are clipped."""
        return any(bound is not None for bound in (self.clipnorm, self.global_clipnorm, self.clipvalue))

    @property
    def _start(self) -> float:
        """The rate of the first step."""
        rate = self.learning_rate
        return float(rate(0) if callable(rate) else rate)

    def create(
        self, weights: Sequence[Parameter], others: Sequence[Parameter] = (), tables: Sequence[Parameter] = ()
    ) -> torch.optim.Optimizer:
        """See `Optimizer.create`; decayed and other parameters become two groups only if there is decay.

        Its rate is that of the first step. `fit` lets a schedule and `decay` change it; a loop of your own has to.
        """
        need_some(weights, others, tables)
        optimizer = self._create(weights, others, tables)
        if self.clips:
            optimizer.register_step_pre_hook(Clipping(self.clipnorm, self.global_clipnorm, self.clipvalue))
        if self.use_ema:
            optimizer.register_step_post_hook(Averages(self.ema_momentum, self.ema_overwrite_frequency))
        return optimizer

    def _create(
        self, weights: Sequence[Parameter], others: Sequence[Parameter], tables: Sequence[Parameter]
    ) -> torch.optim.Optimizer:
        weights = [*weights, *tables]
        parts = [(weights, self.weight_decay), (others, 0.0)] if self.weight_decay else [([*weights, *others], 0.0)]
        groups = [{"params": list(part), "weight_decay": decay} for part, decay in parts if part]
        fused = self.has_fused and fusible([*weights, *others])
        optimizer = self._make(groups, fused)
        if fused:
            guard = SameLayout()
            optimizer.register_step_pre_hook(guard)
            optimizer.register_load_state_dict_post_hook(guard.forget)
        return optimizer

    @abstractmethod
    def _make(self, groups: Groups, fused: bool) -> torch.optim.Optimizer:
        """Return torch's optimizer for `groups`, each of which says its own weight decay."""


def need_some(*parameters: Sequence[Parameter]) -> None:
    """Refuse a network without parameters.

    Raises:
        ArgumentError: if there is not one.
    """
    if not any(parameters):
        raise ArgumentError(
            complaint(
                "optimizer",
                expected="at least one parameter to train",
                received="none",
                fix='Unfreeze a layer, or add one with learnables, such as Dense(10, activation="softmax")',
            )
        )
