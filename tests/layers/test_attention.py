"""MultiHeadAttention against its formula in NumPy float64; masks, weights, dropout, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError, UnknownNameError


def by_hand(layer: L.MultiHeadAttention, query: Any, value: Any, key: Any, looks: Any) -> tuple[Any, Any]:
    """Return output and weights, head by head, from the formula."""
    p = {n: t.detach().numpy() for n, t in layer.named_parameters()}
    heads, weights = [], []
    for h in range(layer.num_heads):
        rows, columns = slice(h * layer.key_dim, (h + 1) * layer.key_dim), slice(h * layer.value_dim, (h + 1) * layer.value_dim)
        q = query @ p["query_weight"][rows].T + p["query_bias"][rows]
        k = key @ p["key_weight"][rows].T + p["key_bias"][rows]
        v = value @ p["value_weight"][columns].T + p["value_bias"][columns]
        scores = q @ k.swapaxes(1, 2) / np.sqrt(layer.key_dim)
        with np.errstate(invalid="ignore"):
            a = np.nan_to_num(softmax(np.where(looks, scores, -np.inf), -1))
        weights.append(a)
        heads.append(a @ v)
    return np.concatenate(heads, -1) @ p["output_weight"].T + p["output_bias"], np.stack(weights, 1)


@given(heads=st.integers(1, 3), sizes=st.tuples(*[st.integers(1, 4)] * 7), masked=st.booleans(), causal=st.booleans())
def test_formula(heads: int, sizes: Any, masked: bool, causal: bool) -> None:
    """Both ways that it is computed, with queries among them that may look nowhere."""
    steps, others, f_query, f_value, f_key, key_dim, value_dim = sizes
    layer = L.MultiHeadAttention(heads, key_dim, value_dim, bias_initializer="normal").double()
    query, value, key = (
        torch.randn(2, *s, dtype=torch.float64) for s in ((steps, f_query), (others, f_value), (others, f_key))
    )
    mask = torch.rand(2, steps, others) > 0.4 if masked else None
    looks = np.ones((2, steps, others), dtype=bool) if mask is None else mask.numpy()
    looks = looks & np.tri(steps, others, dtype=bool) if causal else looks
    z, scores = layer(query, value, key, mask, use_causal_mask=causal, return_attention_scores=True)
    fused = layer(query, value, key, mask, use_causal_mask=causal)
    output, weights = by_hand(layer, query.numpy(), value.numpy(), key.numpy(), looks)
    for found in (z, fused):
        np.testing.assert_allclose(found.detach().numpy(), output, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(scores.detach().numpy(), weights, rtol=1e-8, atol=1e-10)


def test_what_is_left_out_is_the_query_or_the_value() -> None:
    x, y = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    layer = L.MultiHeadAttention(2, 3)
    assert torch.equal(layer(x), layer(x, x, x))
    assert torch.equal(layer(x, y), layer(x, y, y))
    assert torch.equal(layer(x, value=y), layer(x, y, key=y))
    assert layer.input_shape == ((3, 4), (3, 4), (3, 4))


def test_masks_of_numbers_and_of_less_axes() -> None:
    x = torch.randn(2, 3, 4)
    layer = L.MultiHeadAttention(2, 3)
    first = torch.tensor([[1, 0, 0]]).expand(3, 3)
    want = layer(x, attention_mask=first.bool().expand(2, 2, 3, 3))
    for mask in (first, first.float(), first[None], first[None, None], first[:1]):
        torch.testing.assert_close(layer(x, attention_mask=mask), want)
    torch.testing.assert_close(want, want[:, :1].expand(-1, 3, -1))  # all see the first step alone


def test_a_later_step_changes_nothing_under_a_causal_mask() -> None:
    x = torch.randn(2, 5, 4)
    changed = torch.cat([x[:, :3], torch.randn(2, 2, 4)], 1)
    layer = L.MultiHeadAttention(2, 3)
    torch.testing.assert_close(layer(x, use_causal_mask=True)[:, :3], layer(changed, use_causal_mask=True)[:, :3])
    assert not torch.allclose(layer(x)[:, :3], layer(changed)[:, :3])


@pytest.mark.parametrize("scores", [False, True])
def test_a_query_that_may_look_nowhere_has_finite_gradients(scores: bool) -> None:
    x = torch.randn(2, 3, 4, requires_grad=True)
    layer = L.MultiHeadAttention(2, 3, bias_initializer="normal")
    mask = torch.tensor([[0, 0, 0], [1, 0, 1], [1, 1, 1]])
    z = layer(x, attention_mask=mask, return_attention_scores=scores)
    output = z[0] if scores else z
    torch.testing.assert_close(output[:, 0], layer.output_bias.expand(2, -1))
    found = torch.autograd.grad(output.sum(), [x, *layer.parameters()])
    assert all(bool(g.isfinite().all()) for g in found)


def test_dropout_keeps_the_mean() -> None:
    """In training the weights are dropped and the others scaled up; the weights that are returned are those before."""
    x = torch.randn(1, 6, 4)
    layer = L.MultiHeadAttention(1, 4, dropout=0.5)
    want, scores = layer.eval()(x, return_attention_scores=True)
    layer.train()
    many = x.expand(4000, -1, -1)
    assert not torch.allclose(layer(x), want)
    torch.testing.assert_close(layer(many).mean(0, keepdim=True), want, atol=0.05, rtol=0.05)
    drawn, weights = layer(many, return_attention_scores=True)
    torch.testing.assert_close(drawn.mean(0, keepdim=True), want, atol=0.05, rtol=0.05)
    torch.testing.assert_close(weights[:1], scores)


def test_what_it_explains() -> None:
    layer = L.MultiHeadAttention(2, 3, value_dim=5)
    assert str(layer.explain((7, 8), (9, 4))).splitlines() == [
        "MultiHeadAttention(num_heads=2, key_dim=3, value_dim=5): (7, 8) and (9, 4) → (7, 8)",
        "  query: 2 heads of 3 units of 8 weights + 6 biases = 54",
        "  key: 2 heads of 3 units of 4 weights + 6 biases = 30",
        "  value: 2 heads of 5 units of 4 weights + 10 biases = 50",
        "  output: 8 units of 10 weights + 8 biases = 88",
        "  parameters: 54 + 30 + 50 + 88 = 222",
    ]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: L.MultiHeadAttention(0, 4),
            "MultiHeadAttention(num_heads=): expected a whole number of at least 1, received 0. Pass 1 or more.",
        ),
        (
            lambda: L.MultiHeadAttention(2, 4, 0),
            "MultiHeadAttention(value_dim=): expected a whole number of at least 1, received 0. Pass 1 or more.",
        ),
        (
            lambda: L.MultiHeadAttention(2, 4, dropout=1),
            "MultiHeadAttention(dropout=): expected a probability in [0, 1), received 1. Pass dropout=0.1, say.",
        ),
    ],
)
def test_arguments_that_cannot_be(make: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value) == text


def test_an_option_that_it_does_not_have() -> None:
    with pytest.raises(UnknownNameError):
        L.MultiHeadAttention(2, 4, flash_attention=True)  # type: ignore[call-arg]  # Keras'


LABEL = "layer 'multi_head_attention' (MultiHeadAttention, num_heads=2, key_dim=3)"


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        (
            [(4, 8, 8)],
            f"{LABEL}: expected (batch, steps, features), received (batch, 4, 8, 8) and (batch, 4, 8, 8) and (batch, 4, 8, 8). "
            "Pass x.transpose(1, 2) of a series (batch, channels, length), x.flatten(2).transpose(1, 2) of maps.",
        ),
        (
            [(4, 8), (5, 8), (6, 8)],
            f"{LABEL}: expected a key for each value, received values (batch, 5, 8) and keys (batch, 6, 8). "
            "Give value and key the same number of steps.",
        ),
    ],
)
def test_shapes_it_refuses(shapes: Any, text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        L.MultiHeadAttention(2, 3)(*(torch.zeros(2, *s) for s in shapes))
    assert str(caught.value) == text


def test_other_features_than_it_was_built_for_and_masks_that_do_not_fit() -> None:
    layer = L.MultiHeadAttention(2, 3)
    layer(torch.zeros(2, 4, 8))
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(2, 4, 7))
    assert str(caught.value) == (
        f"{LABEL}: expected query, value and key of 8, 8 and 8 features, received 7, 7 and 7. "
        "Give them as many features, or build a new layer."
    )
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(2, 4, 8), attention_mask=torch.ones(2, 4, 5))
    assert str(caught.value) == (
        f"{LABEL}: expected attention_mask of shape (batch, 4, 4), (4, 4) or (batch, 2, 4, 4), received (2, 4, 5). "
        "Give it a row for each step of the query and a column for each of the value."
    )
