"""Mistakes in the backward of dense layers, activations, gates and a recurrent cell: terms, axes, order, memory."""

from __future__ import annotations

import torch
from torch import Tensor

import laminar as lm
from faults.fault import Fault
from laminar.errors import ShapeError

# ── activations ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class ELU(lm.Layer):
    """z = x for x > 0, alpha (exp(x) - 1) elsewhere, with one alpha for each channel."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.alpha = self.learnable(shape[0], init="uniform")

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.per_channel(self.alpha, x) * torch.expm1(x.clamp(max=0)))

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        below = x <= 0
        dx = torch.where(below, dz * (self.per_channel(self.alpha, x) + z), dz)
        return dx, self.sum_to_channels(torch.where(below, dz * torch.expm1(x.clamp(max=0)), 0))


class ELUWithoutAlpha(ELU):
    """The derivative of the usual ELU, 1 + z, where it is alpha + z."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        below = x <= 0
        dx = torch.where(below, dz * (1 + z), dz)
        return dx, self.sum_to_channels(torch.where(below, dz * torch.expm1(x.clamp(max=0)), 0))


class ELUWithMemory(lm.Layer):
    """z = x for x > 0, alpha (exp(x) - 1) elsewhere; exp(x) is kept for backward."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.alpha = self.learnable(shape[0], init="uniform")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        e = torch.exp(x.clamp(max=0))
        return torch.where(x > 0, x, self.per_channel(self.alpha, x) * e.sub(1)), e

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        below = x <= 0
        dx = torch.where(below, dz * self.per_channel(self.alpha, x) * memory, dz)
        return dx, self.sum_to_channels(torch.where(below, dz * (memory - 1), 0))


class ELUMemoryChanged(ELUWithMemory):
    """The memory is changed in place after it was taken: backward finds exp(x) - 1 where exp(x) was meant."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        e = torch.exp(x.clamp(max=0))
        return torch.where(x > 0, x, self.per_channel(self.alpha, x) * e.sub_(1)), e


class Swish(lm.Layer):
    """z = x sigmoid(beta x), with one beta for each feature; the sigmoid is kept for backward."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.beta = self.learnable(shape[-1], init="ones")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        s = torch.sigmoid(self.beta * x)
        return x * s, s

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        s = memory
        slope = x * s * (1 - s)
        return dz * (s + self.beta * slope), (dz * x * slope).sum_to_size(self.beta.shape)


class SwishWithoutProductRule(Swish):
    """The product rule stops after its first term."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        s = memory
        slope = x * s * (1 - s)
        return dz * s, (dz * x * slope).sum_to_size(self.beta.shape)


class SmoothSwish(lm.Layer):
    """z = x sigmoid(x); backward computes the sigmoid again, so that it can be differentiated itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        s = torch.sigmoid(x)
        return dz * (s + x * s * (1 - s))


class SwishFrozenSigmoid(SmoothSwish):
    """The sigmoid in backward is a constant to the second derivative."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        with torch.no_grad():
            s = torch.sigmoid(x)
        return dz * (s + x * s * (1 - s))


class PReLU(lm.Layer):
    """z = x for x > 0, alpha x elsewhere, with one alpha for each channel of an image."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.alpha = self.learnable(shape[0], init="uniform")

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.per_channel(self.alpha, x) * x)

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        dx = torch.where(x > 0, dz, self.per_channel(self.alpha, x) * dz)
        return dx, self.sum_to_channels(torch.where(x > 0, 0, dz * x))


class PReLUWrongBroadcast(PReLU):
    """In backward alpha stands along the last axis: it fits an image that is as wide as it has channels."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        dx = torch.where(x > 0, dz, self.alpha * dz)
        return dx, self.sum_to_channels(torch.where(x > 0, 0, dz * x))


