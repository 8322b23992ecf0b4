"""The command line: parses arguments, calls the rows below. `laminar --help` lists the commands."""

from __future__ import annotations

import json
import platform
import sys
from importlib import import_module
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from laminar.errors import ArgumentError, LaminarError, complaint
from laminar.names import Registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from laminar.comparison.result import Comparison

app = typer.Typer(
    help="Laminar: define a layer, check it, train it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the layer file and the pictures.")] = Path("demo-output"),
    epochs: Annotated[int, typer.Option(min=1, help="Epochs for each of the three networks.")] = 30,
    seed: Annotated[int, typer.Option(help="Of initial weights and shuffling.")] = 0,
) -> None:
    """Define a layer, check its derivative, train three networks on digits, show the result."""
    from laminar.studies.demo import demo as run

    run(output, epochs=epochs, seed=seed, report=typer.echo)


@app.command()
def new_layer(
    name: Annotated[str, typer.Argument(help="Name of the class, such as SoftClip.")],
    folder: Annotated[Path, typer.Option(help="Where to write the two files.")] = Path(),
) -> None:
    """Write the skeleton of a layer, and a test of it that passes."""
    from laminar.skeleton import write_skeleton

    layer, test = write_skeleton(name, folder)
    typer.echo(f"{layer}\n{test}\nRun it: cd {folder} && python -m pytest {test.name}")


@app.command()
def check(
    target: Annotated[str, typer.Argument(help="package.module:ELU or path/to/file.py:ELU.")],
    input_shape: Annotated[list[str], typer.Option("--input", help="Shape of one observation, 20,24,24; once for each input.")],
    arguments: Annotated[str, typer.Option("--args", help="Of the class, as in a call: '20, 5, strides=2'.")] = "",
    declares: Annotated[list[str] | None, typer.Option(help="What the layer does on purpose: random, batch, ...")] = None,
    only: Annotated[list[str] | None, typer.Option("--check", help="A check or group to run; all where not given.")] = None,
    skip: Annotated[list[str] | None, typer.Option(help="A check or group to leave out.")] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Try the export too.")] = False,
    output: Annotated[Path | None, typer.Option(help="JSON file for every outcome.")] = None,
) -> None:
    """Prove a layer right, or say what is wrong with it; exits with 1 where a check failed."""
    from laminar.check.run import check_layer
    from laminar.check.target import parse_shape
    from laminar.check.target import target as load

    shapes = [parse_shape(text) for text in input_shape]
    report = check_layer(load(target, arguments), *shapes, declares=declares or (), checks=only, skip=skip or (), onnx=onnx)
    if output is not None:
        _write(report.to_dict(), output)
    if not report.passed:
        raise typer.Exit(1)


@app.command()
def compare(
    file: Annotated[str, typer.Argument(help="path/to/file.py or package.module with `comparison`, lm.compare's arguments.")],
    seeds: Annotated[int | None, typer.Option(help="Pairs of runs at most; the file's own number if not given.")] = None,
    store: Annotated[str | None, typer.Option(help="SQLite file or postgresql:// URL; laminar.db if none is given.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.")] = None,
    report: Annotated[Path | None, typer.Option(help="HTML file for the report.")] = None,
    output: Annotated[Path | None, typer.Option(help="JSON file for every run and verdict.")] = None,
) -> None:
    """Train the variants of a study file from the same seeds, and say which is better, and how sure that is."""
    _compared(file, {"seeds": seeds, "store": store, "workers": workers}, output, report)


def _compared(file: str, given: dict[str, Any], output: Path | None, report: Path | None = None) -> Comparison:
    """Run the comparison of a study file, with what was given on the command line in place of its own."""
    from laminar.comparison.compare import compare
    from laminar.comparison.studyfile import study_arguments

    arguments = study_arguments(file, "comparison", compare, "laminar compare FILE")
    result = compare(**arguments | {key: value for key, value in given.items() if value is not None})
    if output is not None:
        _write(result.to_dict(), output)
    if report is not None:
        typer.echo(str(result.report(report)))
    return result


@app.command()
def worker(
    file: Annotated[str, typer.Argument(help="The study file that `laminar compare` was given.")],
    store: Annotated[str, typer.Option(help="The store that it was given: SQLite file or postgresql:// URL.")],
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
) -> None:
    """Help with the runs of a study file, on this machine or another, until nothing is left."""
    from laminar.comparison.compare import join

    join(file, store, workers, say=typer.echo)


