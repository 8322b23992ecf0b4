"""Steps of small perceptrons, without autograd: its bookkeeping takes longer than the one kernel that computes the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from laminar.fit.aim import Aim
from laminar.fit.convert import Batch
from laminar.fit.steps import EagerStep, Step
from laminar.kernels import perceptron_calls
from laminar.kernels.library import library
from laminar.kernels.parts import Part
from laminar.kernels.switch import enabled, serve
from laminar.layers.chain import in_order, run_chain, runs_in_order
from laminar.layers.core import Flatten
from laminar.layers.hooks import has_hooks
from laminar.layers.preprocessing import Normalization, Rescaling
from laminar.layers.recompute import recomputes
from laminar.layers.stretch import Stretch, stretch_of

__all__ = ["ShortStep"]


_BEFORE = (Flatten, Normalization, Rescaling, nn.Flatten, nn.Identity)  # learn nothing, and draw no random numbers
_SETTINGS = ("_trainable", "_emits_logits", "momentum", "epsilon")  # which may be changed while a network trains


@dataclass(frozen=True)
class _Plan:
    """What a step does.

    Attributes:
        marks: what it was made from, and is good for.
        before: layers that learn nothing.
        stretch: all that come behind them.
        needed: for x and each of the stretch's tensors, whether there is a gradient.
        learning: where these go, None for no gradient.
    """

    marks: list[Any]
    before: list[nn.Module]
    stretch: Stretch
    needed: list[bool]
    learning: list[Tensor | None]


class ShortStep(Step):
    """A step of a chain that is one stretch of dense layers, but for layers before it that learn nothing.

    Forward and backward are a call of the kernel each; between them autograd differentiates the loss by the network's output.
    Gradients are where they always are. As soon as anybody would see a difference (hooks of modules or parameters, layers that
    are computed once more, a network that has changed, anomaly detection), the step is taken operation by operation.

    Args:
        aim: what is made small.
        eager: takes the steps that this one does not, and has the updates of both.
    """

    def __init__(self, aim: Aim, eager: EagerStep) -> None:
        self._aim, self._eager = aim, eager
        self._plan: _Plan | None = None
        self._unfit: list[Any] | None = None  # the marks of what there was no plan for

    @staticmethod
    def suits(aim: Aim) -> bool:
        """Return whether it may be worth looking at each batch."""
        plain = aim.is_plain and not aim.execution.bfloat16 and runs_in_order(aim.model)
        return plain and all(p.dim() <= 2 and p.is_cpu for p in aim.model.parameters())

    def __call__(self, batch: Batch) -> tuple[Any, Any]:
        """See `Step`."""
        found = self._look(batch.x) if isinstance(batch.x, Tensor) and not torch.is_anomaly_enabled() else None
        return self._eager(batch) if found is None else self._learned(*found, batch)

    def _look(self, x: Tensor) -> tuple[_Plan, Tensor] | None:
        """Return how to learn from x (B, ...), and the rows that the stretch is given; None for operation by operation."""
        model = self._aim.model
        with enabled(), self._aim.logits(), torch.no_grad():
            marks = _marks(model, x)
            if marks is None or marks == self._unfit:
                return None
            if self._plan is None or self._plan.marks != marks:
                self._plan = _plan_of(model, x, marks)
                self._unfit = marks if self._plan is None else None
            plan = self._plan
            if plan is None:
                return None
            rows = run_chain(plan.before, x) if plan.before else x
            return (plan, rows) if serve(rows, part=Part.PERCEPTRON, least=1) else None

    def _learned(self, plan: _Plan, x: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Learn from a batch whose rows x (B, features) are."""
        calls, stages, tensors = library(x.dtype, Part.PERCEPTRON), plan.stretch.stages, plan.stretch.tensors
        output, kept = perceptron_calls.forward(calls, x, stages, tensors)
        losses = self._aim.losses(output.requires_grad_(), batch)
        (slopes,) = torch.autograd.grad(losses, output)
        made = perceptron_calls.backward(calls, (x, kept, slopes.contiguous()), stages, tensors, plan.needed)
        for parameter in self._eager.updates.parameters:
            parameter.grad = None
        for tensor, gradient in zip(plan.learning, made[1:], strict=True):
            if tensor is not None:
                tensor.grad = gradient
        self._eager.updates.take(batch.size)
        return losses.detach(), output.detach()

    def finish(self) -> None:
        """See `Step`."""
        self._eager.finish()


def _marks(model: nn.Module, x: Tensor) -> list[Any] | None:
    """Return what a plan depends on, as values that can be compared; None where somebody looks on."""
    marks: list[Any] = [x.shape, x.dtype, torch.get_num_threads()]
    for module in (model, *in_order(model)):
        of = module.__dict__
        if "forward" in of or has_hooks(module) or recomputes(module):
            return None
        marks.append((id(module), module.training, id(of.get("activation")), *map(of.get, _SETTINGS)))
        for t in (*module._parameters.values(), *module._buffers.values()):
            if t is None:
                continue
            if t._backward_hooks or t._post_accumulate_grad_hooks:
                return None
            marks.append((id(t), t.data_ptr(), t.dtype, t.stride(), t.requires_grad))
    return marks


def _plan_of(model: nn.Module, x: Tensor, marks: list[Any]) -> _Plan | None:
    """Return how a step is taken; None where it is not one stretch, or two of its layers share what they learn."""
    modules = in_order(model)
    first = next((i for i, m in enumerate(modules) if type(m) not in _BEFORE), len(modules))
    before, behind = modules[:first], modules[first:]
    rows = run_chain(before, x) if before else x
    with torch.enable_grad():
        stretch = stretch_of(behind, rows) if behind else None
    if stretch is None or stretch.taken != len(behind):
        return None
    learning = [t if t is not None and t.requires_grad else None for t in stretch.tensors]
    ids = [id(t) for t in learning if t is not None]
    if not ids or len(ids) != len(set(ids)):
        return None
    return _Plan(marks, before, stretch, [False, *(t is not None for t in learning)], learning)
