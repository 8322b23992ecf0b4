"""What stands in the way of a CUDA graph, as far as that can be said without a GPU."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from laminar import layers as L
from laminar.fit.convert import Batch
from laminar.fit.engines import recordable
from laminar.fit.engines.form import form_of
from laminar.fit.pace import Pace
from laminar.optimizers import SGD, Adam, Muon


def pace(description: Any, network: nn.Module | None = None) -> Pace:
    parameters = list((network or nn.Linear(3, 2)).parameters())
    return Pace(description.create(parameters[:1], parameters[1:]), description)


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        (SGD(0.1, momentum=0.9), None),
        (Adam(clipnorm=1.0, use_ema=True), None),
        (Muon(), "the step of MuonAndAdamW is not known to be the same operations each time"),
        (SGD(gradient_accumulation_steps=3), "an update is made from 3 batches"),
        (
            Adam(use_ema=True, ema_overwrite_frequency=5),
            "running means take the place of the weights every so many steps (ema_overwrite_frequency)",
        ),
    ],
    ids=repr,
)
def test_optimizers(description: Any, reason: str | None) -> None:
    assert recordable._of_optimizer(pace(description)) == reason


def test_an_optimizer_that_is_not_fused_and_one_with_hooks() -> None:
    linear = nn.Linear(3, 2)
    plain = torch.optim.SGD(linear.parameters(), lr=0.1)
    text = "SGD reads its learning rate on the host, where it is not fused"
    assert recordable._of_optimizer(Pace(plain)) == text
    adam = torch.optim.Adam(linear.parameters())
    adam.register_step_post_hook(lambda *arguments: None)
    assert recordable._of_optimizer(Pace(adam)) == "Adam has hooks, which a graph does not call"


def test_networks_with_hooks() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    assert recordable._of_hooks(model) is None
    handle = model[1].register_forward_pre_hook(lambda module, args: None)
    assert recordable._of_hooks(model) == "'1' has hooks, which a graph does not call"
    handle.remove()
    model[0].bias.register_hook(lambda gradient: None)
    assert recordable._of_hooks(model) == "'0.bias' has hooks, which a graph does not call"


def test_on_the_cpu() -> None:
    assert recordable.hindrance(nn.Linear(3, 2), pace(SGD())) == "the network is on the CPU"


def test_what_a_recording_depends_on() -> None:
    """And not on the learning rate, which is read from the device; nor on numbers that are written in place."""
    model = nn.Sequential(nn.Linear(3, 2), L.Dropout(0.5))
    optimizer = torch.optim.Adam(model.parameters())

    def settings() -> Any:
        return copy.copy(recordable.settings_of(list(model.modules()), list(model.parameters()), optimizer))

    known = [settings()]

    def is_new() -> bool:
        known.append(settings())
        return known[-1] not in known[:-1]

    optimizer.param_groups[0]["lr"] = 0.5
    with torch.no_grad():
        model[0].weight.zero_()
    assert not is_new()
    for change in (
        lambda: model[0].bias.requires_grad_(False),
        lambda: model.eval(),
        lambda: model.train() and optimizer.param_groups[0].update(weight_decay=0.1),
        lambda: setattr(model[0].weight, "data", torch.ones(2, 3)),
        lambda: model.register_forward_hook(lambda *arguments: None),
    ):
        change()
        assert is_new()


def test_an_optimizer_counts_on_the_device_for_the_moment() -> None:
    linear = nn.Linear(3, 2)
    adam = torch.optim.Adam(linear.parameters())
    linear(torch.ones(1, 3)).sum().backward()
    adam.step()
    with recordable.capturable(adam):
        assert adam.param_groups[0]["capturable"] is True
    assert adam.param_groups[0]["capturable"] is False
    assert adam.state_dict()["state"][0]["step"] == 1
    with recordable.capturable(torch.optim.SGD(linear.parameters())):  # which has nothing to count
        pass


def test_batches_of_one_form() -> None:
    x, y = torch.zeros(4, 3), torch.zeros(4)
    one = form_of(Batch(x, y, None))
    assert one == form_of(Batch(x + 1, y, None))
    others = [Batch(x[:2], y[:2], None), Batch(x, y.long(), None), Batch(x, y, y), Batch((x, x), y, None)]
    assert all(one != form_of(other) for other in others)