@app.command()
def tune(
    file: Annotated[str, typer.Argument(help="path/to/file.py or package.module with `search`, lm.tune's arguments.")],
    trials: Annotated[int | None, typer.Option(help="How many in all; the file's own number if not given.")] = None,
    store: Annotated[str | None, typer.Option(help="SQLite file or postgresql:// URL; laminar.db if none is given.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.")] = None,
    confirm: Annotated[int | None, typer.Option(help="Pairs of fresh seeds for the winner; 0 for none.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder for pictures of trials, slices and importance.")] = None,
    output: Annotated[Path | None, typer.Option(help="JSON file for every trial.")] = None,
) -> None:
    """Search for the parameters of a study file, and say how much of the gain is real."""
    from laminar.comparison.studyfile import study_arguments
    from laminar.tuning.search import tune as search

    given = {"trials": trials, "store": store, "workers": workers, "confirm": confirm}
    arguments = study_arguments(file, "search", search, "laminar tune FILE")
    result = search(**arguments | {key: value for key, value in given.items() if value is not None})
    typer.echo(f"\n{result}")
    if output is not None:
        _write(result.to_dict(), output)
    if pictures is not None:
        from laminar import plots

        drawn = {"trials": plots.trials, "slices": plots.slices, "importance": plots.importance}
        _save({name: draw(result) for name, draw in drawn.items()}, pictures)


def _write(values: Any, file: Path) -> None:
    """Write values as JSON; a folder that is not there is made: a long training is not to end on that."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _save(drawn: dict[str, Figure], folder: Path) -> None:
    """Write pictures into a folder, and say where."""
    from laminar.plots import save

    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        typer.echo(str(save(figure, folder / f"{name}.png", dpi=90)))


@app.command()
def info() -> None:
    """Say what Laminar runs on here: versions, device, threads, what is accelerated."""
    for name, value in _information().items():
        typer.echo(f"{name:<12} {value}")


def _information() -> dict[str, str]:
    import torch

    from laminar.fit.precision import automatic
    from laminar.kernels.library import reason_without
    from laminar.kernels.parts import Part

    reasons = {reason_without(part=part) for part in Part}
    without = "; ".join(sorted(reason for reason in reasons if reason))
    own = "Laminar's own, compiled for this processor"
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    yes_no = {True: "yes", False: "no"}
    backends = torch.backends
    return {
        "laminar": version("laminar"),
        "torch": torch.__version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "device": f"cuda: {', '.join(devices)}" if devices else "cpu (no CUDA device found)",
        "threads": f"{torch.get_num_threads()} in an operation, {torch.get_num_interop_threads()} operations at a time",
        "cpu": f"vector instructions {backends.cpu.get_cpu_capability()}, oneDNN {yes_no[backends.mkldnn.is_available()]}",
        "kernels": f"torch's alone: {without}"
        if None not in reasons
        else f"{own}, but for some: {without}"
        if without
        else own,
        "precision": automatic("cuda" if devices else "cpu"),
    }


_STUDIES = Registry(
    "study",
    {
        name: f"laminar.studies.{name}"
        for name in [
            "digits",
            "filters",
            "heads",
            "initialization",
            "landscapes",
            "mnist",
            "perceptron",
            "series",
            "settings",
            "transfer",
            "tuned",
        ]
    },
)


@app.command()
def study(
    name: Annotated[str, typer.Argument(help=f"Which study: {', '.join(_STUDIES)}.")],
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each variant; the study's own number if not given.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of each run; the study's own number if not given.")] = None,
    output: Annotated[Path | None, typer.Option(help="JSON file for every run.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder for the study's pictures.")] = None,
) -> None:
    """Run a study of the mission and print its table."""
    module = import_module(_STUDIES[name])
    given = {key: value for key, value in (("seeds", seeds), ("epochs", epochs)) if value is not None}
    taken = signature(module.study).parameters if hasattr(module, "study") else {"seeds", "epochs"}
    for option in [*given, *(["pictures"] if pictures else [])]:
        if option not in taken and not (option == "pictures" and hasattr(module, "pictures")):
            fix = f"Leave out --{option}"
            where = f"laminar study {_STUDIES.name_of(name)}"
            raise ArgumentError(complaint(where, expected=f"no --{option}", received="one: the study has none", fix=fix))
    outcomes: Any
    if hasattr(module, "study"):
        outcomes = module.study(report=typer.echo, **given)
        typer.echo("\n" + module.table(outcomes))
        if output is not None:
            _write(module.as_rows(outcomes), output)
    else:
        outcomes = _compared(module.__name__, given, output)
    if pictures is not None:
        _save(module.pictures(outcomes), pictures)


def main() -> None:
    """Run the command line; an error that Laminar raised on purpose is one line, without a traceback."""
    try:
        app()
    except LaminarError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
