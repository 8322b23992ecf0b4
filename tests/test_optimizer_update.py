"""`update_of` does what `optimizer.step` does, hooks and all; what is not torch's own is left to its own `step`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import optim
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from laminar import optimizers
from laminar.optimizers.update import update_of

MADE: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "Adam": lambda p: optim.Adam(p, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, foreach=False),
    "RMSprop": optim.RMSprop,
    "Adagrad": optim.Adagrad,
    "Adadelta": optim.Adadelta,
    "Adamax": optim.Adamax,
    "NAdam": optim.NAdam,
    "RAdam": optim.RAdam,
    "Rprop": optim.Rprop,
    "ASGD": optim.ASGD,
    "own": lambda p: optimizers.SGDM(clipnorm=0.5, use_ema=True).create(p),
    "muon": lambda p: optimizers.Muon().create(p[:1], p[1:]),
}


def trained(make: Callable[[Any], optim.Optimizer], short: bool) -> tuple[list[torch.Tensor], list[str]]:
    torch.manual_seed(0)
    parameters: list[torch.Tensor] = [torch.nn.Parameter(torch.randn(3, 2)), torch.nn.Parameter(torch.randn(3))]
    optimizer = make(parameters)
    calls: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    step = update_of(optimizer) if short else optimizer.step
    for _ in range(4):
        for p in parameters:
            p.grad = torch.randn_like(p)
        step()
    kept = [t for state in optimizer.state.values() for t in state.values() if isinstance(t, torch.Tensor)]
    return [*parameters, *kept], calls


@pytest.mark.parametrize("name", MADE)
def test_it_is_the_step(name: str) -> None:
    """Parameters, state and hooks, bit for bit."""
    (whole, whole_calls), (short, short_calls) = (trained(MADE[name], short) for short in (False, True))
    assert len(whole) == len(short)
    assert all(map(torch.equal, whole, short))
    assert whole_calls == short_calls == ["before", "after"] * 4


@pytest.mark.parametrize(("size", "settings", "expected"), [(9, {"fused": True}, 1), (600_000, {"fused": True}, 2), (9, {}, 2)])
def test_the_parameters_of_small_networks_are_moved_by_one_thread(
    size: int, settings: dict[str, Any], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    for name in ("_fused_sgd_", "_foreach_add_"):
        whole = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, whole=whole, **k: seen.append(torch.get_num_threads()) or whole(*a, **k))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        w = torch.nn.Parameter(torch.zeros(size))
        w.grad = torch.ones(size)
        update_of(optim.SGD([w], foreach=None if settings else True, **settings))()
        assert seen == [expected]
        assert torch.get_num_threads() == 2
        assert w[0] == -1e-3
    finally:
        torch.set_num_threads(before)


def test_a_step_of_ones_own_is_called() -> None:
    """Of a subclass, of an object, put in the class's place, or differentiable."""
    w = torch.nn.Parameter(torch.zeros(1))

    class Mine(optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return "mine"

    assert update_of(Mine([w]))() == "mine"
    replaced: Any = optim.SGD([w])
    replaced.step = lambda: "replaced"
    assert update_of(replaced)() == "replaced"
    differentiable = optim.SGD([w], differentiable=True)
    assert update_of(differentiable) == differentiable.step
    scheduled = optim.SGD([w])
    update = update_of(scheduled)
    optim.lr_scheduler.StepLR(scheduled, 1)  # which counts the steps
    update()
    assert scheduled._opt_called  # type: ignore[attr-defined]  # the scheduler's mark


def test_a_step_in_the_classes_place_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that says that it wraps torch's."""
    calls = []
    before = optim.SGD.step

    @functools.wraps(before)
    def mine(self: optim.SGD, closure: Any = None) -> Any:
        calls.append("mine")
        return before(self, closure)

    monkeypatch.setattr(optim.SGD, "step", mine)
    update_of(optim.SGD([torch.nn.Parameter(torch.zeros(1))]))()
    assert calls == ["mine"]


def test_hooks_for_all_optimizers_and_a_profiler_see_the_step() -> None:
    w = torch.nn.Parameter(torch.zeros(1))
    w.grad = torch.ones(1)
    update = update_of(optim.SGD([w], lr=1.0))
    calls: list[str] = []
    handles = [
        register_optimizer_step_pre_hook(lambda *_: calls.append("before")),
        register_optimizer_step_post_hook(lambda *_: calls.append("after")),
    ]
    update()
    for handle in handles:
        handle.remove()
    update()
    assert calls == ["before", "after"]
    with torch.profiler.profile() as seen:
        update()
    assert "Optimizer.step#SGD.step" in {event.key for event in seen.key_averages()}
    assert w.item() == -3.0


def test_a_hook_may_change_what_the_step_is_given() -> None:
    w = torch.nn.Parameter(torch.zeros(1))
    optimizer = optim.SGD([w], lr=1.0)

    def closure() -> torch.Tensor:
        w.grad = torch.ones(1)
        return torch.tensor(5.0)

    optimizer.register_step_pre_hook(lambda own, args, kwargs: (args, {"closure": closure}))
    assert update_of(optimizer)() == 5.0
    assert w.item() == -1.0
