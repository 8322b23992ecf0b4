"""Residual: its sum, its layers inside, and what it says of paths whose shapes differ."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError, ShapeError
from laminar.layers.residual import _projection
from laminar.seeding import seeded
from laminar.shapes import trace


def block(**options: Any) -> L.Residual:
    return L.Residual([L.Conv2D(3, 3, padding="same"), L.ReLU(), L.Conv2D(3, 3, padding="same")], **options)


def test_it_is_the_sum_of_both_paths_then_the_activation() -> None:
    x = torch.randn(2, 3, 6, 6)
    layer = block(activation="tanh")
    torch.testing.assert_close(layer(x), torch.tanh(layer.main(x) + x))
    layer = block(shortcut=L.Conv2D(3, 1))
    z = layer(x)
    assert layer.shortcut is not None
    torch.testing.assert_close(z, layer.main(x) + layer.shortcut(x))


@pytest.mark.parametrize("wrap", [lambda c: c, lambda c: [c], lambda c: lm.Sequential([c]), lambda c: nn.Sequential(c)])
def test_a_path_is_a_module_or_a_list(wrap: Any) -> None:
    x = torch.randn(2, 3, 5, 5)
    inside = nn.Conv2d(3, 3, 3, padding=1)
    torch.testing.assert_close(L.Residual(wrap(inside))(x), inside(x) + x)
    torch.testing.assert_close(L.Residual(nn.Identity(), wrap(inside))(x), inside(x) + x)


def test_layers_inside_are_found_named_and_built_later() -> None:
    layer = block(shortcut=[L.Conv2D(3, 1)])
    assert list(layer.parameters()) == []
    network = lm.Sequential([layer, L.Flatten(), L.Dense(2)]).build((3, 6, 6), seed=0)
    assert [n for n, _ in layer.named_parameters()] == [
        "main.conv2d.weight",
        "main.conv2d.bias",
        "main.conv2d_1.weight",
        "main.conv2d_1.bias",
        "shortcut.conv2d.weight",
        "shortcut.conv2d.bias",
    ]
    assert [m.path for m in layer.modules() if isinstance(m, L.Conv2D)] == [
        "residual/main/conv2d",
        "residual/main/conv2d_1",
        "residual/shortcut/conv2d",
    ]
    paths = [row.path for row in network.summary(show=False).rows]
    assert {"residual/main/conv2d", "residual/main/conv2d_1", "residual/shortcut/conv2d"} <= set(paths)


def test_initial_values_are_those_of_the_place_in_and_out_of_a_network() -> None:
    alone, inside = block(), block()
    network = lm.Sequential([inside]).build((3, 6, 6), seed=3)
    with seeded(3):
        trace(alone, (3, 6, 6))
    for a, b in zip(alone.parameters(), network.parameters(), strict=True):
        assert torch.equal(a, b)
    first, second = (p for n, p in alone.named_parameters() if n.endswith("weight"))
    assert not torch.equal(first, second)


def test_it_is_frozen_as_a_whole() -> None:
    layer = block()
    layer(torch.zeros(1, 3, 4, 4))
    layer.trainable = False
    assert not any(p.requires_grad for p in layer.parameters())
    layer.trainable = True
    assert all(p.requires_grad for p in layer.parameters())


def test_it_trains_in_a_network() -> None:
    """Blocks in a row, in a network that learns the sign of a sum."""
    x = torch.randn(64, 1, 4, 4)
    y = (x.sum((1, 2, 3)) > 0).long()
    blocks = [L.Residual([L.Conv2D(1, 3, padding="same"), L.BatchNormalization()], activation="relu") for _ in range(2)]
    network = lm.Sequential([*blocks, L.Flatten(), L.Dense(2, activation="softmax")])
    network.compile("adam", "sparse_categorical_crossentropy")
    losses = network.fit(x, y, epochs=5, seed=0, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_copies_and_blocks_inside_blocks() -> None:
    x = torch.randn(2, 3, 4, 4)
    outer = L.Residual([block(), block(activation="relu")])
    z = outer(x)
    assert torch.equal(copy.deepcopy(outer)(x), z)
    torch.testing.assert_close(z, outer.main[1](outer.main[0](x)) + x)  # type: ignore[index]  # a chain


CONVOLUTION = "layer 'residual' (Residual, shortcut=None): expected main path and shortcut to return one shape, received "


@pytest.mark.parametrize(
    ("main", "shape", "text"),
    [
        (
            lambda: L.Conv2D(64, 3, strides=2, padding="same"),
            (32, 56, 56),
            "(batch, 64, 28, 28) from the main path and (batch, 32, 56, 56) from the shortcut, the input itself. "
            "Pass shortcut=Conv2D(64, 1, strides=2).",
        ),
        (
            lambda: L.Conv2D(64, 1),
            (32, 7, 7),
            "(batch, 64, 7, 7) from the main path and (batch, 32, 7, 7) from the shortcut, the input itself. "
            "Pass shortcut=Conv2D(64, 1).",
        ),
        (
            lambda: L.Dense(4),
            (8,),
            "(batch, 4) from the main path and (batch, 8) from the shortcut, the input itself. Pass shortcut=Dense(4).",
        ),
        (
            lambda: L.Conv2D(1, 3, padding=2),
            (1, 7, 7),
            "(batch, 1, 9, 9) from the main path and (batch, 1, 7, 7) from the shortcut, the input itself. "
            "Let the main path keep the shape.",
        ),
        (
            lambda: L.Flatten(),
            (1, 7, 7),
            "(batch, 49) from the main path and (batch, 1, 7, 7) from the shortcut, the input itself. "
            "Let the main path keep the shape.",
        ),
    ],
)
def test_a_main_path_that_changes_the_shape(main: Any, shape: tuple[int, ...], text: str) -> None:
    """Called or asked for its shapes; never broadcast in silence."""
    for run in (lambda layer: layer(torch.zeros(2, *shape)), lambda layer: trace(layer, shape)):
        with pytest.raises(ShapeError) as caught:
            run(L.Residual(main()))
        assert str(caught.value) == CONVOLUTION + text


@pytest.mark.parametrize(
    ("before", "after"), [((8, 7, 7), (4, 4, 4)), ((8, 9, 12), (2, 3, 4)), ((3, 10), (3, 4)), ((5,), (2,))]
)
def test_the_projection_that_it_names_fits(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    class Zeros(lm.Layer):
        """Zeros of the shape after."""

        def forward(self, x: Tensor) -> Tensor:
            return x.new_zeros(x.shape[0], *after)

    named = _projection(before, after)
    assert named is not None
    if not named.startswith("Conv1D"):
        shortcut = eval(named, {name: getattr(L, name) for name in ("Conv2D", "Dense")})
        assert L.Residual(Zeros(), shortcut)(torch.zeros(2, *before)).shape == (2, *after)


def test_paths_that_differ_though_there_is_a_shortcut() -> None:
    layer = L.Residual(L.Conv2D(8, 1, strides=2), L.Conv2D(8, 1))
    with pytest.raises(ShapeError) as caught:
        layer(torch.zeros(1, 3, 8, 8))
    assert str(caught.value) == (
        "layer 'residual' (Residual): expected main path and shortcut to return one shape, received (batch, 8, 4, 4) from the "
        "main path and (batch, 8, 8, 8) from the shortcut. Let both change the shape alike."
    )


@pytest.mark.parametrize("wrong", [[], "relu", [L.ReLU], 3, [3]])
def test_what_is_no_path(wrong: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        L.Residual(wrong)
    assert str(caught.value) == (
        f"Residual(main=): expected a layer, or a list of layers, received {wrong!r}. Pass main=[Conv2D(64, 3), ...]."
    )
    with pytest.raises(ArgumentError):
        L.Residual(L.ReLU(), wrong)
