"""Recurrent layers: their cells in NumPy, step by step; fused kernels against steps; states, masks, wrappers, errors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, DataError, DtypeError, ShapeError, UnknownNameError
from laminar.layers.recurrence import Recurrence
from laminar.shapes import trace

KINDS: list[type[Recurrence]] = [L.SimpleRNN, L.GRU, L.LSTM]
every_kind = pytest.mark.parametrize("cls", KINDS)
Array = np.ndarray[Any, Any]


def random(layer: nn.Module, *shape: int, dtype: torch.dtype = torch.float32) -> Any:
    """Return `layer`, built for observations of `shape`, with weights that are nobody's special values."""
    trace(layer, shape, dtype=dtype)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) * 0.5)
    return layer.to(dtype)


# -- the cells, from the formulas, in NumPy float64 -----------------------------------------------------------------------


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def lstm_step(w: dict[str, Array], x: Array, h: Array, c: Array) -> tuple[Array, ...]:
    u = len(h)
    gates = [
        w["weight_ih"][k * u : (k + 1) * u] @ x + w["weight_hh"][k * u : (k + 1) * u] @ h + w["bias"][k * u : (k + 1) * u]
        for k in range(4)
    ]
    i, f, g, o = sigmoid(gates[0]), sigmoid(gates[1]), np.tanh(gates[2]), sigmoid(gates[3])
    c = f * c + i * g
    return o * np.tanh(c), c


def gru_step(w: dict[str, Array], x: Array, h: Array) -> tuple[Array, ...]:
    u = len(h)
    r_in, z_in, n_in = (w["weight_ih"] @ x).reshape(3, u)
    weights = w["weight_hh"].reshape(3, u, u)
    if "bias" in w:  # the reset gate before the product
        b = w["bias"].reshape(3, u)
        r, z = sigmoid(r_in + weights[0] @ h + b[0]), sigmoid(z_in + weights[1] @ h + b[1])
        n = np.tanh(n_in + weights[2] @ (r * h) + b[2])
    else:
        b, d = w["bias_ih"].reshape(3, u), w["bias_hh"].reshape(3, u)
        r, z = sigmoid(r_in + b[0] + weights[0] @ h + d[0]), sigmoid(z_in + b[1] + weights[1] @ h + d[1])
        n = np.tanh(n_in + b[2] + r * (weights[2] @ h + d[2]))
    return ((1 - z) * n + z * h,)


