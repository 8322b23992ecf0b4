"""Muon against its formula, and against torch's Muon and AdamW."""

from __future__ import annotations

import copy
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from torch.nn import Parameter

from laminar.optimizers import Muon

Array: TypeAlias = np.ndarray[Any, Any]


def muon(o: Muon, w: Array, gs: list[Array]) -> Array:
    """Jordan et al. 2024, with the factor of Liu et al. 2025: start, gradients → end."""
    b = np.zeros_like(w)
    for g in gs:
        b = o.momentum * b + (1 - o.momentum) * g
        x = (1 - o.momentum) * g + o.momentum * b if o.nesterov else b
        x = x / np.linalg.norm(x)
        for _ in range(o.ns_steps):
            s = x @ x.T
            x = 3.4445 * x + (-4.7750 * s + 2.0315 * s @ s) @ x
        w = w * (1 - o.learning_rate * o.weight_decay) - o.learning_rate * 0.2 * np.sqrt(max(w.shape)) * x
    return w


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("shape", [(3, 4), (5, 2)])
def test_muon_on_matrices(shape: tuple[int, int], nesterov: bool) -> None:
    """R7: torch orthogonalizes in bfloat16, three digits; each of the steps agrees with the formula to that."""
    description = Muon(0.1, 0.9, nesterov, weight_decay=0.1)
    rng = np.random.default_rng(1)
    start, gradients = rng.normal(size=shape), [rng.normal(size=shape) for _ in range(4)]
    w = Parameter(torch.from_numpy(start.copy()))
    optimizer = description.create([w])
    for g in gradients:
        w.grad = torch.from_numpy(g)
        optimizer.step()
    moved = w.detach().numpy() - start
    np.testing.assert_allclose(
        moved, muon(description, start, gradients) - start, atol=0.02 * 4 * 0.1 * 0.2 * max(shape) ** 0.5
    )


def test_muon_is_torchs_muon_and_adamw_to_the_bit() -> None:
    """Matrices by one, kernels, biases and embeddings by the other; also after its state was loaded into a new one."""
    w, kernel, bias, table = (Parameter(torch.randn(s)) for s in ((4, 3), (2, 3, 3, 3), (4,), (5, 2)))
    copies = [Parameter(p.detach().clone()) for p in (w, kernel, bias, table)]
    description = Muon(0.01, weight_decay=0.1)
    ours = description.create([w, kernel], [bias], [table])
    theirs = [
        torch.optim.Muon(copies[:1], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([copies[1], copies[3]], lr=0.01, eps=1e-7, weight_decay=0.1),
        torch.optim.AdamW(copies[2:3], lr=0.01, eps=1e-7, weight_decay=0.0),
    ]
    for step in range(6):
        if step == 3:
            state = copy.deepcopy(ours.state_dict())
            ours = description.create([w, kernel], [bias], [table])
            ours.load_state_dict(state)
        for p, other in zip((w, kernel, bias, table), copies, strict=True):
            p.grad = torch.randn(p.shape)
            other.grad = p.grad.clone()
        for optimizer in (ours, *theirs):
            optimizer.step()
        assert all(torch.equal(p, other) for p, other in zip((w, kernel, bias, table), copies, strict=True))
