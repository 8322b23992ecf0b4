"""Pictures: what is drawn is what was given, and what cannot be drawn is named."""

from __future__ import annotations

import math
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import imread

from laminar import plots
from laminar.errors import ArgumentError, DataError, FileError, LabelError, LaminarError, ShapeError, UnknownNameError
from laminar.fit.state import History

RUN = {"loss": [2.0, 1.0, 0.5], "accuracy": [0.2, 0.6, 0.8], "learning_rate": [0.01] * 3}
VALIDATED = RUN | {"val_loss": [1.5, 1.1, 0.9], "val_accuracy": [0.3, 0.5, 0.7]}
IMAGES = np.linspace(0, 1, 6 * 16, dtype=np.float32).reshape(6, 1, 4, 4)
LABELS = [0, 1, 2, 0, 1, 2]


def legend(picture: Figure) -> list[str]:
    return [text.get_text() for text in picture.legends[0].get_texts()]


def curves(ax: Any) -> list[tuple[list[float], list[float], str, str]]:
    return [(*(list(v) for v in line.get_data()), line.get_linestyle(), line.get_color()) for line in ax.get_lines()]


def shown(picture: Figure) -> Any:
    return np.stack([np.asarray(ax.images[0].get_array()) for ax in picture.axes])


def titles(picture: Figure) -> list[str]:
    return [ax.get_title() for ax in picture.axes]


def test_loss_and_accuracy_stand_side_by_side() -> None:
    picture = plots.history(History(VALIDATED))
    loss, accuracy = picture.axes
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in picture.axes] == [("epoch", "loss"), ("epoch", "accuracy (%)")]
    (x, training, dashed, blue), (_, validation, solid, orange) = curves(loss)
    assert (x, training, validation) == ([1, 2, 3], VALIDATED["loss"], VALIDATED["val_loss"])
    assert (dashed, solid) == ("--", "-")
    assert blue != orange
    np.testing.assert_allclose(curves(accuracy)[1][1], [30, 50, 70])
    assert legend(picture) == ["training", "validation"]
    boxes = [ax.get_position() for ax in picture.axes]
    assert boxes[0].x1 < boxes[1].x0
    assert boxes[0].y0 == boxes[1].y0


def test_runs_have_a_colour_each_and_kinds_a_style_each() -> None:
    picture = plots.history({"with BN": History(VALIDATED), "without": VALIDATED | {"loss": [1.0, 2.0, 3.0]}, "fixed": RUN})
    drawn = curves(picture.axes[0])
    assert [style for *_, style, _ in drawn] == ["--", "-", "--", "-", "--"]
    assert drawn[0][3] == drawn[1][3] != drawn[2][3] == drawn[3][3]
    assert len({colour for *_, colour in drawn}) == 3
    assert legend(picture) == ["with BN", "without", "fixed", "training", "validation"]


def test_without_validation_the_training_is_solid_and_needs_no_key() -> None:
    picture = plots.history({"a": RUN, "b": RUN}, figures="loss")
    assert [style for *_, style, _ in curves(picture.axes[0])] == ["-", "-"]
    assert legend(picture) == ["a", "b"]


@pytest.mark.parametrize(
    ("figures", "labels", "lines"),
    [
        (None, ["loss", "accuracy (%)"], [2, 2]),
        ("loss", ["loss"], [2]),
        (["val_loss"], ["loss"], [1]),
        (["val_loss", "loss"], ["loss"], [2]),
        (("accuracy", "learning_rate"), ["accuracy (%)", "learning rate"], [2, 1]),
    ],
)
def test_figures_are_chosen_by_name(figures: Any, labels: list[str], lines: list[int]) -> None:
    picture = plots.history(VALIDATED, figures=figures)
    assert [ax.get_ylabel() for ax in picture.axes] == labels
    assert [len(ax.get_lines()) for ax in picture.axes] == lines


def test_iterations() -> None:
    picture = plots.history(History(RUN, {"loss": [3.0, 2.0, 1.0, 0.9]}), per="iteration")
    assert picture.axes[0].get_xlabel() == "iteration"
    assert curves(picture.axes[0])[0][:2] == ([1, 2, 3, 4], [3.0, 2.0, 1.0, 0.9])


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan) | st.just(math.inf), min_size=1, max_size=40))
def test_values_that_are_not_finite_are_left_out(values: list[float]) -> None:
    picture = plots.history({"mean_absolute_error": values})
    (x, y, *_), *_ = curves(picture.axes[0])
    assert [(int(i), v) for i, v in zip(x, y, strict=True)] == [(i, v) for i, v in enumerate(values, 1) if math.isfinite(v)]
    texts = [text.get_text() for text in picture.axes[0].texts]
    assert texts == ([] if y else ["no finite value"])
    assert picture.axes[0].get_yscale() == "linear"


