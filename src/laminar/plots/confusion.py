"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from laminar.errors import ArgumentError, DataError, ShapeError, complaint
from laminar.plots.canvas import numbers, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["confusion_matrix"]


def confusion_matrix(
    matrix: Any, class_names: Sequence[str] | None = None, *, normalize: bool = False, ax: Axes | None = None
) -> Figure:
    """Draw a confusion matrix: a row for each true class, a column for each predicted one.

    The colour is the share of the row, so that classes of few observations are as visible as others.

    Args:
        matrix: (K, K) counts, `matrix[true, predicted]`, as `metrics.confusion_matrix` returns them.
        class_names: K names; the numbers of the classes without them.
        normalize: whether to write shares of the row, in percent, rather than counts.
        ax: axes to draw in; a new figure is made without it.

    Raises:
        ShapeError: if the matrix is not square.
        DataError: if a number is negative or not finite.
        ArgumentError: if there are not K names.

    >>> picture = confusion_matrix([[8, 2], [0, 5]], ["cat", "dog"])
    >>> [text.get_text() for text in picture.axes[0].texts]
    ['8', '2', '0', '5']
    """
    where = "plots.confusion_matrix(matrix)"
    array = numbers(where, matrix).astype(np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        fix = "Pass metrics.confusion_matrix(actual, predicted)"
        raise ShapeError(complaint(where, expected="shape (K, K)", received=f"shape {array.shape}", fix=fix))
    if not (np.isfinite(array).all() and (array >= 0).all()):
        fix = "Pass metrics.confusion_matrix(actual, predicted)"
        raise DataError(complaint(where, expected="counts of at least 0", received=f"{array.min()}", fix=fix))
    classes = len(array)
    names = [str(i) for i in range(classes)] if class_names is None else list(class_names)
    if len(names) != classes:
        received, fix = f"{len(names)}", "Pass a name for each class"
        expected = f"{classes} names"
        raise ArgumentError(complaint("plots.confusion_matrix(class_names=)", expected=expected, received=received, fix=fix))
    shares = array / np.maximum(array.sum(1, keepdims=True), np.finfo(np.float64).tiny)
    side = max(3.2, 0.52 * classes + 1.2)
    picture, (panel,) = panels(1, 1, (side + 0.3, side), ax)
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{share:.0%}" if normalize else f"{array[row, column]:,.0f}"
        panel.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if share > 0.5 else "black")
    rotation = 45 if max(map(len, names)) > 3 else 0
    panel.set_xticks(range(classes), names, rotation=rotation, ha="right" if rotation else "center")
    panel.set_yticks(range(classes), names)
    panel.set(xlabel="predicted class", ylabel="true class")
    right, total = float(np.trace(array)), float(array.sum())
    if total:
        panel.set_title(f"{right:,.0f} of {total:,.0f} right ({right / total:.2%})", fontsize=10)
    return picture
