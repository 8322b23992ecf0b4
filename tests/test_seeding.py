"""Random numbers depend on a seed and a place, never on what was drawn before."""

from __future__ import annotations

import contextvars
import random
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import laminar as lm
from laminar import layers as L
from laminar.seeding import ambient_generator, derive, generator, seed_all, seeded

parts = st.one_of(st.text(max_size=5), st.integers(-5, 5))


@given(st.integers(0, 2**63 - 1), st.lists(parts, max_size=4))
def test_derive_is_a_seed_that_torch_takes(seed: int, path: list[str | int]) -> None:
    value = derive(seed, *path)
    assert 0 <= value < 2**63
    assert derive(seed, *path) == value
    torch.Generator().manual_seed(value)


def test_derive_is_the_same_forever() -> None:
    """Runs of another version, machine or process are repeated: these numbers, computed with sha256sum, must not change."""
    assert derive(0) == 2033344993903900207
    assert derive(0, "conv1", "weight") == 76393211125333595
    assert derive(7, "shuffle", 3) == 7711406451234839975


def test_derive_tells_places_apart() -> None:
    places = [(), ("a",), ("a", "b"), ("ab",), ("a", 1), ("a", "1"), ("a1",), (1, "a"), ("", "a"), ("a", "")]
    assert len({derive(s, *p) for s in (0, 1, 10) for p in places}) == 3 * len(places)


def test_generators_of_one_place_draw_the_same_and_leave_the_global_one() -> None:
    before = torch.get_rng_state()
    first, second = (torch.rand(5, generator=generator(0, "conv1", "weight")) for _ in range(2))
    other = torch.rand(5, generator=generator(0, "conv2", "weight"))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seed", [0, 2**32 + 5, 2**63 - 1])
def test_seed_all_seeds_the_three_generators(seed: int) -> None:
    drawn = []
    for _ in range(2):
        seed_all(seed)
        drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))  # noqa: NPY002 - the global ones
    assert drawn[0] == drawn[1]
    seed_all(seed - 1 if seed else 1)
    assert torch.rand(()) != drawn[0][2]


def test_seeded_holds_inside_and_the_innermost_wins() -> None:
    assert ambient_generator("a") is None
    with seeded(1):
        one = ambient_generator("a")
        assert one is not None
        assert one.initial_seed() == derive(1, "a")
        with seeded(2):
            two = ambient_generator("a")
            assert two is not None
            assert two.initial_seed() == derive(2, "a")
            with seeded(None):
                assert ambient_generator("a") is None
        with pytest.raises(ZeroDivisionError), seeded(3):
            raise ZeroDivisionError
        again = ambient_generator("a")
        assert again is not None
        assert again.initial_seed() == derive(1, "a")
    assert ambient_generator("a") is None


def test_seeded_is_of_one_thread() -> None:
    found: list[object] = []
    with seeded(1):
        thread = threading.Thread(target=contextvars.Context().run, args=(lambda: found.append(ambient_generator("a")),))
        thread.start()
        thread.join()
    assert found == [None]


# -- networks -------------------------------------------------------------------------------------------------------------


def values(*layers: torch.nn.Module, seed: int = 0, shape: tuple[int, ...] = (1, 8, 8)) -> dict[str, torch.Tensor]:
    return dict(lm.Sequential(list(layers)).build(shape, seed=seed).state_dict())


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], names: set[str]) -> bool:
    return names <= a.keys() & b.keys() and all(torch.equal(a[n], b[n]) for n in names)


def test_a_layer_put_in_between_leaves_the_others_initial_values() -> None:
    plain = values(L.Conv2D(4, 3), L.Flatten(), L.Dense(6), L.Dense(3))
    inserted = values(
        L.Conv2D(4, 3),
        L.BatchNormalization(),
        L.ELU("uniform", learnable=True),
        L.Flatten(),
        L.Dropout(0.5),
        L.Dense(6),
        L.Dense(3),
    )
    assert same(plain, inserted, set(plain))
    assert len(plain) == 6
    assert set(inserted) - set(plain) == {
        "batch_normalization.weight",
        "batch_normalization.bias",
        "batch_normalization.running_mean",
        "batch_normalization.running_var",
        "elu.alpha",
    }  # fmt: skip


def test_a_layer_of_another_size_leaves_the_others() -> None:
    plain, wide = values(L.Conv2D(4, 3), L.Flatten(), L.Dense(6)), values(L.Conv2D(4, 3), L.Flatten(), L.Dense(9))
    assert same(plain, wide, {"conv2d.weight", "conv2d.bias"})


def test_layers_of_one_kind_start_apart_also_inside_others() -> None:
    class Pair(lm.Layer):
        """Two layers that its constructor makes, and two that its build makes."""

        def __init__(self) -> None:
            super().__init__()
            self.first = L.Dense(5)

        def build(self, shape: tuple[int, ...]) -> None:
            self.second, self.third = L.Dense(5), torch.nn.Sequential(L.Dense(5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.third(self.second(self.first(x)))
            return result

    state = values(Pair(), Pair(), L.Dense(5), shape=(5,))
    weights = {n: v for n, v in state.items() if n.endswith("weight")}
    assert sorted(weights) == [
        "dense.weight", "pair.first.weight", "pair.second.weight", "pair.third.0.weight",
        "pair_1.first.weight", "pair_1.second.weight", "pair_1.third.0.weight",
    ]  # fmt: skip
    listed = list(weights.values())
    assert not any(torch.equal(a, b) for i, a in enumerate(listed) for b in listed[:i])
    again = values(Pair(), Pair(), L.Dense(5), shape=(5,))
    assert same(state, again, set(state))


def test_seeds_differ_and_repeat_whatever_was_drawn_before() -> None:
    layers = (lambda: L.Conv2D(4, 3), L.Flatten, lambda: L.Dense(6))
    first = values(*(make() for make in layers), seed=3)
    torch.rand(1000)
    assert same(first, values(*(make() for make in layers), seed=3), set(first))
    other = values(*(make() for make in layers), seed=4)
    assert not any(torch.equal(first[n], other[n]) for n in ("conv2d.weight", "dense.weight"))


def test_without_a_seed_torch_s_global_generator_decides() -> None:
    def weight() -> torch.Tensor:
        return lm.Sequential([L.Dense(3)]).build((4,))[0].weight.detach()  # type: ignore[operator, return-value, union-attr]

    torch.manual_seed(0)
    first, second = weight(), weight()
    torch.manual_seed(0)
    assert torch.equal(weight(), first)
    assert not torch.equal(first, second)


def test_a_whole_number_of_numpy_is_the_same_place() -> None:
    assert derive(0, np.int64(3)) == derive(0, 3) != derive(0, "3")
