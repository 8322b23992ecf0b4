"""A stretch of dense layers is one operation where nobody looks between them, and the same numbers wherever it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.kernels.library import library, reason_without
from laminar.kernels.switch import enabled
from laminar.layers import stretch as stretches
from laminar.layers.stretch import stretch_at_once

pytestmark = pytest.mark.skipif(library(torch.float32) is None, reason=f"no kernels here: {reason_without()}")


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many modules each stretch had."""
    found: list[int] = []

    def noted(modules: Sequence[nn.Module], x: object) -> tuple[Tensor, int] | None:
        stretch = stretch_at_once(modules, x)
        if stretch is not None:
            found.append(stretch[1])
        return stretch

    monkeypatch.setattr("laminar.layers.chain.stretch_at_once", noted)
    return found


def layers() -> list[nn.Module]:
    return [
        L.Dense(6, "relu"),
        L.BatchNormalization(),
        nn.Linear(6, 5),
        nn.Tanh(),
        L.Dense(4),
        L.Activation("sigmoid"),
        L.Dense(3),
    ]


def chain(made: list[nn.Module]) -> lm.Sequential:
    model = lm.Sequential(made)
    model(torch.randn(2, 7))
    return model.double()


def rows(n: int = 5) -> Tensor:
    return torch.randn(n, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def both(model: nn.Module, x: Tensor) -> list[list[Tensor]]:
    """Return output and gradients with the kernel and without."""
    found = []
    for on in (True, False):
        model.zero_grad()
        with enabled(on):
            z = model(x)
        if z.requires_grad:
            z.square().sum().backward()
        found.append([z.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    return found


def same(model: nn.Module, x: Tensor) -> None:
    ours, torch_s = both(model, x)
    assert len(ours) == len(torch_s)
    for own, expected in zip(ours, torch_s, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-9, atol=1e-12)


def test_a_whole_perceptron(taken: list[int]) -> None:
    same(chain(layers()), rows())
    assert taken == [7]


@pytest.mark.parametrize("last", [L.Activation("softmax"), L.Softmax(), L.Softmax(axis=-1), nn.Softmax(1), nn.Softmax(-1)])
def test_a_softmax_over_the_units(last: nn.Module, taken: list[int]) -> None:
    same(chain([L.Dense(6, "relu"), L.Dense(4), last]), rows())
    same(chain([L.Dense(6, "softmax"), nn.Linear(6, 4), last, L.Dense(2)]), rows())
    assert taken == [3, 4]


def test_a_softmax_over_the_batch_is_torch_s(taken: list[int]) -> None:
    same(chain([L.Dense(6, "relu"), L.Dense(4), nn.Softmax(0)]), rows())
    assert taken == [2]


def test_the_softmax_that_the_loss_undoes_is_left_out(taken: list[int]) -> None:
    last = L.Dense(3, "softmax")
    model = chain([L.Dense(6, "relu"), last])
    last._emits_logits = True
    same(model, rows())
    assert taken == [2]
    with enabled():
        assert not torch.allclose(model(rows()).sum(1), torch.ones(5, dtype=torch.float64))


def test_prediction_takes_the_running_statistics(taken: list[int]) -> None:
    model = chain(layers())
    with enabled():
        model(rows(9))
    del taken[:]
    model.eval()
    with torch.no_grad():
        same(model, rows())
    assert taken == [7]
    same(model, rows())  # with gradients the kernel stops before such a normalization
    assert taken == [7, 5]


def test_running_statistics_are_updated_as_in_torch() -> None:
    ours, torch_s = chain(layers()), chain(layers())
    torch_s.load_state_dict(ours.state_dict())
    for model, on in ((ours, True), (torch_s, False)):
        with enabled(on):
            model(rows(9))
    torch.testing.assert_close(dict(ours.named_buffers()), dict(torch_s.named_buffers()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda model: model[2].register_forward_hook(lambda *args: None), [2, 3]),
        (lambda model: setattr(model[4], "forward", model[4].forward), [4]),
        (lambda model: setattr(model[4], "recompute", True), [4]),
        (lambda model: setattr(model[1], "trainable", False), [5]),
        (lambda model: model[2].requires_grad_(False), [7]),
        (lambda model: model[4].freeze(), [7]),
    ],
    ids=["hook", "forward of somebody else's", "recompute", "frozen normalization", "frozen torch layer", "frozen layer"],
)
def test_where_it_stops(change: Callable[[lm.Sequential], object], expected: list[int], taken: list[int]) -> None:
    model = chain(layers())
    change(model)
    same(model, rows())
    assert taken[: len(expected)] == expected


def test_a_kind_of_the_user_s_own_runs_by_itself(taken: list[int]) -> None:
    class Twice(L.Dense):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    same(chain([L.Dense(6, "relu"), L.Dense(5), Twice(4), L.Dense(3, "relu"), L.Dense(2, "elu")]), rows())
    assert taken == [2]


def test_one_observation_has_no_variance(taken: list[int]) -> None:
    same(chain(layers()), rows(1))
    assert taken == [5]


def test_what_is_too_large_is_torch_s(taken: list[int]) -> None:
    model = chain([L.Dense(6000), L.Dense(30)])
    same(model, rows())
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        same(chain([L.Dense(300), L.Dense(100)]), rows(64))
        assert taken == []
        torch.set_num_threads(1)
        same(chain([L.Dense(300), L.Dense(100)]), rows(64))
    finally:
        torch.set_num_threads(threads)
    assert taken == [2]


def test_a_wrong_shape_is_told_by_the_layer() -> None:
    with enabled(), pytest.raises(lm.errors.ShapeError, match="expected input of 7 features"):
        chain(layers())(torch.zeros(2, 8, dtype=torch.float64))


def test_frozen_parts_keep_no_gradient_and_x_gets_one(taken: list[int]) -> None:
    model = chain(layers())
    model[0].freeze()
    x = rows().requires_grad_()
    slopes = []
    for on in (True, False):
        with enabled(on):
            slopes.append(torch.autograd.grad(model(x).sum(), x)[0])
    torch.testing.assert_close(*slopes)
    assert taken == [7]


def test_a_network_of_one_module_is_left_alone() -> None:
    with enabled():
        assert stretches.stretch_at_once([L.Dense(3)], rows()) is None
