"""Attention of several heads."""

from __future__ import annotations

import math
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laminar.errors import ArgumentError, ShapeError, complaint
from laminar.layers.arithmetic import Arithmetic, count
from laminar.layers.base import Layer
from laminar.layers.core import WeightOptions, checked, is_number, positive
from laminar.shapes import Shape, format_batch

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(Layer):
    """Attention of several heads: each mixes the values by how well their keys answer the query.

    Head h: softmax(q_h k_hᵀ / √key_dim) v_h, with q_h = query W_qᵀ + b_q of that head, and k_h, v_h likewise; the heads, one
    behind the other, go through a last linear map, back to the query's number of features.

    Call it as attention(query), attention(query, value) or attention(query, value, key):

    - query: (B, T, features). value: (B, S, features of its own), the query where left out: self-attention.
    - key: (B, S, features of its own), the value where left out.
    - attention_mask: bool (or 0 and 1), (B, T, S), (T, S) or (B, heads, T, S), with 1 for any axis: True where a query may
      look. A query that may look nowhere gets nothing but the last map's bias. torch's own layer has it the other way round.
    - use_causal_mask: whether query t may look at the values 0 to t only.
    - return_attention_scores: whether to return the weights (B, heads, T, S) as well, those before dropout.

    Args:
        num_heads: heads H.
        key_dim: features of a query and a key in each head.
        value_dim: features of a value in each head; key_dim where None.
        dropout: probability with which a weight is dropped in training, in [0, 1).
        **options: `use_bias`, `kernel_initializer`, `bias_initializer`, `name`: see `WeightOptions`.

    Attributes:
        query_weight, key_weight: (H · key_dim, features), row h · key_dim + i for feature i of head h; the rows of torch's
            in_proj_weight, in which query, key and value follow each other.
        value_weight: (H · value_dim, features).
        output_weight: (features of the query, H · value_dim), torch's out_proj.weight.
        query_bias, key_bias, value_bias, output_bias: as long as their weight has rows, or None.

    Raises:
        ArgumentError: if a number is not possible.
        ShapeError: if an input is not (batch, steps, features), or value and key differ in their steps.
        UnknownNameError: on an unknown initializer.

    Source: Vaswani et al., "Attention is all you need", 2017.

    >>> attention = MultiHeadAttention(num_heads=2, key_dim=4)
    >>> attention(torch.zeros(3, 5, 8), torch.zeros(3, 7, 6)).shape
    torch.Size([3, 5, 8])
    >>> _, scores = attention(torch.zeros(3, 5, 8), torch.zeros(3, 7, 6), return_attention_scores=True)
    >>> scores.shape
    torch.Size([3, 2, 5, 7])
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        **options: Unpack[WeightOptions],
    ) -> None:
        super().__init__(name=options.get("name"))
        self.num_heads = positive("MultiHeadAttention(num_heads=)", num_heads)
        self.key_dim = positive("MultiHeadAttention(key_dim=)", key_dim)
        self.value_dim = self.key_dim if value_dim is None else positive("MultiHeadAttention(value_dim=)", value_dim)
        if not is_number(dropout) or not 0 <= dropout < 1:
            where, fix = "MultiHeadAttention(dropout=)", "Pass dropout=0.1, say"
            raise ArgumentError(complaint(where, expected="a probability in [0, 1)", received=f"{dropout!r}", fix=fix))
        self.dropout = float(dropout)
        self.options = checked("MultiHeadAttention", options)

    def __call__(self, query: Any, value: Any = None, key: Any = None, attention_mask: Any = None, **settings: Any) -> Any:
        """Build the layer if need be, and run `forward`: with value and key where they were left out."""
        value = query if value is None else value
        key = value if key is None else key
        return super().__call__(query, value, key, attention_mask=attention_mask, **settings)

    def check_input(self, *shapes: Shape) -> None:
        """Refuse shapes that this layer cannot take: of the query, and of value and key where they are others.

        Raises:
            ShapeError: saying what was expected.
        """
        received = " and ".join(map(format_batch, shapes))
        if len(shapes) > 3 or any(len(shape) != 2 for shape in shapes):
            fix = "Pass x.transpose(1, 2) of a series (batch, channels, length), x.flatten(2).transpose(1, 2) of maps"
            raise ShapeError(complaint(self.label, expected="(batch, steps, features)", received=received, fix=fix))
        query, value, key = self._three(shapes)
        if value[0] != key[0]:
            expected, fix = "a key for each value", "Give value and key the same number of steps"
            received = f"values {format_batch(value)} and keys {format_batch(key)}"
            raise ShapeError(complaint(self.label, expected=expected, received=received, fix=fix))
        if self.built:
            own = [w.shape[1] for w in (self.query_weight, self.value_weight, self.key_weight)]
            given = [query[1], value[1], key[1]]
            if own != given:
                expected = "query, value and key of {}, {} and {} features".format(*own)
                fix = "Give them as many features, or build a new layer"
                words = "{}, {} and {}".format(*given)
                raise ShapeError(complaint(self.label, expected=expected, received=words, fix=fix))

    @staticmethod
    def _three(shapes: tuple[Shape, ...]) -> tuple[Shape, Shape, Shape]:
        value = shapes[1] if len(shapes) > 1 else shapes[0]
        return shapes[0], value, shapes[2] if len(shapes) > 2 else value

    def _maps(self, shapes: tuple[Shape, ...]) -> dict[str, tuple[int, int, int]]:
        """Return heads or outputs, features of each, and inputs of the four linear maps."""
        query, value, key = self._three(shapes)
        return {
            "query": (self.num_heads, self.key_dim, query[1]),
            "key": (self.num_heads, self.key_dim, key[1]),
            "value": (self.num_heads, self.value_dim, value[1]),
            "output": (1, query[1], self.num_heads * self.value_dim),
        }

    @property
    def declares(self) -> tuple[str, ...]:
        """That it draws in training, where weights are dropped."""
        return ("random",) if self.dropout else ()

    @property
    def use_bias(self) -> bool:
        """Whether the linear maps have a bias."""
        return bool(self.options.get("use_bias", True))

    def build(self, *shapes: Shape) -> None:
        """Declare weight and bias of the four linear maps, for query, value and key of `shapes` (steps, features)."""
        kernel, bias = self.options.get("kernel_initializer", "glorot_uniform"), self.options.get("bias_initializer", "zeros")
        for name, (heads, outputs, inputs) in self._maps(shapes).items():
            setattr(self, f"{name}_weight", self.learnable((heads * outputs, inputs), init=kernel))
            setattr(self, f"{name}_bias", self.learnable(heads * outputs, init=bias) if self.use_bias else None)

    query_weight: nn.Parameter
    key_weight: nn.Parameter
    value_weight: nn.Parameter
    output_weight: nn.Parameter
    query_bias: nn.Parameter | None
    key_bias: nn.Parameter | None
    value_bias: nn.Parameter | None
    output_bias: nn.Parameter | None

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor,
        attention_mask: Tensor | None = None,
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return (B, T, features of the query), and where asked for the weights (B, H, T, S); see the class."""
        q = self._heads(F.linear(query, self.query_weight, self.query_bias))  # (B, H, T, key_dim)
        k = self._heads(F.linear(key, self.key_weight, self.key_bias))  # (B, H, S, key_dim)
        v = self._heads(F.linear(value, self.value_weight, self.value_bias))  # (B, H, S, value_dim)
        dropped = self.dropout if self.training else 0.0
        mask = None if attention_mask is None else self._mask(attention_mask, q, k)
        if mask is not None and use_causal_mask:
            mask = mask & torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
        causal = use_causal_mask and mask is None
        if return_attention_scores or _transformed(q):
            scores = _weights(q, k, mask, causal)
            z = F.dropout(scores, dropped) @ v
        elif mask is None:
            z = F.scaled_dot_product_attention(q, k, v, None, dropped, is_causal=causal)
        else:  # a query that may look nowhere looks everywhere, which no kernel takes amiss, and is then given nothing
            some = mask.any(-1, keepdim=True)
            z = torch.where(some, F.scaled_dot_product_attention(q, k, v, mask | ~some, dropped), 0.0)
        output = F.linear(z.transpose(-3, -2).flatten(-2), self.output_weight, self.output_bias)
        return (output, scores) if return_attention_scores else output

    def _heads(self, x: Tensor) -> Tensor:
        """Return (B, H, steps, features of a head) from (B, steps, H · features of a head)."""
        apart: Tensor = x.unflatten(-1, (self.num_heads, x.shape[-1] // self.num_heads))
        return apart.transpose(-3, -2)

    def _mask(self, mask: Tensor, q: Tensor, k: Tensor) -> Tensor:
        """Return a mask of bools, with an axis for the heads where it has one for the batch."""
        given, mask = tuple(mask.shape), mask != 0
        mask = mask.unsqueeze(-3) if mask.dim() == q.dim() - 1 and mask.dim() > 2 else mask
        wanted = (*q.shape[:-1], k.shape[-2])
        lengths = tuple(mask.shape)
        fits = 2 <= len(lengths) <= len(wanted) and all(n in (1, m) for n, m in zip(lengths[::-1], wanted[::-1], strict=False))
        if not fits:
            heads, steps, others = wanted[-3:]
            shapes = f"(batch, {steps}, {others}), ({steps}, {others}) or (batch, {heads}, {steps}, {others})"
            expected = f"attention_mask of shape {shapes}"
            fix = "Give it a row for each step of the query and a column for each of the value"
            raise ShapeError(complaint(self.label, expected=expected, received=str(given), fix=fix))
        return mask

    def arithmetic(self, *shapes: Shape) -> Arithmetic:
        """Return the parameters of the four linear maps, and their sum."""
        lines, totals = [], []
        for name, (heads, outputs, inputs) in self._maps(shapes).items():
            number = heads * outputs
            biases = f" + {count(number)} biases" if self.use_bias else ""
            units = f"{heads} heads of {outputs}" if name != "output" else f"{outputs}"
            totals.append(number * (inputs + self.use_bias))
            lines.append(f"{name}: {units} units of {inputs} weights{biases} = {count(totals[-1])}")
        total = sum(totals)
        lines.append(f"parameters: {' + '.join(map(count, totals))} = {count(total)}")
        return Arithmetic(shapes[0], total, tuple(lines))

    def extra_repr(self) -> str:
        """Return the heads and what differs from the defaults."""
        parts = [f"num_heads={self.num_heads}", f"key_dim={self.key_dim}"]
        parts += [f"value_dim={self.value_dim}"] if self.value_dim != self.key_dim else []
        parts += [f"dropout={self.dropout}"] if self.dropout else []
        return ", ".join(parts)


def _transformed(q: Tensor) -> bool:
    """Return whether q is under vmap or the like, of which the fused kernels know nothing."""
    return not torch.compiler.is_compiling() and bool(torch._C._functorch.is_functorch_wrapped_tensor(q))


def _weights(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Return how much of each value every query takes, (B, H, T, S): softmax(q kᵀ / √d), and 0 where it may not look."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if mask is None:
        return scores.softmax(-1)
    seen = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1)
    return torch.where(mask, seen, 0.0)
