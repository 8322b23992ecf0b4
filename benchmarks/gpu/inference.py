"""Images a second of AlexNet, VGG-16, GoogLeNet and ResNet-50 on a GPU: `predict` against eager PyTorch.

    PYTHONPATH=benchmarks python -m gpu.inference [--miniature]

Both are given images on the device and return class scores on the host. Repeats are interleaved, medians are told.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import torch
from frameworks import laminar_networks, torch_networks
from torch import Tensor, nn

import laminar as lm
from gpu.common import Place, arguments, header, seconds, table
from laminar import layers as L

__all__ = ["NETWORKS", "main"]

# four numbers: filters, size, strides and padding of a convolution; six: an Inception module; one: a dense layer;
# "P3/2+1": max-pooling of 3 by strides of 2 with a padding of 1
ALEXNET = [(64, 11, 4, 2), "P3/2", (192, 5, 1, 2), "P3/2", (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1), "P3/2", 4096, 4096]
VGG16 = [
    *[(64, 3, 1, 1)] * 2, "P2/2", *[(128, 3, 1, 1)] * 2, "P2/2", *[(256, 3, 1, 1)] * 3, "P2/2",
    *[(512, 3, 1, 1)] * 3, "P2/2", *[(512, 3, 1, 1)] * 3, "P2/2", 4096, 4096,
]  # fmt: skip
GOOGLENET = [
    (64, 7, 2, 3), "P3/2+1", (64, 1, 1, 0), (192, 3, 1, 1), "P3/2+1",
    (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), "P3/2+1",
    (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128), "P3/2+1", (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128), "mean",
]  # fmt: skip
SPECIFIED = {"AlexNet": ALEXNET, "VGG-16": VGG16, "GoogLeNet": GOOGLENET}
NETWORKS = (*SPECIFIED, "ResNet-50")


class Branches(nn.Module):
    """The outputs (B, C, H, W) of several paths, one after the other along the channels."""

    def __init__(self, *paths: nn.Module) -> None:
        super().__init__()
        self.paths = nn.ModuleList(paths)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([path(x) for path in self.paths], 1)


def ours(specification: Sequence[object]) -> list[nn.Module]:
    """Return the layers of a network in Laminar."""

    def conv(filters: int, size: int, strides: int, padding: int) -> nn.Module:
        return L.Conv2D(filters, size, strides=strides, padding=padding, activation="relu")

    def pool(size: int, strides: int, padding: int) -> nn.Module:
        return L.MaxPooling2D(size, strides=strides, padding=padding)

    end = [
        L.Flatten(),
        *(L.Dense(units, activation="relu") for units in specification if isinstance(units, int)),
        L.Dense(1000),
    ]
    return _features(specification, conv, pool, lambda *layers: lm.Sequential(layers), L.GlobalAveragePooling2D()) + end


def by_hand(specification: Sequence[object]) -> list[nn.Module]:
    """Return the same in PyTorch."""

    def conv(filters: int, size: int, strides: int, padding: int) -> nn.Module:
        return nn.Sequential(nn.LazyConv2d(filters, size, strides, padding), nn.ReLU(inplace=True))

    end: list[nn.Module] = [nn.Flatten()]
    for units in (units for units in specification if isinstance(units, int)):
        end += [nn.LazyLinear(units), nn.ReLU(inplace=True)]
    return [*_features(specification, conv, nn.MaxPool2d, nn.Sequential, nn.AdaptiveAvgPool2d(1)), *end, nn.LazyLinear(1000)]


def _features(
    specification: Sequence[object],
    conv: Callable[[int, int, int, int], nn.Module],
    pool: Callable[[int, int, int], nn.Module],
    chain: Callable[..., nn.Module],
    mean: nn.Module,
) -> list[nn.Module]:
    """Return what stands before the dense layers."""
    layers: list[nn.Module] = []
    for part in specification:
        if isinstance(part, tuple) and len(part) == 4:
            layers.append(conv(*part))
        elif isinstance(part, tuple):
            one, before3, three, before5, five, pooled = part
            paths = [
                conv(one, 1, 1, 0),
                chain(conv(before3, 1, 1, 0), conv(three, 3, 1, 1)),
                chain(conv(before5, 1, 1, 0), conv(five, 5, 1, 2)),
                chain(pool(3, 1, 1), conv(pooled, 1, 1, 0)),
            ]
            layers.append(Branches(*paths))
        elif part == "mean":
            layers.append(mean)
        elif isinstance(part, str):
            sizes, _, padding = part[1:].partition("+")
            size, _, strides = sizes.partition("/")
            layers.append(pool(int(size), int(strides), int(padding or 0)))
    return layers


def pair(name: str, place: Place, side: int) -> tuple[lm.Sequential, nn.Module]:
    """Return Laminar's network and PyTorch's."""
    if name == "ResNet-50":
        model, module = laminar_networks.build("resnet50"), torch_networks.build("resnet50")
    else:
        model, module = lm.Sequential(ours(SPECIFIED[name])), nn.Sequential(*by_hand(SPECIFIED[name]))
        module(torch.zeros(1, 3, side, side))  # torch's lazy layers look at an image
    return model.build((3, side, side), seed=0), module.to(place.device).eval()  # type: ignore[return-value]


def rivals(name: str, place: Place, x: Tensor, batch: int) -> dict[str, Callable[[], Tensor]]:
    """Return each way to predict."""
    model, module = pair(name, place, x.shape[2])
    count = [sum(p.numel() for p in network.parameters()) for network in (model, module)]
    assert count[0] == count[1], f"{name}: {count[0]:,} parameters against {count[1]:,}"
    reduced = {name: pair(name, place, x.shape[2]) for name in [name]}[name]
    reduced[1].to(memory_format=torch.channels_last)
    found: dict[str, Callable[[], Tensor]] = {}
    for precision, (ours_, theirs) in (("float32", (model, module)), ("bfloat16", reduced)):
        ours_.compile("sgd", "mse", device=place.device, precision=precision)

        def eager(net: nn.Module = theirs, low: bool = precision == "bfloat16") -> Tensor:
            with torch.inference_mode(), torch.autocast(place.device, torch.bfloat16, enabled=low):
                return torch.cat([net(part) for part in x.split(batch)]).float().cpu()

        found[f"Laminar, {precision}"] = lambda net=ours_: net.predict(x, batch_size=batch)  # type: ignore[misc]
        found[f"PyTorch, eager, {precision}"] = eager
    return found


def main(given: Sequence[str] | None = None) -> str:
    """Measure, and return the table."""
    place = arguments(__doc__.splitlines()[0] if __doc__ else None, given)
    rows = []
    batch = place.pick(256, 1)
    x = torch.randn(place.pick(2048, 1), 3, 224 if not place.miniature else 64, 224 if not place.miniature else 64).to(
        place.device
    )
    for name in ("GoogLeNet",) if place.miniature else NETWORKS:
        ways = rivals(name, place, x, batch)
        times: dict[str, list[float]] = {way: [] for way in ways}
        for repeat in range(place.pick(7, 1) + 1):
            for way in ways if repeat % 2 else reversed(ways):
                taken = seconds(ways[way], place.device)
                if repeat:
                    times[way].append(taken)
        for way, taken_each in times.items():
            rows.append([name, way, f"{len(x) / statistics.median(taken_each):,.0f}", f"{len(x) / min(taken_each):,.0f}"])
    return header("Inference", place) + "\n" + table(["network", "way", "images a second, median", "most"], rows)


if __name__ == "__main__":
    print(main())
