"""Who catches what: `torch.autograd.gradcheck` and `lm.check_layer` on the catalogue of faulty layers in tests/faults/layers.

    .venv/bin/python benchmarks/checks/gradcheck.py [--only gradient numerics] [--jobs 2]

gradcheck is used as its documentation says: float64, inputs and learnables as arguments (`torch.func.functional_call`), in
training and in inference, the generator seeded before each call so that what is drawn stays the same, on the small shapes that
check_layer makes of large ones. Whatever it raises counts as caught. check_layer catches a fault where a check fails, and names
it where that is the check the catalogue gives. Both are
shown the repaired twins as well: what they say of those is a false alarm.
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

import laminar as lm
from laminar.check.base import REGISTERED
from laminar.check.settings import settings_kept

TESTS = Path(__file__).resolve().parents[2] / "tests"
sys.path.insert(0, str(TESTS))

from faults.fault import Fault  # noqa: E402  # the catalogue is not installed: it lies with the tests
from faults.layers import ALL  # noqa: E402

BATCH = 3


@dataclass(frozen=True)
class Verdict:
    """What was said of one layer of the catalogue.

    Attributes:
        fault: the entry.
        gradcheck: whether gradcheck raised.
        failed: the checks of check_layer that failed.
    """

    fault: Fault
    gradcheck: bool
    failed: list[str]

    @property
    def group(self) -> str:
        """Of the check that names the fault."""
        return REGISTERED[self.fault.check].group

    @property
    def named(self) -> bool:
        """Whether the check that names the fault is among those that failed."""
        return self.fault.check in self.failed


def inputs(fault: Fault, shapes: Iterable[tuple[int, ...]]) -> list[Tensor]:
    """Return a batch for each input: normal numbers, or what the fault's own `sample` gives, floats in float64."""
    generator = torch.Generator().manual_seed(0)
    if "sample" in fault.options:
        made = fault.options["sample"](BATCH, generator)
    else:
        made = tuple(torch.randn(BATCH, *shape, generator=generator) for shape in shapes)
    return [x.double() if x.is_floating_point() else x for x in tree_leaves(made)]


def built(make: Callable[[], nn.Module], xs: Iterable[Tensor]) -> nn.Module:
    """Return a module of float64 that has run once, so that it has its learnables."""
    torch.manual_seed(0)
    module = make()
    with torch.no_grad():
        module(*(x.float() if x.is_floating_point() else x for x in xs))
    return module.double()


def gradcheck_complains(fault: Fault, make: Callable[[], nn.Module], shapes: Iterable[tuple[int, ...]]) -> bool:
    """Return whether gradcheck, or running the module for it, raises in training or in inference."""
    xs = inputs(fault, shapes)
    moving = [i for i, x in enumerate(xs) if x.is_floating_point()]
    try:
        for training in (True, False):
            module = built(make, xs).train(training)
            names = [name for name, p in module.named_parameters() if p.requires_grad]

            def run(*values: Tensor, module: nn.Module = module, names: list[str] = names) -> tuple[Tensor, ...]:
                torch.manual_seed(0)
                given: list[Any] = list(xs)
                for i, value in zip(moving, values, strict=False):
                    given[i] = value
                learnables = dict(zip(names, values[len(moving) :], strict=True))
                return tuple(tree_leaves(functional_call(module, learnables, tuple(given))))

            values = [xs[i] for i in moving] + [module.get_parameter(n).detach() for n in names]
            arguments = [v.clone().requires_grad_() for v in values]
            if arguments:
                torch.autograd.gradcheck(run, arguments)
    except Exception:
        return True
    return False


def asked(index: int, repaired: bool) -> tuple[bool, list[str]]:
    """Show one layer of the catalogue to both: whether gradcheck raises, and which checks fail."""
    warnings.simplefilter("ignore")
    fault = ALL[index]
    make = fault.repaired if repaired else fault.faulty
    report = lm.check_layer(make, *fault.shapes, show=False, **fault.options)
    # every number of a large image would take gradcheck hours: it gets what check_layer makes of it for the repaired twin
    small = lm.check_layer(fault.repaired, *fault.shapes, show=False, checks=["builds"], **fault.options).shapes
    with settings_kept():  # some of the layers change torch's
        raised = gradcheck_complains(fault, make, small)
    return raised, [outcome.check for outcome in report.failures]


def verdicts(layers: list[int], jobs: int, *, repaired: bool) -> list[Verdict]:
    """Show the layers of these entries to both, in several processes."""
    found = []
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for index, (gradcheck, failed) in zip(layers, pool.map(asked, layers, [repaired] * len(layers)), strict=True):
            found.append(Verdict(ALL[index], gradcheck, failed))
            print(f"{len(found)}/{len(layers)} {ALL[index]}{', repaired' * repaired}: {gradcheck} {failed}", file=sys.stderr)
    return found


def totals(verdicts: list[Verdict]) -> None:
    """Print a row for each group, and one for all."""
    print(
        "| group | faults | caught by gradcheck | caught by check_layer | by the check that names it |\n|---|---|---|---|---|"
    )
    groups = list(dict.fromkeys(check.group for check in REGISTERED.values()))
    rows = [(group, [v for v in verdicts if v.group == group]) for group in groups]
    for title, some in [*((g, s) for g, s in rows if s), ("**all**", verdicts)]:
        counts = [sum(v.gradcheck for v in some), sum(bool(v.failed) for v in some), sum(v.named for v in some)]
        print(f"| {title} | {len(some)} | {' | '.join(map(str, counts))} |")


def table(verdicts: list[Verdict]) -> None:
    """Print a row for each fault, in the order of the checks."""
    order = list(REGISTERED)
    print("| fault | check that names it | gradcheck | check_layer |\n|---|---|---|---|")
    for v in sorted(verdicts, key=lambda v: order.index(v.fault.check)):
        ours = "yes" if v.named else "under another name" if v.failed else "no"
        name = v.fault.name.replace("|", "\\|")
        print(f"| {name} | {v.fault.check} | {'yes' if v.gradcheck else 'no'} | {ours} |")


def main() -> None:
    """Show every layer to both, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="*", help="groups or checks whose faults are shown")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    only = arguments.only
    chosen = [i for i, f in enumerate(ALL) if not only or f.check in only or REGISTERED[f.check].group in only]
    twins = list({(repr(ALL[i].repaired), ALL[i].shapes): i for i in chosen}.values())
    began = time.perf_counter()
    faulty = verdicts(chosen, arguments.jobs, repaired=False)
    repaired = verdicts(twins, arguments.jobs, repaired=True)
    print(
        f"{datetime.date.today()}, {platform.machine()}, torch {torch.__version__}, {time.perf_counter() - began:.0f} s: "
        f"{len(faulty)} faults, {len(repaired)} different repaired twins.\n"
    )
    totals(faulty)
    theirs = [v.fault.name for v in repaired if v.gradcheck]
    ours = [f"{v.fault.name} ({', '.join(v.failed)})" for v in repaired if v.failed]
    print(f"\nFalse alarms of gradcheck: {len(theirs)}{': ' * bool(theirs)}{'; '.join(theirs)}.")
    print(f"False alarms of check_layer: {len(ours)}{': ' * bool(ours)}{'; '.join(ours)}.\n")
    table(faulty)


if __name__ == "__main__":
    main()
