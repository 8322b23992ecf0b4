"""One harness over every exported layer: a layer without an entry in tests/cases fails, a new entry is tested in all ways."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Callable

import pytest
import torch
from cases import ALL, Case
from cases.case import leaves
from torch import Tensor
from torch.func import functional_call, grad, vmap

import laminar as lm
from laminar import layers as L
from laminar.seeding import seed_all, seeded
from laminar.shapes import trace

CASES = ALL
every_layer = pytest.mark.parametrize("case", CASES, ids=str)


def test_every_exported_layer_has_an_entry() -> None:
    """`Layer` itself is the template; everything else that `laminar.layers` exports is tested here."""
    exported = {name for name in L.__all__ if isinstance(getattr(L, name), type)}
    assert {case.cls.__name__ for case in CASES} == exported - {"Layer"}


def gradients(layer: lm.Layer, inputs: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
    """Return outputs and gradients of inputs and learnables, for output gradients that are the same each time."""
    xs = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    z = leaves(layer(*xs))
    generator = torch.Generator().manual_seed(3)
    dz = [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t.dtype) for t in z]
    asked = [t for t in [*xs, *layer.parameters()] if t.requires_grad]
    return [t.detach() for t in z], list(torch.autograd.grad(z, asked, dz)) if asked else []


def assert_equal(some: object, others: object) -> None:
    """Assert that two outputs are the same numbers, bit for bit."""
    assert all(torch.equal(a, b) for a, b in zip(leaves(some), leaves(others), strict=True))


@every_layer
def test_builds_from_a_shape(case: Case) -> None:
    layer = case.fresh()
    found = trace(layer, *case.shapes, dtype=case.dtype)
    assert layer.built
    tensors = [*layer.parameters(), *layer.buffers()]
    assert all(t.device.type == "cpu" and bool(t.isfinite().all()) for t in tensors)
    assert layer.training
    for batch in (0, 1, 5):
        z = leaves(case.built()(*case.data(batch)))
        assert [tuple(t.shape) for t in z] == [(batch, *promised) for promised in found.outputs]
    on_meta = case.built().to("meta")
    z = leaves(on_meta(*(x.to("meta") for x in case.data(5))))
    assert [tuple(t.shape) for t in z] == [(5, *promised) for promised in found.outputs]


def value_of(text: str) -> int | float:
    """Return what the left side of an explanation's equation amounts to: words are units, and ` of ` multiplies."""
    text = re.sub(r"(?<=\d) (?=\d{3}\b)", "", text).replace(" of ", "*").replace("×", "*").replace("·", "*").replace("−", "-")
    for left, right, function in (("⌊", "⌋", "math.floor("), ("⌈", "⌉", "math.ceil(")):
        text = text.replace(left, function).replace(right, ")")
    text = re.sub(r"(?<!\.)\b(?!math\b|floor\b|ceil\b|max\b|min\b)[^\W\d_][\w-]*", "", text)
    value: int | float = eval(text, {"__builtins__": {}}, {"math": math, "max": max, "min": min})
    return value


@every_layer
def test_the_arithmetic_it_explains_is_true(case: Case) -> None:
    """Shapes and counts against the layer itself, every equation against Python's own sum of its left side."""
    layer = case.fresh()
    explained = layer.explain(*case.shapes)
    assert not layer._parameters or layer.built, "explaining does not build"
    found = trace(layer, *case.shapes, dtype=case.dtype)
    assert explained.outputs == found.outputs
    assert explained.parameters == sum(p.numel() for p in layer.parameters())
    assert layer.explain(*case.shapes) == explained
    assert explained.lines
    for line in explained.lines:
        equations = re.findall(r": ([^:=]*\d[^:=]*) = ([\d ]*\d)", line)
        assert equations or " = " not in line, "an equation that is not checked"
        for left, right in equations:
            assert value_of(left) == value_of(right), line
    assert str(explained).startswith(f"{case.cls.__name__}(")


@every_layer
def test_an_observation_means_the_same_in_any_batch(case: Case) -> None:
    xs = case.data(5)

    def run(*inputs: Tensor) -> list[Tensor]:
        return leaves(case.built().eval()(*inputs))

    z = run(*xs)
    for i in range(5):
        torch.testing.assert_close(run(*(x[i : i + 1] for x in xs)), [t[i : i + 1] for t in z])
    torch.testing.assert_close(run(*(x.flip(0) for x in xs)), [t.flip(0) for t in z])


