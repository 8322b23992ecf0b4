"""The kernels for channels-last images against torch's operations and autograd in float64, over random shapes and values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from laminar.kernels import channels_last as kernels
from laminar.kernels.calls import Kind, Normalization
from laminar.kernels.last_calls import PoolWindow
from laminar.kernels.library import library, reason_without

pytestmark = pytest.mark.skipif(library(torch.float32) is None, reason=f"no kernels here: {reason_without()}")

DTYPES = [torch.float32, torch.float64]
BATCH, SEED = st.integers(1, 5), st.integers(0, 1000)
CHANNELS = st.sampled_from([16, 32, 48])


def draw(seed: int, *shapes: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    """Return numbers of `dtype`, in float64: the kernel and its oracle are to begin from the same."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [t.to(dtype).double() for t in drawn]


def last(t: Tensor) -> Tensor:
    return t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t


def close(found: Tensor | None, expected: Tensor | None, dtype: torch.dtype, scale: float = 1.0) -> None:
    assert found is not None
    assert expected is not None
    bound = 2000 * torch.finfo(dtype).eps * max(scale, float(expected.abs().max()))
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=bound)


def compare(
    own: Callable[..., Tensor],
    oracle: Callable[..., Tensor],
    inputs: list[Tensor | None],
    dtype: torch.dtype,
    first_is_last: bool = True,
) -> None:
    """Compare results and gradients."""
    shape = inputs[0].shape if inputs[0] is not None else ()  # of the images

    def leaves(kind: torch.dtype, layout: Callable[[Tensor], Tensor]) -> list[Tensor | None]:
        copies = [None if t is None else t.to(kind, copy=True) for t in inputs]
        return [None if t is None else (layout(t) if t.shape == shape else t).requires_grad_() for t in copies]

    given_, expected_from = leaves(dtype, last if first_is_last else (lambda t: t)), leaves(torch.float64, lambda t: t)
    found, expected = own(*given_), oracle(*expected_from)
    slopes = (torch.sin(torch.arange(expected.numel(), dtype=torch.float64)) + 0.1).reshape(expected.shape)
    slopes = slopes.to(dtype).double()
    close(found.detach(), expected.detach(), dtype)
    found.backward(slopes.to(dtype))
    expected.backward(slopes)
    scale = float(slopes.abs().sum()) ** 0.5
    for a, b in zip(given_, expected_from, strict=True):
        if a is not None and b is not None:
            close(a.grad, b.grad, dtype, scale)


