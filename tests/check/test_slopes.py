"""Slopes by differences against derivatives that are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from laminar.check.slopes import Point, grain_of

FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "cube": (lambda x: x**3, lambda x: 3 * x**2),
    "sine": (torch.sin, torch.cos),
    "exponential": (torch.exp, torch.exp),
    "tanh": (torch.tanh, lambda x: 1 - torch.tanh(x) ** 2),
    "reciprocal": (lambda x: 1 / (2 + x * x), lambda x: -2 * x / (2 + x * x) ** 2),
    "constant": (lambda x: torch.ones_like(x), torch.zeros_like),
}


class Function(nn.Module):
    """A function of one input, with a learnable factor."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.factor = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.function(x)


class Counting(nn.Module):
    """Counts its calls in a buffer, and multiplies by the count."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return x * self.calls


class CountingInSecret(nn.Module):
    """The same, in an attribute that no state shows."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(-20, 3), min_size=1, max_size=4))
def test_slopes_are_derivatives(name: str, values: list[float]) -> None:
    function, derivative = FUNCTIONS[name]
    x = torch.tensor([values], dtype=torch.float64)
    point = Point(Function(function), [x])
    of_x = point.slopes("x", range(len(values)))
    right = 1.5 * derivative(x)[0] * point.dz
    size = float((1.5 * function(x)).abs().max()) + float(right.abs().max())
    assert float((of_x.central - right).abs().max()) <= 1e-8 * (1 + size)
    of_factor = point.slopes("factor", [0])
    assert float(of_factor.central[0]) == pytest.approx(
        float((function(x)[0] * point.dz).sum()), rel=1e-7, abs=1e-8 * (1 + size)
    )


@settings(max_examples=30, deadline=None)
@given(slopes=st.tuples(st.floats(-3, 3), st.floats(-3, 3)))
def test_at_a_kink_the_spread_is_half_of_what_the_sides_differ_by(slopes: tuple[float, float]) -> None:
    left, right = slopes
    point = Point(Function(lambda x: torch.where(x > 0, right * x, left * x)), [torch.zeros(1, 1, dtype=torch.float64)])
    found = point.slopes("x", [0])
    assert float(found.central[0]) == pytest.approx(1.5 * float(point.dz[0]) * (left + right) / 2, abs=1e-9)
    assert float(found.spread[0]) == pytest.approx(1.5 * abs(float(point.dz[0]) * (left - right)) / 2, abs=1e-9)


def test_all_tensors_against_autograd() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Tanh()).double()
    point = Point(module, [normal(3, 2, 5, 4)])
    x = point.xs[0].clone().requires_grad_()
    found = torch.autograd.grad(module(x), [x, *module.parameters()], point.output_gradients[0])
    for name, gradient in zip(point.tensors, found, strict=True):
        slopes = point.slopes(name, range(gradient.numel()))
        torch.testing.assert_close(slopes.central.reshape(gradient.shape), gradient, rtol=1e-6, atol=1e-8)
        assert float(slopes.spread.max()) < 1e-3
        way = normal(*gradient.shape, seed=4)
        along = point.along([{name: way}])
        assert float(along.central[0]) == pytest.approx(float((gradient * way).sum()), rel=1e-6, abs=1e-7)


def test_everything_is_put_back() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()
    x = normal(5, 3)
    before = {"x": x, **{n: t.clone() for n, t in module.state_dict().items()}}
    point = Point(module, [x])
    for name in point.tensors:
        point.slopes(name, [0, 1])
        point.along([{name: torch.ones_like(point.tensors[name])}])
    point.restore()
    after = {**module.state_dict(), **point.tensors}
    assert before.keys() == after.keys()
    assert all(torch.equal(before[n], after[n]) for n in before)


def test_numbers_are_drawn_anew_from_the_same_seed() -> None:
    point = Point(nn.Dropout(0.4).double(), [normal(4, 6)])
    assert point.repeats()
    slopes = point.slopes("x", range(24)).central
    kept = point.base != 0
    torch.testing.assert_close(slopes, torch.where(kept, point.dz / 0.6, 0), rtol=1e-7, atol=1e-8)


def test_buffers_start_from_the_same_values_each_time() -> None:
    assert Point(Counting(), [normal(2, 3)]).repeats()
    assert not Point(CountingInSecret(), [normal(2, 3)]).repeats()


@pytest.mark.parametrize(("dtype", "least", "most"), [(torch.float32, 1e-9, 1e-6), (torch.bfloat16, 1e-3, 1e-1)])
def test_rounding_inside_is_seen(dtype: torch.dtype, least: float, most: float) -> None:
    def narrow(x: Tensor) -> Tensor:
        return torch.tanh(x.to(dtype)).to(x.dtype)

    point = Point(Function(narrow), [normal(4, 6)])
    assert least < point.grain < most
    assert grain_of(point) == point.grain


@pytest.mark.parametrize(
    "function", [torch.tanh, torch.relu, torch.round, torch.sign, lambda x: 1e6 + x**3], ids=lambda f: f.__name__
)
def test_float64_is_not_taken_for_rounding(function: Callable[[Tensor], Tensor]) -> None:
    assert Point(Function(function), [normal(4, 6)]).grain == 0


def test_coarse_outputs_have_coarse_slopes() -> None:
    point = Point(Function(lambda x: torch.sin(x.float()).double()), [normal(4, 6)])
    found = point.slopes("x", range(24))
    off = (found.central - 1.5 * torch.cos(point.xs[0]).reshape(-1) * point.dz).abs()
    assert bool((off <= point.tolerance * 3 + found.spread).all())


def test_outputs_that_are_not_finite_do_not_count() -> None:
    x = torch.tensor([[-1.0, 2.0, 3.0]], dtype=torch.float64)
    point = Point(Function(torch.log), [x])
    assert point.dz.tolist()[0] == 0
    central = point.slopes("x", [0, 1, 2]).central.tolist()
    assert central[0] == 0
    assert central[1:] == pytest.approx([1.5 / 2 * float(point.dz[1]), 1.5 / 3 * float(point.dz[2])], rel=1e-7)


def test_what_stops_being_finite_has_no_slope() -> None:
    point = Point(Function(torch.sqrt), [torch.zeros(1, 1, dtype=torch.float64)])
    assert math.isnan(float(point.slopes("x", [0]).central[0]))


def test_work_grows_with_operations_and_products() -> None:
    small, large = (Point(nn.Linear(n, n).double(), [normal(4, n)]).work for n in (4, 256))
    many = Point(nn.Sequential(*(nn.Tanh() for _ in range(50))), [normal(2, 3)]).work
    assert small < 10 < large
    assert many >= 50