def rnn_step(w: dict[str, Array], x: Array, h: Array) -> tuple[Array, ...]:
    return (np.tanh(w["weight_ih"] @ x + w["weight_hh"] @ h + w["bias"]),)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("layer", "step"),
    [
        (L.SimpleRNN(4, return_sequences=True, return_state=True), rnn_step),
        (L.GRU(4, return_sequences=True, return_state=True), gru_step),
        (L.GRU(4, reset_after=False, return_sequences=True, return_state=True), gru_step),
        (L.LSTM(4, return_sequences=True, return_state=True), lstm_step),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_step_by_step_from_the_formula(
    layer: Recurrence, step: Callable[..., tuple[Array, ...]], fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fused:
        monkeypatch.setattr(Recurrence, "_may_fuse", lambda *_: False)
    random(layer, 6, 3, dtype=torch.float64)
    weights = {n: p.detach().numpy() for n, p in layer.named_parameters()}
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    z, *last = layer(x)
    for sequence in range(2):
        states = (np.zeros(4),) * len(layer.state_names)
        for t in range(6):
            states = step(weights, x[sequence, t].numpy(), *states)
            np.testing.assert_allclose(z[sequence, t].detach().numpy(), states[0], rtol=0, atol=1e-12)
        for got, want in zip(last, states, strict=True):
            np.testing.assert_allclose(got[sequence].detach().numpy(), want, rtol=0, atol=1e-12)


# -- fused kernels and steps ----------------------------------------------------------------------------------------------

KERNELS = {"SimpleRNN": "rnn_tanh", "GRU": "gru", "LSTM": "lstm"}


def outputs_and_gradients(layer: Recurrence, x: Tensor) -> list[Tensor]:
    x = x.detach().clone().requires_grad_()
    z = layer(x)
    return [*z, *torch.autograd.grad([t.sin().sum() for t in z], [x, *layer.parameters()])]


@every_kind
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("backwards", [True, False])
def test_fused_equals_steps(cls: type[Recurrence], bias: bool, backwards: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = random(cls(5, use_bias=bias, go_backwards=backwards, return_sequences=True, return_state=True), 7, 3)
    x = torch.randn(4, 7, 3)
    calls: list[str] = []
    name = KERNELS[cls.__name__]
    kernel = getattr(torch, name)
    monkeypatch.setattr(torch, name, lambda *args: calls.append(name) or kernel(*args))
    one = outputs_and_gradients(layer, x)
    assert calls == [name], "torch's kernel is what runs where nothing hinders it"
    monkeypatch.setattr(Recurrence, "_may_fuse", lambda *_: False)
    torch.testing.assert_close(outputs_and_gradients(layer, x), one, rtol=1e-5, atol=1e-6)
    assert calls == [name]


def test_relu_has_a_kernel_too_and_other_activations_go_step_by_step() -> None:
    x, states = torch.randn(2, 4, 3), (torch.zeros(2, 5),)
    assert random(L.SimpleRNN(5, "relu"), 4, 3).fused(x, states) is not None
    assert random(L.SimpleRNN(5, "softplus"), 4, 3).fused(x, states) is None
    assert random(L.GRU(5, reset_after=False), 4, 3).fused(x, states) is None
    assert random(L.LSTM(5, recurrent_activation="hard_sigmoid"), 4, 3).fused(x, states * 2) is None


def test_weights_go_to_torch_and_back() -> None:
    layer, theirs = random(L.LSTM(4, return_sequences=True), 5, 3), nn.LSTM(3, 4, batch_first=True)
    x = torch.randn(2, 5, 3)
    with torch.no_grad():
        layer.weight_ih.copy_(theirs.weight_ih_l0)
        layer.weight_hh.copy_(theirs.weight_hh_l0)
        layer.bias.copy_(theirs.bias_ih_l0 + theirs.bias_hh_l0)
    torch.testing.assert_close(layer(x), theirs(x)[0])


# -- initial values -------------------------------------------------------------------------------------------------------


def test_initial_values_are_those_of_keras() -> None:
    """Glorot uniform over (units·4, features), orthogonal, zero biases but for the forget gate's ones."""
    layer = L.LSTM(8)
    layer(torch.zeros(1, 2, 24))
    limit = (6 / (24 + 4 * 8)) ** 0.5
    assert limit * 0.97 < float(layer.weight_ih.detach().abs().max()) <= limit
    torch.testing.assert_close((layer.weight_hh.T @ layer.weight_hh).detach(), torch.eye(8), rtol=0, atol=1e-5)
    assert layer.bias is not None
    assert layer.bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16
    plain = L.LSTM(8, unit_forget_bias=False)
    plain(torch.zeros(1, 2, 24))
    assert not plain.bias.any()  # type: ignore[union-attr]


# -- states ---------------------------------------------------------------------------------------------------------------


@every_kind
def test_stateful_over_batches_is_one_long_sequence(cls: type[Recurrence]) -> None:
    layer = random(cls(4, return_sequences=True, stateful=True), 3, 2)
    long = random(cls(4, return_sequences=True), 3, 2)
    x = torch.randn(5, 12, 2)
    for _ in range(2):
        got = torch.cat([layer(part) for part in x.split(3, 1)], 1)
        torch.testing.assert_close(got, long(x))
        layer.reset_states()


def test_states_are_kept_without_graph_and_not_saved() -> None:
    layer = random(L.LSTM(4, stateful=True), 3, 2)
    x = torch.randn(5, 3, 2)
    layer(x).sum().backward()
    assert (layer.h.shape, layer.h.requires_grad, layer.c.requires_grad) == ((5, 4), False, False)
    layer(x).sum().backward()  # the first graph is gone
    assert set(layer.state_dict()) == {"weight_ih", "weight_hh", "bias"}
    torch.testing.assert_close(copy.deepcopy(layer)(x), layer(x))
    assert layer.double()(x.double()).dtype is torch.float64


def test_a_stateful_layer_refuses_a_batch_of_another_size_until_it_is_reset() -> None:
    layer = random(L.GRU(4, stateful=True, name="memory"), 3, 2)
    layer(torch.randn(5, 3, 2))
    with pytest.raises(ShapeError) as caught:
        layer(torch.randn(2, 3, 2))
    assert str(caught.value) == (
        "layer 'memory' (GRU, units=4, stateful=True): expected a batch of 5 sequences, to go on from the states of the batch "
        "before, received 2. Call reset_states() before a batch of another size; drop_last=True keeps one out of fit."
    )
    layer.reset_states()
    layer(torch.randn(2, 3, 2))


def test_a_trace_leaves_the_states_alone() -> None:
    layer = random(L.LSTM(4, stateful=True), 3, 2)
    layer(torch.randn(5, 3, 2))
    before = layer.h.clone()
    trace(layer, (3, 2))
    torch.testing.assert_close(layer.h, before)


def test_stateful_training_goes_on_from_batch_to_batch() -> None:
    """Four long sequences, cut into parts of three steps: batch b holds part b of each."""
    x = torch.randn(4, 30, 1)
    parts = x.reshape(4, 10, 3, 1).transpose(0, 1).reshape(40, 3, 1)
    targets = x.cumsum(1)[:, 2::3].transpose(0, 1).reshape(40, 1)
    layer = L.LSTM(8, stateful=True)
    model = lm.Sequential([layer, L.Dense(1)])
    model.compile("adam", "mse")
    model.fit(parts, targets, batch_size=4, shuffle=False, epochs=1, verbose=0, seed=0)
    assert layer.h.shape == (4, 8)
    layer.reset_states()
    together = model.predict(parts, batch_size=4)
    layer.reset_states()
    torch.testing.assert_close(torch.cat([model(p) for p in parts.split(4)]), together)
    layer.reset_states()
    alone = torch.cat([(layer.reset_states(), model(p))[1] for p in parts.split(4)])
    assert float((alone - together).detach().abs().max()) > 1e-3


@every_kind
def test_initial_state_goes_on_where_another_call_ended(cls: type[Recurrence]) -> None:
    layer = random(cls(4, return_state=True), 6, 2)
    x = torch.randn(3, 6, 2)
    _, *middle = layer(x[:, :4])
    state = middle if len(middle) > 1 else middle[0]
    torch.testing.assert_close(layer(x[:, 4:], initial_state=state), layer(x))


def test_an_initial_state_that_does_not_fit_is_refused() -> None:
    layer = random(L.LSTM(4, name="memory"), 3, 2)
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(5, 3, 2), initial_state=torch.zeros(5, 4))
    assert str(caught.value) == (
        "layer 'memory' (LSTM, units=4): expected initial_state (h, c) of shape (5, 4) each, received (5, 4). "
        "Give one number for each sequence and unit."
    )


# -- masks ----------------------------------------------------------------------------------------------------------------


@every_kind
def test_masked_ends_are_as_if_they_were_not_there(cls: type[Recurrence]) -> None:
    layer = random(cls(4, return_sequences=True, return_state=True), 6, 2)
    x, lengths = torch.randn(3, 6, 2), torch.tensor([6, 2, 4])
    z, *last = layer(x, mask=torch.arange(6) < lengths[:, None])
    for i, n in enumerate(lengths.tolist()):
        short, *end = layer(x[i : i + 1, :n])
        torch.testing.assert_close(z[i : i + 1, :n], short)
        torch.testing.assert_close(z[i, n:], short[0, -1:].expand(6 - n, 4))
        torch.testing.assert_close([t[i : i + 1] for t in last], end)


def test_mask_value_masks_steps_and_joins_a_mask() -> None:
    layer = random(L.LSTM(4), 5, 2)
    masked = random(L.LSTM(4, mask_value=-1.0), 5, 2)
    x = torch.randn(3, 5, 2)
    x[:, 1] = -1.0
    mask = torch.rand(3, 5) < 0.7
    counts = torch.tensor([True, False, True, True, True])
    torch.testing.assert_close(masked(x), layer(x[:, counts]))
    torch.testing.assert_close(masked(x, mask=mask), layer(x, mask=mask & counts))


def test_a_mask_that_does_not_fit_is_refused() -> None:
    layer = random(L.LSTM(4, name="memory"), 3, 2)
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(5, 3, 2), mask=torch.ones(5, 3, 2))
    assert str(caught.value) == (
        "layer 'memory' (LSTM, units=4): expected mask (batch, steps) = (5, 3), received (5, 3, 2). "
        "Give one True or False for each step of each sequence."
    )


# -- dropout --------------------------------------------------------------------------------------------------------------


@every_kind
def test_dropout_takes_the_same_features_at_every_step(cls: type[Recurrence]) -> None:
    layer = random(cls(4, dropout=0.5), 6, 8)
    x = torch.randn(3, 6, 8)
    torch.manual_seed(5)
    z = layer(x)
    torch.manual_seed(5)
    kept = nn.functional.dropout(torch.ones(3, 1, 8), 0.5)
    plain = layer.eval()(x * kept)
    torch.testing.assert_close(z, plain)
    assert not torch.equal(layer(x), z)


def test_recurrent_dropout_takes_the_same_units_at_every_step() -> None:
    """With one unit kept of h, and every other dropped, the gates read that unit alone."""
    layer = random(L.SimpleRNN(4, recurrent_dropout=0.5), 6, 3)
    x = torch.randn(2, 6, 3)
    torch.manual_seed(5)
    z = layer(x)
    torch.manual_seed(5)
    kept = nn.functional.dropout(torch.ones(2, 4), 0.5)
    h = torch.zeros(2, 4)
    for t in range(6):
        h = torch.tanh(x[:, t] @ layer.weight_ih.T + layer.bias + (h * kept) @ layer.weight_hh.T)
    torch.testing.assert_close(z, h)


# -- shapes, arguments, words ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (784,),
            "layer 'lstm' (LSTM, units=4): expected input (batch, steps, features), received (batch, 784), 2 axes. "
            "Add Reshape((784, 1)) before it, or cut a series with lm.data.windows(series, steps).",
        ),
        (
            (3, 8, 9),
            "layer 'lstm' (LSTM, units=4): expected input (batch, steps, features), received (batch, 3, 8, 9), 4 axes. "
            "Add Reshape((3, 72)) before it.",
        ),
        ((0, 9), "layer 'lstm' (LSTM, units=4): expected at least 1 step, received (batch, 0, 9). Leave empty sequences out."),
    ],
)
def test_a_shape_that_is_no_sequence_is_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        L.LSTM(4)(torch.zeros(2, *shape))
    assert str(caught.value) == message


