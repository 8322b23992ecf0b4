"""Recurrent layers, and the layers around them, against torch's and Keras': same weights, random configurations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity.support import assert_close, copy_into, gradients, keras, parity, same_initial
from torch import Tensor, nn

from laminar import layers as L
from laminar.layers.recurrence import Recurrence

KINDS: dict[str, tuple[type[Recurrence], type[nn.RNNBase]]] = {
    "SimpleRNN": (L.SimpleRNN, nn.RNN),
    "GRU": (L.GRU, nn.GRU),
    "LSTM": (L.LSTM, nn.LSTM),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
sizes = st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))  # batch, steps, features, units


def as_keras(layer: Recurrence, tensors: list[Tensor]) -> list[Tensor]:
    """Return tensors laid out like `layer.parameters()` as Keras lays them out: transposed, a GRU's gates as z, r, h."""

    def order(t: Tensor) -> Tensor:
        if isinstance(layer, L.GRU):
            r, z, n = t.chunk(3)
            t = torch.cat((z, r, n))
        return t.T if t.dim() == 2 else t

    ordered = [order(t) for t in tensors]
    return [*ordered[:2], torch.stack(ordered[2:])] if len(ordered) == 4 else ordered


def mask_of(kind: str, batch: int, steps: int) -> Tensor | None:
    """Return no mask, one that cuts the ends off, or one with holes, in which a sequence may be masked whole."""
    if kind == "none":
        return None
    if kind == "lengths":
        return torch.arange(steps) < torch.randint(1, steps + 1, (batch, 1))
    return torch.rand(batch, steps) < 0.6


def call(module: Any, mask: Tensor | None, states: list[Tensor]) -> Callable[..., Any]:
    """Return `module` as a function of x and the initial states."""
    if not states:
        return lambda x: module(x, mask=mask)
    return lambda x, *s: module(x, initial_state=list(s) if len(s) > 1 else s[0], mask=mask)


@every_kind
@parity
@given(
    sizes=sizes,
    activation=st.sampled_from(["tanh", "tanh", "relu", "softplus", None]),
    gates=st.sampled_from(["sigmoid", "sigmoid", "hard_sigmoid"]),
    flags=st.fixed_dictionaries(
        {
            name: st.booleans()
            for name in ("use_bias", "return_sequences", "return_state", "go_backwards", "zero_output_for_mask")
        }
    ),
    mask=st.sampled_from(["none", "none", "lengths", "holes"]),
    initial=st.booleans(),
    reset_after=st.booleans(),
)
def test_against_keras(
    kind: str,
    sizes: tuple[int, ...],
    activation: str | None,
    gates: str,
    flags: dict[str, bool],
    mask: str,
    initial: bool,
    reset_after: bool,
) -> None:
    batch, steps, features, units = sizes
    options: dict[str, Any] = dict(flags)
    if kind != "SimpleRNN":
        options["recurrent_activation"] = gates
    if kind == "GRU":
        options["reset_after"] = reset_after
    own = same_initial(KINDS[kind][0](units, activation, **options), (steps, features))
    assert isinstance(own, Recurrence)
    theirs = getattr(keras.layers, kind)(units, activation, **options)
    theirs.build((batch, steps, features))
    copy_into(as_keras(own, list(own.parameters())), theirs.trainable_variables)

    x, counts = torch.randn(batch, steps, features), mask_of(mask, batch, steps)
    states = [torch.randn(batch, units) for _ in own.state_names] if initial else []
    z, grads = gradients(call(own, counts, states), [x, *states], list(own.parameters()))
    want, wanted = gradients(call(theirs, counts, states), [x, *states], [v.value for v in theirs.trainable_variables])
    assert_close(z, want)
    first = 1 + len(states)
    assert_close([*grads[:first], *as_keras(own, grads[first:])], wanted)