@every_layer
def test_gradients_are_those_of_the_function(case: Case) -> None:
    """Against central differences in float64: of the input and of every learnable, in both modes where nothing is drawn."""
    for training in (False,) if case.random else (False, True):
        layer = case.built(torch.float64).train(training)
        state = copy.deepcopy(dict(layer.named_buffers()))
        names = [n for n, p in layer.named_parameters() if p.requires_grad]
        inputs = case.data(2, torch.float64)
        given = 0 if case.whole else len(inputs)

        def run(
            *values: Tensor,
            layer: lm.Layer = layer,
            names: list[str] = names,
            state: dict[str, Tensor] = state,
            given: int = given,
        ) -> tuple[Tensor, ...]:
            tensors = {**{n: b.clone() for n, b in state.items()}, **dict(zip(names, values[given:], strict=True))}
            return tuple(leaves(functional_call(layer, tensors, values[:given] or case.data(2))))

        asked = [*inputs[:given], *(layer.get_parameter(n).detach().clone() for n in names)]
        if asked:
            assert torch.autograd.gradcheck(run, [t.requires_grad_() for t in asked], check_batched_grad=case.vmaps)


@every_layer
def test_frozen_it_has_the_same_output_and_no_gradients(case: Case) -> None:
    xs = [x.requires_grad_(x.is_floating_point()) for x in case.data(4)]
    want = case.built().eval()(*xs)
    layer = case.built().eval()
    layer.trainable = False
    z = layer(*xs)
    torch.testing.assert_close(leaves(z), leaves(want), rtol=0, atol=1e-6)  # torch picks kernels by what asks for a gradient
    if not case.whole:
        sum(t.sum() for t in leaves(z)).backward()
        assert all(x.grad is not None for x in xs)
    assert all(p.grad is None for p in layer.parameters())


@every_layer
def test_input_is_not_changed(case: Case) -> None:
    layer = case.built()
    xs = case.data(4)
    before = [x.clone() for x in xs]
    gradients(layer, xs)
    layer(*xs)
    assert_equal(xs, before)


@every_layer
def test_bfloat16_under_autocast(case: Case) -> None:
    xs = case.data(8)
    want, wanted = gradients(case.built().eval(), xs)
    layer = case.built().eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, got = gradients(layer, xs)
    assert [g.dtype for g in got] == [torch.float32] * len(got)
    largest = max(float(b.abs().max()) for b in [*want, *wanted])
    for a, b in zip([*z, *got], [*want, *wanted], strict=True):
        size = largest if case.zero_gradient else float(b.abs().max())
        assert float((a.float() - b).abs().max()) <= case.loose * 0.03 * size


@every_layer
def test_in_bfloat16_itself(case: Case) -> None:
    xs = case.data(8)
    want, _ = gradients(case.built().eval(), xs)
    z, got = gradients(case.built().eval().bfloat16(), tuple(x.bfloat16() if x.is_floating_point() else x for x in xs))
    assert {t.dtype for t in [*z, *got]} == {torch.bfloat16}
    for a, b in zip(z, want, strict=True):
        assert float((a.float() - b).abs().max()) <= case.loose * 0.05 * float(b.abs().max())


@every_layer
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["deepcopy", "pickle"])
def test_copies_are_equal(case: Case, clone: Callable[[lm.Layer], lm.Layer]) -> None:
    layer = case.built()
    xs = case.data(4)
    other = clone(layer)
    assert (other.name, other.label, other.built, other.training) == (layer.name, layer.label, True, True)
    for mode in (True, False):
        torch.manual_seed(0)
        want, wanted = gradients(layer.train(mode), xs)
        torch.manual_seed(0)
        got, gotten = gradients(other.train(mode), xs)
        assert_equal([got, gotten], [want, wanted])
    unbuilt = clone(case.fresh())
    promised = trace(unbuilt, *case.shapes, dtype=case.dtype).outputs
    assert promised == tuple(tuple(t.shape[1:]) for t in want)


@every_layer
def test_state_dict_round_trip(case: Case) -> None:
    layer = case.built().eval()
    other = case.fresh().eval()
    trace(other, *case.shapes, dtype=case.dtype)
    other.load_state_dict(layer.state_dict())
    xs = case.data(4)
    assert_equal(other(*xs), layer(*xs))


@every_layer
def test_training_and_inference_differ_only_where_they_should(case: Case) -> None:
    """What draws or keeps statistics differs; everything else is the same function in both modes."""
    xs = case.data(6)
    inference, training = leaves(case.built().eval()(*xs)), leaves(case.built().train()(*xs))
    same = all(torch.equal(a, b) for a, b in zip(inference, training, strict=True))
    assert same == (not case.random and case.cls is not L.BatchNormalization)
    assert_equal(case.built().eval()(*xs), inference)


