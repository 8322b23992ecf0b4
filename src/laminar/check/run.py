"""`check_layer`: every check put to one layer."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import nn

from laminar.check.base import REGISTERED, Check
from laminar.check.blame import of_checker
from laminar.check.outcome import Finding, Outcome, Status, failed, not_applicable
from laminar.check.registry import chosen
from laminar.check.report import CheckReport
from laminar.check.settings import settings_kept
from laminar.check.subject import Sample, Subject
from laminar.check.words import advised, said
from laminar.errors import ArgumentError, LayerError, complaint
from laminar.seeding import preserved
from laminar.shapes import Shape, normalize_shape

__all__ = ["check_layer"]

FIRST = "builds"
"""The check without which no other means anything."""


def check_layer(
    layer: nn.Module | Callable[[], nn.Module],
    *input_shape: int | Sequence[Any],
    declares: Iterable[str] = (),
    sample: Sample | None = None,
    checks: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    onnx: bool = False,
    seed: int = 0,
    show: bool = True,
) -> CheckReport:
    """Prove a layer right, or say what is wrong with it.

    Its contract, its gradient, its numbers, its behaviour, where it can be placed and what it costs are checked, on small
    shapes where the given ones are large. The layer itself is copied and never changed.

    Args:
        layer: any `torch.nn.Module`, built or not; or a class or function that makes one without arguments.
        *input_shape: of one observation, without the batch axis: (C, H, W), (features,); one for each input.
        declares: what the layer does on purpose: "random", "batch", "state", "modes", "always random", "always batch",
            "always state", "surrogate", "nan". A module says it itself, in an attribute `declares`.
        sample: `sample(batch, generator)` makes the inputs, a tensor or a tuple, where normal numbers do not serve.
        checks: names of checks or groups to run; all where None.
        skip: names of checks or groups to leave out.
        onnx: whether to try the export too; it takes seconds, and the extra `laminar[onnx]`.
        seed: of everything that is drawn.
        show: whether to print the table.

    Returns:
        The table: `passed`, `failures`, `outcomes`, and each outcome by its check's name.

    Raises:
        ArgumentError: if there is no module, or no shape.
        UnknownNameError: if there is no check, group or declaration of a name.

    Source: row B1 of the mission.

    >>> from laminar import layers as L
    >>> check_layer(L.ELU("uniform", learnable=True), (3, 5, 5), checks=["gradient"], show=False).passed
    True
    """
    wanted = chosen(checks, skip)
    shapes = _shapes(input_shape)
    started = time.perf_counter()
    with preserved(), settings_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a layer warns of is for its users; here it would only be repeated
        with settings_kept():
            subject = Subject(layer, shapes, declares=declares, sample=sample, seed=seed, onnx=onnx)
        outcomes = _Asking(subject).outcomes(wanted)
    report = CheckReport(subject.label, subject.given, subject.shapes, outcomes, time.perf_counter() - started)
    if show:
        report.show()
    return report


def _shapes(given: tuple[Any, ...]) -> tuple[Shape, ...]:
    nested = given[0] if len(given) == 1 and isinstance(given[0], list | tuple) and given[0] else None
    several = nested if nested is not None and isinstance(nested[0], list | tuple) else given
    shapes = tuple(normalize_shape(shape) for shape in several)
    if not shapes or any(n < 1 for shape in shapes for n in shape):
        received = ", ".join(map(str, given)) or "none"
        fix = "Pass the shape of one observation, without the batch axis: check_layer(layer, (3, 32, 32))"
        raise ArgumentError(complaint("check_layer(input_shape)", expected="lengths of at least 1", received=received, fix=fix))
    return shapes


class _Asking:
    """Puts checks to one layer, each once, those that another needs before it."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._known: dict[str, Outcome] = {}

    def outcomes(self, wanted: Sequence[Check]) -> tuple[Outcome, ...]:
        """Return what each check says, in the order given; if the layer does not even run, that comes first."""
        first = self._outcome(REGISTERED[FIRST])
        asked = tuple(self._outcome(check) for check in wanted)
        missing = first.status is Status.FAIL and first not in asked
        return (first, *asked) if missing else asked

    def _outcome(self, check: Check) -> Outcome:
        if check.name not in self._known:
            needed = [n for n in (FIRST, *check.needs) if n != check.name]
            broken = [n for n in needed if self._outcome(REGISTERED[n]).status is Status.FAIL]
            started = time.perf_counter()
            finding = not_applicable(f"means nothing while {broken[0]} fails") if broken else self._ask(check)
            self._known[check.name] = Outcome(
                **vars(finding), check=check.name, group=check.group, seconds=time.perf_counter() - started
            )
        return self._known[check.name]

    def _ask(self, check: Check) -> Finding:
        try:
            with settings_kept():
                return check.run(self._subject)
        except Exception as error:
            while isinstance(error, LayerError) and isinstance(error.__cause__, Exception):
                error = error.__cause__  # what it raised itself, not what a network would say of it
            if of_checker(error):
                found = f"{said(error)}, raised by the check itself"
                return failed(expected=check.expects, found=found, fix="Report it with the layer: the check may be wrong")
            found, fix = advised(error, "Call the layer in the same way and read the traceback")
            return failed(expected=check.expects, found=found, fix=fix)
