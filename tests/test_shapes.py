"""Shapes of any module: what a trace says equals what a run gives, and the module is as it was."""

from __future__ import annotations

import copy
import math
import random
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.errors import LayerError, ShapeError
from laminar.shapes import (
    Trace,
    format_batch,
    format_shape,
    normalize_shape,
    output_shape,
    real_tensors,
    trace,
    tracing,
)

INTEGERS = torch.int64


class PlainTensor(nn.Module):
    """Holds a tensor that is neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.arange(1.0, 4.0)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class ReadsAValue(PlainTensor):
    """Cannot run on meta: it branches on a number. Draws, writes into a tensor, and counts, too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.inner = nn.Linear(3, 4)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.scale.mul_(2)
        self.seen.append(x)
        torch.rand(3)
        return self.inner(x * self.scale) if float(x.detach().sum()) < 1e30 else x


class Replaces(nn.Module):
    """Assigns buffers, attributes, a sub-module and entries of containers in its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.last: Tensor | None = None
        self.head: nn.Module | None = None
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        self.last = x
        self.seen["x"] = x
        if self.head is None:
            self.head = nn.Linear(3, 2)
        return self.head(x - self.mean)


class RunningStatistics(nn.Module):
    """Writes in place, into a whole buffer and into a part of one."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        self.mean.mul_(0.9).add_(x.mean(0), alpha=0.1)
        self.mean[0] = 7.0
        return x - self.mean


class Draws(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        noise = torch.randn(x.shape) + torch.rand_like(x) + torch.zeros(x.shape, device="cpu")
        return x + noise * torch.arange(x.shape[1], device=x.device)


class TwoOutputs(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> dict[str, Any]:
        return {"sum": a + b, "parts": (a[:, :1], [b])}


def chain() -> nn.Module:
    inner = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), nn.GELU(), nn.MaxPool2d(2))
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), inner, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))


# name -> (module, shapes of its inputs, dtype)
MODULES: dict[str, tuple[Any, list[tuple[int, ...]], torch.dtype | None]] = {
    "Linear": (lambda: nn.Linear(3, 4), [(3,)], None),
    "Linear on sequences": (lambda: nn.Linear(3, 4, bias=False), [(7, 3)], None),
    "Linear in float64": (lambda: nn.Linear(3, 4).double(), [(3,)], None),
    "Linear in bfloat16": (lambda: nn.Linear(3, 4).bfloat16(), [(3,)], None),
    "Bilinear": (lambda: nn.Bilinear(3, 4, 5), [(3,), (4,)], None),
    "Conv1d": (lambda: nn.Conv1d(2, 4, 3, stride=2, padding="valid"), [(2, 9)], None),
    "Conv2d": (lambda: nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, dilation=2, groups=2), [(4, 9, 8)], None),
    "Conv2d, circular": (lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), [(1, 5, 5)], None),
    "Conv3d": (lambda: nn.Conv3d(1, 2, 2), [(1, 4, 5, 6)], None),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, groups=2), [(4, 5, 6)], None),
    "LSTM": (lambda: nn.LSTM(5, 7, num_layers=3, batch_first=True), [(6, 5)], None),
    "LSTM, both ways": (lambda: nn.LSTM(5, 7, bidirectional=True, batch_first=True), [(6, 5)], None),
    "GRU": (lambda: nn.GRU(5, 7, batch_first=True), [(6, 5)], None),
    "LSTMCell": (lambda: nn.LSTMCell(5, 7), [(5,)], None),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(8, 2, batch_first=True), [(6, 8), (5, 8), (5, 8)], None),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), [(6, 8)], None),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), [(3, 4, 4)], None),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), [(4, 3, 3)], None),
    "Embedding": (lambda: nn.Embedding(10, 4), [(6,)], INTEGERS),
    "Embedding, then attention": (
        lambda: nn.Sequential(nn.Embedding(10, 4), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)),
        [(6,)],
        INTEGERS,
    ),
    "PixelShuffle": (lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.PixelShuffle(2)), [(4, 3, 3)], None),
    "chain": (chain, [(3, 10, 10)], None),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), [(3,)], None),
    "spectral norm": (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 4)), [(3,)], None),
    "no parameters": (nn.Softplus, [(3, 2)], None),
    "compiled": (lambda: torch.compile(nn.Linear(3, 4), backend="eager"), [(3,)], None),
    "plain tensor": (PlainTensor, [(3,)], None),
    "reads a value": (ReadsAValue, [(3,)], None),
    "replaces": (Replaces, [(3,)], None),
    "running statistics": (RunningStatistics, [(3,)], None),
    "draws": (Draws, [(3,)], None),
    "two inputs, nested outputs": (TwoOutputs, [(4,), (4,)], None),
    "in training mode": (lambda: nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5)).train(), [(3,)], None),
    "in inference mode": (lambda: nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5)).eval(), [(3,)], None),
    "mixed modes": (lambda: nn.Sequential(nn.BatchNorm1d(3).eval(), nn.Dropout(0.5).train()), [(3,)], None),
}