@every_layer
def test_compiled_equals_eager(case: Case) -> None:
    if not case.compiles:
        pytest.skip("torch.compile breaks the graph here: said in the layer's docstring")
    torch._dynamo.reset()
    layer = case.built().train(not case.random)
    other = copy.deepcopy(layer)
    xs = case.data(4)
    want, wanted = gradients(layer, xs)
    got, gotten = gradients(torch.compile(other, backend="aot_eager", fullgraph=True), xs)
    for a, b in zip([*got, *gotten], [*want, *wanted], strict=True):
        torch.testing.assert_close(a, b)
    after = dict(layer.named_buffers())
    for name, value in other.named_buffers():
        torch.testing.assert_close(value, after[name])


@pytest.mark.parametrize("case", [c for c in CASES if any(len(s) == 3 for s in c.shapes) and not c.random], ids=str)
def test_channels_last_equals_contiguous(case: Case) -> None:
    xs = case.data(4)
    want, wanted = gradients(case.built(), xs)
    last = tuple(x.to(memory_format=torch.channels_last) if x.dim() == 4 else x for x in xs)
    got, gotten = gradients(case.built().to(memory_format=torch.channels_last), last)
    for a, b in zip([*got, *gotten], [*want, *wanted], strict=True):
        torch.testing.assert_close(a, b)


@every_layer
def test_strided_input_equals_contiguous(case: Case) -> None:
    xs = case.data(4)
    strided = [x.new_empty(8, *x.shape[1:])[::2].copy_(x).transpose(0, -1).contiguous().transpose(0, -1) for x in xs]
    assert_equal(strided, xs)
    assert not any(x.is_contiguous() for x in strided)
    torch.testing.assert_close(leaves(case.built().eval()(*strided)), leaves(case.built().eval()(*xs)))


@pytest.mark.parametrize("case", [c for c in CASES if c.vmaps], ids=str)
def test_vmap_over_observations_equals_the_batch(case: Case) -> None:
    layer = case.built().eval()
    xs = case.data(5)
    want = leaves(layer(*xs))
    torch.testing.assert_close(leaves(vmap(lambda *one: [t[0] for t in leaves(layer(*(x[None] for x in one)))])(*xs)), want)
    if case.alone:
        torch.testing.assert_close(leaves(vmap(layer)(*xs)), want)
    names = [n for n, p in layer.named_parameters() if p.requires_grad]
    values = {n: layer.get_parameter(n).detach() for n in names}

    def loss(values: dict[str, Tensor], *one: Tensor) -> Tensor:
        outputs = leaves(functional_call(layer, values, tuple(x[None] for x in one)))
        return torch.stack([t.sin().sum() for t in outputs]).sum()

    asked = (0,) if case.whole else tuple(range(len(xs) + 1))
    each = vmap(grad(loss, argnums=asked), in_dims=(None, *[0] * len(xs)))(values, *xs)
    for i in range(5):
        one = grad(loss, argnums=asked)(values, *(x[i] for x in xs))
        torch.testing.assert_close(leaves(one), [t[i] for t in leaves(each)])


def initial(case: Case, seed: int, path: str, disturbance: int) -> dict[str, Tensor]:
    layer = case.fresh()
    layer.path = path
    seed_all(disturbance)
    with seeded(seed):
        trace(layer, *case.shapes, dtype=case.dtype)
    return layer.state_dict()


@every_layer
def test_initial_values_depend_on_seed_and_path_only(case: Case) -> None:
    one, same = initial(case, 0, "a/b", disturbance=1), initial(case, 0, "a/b", disturbance=2)
    assert all(torch.equal(one[n], same[n]) for n in one)
    other_seed, other_path = initial(case, 1, "a/b", 1), initial(case, 0, "a/c", 1)
    drawn = [n for n in one if one[n].numel() > 1 and one[n].unique().numel() > 2]
    assert not any(torch.equal(one[n], other[n]) for n in drawn for other in (other_seed, other_path))
    assert bool(drawn) == case.draws


@pytest.mark.parametrize("case", [c for c in CASES if len(c.shapes) == 1 and not c.whole], ids=str)
def test_it_has_a_place_in_a_network(case: Case) -> None:
    """In a chain that is built, summarized and run in both modes."""
    if len(trace(case.fresh(), *case.shapes).outputs) > 1:
        pytest.skip("several outputs")
    network = lm.Sequential([case.fresh(), L.Flatten(), L.Dense(2, activation="softmax")]).build(case.shape, seed=0)
    if case.prepare:
        case.prepare(network[0], *case.data(20))
    table = network.summary(show=False)
    assert table.learnable + table.frozen == sum(p.numel() for p in network.parameters())
    assert sum(row.learnable + row.frozen for row in table.rows) == table.learnable + table.frozen
    for mode in (True, False):
        z = network.train(mode)(*case.data(4))
        torch.testing.assert_close(z.sum(1), torch.ones(4))
