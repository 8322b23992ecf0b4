"""Whether compiled kernels compute what torch computes, on this machine: asked once in a process, in a few milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from laminar.kernels import calls as k
from laminar.kernels import last_trust, lstm_calls, perceptron_calls
from laminar.kernels.parts import Part
from laminar.kernels.perceptron_calls import Bend, Stage

__all__ = ["first_disagreement"]

_EPSILON = 1e-5


def first_disagreement(calls: Any, dtype: torch.dtype, part: Part) -> str | None:
    """Return the name of the first kernel that differs from torch in float64 by more than rounding; None if none does.

    Compilers have faults, and a cache can be damaged: what would come of it are networks that learn a little worse.

    Args:
        calls: the library.
        dtype: of its tensors.
        part: which library it is.
    """
    tolerance = 200 * torch.finfo(dtype).eps
    for name, found, expected in _pairs(calls, dtype, part):
        assert found is not None  # every gradient was asked for
        off = (found.double() - expected).abs().max() / expected.abs().max()
        if not off <= tolerance:
            return name
    return None


_Pairs: TypeAlias = Iterator[tuple[str, Tensor | None, Tensor]]


class _Draws:
    """Random numbers of one dtype, in float64, always the same."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._generator = torch.Generator().manual_seed(0)

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator, dtype=torch.float64).to(self._dtype).double()

    def leaf(self, *shape: int) -> Tensor:
        return self(*shape).requires_grad_()

    def like(self, z: Tensor) -> Tensor:
        """Return a gradient of z's shape that has to do with z, so that no sum of their products is next to nothing."""
        return z.detach() + self(*z.shape)


def _same(t: Tensor) -> Tensor:
    return t


def _pairs(calls: Any, dtype: torch.dtype, part: Part) -> _Pairs:
    """Yield name, what the kernel returns, and the same in float64 by torch's operations and autograd.

    The sizes are odd, so that whole vectors and what is left of a row both occur.
    """
    draw = _Draws(dtype)
    apart = torch.autograd.graph.saved_tensors_hooks(_same, _same)  # from a checkpoint, say, that the first use happens in
    with torch.enable_grad(), torch.autocast("cpu", enabled=False), apart:
        for kind in _OF[part]:
            yield from kind(calls, dtype, draw)


def _of_convolution(calls: Any, dtype: torch.dtype, draw: _Draws) -> _Pairs:
    x, weight, bias = draw(3, 2, 9, 30), draw.leaf(5, 2, 3, 5), draw.leaf(5)
    y = F.conv2d(x, weight, bias)
    dy = draw.like(y)
    slopes = torch.autograd.grad((y * dy).sum(), (weight, bias))
    x, weight, bias = (t.detach().to(dtype) for t in (x, weight, bias))
    yield "convolution", k.convolve(calls, x, weight, bias), y.detach()
    made = k.convolve_backward(calls, x, dy.to(dtype), weight, (True, True))
    yield from zip(["gradient of a kernel", "gradient of a bias"], made, slopes, strict=True)


def _of_dense(calls: Any, dtype: torch.dtype, draw: _Draws) -> _Pairs:
    given = x, weight, bias = draw.leaf(5, 131), draw.leaf(7, 131), draw.leaf(7)
    y = F.linear(x, weight, bias)
    dy = draw.like(y)
    slopes = torch.autograd.grad((y * dy).sum(), given)
    x, weight, bias = (t.detach().to(dtype) for t in given)
    yield "dense layer", k.dense(calls, x, weight, bias), y.detach()
    made = k.dense_backward(calls, x, dy.to(dtype), weight, (True, True, True))
    yield from zip(["gradient of a dense layer"] * 3, made, slopes, strict=True)


def _of_normalization(calls: Any, dtype: torch.dtype, draw: _Draws) -> _Pairs:
    x, weight, bias, alpha = draw.leaf(4, 3, 5, 7), draw.leaf(3), draw.leaf(3), _alpha()
    own_x, own_weight, own_bias, own_alpha = (t.detach().to(dtype) for t in (x, weight, bias, alpha))
    normal = F.batch_norm(x, None, None, weight, bias, training=True, eps=_EPSILON)
    dz = draw.like(x)
    for kind in k.Kind:
        with_alpha = kind == k.Kind.ELU
        expected = _activated(normal, kind, alpha)
        wanted = (x, weight, bias, alpha) if with_alpha else (x, weight, bias)
        slopes = torch.autograd.grad((expected * dz).sum(), wanted, retain_graph=True)
        how = k.Normalization(None, 0.1, _EPSILON, kind)
        z, found = k.normalize(calls, own_x, own_weight, own_bias, own_alpha, how)
        yield f"normalization with {kind.name}", z, expected.detach()
        made = k.normalize_backward(calls, own_x, z, dz.to(dtype), found, kind, own_alpha, (True, True, True, with_alpha))
        yield from zip([f"gradient of a normalization with {kind.name}"] * len(slopes), made, slopes, strict=False)