@pytest.mark.parametrize(
    ("values", "scale"),
    [([2.0, 0.021], "linear"), ([2.0, 0.019], "log"), ([2.0, 0.0], "linear"), ([2.0, -1.0, 0.001], "linear")],
)
def test_a_loss_over_two_decades_is_logarithmic(values: list[float], scale: str) -> None:
    ax = plots.history({"loss": values}).axes[0]
    assert ax.get_yscale() == scale
    assert ax.get_ylabel() == ("loss (log scale)" if scale == "log" else "loss")


@pytest.mark.parametrize("count", [1, 2, 7])
def test_panels_and_legend_do_not_overlap(count: int) -> None:
    """Whatever the number of figures and runs: no panel covers another or the legend, and nothing leaves the picture."""
    run = {f"figure_{i}": [1.0, 2.0] for i in range(count)} | {"val_figure_0": [2.0, 1.0]}
    for runs in (run, {f"a rather long name, number {i}": run for i in range(9)}):
        picture = plots.history(runs)
        picture.draw_without_rendering()
        boxes = [ax.get_tightbbox() for ax in picture.axes] + [picture.legends[0].get_window_extent()]
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
        assert all(box.x0 >= 0 and box.y0 >= 0 for box in boxes)
        assert all(box.x1 <= picture.bbox.x1 and box.y1 <= picture.bbox.y1 for box in boxes)
        assert len({line.get_color() for line in picture.axes[0].get_lines()}) == (2 if runs is run else 9)


def test_drawing_in_axes_of_ones_own() -> None:
    mine = Figure()
    left, right = mine.subplots(1, 2)
    assert plots.history(VALIDATED, figures="loss", ax=right) is mine
    assert plots.activations(["relu"], ax=left) is mine
    assert len(curves(right)) == 2
    assert (mine.legends, right.get_legend() is not None, left.get_legend() is not None) == ([], True, True)
    mine.draw_without_rendering()
    assert right.get_legend().get_window_extent().y0 >= right.bbox.y1, "the legend stands above the curves"


def test_several_panels_lie_inside_the_axes_that_are_given() -> None:
    mine = Figure(figsize=(9, 9))
    top, middle, bottom = mine.subplots(3, 1)
    for ax, count, draw in (
        (top, 2, lambda ax: plots.history(VALIDATED, ax=ax)),
        (middle, 2, lambda ax: plots.activations(["relu"], derivative=True, ax=ax)),
        (bottom, 3, lambda ax: plots.predictions(torch.rand(3, 8, 8), [0, 1, 2], [0, 1, 1], ax=ax)),
    ):
        assert draw(ax) is mine
        mine.draw_without_rendering()
        assert len(ax.child_axes) == count
        for panel in ax.child_axes:
            box, around = panel.get_window_extent(), ax.get_window_extent()
            assert around.x0 - 1 <= box.x0 < box.x1 <= around.x1 + 1
            assert around.y0 - 1 <= box.y0 < box.y1 <= around.y1 + 1


HISTORY_ERRORS = [
    (lambda: plots.history({}), DataError, "plots.history(history): expected a figure with at least one value, received {}. "
     "Train first: history = model.fit(x, y)."),
    (lambda: plots.history({"loss": []}), DataError, "plots.history(history): expected a figure with at least one value, "
     "received {'loss': []}. Train first: history = model.fit(x, y)."),
    (lambda: plots.history({"a": RUN, "b": History()}), DataError, "plots.history(history)['b']: expected a figure with at "
     "least one value, received {}. Train first: history = model.fit(x, y)."),
    (lambda: plots.history({"loss": [1, 2], "accuracy": [1]}), DataError, "plots.history(history): expected figures of one "
     "length, received 'loss' of 2, 'accuracy' of 1. Pad the shorter ones with float('nan')."),
    (lambda: plots.history([1, 2]), DataError, "plots.history(history): expected what fit returned, a dict figure -> numbers, "
     "or a dict name -> either of these, received a list. Pass the result of model.fit(...)."),
    (lambda: plots.history({"loss": "low"}), DataError, "plots.history(history): expected a list of numbers for 'loss', "
     "received a str. Pass the result of model.fit(...)."),
    (lambda: plots.history({"loss": [[1, 2], [3, 4]]}), DataError, "plots.history(history): expected a list of numbers for "
     "'loss', received a list. Pass the result of model.fit(...)."),
    (lambda: plots.history({"loss": 3.0}), DataError, "plots.history(history): expected a list of numbers for 'loss', "
     "received a float. Pass the result of model.fit(...)."),
    (lambda: plots.history(RUN, figures="acuracy"), UnknownNameError, "plots.history(figures=): figure 'acuracy' is unknown. "
     "Did you mean 'accuracy'? Known: accuracy, learning_rate, loss."),
    (lambda: plots.history(RUN, figures=[]), ArgumentError, "plots.history(figures=): expected at least one figure, received "
     "none. Pass figures='loss'."),
    (lambda: plots.history(RUN, per="step"), UnknownNameError, "plots.history(per=) 'step' is unknown. "
     "Known: epoch, iteration."),
]  # fmt: skip