@every_kind
@parity
@given(sizes=sizes, bias=st.booleans(), backwards=st.booleans(), initial=st.booleans())
def test_against_torch(kind: str, sizes: tuple[int, ...], bias: bool, backwards: bool, initial: bool) -> None:
    batch, steps, features, units = sizes
    cls, peer = KINDS[kind]
    options: dict[str, Any] = {"use_bias": bias, "go_backwards": backwards, "return_sequences": True, "return_state": True}
    own = same_initial(cls(units, **options), (steps, features))
    assert isinstance(own, Recurrence)
    theirs = peer(features, units, bias=bias, batch_first=True)
    weights = list(theirs.parameters())
    copy_into(list(own.parameters()), weights[: len(list(own.parameters()))])
    if bias and kind != "GRU":
        nn.init.zeros_(weights[3])
    x = torch.randn(batch, steps, features)
    states = [torch.randn(batch, units) for _ in own.state_names] if initial else []

    def peer_call(x: Tensor, *s: Tensor) -> list[Tensor]:
        start: Any = None if not s else s[0][None] if len(s) == 1 else tuple(t[None] for t in s)
        z, last = theirs(x.flip(1) if backwards else x, start)
        return [z, *(t[0] for t in (last if isinstance(last, tuple) else (last,)))]

    asked = list(own.parameters())
    z, grads = gradients(call(own, None, states), [x, *states], asked)
    want, wanted = gradients(peer_call, [x, *states], weights[: len(asked)])
    assert_close([*z, *grads], [*want, *wanted])


@every_kind
@parity
@given(
    sizes=sizes,
    merge=st.sampled_from(["concat", "sum", "mul", "ave", None]),
    sequences=st.booleans(),
    state=st.booleans(),
    mask=st.sampled_from(["none", "lengths", "holes"]),
    initial=st.booleans(),
)
def test_bidirectional_against_keras(
    kind: str, sizes: tuple[int, ...], merge: Any, sequences: bool, state: bool, mask: str, initial: bool
) -> None:
    batch, steps, features, units = sizes
    options: dict[str, Any] = {"return_sequences": sequences, "return_state": state}
    own = same_initial(L.Bidirectional(KINDS[kind][0](units, **options), merge), (steps, features))
    assert isinstance(own, L.Bidirectional)
    theirs = keras.layers.Bidirectional(getattr(keras.layers, kind)(units, **options), merge)
    theirs.build((batch, steps, features))
    parts = [own.forward_layer, own.backward_layer]
    values = [list(p.parameters()) for p in parts]
    copy_into([w for p, v in zip(parts, values, strict=True) for w in as_keras(p, v)], theirs.trainable_variables)

    x, counts = torch.randn(batch, steps, features), mask_of(mask, batch, steps)
    states = [torch.randn(batch, units) for _ in range(2 * len(parts[0].state_names))] if initial else []
    z, grads = gradients(call(own, counts, states), [x, *states], [*values[0], *values[1]])
    want, wanted = gradients(call(theirs, counts, states), [x, *states], [v.value for v in theirs.trainable_variables])
    assert_close(z, want)
    first, half = 1 + len(states), len(values[0])
    own_grads = [*as_keras(parts[0], grads[first : first + half]), *as_keras(parts[1], grads[first + half :])]
    assert_close([*grads[:first], *own_grads], wanted)


@every_kind
@parity
@given(sizes=sizes, layers=st.integers(1, 3), both=st.booleans())
def test_stacked_and_bidirectional_against_torch(kind: str, sizes: tuple[int, ...], layers: int, both: bool) -> None:
    batch, steps, features, units = sizes
    cls, peer = KINDS[kind]
    chain: list[Any] = [cls(units, return_sequences=True) for _ in range(layers)]
    own = same_initial(nn.Sequential(*(L.Bidirectional(c) if both else c for c in chain)), (steps, features))
    theirs = peer(features, units, num_layers=layers, bidirectional=both, batch_first=True)
    parts = [p for m in own for p in ((m.forward_layer, m.backward_layer) if both else (m,))]
    bits = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if kind == "GRU" else ["bias"])]
    places = [f"l{i}{suffix}" for i in range(layers) for suffix in (["", "_reverse"] if both else [""])]
    shared = []
    for part, place in zip(parts, places, strict=True):
        names = [f"{bit}_{place}" if bit != "bias" else f"bias_ih_{place}" for bit in bits]
        shared += names
        copy_into([getattr(part, bit) for bit in bits], [getattr(theirs, name) for name in names])
        if kind != "GRU":
            nn.init.zeros_(getattr(theirs, f"bias_hh_{place}"))
    x = torch.randn(batch, steps, features)
    z, grads = gradients(own, [x], [getattr(p, bit) for p in parts for bit in bits])
    want, wanted = gradients(lambda x: theirs(x)[0], [x], [getattr(theirs, name) for name in shared])
    assert_close([*z, *grads], [*want, *wanted])


