"""R2 and R3: the hand-written derivative of ELU, against autograd of the plain formula and against central differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call, grad, vmap

from laminar import layers as L
from laminar.errors import GradientError

RELATIVE = 1e-12  # float64, against autograd
DIFFERENCES = 1e-7  # float64, against central differences


def formula(x: Tensor, alpha: Tensor) -> Tensor:
    """ELU as the paper writes it, for autograd to differentiate; alpha (C,) along axis 1."""
    a = alpha.reshape(1, -1, *[1] * (x.dim() - 2))
    return torch.where(x > 0, x, a * torch.expm1(torch.minimum(x, torch.zeros_like(x))))


def relative(a: Tensor, b: Tensor) -> float:
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-300))


def built(shape: tuple[int, ...], **options: object) -> tuple[L.ELU, Tensor]:
    layer = L.ELU("uniform", **{"learnable": True, **options})
    x = torch.randn(shape, dtype=torch.float64) * 2
    layer(x)
    return layer, x.requires_grad_()


shapes = st.lists(st.integers(1, 4), min_size=2, max_size=5).map(tuple)


@given(shapes, st.integers(0, 2**31))
def test_equals_autograd(shape: tuple[int, ...], seed: int) -> None:
    torch.manual_seed(seed)
    layer, x = built(shape)
    dz = torch.randn(shape, dtype=torch.float64)
    alpha = layer.alpha.detach().clone().requires_grad_()
    want_z = formula(x, alpha)
    want = torch.autograd.grad(want_z, [x, alpha], dz)
    z = layer(x)
    got = torch.autograd.grad(z, [x, layer.alpha], dz)
    assert relative(z.detach(), want_z.detach()) <= RELATIVE
    assert all(relative(g, w) <= RELATIVE for g, w in zip(got, want, strict=True))


@given(shapes, st.integers(0, 2**31))
@settings(max_examples=25)
def test_equals_central_differences(shape: tuple[int, ...], seed: int) -> None:
    torch.manual_seed(seed)
    layer, x = built(shape)
    with torch.no_grad():  # a difference across the kink at 0 is no derivative
        x[x.abs() < 1e-3] = 0.5
    dz = torch.randn(shape, dtype=torch.float64)
    dx, dalpha = torch.autograd.grad(layer(x), [x, layer.alpha], dz)
    h = 1e-5

    def loss(xv: Tensor, av: Tensor) -> Tensor:
        return (functional_call(layer, {"alpha": av}, (xv,)) * dz).sum()

    for tensor, gradient, at in ((x, dx, 0), (layer.alpha, dalpha, 1)):
        for i in range(tensor.numel()):
            step = torch.zeros(tensor.numel(), dtype=torch.float64)
            step[i] = h
            values = [x.detach(), layer.alpha.detach()]
            up, down = list(values), list(values)
            up[at] = up[at] + step.view_as(tensor)
            down[at] = down[at] - step.view_as(tensor)
            difference = float(loss(*up) - loss(*down)) / (2 * h)
            assert abs(difference - float(gradient.flatten()[i])) <= DIFFERENCES * max(1.0, abs(difference))


@given(shapes, st.integers(0, 2**31))
@settings(max_examples=25)
def test_under_grad_and_vmap(shape: tuple[int, ...], seed: int) -> None:
    torch.manual_seed(seed)
    layer, x = built(shape)
    x = x.detach()
    dz = torch.randn(shape, dtype=torch.float64)
    alphas = torch.rand(3, shape[1], dtype=torch.float64)

    def ours(alpha: Tensor, x: Tensor) -> Tensor:
        return (functional_call(layer, {"alpha": alpha}, (x,)) * dz).sum()

    def plain(alpha: Tensor, x: Tensor) -> Tensor:
        return (formula(x, alpha) * dz).sum()

    got = vmap(grad(ours, argnums=(0, 1)), in_dims=(0, None))(alphas, x)
    want = vmap(grad(plain, argnums=(0, 1)), in_dims=(0, None))(alphas, x)
    assert all(relative(g, w) <= RELATIVE for g, w in zip(got, want, strict=True))


def test_vmap_over_observations_gives_a_gradient_for_each() -> None:
    layer, x = built((6, 3, 4, 4))
    x = x.detach()

    def ours(alpha: Tensor, x: Tensor) -> Tensor:
        return functional_call(layer, {"alpha": alpha}, (x,)).square().sum()

    each = vmap(grad(ours), in_dims=(None, 0))(layer.alpha.detach(), x)
    for got, observation in zip(each, x, strict=True):
        alpha = layer.alpha.detach().clone().requires_grad_()
        (want,) = torch.autograd.grad(formula(observation[None], alpha).square().sum(), alpha)
        assert relative(got, want) <= RELATIVE


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (2, 3, 4, 5), (2, 3, 2, 2, 2)])
def test_compiled_without_a_graph_break(shape: tuple[int, ...]) -> None:
    torch._dynamo.reset()
    layer, x = built(shape)
    dz = torch.randn(shape, dtype=torch.float64)
    want = torch.autograd.grad(layer(x), [x, layer.alpha], dz)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    got = torch.autograd.grad(compiled(x), [x, layer.alpha], dz)
    assert all(relative(g, w) <= RELATIVE for g, w in zip(got, want, strict=True))


@pytest.mark.slow
def test_compiled_by_inductor() -> None:
    torch._dynamo.reset()
    layer, x = built((8, 20, 12, 12))
    dz = torch.randn_like(x)
    want = torch.autograd.grad(layer(x), [x, layer.alpha], dz)
    got = torch.autograd.grad(torch.compile(layer, fullgraph=True)(x), [x, layer.alpha], dz)
    assert all(relative(g, w) <= RELATIVE for g, w in zip(got, want, strict=True))


@given(shapes)
@settings(max_examples=20)
def test_frozen_alpha_gets_no_gradient_and_dx_is_the_same(shape: tuple[int, ...]) -> None:
    layer, x = built(shape)
    (want,) = torch.autograd.grad(layer(x).square().sum(), x)
    layer.freeze("alpha")
    assert not layer.needs_gradient("alpha")
    layer(x).square().sum().backward()
    assert layer.alpha.grad is None
    assert x.grad is not None
    assert relative(x.grad, want) <= RELATIVE


def test_frozen_alpha_compiles_too() -> None:
    torch._dynamo.reset()
    layer, x = built((4, 3, 5, 5))
    layer.freeze("alpha")
    (want,) = torch.autograd.grad(layer(x).square().sum(), x)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    (got,) = torch.autograd.grad(compiled(x).square().sum(), x)
    assert relative(got, want) <= RELATIVE


def test_second_derivative_by_x_is_exact() -> None:
    layer, x = built((4, 3))
    alpha = layer.alpha.detach()
    (dx,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    (got,) = torch.autograd.grad(dx.square().sum(), x)
    (dx,) = torch.autograd.grad(formula(x, alpha).square().sum(), x, create_graph=True)
    (want,) = torch.autograd.grad(dx.square().sum(), x)
    assert relative(got, want) <= RELATIVE


def test_second_derivative_through_the_memory_is_refused_not_wrong() -> None:
    """dalpha is computed from what `forward` kept, which is a constant to `backward`: a term would be missing."""
    layer, x = built((4, 3))
    (dalpha,) = torch.autograd.grad(layer(x).square().sum(), layer.alpha, create_graph=True)
    with pytest.raises(GradientError) as caught:
        torch.autograd.grad(dalpha.sum(), x)
    assert str(caught.value) == (
        "layer 'elu' (ELU, alpha='uniform', learnable): expected a first derivative, received a request for the second. "
        "The memory of a hand-written backward is a constant to it: return no memory, or remove backward."
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_dtypes_are_kept_and_close(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, x = built((16, 5, 7, 7))
    want_z = layer(x)
    want = torch.autograd.grad(want_z.square().sum(), [x, layer.alpha])
    narrow_layer = L.ELU(layer.alpha.detach().to(dtype).clone(), learnable=True)
    narrow = x.detach().to(dtype).requires_grad_()
    z = narrow_layer(narrow)
    got = torch.autograd.grad(z.float().square().sum(), [narrow, narrow_layer.alpha])
    tolerance = 1e-5 if dtype is torch.float32 else 3e-2
    assert z.dtype is dtype
    assert got[0].dtype is dtype
    assert relative(z.double(), want_z) <= tolerance
    assert all(relative(g.double(), w) <= tolerance for g, w in zip(got, want, strict=True))


def test_under_autocast() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(L.Conv2D(6, 3), L.ELU("uniform", learnable=True), L.Flatten(), L.Dense(4))
    x = torch.randn(8, 2, 9, 9)
    net(x)
    plain = torch.autograd.grad(net(x).square().mean(), list(net.parameters()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = net(x)
        loss = z.float().square().mean()
    got = torch.autograd.grad(loss, list(net.parameters()))
    assert z.dtype is torch.bfloat16
    assert all(g.dtype is torch.float32 for g in got)
    assert all(relative(g, w) <= 0.05 for g, w in zip(got, plain, strict=True))


def test_large_and_special_inputs() -> None:
    layer = L.ELU(0.7)
    z = layer(torch.tensor([[1e30, -1e30, 0.0, -0.0, 88.8, -104.0, float("inf"), -float("inf")]]))
    assert z[0, 0] == 1e30
    torch.testing.assert_close(z[0, [1, 5, 7]], torch.full((3,), -0.7))
    assert torch.equal(z[0, 2:4], torch.zeros(2))
    assert z[0, 6] == float("inf")
    assert torch.isnan(layer(torch.full((1, 8), float("nan")))).all()


def test_alpha_starts_uniform_in_0_1() -> None:
    layer = L.ELU("uniform", learnable=True)
    layer(torch.zeros(1, 20_000))
    alpha = layer.alpha.detach()
    assert 0 <= alpha.min() < 0.001
    assert 0.999 < alpha.max() < 1
    assert abs(float(alpha.mean()) - 0.5) < 0.01


def test_fixed_alpha_can_learn_later_and_stop_again() -> None:
    """R3: what MATLAB needs a second class for."""
    layer = L.ELU(1.0)
    x = torch.randn(8, 3)
    layer(x)
    assert not layer.alpha.requires_grad
    layer.unfreeze("alpha")
    layer(x).sum().backward()
    assert layer.alpha.grad is not None
    layer.freeze("alpha")
    assert layer.alpha.grad is None


def test_equals_torch_for_alpha_one() -> None:
    x = torch.randn(64, 5, 3, 3)
    torch.testing.assert_close(L.ELU()(x), torch.nn.functional.elu(x), rtol=0, atol=0)