def test_wrong_predictions_are_red_and_tell_the_true_label() -> None:
    picture = plots.predictions(IMAGES, LABELS, [0, 1, 2, 0, 1, 1], columns=3, class_names=["cat", "dog", "cow"])
    assert titles(picture) == ["cat", "dog", "cow", "cat", "dog", "cow\nis dog"]
    assert [ax.title.get_color() for ax in picture.axes] == ["black"] * 5 + ["#C00000"]
    assert picture.get_suptitle() == "5 of 6 right (83.33%); 6 shown"
    first, fourth = picture.axes[0].get_position(), picture.axes[3].get_position()
    assert first.x0 == pytest.approx(fourth.x0)
    assert first.y0 > fourth.y1


def test_worst_come_first_where_the_loss_is_known() -> None:
    """The oracle is torch's cross-entropy."""
    logits = torch.randn(6, 3, dtype=torch.float64)
    probabilities, truth = logits.softmax(1), torch.tensor(LABELS)
    order = torch.nn.functional.cross_entropy(logits, truth, reduction="none").argsort(descending=True)
    arguments = (IMAGES, logits.argmax(1), truth)
    picture = plots.predictions(*arguments, rows=1, columns=4, probabilities=probabilities)
    np.testing.assert_array_equal(shown(picture), IMAGES[order[:4], 0])
    confidence = probabilities.max(1).values[order[:4]]
    assert [re.search(r"\((\d+)%\)", title)[1] for title in titles(picture)] == [f"{100 * c:.0f}" for c in confidence]
    assert picture.get_suptitle().endswith("; 4 shown, the largest loss first")
    unsorted = plots.predictions(*arguments, probabilities=probabilities, worst_first=False)
    np.testing.assert_array_equal(shown(unsorted), IMAGES[:, 0])


def test_a_probability_that_is_not_a_number_is_the_worst() -> None:
    probabilities = np.full((6, 3), 1 / 3)
    probabilities[4] = np.nan
    picture = plots.predictions(IMAGES, LABELS, LABELS, probabilities=probabilities)
    assert titles(picture)[0] == "1 (nan%)"


@pytest.mark.parametrize(
    "convert",
    [
        torch.tensor,
        lambda x: torch.tensor(x, dtype=torch.bfloat16, requires_grad=True),
        lambda x: x[:, 0],
        lambda x: x.tolist(),
        lambda x: (x * 255).astype(np.uint8),
    ],
)
def test_images_of_every_kind(convert: Callable[[Any], Any]) -> None:
    picture = plots.predictions(convert(IMAGES), np.array(LABELS, dtype=np.float32))
    assert titles(picture) == ["0", "1", "2", "0", "1", "2"]
    np.testing.assert_allclose(shown(picture), IMAGES[:, 0], atol=0.005)


def test_images_of_any_range_share_one_scale_and_colours_stay_in_place() -> None:
    x = np.zeros((2, 3, 2, 2))
    x[0, 0], x[1, 2] = -3.0, 5.0
    picture = plots.predictions(x, [0, 1])
    red_taken_away, blue = shown(picture)
    np.testing.assert_allclose(red_taken_away[0, 0], [0, 3 / 8, 3 / 8])
    np.testing.assert_allclose(blue[0, 0], [3 / 8, 3 / 8, 1])
    assert np.isfinite(shown(plots.predictions(np.full((1, 1, 2, 2), 7.0), [0]))).all()


@settings(max_examples=12)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 5))
def test_the_grid_is_no_larger_than_needed(count: int, rows: int, columns: int) -> None:
    picture = plots.predictions(np.zeros((count, 1, 2, 2)), [0] * count, rows=rows, columns=columns)
    assert len(picture.axes) == min(count, rows * columns)
    spec = picture.axes[0].get_gridspec()
    assert (spec.nrows, spec.ncols) == (math.ceil(len(picture.axes) / min(columns, count)), min(columns, count))