def _of_elu(calls: Any, dtype: torch.dtype, draw: _Draws) -> _Pairs:
    x, alpha = draw.leaf(4, 3, 5, 7), _alpha()
    expected = _activated(x, k.Kind.ELU, alpha)
    dz = draw.like(expected)
    slopes = torch.autograd.grad((expected * dz).sum(), (x, alpha))
    x, alpha = x.detach().to(dtype), alpha.detach().to(dtype)
    z = k.elu(calls, x, alpha)
    yield "elu", z, expected.detach()
    yield from zip(["gradient of elu"] * 2, k.elu_backward(calls, x, z, dz.to(dtype), alpha, True), slopes, strict=True)


def _of_lstm(calls: Any, dtype: torch.dtype, draw: _Draws) -> _Pairs:
    shapes = (13, 3, 5), (13, 16), (13, 16), (64, 5), (64, 16), (64,)
    given = [draw.leaf(*shape) for shape in shapes]
    x, h, c, weight_ih, weight_hh, bias = given
    zeros = torch.zeros_like(bias)
    out, _, last = torch.lstm(x, (h[None], c[None]), (weight_ih, weight_hh, bias, zeros), True, 1, 0.0, True, False, True)
    dout, dlast = draw.like(out), draw.like(last[0])
    slopes = torch.autograd.grad((out * dout).sum() + (last[0] * dlast).sum(), given)
    own = [t.detach().to(dtype) for t in given]
    found = lstm_calls.forward(calls, own[0], own[1], own[2], own[3], own[4], own[5])
    yield "LSTM", found[0], out.detach()
    made = lstm_calls.backward(calls, tuple(own[:5]), found, dout.to(dtype).contiguous(), dlast.to(dtype), True)
    yield from zip(["gradient of an LSTM"] * len(slopes), made, slopes, strict=True)


def _of_perceptron(calls: Any, dtype: torch.dtype, draw: _Draws) -> _Pairs:
    stages = (
        Stage(70, 19, Bend.RELU, True),
        Stage(19, 19, Bend.NONE, False, True, 0.1, _EPSILON),
        Stage(19, 5, Bend.SOFTMAX, True),
    )
    given = [draw.leaf(*shape) for shape in ((11, 70), (19, 70), (19,), (19,), (19,), (5, 19), (5,))]
    x, weight, bias, scale, shift, weight2, bias2 = given
    hidden = F.batch_norm(F.linear(x, weight, bias).relu(), None, None, scale, shift, training=True, eps=_EPSILON)
    z = F.linear(hidden, weight2, bias2).softmax(1)
    dz = draw.like(z)
    slopes = torch.autograd.grad((z * dz).sum(), given)
    x, *own = (t.detach().to(dtype) for t in given)
    tensors = [t for i in range(3) for t in (*own[2 * i : 2 * i + 2], None, None)]
    out, kept = perceptron_calls.forward(calls, x, stages, tensors)
    yield "perceptron", out, z.detach()
    made = perceptron_calls.backward(calls, (x, kept, dz.to(dtype)), stages, tensors, [True] * 13)
    found = [t for t in made if t is not None]
    yield from zip(["gradient of a perceptron"] * len(slopes), found, slopes, strict=True)
    running = draw(19), draw(19).abs() + 0.5
    x = draw(70, 70)  # three blocks, of two threads
    hidden = F.batch_norm(F.linear(x, weight, bias).relu(), *running, scale, shift, eps=_EPSILON)
    tensors[6:8] = (t.to(dtype) for t in running)
    by_running = stages[0], stages[1]._replace(own=False), stages[2]
    predicted = perceptron_calls.predict(calls, x.to(dtype), by_running, tensors, 2)
    yield "perceptron's prediction", predicted, F.linear(hidden, weight2, bias2).softmax(1).detach()


def _alpha() -> Tensor:
    return torch.tensor([0.5, -0.25, 0.0], dtype=torch.float64, requires_grad=True)


def _activated(y: Tensor, kind: k.Kind, alpha: Tensor) -> Tensor:
    if kind == k.Kind.IDENTITY:
        return y
    if kind == k.Kind.RELU:
        return y.relu()
    return torch.where(y > 0, y, alpha.reshape(-1, 1, 1) * torch.expm1(y.clamp(max=0)))


_OF: dict[Part, tuple[Callable[[Any, torch.dtype, _Draws], _Pairs], ...]] = {
    Part.CONTIGUOUS: (_of_convolution, _of_dense, _of_normalization, _of_elu),
    Part.LAST: (last_trust.pairs,),
    Part.DROPOUT: (),  # the kernel draws what torch draws, or not: see `dropout.agrees`
    Part.LSTM: (_of_lstm,),
    Part.PERCEPTRON: (_of_perceptron,),
}
