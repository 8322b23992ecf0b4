"""Confusion matrices, ways over a surface, schedules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from laminar import plots
from laminar.errors import ArgumentError, DataError, LaminarError, ShapeError


def test_a_confusion_matrix_shows_counts_or_shares() -> None:
    matrix = [[8, 2, 0], [0, 0, 0], [1, 1, 2]]
    (panel,) = plots.confusion_matrix(matrix).axes
    assert [text.get_text() for text in panel.texts] == ["8", "2", "0", "0", "0", "0", "1", "1", "2"]
    assert panel.get_title() == "10 of 14 right (71.43%)"
    np.testing.assert_allclose(panel.get_images()[0].get_array(), [[0.8, 0.2, 0], [0, 0, 0], [0.25, 0.25, 0.5]])
    (panel,) = plots.confusion_matrix(matrix, ["cat", "dog", "elephant"], normalize=True).axes
    assert [text.get_text() for text in panel.texts][:2] == ["80%", "20%"]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["cat", "dog", "elephant"]
    assert (panel.get_ylabel(), panel.get_xlabel()) == ("true class", "predicted class")


def test_ways_over_a_surface() -> None:
    ways = {"sgd": [[1.0, 1.0], [0.5, -0.5], [np.nan, 0.0]], "adam": [[1.0, 1.0], [0.9, 0.9]]}
    mine = Figure()
    ax = mine.subplots()
    assert plots.paths(lambda x, y: x**2 + 10 * y**2, ways, title="canyon", ax=ax) is mine
    lines = {str(line.get_label()): np.asarray(line.get_xydata()) for line in ax.get_lines()}
    np.testing.assert_array_equal(lines["sgd"], ways["sgd"][:2])
    np.testing.assert_array_equal(lines["adam"], ways["adam"])
    assert (ax.get_xlim(), ax.get_title()) == ((-2, 2), "canyon")


def test_schedules() -> None:
    (panel,) = plots.schedules({"constant": lambda i: 0.1, "linear": lambda i: 0.1 - 0.01 * i}, 5).axes
    np.testing.assert_allclose([line.get_ydata() for line in panel.get_lines()], [[0.1] * 5, [0.1, 0.09, 0.08, 0.07, 0.06]])
    assert panel.get_yscale() == "linear"
    assert plots.schedules({"fast": lambda i: 0.1**i}, 5).axes[0].get_yscale() == "log"


ERRORS = [
    (lambda: plots.confusion_matrix([[1, 2, 3]]), ShapeError, "plots.confusion_matrix(matrix): expected shape (K, K), received "
     "shape (1, 3). Pass metrics.confusion_matrix(actual, predicted)."),
    (lambda: plots.confusion_matrix([[1, -2], [0, 1]]), DataError, "plots.confusion_matrix(matrix): expected counts of at least "
     "0, received -2.0. Pass metrics.confusion_matrix(actual, predicted)."),
    (lambda: plots.confusion_matrix([[1, 2], [0, 1]], ["cat"]), ArgumentError, "plots.confusion_matrix(class_names=): expected "
     "2 names, received 1. Pass a name for each class."),
    (lambda: plots.paths(lambda x, y: x, {}), ArgumentError, "plots.paths: expected a way, and ranges from low to high, "
     "received 0 ways, (-2.0, 2.0), (-2.0, 2.0). Pass {'sgd': points}, width=(-2, 2)."),
    (lambda: plots.paths(lambda x, y: x, {"sgd": [1.0, 2.0]}), ShapeError, "plots.paths: 'sgd': expected points (N, 2), received "
     "shape (2,). Pass a point x, y for each step."),
    (lambda: plots.schedules({}, 5), ArgumentError, "plots.schedules: expected at least one schedule and one iteration, received "
     "0 and 5. Pass {'cosine': schedule}, 1000."),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS)
def test_bad_input_gives_one_clear_error(call: Callable[[], object], kind: type[LaminarError], message: str) -> None:
    with pytest.raises(kind) as e:
        call()
    assert str(e.value) == message