def state(module: nn.Module) -> Any:
    """Return everything that a module and its parts hold: tensors by identity and value, other objects by identity."""

    def value(v: Any) -> Any:
        if isinstance(v, Tensor):
            return id(v), v.dtype, v.device, v.requires_grad, None if v.is_meta else v.tolist()
        if isinstance(v, dict):
            return {k: value(e) for k, e in v.items()}
        return [value(e) for e in v] if isinstance(v, (list, tuple)) else id(v)

    return [(name, value(sub.__dict__)) for name, sub in module.named_modules()]


def dropped(shape: torch.Size, batch: int) -> tuple[int, ...]:
    axis = list(shape).index(batch)
    return (*shape[:axis], *shape[axis + 1 :])


def real_outputs(module: nn.Module, shapes: list[tuple[int, ...]], dtype: torch.dtype | None) -> tuple[Any, Any]:
    """Run a copy on a batch of 11, a number that is nobody's axis."""
    module = copy.deepcopy(module).eval()
    if dtype is None:
        dtype = next((p.dtype for p in module.parameters()), torch.get_default_dtype())
    inputs = [torch.ones((11, *s), dtype=dtype) for s in shapes]
    leaves = torch.utils._pytree.tree_leaves(module(*inputs))
    return tuple(dropped(t.shape, 11) for t in leaves), leaves[0].dtype


@pytest.mark.parametrize("name", MODULES)
def test_shapes_equal_those_of_a_run_and_nothing_changes(name: str) -> None:
    make, shapes, dtype = MODULES[name]
    module = make()
    want, want_dtype = real_outputs(module, shapes, dtype)
    before, rng = state(module), torch.get_rng_state()
    python, numpy = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    found = trace(module, *shapes, dtype=dtype)
    assert found.outputs == want
    assert found.output_dtype == want_dtype
    assert output_shape(module, *shapes, dtype=dtype) == (want[0] if len(want) == 1 else want)
    assert state(module) == before
    assert torch.equal(torch.get_rng_state(), rng)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == (python, numpy)  # noqa: NPY002
    assert not tracing()
    last = found.records[-1]
    assert (last.path, last.module, last.outputs, last.inputs) == ("", module, want, tuple(shapes))


# -- multiply-adds --------------------------------------------------------------------------------------------------------

