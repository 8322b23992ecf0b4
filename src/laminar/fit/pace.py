"""The learning rate of a training, from one step to the next."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from laminar.errors import ArgumentError, complaint
from laminar.optimizers import Optimizer, Rule
from laminar.schedules import Schedule

__all__ = ["Pace"]

_KEPT = ("iterations", "epochs", "_steps", "_base", "_undecayed")  # beside what the optimizer's own state holds


class Pace:
    """Gives the optimizer its learning rate, step by step and over several fits.

    A group's rate is the base rate times the group's "scale" (what it was to the first group's when the optimizer was made)
    times its "factor" (what was set for its layers).

    Args:
        optimizer: torch's optimizer of the network's parameters.
        description: what `compile` was told; with it come a schedule or a decay.

    Attributes:
        iterations: updates made, over all fits.
        batches_an_update: how many batches give the gradient of one update.
        epochs: epochs begun and ended.
        program: what an engine has compiled for these parameters, kept from one fit to the next.

    >>> w, b = (nn.Parameter(torch.zeros(2)) for _ in range(2))
    >>> sgd = torch.optim.SGD([{"params": [w]}, {"params": [b], "lr": 0.2}], lr=0.1)
    >>> pace = Pace(sgd)
    >>> pace.rate = 0.01
    >>> pace.rate, sgd.param_groups[1]["lr"]
    (0.01, 0.02)
    """

    def __init__(self, optimizer: torch.optim.Optimizer, description: Optimizer | None = None) -> None:
        self.optimizer = optimizer
        self.description = description
        rule = description if isinstance(description, Rule) else None
        self._schedule = rule.learning_rate if rule and isinstance(rule.learning_rate, Schedule) else None
        self._decay = rule.decay if rule else 0.0
        self.batches_an_update = (rule.gradient_accumulation_steps if rule else None) or 1
        self._made = [list(group["params"]) for group in optimizer.param_groups]  # the groups before any factors
        self.program: Any = None
        self.iterations = self.epochs = 0
        self._epoch_began = 0  # after so many iterations
        self._steps: int | None = None  # of an epoch, as far as known
        self._base = self._undecayed = self._read()

    # -- the base rate --------------------------------------------------------------------------------------------------

    @property
    def rate(self) -> float:
        """The base learning rate of the next step. Setting it holds from then on; a decay goes on from there.

        Raises:
            ArgumentError: when it is set to something that is not a number of at least 0, or while a schedule drives it.
        """
        if self._schedule is not None:
            return self._scheduled(self._schedule)
        return self._undecayed / self._slowdown if self._decay else self._read()

    @rate.setter
    def rate(self, value: float) -> None:
        where = "state.learning_rate"
        if not _is_rate(value):
            fix = "Set state.learning_rate = 0.001, for example"
            raise ArgumentError(complaint(where, expected="a number of at least 0", received=repr(value), fix=fix))
        if self._schedule is not None:
            name = type(self.description).__name__
            fix = f"Pass a number as learning_rate= of {name}, or leave out the callback that sets it"
            expected = "a learning rate that no schedule drives, to set it"
            raise ArgumentError(complaint(where, expected=expected, received=f"{name}({self._schedule!r})", fix=fix))
        self._undecayed = value * self._slowdown
        self._apply(float(value))

    def begin_step(self) -> float | Tensor:
        """Give every group its rate for the coming step; return the base rate, without waiting for the device."""
        if self._schedule is not None or self._decay:
            self._apply(self.rate)
            return self._base
        first = self.optimizer.param_groups[0]
        rate: float | Tensor = first["lr"]
        share = _share(first)
        if share == 1.0:
            return rate
        return rate / share if isinstance(rate, Tensor) and share else self._read()

    def begin_epoch(self, steps: int | None) -> None:
        """Note that an epoch begins, of so many batches (None where a stream does not tell)."""
        self._epoch_began = self.iterations
        self._steps = -(-steps // self.batches_an_update) if steps else self._steps

    def end_epoch(self) -> None:
        """Note that it has ended, also where it was cut short."""
        self.epochs += 1
        self._steps = self._steps or self.iterations - self._epoch_began
        self._epoch_began = self.iterations

    @property
    def _slowdown(self) -> float:
        return 1 + self._decay * self.iterations

    def _scheduled(self, schedule: Schedule) -> float:
        """Return what the schedule says for the next step."""
        count: float = self.iterations
        if schedule.per == "epoch":
            done = self.iterations - self._epoch_began
            count = self.epochs + (min(done, self._steps - 1) / self._steps if self._steps else 0.0)
        value = schedule(count)
        if not _is_rate(value):
            fix = "Let it return a number of at least 0 for every count"
            received = f"{value!r} after {count:g} {schedule.per}s"
            raise ArgumentError(
                complaint(f"{schedule!r}", expected="a learning rate of at least 0", received=received, fix=fix)
            )
        return float(value)

    # -- the groups' rates ----------------------------------------------------------------------------------------------

    def _read(self) -> float:
        """Return the base rate that the first group has, which somebody else may have written there."""
        first = self.optimizer.param_groups[0]
        now, share = float(first["lr"]), _share(first)
        if share == 1.0:
            return now
        return self._base if now == self._base * share or not share else now / share

    def _apply(self, value: float) -> None:
        """Give every group the rate that belongs to a base rate of `value`."""
        groups = self.optimizer.param_groups
        if len(groups) > 1:
            self._note_scales(self._read())
        for group in groups:
            _write(group, value * _share(group))
        self._base = value

    def _note_scales(self, base: float) -> None:
        """Keep in each group what its rate is to the base rate, which a base rate of 0 would make forget."""
        for group in self.optimizer.param_groups:
            now, factor = float(group["lr"]), group.get("factor", 1.0)
            if base and factor and now != base * _share(group):
                group["scale"] = now / (base * factor)

    def set_factors(self, factors: Mapping[nn.Parameter, float]) -> None:
        """Divide the optimizer's groups into one for each factor among their parameters.

        Args:
            factors: of every parameter.
        """
        groups = self.optimizer.param_groups
        group_of = {p: group for group in groups for p in group["params"]}
        if all(factors[p] == group.get("factor", 1.0) for p, group in group_of.items()):
            return
        base = self._read()
        self._note_scales(base)
        names = {p: n for g in groups if "param_names" in g for p, n in zip(g["params"], g["param_names"], strict=True)}
        parts = [part for made in self._made for part in _parts(made, group_of[made[0]], factors)]
        for part in parts:
            if names:
                part["param_names"] = [names[p] for p in part["params"]]
            if isinstance(part["lr"], Tensor) and part["factor"] != 1.0:
                part["lr"] = part["lr"].clone()  # the groups of one tensor part ways
            _write(part, base * _share(part))
        groups[:] = sorted(parts, key=lambda part: _share(part) != 1.0)  # the first group has the base rate, if any has
        self._base = base

    # -- going on -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return what another Pace of the same parameters goes on with."""
        factor_of = {p: group.get("factor", 1.0) for group in self.optimizer.param_groups for p in group["params"]}
        factors = [[factor_of[p] for p in made] for made in self._made]
        return {"optimizer": self.optimizer.state_dict(), "factors": factors, **{name: getattr(self, name) for name in _KEPT}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the Pace that `state` comes from stood."""
        pairs = [zip(*pair, strict=True) for pair in zip(self._made, state["factors"], strict=True)]
        self.set_factors(dict(pair for made in pairs for pair in made))
        self.optimizer.load_state_dict(state["optimizer"])
        for name in _KEPT:
            setattr(self, name, state[name])
        self._epoch_began = self.iterations

    def take_over(self, other: Pace) -> None:
        """Go on where `other` stood, with the state of the parameters that both optimizers hold."""
        held, own = other.optimizer, self.optimizer
        own.state.update({p: held.state[p] for made in self._made for p in made if p in held.state})
        self.iterations, self.epochs, self._steps = other.iterations, other.epochs, other._steps
        self._epoch_began = self.iterations
        if self._schedule is None:
            self._undecayed = other._undecayed
            self._apply(other.rate)


def _parts(
    made: Sequence[nn.Parameter], settings: Mapping[str, Any], factors: Mapping[nn.Parameter, float]
) -> list[dict[str, Any]]:
    """Return a group for each factor among the parameters `made`, otherwise with these settings."""
    kinds = dict.fromkeys(factors[p] for p in made)
    return [{**settings, "params": [p for p in made if factors[p] == factor], "factor": factor} for factor in kinds]


def _share(group: Mapping[str, Any]) -> float:
    """Return what the group's rate is to the base rate."""
    return float(group.get("scale", 1.0) * group.get("factor", 1.0))


def _is_rate(value: Any) -> bool:
    if type(value) is float:  # as nearly always, at every step
        return 0 <= value < math.inf
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and 0 <= float(value) < math.inf


def _write(group: dict[str, Any], value: float) -> None:
    """Give a group its rate; a rate in a tensor stays in that tensor, which a compiled step may hold."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(value)
    else:
        group["lr"] = value
