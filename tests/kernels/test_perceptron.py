"""The kernel for several dense layers in a row against torch's operations in float64, over random networks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from laminar.kernels import perceptron_calls
from laminar.kernels.library import library, reason_without
from laminar.kernels.parts import Part
from laminar.kernels.perceptron import perceptron
from laminar.kernels.perceptron_calls import Bend, Stage

pytestmark = pytest.mark.skipif(library(torch.float32) is None, reason=f"no kernels here: {reason_without()}")

DTYPES = [torch.float32, torch.float64]
Tensors = list[Tensor | None]

widths = st.lists(st.integers(1, 40), min_size=1, max_size=4)
bends = st.lists(st.sampled_from(Bend), min_size=8, max_size=8)
flags = st.lists(st.booleans(), min_size=8, max_size=8)


def network(
    features: int, units: Sequence[int], bend: Sequence[Bend], normalized: Sequence[bool], biased: Sequence[bool], own: bool
) -> tuple[Stage, ...]:
    """Return dense layers of `units`, some of them with a normalization behind."""
    stages: list[Stage] = []
    for i, wide in enumerate(units):
        stages.append(Stage(features, wide, bend[2 * i], dense=True))
        if normalized[i]:
            stages.append(Stage(wide, wide, bend[2 * i + 1], dense=False, own=own, momentum=0.1, epsilon=0.1))
        features = wide
    return tuple(stages)


def weights(stages: Sequence[Stage], biased: Sequence[bool], seed: int, dtype: torch.dtype) -> Tensors:
    """Return weights, biases and running statistics in float64, of numbers that `dtype` has."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).double()

    tensors: Tensors = []
    for i, s in enumerate(stages):
        shape = (s.units, s.features) if s.dense else (s.units,)
        tensors += [draw(*shape) / s.features**0.5 if s.dense else draw(*shape), draw(s.units) if biased[i] else None]
        tensors += [None, None] if s.dense else [draw(s.units), draw(s.units).abs()]
    return [None if t is None else t.to(dtype).double() for t in tensors]


def by_torch(x: Tensor, stages: Sequence[Stage], tensors: Tensors) -> Tensor:
    bent = {Bend.NONE: lambda t: t, Bend.RELU: F.relu, Bend.TANH: torch.tanh, Bend.SIGMOID: torch.sigmoid}
    bent[Bend.SOFTMAX] = lambda t: t.softmax(1)
    for i, s in enumerate(stages):
        weight, bias, mean, variance = tensors[4 * i : 4 * i + 4]
        if s.dense:
            assert weight is not None
            x = F.linear(x, weight, bias)
        else:
            x = F.batch_norm(x, mean, variance, weight, bias, s.own, s.momentum, s.epsilon)
        x = bent[s.bend](x)
    return x


def numbers(x: Tensor, stages: tuple[Stage, ...], given_: Tensors, run: object, slopes: Tensor | None) -> list[Tensor]:
    """Return the output, every gradient, and the running statistics afterwards."""
    tensors = [t if t is None or i % 4 > 1 else t.requires_grad_() for i, t in enumerate(given_)]
    learning = [t for i, t in enumerate(tensors) if t is not None and i % 4 < 2]
    kept = [t for i, t in enumerate(tensors) if t is not None and i % 4 > 1]
    if slopes is None:
        with torch.no_grad():
            return [run(x, stages, tensors), *kept]  # type: ignore[operator]
    x = x.requires_grad_()
    z = run(x, stages, tensors)  # type: ignore[operator]
    return [z.detach(), *torch.autograd.grad(z, [x, *learning], slopes.to(z.dtype)), *kept]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(
    st.integers(2, 30), st.integers(1, 150), widths, bends, flags, flags, st.booleans(), st.booleans(), st.integers(0, 1000)
)  # fmt: skip
def test_it_is_torch_s(
    dtype: torch.dtype,
    n: int,
    features: int,
    units: list[int],
    bend: list[Bend],
    normalized: list[bool],
    biased: list[bool],
    own: bool,
    gradients: bool,
    seed: int,
) -> None:
    stages = network(features, units, bend, normalized, biased, own or gradients)
    tensors = weights(stages, biased, seed, dtype)
    generator = torch.Generator().manual_seed(seed + 1)
    x, slopes = (torch.randn(n, w, generator=generator, dtype=torch.float64).to(dtype) for w in (features, units[-1]))
    asked = slopes.double() if gradients else None
    found = numbers(x.clone(), stages, [None if t is None else t.to(dtype, copy=True) for t in tensors], perceptron, asked)
    expected = numbers(x.double(), stages, [None if t is None else t.clone() for t in tensors], by_torch, asked)
    for own_, oracle in zip(found, expected, strict=True):
        # a normalization over two observations that are nearly alike enlarges rounding by up to 1 / sqrt(epsilon) each
        bound = 2e4 * torch.finfo(dtype).eps * max(1.0, float(oracle.detach().abs().max()))
        torch.testing.assert_close(own_.detach().double(), oracle.detach(), rtol=0, atol=bound)


