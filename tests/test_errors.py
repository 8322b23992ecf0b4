"""One string: where, expected, received, fix."""

from __future__ import annotations

import pickle

import pytest

from laminar import errors
from laminar.errors import LaminarError, complaint


def test_complaint_puts_the_four_parts_together() -> None:
    text = complaint("fit(epochs=)", expected="a whole number of at least 1", received="0", fix="Pass epochs=1 or more")
    assert text == "fit(epochs=): expected a whole number of at least 1, received 0. Pass epochs=1 or more."


BUILT_IN = {
    "ArgumentError": ValueError,
    "UnknownNameError": ValueError,
    "ShapeError": ValueError,
    "DtypeError": TypeError,
    "DataError": ValueError,
    "LabelError": ValueError,
    "FileError": OSError,
    "NotBuiltError": RuntimeError,
    "NotCompiledError": RuntimeError,
    "LayerError": RuntimeError,
    "CheckError": AssertionError,
    "GradientError": RuntimeError,
    "DivergedError": ArithmeticError,
    "MissingPackageError": ImportError,
    "StoreError": RuntimeError,
    "TooFewRunsError": ValueError,
    "WorkerError": RuntimeError,
    "LaminarError": Exception,
}


def test_every_exception_is_listed() -> None:
    assert set(errors.__all__) - {"complaint"} == set(BUILT_IN)
    defined = {n for n, v in vars(errors).items() if isinstance(v, type) and v.__module__ == errors.__name__}
    assert defined == set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_is_laminar_s_and_python_s(name: str) -> None:
    kind: type[Exception] = getattr(errors, name)
    assert issubclass(kind, LaminarError)
    assert issubclass(kind, BUILT_IN[name])
    error = kind("what went wrong")
    assert str(error) == "what went wrong"
    copied = pickle.loads(pickle.dumps(error))  # it must come back from a worker process
    assert (type(copied), str(copied)) == (kind, "what went wrong")


def test_the_special_ones_are_caught_with_the_general() -> None:
    assert issubclass(errors.UnknownNameError, errors.ArgumentError)
    assert issubclass(errors.LabelError, errors.DataError)
    assert issubclass(errors.GradientError, errors.LayerError)
