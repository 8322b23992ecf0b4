"""The benchmarks for a GPU run: in miniature, on the CPU, where they measure nothing."""

from __future__ import annotations

import pytest
import torch
from gpu import cifar94, digits, inference, resnet20, steps
from gpu.common import Place

import laminar as lm


def rows(text: str) -> list[list[str]]:
    """Return the cells of the table in what a benchmark says."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines[2:]]


def test_steps() -> None:
    found = rows(steps.main(["--miniature"]))
    assert len(found) == 5
    assert all(float(cell) > 0 for row in found for cell in row[2:])


def test_digits() -> None:
    ((seed, whole, later, taken, accuracy, _),) = rows(digits.main(["--miniature"]))
    assert (seed, taken) == ("0", "6")
    assert 0 < float(later) <= float(whole)
    assert 0 <= float(accuracy) <= 1


def test_resnet20() -> None:
    found = rows(resnet20.main(["--miniature"]))
    assert [row[:2] for row in found] == [["float32", "1"], ["bfloat16", "1"]]
    network = resnet20.network().build((3, 32, 32))
    assert sum(p.numel() for p in network.parameters()) == 269_722  # 0.27 million in the paper, and the last layer's bias


def test_inference() -> None:
    found = rows(inference.main(["--miniature"]))
    assert [row[1] for row in found] == [
        "Laminar, float32",
        "PyTorch, eager, float32",
        "Laminar, bfloat16",
        "PyTorch, eager, bfloat16",
    ]


@pytest.mark.parametrize(("name", "parameters"), [("AlexNet", 61_100_840), ("VGG-16", 138_357_544), ("GoogLeNet", 6_998_552)])
def test_the_networks_are_those_of_the_papers(name: str, parameters: int) -> None:
    """As many parameters as torchvision counts for AlexNet and VGG-16, and Szegedy et al. in table 1 ("6.8M") for GoogLeNet."""
    model = lm.Sequential(inference.ours(inference.SPECIFIED[name]))
    with torch.device("meta"):
        model.build((3, 224, 224))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_cifar94() -> None:
    text = cifar94.main(["--miniature"])
    ((seed, taken, accuracy, _),) = rows(text)
    assert seed == "0"
    assert float(taken) > 0
    assert 0 <= float(accuracy) <= 1
    assert "Mean accuracy of 1 runs: " in text


def test_whitening_answers_are_uncorrelated() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(50, 3, 16, 16, generator=generator) + torch.randn(50, 3, 1, 1, generator=generator)
    kernels = cifar94.whitening(images)
    answers = torch.nn.functional.conv2d(images - images.mean(), kernels[:12]).transpose(0, 1).flatten(1)
    torch.testing.assert_close(answers.cov(), torch.eye(12), rtol=0, atol=0.02)
    assert torch.equal(kernels[12:], -kernels[:12])


def test_the_network_begins_as_it_should() -> None:
    images = torch.randn(20, 3, 32, 32)
    model = cifar94.network(images)
    first, second, *_ = (layer for layer in model if isinstance(layer, lm.layers.Conv2D))
    assert [p.requires_grad for p in (first.weight, first.bias)] == [False, True]
    x = torch.randn(2, 24, 5, 5)
    torch.testing.assert_close(second(x)[:, :24], x)  # it begins as the identity
    assert sum(p.numel() for p in model.parameters()) == 1_971_640


def test_predictions_are_the_mean_over_six_views() -> None:
    """A network that knows a class by one pixel of the border: views that shift it away count less than half."""
    model = lm.Sequential([lm.layers.Flatten(), lm.layers.Dense(2, use_bias=False)]).build((1, 32, 32))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].weight[1, 5 * 32 + 7] = model[1].weight[1, 5 * 32 + 24] = 1.0
    x = torch.zeros(1, 1, 32, 32)
    x[0, 0, 5, 7] = 1.0
    assert cifar94.predicted(model, x).tolist() == [1]
    assert cifar94.predicted(model, torch.zeros(1, 1, 32, 32)).tolist() == [0]


def test_without_a_gpu_there_is_no_measurement(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        digits.main([])
    assert "there is no GPU here; --miniature runs on the CPU, with few data, and measures nothing" in capsys.readouterr().err


def test_sizes() -> None:
    assert (Place("cpu", True).pick(9, 1), Place("cuda", False).pick(9, 1)) == (1, 9)