COUNTED: dict[str, tuple[Any, list[tuple[int, ...]], int]] = {
    "Linear": (lambda: nn.Linear(3, 4), [(3,)], 3 * 4),
    "Linear on sequences": (lambda: nn.Linear(3, 4), [(7, 3)], 7 * 3 * 4),
    "Dense": (lambda: L.Dense(4), [(7, 3)], 7 * 3 * 4),
    "Conv1d": (lambda: nn.Conv1d(2, 4, 3), [(2, 9)], 4 * 7 * 2 * 3),
    "Conv2D": (lambda: L.Conv2D(20, 5), [(1, 28, 28)], 20 * 24 * 24 * 1 * 25),
    "Conv2D, grouped, strided, same": (lambda: L.Conv2D(6, 3, 2, "same", groups=2), [(4, 9, 8)], 6 * 5 * 4 * 2 * 9),
    "Conv3d": (lambda: nn.Conv3d(2, 3, 2), [(2, 4, 5, 6)], 3 * (3 * 4 * 5) * 2 * 8),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), [(4, 5, 6)], 4 * 5 * 6 * 3 * 9),
    "MultiheadAttention": (  # three projections in, the scores, the weighted sum, the projection out
        lambda: nn.MultiheadAttention(8, 2, batch_first=True),
        [(6, 8), (5, 8), (5, 8)],
        6 * 8 * 8 + 2 * 5 * 8 * 8 + 6 * 5 * 8 + 6 * 5 * 8 + 6 * 8 * 8,
    ),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        [(6, 8)],
        4 * 6 * 8 * 8 + 2 * 6 * 6 * 8 + 2 * 6 * 8 * 16,
    ),
    "LSTM": (lambda: nn.LSTM(5, 7, batch_first=True), [(6, 5)], 6 * 4 * 7 * (5 + 7)),
    "GRU": (lambda: nn.GRU(5, 7, batch_first=True), [(6, 5)], 6 * 3 * 7 * (5 + 7)),
    "on the real device": (ReadsAValue, [(3,)], 3 * 4),
    "nothing to multiply": (nn.ReLU, [(3,)], 0),
    "a layer used twice": (lambda: nn.Sequential(*[nn.Linear(3, 3)] * 2), [(3,)], 2 * 9),
}


@pytest.mark.parametrize("name", COUNTED)
def test_multiply_adds_equal_the_formula(name: str) -> None:
    make, shapes, want = COUNTED[name]
    assert trace(make(), *shapes).records[-1].multiply_adds == want


def test_a_call_counts_its_sub_modules() -> None:
    found = trace(chain(), (3, 10, 10))
    counts = {r.path: r.multiply_adds for r in found.records}
    first, second, last = 4 * 100 * 3 * 9, 6 * 64 * 2 * 9, 6 * 5
    assert (counts["0"], counts["1/0"], counts["1"], counts["4"], counts[""]) == (
        first,
        second,
        second,
        last,
        first + second + last,
    )


# -- records --------------------------------------------------------------------------------------------------------------


def test_records_come_in_the_order_in_which_calls_end() -> None:
    found = trace(chain(), (3, 10, 10))
    paths = ["0", "1/0", "1/1", "1/2", "1/3", "1", "2", "3", "4", ""]
    assert [r.path for r in found.records] == paths
    assert [r.outputs for r in found.records[:3]] == [((4, 10, 10),), ((6, 8, 8),), ((6, 8, 8),)]
    assert found.records[1].inputs == ((4, 10, 10),)


