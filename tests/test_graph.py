"""Networks written as expressions: against the same network by hand, in double precision; what they remember, and refuse."""

from __future__ import annotations

import copy
import gc
import os
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, LayerError, NotBuiltError, ShapeError
from laminar.symbols import BATCH, Symbol


def randn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64).to(dtype)


def same_gradients(a: nn.Module, b: nn.Module, x: tuple[Tensor, ...]) -> None:
    """Equal outputs and equal gradients of inputs and parameters, which both hold in one order."""
    found = []
    for network in (a, b):
        inputs = [t.clone().requires_grad_() for t in x]
        z = network(*inputs)
        leaves = list(z.values()) if isinstance(z, dict) else list(z) if isinstance(z, tuple) else [z]
        sum((leaf.sin().sum() for leaf in leaves), torch.zeros(())).backward()
        found.append([*leaves, *(t.grad for t in inputs), *(p.grad for p in network.parameters())])
    assert len(found[0]) == len(found[1])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


# ── the same network by hand ─────────────────────────────────────────────────────────────────────────────────────────────


class ByHand(nn.Module):
    """Two inputs, a shared layer, a convolution of torch, functions, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.other, self.shared, self.out = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, a: Tensor, b: Tensor) -> Any:
        x = torch.cat([torch.relu(self.conv(a)), self.other(a)], 1)
        x = F.max_pool2d(x, 2)
        first, second = x.mean((2, 3)).split(4, 1)
        p, q = self.shared(first), self.shared(second)
        return self.out(p - 2 * q + 1), (p * q).sum(1, keepdim=True) / b


def functional() -> lm.Model:
    a, b = lm.Input((3, 8, 8), name="a"), lm.Input((1,), name="b")
    x = torch.cat([L.Conv2D(4, 3, activation="relu")(a), nn.Conv2d(3, 4, 3)(a)], 1)
    x = F.max_pool2d(x, 2)
    first, second = x.mean((2, 3)).split(4, 1)
    shared = L.Dense(5, name="shared")
    p, q = shared(first), shared(second)
    return lm.Model([a, b], (L.Dense(2)(p - 2 * q + 1), (p * q).sum(1, keepdim=True) / b))


def test_equals_the_network_by_hand() -> None:
    """Outputs and gradients in float64, with the same weights; also of its copies, and whole through torch.compile."""
    torch.manual_seed(0)
    hand, model = ByHand().double(), functional().build(seed=0).double()
    assert [n for n, _ in model.named_children()] == ["conv2d", "conv2d_1", "shared", "dense"]
    for mine, theirs in zip(model.parameters(), hand.parameters(), strict=True):
        theirs.data.copy_(mine.data)
    x = randn(6, 3, 8, 8), randn(6, 1).abs() + 1
    same_gradients(model, hand, x)
    same_gradients(copy.deepcopy(model), copy.deepcopy(hand), x)
    same_gradients(pickle.loads(pickle.dumps(model)), pickle.loads(pickle.dumps(hand)), x)
    model.zero_grad()
    hand.zero_grad()
    same_gradients(torch.compile(model, fullgraph=True, backend="eager"), hand, x)
    for one, other in zip(model(*(t[:0] for t in x)), hand(*(t[:0] for t in x)), strict=True):
        assert one.shape == other.shape


OPERATIONS: list[Callable[[Any, Any, int], Any]] = [
    lambda x, y, n: x + y,
    lambda x, y, n: x * y - n,
    lambda x, y, n: 1 / (1 + x**2) + y,
    lambda x, y, n: torch.tanh(x),
    lambda x, y, n: F.gelu(x),
    lambda x, y, n: torch.maximum(x, y),
    lambda x, y, n: x.flip(1),
    lambda x, y, n: x[:, torch.tensor([2, 0, 1])] * (y > 0),
    lambda x, y, n: torch.stack([x, y], 1).max(1)[0],
    lambda x, y, n: torch.where(x > y, x, y * 0.5),
    lambda x, y, n: (x.unsqueeze(2) @ y.unsqueeze(1)).softmax(2).sum(1),
    lambda x, y, n: torch.cat([x, y], 1).chunk(2, 1)[n % 2],
    lambda x, y, n: F.layer_norm(x, (3,)) - abs(-y),
    lambda x, y, n: torch.einsum("bi,bj->bij", x, y).mT[:, :, 0],
]


@settings(max_examples=int(os.environ.get("LAMINAR_PARITY_EXAMPLES", "5")) * 2, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_graphs_equal_the_same_program_on_numbers(data: st.DataObject) -> None:
    """The program is run twice: on symbols, which makes a network, and on numbers, with that network's layers."""
    steps = [
        (data.draw(st.integers(0, len(OPERATIONS) + 2)), data.draw(st.integers(0, 100)), data.draw(st.integers(0, 100)))
        for _ in range(data.draw(st.integers(1, 8)))
    ]
    torch.manual_seed(0)
    layers = [L.Dense(3, activation="tanh"), nn.Linear(3, 3), lm.Sequential([L.Dense(4), nn.Sigmoid(), L.Dense(3)])]

    def program(values: list[Any]) -> list[Any]:
        for kind, i, j in steps:
            x, y = values[i % len(values)], values[j % len(values)]
            values.append(layers[kind](x) if kind < len(layers) else OPERATIONS[kind - len(layers)](x, y, i))
        return values

    inputs = [lm.Input(3), lm.Input(3)]
    values = program([*inputs])
    end = sum(values[1:], values[0])  # so that everything is used
    model = lm.Model(inputs, [end, values[-1]]).build(seed=1).double()
    x = [randn(4, 3).requires_grad_(), (randn(4, 3) * 2).requires_grad_()]
    numbers = program([*x])
    expected = [sum(numbers[1:], numbers[0]), numbers[-1]]
    found = model(*x)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    both = [
        torch.autograd.grad(z[0].sum() + z[1].sin().sum(), [*x, *model.parameters()], allow_unused=True)
        for z in (found, expected)
    ]
    for one, other in zip(*both, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


# ── modules ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_shapes_are_known_at_once_and_parameters_come_with_build() -> None:
    x = lm.Input((3, 9, 9))
    y = L.Conv2D(4, 3)(x)
    assert isinstance(y, Tensor)
    assert (y.shape[1:], y.dtype, y.dim(), repr(y)) == ((4, 7, 7), torch.float32, 4, "Symbol(batch, 4, 7, 7)")
    model = lm.Model(x, L.Dense(2)(y.flatten(1)))
    assert (model.input_shape, model.output_shape) == ((3, 9, 9), (2,))
    assert list(model.parameters()) == []
    assert model.summary(show=False).learnable == 112 + 394
    assert list(model.parameters()) == [], "asking for the table has built it"
    with pytest.raises(NotBuiltError):
        model.save_weights("nowhere")
    model.build()
    assert sum(p.numel() for p in model.parameters()) == 112 + 394


def test_initial_values_depend_on_seed_and_path_alone() -> None:
    """Built, or fitted with a seed, or built as a Sequential: the same numbers; nothing is drawn before."""

    def network() -> lm.Model:
        x = lm.Input((4,))
        return lm.Model(x, L.Dense(2)(L.Dense(8, activation="relu")(x)))

    torch.manual_seed(3)
    state = torch.get_rng_state()
    built = network().build(seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    fitted = network()
    fitted.compile(lm.optimizers.SGD(1e-30), "mse")
    fitted.fit(randn(8, 4), randn(8, 2), seed=5, verbose=0)
    chain = lm.Sequential([L.Dense(8, activation="relu"), L.Dense(2)]).build(4, seed=5)
    for name, value in built.state_dict().items():
        torch.testing.assert_close(fitted.state_dict()[name], value)
        assert torch.equal(chain.state_dict()[name], value)


def test_data_of_another_shape_does_not_decide_on_the_parameters() -> None:
    def network() -> lm.Model:
        image = lm.Input((3, 8, 8))
        x = L.Conv2D(4, 3, padding="same")(image)
        model = lm.Model(image, L.Dense(2)(x.mean((2, 3))))
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    model = network()
    with pytest.raises(ShapeError) as caught:
        model.fit(np.zeros((4, 8, 8, 3), np.float32), np.zeros(4, int), verbose=0)
    assert str(caught.value) == (
        "layer 'conv2d' (Conv2D, filters=4, kernel_size=(3, 3), padding='same'): expected input of 3 channels, "
        "received (batch, 8, 8, 3), 8 channels. Pass x.movedim(-1, 1) if its last axis is the channels."
    )
    assert not list(model.parameters())
    other = network()
    other.fit(np.zeros((4, 3, 6, 6), np.float32), np.zeros(4, int), seed=0, verbose=0)  # which its layers can take
    told = network()
    told.build(seed=0)
    told.fit(np.zeros((4, 3, 6, 6), np.float32), np.zeros(4, int), seed=0, verbose=0)
    assert all(map(torch.equal, other.parameters(), told.parameters()))


def test_modules_of_others_are_called_when_the_network_runs() -> None:
    """With the mode, the hooks, the buffers and the weights that they have then; calling them on a symbol changes nothing."""
    norm, drop = nn.BatchNorm1d(3, momentum=None), nn.Dropout(0.5)
    before = copy.deepcopy(norm.state_dict())
    x = lm.Input((3,))
    y = drop(norm(x))
    for name, value in norm.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert norm.training
    model = lm.Model(x, y)
    assert [n for n, _ in model.named_children()] == ["batch_norm1d", "dropout"], "as torch calls them"
    data = randn(50, 3, dtype=torch.float32) * 3 + 1
    assert (model(data) == 0).float().mean() > 0.3
    torch.testing.assert_close(norm.running_mean, data.mean(0))
    model.eval()
    torch.testing.assert_close(model(data), (data - data.mean(0)) / (data.var(0) + norm.eps).sqrt())
    norm.register_forward_hook(lambda m, a, z: z * 0)
    assert torch.equal(model(data), torch.zeros(50, 3))


class Several(nn.Module):
    """Several results in a nest, one of them the input; a parameter of its own; other arguments than tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.scale = L.Dense(4), nn.Parameter(torch.full((4,), 2.0))
        self.kept: Any = None

    def forward(self, x: Tensor, *, power: int = 1, mask: Tensor | None = None) -> Any:
        self.kept = x
        h = self.inner(x)
        h += 1  # in place, on what is its own
        return {"h": h, "rest": [x, h.max(1), (h * self.scale) ** power], "mask": mask, "count": 3}


def test_a_module_of_another_with_several_results() -> None:
    x, mask = lm.Input((4,)), lm.Input((4,))
    module = Several()
    z = module(x, power=2, mask=mask * 1)
    assert z["count"] == 3
    z2 = module(z["rest"][2] * z["mask"], power=1)
    model = lm.Model([x, mask], [z["h"], z["rest"][1].values, z2["rest"][2]]).build(seed=0)
    a, b = randn(5, 4, dtype=torch.float32), randn(5, 4, dtype=torch.float32)
    want = module(a, power=2, mask=b)
    again = module(want["rest"][2] * want["mask"], power=1)["rest"][2]
    for one, other in zip(model(a, b), [want["h"], want["rest"][1].values, again], strict=True):
        assert torch.equal(one, other)
    assert [n for n, _ in model.named_parameters()] == ["several.scale", "several.inner.weight", "several.inner.bias"]
    assert type(module.kept) is Tensor, "what a module keeps of its call on symbols is no symbol"
    module.kept = None
    assert torch.equal(copy.deepcopy(model)(a, b)[2], again)


@pytest.mark.parametrize("make", [
    lambda x: nn.MultiheadAttention(8, 2, batch_first=True)(x, x, x, need_weights=False)[0],
    lambda x: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)(x),
    lambda x: nn.LSTM(8, 4, batch_first=True, bidirectional=True)(x)[0],
    lambda x: nn.GRU(8, 4, batch_first=True)(x)[1].transpose(0, 1),
    lambda x: nn.LazyLinear(3)(x),
    lambda x: nn.Sequential(nn.Flatten(), nn.LazyLinear(3), nn.LazyBatchNorm1d())(x),
    lambda x: nn.utils.parametrizations.weight_norm(nn.Linear(8, 3))(x),
    lambda x: nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True), lm.Sequential([L.Dense(2)]))(x),
    lambda x: nn.Bilinear(8, 8, 3)(x, x),
])  # fmt: skip
def test_torch_s_own_modules_are_called_on_symbols(make: Callable[[Any], Any]) -> None:
    """One module in the network for each that is called, and what it computes is what it computes alone."""
    torch.manual_seed(0)
    x = lm.Input((5, 8))
    model = lm.Model(x, make(x)).build(seed=0).eval()
    (module,) = model.children()
    data = randn(3, 5, 8, dtype=torch.float32)
    name = type(module).__name__
    alone = (
        module(data, data, data, need_weights=False)
        if name == "MultiheadAttention"
        else module(data, data)
        if name == "Bilinear"
        else module(data)
    )
    alone = alone[1].transpose(0, 1) if name == "GRU" else alone[0] if isinstance(alone, tuple) else alone
    torch.testing.assert_close(model(data), alone)
    assert model(data).shape[1:] == model.output_shape


def test_networks_inside_networks() -> None:
    """A functional model, a chain and a subclass, called on symbols, on one another and twice."""

    class Sub(lm.Model):
        def __init__(self) -> None:
            super().__init__()
            self.a = L.Dense(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) if x.shape[0] > 0 else x[:, :3]  # what symbols could not decide

    i, j = lm.Input(4, name="i"), lm.Input(4, name="j")
    inner = lm.Model({"i": i, "j": j}, {"sum": L.Dense(4)(i) + j}, name="inner")
    chain = lm.Sequential([L.Dense(4), nn.Tanh()])
    x = lm.Input(4)
    y = inner({"j": chain(x), "i": x})["sum"]
    y = inner([y, chain(y)])["sum"]
    model = lm.Model(x, Sub()(y)).build(seed=0)
    assert [n for n, _ in model.named_parameters()] == [
        "sequential.dense.weight", "sequential.dense.bias", "inner.dense.weight", "inner.dense.bias", "sub.a.weight", "sub.a.bias",
    ]  # fmt: skip
    data = randn(3, 4, dtype=torch.float32)
    by_hand = inner(data, chain(data))["sum"]
    by_hand = model.sub.a(inner(by_hand, chain(by_hand))["sum"])  # type: ignore[union-attr, operator]
    assert torch.equal(model(data), by_hand)
    assert model.summary(show=False).learnable == 2 * (4 * 4 + 4) + 4 * 3 + 3


def test_a_part_of_a_network_between_two_values_is_a_network() -> None:
    """Features of a network, and the rest of it, by its symbols: the modules are shared."""
    x = lm.Input((4,))
    h = L.Dense(6, activation="relu")(x)
    whole = lm.Model(x, z := L.Dense(2)(h)).build(seed=0)
    features, rest = lm.Model(x, h), lm.Model(h, z)
    data = randn(3, 4, dtype=torch.float32)
    assert features.dense is whole.dense
    assert (features.output_shape, rest.input_shape) == ((6,), (6,))
    assert torch.equal(rest(features(data)), whole(data))


def test_constants_and_parameters_beside_the_symbols() -> None:
    """They are the network's: saved, moved, trained; weights of a layer in the network stay that layer's."""
    table, scale = torch.arange(3.0), nn.Parameter(torch.ones(3))
    linear = nn.Linear(3, 3)
    x = lm.Input(3)
    model = lm.Model(x, (linear(x) + table) * scale @ linear.weight + table)
    assert list(model.state_dict()) == ["parameter", "constant", "linear.weight", "linear.bias"]
    data = randn(2, 3, dtype=torch.float32)
    assert torch.equal(model(data), (linear(data) + table) * scale @ linear.weight + table)
    assert model.double()(data.double()).dtype == torch.float64
    with pytest.raises(ArgumentError) as e:
        lm.Model(x, x @ linear.weight.mT)
    assert str(e.value) == (
        "Model: expected constants and parameters beside the symbols, received a tensor computed from parameters that learn "
        "before the network runs. Make it in the forward of a Layer of your own."
    )


def test_layers_are_replaced_as_in_any_module() -> None:
    x = lm.Input(4)
    model = lm.Model(x, L.Dense(2, name="head")(L.Dense(3)(x))).build(seed=0)
    model.head = nn.Linear(3, 7)
    assert model(torch.zeros(2, 4)).shape == (2, 7)


def test_inputs_in_a_tuple_and_by_name_and_whole_numbers_beside_others() -> None:
    """Of one dtype each: an embedding's whole numbers beside numbers, in training and in prediction."""
    words, numbers = lm.Input(5, dtype="int64", name="words"), lm.Input(2, name="numbers")
    x = torch.cat([nn.Embedding(7, 3)(words).mean(1), numbers], 1)
    model = lm.Model([words, numbers], L.Dense(1)(x))
    model.compile("adam", "mse")
    w, n, y = np.arange(40).reshape(8, 5) % 7, np.arange(16).reshape(8, 2), np.arange(8.0)
    model.fit((w, n), y, epochs=1, verbose=0, seed=0)
    by_name = model.predict({"numbers": n, "words": w})
    assert np.array_equal(by_name, model.predict((w, n)))
    assert np.array_equal(by_name, model(torch.from_numpy(w), torch.from_numpy(n).float()).detach().numpy())
    assert model.evaluate({"words": w, "numbers": n}, y).keys() == {"loss"}
    batches = [({"words": w[:4], "numbers": n[:4]}, y[:4]), ({"words": w[4:], "numbers": n[4:]}, y[4:])]
    model.fit(batches, epochs=1, verbose=0)
    with pytest.raises(ArgumentError) as e:
        model.predict({"words": w})
    assert str(e.value) == (
        "the network's inputs: expected 'words' (5,), 'numbers' (2,), received a dict of 'words'. "
        "Pass one tensor for each, in this order, or a dict by name."
    )


def test_a_graph_can_be_read_and_leaves_no_symbols_behind() -> None:
    x = lm.Input(4)
    model = lm.Model(x, torch.relu(L.Dense(2)(x)))
    assert model._graph is not None
    code = "".join(model._graph.code.split())
    assert "self.dense(" in code
    assert "torch.relu(" in code
    del x
    gc.collect()
    assert [o for o in gc.get_objects() if type(o) is Symbol] == []


# ── refused ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def message(function: Callable[[], object], kind: type[Exception]) -> str:
    with pytest.raises(kind) as e:
        function()
    return str(e.value)


@pytest.mark.parametrize(("use", "what"), [
    (float, "float(x)"), (bool, "if x"), (len, "len(x)"), (lambda x: next(iter(x)), "for ... in x"), (int, "int(x)"),
    (lambda x: x.item(), "x.item()"), (lambda x: x.tolist(), "x.tolist()"), (lambda x: x.numpy(), "x.numpy()"),
    (lambda x: 1 if x.sum() > 0 else 2, "if x"), (np.asarray, "np.asarray(x)"), (copy.deepcopy, "copy or pickle"),
    (pickle.dumps, "copy or pickle"), (lambda x: torch.masked_select(x, x > 0), "masked_select"),
])  # fmt: skip
def test_symbols_are_no_data(use: Callable[[Any], object], what: str) -> None:
    assert message(lambda: use(lm.Input(3)), LayerError) == (
        "a symbol of laminar.Input: expected layers, operators and functions of torch, received a use of its values "
        f"({what}), which are not there before the network runs. Write what needs them as a Layer with a forward of its own."
    )


def in_place(x: Any) -> Any:
    x += 1
    return x


def assigned(x: Any) -> None:
    x[:, 0] = 0


@pytest.mark.parametrize(("use", "name"), [
    (lambda x: x.relu_(), "relu_"), (in_place, "add_"), (assigned, "__setitem__"), (lambda x: F.relu(x, inplace=True), "relu"),
])  # fmt: skip
def test_writing_in_place_is_refused(use: Callable[[Any], object], name: str) -> None:
    assert message(lambda: use(lm.Input(3)), LayerError) == (
        f"a symbol of laminar.Input: expected operations that return something new, received {name}, which writes in place. "
        "Write x = x + 1 for x += 1, torch.relu(x) for x.relu_()."
    )


@pytest.mark.parametrize("use", [
    lambda x: x.reshape(x.shape[0], -1), lambda x: x.view(x.size(0) * 3, 3), lambda x: x.expand(x.shape), lambda x: x / x.shape[0],
])  # fmt: skip
def test_a_batch_size_baked_in_is_refused(use: Callable[[Any], object]) -> None:
    text = message(lambda: use(lm.Input((3, 3))), LayerError)
    assert text.endswith(
        " of a symbol of laminar.Input: expected a network for batches of any size, received the batch size as a number, from "
        "x.shape[0] or len(x). Write -1 for the batch axis: x.reshape(-1, 10), or x.flatten(1)."
    )


def test_graphs_that_are_none() -> None:
    a, b = lm.Input(3, name="a"), lm.Input(3, name="b")
    dense = L.Dense(2)
    assert message(lambda: lm.Model(a, dense(a + b)), LayerError) == (
        "Model: torch.Tensor.add: expected values that follow from the inputs of the network, received one that depends on the "
        "input 'b', which is not among them. Add it: Model([..., b], outputs)."
    ).replace("torch.Tensor.add", ".add")
    assert message(lambda: lm.Model(a, dense(b)), LayerError).startswith(
        "Model: layer 'dense' (Dense, units=2): expected values"
    )
    assert message(lambda: lm.Model([a, b], dense(a)), ArgumentError) == (
        "Model(inputs=): expected inputs that the outputs depend on, received 'b' (3,), on which none depends. "
        "Leave it out, or call a layer on it."
    )
    assert message(lambda: lm.Model([a, a], a), ArgumentError).startswith(
        "Model(inputs=): expected each once, received one twice"
    )
    assert message(lambda: lm.Model(a, torch.zeros(3)), ArgumentError) == (
        "Model(outputs=): expected what layers returned for symbols of Input, received a tensor. "
        "Write inputs = Input((3, 32, 32)), outputs = layer(inputs)."
    )
    assert message(lambda: lm.Model(a), ArgumentError).startswith(
        "Model(outputs=): expected what layers returned for symbols of Input, received None"
    )
    assert message(lambda: lm.Model([torch.zeros(3)], a), ArgumentError).startswith(
        "Model(inputs=): expected symbols of laminar.Input"
    )
    assert message(lambda: lm.Model(a, a.sum()), ArgumentError) == (
        "Model(outputs=): expected a result for each observation, received one without a batch axis. Keep axis 0: x.mean(1), not x.mean()."
    )
    assert message(lambda: lm.Model()(torch.zeros(2)), LayerError) == (
        "Model: expected a forward of its own, or inputs and outputs, received neither. Define forward(self, x)."
    )
    assert message(lambda: lm.Input((3, 0)), ArgumentError) == (
        "Input(shape=): expected whole numbers of at least 1, received (3, 0). Write Input((3, 32, 32)), without the batch axis."
    )
    assert message(lambda: lm.Input(3, dtype="int63"), TypeError) == (
        'Input(dtype=): expected a dtype of torch, received \'int63\'. Pass "float32" or "int64".'
    )


def test_a_wrong_shape_is_told_where_the_layer_is_called() -> None:
    assert message(lambda: L.Conv2D(4, 3)(lm.Input(7)), ShapeError).startswith(
        "layer 'conv2d' (Conv2D, filters=4, kernel_size=(3, 3)): expected"
    )
    assert message(lambda: nn.Linear(3, 2)(lm.Input(7)), LayerError).startswith(
        "layer Linear: expected an input that its forward can take, received (batch, 7), on which it raised RuntimeError:"
    )
    image, other = lm.Input((3, 8, 8)), lm.Input((5, 8, 8))
    assert message(lambda: image + other, LayerError) == (
        "add of symbols of laminar.Input: expected arguments that go together, received (batch, 3, 8, 8) and (batch, 5, 8, 8), "
        "on which it raised RuntimeError: Attempting to broadcast a dimension of length 5 at -3! Mismatching argument at index 1 "
        "had torch.Size([batch, 5, 8, 8]); but expected shape should be broadcastable to [batch, 3, 8, 8]. "
        "Compare the shapes: print(x) shows that of a symbol."
    )


def test_the_batch_of_symbols_is_a_prime() -> None:
    assert BATCH > 1000
    assert all(BATCH % n for n in range(2, 100))