@pytest.mark.parametrize("relu", [False, True], ids=["plain", "relu"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(BATCH, CHANNELS, CHANNELS, st.integers(3, 11), st.integers(3, 11), st.integers(0, 2), SEED, st.booleans())
def test_winograd(
    dtype: torch.dtype, relu: bool, n: int, c: int, f: int, h: int, w: int, pad: int, seed: int, biased: bool
) -> None:
    x, weight, bias = draw(seed, (n, c, h, w), (f, c, 3, 3), (f,), dtype=dtype)
    if relu:  # away from its bend, where rounding decides
        bias = bias + torch.where(torch.arange(f) % 2 == 0, 100.0, -100.0)
    compare(
        lambda x, w, b: kernels.convolve(x, w, b, pad, relu=relu),
        lambda x, w, b: F.relu(F.conv2d(x, w, b, padding=pad)) if relu else F.conv2d(x, w, b, padding=pad),
        [x, weight, bias if biased or relu else None],
        dtype,
    )


@pytest.mark.parametrize("relu", [False, True], ids=["plain", "relu"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(
    BATCH, st.integers(1, 4), CHANNELS, st.tuples(st.integers(1, 5), st.integers(1, 5)), st.integers(0, 9),
    st.tuples(st.integers(0, 2), st.integers(0, 2)), SEED, st.booleans(),
)  # fmt: skip
def test_images(
    dtype: torch.dtype,
    relu: bool,
    n: int,
    c: int,
    f: int,
    kernel: tuple[int, int],
    more: int,
    padding: tuple[int, int],
    seed: int,
    biased: bool,
) -> None:
    image = (n, c, kernel[0] + more, kernel[1] + 15 + more)
    x, weight, bias = draw(seed, image, (f, c, *kernel), (f,), dtype=dtype)
    if relu:
        bias = bias + torch.where(torch.arange(f) % 2 == 0, 100.0, -100.0)
    compare(
        lambda x, w, b: kernels.convolve_images(x, w, b, padding, relu=relu),
        lambda x, w, b: F.relu(F.conv2d(x, w, b, padding=padding)) if relu else F.conv2d(x, w, b, padding=padding),
        [x, weight, bias if biased or relu else None],
        dtype,
        first_is_last=False,
    )


def activated(y: Tensor, kind: Kind, alpha: Tensor) -> Tensor:
    if kind == Kind.ELU:
        return torch.where(y > 0, y, alpha.reshape(1, -1, 1, 1) * torch.expm1(y.clamp(max=0)))
    return F.relu(y) if kind == Kind.RELU else y


@pytest.mark.parametrize("kind", list(Kind), ids=lambda k: k.name)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(
    BATCH,
    st.integers(2, 37),
    st.integers(2, 9),
    st.integers(2, 9),
    SEED,
    st.booleans(),
    st.sampled_from([0.0, 30.0]),
    st.booleans(),
)
def test_batch_norm(
    dtype: torch.dtype, kind: Kind, n: int, c: int, h: int, w: int, seed: int, scaled: bool, offset: float, added: bool
) -> None:
    x, other, weight, bias, alpha = draw(seed, (n, c, h, w), (n, c, h, w), (c,), (c,), (c,), dtype=dtype)
    x = (x + offset).to(dtype).double()
    both = other if added and kind == Kind.RELU else None
    normal = F.batch_norm(x, None, None, weight if scaled else None, bias if scaled else None, True, 0.1, 1e-3)
    bend = normal if both is None else normal + both
    if kind == Kind.RELU and bool((bend.abs() < 1e-4).any()):
        return  # rounding may carry a number over the bend, where the slope jumps
    running = [(torch.zeros(c, dtype=d), torch.ones(c, dtype=d)) for d in (dtype, torch.float64)]

    def own(x: Tensor, other: Tensor | None, weight: Tensor | None, bias: Tensor | None, alpha: Tensor | None) -> Tensor:
        return kernels.batch_norm(x, weight, bias, Normalization(running[0], 0.3, 1e-3, kind), alpha, other)

    def oracle(x: Tensor, other: Tensor | None, weight: Tensor | None, bias: Tensor | None, alpha: Tensor | None) -> Tensor:
        y = F.batch_norm(x, *running[1], weight, bias, True, 0.3, 1e-3)
        return activated(y if other is None else y + other, kind, alpha if alpha is not None else torch.ones(c))

    # with an offset x has lost the digits that its gradient is made of
    affine = [weight, bias] if scaled else [None, None]
    inputs: list[Tensor | None] = [x, both, *affine, alpha if kind == Kind.ELU else None]
    if offset == 0:
        compare(own, oracle, inputs, dtype)
    else:
        given_ = [None if t is None else last(t.to(dtype)) for t in inputs]
        close(own(*given_), oracle(*inputs), dtype, 1 + offset)
    for a, b in zip(*running, strict=True):
        close(a, b, dtype, 1 + offset)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(BATCH, st.integers(2, 37), st.integers(2, 9), st.integers(2, 9), SEED, st.sampled_from([1.0, -0.5, 0.0, 1e-25]))
def test_elu(dtype: torch.dtype, n: int, c: int, h: int, w: int, seed: int, first: float) -> None:
    x, alpha = draw(seed, (n, c, h, w), (c,), dtype=dtype)
    alpha[0] = first
    compare(kernels.elu, lambda x, a: activated(x, Kind.ELU, a), [x, alpha], dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(
    BATCH, CHANNELS, st.tuples(st.integers(1, 4), st.integers(1, 4)), st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(4, 9), st.integers(4, 9)), SEED, st.data(),
)  # fmt: skip
def test_max_pool(
    dtype: torch.dtype,
    n: int,
    c: int,
    size: tuple[int, int],
    stride: tuple[int, int],
    image: tuple[int, int],
    seed: int,
    data: st.DataObject,
) -> None:
    padding = (data.draw(st.integers(0, size[0] // 2)), data.draw(st.integers(0, size[1] // 2)))
    (x,) = draw(seed, (n, c, *image), dtype=dtype)
    x = x.round()  # equal numbers: which of them counts is agreed, too
    window = PoolWindow(size, stride, padding)
    compare(lambda x: kernels.max_pool(x, window), lambda x: F.max_pool2d(x, size, stride, padding), [x], dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_and_infinity_stay_what_they_are(dtype: torch.dtype) -> None:
    x = last(torch.randn(2, 16, 6, 6, dtype=dtype))
    x[0, 0, 1, 1], x[1, 3, 2, 2], x[0, 5, 4, 4] = torch.nan, -torch.inf, torch.inf
    weight, window = torch.randn(16, 16, 3, 3, dtype=dtype), PoolWindow((2, 2), (2, 2), (0, 0))
    assert torch.equal(kernels.max_pool(x, window).nan_to_num(), F.max_pool2d(x, 2).nan_to_num())
    assert bool(kernels.max_pool(x, window)[0, 0, 0, 0].isnan())
    assert bool(kernels.convolve(x, weight, None, 1, relu=True)[0, :, 1, 1].isnan().all())
    ones = torch.ones(16, dtype=dtype)
    for kind in Kind:
        out = kernels.scale_and_shift(x, ones, 0 * ones, kind, ones)
        assert torch.equal(out.isnan(), x.isnan())
        assert float(out[0, 5, 4, 4]) == float("inf")
        how = Normalization(None, 0.1, 1e-5, kind)
        assert bool(kernels.batch_norm(x, None, None, how, ones)[:, 0].isnan().all())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_no_result_depends_on_the_number_of_threads(dtype: torch.dtype) -> None:
    found = []
    for threads in (1, 3):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            generator = torch.Generator().manual_seed(0)
            image = torch.randn(7, 3, 21, 22, generator=generator, dtype=dtype)
            shapes = [(16, 3, 3, 3), (16,), (16, 16, 3, 3), (16,)]
            weights = [torch.randn(*s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]
            y = kernels.convolve_images(image, weights[0], None, (1, 1), relu=True)
            y = kernels.convolve(y, weights[2], weights[3], 1, relu=False)
            y = kernels.batch_norm(y, weights[1], None, Normalization(None, 0.1, 1e-5, Kind.RELU))
            y = kernels.max_pool(y, PoolWindow((3, 3), (2, 2), (1, 1)))
            found.append([y, *torch.autograd.grad((y * y).sum(), weights)])
        finally:
            torch.set_num_threads(before)
    for one, three in zip(*found, strict=True):
        assert torch.equal(one, three)


def test_gradients_of_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    x = last(torch.randn(2, 16, 5, 16, generator=generator, dtype=torch.float64)).requires_grad_()
    image = torch.randn(2, 1, 5, 18, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(16, 16, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    first = torch.randn(16, 1, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    ones = torch.ones(16, dtype=torch.float64, requires_grad=True)
    how = Normalization(None, 0.1, 1e-5, Kind.IDENTITY)
    pairs = [
        (lambda: kernels.convolve(x, weight, ones, 1, relu=False), lambda: F.conv2d(x, weight, ones, padding=1), (x, weight)),
        (
            lambda: kernels.convolve_images(image, first, ones, (0, 0), relu=False),
            lambda: F.conv2d(image, first, ones),
            (image, first),
        ),
        (lambda: kernels.batch_norm(x, ones, ones, how), lambda: F.batch_norm(x, None, None, ones, ones, True), (x, ones)),
        (lambda: kernels.elu(x, ones), lambda: F.elu(x), (x,)),
        (lambda: kernels.max_pool(x, PoolWindow((2, 2), (2, 2), (0, 0))), lambda: F.max_pool2d(x, 2), (x,)),
    ]
    for own, oracle, wanted in pairs:
        found = []
        for function in (own, oracle):
            z = function()
            slopes = torch.autograd.grad((z**3).sum(), wanted, create_graph=True)
            found.append(torch.autograd.grad(sum((s**2).sum() for s in slopes), wanted))
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_what_is_not_asked_for_is_not_returned() -> None:
    x, weight = last(torch.randn(2, 16, 6, 6)), torch.randn(16, 16, 3, 3, requires_grad=True)
    bias = torch.randn(16)
    kernels.convolve(x, weight, bias, 1, relu=True).sum().backward()
    assert weight.grad is not None
    assert (bias.grad, x.grad) == (None, None)
    kernels.convolve(x.requires_grad_(), weight.detach(), bias, 1, relu=True).sum().backward()
    assert x.grad is not None
