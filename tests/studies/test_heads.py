"""R25: the heads compute what the question says, and stand on one network."""

from __future__ import annotations

import pytest
import torch

from laminar.check.run import check_layer
from laminar.studies import heads


def test_the_moving_average_is_the_loop_of_the_question() -> None:
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    positions = list(x.flatten(2).unbind(2))
    average = positions[0]
    for position in positions[1:]:
        average = 0.3 * position + 0.7 * average
    torch.testing.assert_close(heads.MovingAverage(0.3)(x), average, rtol=1e-12, atol=1e-12)


def test_four_parts_are_bands_of_rows() -> None:
    x = torch.arange(2 * 3 * 8 * 2, dtype=torch.float32).reshape(2, 3, 8, 2)
    expected = torch.stack([part.amax((2, 3)) for part in x.split(2, dim=2)], dim=2).flatten(1)
    assert torch.equal(heads.SplitMaximum(4)(x), expected)


@pytest.mark.parametrize("layer", [heads.MovingAverage(), heads.SplitMaximum()], ids=["average", "maximum"])
def test_they_are_right_as_layers(layer: torch.nn.Module) -> None:
    check_layer(layer, (3, 8, 8), skip=["compile"], show=False).raise_for_failures()


def test_heads_differ_and_the_rest_does_not() -> None:
    built = {name: heads.network(name).build((3, 32, 32), seed=1) for name in heads.HEADS}
    assert all(model.output_shape == (10,) for model in built.values())
    bodies = [{k: v for k, v in m.state_dict().items() if k.startswith(("conv2d.", "residual"))} for m in built.values()]
    assert all(len(b) == len(bodies[0]) > 10 for b in bodies)
    assert all(torch.equal(b[key], value) for b in bodies for key, value in bodies[0].items())


def test_what_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    part = torch.zeros(4, 3, 32, 32), torch.zeros(4)
    monkeypatch.setattr(heads, "cifar10", lambda: (part, part))
    declared = heads.comparison()
    assert list(declared["variants"]) == list(heads.HEADS)
    assert declared["variants"]["moving average"]()[-2].beta == 0.5
