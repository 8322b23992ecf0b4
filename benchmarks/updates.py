"""What an optimizer's update takes by one thread and by several, for networks of several sizes.

    PYTHONPATH=benchmarks .venv/bin/python benchmarks/updates.py [--repeats 41] [--threads 2]

Updates of torch's fused SGD with momentum, repeats interleaved; the figure is the median of the ratios of neighbours. Waiting
threads spin or sleep as `OMP_WAIT_POLICY` says, which decides.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import time

import torch
from frameworks import laminar_networks
from frameworks.networks import NETWORKS

NAMES = ("mlp", "lstm", "digits", "resnet20", "vgg")


def optimizer(name: str) -> torch.optim.Optimizer:
    """Return the optimizer of a network of the benchmarks, with gradients."""
    model = laminar_networks.build(name)
    model.build(NETWORKS[name].shape)
    parameters = list(model.parameters())
    for p in parameters:
        p.grad = torch.randn_like(p)
    return torch.optim.SGD(parameters, 0.1, momentum=0.9, fused=True)


def seconds(made: torch.optim.Optimizer, threads: int) -> float:
    """Return how long an update takes."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    made.step()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=41)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    print(
        f"{datetime.date.today()}, {os.cpu_count()} cores, torch {torch.__version__}, {arguments.threads} threads, "
        f"OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', '')}, {arguments.repeats} interleaved repeats.\n\n"
        "| network | parameters | tensors | several threads, ms | one thread, ms | times faster (lowest to highest) |\n"
        "|---|---|---|---|---|---|"
    )
    for name in NAMES:
        made = optimizer(name)
        parameters = [p for group in made.param_groups for p in group["params"]]
        times: tuple[list[float], list[float]] = ([], [])
        for repeat in range(-3, arguments.repeats):
            for which in (0, 1) if repeat % 2 else (1, 0):
                took = seconds(made, (arguments.threads, 1)[which])
                if repeat >= 0:
                    times[which].append(took)
        ratios = [a / b for a, b in zip(*times, strict=True)]
        several, one = (statistics.median(t) * 1e3 for t in times)
        print(
            f"| {name} | {sum(p.numel() for p in parameters):,} | {len(parameters)} | {several:.2f} | {one:.2f} "
            f"| **{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f}) |"
        )


if __name__ == "__main__":
    main()