def test_long_names_do_not_touch() -> None:
    names = ["a very long class name", "another one that is long"]
    picture = plots.predictions(IMAGES, [0, 1] * 3, probabilities=np.full((6, 2), 0.5), class_names=names)
    picture.draw_without_rendering()
    boxes = [ax.title.get_window_extent() for ax in picture.axes]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


PREDICTION_ERRORS = [
    (lambda: plots.predictions(np.zeros((2, 28, 28, 3)), [0, 0]), ShapeError, "plots.predictions(x): expected images "
     "(N, C, H, W) with C = 1 or 3, or (N, H, W), received (2, 28, 28, 3), 4 axes. Put the channels first: "
     "x.transpose(0, 3, 1, 2)."),
    (lambda: plots.predictions(np.zeros((28, 28)), [0]), ShapeError, "plots.predictions(x): expected images (N, C, H, W) with "
     "C = 1 or 3, or (N, H, W), received (28, 28), 2 axes. Pass x[None] for a single image."),
    (lambda: plots.predictions([], []), DataError, "plots.predictions(x): expected at least one number, received a list of "
     "nothing. Pass a tensor or an array."),
    (lambda: plots.predictions([[1], [1, 2]], [0]), DataError, "plots.predictions(x): expected at least one number, received "
     "a list of object. Pass a tensor or an array."),
    (lambda: plots.predictions(IMAGES, [0, 1]), ShapeError, "plots.predictions(predicted): expected shape (6,), received "
     "shape (2,). Pass one label for each image."),
    (lambda: plots.predictions(IMAGES, np.zeros((6, 3))), ShapeError, "plots.predictions(predicted): expected shape (6,), "
     "received shape (6, 3). Pass the labels: predicted.argmax(1)."),
    (lambda: plots.predictions(IMAGES, LABELS, [0, 1]), ShapeError, "plots.predictions(actual): expected shape (6,), received "
     "shape (2,). Pass one label for each image."),
    (lambda: plots.predictions(IMAGES, [0, 1, 2, 0.5, 1, 2]), LabelError, "plots.predictions(predicted): expected whole "
     "numbers from 0, received 0.5. Pass model.classify(x)."),
    (lambda: plots.predictions(IMAGES, [0, 1, 2, -1, 1, 2]), LabelError, "plots.predictions(predicted): expected whole "
     "numbers from 0, received -1. Pass model.classify(x)."),
    (lambda: plots.predictions(IMAGES, LABELS, class_names=["cat", "dog"]), LabelError, "plots.predictions(predicted): "
     "expected whole numbers from 0 to 1, one for each of class_names, received 2. Pass model.classify(x)."),
    (lambda: plots.predictions(IMAGES, list("catdog")), DataError, "plots.predictions(predicted): expected at least one "
     "number, received a list of <U1. Pass a tensor or an array."),
    (lambda: plots.predictions(IMAGES, LABELS, probabilities=np.ones((6, 2))), ShapeError, "plots.predictions(probabilities=)"
     ": expected shape (6, K) with K of at least 3, received shape (6, 2). Pass model.predict(x) of the same x."),
    (lambda: plots.predictions(IMAGES, LABELS, rows=0), ArgumentError, "plots.predictions(rows=): expected 1 or more, "
     "received 0. Pass rows=4."),
    (lambda: plots.predictions(IMAGES, LABELS, worst_first=True), ArgumentError, "plots.predictions(worst_first=True): "
     "expected probabilities= and actual, from which the loss comes, received not both. "
     "Pass probabilities= and actual."),
]  # fmt: skip


def test_the_activation_curves_of_r4() -> None:
    """ELU (alpha 1), leaky ReLU (0.1) and ReLU over -10...3, and their derivatives, by their formulas in float64."""
    function, derivative = plots.activations(derivative=True).axes
    formulas: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = [
        (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0)))),
        (lambda x: np.where(x > 0, x, 0.1 * x), lambda x: np.where(x > 0, 1, 0.1)),
        (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)),
    ]
    for i, (f, df) in enumerate(formulas):
        for ax, formula in ((function, f), (derivative, df)):
            x, y = (np.asarray(v, dtype=np.float64) for v in ax.get_lines()[i].get_data())
            assert (x[0], x[-1]) == (-10, 3)
            np.testing.assert_allclose(y, formula(x), atol=1e-6)
    assert [function.get_ylabel(), derivative.get_ylabel()] == ["output z", "derivative dz/dx"]
    widths = [line.get_linewidth() for line in function.get_lines()[:3]]
    assert widths == sorted(widths, reverse=True), "where curves coincide, those below are seen at both sides"