def test_a_call_that_fails_and_is_caught_does_not_confuse_the_others() -> None:
    class Tries(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.wrong, self.right = nn.Linear(3, 4), nn.Linear(9, 4), nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            try:
                return self.wrong(x)
            except RuntimeError:
                return self.right(x)

    records = trace(Tries(), (3,)).records
    assert [(r.path, r.multiply_adds) for r in records] == [("first", 12), ("right", 20), ("", 32)]


# -- layers that are built on the way -------------------------------------------------------------------------------------


class Counter(lm.Layer):
    """Built by its first input; replaces a buffer and an attribute in forward, and draws sub-layers in build."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.count = self.state(shape)
        self.last: Any = None
        self.a, self.b = L.Dense(3), nn.Sequential(nn.Dropout(0.5), L.Dense(3))

    def forward(self, x: Tensor) -> Tensor:
        self.count = self.count + x.mean(0)
        self.last = x
        return self.b(self.a(x))


def test_layers_built_on_the_way_have_real_parameters() -> None:
    network = nn.Sequential(L.Conv2D(4, 3), L.BatchNormalization(), L.ELU(learnable=True), L.Flatten(), Counter())
    found = trace(network, (1, 5, 5))
    assert found.outputs == ((3,),)
    tensors = [*network.parameters(), *network.buffers()]
    assert len(tensors) == 12
    assert all(t.device.type == "cpu" for t in tensors)
    assert all(bool(t.isfinite().all()) for t in tensors)
    assert all(m.built for m in network.modules() if isinstance(m, lm.Layer))
    assert network[4].last is None
    assert torch.equal(network[4].count, torch.zeros(36))
    assert all(m.training for m in network.modules())
    assert network(torch.randn(2, 1, 5, 5)).shape == (2, 3)
    assert [r.path for r in found.records][-6:] == ["4/a", "4/b/0", "4/b/1", "4/b", "4", ""]


def test_layers_created_by_a_build_have_the_mode_of_their_parent() -> None:
    for train in (True, False):
        traced, called = Counter().train(train), Counter().train(train)
        trace(traced, (3,))
        called(torch.zeros(2, 3))
        for layer in (traced, called):
            assert [m.training for m in layer.modules()] == [train] * 5


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.LazyLinear(4), (5,)),
        (lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2)), (2, 6, 6)),
        (lambda: nn.Sequential(nn.LazyConvTranspose1d(4, 3), ReadsThenPasses(), nn.LazyInstanceNorm1d()), (2, 6)),
    ],
)
def test_lazy_modules_of_torch_are_built_for_good(make: Any, shape: tuple[int, ...]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Lazy modules are a new feature")
        torch.manual_seed(0)
        module, plain = make(), make()
    torch.manual_seed(1)
    outputs = trace(module, shape).outputs
    torch.manual_seed(1)
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    want = plain.eval()(x)
    assert outputs == (tuple(want.shape[1:]),)
    assert module.training
    assert torch.equal(module.eval()(x), want)


class ReadsThenPasses(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.detach().sum()) < 1e30 else -x


def test_networks_built_one_after_the_other_differ() -> None:
    """Also where the run is on the real device: what their initial values drew is not drawn again."""
    first, second = (nn.Sequential(ReadsThenPasses(), L.Dense(4)) for _ in range(2))
    trace(first, (3,))
    trace(second, (3,))
    assert not torch.equal(first[1].weight, second[1].weight)


def test_a_module_that_is_on_meta_stays_there() -> None:
    module = nn.Sequential(nn.Linear(3, 4, device="meta"), nn.BatchNorm1d(4, device="meta"))
    assert trace(module, (3,)).outputs == ((4,),)
    assert all(t.is_meta for t in [*module.parameters(), *module.buffers()])


def test_tensors_made_for_good_during_a_run() -> None:
    class Keeps(nn.Module):
        kept: list[Tensor] = []  # noqa: RUF012 - of the class, so that nothing puts it back

        def forward(self, x: Tensor) -> Tensor:
            assert tracing()
            with real_tensors():
                self.kept.append(torch.ones(3))
            self.kept.append(torch.ones(3))
            return x

    trace(Keeps(), (3,))
    assert [t.is_meta for t in Keeps.kept] == [False, True]


# -- what fails -----------------------------------------------------------------------------------------------------------


class Inner(nn.Module):
    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Any:
        if self.error is not None:
            raise self.error
        return None


class FailingBuild(lm.Layer):
    def build(self, shape: tuple[int, ...]) -> None:
        raise KeyError("units")

    def forward(self, x: Tensor) -> Tensor:
        return x


FIX = "Check it against the output of the layer before it in model.summary()."


@pytest.mark.parametrize(
    ("make", "shape", "text"),
    [
        (
            lambda: nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(5, 2))),
            (3,),
            "layer '1/1' (Linear): expected an input that its forward can take, received (batch, 4), on which it raised RuntimeError: "
            f"mat1 and mat2 shapes cannot be multiplied (1x4 and 5x2). {FIX}",
        ),
        (
            lambda: nn.Linear(5, 2),
            (3,),
            "the network (Linear): expected an input that its forward can take, received (batch, 3), on which it raised RuntimeError: "
            f"mat1 and mat2 shapes cannot be multiplied (1x3 and 5x2). {FIX}",
        ),
        (
            lambda: lm.Sequential([L.Dense(3), Inner(ValueError("no.\nmore"))]),
            (2, 4),
            "layer 'inner' (Inner): expected an input that its forward can take, received (batch, 2, 3), on which it raised ValueError: "
            f"no. {FIX}",
        ),
        (
            lambda: lm.Sequential([L.Dense(3), Inner(None)]),
            (4,),
            "layer 'inner' (Inner): expected forward to return a tensor, received None. Add a return statement to its forward.",
        ),
        (
            lambda: Inner(None),
            (4,),
            "the network (Inner): expected forward to return a tensor, received None. Add a return statement to its forward.",
        ),
        (
            lambda: lm.Sequential([L.Dense(3), FailingBuild()]),
            (4,),
            "layer 'failing_build' (FailingBuild): expected a shape that its build can take, received (3,), on which it raised "
            "KeyError: 'units'. Check it against the output of the layer before it.",
        ),
    ],
)
def test_the_innermost_module_is_named(make: Any, shape: tuple[int, ...], text: str) -> None:
    module = make()
    before = {n: m.training for n, m in module.named_modules()}
    with pytest.raises(LayerError) as caught:
        trace(module, shape)
    assert str(caught.value) == text
    assert {n: m.training for n, m in module.named_modules()} == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_a_layer_s_own_word_is_passed_on_once() -> None:
    class Refuses(lm.Layer):
        asked = 0

        def check_input(self, shape: tuple[int, ...]) -> None:
            Refuses.asked += 1
            raise ShapeError("not this one")

        def forward(self, x: Tensor) -> Tensor:
            return x

    with pytest.raises(ShapeError, match=r"^not this one$"):
        trace(nn.Sequential(nn.Identity(), Refuses()), (3,))
    assert Refuses.asked == 1


def test_a_module_with_a_check_input_of_its_own_is_left_to_itself() -> None:
    class Theirs(nn.Module):
        def check_input(self) -> None:
            raise AssertionError

        def forward(self, x: Tensor) -> Tensor:
            return x

    assert trace(Theirs(), (3,)).outputs == ((3,),)


# -- small things ---------------------------------------------------------------------------------------------------------


def test_writing_shapes() -> None:
    assert format_shape(torch.Size([3, 2])) == "(3, 2)"
    assert format_shape(()) == "()"
    assert format_batch([7]) == "(batch, 7)"
    assert format_batch(()) == "(batch,)"
    assert normalize_shape(torch.Size([3, 2])) == (3, 2)
    assert normalize_shape(4) == (4,)
    assert normalize_shape(np.array([1, 2])) == (1, 2)
    assert normalize_shape(np.int64(4)) == (4,)
    assert all(type(n) is int for n in normalize_shape(np.array([1, 2])))


def test_an_empty_trace() -> None:
    assert (Trace().records, Trace().outputs, Trace().output_dtype) == ([], (), torch.float32)
    assert math.prod(trace(nn.Identity(), (2, 3)).outputs[0]) == 6


def test_a_trace_under_autocast_leaves_no_weights_cast_on_meta() -> None:
    """Bug: the copy that autocast keeps of each weight was on meta, and the next call got it."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trace(layer := nn.Linear(3, 2), (3,))
        assert layer(torch.zeros(1, 3)).device.type == "cpu"
