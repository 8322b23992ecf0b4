"""Every exception Laminar raises. This file imports nothing of ours.

One exception is one string: where it happened, what was expected, what was received, and something to type that mends it.
`complaint` puts the four parts together, so that every message reads the same way.
"""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "CheckError",
    "DataError",
    "DivergedError",
    "DtypeError",
    "FileError",
    "GradientError",
    "LabelError",
    "LaminarError",
    "LayerError",
    "MissingPackageError",
    "NotBuiltError",
    "NotCompiledError",
    "ShapeError",
    "StoreError",
    "TooFewRunsError",
    "UnknownNameError",
    "WorkerError",
    "complaint",
]


def complaint(where: str, *, expected: str, received: str, fix: str) -> str:
    """Return one message in the house style.

    Args:
        where: the layer path or the argument that is wrong.
        expected: what would have been right, in words or as a shape with named axes.
        received: the value, shape or type that came instead.
        fix: something to type, as a full sentence without the final stop.

    >>> complaint("fit(epochs=)", expected="a whole number of at least 1", received="0", fix="Pass epochs=1 or more")
    'fit(epochs=): expected a whole number of at least 1, received 0. Pass epochs=1 or more.'
    """
    return f"{where}: expected {expected}, received {received}. {fix}."


class LaminarError(Exception):
    """The base of every exception raised on purpose by Laminar; catch it to catch them all."""


class ArgumentError(LaminarError, ValueError):
    """An argument has a value that cannot work."""


class UnknownNameError(ArgumentError):
    """A name (of a layer, loss, optimizer, metric, ...) is not one that Laminar knows."""


class ShapeError(LaminarError, ValueError):
    """A tensor has the wrong number of axes, or an axis the wrong length."""


class DtypeError(LaminarError, TypeError):
    """A tensor or an array has a dtype that cannot be used here."""


class DataError(LaminarError, ValueError):
    """The data given to fit, evaluate or predict cannot be used: empty, not finite, of unequal lengths, ..."""


class LabelError(DataError):
    """The labels do not fit the network or the loss: out of range, of another class count, not whole numbers."""


class FileError(LaminarError, OSError):
    """A file is missing, truncated, altered, or could not be fetched."""


class MissingPackageError(LaminarError, ImportError):
    """A package that only this feature needs is not installed."""


class NotBuiltError(LaminarError, RuntimeError):
    """The layer or network has no parameters yet, because it has not seen an input shape."""


class NotCompiledError(LaminarError, RuntimeError):
    """The model was asked to train or evaluate before compile() said how."""


class LayerError(LaminarError, RuntimeError):
    """A layer broke the contract of the template: it returned None, declared a learnable twice, ..."""


class CheckError(LaminarError, AssertionError):
    """A layer failed a check: the text says which, what was expected, what was found, and what to change."""


class GradientError(LayerError):
    """A hand-written backward returned a wrong number, name or shape of gradients."""


class DivergedError(LaminarError, ArithmeticError):
    """The training loss is no longer a finite number."""


class StoreError(LaminarError, RuntimeError):
    """A store of trials cannot be opened or reached, or holds another study under the name."""


class TooFewRunsError(ArgumentError):
    """So few runs can never lead to a verdict; the text says how many are needed."""


class WorkerError(LaminarError, RuntimeError):
    """The processes that were to run a comparison cannot start, or die again and again."""
