"""Muon: matrices by orthogonalized momentum, everything else by AdamW, in one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch.nn import Parameter

from laminar.optimizers.base import Groups, Rule

__all__ = ["Muon", "MuonAndAdamW"]


@dataclass(frozen=True, repr=False)
class Muon(Rule):
    """Weights of two axes step along orthogonalized momentum; all other parameters, and embeddings, by AdamW.

    b ← μ·b + (1 − μ)·g, then w ← (1 − η·λ)·w − 0.2·η·√max(rows, columns)·O((1 − μ)·g + μ·b) (without Nesterov O(b)). O
    replaces all singular values of its argument by about 1, by Newton-Schulz iterations in bfloat16. The factor 0.2·√max makes
    steps as large as AdamW's, so that one learning rate serves both.

    Args:
        learning_rate: η, above 0.
        momentum: μ, at least 0 and below 1.
        nesterov: look ahead.
        ns_steps: Newton-Schulz iterations, at least 1.
        adam_beta_1: of AdamW for the others.
        adam_beta_2: of AdamW for the others.
        epsilon: of AdamW for the others.
        weight_decay: λ, decoupled, for weights by either rule.

    By keyword, also the options of `Rule`: weight decay, clipping, time-based decay, running means.

    Raises:
        ArgumentError: if an argument is out of its range.

    Source: Jordan et al. 2024, "Muon"; Liu et al. 2025, "Muon is scalable for LLM training"; `torch.optim.Muon`; row R7.

    >>> w, b = (torch.nn.Parameter(torch.eye(2)), torch.nn.Parameter(torch.zeros(2)))
    >>> [type(part).__name__ for part in Muon().create([w], [b]).parts]
    ['Muon', 'AdamW']
    """

    momentum: float = 0.95
    nesterov: bool = True
    ns_steps: int = 5
    adam_beta_1: float = 0.9
    adam_beta_2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float = field(default=0.004, kw_only=True)

    def _check(self) -> None:
        for name in ("momentum", "adam_beta_1", "adam_beta_2"):
            self._number(name, below=1)
        self._number("epsilon")
        if not isinstance(self.ns_steps, int) or isinstance(self.ns_steps, bool) or not 1 <= self.ns_steps < 100:
            self._refuse("ns_steps", "a whole number of at least 1 and below 100", "Pass ns_steps=5")

    def _create(
        self, weights: Sequence[Parameter], others: Sequence[Parameter], tables: Sequence[Parameter]
    ) -> torch.optim.Optimizer:
        matrices = [p for p in weights if p.ndim == 2]
        decayed = [*(p for p in weights if p.ndim != 2), *tables]
        parts = [(matrices, self.weight_decay, True), (decayed, self.weight_decay, False), (others, 0.0, False)]
        groups: Groups = [{"params": list(p), "weight_decay": decay, "muon": muon} for p, decay, muon in parts if p]
        return self._make(groups, fused=False)

    def _make(self, groups: Groups, fused: bool) -> torch.optim.Optimizer:
        parts: list[torch.optim.Optimizer] = []
        if matrices := [g for g in groups if g["muon"]]:
            parts.append(
                torch.optim.Muon(
                    matrices,
                    lr=self._start,
                    momentum=self.momentum,
                    nesterov=self.nesterov,
                    ns_steps=self.ns_steps,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
        if rest := [g for g in groups if not g["muon"]]:
            betas = (self.adam_beta_1, self.adam_beta_2)
            parts.append(torch.optim.AdamW(rest, lr=self._start, betas=betas, eps=self.epsilon))
        return MuonAndAdamW(parts)


class MuonAndAdamW(torch.optim.Optimizer):
    """Torch's Muon and AdamW under one roof: one list of groups, one state, one step.

    Args:
        parts: the optimizers; their groups say in "muon" whose they are.
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = list(parts)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # as torch's own do
        """Let both take theirs; the groups and the state may have been replaced since (loaded, regrouped)."""
        loss = closure() if closure is not None else None
        for part in self.parts:
            part.state = self.state
            part.param_groups = [g for g in self.param_groups if g["muon"] == isinstance(part, torch.optim.Muon)]
            part.step()
        return loss
