"""For test suites: a layer that has to be right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from laminar.check.report import CheckReport
from laminar.check.run import check_layer
from laminar.errors import CheckError

__all__ = ["assert_layer"]


def assert_layer(layer: nn.Module | Callable[[], nn.Module], *input_shape: int | Sequence[Any], **options: Any) -> CheckReport:
    """Assert that a layer passes `check_layer`; in anyone's pytest suite, for a layer of any kind.

    Args:
        layer: any `torch.nn.Module`; or a class or function that makes one without arguments.
        *input_shape: of one observation, without the batch axis; one for each input.
        **options: those of `check_layer`; nothing is printed unless show=True.

    Returns:
        The table.

    Raises:
        CheckError: an AssertionError that says which checks failed: expected, found, cause, fix.

    Source: row B1 of the mission.

    >>> from laminar import layers as L
    >>> assert_layer(L.ReLU(), (3, 5, 5), checks=["contract"])
    <CheckReport: ReLU(): ...
    """
    __tracebackhide__ = True  # pytest then shows the test's own line, and nothing of ours below it
    report = check_layer(layer, *input_shape, **{"show": False, **options})
    try:
        report.raise_for_failures()
    except CheckError as error:
        raise error.with_traceback(None) from None
    return report
