"""MultiHeadAttention against Keras' and torch's: same weights, masks of every shape, outputs, weights and gradients."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from parity.support import assert_close, copy_into, gradients, keras, parity, same_initial
from torch import Tensor, nn

from laminar import layers as L

dims = st.integers(1, 4)
steps = st.integers(2, 4)  # Keras warns of a softmax over one number
MAPS = ("query", "key", "value", "output")


def in_keras_layout(tensors: list[Tensor], layer: L.MultiHeadAttention) -> list[Tensor]:
    """Return weights (or their gradients), given in our order and layout, in Keras': (features, heads, head) and (heads, head)."""
    heads, step = layer.num_heads, 2 if layer.use_bias else 1
    result = []
    for i, name in enumerate(MAPS):
        weight = tensors[step * i]
        if name == "output":
            result.append(weight.T.reshape(heads, layer.value_dim, weight.shape[0]))
        else:
            result.append(weight.T.reshape(weight.shape[1], heads, -1))
        if layer.use_bias:
            bias = tensors[step * i + 1]
            result.append(bias if name == "output" else bias.reshape(heads, -1))
    return result


@parity
@given(
    heads=st.integers(1, 3),
    sizes=st.tuples(steps, steps, *[dims] * 5),
    bias=st.booleans(),
    given_inputs=st.integers(1, 3),
    mask=st.sampled_from([None, "per observation", "common", "per head"]),
    causal=st.booleans(),
    scores=st.booleans(),
)
def test_against_keras(
    heads: int, sizes: Any, bias: bool, given_inputs: int, mask: str | None, causal: bool, scores: bool
) -> None:
    length, others, f_query, f_value, f_key, key_dim, value_dim = sizes
    others = others if given_inputs > 1 else length
    shapes = [(length, f_query), (others, f_value), (others, f_key)][:given_inputs]
    own = same_initial(L.MultiHeadAttention(heads, key_dim, value_dim, use_bias=bias), *shapes)
    assert isinstance(own, L.MultiHeadAttention)
    xs = [torch.randn(3, *s) for s in shapes]
    forms = {"per observation": (3, length, others), "common": (length, others), "per head": (3, heads, length, others)}
    looks = None if mask is None else torch.rand(forms[mask]) > 0.3
    if looks is not None:
        looks[..., 0] = (
            True  # a query that may look nowhere gets the mean of all in one of Keras' two ways, nothing in the other
        )
    calls: dict[str, Any] = {"use_causal_mask": causal, "return_attention_scores": scores}
    z, grads = gradients(lambda *a: own(*a, attention_mask=looks, **calls), xs, list(own.parameters()))

    theirs = keras.layers.MultiHeadAttention(heads, key_dim, value_dim, use_bias=bias)
    query, value, key = [(None, *s) for s in (*shapes, *[shapes[-1]] * (3 - len(shapes)))]
    theirs.build(query, value, key)
    copy_into(in_keras_layout(list(own.parameters()), own), theirs.variables)

    def run(*a: Tensor) -> Any:
        q, v, *k = (*a, a[0]) if len(a) == 1 else a
        return theirs(q, v, *k, attention_mask=looks, **calls)

    want, wanted = gradients(run, xs, [v.value for v in theirs.trainable_variables])
    assert_close(z, want)
    assert_close(grads[: len(xs)], wanted[: len(xs)])
    assert_close(in_keras_layout(grads[len(xs) :], own), wanted[len(xs) :])


@parity
@given(heads=st.integers(1, 3), head=dims, sizes=st.tuples(*[dims] * 4), bias=st.booleans(), masked=st.booleans())
def test_against_torch(heads: int, head: int, sizes: Any, bias: bool, masked: bool) -> None:
    """torch's layer has one width for all heads together, and True where a query may not look."""
    length, others, f_value, f_key = sizes
    width = heads * head
    own = same_initial(L.MultiHeadAttention(heads, head, use_bias=bias), (length, width), (others, f_value), (others, f_key))
    theirs = nn.MultiheadAttention(width, heads, bias=bias, kdim=f_key, vdim=f_value, batch_first=True)
    weights = dict(own.named_parameters())
    if theirs.in_proj_weight is not None:  # where all have the same width
        copy_into([torch.cat([weights[f"{n}_weight"] for n in MAPS[:3]])], [theirs.in_proj_weight])
    else:
        targets = [theirs.q_proj_weight, theirs.k_proj_weight, theirs.v_proj_weight]
        copy_into([weights[f"{n}_weight"] for n in MAPS[:3]], targets)
    copy_into([own.output_weight], [theirs.out_proj.weight])
    if bias:
        copy_into([torch.cat([weights[f"{n}_bias"] for n in MAPS[:3]])], [theirs.in_proj_bias])
        copy_into([own.output_bias], [theirs.out_proj.bias])
    xs = [torch.randn(2, length, width), torch.randn(2, others, f_value), torch.randn(2, others, f_key)]
    looks = torch.rand(length, others) > 0.4 if masked else torch.ones(length, others, dtype=torch.bool)
    looks[:, 0] = True  # torch's layer gives nan for a query that may look nowhere
    z, grads = gradients(lambda *a: own(*a, attention_mask=looks, return_attention_scores=True), xs, [own.output_weight])
    want, wanted = gradients(
        lambda q, v, k: theirs(q, k, v, attn_mask=~looks, average_attn_weights=False), xs, [theirs.out_proj.weight]
    )
    assert_close([*z, *grads], [*want, *wanted])
