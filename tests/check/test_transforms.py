"""A layer under vmap, torch.compile and in ONNX: faulty ones are named, right ones pass, what torch cannot do is said so."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from check.asking import asked, of
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.check.outcome import Outcome, Status


def outcome(check: str, layer: Any, *shapes: tuple[int, ...], **options: Any) -> Outcome:
    """Return what one check says."""
    return lm.check_layer(layer, *(shapes or [(3,)]), checks=[check], show=False, **options)[check]


class _WrongRule(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * 2

    @staticmethod
    def vmap(info: Any, in_dims: Any, *xs: Tensor) -> Any:
        return xs[0] * 3, in_dims[0]


class _NoRule(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * 2


class WrongRule(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return _WrongRule.apply(x)  # type: ignore[no-untyped-call]  # torch leaves apply untyped


class NoRule(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return _NoRule.apply(x)  # type: ignore[no-untyped-call]  # torch leaves apply untyped


class OtherUnderVmap(lm.Layer):
    """Gives other gradients where it finds itself under a transformation."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.w = self.learnable(shape)

    def forward(self, x: Tensor) -> Tensor:
        inside = torch._C._functorch.is_functorch_wrapped_tensor(self.w)
        return x * (self.w.detach() if inside else self.w) + 0 * self.w


def test_vmap_with_other_numbers() -> None:
    found = outcome("vmap", WrongRule)
    assert found.status is Status.FAIL
    assert found.expected == "under vmap over the observations what the batch gives"
    assert found.found.startswith("the output differs by up to ")
    assert found.fix == "Compute the same for a batch of one; in an autograd.Function, look at its vmap"


def test_vmap_with_other_gradients() -> None:
    found = outcome("vmap", OtherUnderVmap)
    assert found.status is Status.FAIL
    assert found.expected == "each observation's gradients under vmap as they are without"
    assert found.found.startswith("the gradient of w differs by up to ")


def test_vmap_where_torch_has_none() -> None:
    found = outcome("vmap", NoRule)
    assert found.status is Status.NOT_APPLICABLE
    assert found.summary.startswith("torch: In order to use an autograd.Function with functorch transforms")
    found = outcome("vmap", nn.LSTM(3, 4, batch_first=True), (5, 3))
    assert found.status is Status.NOT_APPLICABLE
    assert found.summary.startswith("torch: Batching rule not implemented for aten::lstm.input")
    found = outcome("vmap", nn.FractionalMaxPool2d(2, output_ratio=0.5), (3, 8, 8))
    assert found.summary == "it draws in inference too, other numbers under vmap than for a batch"
    found = outcome("vmap", nn.BatchNorm1d(3, track_running_stats=False))
    assert found.summary == "an observation's output depends on the others in inference too, as it declares"


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (nn.Linear(3, 4), [(3,)]),
        (nn.Embedding(10, 3), [(7,)]),
        (nn.MultiheadAttention(4, 2, batch_first=True), [(5, 4), (5, 4), (5, 4)]),
        (nn.BatchNorm2d(3), [(3, 5, 6)]),
        (L.ELU("uniform", learnable=True), [(3, 5, 6)]),
        (L.GRU(2, return_state=True), [(5, 3)]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_vmap_of_right_layers(layer: nn.Module, shapes: list[tuple[int, ...]]) -> None:
    found = outcome("vmap", layer, *shapes)
    assert found.status is Status.PASS, found
    assert found.summary.startswith("output equal")
    assert "; each observation's gradients equal" in found.summary


# ── compile ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class OtherWhenCompiled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if torch.compiler.is_compiling() else x


class CountsCalls(lm.Layer):
    """Its scale is a number that the compiler takes for a constant of the run."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (3.0 if torch.compiler.is_dynamo_compiling() else 2.0)

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        return dz * 2.0


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x


@pytest.mark.parametrize("make", [OtherWhenCompiled, CountsCalls])
def test_compiled_to_something_else(make: type[nn.Module]) -> None:
    found = outcome("compile", make)
    assert found.status is Status.FAIL
    assert found.expected == "the same output and gradients after torch.compile"
    assert found.found.startswith("the output differs by up to ")
    assert found.fix == "Look for what happens once, while the compiler traces: draws, attributes set in forward, .item()"


def test_a_break_in_the_graph_is_noted() -> None:
    found = outcome("compile", Branches)
    assert found.status is Status.NOTE
    number = 1 + Path(__file__).read_text().splitlines().index("        if x.sum() > 0:")
    line = f"(test_transforms.py, line {number}: if x.sum() > 0:)"
    assert found.summary == f"torch.compile cannot take it whole: Data-dependent branching {line}"
    found = outcome("compile", nn.LSTM(3, 4, batch_first=True), (5, 3))
    assert found.summary == "torch.compile cannot take it whole: Attempted to wrap RNN, GRU, or LSTM"


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(3), nn.Dropout(), L.ELU("uniform", learnable=True)], ids=str
)
def test_right_layers_are_compiled_whole(layer: nn.Module) -> None:
    found = outcome("compile", layer, (3, 5, 6))
    assert found.status is Status.PASS
    assert found.summary.startswith("one graph; output and gradients equal")


# ── onnx ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_export_only_on_request() -> None:
    found = outcome("onnx", nn.Linear(3, 4))
    assert (found.status, found.summary) == (Status.NOT_APPLICABLE, "only with onnx=True: it takes seconds")


def test_export_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = outcome("onnx", nn.Linear(3, 4), onnx=True)
    assert found.status is Status.NOT_APPLICABLE
    assert found.summary == 'onnx and onnxscript not installed. Type: pip install "laminar[onnx]"'


@pytest.mark.slow
def test_export() -> None:
    pytest.importorskip("onnxscript")
    for layer in (nn.Linear(3, 4), L.Dense(4, activation="relu")):
        found = outcome("onnx", layer, onnx=True)
        assert found.status is Status.NOTE
        assert found.summary.startswith("exported to ONNX: its own evaluator gives an output equal"), found.summary
    found = outcome("onnx", OtherWhenCompiled, onnx=True)
    assert found.summary.startswith("exported to ONNX, and computed otherwise there: the output differs by up to ")
    found = outcome("onnx", Branches, onnx=True)
    assert found.summary.startswith("no export to ONNX: ")
    assert found.status is Status.NOTE


class Doubled(torch.autograd.Function):
    """Twice the input, in a way that the compiler cannot follow: it takes the number of axes for another."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return 2 * x

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return (dz.reshape(-1) * torch.full_like(x, 2.0).permute(*range(x.dim())).contiguous().view(-1)).view(x.shape)


def test_what_the_compiler_logs_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    outcome = asked("compile", of(Doubled.apply), (4, 3))
    assert outcome.status in (Status.NOTE, Status.PASS)
    assert capfd.readouterr().err == ""
