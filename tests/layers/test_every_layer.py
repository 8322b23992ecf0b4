"""One harness over every exported layer: a layer without an entry in CASES fails, a new entry is tested in all these ways."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

import laminar as lm
from laminar import layers as L
from laminar.seeding import seed_all, seeded
from laminar.shapes import output_shape, trace


@dataclass(frozen=True)
class Case:
    """How to make a layer, and what it is shown.

    Attributes:
        cls: the class.
        arguments: of its constructor.
        options: keyword arguments of its constructor.
        shape: of one observation, without the batch axis.
        prepare: what is done with a new layer before it is used, given observations.
        random: whether it draws in training.
        alone: whether, once built, it also takes one observation without a batch axis, as under vmap.
    """

    cls: type[lm.Layer]
    shape: tuple[int, ...]
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[Any, Tensor], object] | None = None
    random: bool = False
    alone: bool = True

    def fresh(self) -> lm.Layer:
        return self.cls(*self.arguments, **self.options)

    def data(self, batch: int, dtype: torch.dtype = torch.float32) -> Tensor:
        generator = torch.Generator().manual_seed(batch)
        return torch.randn(batch, *self.shape, generator=generator, dtype=torch.float64).to(dtype)

    def built(self, dtype: torch.dtype = torch.float32) -> lm.Layer:
        """Return a layer with learnables that are nobody's special values: no zero bias, no scale of one."""
        layer = self.fresh()
        with seeded(1):
            trace(layer, self.shape, dtype=dtype)
        if self.prepare:
            self.prepare(layer, self.data(20, dtype))
        layer = layer.to(dtype)
        if any(True for _ in layer.buffers()) and not self.prepare:
            layer(self.data(20, dtype))  # running statistics that are no zeros and ones
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for p in layer.parameters():
                p.add_(torch.rand(p.shape, generator=generator, dtype=torch.float64).to(dtype) * 0.5)
        return layer


CASES = [
    Case(L.Activation, (3, 4), ("gelu",)),
    Case(L.Activation, (3, 4), ("softmax",), alone=False),
    Case(L.BatchNormalization, (3, 4, 2)),
    Case(L.BatchNormalization, (6,), (0.8, 1e-3)),
    Case(L.Conv2D, (2, 5, 6), (3, 3), {"activation": "tanh"}),
    Case(
        L.Conv2D, (4, 5, 4), (2, (3, 2)), {"strides": 2, "padding": "same", "dilation_rate": 2, "groups": 2, "use_bias": False}
    ),
    Case(L.Dense, (5,), (4,), {"kernel_initializer": "he_normal"}),
    Case(L.Dense, (3, 5), (4, "sigmoid"), {"use_bias": False}),
    Case(L.Dropout, (6, 2), (0.4,), random=True),
    Case(L.ELU, (3, 4, 5), ("uniform",), {"learnable": True}),
    Case(L.ELU, (4,), (0.5,)),
    Case(L.Flatten, (2, 3, 4), alone=False),
    Case(L.MaxPooling2D, (3, 5, 6)),
    Case(L.MaxPooling2D, (3, 5, 6), (3,), {"strides": 2, "padding": "same"}),
    Case(L.Normalization, (3, 4, 5), ("zscore",), {"per": "channel"}, prepare=lambda layer, x: layer.adapt(x * 3 + 5)),
    Case(L.Normalization, (4,), ("rescale-symmetric",), prepare=lambda layer, x: layer.adapt(x)),
    Case(L.ReLU, (3, 4, 5)),
    Case(L.Reshape, (3, 4), ((2, -1),), alone=False),
    Case(L.Softmax, (5, 2), alone=False),
]
every_layer = pytest.mark.parametrize("case", CASES, ids=lambda c: repr(c.fresh()))


def test_every_exported_layer_has_an_entry() -> None:
    """`Layer` itself is the template; everything else that `laminar.layers` exports is tested here."""
    assert {case.cls.__name__ for case in CASES} == set(L.__all__) - {"Layer"}


