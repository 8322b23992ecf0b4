"""`compare`: the entrance. Checks what is asked, has the runs made that are missing, and returns the verdicts."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from laminar.comparison.fitting import checked_fit
from laminar.comparison.protocol import Contrast, make_protocol
from laminar.comparison.result import Comparison
from laminar.comparison.study import opened
from laminar.comparison.studyfile import study_arguments
from laminar.comparison.task import Builder, Task, with_seed
from laminar.errors import ArgumentError, complaint
from laminar.fit import arguments

__all__ = ["compare", "join", "make_task"]

_TAKEN = {
    "x": ("none: the data comes after the variants", "Write compare(variants, (x, y), (x_test, y_test), ...)"),
    "y": ("none: the data comes after the variants", "Write compare(variants, (x, y), (x_test, y_test), ...)"),
    "sample_weight": ("none: weights come with the data", "Pass (x, y, weight) as train"),
    "seed": ("none: the seeds of runs come from that of the comparison", "Leave it out"),
}
"""Arguments of fit that a comparison sets itself: what is expected instead, and the fix."""
_EVALUATED = ("none beside target=, which evaluates the test data after every epoch", "Leave one of them out")
_OF_THE_CALL = ("workers", "store", "name", "verbose")
_LONGEST = 80  # characters of an argument in the protocol


def compare(
    variants: Mapping[str, Builder | tuple[Builder, Mapping[str, Any]]],
    train: Any,
    test: Any,
    *,
    metric: str,
    margin: float,
    seeds: int = 20,
    baseline: str | Sequence[Contrast] | None = None,
    stop: str = "early",
    workers: int = 1,
    store: str | Path | None = "laminar.db",
    name: str | None = None,
    seed: int = 0,
    target: float | None = None,
    direction: str = "auto",
    verbose: int | bool = 1,
    **fit: Any,
) -> Comparison:
    """Train every variant from the same seeds, and say of each whether it is better than the baseline, and how sure that is.

    Run k of every variant shares one seed: of initial values (each layer's by its path, so that variants which differ in one
    layer share the others), shuffling, augmentation and dropout. A run that fails or diverges is a result: it loses its pair.

    Runs are kept in `store`. The same call goes on where it was interrupted, also with more seeds; what differs in networks,
    data or settings is another study. Several processes, and machines, may call it at once: they share the runs.

    Args:
        variants: name -> function that returns a compiled network, at least two; it may take the seed. Or a pair of it and
            arguments of `Model.fit` that this variant has instead, as (make, {"batch_size": 32}).
        train: (x, y), (x, y, weight), a source of batches, or a function of the seed that returns one of these.
        test: (x, y), (x, y, weight) or a source of batches; never trained on.
        metric: the figure of the test data that is compared: "loss", or a metric that every variant was compiled with.
        margin: the smallest difference that matters, in units of the metric: smaller ones are equivalent.
        seeds: pairs of runs at most.
        baseline: the variant that the others are compared with (the first where None), or pairs (variant, baseline).
        stop: "early" ends where the verdicts are known, having looked after every pair by a method that allows it; "fixed"
            makes all runs, and looks once.
        workers: processes; with more than one, each has its share of the cores. 1 is this process.
        store: a SQLite file, "postgresql://user@host/database", or None: in memory.
        name: of the study in the store; made of variants and settings where None.
        seed: the root of every seed.
        target: a value of the metric; the time to reach it is reported, for which every epoch ends with an evaluation.
        direction: "max" or "min" is better; "auto" goes by the metric's name.
        verbose: 1 for a line on every run and the verdicts at the end, 0 for none.
        **fit: further arguments of `Model.fit`, as epochs=30; `callbacks` are copied for every run, or a function makes them.

    Raises:
        TooFewRunsError: if so few seeds can never lead to a verdict.
        UnknownNameError: on an argument, variant or metric that there is not.
        ArgumentError, DataError: on what cannot work; said before anything is trained.
        StoreError: if the store cannot be opened, or holds another study under the name.
        WorkerError: if the worker processes cannot start.

    Source: rows R5, R16, R25 and B3 of the mission. The statistics cite theirs: `laminar.comparison.verdicts`.

    >>> import numpy as np, laminar as lm
    >>> x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    >>> y = (x[:, 0] > 0).astype(int)
    >>> def net(rate):
    ...     model = lm.Sequential([lm.layers.Dense(2)])
    ...     model.compile(lm.optimizers.SGD(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    ...     return model
    >>> variants = {"quick": lambda: net(1.0), "slow": lambda: net(1e-6)}
    >>> found = compare(variants, (x, y), (x, y), metric="loss", margin=0.01, seeds=8, store=None, verbose=0, epochs=5)
    >>> found["slow"].word
    'worse'
    """
    declared = {"metric": metric, "margin": margin, "seeds": seeds, "baseline": baseline, "stop": stop, "seed": seed}
    task = make_task(variants, train, test, **declared, target=target, direction=direction, **fit)
    (count,) = arguments.whole_numbers("compare", workers=workers)
    _check_rest(name, verbose)
    say = partial(print, flush=True) if verbose else _silent
    with opened(task, store, name, workers=count) as study:
        study.run(count, say)
        result = study.result()
    say("\n" + str(result))
    return result


def join(file: str, store: str | Path, workers: int = 1, *, say: Callable[[str], object] = print) -> None:
    """Take part in the runs of a study file, until nothing is left. What `compare` has declared there counts.

    Args:
        file: "path/to/file.py" or "package.module", with `comparison`.
        store: a SQLite file, or "postgresql://user@host/database".
        workers: processes.
        say: gets a line on every run.

    Raises:
        FileError, ArgumentError: if the file holds no comparison.
        StoreError: if the store cannot be opened.
    """
    given = study_arguments(file, "comparison", compare, "laminar worker FILE")
    name = given.pop("name", None)
    task = make_task(**{key: value for key, value in given.items() if key not in _OF_THE_CALL})
    (count,) = arguments.whole_numbers("laminar worker --workers", workers=workers)
    with opened(task, store, name, workers=count, join=True) as study:
        study.run(count, say)
    say("Nothing is left to do.")


def make_task(variants: Mapping[str, Any], train: Any, test: Any, **options: Any) -> Task:
    """Return what `compare` is to run, its arguments checked as far as that needs no network.

    Args:
        variants: see `compare`.
        train: see `compare`.
        test: see `compare`.
        **options: those arguments of `compare` that say what is run, and those of `Model.fit`.

    Raises:
        UnknownNameError: on an argument that neither has.
        ArgumentError: on a value that cannot work.
    """
    declared = {name: options.pop(name) for name in inspect.signature(make_protocol).parameters if name in options}
    if not isinstance(variants, Mapping):
        fix = 'Pass {"with": make_one, "without": make_other}'
        received = type(variants).__name__
        raise ArgumentError(complaint("compare(variants=)", expected="functions by name", received=received, fix=fix))
    timed = declared.get("target") is not None
    taken = _TAKEN | (dict.fromkeys(("validation_data", "validation_split"), _EVALUATED) if timed else {})
    fit = checked_fit("compare", options, taken, inspect.signature(compare).parameters.keys() - {"fit"})
    builders: dict[str, Builder] = {}
    own: dict[str, dict[str, Any]] = {}
    for name, given in variants.items():
        builders[name], arguments_of_its_own = _parted(name, given)
        if arguments_of_its_own:
            own[name] = checked_fit(f"compare(variants=): fit of variant {name!r}", arguments_of_its_own, taken)
    texts = {name: _texts(arguments_of_it) for name, arguments_of_it in own.items()} or None
    protocol = make_protocol(list(variants), fit=_texts(fit), own=texts, **declared)
    for name, builder in builders.items():
        with_seed(builder, 0, name)
    return Task(protocol, builders, train, test, fit, own)


def _parted(name: str, given: Any) -> tuple[Builder, Mapping[str, Any]]:
    """Return the function that builds a variant, and the arguments of fit that it has for itself."""
    if not isinstance(given, tuple):
        return given, {}
    if len(given) != 2 or not isinstance(given[1], Mapping):
        fix = 'Pass (make, {"batch_size": 32})'
        where, expected = f"compare(variants=): variant {name!r}", "a function, or a pair of it and arguments of fit by name"
        raise ArgumentError(complaint(where, expected=expected, received=repr(given), fix=fix))
    return given


def _texts(fit: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in sorted(fit.items())}


def _check_rest(name: Any, verbose: Any) -> None:
    if name is not None and not (isinstance(name, str) and name):
        fix = 'Pass name="elu", or leave it out'
        raise ArgumentError(complaint("compare(name=)", expected="a name or None", received=repr(name), fix=fix))
    if verbose not in (0, 1):
        raise ArgumentError(complaint("compare(verbose=)", expected="0 or 1", received=repr(verbose), fix="Pass verbose=0"))


def _text(value: Any) -> str:
    """Return an argument in a few words that are the same in every process.

    >>> _text(30), _text([1.0, 2.0]), _text(print)
    ('30', '[1.0, 2.0]', 'print')
    """
    if hasattr(value, "shape"):
        return f"{type(value).__name__} {tuple(value.shape)}"
    if isinstance(value, list | tuple) and value:
        inner = ", ".join(map(_text, value))
        text = f"[{inner}]" if isinstance(value, list) else f"({inner})"
    else:
        text = getattr(value, "__name__", None) or re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _silent(_line: str) -> None:
    """Say nothing."""