class Maxout(lm.Layer):
    """The larger one of each pair of features: (F,) -> (F/2,); which one it was is kept for backward."""

    def check_input(self, shape: tuple[int, ...]) -> None:
        if shape[-1] % 2:
            raise ShapeError(f"{self.label}: expected an even number of features, received {shape[-1]}. Add one more.")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, place = x.unflatten(-1, (-1, 2)).max(-1)
        return z, place

    def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: Tensor) -> Tensor:
        pairs = torch.zeros_like(x).unflatten(-1, (-1, 2))
        dx: Tensor = pairs.scatter(-1, memory[..., None], dz[..., None]).flatten(-2)
        return dx


class MaxoutRemembersLastCall(Maxout):
    """Which one was the larger is kept on the layer: a second call takes the place of the first."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        largest: tuple[Tensor, Tensor] = x.unflatten(-1, (-1, 2)).max(-1)
        self.place = largest[1]
        return largest[0]

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:  # type: ignore[override]
        pairs = torch.zeros_like(x).unflatten(-1, (-1, 2))
        dx: Tensor = pairs.scatter(-1, self.place[..., None], dz[..., None]).flatten(-2)
        return dx


# ── dense layers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class SquareDense(lm.Layer):
    """z = x W + b, with as many units as features."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.weight = self.learnable((shape[-1], shape[-1]))
        self.bias = self.learnable(shape[-1], init="zeros")

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dx = dz @ self.weight.mT
        return dx, x.flatten(0, -2).mT @ dz.flatten(0, -2), dz.sum_to_size(self.bias.shape)


class SquareDenseTransposed(SquareDense):
    """dx by the weights instead of their transpose: a square matrix hides it."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dx = dz @ self.weight
        return dx, x.flatten(0, -2).mT @ dz.flatten(0, -2), dz.sum_to_size(self.bias.shape)


class ScaleShift(lm.Layer):
    """z = scale x + shift, with one scale and one shift for each feature."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.scale = self.learnable(shape[-1], init="ones")
        self.shift = self.learnable(shape[-1], init="zeros")

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x + self.shift

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dscale = (dz * x).sum_to_size(self.scale.shape)
        return self.scale * dz, dscale, dz.sum_to_size(self.shift.shape)


class ScaleShiftSwapped(ScaleShift):
    """The gradients of scale and shift in each other's place."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dscale = (dz * x).sum_to_size(self.scale.shape)
        return self.scale * dz, dz.sum_to_size(self.shift.shape), dscale


class ScaleShiftWrongAxis(ScaleShift):
    """The scale's gradient is summed over the features, and left by time: there are as many steps as features."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dscale = (dz * x).sum((0, -1))
        return self.scale * dz, dscale, dz.sum_to_size(self.shift.shape)


class ScaleShiftFrozenScale(ScaleShift):
    """With a frozen scale backward returns dx alone, and forgets that the shift still learns."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        if not self.needs_gradient("scale"):
            return (self.scale * dz,)
        dscale = (dz * x).sum_to_size(self.scale.shape)
        return self.scale * dz, dscale, dz.sum_to_size(self.shift.shape)


# ── two inputs ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Gate(lm.Layer):
    """z = a sigmoid(b) of two inputs: b decides how much of a passes."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a * torch.sigmoid(b)

    def backward(self, x: tuple[Tensor, Tensor], z: Tensor, dz: Tensor) -> tuple[tuple[Tensor, Tensor]]:
        a, b = x
        s = torch.sigmoid(b)
        return ((dz * s, dz * a * s * (1 - s)),)


class GateWithoutContent(Gate):
    """The gate's own gradient forgets what it gates."""

    def backward(self, x: tuple[Tensor, Tensor], z: Tensor, dz: Tensor) -> tuple[tuple[Tensor, Tensor]]:
        b = x[1]
        s = torch.sigmoid(b)
        return ((dz * s, dz * s * (1 - s)),)


