"""Every kernel against torch's own operations and autograd in float64, over random shapes and values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from laminar.kernels import dropout, functions
from laminar.kernels.calls import Kind, Normalization
from laminar.kernels.library import library, reason_without

pytestmark = pytest.mark.skipif(library(torch.float32) is None, reason=f"no kernels here: {reason_without()}")

DTYPES = [torch.float32, torch.float64]
KINDS = list(Kind)
SIZES = st.integers(1, 5), st.integers(1, 6), st.integers(1, 7), st.integers(1, 40)


def draw(seed: int, *shapes: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    """Return numbers of `dtype`, in float64: the kernel and its oracle are to begin from the same."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [t.to(dtype).double() for t in drawn]


def leaves(tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    return [t.to(dtype, copy=True).requires_grad_() for t in tensors]


def close(found: Tensor | None, expected: Tensor, dtype: torch.dtype, *, scale: float = 1.0) -> None:
    """Compare with a tolerance in units of the largest number: sums of thousands of numbers may cancel."""
    assert found is not None
    bound = 2000 * torch.finfo(dtype).eps * max(scale, float(expected.abs().max()))
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=bound)


def activated(y: Tensor, kind: Kind, alpha: Tensor) -> Tensor:
    if kind == Kind.IDENTITY:
        return y
    if kind == Kind.RELU:
        return F.relu(y)
    return torch.where(y > 0, y, alpha.reshape(1, -1, 1, 1) * torch.expm1(y.clamp(max=0)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(*SIZES, st.integers(0, 1000), st.sampled_from([1.0, -0.5, 0.0, 1e-25]))
def test_elu(dtype: torch.dtype, n: int, c: int, h: int, w: int, seed: int, alpha: float) -> None:
    x, dz, a = draw(seed, (n, c, h, w), (n, c, h, w), (c,), dtype=dtype)
    a[0] = alpha
    (own_x, own_a), (x64, a64) = leaves([x, a], dtype), leaves([x, a], torch.float64)
    z = functions.elu(own_x, own_a)
    z.backward(dz.to(dtype))
    expected = activated(x64, Kind.ELU, a64)
    expected.backward(dz)
    close(z, expected.detach(), dtype)
    close(own_x.grad, x64.grad, dtype)
    close(own_a.grad, a64.grad, dtype)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(*SIZES, st.integers(0, 1000), st.booleans(), st.sampled_from([0.0, 30.0]))
def test_batch_norm(
    dtype: torch.dtype, kind: Kind, n: int, c: int, h: int, w: int, seed: int, scaled: bool, offset: float
) -> None:
    if n * h * w < 4:
        n = 4  # with two numbers a channel is ±1, and its derivative all cancellation
    x, dz, weight, bias, alpha = draw(seed, (n, c, h, w), (n, c, h, w), (c,), (c,), (c,), dtype=dtype)
    x = (x + offset).to(dtype).double()
    mean, var = torch.zeros(c, dtype=dtype), torch.ones(c, dtype=dtype)
    mean64, var64 = mean.double(), var.double()
    given_, given64 = (leaves([x, weight, bias, alpha], d) for d in (dtype, torch.float64))
    weights, weights64 = (g[1:3] if scaled else [None, None] for g in (given_, given64))
    z = functions.batch_norm(given_[0], *weights, Normalization((mean, var), 0.3, 1e-3, kind), given_[3])
    z.backward(dz.to(dtype))
    normal = F.batch_norm(given64[0], mean64, var64, *weights64, True, 0.3, 1e-3)
    expected = activated(normal, kind, given64[3])
    expected.backward(dz)
    slack = 1 + offset  # digits that the offset has taken from x before any kernel saw it
    near_kink = bool((normal.abs() < 1e-4).any()) and kind != Kind.IDENTITY and dtype == torch.float32
    close(z, expected.detach(), dtype, scale=slack)
    close(mean, mean64, dtype, scale=slack)
    close(var, var64, dtype, scale=slack)
    if near_kink:  # rounding may carry a number over the bend, where the slope jumps
        return
    names = ["x", "weight", "bias", "alpha"] if scaled else ["x", "alpha"]
    by_name = dict(zip(["x", "weight", "bias", "alpha"], zip(given_, given64, strict=True), strict=True))
    for name in names:
        own, oracle = by_name[name]
        if oracle.grad is None:  # alpha, which only an ELU has
            assert own.grad is None
        else:
            close(own.grad, oracle.grad, dtype, scale=slack * float(dz.abs().sum()) ** 0.5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 9), st.integers(1, 5), st.integers(1, 7), st.integers(0, 6),
    st.integers(0, 40), st.integers(0, 1000), st.booleans(),
)  # fmt: skip
def test_convolution(
    dtype: torch.dtype,
    n: int,
    c: int,
    filters: int,
    kernel_h: int,
    kernel_w: int,
    more_h: int,
    more_w: int,
    seed: int,
    biased: bool,
) -> None:
    image, kernel = (n, c, kernel_h + more_h, kernel_w + more_w), (filters, c, kernel_h, kernel_w)
    x, weight, bias = draw(seed, image, kernel, (filters,), dtype=dtype)
    (dy,) = draw(seed + 1, (n, filters, more_h + 1, more_w + 1), dtype=dtype)
    given_, given64 = (leaves([x, weight, bias], d) for d in (dtype, torch.float64))
    y = functions.convolution(given_[0], given_[1], given_[2] if biased else None)
    y.backward(dy.to(dtype))
    expected = F.conv2d(given64[0], given64[1], given64[2] if biased else None)
    expected.backward(dy)
    close(y, expected.detach(), dtype)
    for own, oracle in zip(given_[: 2 + biased], given64[: 2 + biased], strict=True):
        close(own.grad, oracle.grad, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(st.integers(1, 7), st.integers(1, 12), st.integers(1, 220), st.integers(0, 1000), st.booleans())
def test_dense(dtype: torch.dtype, n: int, units: int, features: int, seed: int, biased: bool) -> None:
    x, weight, bias, dy = draw(seed, (n, features), (units, features), (units,), (n, units), dtype=dtype)
    given_, given64 = (leaves([x, weight, bias], d) for d in (dtype, torch.float64))
    y = functions.dense(given_[0], given_[1], given_[2] if biased else None)
    y.backward(dy.to(dtype))
    expected = F.linear(given64[0], given64[1], given64[2] if biased else None)
    expected.backward(dy)
    close(y, expected.detach(), dtype)
    for own, oracle in zip(given_[: 2 + biased], given64[: 2 + biased], strict=True):
        close(own.grad, oracle.grad, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_not_asked_for_is_not_returned(dtype: torch.dtype) -> None:
    x, weight, bias = (t.to(dtype) for t in draw(0, (2, 1, 9, 9), (3, 1, 3, 3), (3,), dtype=dtype))
    functions.convolution(x, weight.requires_grad_(), bias).sum().backward()
    assert weight.grad is not None
    assert bias.grad is None
    assert x.grad is None
    z = functions.elu(x.requires_grad_(), torch.ones(1, dtype=dtype))
    z.sum().backward()
    assert x.grad is not None
    scale = torch.ones(1, dtype=dtype, requires_grad=True)
    functions.batch_norm(x.detach(), scale, None, Normalization(None, 0.1, 1e-5)).square().sum().backward()
    assert scale.grad is not None


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_scale_and_shift(kind: Kind) -> None:
    x, scale, shift, alpha = (t.float() for t in draw(3, (3, 4, 5, 9), (4,), (4,), (4,), dtype=torch.float32))
    z = functions.scale_and_shift(x, scale, shift, kind, alpha if kind == Kind.ELU else None)
    expected = activated(x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1), kind, alpha)
    torch.testing.assert_close(z, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_exponential_keeps_its_digits_near_zero_and_far_below(dtype: torch.dtype) -> None:
    x = -torch.logspace(-300 if dtype == torch.float64 else -35, 3, 4000, dtype=torch.float64).to(dtype)
    z = functions.elu(x.reshape(1, 1, -1), torch.ones(1, dtype=dtype)).reshape(-1)
    torch.testing.assert_close(z.double(), torch.expm1(x.double()), rtol=4 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("make", [
    lambda x: functions.elu(x, torch.ones(2)),
    lambda x: functions.batch_norm(x, None, None, Normalization(None, 0.1, 1e-5, Kind.ELU), torch.ones(2)),
    lambda x: functions.batch_norm(x, None, None, Normalization(None, 0.1, 1e-5, Kind.RELU)),
    lambda x: functions.convolution(x, torch.ones(1, 2, 3, 3), None),
], ids=["elu", "normalization and elu", "normalization and relu", "convolution"])  # fmt: skip
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf], ids=str)
def test_what_is_not_finite_does_not_vanish(make: Any, value: float) -> None:
    x = torch.randn(2, 2, 9, 30)
    x[0, 0, 4, 4] = value
    own, torch_s = make(x), make(x.double().float())
    assert torch.equal(own.isfinite(), torch_s.isfinite())
    if value != -torch.inf or make(x).shape[1] == 1:  # an ELU of -inf is -1
        assert not own.isfinite().all()


@pytest.mark.parametrize(
    "name", ["elu", "normalization", "normalization and elu", "normalization and relu", "convolution", "dense"]
)
def test_second_derivatives_are_torch_s(name: str) -> None:
    x, weight, bias, alpha = leaves(draw(5, (4, 2, 5, 6), (2,), (2,), (2,), dtype=torch.float64), torch.float64)
    (kernel,) = leaves(draw(6, (3, 2, 2, 3), dtype=torch.float64), torch.float64)
    kinds = {"normalization": Kind.IDENTITY, "normalization and elu": Kind.ELU, "normalization and relu": Kind.RELU}

    def of(x: Tensor, weight: Tensor, bias: Tensor, alpha: Tensor, kernel: Tensor) -> Tensor:
        if name == "elu":
            return functions.elu(x, alpha)
        if name == "convolution":
            return functions.convolution(x, kernel, None)
        if name == "dense":
            return functions.dense(x.flatten(1), kernel.flatten(1).repeat(1, 5), bias.repeat(2)[:3])
        return functions.batch_norm(x, weight, bias, Normalization(None, 0.1, 1e-3, kinds[name]), alpha)

    assert torch.autograd.gradcheck(of, (x, weight, bias, alpha, kernel))
    assert torch.autograd.gradgradcheck(of, (x, weight, bias, alpha, kernel), atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_no_bit(threads: int) -> None:
    before = torch.get_num_threads()
    x, weight, dz = torch.randn(8, 1, 20, 21), torch.randn(7, 1, 5, 5), torch.randn(8, 7, 16, 17)

    def numbers() -> list[Tensor]:
        w = weight.clone().requires_grad_()
        how = Normalization(None, 0.1, 1e-5, Kind.ELU)
        z = functions.batch_norm(functions.convolution(x, w, None), None, None, how, torch.ones(7))
        z.backward(dz)
        assert w.grad is not None
        return [z.detach(), w.grad]

    try:
        torch.set_num_threads(1)
        alone = numbers()
        torch.set_num_threads(threads)
        assert all(map(torch.equal, alone, numbers()))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(st.integers(0, 2000), st.lists(st.integers(0, 900), min_size=1, max_size=4), st.floats(0.01, 0.99), st.integers(0, 5))
def test_dropout_draws_what_torch_draws(dtype: torch.dtype, seed: int, sizes: list[int], rate: float, before: int) -> None:
    if not dropout.agrees(dtype):
        pytest.skip("torch has another generator here")
    found = []
    for draw in (dropout.dropout, F.dropout):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            torch.rand(before)
            parts = []
            for n in sizes:
                x = torch.linspace(-1, 1, n, dtype=dtype).requires_grad_()
                z = draw(x, rate)
                (dx,) = torch.autograd.grad((z * z).sum(), x)
                parts += [z.detach(), dx]
            found.append([*parts, torch.rand(2)])
    for own, torch_s in zip(*found, strict=True):
        torch.testing.assert_close(own, torch_s, rtol=2 * torch.finfo(own.dtype).eps, atol=0)
