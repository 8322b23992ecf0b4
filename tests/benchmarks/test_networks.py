"""The networks of the benchmark are the same ones in every framework, and their FLOPs and bytes are those of the formulas."""

from __future__ import annotations

import pytest
import torch
from frameworks import floor, laminar_networks, torch_networks
from frameworks.networks import NETWORKS
from frameworks.samples import sample
from torch import nn

B = 128


def _learned(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


@pytest.mark.parametrize("name", NETWORKS)
def test_ours_and_the_one_by_hand_have_the_declared_parameters(name: str) -> None:
    network = NETWORKS[name]
    with torch.device("meta"):
        by_hand = torch_networks.build(name)
    ours = laminar_networks.build(name).build(network.shape)
    shapes = [sorted(tuple(p.squeeze().shape) for p in _learned(model)) for model in (ours, by_hand)]
    assert shapes[0] == shapes[1]
    assert sum(p.numel() for p in _learned(ours)) == network.parameters


def test_the_declared_parameters_are_those_of_the_formulas() -> None:
    resnet20 = 9 * (3 * 16 + 6 * 16**2 + 16 * 32 + 5 * 32**2 + 32 * 64 + 5 * 64**2) + 2 * (7 * 16 + 6 * 32 + 6 * 64) + 650
    vgg = 9 * (3 * 64 + 64**2 + 64 * 128 + 128**2 + 128 * 256 + 256**2) + 4 * (64 + 128 + 256) + 4097 * 256 + 2570
    assert {name: network.parameters for name, network in NETWORKS.items()} == {
        "digits": 520 + 40 + 20 + 11_521 * 10,
        "mlp": 3073 * 20 + 40 + 21 * 15 + 30 + 160,
        "mnist": 10 * 32 + (9 * 32 + 1) * 32 + 4609 * 128 + 1290,
        "resnet20": resnet20,
        "lstm": 4 * ((8 + 64) * 64 + 64) + 65,
        "vgg": vgg,
        "resnet50": 25_557_032,  # torchvision's
    }


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "resnet50"])
def test_with_the_same_weights_ours_and_the_one_by_hand_say_the_same(name: str) -> None:
    network = NETWORKS[name]
    by_hand = torch_networks.build(name).eval()
    ours = laminar_networks.build(name).build(network.shape, seed=0).eval()
    with torch.no_grad():
        for mine, theirs in zip(_learned(ours), _learned(by_hand), strict=True):
            assert mine.squeeze().shape == theirs.squeeze().shape
            mine.copy_(theirs.reshape(mine.shape))
        x = torch.from_numpy(sample(network, 4)[0])
        torch.testing.assert_close(ours(x), by_hand(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # forward and gradient of the weights of the first layer; of those behind it also the gradient of the input
        ("digits", 2 * B * (2 * 25 * 20 * 24 * 24 + 3 * 11_520 * 10)),
        ("mlp", 2 * B * (2 * 3072 * 20 + 3 * 20 * 15 + 3 * 15 * 10)),
        ("mnist", 2 * B * (2 * 9 * 32 * 26**2 + 3 * 9 * 32 * 32 * 24**2 + 3 * 4608 * 128 + 3 * 128 * 10)),
    ],
)
def test_flops_are_those_of_the_formula(name: str, expected: int) -> None:
    assert floor.flops(NETWORKS[name]) == expected


def test_flops_of_an_lstm_are_those_of_its_steps() -> None:
    """Input and state are multiplied by four gates' weights in each of 20 steps; the input has no gradient."""
    at_least = 2 * B * 20 * 256 * (2 * 8 + 3 * 64) + 2 * B * 3 * 64
    found = floor.flops(NETWORKS["lstm"])
    first_state = 2 * B * 256 * 64  # it is zero and has no gradient, which the first step may leave out
    assert at_least - first_state <= found <= at_least


def test_bytes_are_those_of_the_formula() -> None:
    outputs, parameters = 20 + 15 + 10, NETWORKS["mlp"].parameters
    assert floor.bytes_moved(NETWORKS["mlp"]) == 4 * (2 * B * 3072 + 5 * B * outputs + 6 * parameters)


def test_the_floor_is_the_larger_of_arithmetic_and_memory() -> None:
    rates = {"gflops": 100.0, "gbs": 10.0}
    assert floor.milliseconds(2e9, 1e6, rates) == 20.0
    assert floor.milliseconds(2e9, 1e9, rates) == 100.0


def test_data_are_the_same_every_time_and_their_noise_is_not_that_of_the_other_part() -> None:
    network = NETWORKS["digits"]
    (x, y), (again, _), (other, _) = sample(network, 20), sample(network, 20), sample(network, 20, seed=1)
    assert x.shape == (20, 1, 28, 28)
    assert y.max() < 10
    assert (x == again).all()
    assert not (x == other).any()
