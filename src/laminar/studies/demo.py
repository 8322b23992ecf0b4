"""The main job, start to end: a layer of one's own, checked, three networks trained, the result shown."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laminar import layers as L
from laminar import plots
from laminar.check.run import check_layer
from laminar.comparison.compare import compare
from laminar.data import digits
from laminar.errors import FileError, complaint
from laminar.fit.state import History
from laminar.layers.base import Layer
from laminar.modules import file_module
from laminar.sequential import Sequential
from laminar.studies import digits as r5

__all__ = ["Result", "demo"]

_LAYER_FILE = "own_elu.py"
_FEW = 1280  # digits in the comparison, which is to end within half a minute
_SHORT = 3  # epochs in it
_PAIRS = 12  # in it, at most


@dataclass(frozen=True)
class Result:
    """How one network of the demo did.

    Attributes:
        name: which one.
        accuracy: on the test part.
        seconds: of the training.
        history: every figure.
    """

    name: str
    accuracy: float
    seconds: float
    history: History


def demo(output: Path, *, epochs: int = 30, seed: int = 0, report: Callable[[str], object] = print) -> list[Result]:
    """Run the demo and write its files to the folder `output`.

    Args:
        output: made if it is not there. A layer file that is there already is used as it is, not written again.
        epochs: for each of the three networks.
        seed: of initial weights and shuffling.
        report: is given every paragraph of text.

    Raises:
        FileError: if the folder cannot be written to.
    """
    started = time.perf_counter()
    own_elu = _own_layer(output, report)
    _check(own_elu, report)
    (x, y), (x_test, y_test) = digits()
    builders: dict[str, Callable[[], Sequential]] = {
        "with BN": lambda: r5.network(own_elu(), batch_norm=True),
        "without BN": lambda: r5.network(own_elu(), batch_norm=False),
        "without BN, alpha fixed": lambda: r5.network(L.ELU(1.0), batch_norm=False),
    }
    networks = {name: build() for name, build in builders.items()}
    report(f"\n3. Train. {len(x):,} digits to learn from, {len(x_test):,} to be tested on. The first network:\n")
    report(str(networks["with BN"].build(x.shape[1:], seed=seed).summary(show=False)))
    results = []
    for name, model in networks.items():
        report(f"\n{name}")
        results.append(_train(name, model, (x, y), (x_test, y_test), epochs, seed))
    report(f"\n4. Side by side, {epochs} {'epoch' if epochs == 1 else 'epochs'}, one run each:\n")
    report(_side_by_side(results))
    _pictures(output, results, networks["with BN"], x_test, y_test, report)
    _compare(output, {name: builders[name] for name in ("with BN", "without BN")}, (x, y), (x_test, y_test), report)
    report(f"\nDone in {time.perf_counter() - started:.0f} s.")
    return results


def _own_layer(output: Path, report: Callable[[str], object]) -> type[Layer]:
    path = output / _LAYER_FILE
    try:
        output.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            shutil.copyfile(Path(__file__).with_name(_LAYER_FILE), path)
    except OSError as error:
        raise FileError(
            complaint(
                "demo(output=)", expected="a folder that can be written to", received=str(error), fix="Choose another folder"
            )
        ) from error
    report(f"1. Define. The layer is in {path}: open it, change it, run this again.\n")
    lines = path.read_text(encoding="utf-8").splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("class ")), 0)
    report("\n".join(f"    {line}".rstrip() for line in lines[start:]))
    found: Any = getattr(file_module(path, "demo(output=)"), "OwnELU", None)
    if not (isinstance(found, type) and issubclass(found, Layer)):
        raise FileError(
            complaint(str(path), expected="a layer class named OwnELU", received="none", fix="Name it so, or delete the file")
        )
    return found


def _check(own_elu: type[Layer], report: Callable[[str], object]) -> None:
    report("\n2. Check. Is the layer right? lm.check_layer(OwnELU(), (20, 24, 24)) says:\n")
    report(str(check_layer(own_elu, (20, 24, 24), show=False)))


def _train(name: str, model: Sequential, data: Any, test: Any, epochs: int, seed: int) -> Result:
    started = time.perf_counter()
    history = model.fit(*data, **{**r5.FIT, "epochs": epochs}, seed=seed)
    seconds = time.perf_counter() - started
    return Result(name, model.evaluate(*test)["accuracy"], seconds, history)


def _compare(output: Path, builders: Mapping[str, Any], data: Any, test: Any, report: Callable[[str], object]) -> None:
    """Compare two of the networks on few digits, for few epochs: the verdict is on these."""
    report(
        f"\n5. Compare. One run each does not tell which is better. lm.compare trains both from the same seeds, on "
        f"{_FEW:,} digits for {_SHORT} epochs each, and stops as soon as it knows:\n"
    )
    found = compare(
        builders,
        tuple(part[:_FEW] for part in data),
        tuple(part[:_FEW] for part in test),
        metric="accuracy",
        margin=0.01,
        seeds=_PAIRS,
        store=output / "runs.db",
        **{**r5.FIT, "epochs": _SHORT},
    )
    report(f"\n{found.report(output / 'compare.html')}: the report, a page for the browser")
    report("At full length, with the fourth network that separates two questions: laminar study digits")


def _side_by_side(results: list[Result]) -> str:
    longest = max(len(r.name) for r in results)
    first = results[0].seconds
    lines = [f"    {'network':<{longest}}  test accuracy  training time  ratio"]
    lines += [f"    {r.name:<{longest}}  {r.accuracy:>13.2%}  {r.seconds:>11.1f} s  {r.seconds / first:>5.2f}" for r in results]
    return "\n".join(lines)


def _pictures(output: Path, results: list[Result], model: Sequential, x: Any, y: Any, report: Callable[[str], object]) -> None:
    curves = plots.history({r.name: r.history for r in results})
    grid = plots.predictions(x, model.classify(x), y, probabilities=model.predict(x))
    for figure, name, what in (
        (curves, "curves.png", "loss and accuracy of the three networks"),
        (grid, "digits.png", "test digits with their predicted labels, worst first"),
    ):
        report(f"{'' if name != 'curves.png' else chr(10)}{plots.save(figure, output / name)}: {what}")