@given(st.integers(1, 300), st.integers(1, 150), widths, bends, flags, flags, st.integers(0, 1000))
def test_without_a_way_back_the_numbers_are_the_same_by_any_number_of_threads(
    n: int, features: int, units: list[int], bend: list[Bend], normalized: list[bool], biased: list[bool], seed: int
) -> None:
    stages = network(features, units, bend, normalized, biased, False)
    tensors = weights(stages, biased, seed, torch.float64)
    x = torch.randn(n, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    calls = library(torch.float64, Part.PERCEPTRON)
    one, *more = (perceptron_calls.predict(calls, x, stages, tensors, threads) for threads in (1, 2, 3))
    assert all(torch.equal(one, z) for z in more)
    torch.testing.assert_close(one, by_torch(x, stages, tensors), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("features", [20, 80])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_that_overflows_stays_alone(threads: int, features: int) -> None:
    """Also where its places in memory are another row's in the next block, which may be a shorter one."""
    stages = network(features, [20, 5, 3], [Bend.RELU] * 6, [True] * 3, [True] * 3, False)
    tensors = weights(stages, [True] * 6, 1, torch.float64)
    for n in (31, 33, 65, 100, 1025):
        x = torch.randn(n, features, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
        x[max(n - 12, 0) : n - 2] = torch.tensor([torch.inf, -torch.inf, torch.nan, 1e308, -1e308] * 2)[:, None]
        found = perceptron_calls.predict(library(torch.float64, Part.PERCEPTRON), x, stages, tensors, threads)
        torch.testing.assert_close(found, by_torch(x, stages, tensors), equal_nan=True)


def test_probabilities_of_many_classes() -> None:
    stages = (Stage(2, 40_000, Bend.SOFTMAX, dense=True),)
    tensors: Tensors = [torch.randn(40_000, 2, generator=torch.Generator().manual_seed(0)), None, None, None]
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(1))
    expected = (x.double() @ tensors[0].double().T).softmax(1)  # type: ignore[union-attr]  # there is a weight
    for found in (perceptron(x, stages, tensors), perceptron(x.requires_grad_(), stages, tensors).detach()):
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


def test_gradients_of_what_is_asked_for_alone() -> None:
    stages = network(70, [5, 4], [Bend.TANH] * 4, [True, True], [True] * 4, True)
    tensors = weights(stages, [True] * 4, 0, torch.float64)
    x = torch.randn(6, 70, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    places = [i for i, t in enumerate(tensors) if t is not None and i % 4 < 2]
    for learning in places:
        found = []
        for run in (perceptron, by_torch):
            given_ = [None if t is None else t.clone() for t in tensors]
            wanted = given_[learning]
            assert wanted is not None
            wanted.requires_grad_()
            run(x, stages, given_).square().sum().backward()  # type: ignore[operator]
            assert all(t is wanted or t is None or t.grad is None for t in given_)
            found.append(wanted.grad)
        torch.testing.assert_close(found[0], found[1])


def test_second_derivatives() -> None:
    stages = network(4, [5, 3], [Bend.TANH, Bend.SIGMOID] * 2, [True, False], [True, False, True], True)
    tensors = [
        t if t is None or i % 4 > 1 else t.requires_grad_() for i, t in enumerate(weights(stages, [True] * 3, 3, torch.float64))
    ]
    x = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def of(x: Tensor, *learning: Tensor) -> Tensor:
        own = iter(learning)
        return perceptron(x, stages, [next(own) if t is not None and t.requires_grad else t for t in tensors])

    learning = [t for t in tensors if t is not None and t.requires_grad]
    assert torch.autograd.gradcheck(of, (x, *learning))
    assert torch.autograd.gradgradcheck(of, (x, *learning), atol=1e-4)


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("features", [20, 80])
def test_what_is_not_finite_spreads_as_far_as_in_torch(features: int, value: float) -> None:
    stages = network(features, [7, 5, 3], [Bend.RELU] * 6, [False] * 3, [True] * 3, False)
    tensors = weights(stages, [True] * 3, 1, torch.float64)
    x = torch.randn(6, features, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[2, 3] = value
    slopes = torch.ones(6, 3, dtype=torch.float64)
    found, expected = (
        numbers(x.clone(), stages, [None if t is None else t.clone() for t in tensors], run, slopes)
        for run in (perceptron, by_torch)
    )
    for own, oracle in zip(found, expected, strict=True):
        torch.testing.assert_close(own, oracle, equal_nan=True)
