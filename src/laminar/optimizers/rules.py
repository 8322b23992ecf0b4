"""The optimizers that have names: torch's, with Keras' words and defaults."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from laminar.errors import ArgumentError, complaint
from laminar.optimizers.base import Groups, Rule
from laminar.schedules import Rate

__all__ = ["SGD", "SGDM", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Nadam", "RMSprop"]


@dataclass(frozen=True, repr=False)
class SGD(Rule):
    """Stochastic gradient descent: w ← w − η·v with v ← μ·v + g (without momentum, v = g); Nesterov steps along g + μ·v.

    MATLAB and the original papers put η inside v; for a constant η the steps are the same.

    Args:
        learning_rate: η, above 0, or a schedule.
        momentum: μ, at least 0 and below 1.
        nesterov: look ahead; needs momentum.

    By keyword, also the options of `Rule`: weight decay, clipping, time-based decay, running means.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: Polyak 1964; Sutskever et al. 2013, "On the importance of initialization and momentum"; row R7.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> w.grad = torch.tensor([2.0])
    >>> SGD(0.1).create([w]).step()
    >>> w.data
    tensor([0.8000])
    """

    learning_rate: Rate = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    has_fused = True

    def _check(self) -> None:
        self._number("momentum", below=1)
        if self.nesterov and not self.momentum:
            where, fix = "SGD(nesterov=True)", "Pass momentum=0.9, for example"
            raise ArgumentError(complaint(where, expected="a momentum above 0", received="momentum=0", fix=fix))

    def _make(self, groups: Groups, fused: bool) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, lr=self._start, momentum=self.momentum, nesterov=self.nesterov, fused=fused or None)


@dataclass(frozen=True, repr=False)
class SGDM(Rule):
    """SGD with the defaults of MATLAB's `trainingOptions("sgdm")`: momentum 0.9, L2 factor 1e-4 on weights.

    w ← w − η·v with v ← 0.9·v + g + 0.0001·w; the last term is not there for biases and scales.

    Args:
        learning_rate: η, above 0, or a schedule.
        momentum: at least 0 and below 1.

    By keyword, also the options of `Rule`: weight decay, clipping, time-based decay, running means.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: rows R5 and R7; `SGD` has the formula.

    >>> SGDM()
    SGDM(learning_rate=0.01, momentum=0.9, weight_decay=0.0001)
    """

    learning_rate: Rate = 0.01
    momentum: float = 0.9
    weight_decay: float = field(default=1e-4, kw_only=True)
    has_fused = True

    def _check(self) -> None:
        self._number("momentum", below=1)

    def _make(self, groups: Groups, fused: bool) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, lr=self._start, momentum=self.momentum, fused=fused or None)


@dataclass(frozen=True, repr=False)
class _Moments(Rule):
    """What Adam and its relatives share: two running means and ε."""

    learning_rate: Rate = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    def _check(self) -> None:
        self._number("beta_1", below=1)
        self._number("beta_2", below=1)
        self._number("epsilon")

    @property
    def _betas(self) -> tuple[float, float]:
        return self.beta_1, self.beta_2


@dataclass(frozen=True, repr=False)
class Adam(_Moments):
    """Steps −η·m̂ / (√v̂ + ε), with m̂ and v̂ the bias-corrected running means of g and g².

    Keras corrects both means in η instead, which makes its ε larger by 1/√(1 − β₂ᵗ) in the first steps.

    Args:
        learning_rate: η, above 0, or a schedule.
        beta_1: decay of the mean of gradients, at least 0 and below 1.
        beta_2: decay of the mean of squares, at least 0 and below 1.
        epsilon: ε, at least 0.
        amsgrad: divide by the largest v so far (Reddi et al. 2018).

    By keyword, also the options of `Rule`: weight decay, clipping, time-based decay, running means.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: Kingma & Ba 2015, "Adam", algorithm 1; row R7.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> w.grad = torch.tensor([2.0])
    >>> Adam(0.1).create([w]).step()
    >>> w.data
    tensor([0.9000])
    """

    amsgrad: bool = False
    has_fused = True

    def _make(self, groups: Groups, fused: bool) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            groups, lr=self._start, betas=self._betas, eps=self.epsilon, amsgrad=self.amsgrad, fused=fused or None
        )


@dataclass(frozen=True, repr=False)
class AdamW(_Moments):
    """Adam with decoupled decay: weights shrink by the factor 1 − η·λ each step, untouched by √v̂.

    Args:
        learning_rate: η, above 0, or a schedule.
        beta_1: decay of the mean of gradients, at least 0 and below 1.
        beta_2: decay of the mean of squares, at least 0 and below 1.
        epsilon: as in `Adam`.
        amsgrad: as in `Adam`.
        weight_decay: λ; torch's default 0.01 (Keras 3 has 0.004).

    By keyword, also the options of `Rule`: weight decay, clipping, time-based decay, running means.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2; row R7.

    >>> AdamW(3e-4)
    AdamW(learning_rate=0.0003, beta_1=0.9, beta_2=0.999, epsilon=1e-07, amsgrad=False, weight_decay=0.01)
    """

    amsgrad: bool = False
    weight_decay: float = field(default=0.01, kw_only=True)
    has_fused = True

    def _make(self, groups: Groups, fused: bool) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            groups, lr=self._start, betas=self._betas, eps=self.epsilon, amsgrad=self.amsgrad, fused=fused or None
        )


@dataclass(frozen=True, repr=False)
class RMSprop(Rule):
    """Steps −η·g / (√v + ε), with v the running mean of g²; with momentum μ, along u ← μ·u + g / (√v + ε).

    Args:
        learning_rate: η, above 0, or a schedule.
        rho: decay of the running mean, at least 0 and below 1.
        momentum: μ, at least 0 and below 1.
        epsilon: ε, at least 0; Keras has it under the root.
        centered: divide by the standard deviation, √(v − mean(g)²), instead of √v.

    By keyword, also the options of `Rule`: weight decay, clipping, time-based decay, running means.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: Tieleman & Hinton 2012, lecture 6.5; Graves 2013 (centered); row R7.

    >>> RMSprop().rho
    0.9
    """

    learning_rate: Rate = 0.001
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False

    def _check(self) -> None:
        self._number("rho", below=1)
        self._number("momentum", below=1)
        self._number("epsilon")

    def _make(self, groups: Groups, fused: bool) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(
            groups, lr=self._start, alpha=self.rho, eps=self.epsilon, momentum=self.momentum, centered=self.centered
        )


@dataclass(frozen=True, repr=False)
class Adagrad(Rule):
    """Steps −η·g / (√s + ε), with s the sum of all g² so far.

    Args:
        learning_rate: η, above 0, or a schedule.
        initial_accumulator_value: what s starts from, at least 0; the paper has 0.
        epsilon: ε, at least 0; Keras has it under the root.

    By keyword, also the options of `Rule`: weight decay, clipping, time-based decay, running means.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: Duchi et al. 2011, "Adaptive subgradient methods"; row R7.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> w.grad = torch.tensor([2.0])
    >>> Adagrad(0.1, initial_accumulator_value=0).create([w]).step()
    >>> w.data
    tensor([0.9000])
    """

    learning_rate: Rate = 0.01
    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7
    has_fused = True

    def _check(self) -> None:
        self._number("initial_accumulator_value")
        self._number("epsilon")

    def _make(self, groups: Groups, fused: bool) -> torch.optim.Optimizer:
        start = self.initial_accumulator_value
        return torch.optim.Adagrad(
            groups, lr=self._start, initial_accumulator_value=start, eps=self.epsilon, fused=fused or None
        )


@dataclass(frozen=True, repr=False)
class Adadelta(Rule):
    """Steps −η·g·√(d + ε) / √(v + ε), with v and d the running means of g² and of the squared steps before η.

    Args:
        learning_rate: η, above 0, or a schedule; 1 is the paper's form.
        rho: decay of both means, at least 0 and below 1.
        epsilon: ε, above 0: with 0 no step would ever be taken.

    By keyword, also the options of `Rule`: weight decay, clipping, time-based decay, running means.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: Zeiler 2012, "ADADELTA", algorithm 1; row R7.

    >>> Adadelta()
    Adadelta(learning_rate=1.0, rho=0.95, epsilon=1e-07)
    """

    learning_rate: Rate = 1.0
    rho: float = 0.95
    epsilon: float = 1e-7

    def _check(self) -> None:
        self._number("rho", below=1)
        self._number("epsilon", above=0)

    def _make(self, groups: Groups, fused: bool) -> torch.optim.Optimizer:
        return torch.optim.Adadelta(groups, lr=self._start, rho=self.rho, eps=self.epsilon)


@dataclass(frozen=True, repr=False)
class Adamax(_Moments):
    """Steps −η·m̂ / u, with m̂ as in `Adam` and u ← max(β₂·u, |g| + ε).

    Args:
        learning_rate: η, above 0, or a schedule.
        beta_1: decay of the mean of gradients, at least 0 and below 1.
        beta_2: decay of the largest gradient, at least 0 and below 1.
        epsilon: ε, at least 0.

    By keyword, also the options of `Rule`: weight decay, clipping, time-based decay, running means.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: Kingma & Ba 2015, "Adam", algorithm 2.

    >>> Adamax().learning_rate
    0.001
    """

    def _make(self, groups: Groups, fused: bool) -> torch.optim.Optimizer:
        return torch.optim.Adamax(groups, lr=self._start, betas=self._betas, eps=self.epsilon)


@dataclass(frozen=True, repr=False)
class Nadam(_Moments):
    """Adam with Nesterov's look-ahead: at step t the momentum is β₁·(1 − 0.96^(t/250) / 2).

    Args:
        learning_rate: η, above 0, or a schedule.
        beta_1: decay of the mean of gradients, at least 0 and below 1.
        beta_2: decay of the mean of squares, at least 0 and below 1.
        epsilon: as in `Adam`.

    By keyword, also the options of `Rule`: weight decay, clipping, time-based decay, running means.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: Dozat 2016, "Incorporating Nesterov momentum into Adam"; Keras 3 lets the momentum rise 250 times faster.

    >>> Nadam().learning_rate
    0.001
    """

    def _make(self, groups: Groups, fused: bool) -> torch.optim.Optimizer:
        return torch.optim.NAdam(groups, lr=self._start, betas=self._betas, eps=self.epsilon)
