"""R1: the template. Every optional part, alone and together, and what a layer that breaks the contract is told."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

import laminar as lm
from laminar import layers as L
from laminar.errors import DtypeError, GradientError, LayerError, ShapeError, UnknownNameError
from laminar.seeding import seeded


class Plain(lm.Layer):
    """Only a forward."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class Scale(lm.Layer):
    """A factor for each channel, differentiated by autograd."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.factor = self.learnable(shape[0], init="uniform")

    def forward(self, x: Tensor) -> Tensor:
        return x * self.per_channel(self.factor, x)


class HandScale(Scale):
    """The same with its own derivative."""

    def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Any:
        return dz * self.per_channel(self.factor, x), self.sum_to_channels(dz * x)


class Two(lm.Layer):
    """Two inputs, two outputs, two learnables, a memory that is a nest of tensors and constants."""

    def build(self, a: tuple[int, ...], b: tuple[int, ...]) -> None:
        self.u = self.learnable(a[0], init="uniform")
        self.v = self.learnable(b[0], init="uniform")

    def forward(self, a: Tensor, b: Tensor) -> Any:
        p, q = a * self.per_channel(self.u, a), b * self.per_channel(self.v, b)
        return (p * q, p + q), {"pq": (p, q), "power": 2}

    def backward(self, x: Any, z: Any, dz: Any, memory: Any) -> Any:
        assert memory["power"] == 2
        (a, b), (p, q), (d1, d2) = x, memory["pq"], dz
        dp, dq = d1 * q + d2, d1 * p + d2
        gradients = {"v": self.sum_to_channels(dq * b), "u": self.sum_to_channels(dp * a)}
        return (dp * self.per_channel(self.u, a), dq * self.per_channel(self.v, b)), gradients


class AutoTwo(Two):
    """`Two` for autograd."""

    backward = lm.Layer.backward
    has_memory = False

    def forward(self, a: Tensor, b: Tensor) -> Any:
        return super().forward(a, b)[0]


def test_forward_alone_is_enough() -> None:
    layer = Plain()
    assert torch.equal(layer(torch.ones(2, 3)), torch.full((2, 3), 2.0))
    assert layer.name == "plain"
    assert layer.description == "Only a forward."


def test_build_runs_once_on_the_first_input() -> None:
    layer = Scale()
    assert not layer.built
    layer(torch.zeros(2, 3, 4))
    first = layer.factor
    layer(torch.zeros(2, 3, 9))
    assert layer.factor is first
    assert layer.input_shape == (3, 4)


def test_learnables_take_the_input_s_dtype_and_are_found() -> None:
    layer = Scale()
    layer(torch.zeros(2, 3, dtype=torch.float64))
    assert layer.factor.dtype is torch.float64
    assert [n for n, _ in layer.named_parameters()] == ["factor"]


@pytest.mark.parametrize(("hand", "auto", "count"), [(HandScale, Scale, 1), (Two, AutoTwo, 2)])
def test_hand_written_equals_autograd_everywhere(hand: type[lm.Layer], auto: type[lm.Layer], count: int) -> None:
    torch.manual_seed(0)
    xs = [torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True) for _ in range(count)]
    ours, plain = hand(), auto()
    ours(*xs)
    plain(*xs)
    plain.load_state_dict(ours.state_dict())

    def scalar(out: Any) -> Tensor:
        return sum((t**3).sum() for t in (out if isinstance(out, tuple) else (out,)))  # type: ignore[return-value]

    got = torch.autograd.grad(scalar(ours(*xs)), [*xs, *ours.parameters()])
    want = torch.autograd.grad(scalar(plain(*xs)), [*xs, *plain.parameters()])
    for g, w in zip(got, want, strict=True):
        torch.testing.assert_close(g, w, rtol=1e-12, atol=1e-12)

    values = {n: p.detach() * 1.5 for n, p in ours.named_parameters()}
    data = [x.detach() for x in xs]
    stacked = {n: torch.stack([v, 2 * v]) for n, v in values.items()}
    for in_dims, args in (((None, *[0] * count), (values, *data)), ((0, *[None] * count), (stacked, *data))):
        a = vmap(grad(lambda p, *x: scalar(functional_call(ours, p, x))), in_dims=in_dims)(*args)
        b = vmap(grad(lambda p, *x: scalar(functional_call(plain, p, x))), in_dims=in_dims)(*args)
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-12, atol=1e-12)

    torch._dynamo.reset()
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    for g, w in zip(torch.autograd.grad(scalar(compiled(*xs)), [*xs, *ours.parameters()]), want, strict=True):
        torch.testing.assert_close(g, w, rtol=1e-12, atol=1e-12)


def test_backward_after_functional_call_uses_the_values_of_the_call() -> None:
    layer = HandScale()
    x = torch.randn(4, 3, requires_grad=True)
    layer(x)
    other = torch.full((3,), 7.0, requires_grad=True)
    z = functional_call(layer, {"factor": other}, (x,))  # the layer has its own factor again when backward runs
    z.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full((4, 3), 7.0))
    torch.testing.assert_close(other.grad, x.detach().sum(0))


def test_used_twice_in_one_network_its_gradients_add_up() -> None:
    torch.manual_seed(0)
    ours, plain = HandScale(), Scale()
    x = torch.randn(4, 3, dtype=torch.float64)
    ours(x)
    plain(x)
    plain.load_state_dict(ours.state_dict())
    for layer in (ours, plain):
        layer(torch.tanh(layer(x))).square().sum().backward()
    torch.testing.assert_close(ours.factor.grad, plain.factor.grad, rtol=1e-12, atol=1e-12)


def test_no_gradient_needed_means_none_is_made() -> None:
    layer = HandScale()
    x = torch.randn(4, 3)
    with torch.no_grad():
        assert not layer(x).requires_grad
    layer.trainable = False
    assert not layer(x).requires_grad


def test_autograd_in_place_of_a_backward_that_is_taken_away() -> None:
    """Its forward still returns a memory; that of a class which says nothing of it is dropped."""

    class Automatic(Two):
        backward = lm.Layer.backward

    torch.manual_seed(0)
    x = torch.randn(4, 3, requires_grad=True)
    ours, plain = Two(), Automatic()
    ours(x, x)
    z = plain(x, x)
    assert [type(t) for t in z] == [Tensor, Tensor]
    plain.load_state_dict(ours.state_dict())
    for g, w in zip(*(torch.autograd.grad(sum(t.sum() for t in m(x, 2 * x)), x) for m in (ours, plain)), strict=True):
        torch.testing.assert_close(g, w)


def test_an_output_that_is_the_input() -> None:
    class Same(lm.Layer):
        def forward(self, x: Tensor) -> Tensor:
            return x

        def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
            return 3 * dz

    x = torch.ones(2, 2, requires_grad=True)
    Same()(x * 1).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full((2, 2), 3.0))


def test_predict_replaces_forward_at_inference_only() -> None:
    class Noisy(Plain):
        def predict(self, x: Tensor) -> Tensor:
            return self.forward(x) + 1

    layer = Noisy()
    x = torch.ones(1, 2)
    assert torch.equal(layer(x), torch.full((1, 2), 2.0))
    assert torch.equal(layer.eval()(x), torch.full((1, 2), 3.0))


def test_state_is_a_buffer() -> None:
    class Counts(lm.Layer):
        def build(self, shape: tuple[int, ...]) -> None:
            self.seen = self.state(dtype=torch.int64)

        def forward(self, x: Tensor) -> Tensor:
            self.seen += len(x)
            return x

    layer = Counts()
    layer(torch.zeros(5, 2))
    layer(torch.zeros(3, 2))
    assert int(layer.state_dict()["seen"]) == 8
    assert list(layer.parameters()) == []


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_per_channel_and_its_transpose(axes: int) -> None:
    x = torch.randn(4, 3, *[2] * (axes - 1), dtype=torch.float64)
    layer = Scale()
    layer(x)
    v = torch.randn(3, dtype=torch.float64)
    spread = layer.per_channel(v, x).expand_as(x)
    assert torch.equal(spread[0].flatten(1)[:, 0] if axes > 1 else spread[0], v)
    torch.testing.assert_close((spread * x).sum(), (v * layer.sum_to_channels(x)).sum())


def test_hooks_of_torch_see_the_layer() -> None:
    layer, seen = HandScale(), []
    layer.register_forward_hook(lambda module, args, out: seen.append((module, out.shape)))
    x = torch.randn(4, 3, requires_grad=True)
    layer(x).sum().backward()
    assert seen == [(layer, torch.Size([4, 3]))]
    assert "forward" not in layer.__dict__
    assert layer.factor.grad is not None


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_are_equal_and_independent(clone: Any) -> None:
    layer = HandScale()
    x = torch.randn(4, 3)
    layer(x)
    layer.freeze("factor")
    other = clone(layer)
    assert torch.equal(other(x), layer(x))
    other.unfreeze("factor")
    assert other.factor.requires_grad
    assert not layer.factor.requires_grad


# -- errors ---------------------------------------------------------------------------------------------------------------


def message(error: type[Exception], run: Any) -> str:
    with pytest.raises(error) as caught:
        run()
    return str(caught.value)


def backward_that_returns(value: Any) -> lm.Layer:
    class Faulty(Two):
        def backward(self, x: Any, z: Any, dz: Any, memory: Any) -> Any:
            return value(x[0], x[1])

    layer = Faulty()
    layer(torch.zeros(4, 3), torch.zeros(4, 3))
    return layer


def run_backward(layer: lm.Layer) -> None:
    x = torch.randn(4, 3, requires_grad=True)
    sum(t.sum() for t in layer(x, x + 1)).backward()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            lambda a, b: ((a, b), a[0]),
            "layer 'faulty' (Faulty): expected backward to return dx and 2 gradients ('u', 'v'), received dx and 1. "
            "Return one gradient for each learnable, in the order declared.",
        ),
        (
            lambda a, b: (a, a[0], a[0]),
            "layer 'faulty' (Faulty): expected backward to return 2 input gradients first, received 1. "
            "Return dx for one input, or a tuple with one dx for each input.",
        ),
        (
            lambda a, b: ((a, b), {"u": a[0], "w": a[0]}),
            "layer 'faulty' (Faulty): expected backward to return gradients named 'u', 'v', received 'u', 'w'. "
            "Name each gradient after its learnable.",
        ),
        (
            lambda a, b: ((a, b), a[0], None),
            "layer 'faulty' (Faulty): expected backward to return a gradient for 'v', received None. "
            "Compute it, or freeze the learnable with layer.freeze('v').",
        ),
        (
            lambda a, b: ((a, b), a, a[0]),
            "layer 'faulty' (Faulty): expected the gradient of 'u' to have shape (3,), received (4, 3). "
            "Sum over the axes along which it was broadcast.",
        ),
        (
            lambda a, b: ((a, b.sum(0)), a[0], a[0]),
            "layer 'faulty' (Faulty): expected the gradient of input 1 to have shape (4, 3), received (3,). "
            "Sum over the axes along which it was broadcast.",
        ),
        (
            lambda a, b: ((a, 1.0), a[0], a[0]),
            "layer 'faulty' (Faulty): expected the gradient of input 1 to be a tensor of shape (4, 3), received float. "
            "Return a tensor from backward.",
        ),
    ],
)
def test_wrong_gradients_are_named(value: Any, text: str) -> None:
    assert message(GradientError, lambda: run_backward(backward_that_returns(value))) == text


def test_frozen_gradients_may_be_left_out_or_none() -> None:
    for value in (lambda a, b: ((a, b), a[0]), lambda a, b: ((a, b), None, a[0]), lambda a, b: ((a, b), {"v": a[0]})):
        layer = backward_that_returns(value)
        layer.freeze("u")
        run_backward(layer)
        assert layer.v.grad is not None
        assert layer.u.grad is None


def test_forward_that_returns_none() -> None:
    class Nothing(lm.Layer):
        def forward(self, x: Tensor) -> None:
            x * 2  # the forgotten return is the point

    text = (
        "layer 'nothing' (Nothing): expected forward to return a tensor, received None. Add a return statement to its forward."
    )
    assert message(LayerError, lambda: Nothing()(torch.zeros(1, 2))) == text
    assert message(LayerError, lambda: lm.Sequential([Nothing()]).build((2,))) == text


def test_forward_without_the_memory_that_backward_takes() -> None:
    class Forgets(lm.Layer):
        def forward(self, x: Tensor) -> Tensor:
            return x

        def backward(self, x: Tensor, z: Tensor, dz: Tensor, memory: Tensor) -> Tensor:
            return dz

    text = (
        "layer 'forgets' (Forgets): expected forward to return (z, memory), because backward takes a memory, "
        "received Tensor. Return the pair, or define backward(self, x, z, dz)."
    )
    assert message(LayerError, lambda: Forgets()(torch.zeros(1, 2))) == text
    assert message(LayerError, lambda: Forgets()(torch.zeros(1, 2, requires_grad=True))) == text


def test_backward_with_the_wrong_arguments() -> None:
    def define() -> None:
        class Short(lm.Layer):
            def backward(self, dz: Tensor) -> Tensor:  # type: ignore[override]
                return dz

    assert message(LayerError, define) == (
        "layer Short: expected backward(self, x, z, dz) or backward(self, x, z, dz, memory), "
        "received backward(self, dz: 'Tensor') -> 'Tensor'. Change its arguments."
    )


def test_a_learnable_declared_twice() -> None:
    class Twice(lm.Layer):
        def build(self, shape: tuple[int, ...]) -> None:
            self.w = self.learnable(2)
            self.w = self.learnable(3)

        def forward(self, x: Tensor) -> Tensor:
            return x

    text = "layer 'twice' (Twice): expected each learnable to be declared once, received 'w' twice. Give the second one another name."
    layer = Twice()
    assert message(LayerError, lambda: layer(torch.zeros(1, 2))) == text
    assert message(LayerError, lambda: layer(torch.zeros(1, 2))) == text  # a failed build leaves nothing behind


def test_a_failed_build_leaves_the_layer_as_it_was() -> None:
    class Fails(Scale):
        def __init__(self, fails: bool) -> None:
            super().__init__()
            self.own, self.inner, self.fails = self.learnable(2), nn.Linear(1, 1), fails

        def build(self, shape: tuple[int, ...]) -> None:
            super().build(shape)
            self.seen, self.part = self.state(1), nn.ReLU()
            if self.fails:
                raise ZeroDivisionError

    first, plain = Fails(True), Fails(False)
    with pytest.raises(ZeroDivisionError):
        first(torch.zeros(1, 3))
    assert (first.built, first.input_shape, list(first._buffers), list(first._modules)) == (False, None, [], ["inner"])
    assert list(first._parameters) == ["own"]
    first.fails = False
    for layer in (first, plain):
        with seeded(0):
            layer(torch.zeros(1, 3))
    assert torch.equal(first.factor, plain.factor)


def test_an_unknown_learnable() -> None:
    layer = Scale()
    layer(torch.zeros(1, 2))
    assert message(UnknownNameError, lambda: layer.freeze("facto")) == (
        "layer 'scale' (Scale): learnable 'facto' is unknown. Did you mean 'factor'? Known: factor."
    )


def test_a_call_without_a_batch() -> None:
    assert message(ShapeError, lambda: Scale()(torch.tensor(1.0))) == (
        "layer 'scale' (Scale): expected a batch (batch, ...) as first input, to build the layer for its shape, "
        "received Tensor. Call Scale() with a tensor."
    )


def test_an_input_that_is_no_tensor() -> None:
    layer = HandScale()
    layer(torch.zeros(1, 2))
    assert message(LayerError, lambda: layer([1.0])) == (
        "layer 'hand_scale' (HandScale): expected tensors as inputs of a layer with a hand-written backward, received list. "
        "Keep it as an attribute of the layer instead."
    )


def test_sub_layers_with_parameters_and_a_backward() -> None:
    class Holder(lm.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)

        def backward(self, x: Tensor, z: Tensor, dz: Tensor) -> Tensor:
            return dz

    assert message(LayerError, lambda: Holder()(torch.zeros(1, 2))) == (
        "layer 'holder' (Holder): expected learnables of its own only, because backward returns their gradients, "
        "received the sub-layer 'inner' with parameters. Declare them with self.learnable."
    )


@pytest.mark.parametrize(
    "layer",
    [L.Dense(2), L.Dense(2).eval(), L.Activation("relu"), L.MaxPooling2D(2), L.Conv2D(2, 3), L.BatchNormalization(), L.ELU()],
    ids=lambda layer: layer.name,
)
@pytest.mark.parametrize("built", [False, True])
def test_arrays_are_no_tensors(layer: L.Layer, built: bool) -> None:
    if built:
        layer(torch.zeros(2, 3, 4, 4))
    with pytest.raises(DtypeError) as caught:
        layer(np.zeros((2, 3, 4, 4), np.float32))
    assert str(caught.value) == (
        f"{layer.label}: expected a tensor, received numpy.ndarray. Pass torch.as_tensor(x), or arrays to model.predict."
    )
