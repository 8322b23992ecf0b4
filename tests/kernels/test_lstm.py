"""The kernel for long short-term memory against torch's in float64, over random shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from laminar.kernels.library import library, reason_without
from laminar.kernels.lstm import lstm

pytestmark = pytest.mark.skipif(library(torch.float32) is None, reason=f"no kernels here: {reason_without()}")


def leaves(dtype: torch.dtype, seed: int, n: int, steps: int, features: int, units: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = (n, steps, features), (n, units), (n, units), (4 * units, features), (4 * units, units), (4 * units,)
    drawn = [torch.randn(*s, generator=generator, dtype=torch.float64) for s in shapes]
    drawn[4] = drawn[4] / units**0.5  # or nothing would be left of a digit after forty steps
    return [t.to(dtype).requires_grad_() for t in drawn]


def by_torch(
    x: Tensor, h: Tensor, c: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    weights = (weight_ih, weight_hh) if bias is None else (weight_ih, weight_hh, bias, torch.zeros_like(bias))
    out, _, last = torch.lstm(x, (h[None], c[None]), weights, bias is not None, 1, 0.0, True, False, True)
    return out, last[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@settings(max_examples=8)
@given(
    st.integers(1, 70), st.integers(1, 40), st.integers(1, 35), st.sampled_from([16, 48]), st.booleans(), st.booleans(),
    st.sampled_from(["all", "last h", "last c"]), st.integers(0, 100),
)  # fmt: skip
def test_it_is_torch_s(
    dtype: torch.dtype, n: int, steps: int, features: int, units: int, biased: bool, of_x: bool, used: str, seed: int
) -> None:
    found = []
    for kind, run in ((dtype, lstm), (torch.float64, by_torch)):
        given_: list[Any] = leaves(dtype, seed, n, steps, features, units)
        given_ = [t.detach().to(kind).requires_grad_() for t in given_]
        given_[0].requires_grad_(of_x)
        given_[5] = given_[5] if biased else None
        out, last = run(*given_)
        loss = {"all": (out**2).sum() + (last * 0.5).sum(), "last h": (out[:, -1] ** 2).sum(), "last c": (last**2).sum()}[used]
        loss.backward()
        found.append([out.detach(), last.detach(), *(t.grad for t in given_ if t is not None and t.grad is not None)])
    assert len(found[0]) == len(found[1])
    for own, expected in zip(*found, strict=True):
        bound = 5000 * torch.finfo(dtype).eps * max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(own.double(), expected, rtol=0, atol=bound)


def test_extremes() -> None:
    x, h, c, weight_ih, weight_hh, bias = (t.detach() for t in leaves(torch.float32, 0, 3, 4, 2, 16))
    x[0], x[1, 2, 0] = 1e30, torch.nan
    out, last = lstm(x, h, c, weight_ih, weight_hh, bias)
    expected, expected_last = by_torch(
        x.double(), h.double(), c.double(), weight_ih.double(), weight_hh.double(), bias.double()
    )
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5, equal_nan=True)
    torch.testing.assert_close(last.double(), expected_last, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_second_derivatives_and_threads() -> None:
    found = []
    for run in (lstm, by_torch_s_operations):
        x, *others = leaves(torch.float64, 1, 4, 3, 2, 16)
        out, last = run(x, *others)
        slopes = torch.autograd.grad((out**3).sum() + (last**2).sum(), (x, others[3]), create_graph=True)
        found.append(torch.autograd.grad(sum((s**2).sum() for s in slopes), (x, *others[:4])))
    for own, expected in zip(*found, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-9, atol=1e-9)
    before, results = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            given_ = leaves(torch.float32, 2, 50, 20, 8, 32)
            out, last = lstm(*given_)
            results.append([out, last, *torch.autograd.grad(out.sum() + last.sum(), given_)])
        finally:
            torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def by_torch_s_operations(
    x: Tensor, h: Tensor, c: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    cell = torch.nn.LSTMCell(x.shape[2], h.shape[1]).double()
    weights = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias_ih": bias, "bias_hh": torch.zeros_like(bias)}
    outputs = []
    for step in x.unbind(1):
        h, c = torch.func.functional_call(cell, weights, (step, (h, c)))
        outputs.append(h)
    return torch.stack(outputs, 1), c