def test_another_number_of_features_is_refused_another_number_of_steps_is_not() -> None:
    layer = random(L.LSTM(4), 3, 2)
    assert layer(torch.zeros(2, 9, 2)).shape == (2, 4)
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(2, 3, 5))
    assert str(caught.value) == (
        "layer 'lstm' (LSTM, units=4): expected input (batch, steps, 2), received (batch, 3, 5), 5 features. "
        "Give it 2 features, or build a new layer."
    )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: L.LSTM(0), ArgumentError, "LSTM(units=): expected a whole number of at least 1, received 0. Pass 1 or more."),
        (lambda: L.GRU(4, dropout=1.0), ArgumentError, "GRU(dropout=): expected a probability in [0, 1), received 1.0. Pass dropout=0.2."),
        (lambda: L.LSTM(4, mask_value="0"), ArgumentError, "LSTM(mask_value=): expected a number, or None, received '0'. Pass mask_value=0.0."),
        (lambda: L.Bidirectional(nn.LSTM(2, 3)), ArgumentError, "Bidirectional(layer=): expected a SimpleRNN, GRU or LSTM, received LSTM. Pass LSTM(4), say."),
        (lambda: L.Bidirectional(L.LSTM(3), "max"), ArgumentError, "Bidirectional(merge_mode=): expected 'concat', 'sum', 'mul', 'ave' or None, received 'max'. Pass merge_mode=\"concat\"."),
        (lambda: L.Bidirectional(random(L.LSTM(3), 4, 2)), ArgumentError, "Bidirectional(layer=): expected a layer that is not built yet, received one with weights. Pass a new one; load weights afterwards."),
        (lambda: L.Bidirectional(L.LSTM(3), backward_layer=L.LSTM(3)), ArgumentError, "Bidirectional(backward_layer=): expected a layer that runs the other way, received go_backwards=False in both. Give it go_backwards=True."),
        (lambda: L.Bidirectional(L.LSTM(3), backward_layer=L.LSTM(3, go_backwards=True, return_state=True)), ArgumentError, "Bidirectional(backward_layer=): expected return_state=False, as in layer, received True. Give it return_state=False."),
        (lambda: L.Bidirectional(L.LSTM(3), "sum", L.LSTM(4, go_backwards=True)), ArgumentError, "Bidirectional(backward_layer=): expected 3 units, to be merged by 'sum', received 4. Give it as many, or pass merge_mode=\"concat\"."),
        (lambda: L.TimeDistributed("dense"), ArgumentError, "TimeDistributed(layer=): expected a layer or torch.nn.Module, received str. Pass Dense(10), say."),
        (lambda: L.Embedding(0, 4), ArgumentError, "Embedding(input_dim=): expected a whole number of at least 1, received 0. Pass 1 or more."),
    ],
)  # fmt: skip
def test_wrong_arguments_fail_at_once(make: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message


def test_an_unknown_option_gets_the_closest_match() -> None:
    with pytest.raises(
        UnknownNameError, match=r"LSTM: argument 'return_sequence' is unknown. Did you mean 'return_sequences'\?"
    ):
        L.LSTM(4, return_sequence=True)  # type: ignore[call-arg]


def test_units_are_explained_against_steps() -> None:
    assert str(L.LSTM(4).explain((10, 8))) == (
        "LSTM(units=4): (10, 8) → (4,)\n"
        "  parameters: 4·((8+4)·4+4) = 208\n"
        "  gates input, forget, cell, output, each with weights and biases of its own\n"
        "  states h and c: 4 numbers each for every sequence, one a unit\n"
        "  units are not steps: the same 4 units, with the same weights, run over all 10 steps one after the other, and each step reads h of the step before it\n"
        "  output (4,): h of the last step; return_sequences=True gives (10, 4)"
    )
    assert "output (10, 4): h of every step; return_sequences=False gives (4,)" in str(
        L.LSTM(4, return_sequences=True).explain((10, 8))
    )
    assert L.GRU(4).explain((10, 8)).lines[0] == "parameters: 3·((8+4)·4+2·4) = 168"
    assert L.SimpleRNN(4, use_bias=False).explain((10, 8)).lines[0] == "parameters: (8+4)·4 = 48"


# -- embeddings, and layers around layers ---------------------------------------------------------------------------------


def test_a_number_outside_the_vocabulary_is_named() -> None:
    layer = L.Embedding(5, 2)
    assert layer(torch.tensor([[4, 0]], dtype=torch.uint8)).shape == (1, 2, 2)
    with pytest.raises(DataError) as caught:
        layer(torch.tensor([[1, 7], [9, 2]]))
    assert str(caught.value) == (
        "layer 'embedding' (Embedding, input_dim=5, output_dim=2): expected whole numbers from 0 to 4, a vocabulary of 5, "
        "received 7. Number the words from 0 to 4, or pass Embedding(input_dim=10)."
    )
    with pytest.raises(DataError, match=r"received -1\. Number the words from 0 to 4\.$"):
        layer(torch.tensor([[1, -1]]))
    with pytest.raises(DtypeError) as wrong:
        layer(torch.tensor([[1.0, 2.0]]))
    assert str(wrong.value) == (
        "layer 'embedding' (Embedding, input_dim=5, output_dim=2): expected whole numbers, received dtype torch.float32. "
        'Convert them: x.astype("int64").'
    )


def test_mask_zero_gives_exact_zeros_that_do_not_learn() -> None:
    layer = random(L.Embedding(5, 3, mask_zero=True), 4)
    z = layer(torch.tensor([[2, 0, 1, 0]]))
    assert not z[0, [1, 3]].any()
    assert z[0, [0, 2]].all()
    z.sum().backward()
    assert layer.weight.grad.any(1).tolist() == [False, True, True, False, False]


def test_whole_numbers_stay_whole_in_a_network() -> None:
    """Built from a shape alone, summarized, trained and asked on integer arrays."""
    rng = np.random.default_rng(0)
    x = rng.integers(1, 20, (64, 6))
    y = (x == 7).any(1).astype(np.int64)
    model = lm.Sequential([L.Embedding(20, 8, mask_zero=True), L.LSTM(16, mask_value=0.0), L.Dense(2, "softmax")])
    model.build((6,), seed=0)
    assert model.summary(show=False).rows[0].output == ((6, 8),)
    model.compile(lm.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    losses = model.fit(x, y, epochs=4, batch_size=16, seed=0, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for kind in (np.int32, np.uint8):
        padded = np.concatenate([x, np.zeros((64, 3))], 1).astype(kind)
        np.testing.assert_allclose(model.predict(padded), model.predict(x), rtol=0, atol=1e-6)


def test_torchs_embedding_is_built_from_a_shape_too() -> None:
    model = lm.Sequential([nn.Embedding(20, 8), L.GRU(3)]).build((6,))
    assert model.output_shape == (3,)


def test_a_layer_of_ones_own_can_ask_for_whole_numbers() -> None:
    class Shifted(lm.Layer):
        takes_whole_numbers = True

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.one_hot(x, 5).float()

    model = lm.Sequential([Shifted(), L.Flatten(), L.Dense(1)])
    model.compile("adam", "mse")
    model.fit(np.arange(20).reshape(10, 2) % 5, np.zeros(10), verbose=0)


def test_bidirectional_runs_one_layer_each_way() -> None:
    own = random(L.Bidirectional(L.LSTM(3, return_sequences=True, return_state=True)), 5, 2)
    x = torch.randn(4, 5, 2)
    z, h, c, back_h, back_c = own(x)
    one, *states = own.forward_layer(x)
    other, *others = own.backward_layer(x)
    torch.testing.assert_close([z, h, c, back_h, back_c], [torch.cat((one, other.flip(1)), -1), *states, *others])
    assert own.backward_layer.name == "backward_lstm"
    assert not torch.equal(own.forward_layer.weight_ih, own.backward_layer.weight_ih)
    torch.testing.assert_close(own(x, initial_state=[h, c, back_h, back_c])[1:], tuple(
        t for p, s in ((own.forward_layer, (h, c)), (own.backward_layer, (back_h, back_c))) for t in p(x, initial_state=s)[1:]
    ))  # fmt: skip


def test_stateful_bidirectional_can_be_reset() -> None:
    own = random(L.Bidirectional(L.GRU(3, stateful=True)), 5, 2)
    x = torch.randn(4, 5, 2)
    first, second = own(x), own(x)
    own.reset_states()
    assert torch.equal(own(x), first)
    assert not torch.equal(second, first)


def test_time_distributed_takes_any_module() -> None:
    own = L.TimeDistributed(nn.Conv2d(1, 2, 3))
    assert own(torch.zeros(4, 10, 1, 8, 8)).shape == (4, 10, 2, 6, 6)
    x = torch.randn(4, 2, 1, 8, 8)
    torch.testing.assert_close(own(x)[:, 1], own.layer(x[:, 1]))
    with pytest.raises(ShapeError) as caught:
        L.TimeDistributed(L.Dense(3), name="each")(torch.zeros(4))
    assert str(caught.value) == (
        "layer 'each' (TimeDistributed, Dense(units=3)): expected input (batch, steps, ...), received (batch,). Pass x[:, None], say."
    )


def test_layers_stack() -> None:
    model = lm.Sequential(
        [L.LSTM(5, return_sequences=True), L.Bidirectional(L.GRU(3, return_sequences=True)), L.SimpleRNN(2), L.Dense(1)]
    )
    assert model.build((10, 8), seed=0).output_shape == (1,)
    assert [r.output for r in model.summary(show=False).rows if "/" not in r.path] == [((10, 5),), ((10, 6),), ((2,),), ((1,),)]