class Bilinear(lm.Layer):
    """z_k = a W_k b of two inputs of the same size, four units."""

    def build(self, a: tuple[int, ...], b: tuple[int, ...]) -> None:
        self.weight = self.learnable((4, a[-1], b[-1]))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("...i,kij,...j->...k", a, self.weight, b)

    def backward(self, x: tuple[Tensor, Tensor], z: Tensor, dz: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        a, b = x
        da = torch.einsum("...k,kij,...j->...i", dz, self.weight, b)
        db = torch.einsum("...k,kij,...i->...j", dz, self.weight, a)
        return (da, db), torch.einsum("...k,...i,...j->kij", dz, a, b)


class BilinearTransposed(Bilinear):
    """The weights' gradient has the two inputs in each other's place."""

    def backward(self, x: tuple[Tensor, Tensor], z: Tensor, dz: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        a, b = x
        da = torch.einsum("...k,kij,...j->...i", dz, self.weight, b)
        db = torch.einsum("...k,kij,...i->...j", dz, self.weight, a)
        return (da, db), torch.einsum("...k,...i,...j->kij", dz, b, a)


class Cell(lm.Layer):
    """One step of a recurrent network, z = tanh(x W + h U + b), from what comes in and what was before."""

    def build(self, x: tuple[int, ...], h: tuple[int, ...]) -> None:
        self.kernel = self.learnable((x[-1], h[-1]))
        self.recurrent = self.learnable((h[-1], h[-1]))
        self.bias = self.learnable(h[-1], init="zeros")

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(x @ self.kernel + h @ self.recurrent + self.bias)

    def backward(self, x: tuple[Tensor, Tensor], z: Tensor, dz: Tensor) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
        new, old = x
        da = dz * (1 - z * z)
        flat = da.flatten(0, -2)
        gradients = {
            "kernel": new.flatten(0, -2).mT @ flat,
            "recurrent": old.flatten(0, -2).mT @ flat,
            "bias": da.sum_to_size(self.bias.shape),
        }
        return (da @ self.kernel.mT, da @ self.recurrent.mT), gradients


class CellWrongState(Cell):
    """The recurrent weights' gradient is taken with what comes in, where it is what was before."""

    def backward(self, x: tuple[Tensor, Tensor], z: Tensor, dz: Tensor) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
        new, _ = x
        da = dz * (1 - z * z)
        flat = da.flatten(0, -2)
        gradients = {
            "kernel": new.flatten(0, -2).mT @ flat,
            "recurrent": new.flatten(0, -2).mT @ flat,
            "bias": da.sum_to_size(self.bias.shape),
        }
        return (da @ self.kernel.mT, da @ self.recurrent.mT), gradients


FAULTS: list[Fault] = [
    Fault("alpha taken for 1 in alpha + z", "backward-autograd", ELUWithoutAlpha, ELU, (3, 4, 4)),
    Fault("the product rule's second term missing", "backward-autograd", SwishWithoutProductRule, Swish, (6,)),
    Fault("alpha broadcast along the width, not the channels", "backward-autograd", PReLUWrongBroadcast, PReLU, (5, 4, 5)),
    Fault("weight not transposed in dx of a square matrix", "backward-autograd", SquareDenseTransposed, SquareDense, (6,)),
    Fault("gradients of two learnables swapped", "backward-autograd", ScaleShiftSwapped, ScaleShift, (6,)),
    Fault("gradient summed over the wrong axis", "backward-autograd", ScaleShiftWrongAxis, ScaleShift, (5, 5)),
    Fault("the gate's gradient without what it gates", "backward-autograd", GateWithoutContent, Gate, ((6,), (6,))),
    Fault("the two inputs swapped in the weights' gradient", "backward-autograd", BilinearTransposed, Bilinear, ((5,), (5,))),
    Fault("input in place of the state in a recurrent gradient", "backward-autograd", CellWrongState, Cell, ((5,), (5,))),
    Fault("memory changed in place after it was taken", "gradient-differences", ELUMemoryChanged, ELUWithMemory, (3, 4, 4)),
    Fault("memory kept on the layer", "used-twice", MaxoutRemembersLastCall, Maxout, (6,)),
    Fault("part of backward under no_grad", "second-derivative", SwishFrozenSigmoid, SmoothSwish, (6,)),
    Fault("one frozen learnable leaves out the other's gradient", "frozen", ScaleShiftFrozenScale, ScaleShift, (6,)),
]