def gradients(layer: lm.Layer, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return output and gradients of x and the learnables, for an output gradient that is the same each time."""
    x = x.detach().clone().requires_grad_()
    z = layer(x)
    dz = torch.randn(z.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(z.dtype)
    learnables = [p for p in layer.parameters() if p.requires_grad]
    return z.detach(), list(torch.autograd.grad(z, [x, *learnables], dz))


@every_layer
def test_builds_from_a_shape(case: Case) -> None:
    layer = case.fresh()
    promised = output_shape(layer, case.shape)
    assert layer.built
    tensors = [*layer.parameters(), *layer.buffers()]
    assert all(t.device.type == "cpu" and bool(t.isfinite().all()) for t in tensors)
    assert layer.training
    for batch in (0, 1, 5):
        assert case.built()(case.data(batch)).shape == (batch, *promised)
    on_meta = case.built().to("meta")
    assert on_meta(case.data(5).to("meta")).shape == (5, *promised)


@every_layer
def test_an_observation_means_the_same_in_any_batch(case: Case) -> None:
    layer = case.built().eval()
    x = case.data(5)
    z = layer(x)
    for i in range(5):
        torch.testing.assert_close(layer(x[i : i + 1]), z[i : i + 1])
    torch.testing.assert_close(layer(x.flip(0)), z.flip(0))


@every_layer
def test_gradients_are_those_of_the_function(case: Case) -> None:
    """Against central differences in float64: of the input and of every learnable, in both modes where nothing is drawn."""
    for training in (False,) if case.random else (False, True):
        layer = case.built(torch.float64).train(training)
        names = [n for n, p in layer.named_parameters() if p.requires_grad]

        def run(x: Tensor, *values: Tensor, layer: lm.Layer = layer, names: list[str] = names) -> Tensor:
            result: Tensor = functional_call(layer, dict(zip(names, values, strict=True)), (x,))
            return result

        leaves = [case.data(2, torch.float64), *(layer.get_parameter(n).detach().clone() for n in names)]
        assert torch.autograd.gradcheck(run, [t.requires_grad_() for t in leaves], check_batched_grad=True)


@every_layer
def test_frozen_it_has_the_same_output_and_no_gradients(case: Case) -> None:
    layer = case.built().eval()
    x = case.data(4).requires_grad_()
    want = layer(x).detach()
    layer.trainable = False
    z = layer(x)
    assert torch.equal(z, want)
    z.sum().backward()
    assert x.grad is not None
    assert all(p.grad is None for p in layer.parameters())


@every_layer
def test_input_is_not_changed(case: Case) -> None:
    layer = case.built()
    x = case.data(4)
    before = x.clone()
    gradients(layer, x)
    layer(x)
    assert torch.equal(x, before)


@every_layer
def test_bfloat16_under_autocast(case: Case) -> None:
    layer = case.built().eval()
    x = case.data(8)
    want, wanted = gradients(layer, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, got = gradients(layer, x)
    assert [g.dtype for g in got] == [torch.float32] * len(got)
    for a, b in zip([z, *got], [want, *wanted], strict=True):
        assert float((a.float() - b).abs().max()) <= 0.03 * float(b.abs().max())


@every_layer
def test_in_bfloat16_itself(case: Case) -> None:
    layer = case.built().eval()
    x = case.data(8)
    want, _ = gradients(layer, x)
    z, got = gradients(layer.bfloat16(), x.bfloat16())
    assert z.dtype is torch.bfloat16
    assert {g.dtype for g in got} == {torch.bfloat16}
    assert float((z.float() - want).abs().max()) <= 0.05 * float(want.abs().max())


@every_layer
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["deepcopy", "pickle"])
def test_copies_are_equal(case: Case, clone: Callable[[lm.Layer], lm.Layer]) -> None:
    layer = case.built()
    x = case.data(4)
    other = clone(layer)
    assert (other.name, other.label, other.built, other.training) == (layer.name, layer.label, True, True)
    for mode in (True, False):
        torch.manual_seed(0)
        want, wanted = gradients(layer.train(mode), x)
        torch.manual_seed(0)
        got, gotten = gradients(other.train(mode), x)
        assert all(torch.equal(a, b) for a, b in zip([got, *gotten], [want, *wanted], strict=True))
    unbuilt = clone(case.fresh())
    assert output_shape(unbuilt, case.shape) == tuple(want.shape[1:])


@every_layer
def test_state_dict_round_trip(case: Case) -> None:
    layer = case.built().eval()
    other = case.fresh().eval()
    trace(other, case.shape)
    other.load_state_dict(layer.state_dict())
    x = case.data(4)
    assert torch.equal(other(x), layer(x))


@every_layer
def test_compiled_equals_eager(case: Case) -> None:
    torch._dynamo.reset()
    layer = case.built().train(not case.random)
    state = copy.deepcopy(layer.state_dict())
    x = case.data(4)
    want, wanted = gradients(layer, x)
    after = copy.deepcopy(layer.state_dict())
    layer.load_state_dict(state)
    got, gotten = gradients(torch.compile(layer, backend="aot_eager", fullgraph=True), x)
    for a, b in zip([got, *gotten], [want, *wanted], strict=True):
        torch.testing.assert_close(a, b)
    for name, value in layer.state_dict().items():
        torch.testing.assert_close(value, after[name])


@pytest.mark.parametrize("case", [c for c in CASES if len(c.shape) == 3], ids=lambda c: repr(c.fresh()))
def test_channels_last_equals_contiguous(case: Case) -> None:
    layer = case.built()
    x = case.data(4)
    state = copy.deepcopy(layer.state_dict())
    want, wanted = gradients(layer, x)
    layer.load_state_dict(state)
    got, gotten = gradients(layer.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last))
    for a, b in zip([got, *gotten], [want, *wanted], strict=True):
        torch.testing.assert_close(a, b)


@every_layer
def test_strided_input_equals_contiguous(case: Case) -> None:
    layer = case.built().eval()
    x = case.data(4)
    strided = torch.empty(8, *x.shape[1:])[::2].copy_(x).transpose(0, -1).contiguous().transpose(0, -1)
    assert torch.equal(strided, x)
    assert not strided.is_contiguous()
    torch.testing.assert_close(layer(strided), layer(x))


@every_layer
def test_vmap_over_observations_equals_the_batch(case: Case) -> None:
    layer = case.built().eval()
    x = case.data(5)
    want = layer(x)
    torch.testing.assert_close(vmap(lambda one: layer(one[None])[0])(x), want)
    if case.alone:
        torch.testing.assert_close(vmap(layer)(x), want)
    names = [n for n, p in layer.named_parameters() if p.requires_grad]
    values = {n: layer.get_parameter(n).detach() for n in names}

    def loss(values: dict[str, Tensor], one: Tensor) -> Tensor:
        result: Tensor = functional_call(layer, values, (one[None],)).sin().sum()
        return result

    each = vmap(grad(loss, argnums=(0, 1)), in_dims=(None, 0))(values, x)
    for i in range(len(x)):
        parameters, dx = grad(loss, argnums=(0, 1))(values, x[i])
        torch.testing.assert_close(each[1][i], dx)
        for name in names:
            torch.testing.assert_close(each[0][name][i], parameters[name])


def initial(case: Case, seed: int, path: str, disturbance: int) -> dict[str, Tensor]:
    layer = case.fresh()
    layer.path = path
    seed_all(disturbance)
    with seeded(seed):
        trace(layer, case.shape)
    return layer.state_dict()


@every_layer
def test_initial_values_depend_on_seed_and_path_only(case: Case) -> None:
    one, same = initial(case, 0, "a/b", disturbance=1), initial(case, 0, "a/b", disturbance=2)
    assert all(torch.equal(one[n], same[n]) for n in one)
    other_seed, other_path = initial(case, 1, "a/b", 1), initial(case, 0, "a/c", 1)
    drawn = [n for n in one if one[n].numel() > 1 and one[n].unique().numel() > 1]
    assert not any(torch.equal(one[n], other[n]) for n in drawn for other in (other_seed, other_path))
    assert bool(drawn) == (case.cls in (L.Conv2D, L.Dense) or case.options.get("learnable", False))


@every_layer
def test_it_has_a_place_in_a_network(case: Case) -> None:
    """In a chain that is built, summarized and run in both modes."""
    network = lm.Sequential([case.fresh(), L.Flatten(), L.Dense(2, activation="softmax")]).build(case.shape, seed=0)
    if case.prepare:
        case.prepare(network[0], case.data(20))
    table = network.summary(show=False)
    assert table.learnable + table.frozen == sum(p.numel() for p in network.parameters())
    assert len(table.rows) == 3
    for mode in (True, False):
        z = network.train(mode)(case.data(4))
        torch.testing.assert_close(z.sum(1), torch.ones(4))