def test_activations_of_ones_own() -> None:
    picture = plots.activations({"sine": torch.sin, "layer": torch.nn.Tanh(), "flat": torch.ones_like}, -2, 2, derivative=True)
    assert legend(picture) == ["sine", "layer", "flat"]
    x = np.asarray(picture.axes[1].get_lines()[0].get_xdata(), dtype=np.float64)
    slopes = [np.asarray(line.get_ydata()) for line in picture.axes[1].get_lines()[:3]]
    np.testing.assert_allclose(slopes, [np.cos(x), 1 / np.cosh(x) ** 2, np.zeros_like(x)], atol=1e-6)
    assert legend(plots.activations("gelu")) == ["gelu"]
    with torch.no_grad():
        assert len(plots.activations(["gelu", "silu"], derivative=True).axes) == 2


ACTIVATION_ERRORS = [
    (lambda: plots.activations(low=3, high=-10), ArgumentError, "plots.activations(low, high): expected low below high, "
     "received 3, -10. Pass low=-10, high=3."),
    (lambda: plots.activations(low=math.nan), ArgumentError, "plots.activations(low, high): expected low below high, "
     "received nan, 3.0. Pass low=-10, high=3."),
    (lambda: plots.activations([]), ArgumentError, "plots.activations(names): expected a name, received []. Pass None."),
    (lambda: plots.activations({"mean": torch.mean}), ShapeError, "plots.activations: 'mean': expected an output of the "
     "input's shape (1001,), received shape (). Pass a function that acts element by element."),
    (lambda: plots.activations({"none": lambda x: None}), ShapeError, "plots.activations: 'none': expected an output of the "
     "input's shape (1001,), received a NoneType. Pass a function that acts element by element."),
    (lambda: plots.save(Figure(), "picture.gif"), ArgumentError, "plots.save(path): expected a file name that ends in .png, "
     ".svg or .pdf, received 'picture.gif'. Pass 'picture.png'."),
    (lambda: plots.save(Figure(), ""), ArgumentError, "plots.save(path): expected a file name that ends in .png, .svg or "
     ".pdf, received ''. Pass 'picture.png'."),
    (lambda: plots.save(Figure(), "no/such/folder/a.png"), FileError, "plots.save('no/such/folder/a.png'): expected a path "
     "that can be written, received No such file or directory. Make the folder first: mkdir -p 'no/such/folder'."),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), HISTORY_ERRORS + PREDICTION_ERRORS + ACTIVATION_ERRORS)
def test_bad_input_gives_one_clear_error(call: Callable[[], object], kind: type[LaminarError], message: str) -> None:
    with pytest.raises(kind) as e:
        call()
    assert str(e.value) == message


def test_an_unknown_activation_is_named() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'relu'"):
        plots.activations(["rellu"])


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89PNG")])
def test_save_writes_the_kind_that_the_suffix_says_and_the_same_bytes_again(suffix: str, magic: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"curves.{suffix}"
    assert plots.save(plots.activations(), str(path)) == path
    first = path.read_bytes()
    assert first.startswith(magic)
    plots.save(plots.activations(), path)
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"


def test_dots_per_inch(tmp_path: Path) -> None:
    picture = plots.history(RUN)
    small, large = (imread(plots.save(picture, tmp_path / f"{dpi}.png", dpi=dpi)).shape for dpi in (50, 100))
    assert (large[0], large[1]) == (2 * small[0], 2 * small[1])


def test_a_failed_save_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")

    def fail(part: IO[bytes], **_: object) -> None:
        part.write(b"half a picture")
        raise OSError(28, "No space left on device")

    with pytest.raises(FileError) as e:
        plots.save(SimpleNamespace(savefig=fail), path)  # type: ignore[arg-type]  # a figure that fails in the middle
    assert str(e.value).endswith("received No space left on device. Pass another path.")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.png", "old")]
    with pytest.raises(FileError, match="Not a directory"):
        plots.save(plots.activations(), path / "b.png")


def test_a_notebook_shows_the_figure_that_is_returned() -> None:
    """IPython asks an object for `_repr_png_`; the figure keeps answering after it was copied."""
    picture = plots.activations()
    for figure in (picture, pickle.loads(pickle.dumps(picture))):
        assert figure._repr_png_().startswith(b"\x89PNG")


def test_no_global_state_is_touched_and_matplotlib_is_loaded_late() -> None:
    code = (
        "import sys; from laminar import plots; early = 'matplotlib' in sys.modules; plots.activations(); "
        "print(early, 'matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    source = Path(plots.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]