@every_kind
@parity
@given(sizes=sizes, batches=st.integers(2, 3), backwards=st.booleans())
def test_stateful_over_consecutive_batches_against_keras(
    kind: str, sizes: tuple[int, ...], batches: int, backwards: bool
) -> None:
    batch, steps, features, units = sizes
    own = same_initial(KINDS[kind][0](units, stateful=True, go_backwards=backwards), (steps, features))
    assert isinstance(own, Recurrence)
    theirs = getattr(keras.layers, kind)(units, stateful=True, go_backwards=backwards)
    theirs.build((batch, steps, features))
    copy_into(as_keras(own, list(own.parameters())), theirs.trainable_variables)
    for _ in range(2):
        for _ in range(batches):
            x = torch.randn(batch, steps, features)
            assert_close([own(x)], [theirs(x)])
        own.reset_states()
        theirs.reset_states()


@parity
@given(
    words=st.integers(1, 9),
    length=st.integers(1, 4),
    shape=st.lists(st.integers(1, 4), max_size=2),
)
def test_embedding(words: int, length: int, shape: list[int]) -> None:
    own = same_initial(L.Embedding(words, length), shape, dtype=torch.int64)
    x = torch.randint(words, (3, *shape))
    z, grads = gradients(own, [x], list(own.parameters()))
    theirs = keras.layers.Embedding(words, length)
    theirs.build((None, *shape))
    peer = nn.Embedding(words, length)
    copy_into(list(own.parameters()), theirs.trainable_variables)
    copy_into(list(own.parameters()), list(peer.parameters()))
    for module, weights in ((theirs, [v.value for v in theirs.trainable_variables]), (peer, list(peer.parameters()))):
        want, wanted = gradients(module, [x], weights)
        assert_close([*z, *grads], [*want, *wanted])


@parity
@given(
    masked=st.booleans(),
    sequences=st.booleans(),
    lengths=st.lists(st.integers(1, 5), min_size=2, max_size=4),
)
def test_an_embedding_with_mask_zero_before_an_lstm(masked: bool, sequences: bool, lengths: list[int]) -> None:
    """Keras hands the mask on unseen; here zero rows and mask_value=0.0 say the same."""
    own = nn.Sequential(L.Embedding(6, 3, mask_zero=masked), L.LSTM(2, return_sequences=sequences, mask_value=0.0))
    same_initial(own, (5,), dtype=torch.int64)
    theirs = keras.Sequential(
        [keras.layers.Embedding(6, 3, mask_zero=masked), keras.layers.LSTM(2, return_sequences=sequences)]
    )
    theirs.build((None, 5))
    embedding, lstm = own
    assert isinstance(lstm, Recurrence)
    copy_into([embedding.weight, *as_keras(lstm, list(lstm.parameters()))], theirs.trainable_variables)
    x = torch.randint(1, 6, (len(lengths), 5)) * (torch.arange(5) < torch.tensor(lengths)[:, None])
    assert_close([own(x)], [theirs(x)])


@parity
@given(masked=st.integers(0, 3), sequences=st.booleans())
def test_mask_value_is_keras_masking(masked: int, sequences: bool) -> None:
    own = same_initial(L.GRU(3, return_sequences=sequences, mask_value=-1.0), (4, 2))
    assert isinstance(own, Recurrence)
    theirs = keras.Sequential([keras.layers.Masking(-1.0), keras.layers.GRU(3, return_sequences=sequences)])
    theirs.build((None, 4, 2))
    copy_into(as_keras(own, list(own.parameters())), theirs.trainable_variables)
    x = torch.randn(5, 4, 2)
    x[:2, masked] = -1.0
    x[2:, masked, 0] = -1.0  # one feature of two: it counts
    assert_close([own(x)], [theirs(x)])


@parity
@given(steps=st.integers(1, 4), features=st.integers(1, 4), units=st.integers(1, 4))
def test_time_distributed(steps: int, features: int, units: int) -> None:
    own = same_initial(L.TimeDistributed(L.Dense(units, "tanh")), (steps, features))
    theirs = keras.layers.TimeDistributed(keras.layers.Dense(units, "tanh"))
    theirs.build((None, steps, features))
    weight, bias = own.parameters()
    copy_into([weight.T, bias], theirs.trainable_variables)
    x = torch.randn(3, steps, features)
    z, grads = gradients(own, [x], [weight, bias])
    want, wanted = gradients(theirs, [x], [v.value for v in theirs.trainable_variables])
    assert_close([*z, grads[0], grads[1].T, grads[2]], [*want, *wanted])
