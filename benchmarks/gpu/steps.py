"""A training step of five networks on a GPU: Laminar's engines against loops by hand, data on the device.

    PYTHONPATH=benchmarks python -m gpu.steps [--miniature]

Repeats of all contenders are interleaved; told are medians of milliseconds a step, and the lowest.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

import torch
from frameworks import laminar_networks, torch_networks
from frameworks.networks import NETWORKS, Network
from frameworks.samples import sample
from torch import Tensor
from torch.nn import functional as F

from gpu.common import Place, arguments, header, seconds, table

__all__ = ["contenders", "main"]

FIVE = ("digits", "mlp", "mnist", "resnet20", "lstm")
REPEATS = 7

Epoch = Callable[[], object]


def ours(network: Network, place: Place, x: Tensor, y: Tensor, *, engine: str, precision: str) -> Epoch:
    """Return an epoch of Laminar's `fit`."""
    model = laminar_networks.build(network.name).build(network.shape, seed=0)
    loss = "sparse_categorical_crossentropy" if network.classes else "mse"
    optimizer = laminar_networks.optimizer(network.optimizer, network.rate)
    model.compile(optimizer, loss, device=place.device, engine=engine, precision=precision)
    return lambda: model.fit(x, y, batch_size=network.batch, seed=0, verbose=0)


def by_hand(network: Network, place: Place, x: Tensor, y: Tensor, *, compiled: bool, reduced: bool) -> Epoch:
    """Return an epoch of a loop: fused optimizer, batches by index on the device; reduced is bfloat16 and channels-last."""
    layout = torch.channels_last if reduced and len(network.shape) == 3 else torch.contiguous_format
    module = torch_networks.build(network.name).to(place.device, memory_format=layout).train()
    model = torch.compile(module) if compiled else module
    optimizer = torch_networks.optimizer(network.optimizer, network.rate, module, fused=True)
    loss_of = F.cross_entropy if network.classes else F.mse_loss
    inputs = x.contiguous(memory_format=layout)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(len(x), device=x.device).split(network.batch):
            yield inputs[index], y[index]

    def epoch() -> None:
        for xb, yb in batches():
            optimizer.zero_grad()
            with torch.autocast(place.device, torch.bfloat16, enabled=reduced):
                loss = loss_of(model(xb), yb)
            loss.backward()
            optimizer.step()

    return epoch


def contenders(network: Network, place: Place) -> dict[str, Epoch]:
    """Return an epoch of each way to train a network."""
    steps = place.pick(network.steps * 5, 2)
    x, y = (torch.from_numpy(array).to(place.device) for array in sample(network, network.batch * steps))
    rivals = {
        "Laminar, auto": ours(network, place, x, y, engine="auto", precision="float32"),
        "Laminar, auto, bfloat16": ours(network, place, x, y, engine="auto", precision="bfloat16"),
        "Laminar, eager": ours(network, place, x, y, engine="eager", precision="float32"),
        "by hand, eager": by_hand(network, place, x, y, compiled=False, reduced=False),
        "by hand, eager, bfloat16": by_hand(network, place, x, y, compiled=False, reduced=True),
    }
    if not place.miniature:  # compiling takes longer than all the rest
        rivals["Laminar, compiled"] = ours(network, place, x, y, engine="compiled", precision="float32")
        rivals["by hand, compiled"] = by_hand(network, place, x, y, compiled=True, reduced=False)
        rivals["by hand, compiled, bfloat16"] = by_hand(network, place, x, y, compiled=True, reduced=True)
    return rivals


def measured(network: Network, place: Place) -> dict[str, list[float]]:
    """Return the milliseconds a step of each way, one for each repeat."""
    rivals = contenders(network, place)
    steps = place.pick(network.steps * 5, 2)
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for repeat in range(place.pick(REPEATS, 1) + 1):
        for name in rivals if repeat % 2 else reversed(rivals):
            taken = seconds(rivals[name], place.device) / steps * 1e3
            if repeat:  # the first one warms up
                times[name].append(taken)
    return times


def main(given: Sequence[str] | None = None) -> str:
    """Measure, and return the table."""
    place = arguments(__doc__.splitlines()[0] if __doc__ else None, given)
    rows = []
    for name in ("mlp",) if place.miniature else FIVE:
        times = measured(NETWORKS[name], place)
        best = min(statistics.median(t) for n, t in times.items() if n.startswith("by hand"))
        for way, taken in times.items():
            median = statistics.median(taken)
            rows.append([NETWORKS[name].title, way, f"{median:.3f}", f"{min(taken):.3f}", f"{best / median:.2f}"])
    head = ["network", "way", "ms a step, median", "lowest", "best by hand ÷ it"]
    return header("A training step", place) + "\n" + table(head, rows)


if __name__ == "__main__":
    print(main())
