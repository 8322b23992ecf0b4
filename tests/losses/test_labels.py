"""Labels of every form people have, and every way in which they can be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from laminar import losses
from laminar.errors import ArgumentError, LabelError, LaminarError

REST = st.lists(st.integers(1, 4), max_size=2).map(tuple)
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
CLASS_LOSSES: list[Any] = [
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "categorical_hinge",
    nn.CrossEntropyLoss(),
    nn.NLLLoss(),
]


def tensor(values: Any, dtype: torch.dtype | None = None) -> Tensor:
    return torch.tensor(values, dtype=dtype)


# ── what is welcome ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("spec", CLASS_LOSSES, ids=str)
@given(
    count=st.integers(1, 6), classes=st.integers(2, 7), rest=REST, seed=st.integers(0, 2**31), dtype=st.sampled_from(INTEGERS)
)
def test_class_numbers_from_every_form(
    spec: Any, count: int, classes: int, rest: tuple[int, ...], seed: int, dtype: torch.dtype
) -> None:
    """Numbers (N, ...), columns (N, 1, ...), one-hot rows of any dtype: the same int64 numbers, also for maps."""
    numbers = np.random.default_rng(seed).integers(0, classes, (count, *rest))
    hot = torch.from_numpy(np.moveaxis(np.eye(classes)[numbers], -1, 1))
    expected = torch.from_numpy(numbers)
    for form in (expected, expected.unsqueeze(1), hot, hot.float(), hot.bool()):
        form = form.to(dtype) if form.dtype is torch.int64 else form
        prepared = losses.get(spec).prepare(form, (classes, *rest))
        assert prepared.dtype is torch.int64
        assert torch.equal(prepared, expected)


def test_a_boolean_is_a_class_number() -> None:
    """For two classes."""
    prepared = losses.get("crossentropy").prepare(tensor([True, False]), (2,))
    assert prepared.tolist() == [1, 0]


@pytest.mark.parametrize("spec", ["categorical_crossentropy", nn.CrossEntropyLoss()], ids=str)
@pytest.mark.parametrize("dtype", [None, torch.float64, torch.bfloat16])
def test_probabilities_stay(spec: Any, dtype: torch.dtype | None) -> None:
    """In the dtype asked for; rows rounded to three digits are rows of probabilities."""
    rows = tensor([[0.333, 0.333, 0.333], [0.0, 0.25, 0.75]], torch.float64)
    prepared = losses.get(spec).prepare(rows, (3,), dtype=dtype)
    assert prepared.dtype is (dtype or torch.float32)
    torch.testing.assert_close(prepared, rows.to(prepared.dtype))


def test_kl_divergence_takes_all_forms() -> None:
    """Class numbers become rows."""
    loss = losses.get("kl_divergence")
    assert loss.prepare(tensor([1, 0]), (2,)).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert loss.prepare(tensor([[0.25, 0.75]]), (2,)).tolist() == [[0.25, 0.75]]
    assert loss.prepare(tensor([[[1, 0]]]), (2, 1, 2)).tolist() == [[[[0.0, 1.0]], [[1.0, 0.0]]]]


def test_the_ignored_label_passes() -> None:
    """torch's −100 stands for "no label"."""
    assert losses.get(nn.CrossEntropyLoss()).prepare(tensor([-100, 1]), (2,)).tolist() == [-100, 1]
    assert losses.get(nn.NLLLoss(ignore_index=255)).prepare(tensor([255, 1]), (2,)).tolist() == [255, 1]


@pytest.mark.parametrize("spec", ["binary_crossentropy", nn.BCELoss(), nn.BCEWithLogitsLoss()], ids=str)
@pytest.mark.parametrize("labels", [[0, 1], [False, True], [0.0, 1.0], [0.25, 1.0]])
def test_binary(spec: Any, labels: list[float]) -> None:
    """(N,) and (N, 1) alike, in the network's output shape."""
    for form in (tensor(labels), tensor(labels)[:, None]):
        prepared = losses.get(spec).prepare(form, (1,))
        assert prepared.dtype is torch.float32
        assert prepared.tolist() == [[float(v)] for v in labels]
    assert losses.get(spec).prepare(tensor([labels]), (2,)).tolist() == [[float(v) for v in labels]]


@pytest.mark.parametrize("name", ["hinge", "squared_hinge"])
def test_signs(name: str) -> None:
    """0 and 1 become −1 and 1; −1 and 1 stay."""
    loss = losses.get(name)
    for labels in ([0, 1], [-1, 1], [False, True], [-1.0, 1.0]):
        assert loss.prepare(tensor(labels), (1,)).tolist() == [[-1.0], [1.0]]
    assert loss.prepare(tensor([1, 1]), (1,)).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("spec", ["mse", "mae", "mape", "msle", "huber", nn.MSELoss(), nn.HuberLoss()], ids=str)
@given(count=st.integers(1, 5), shape=st.lists(st.integers(1, 4), max_size=3).map(tuple))
def test_numbers(spec: Any, count: int, shape: tuple[int, ...]) -> None:
    """The network's shape, in floating point; integers are numbers too."""
    targets = torch.arange(count * int(np.prod(shape))).reshape(count, *shape)
    prepared = losses.get(spec).prepare(targets, shape)
    assert prepared.dtype is torch.float32
    assert torch.equal(prepared, targets.float())


def test_one_output_is_never_broadcast() -> None:
    """(N,) against (N, 1) would be (N, N): it is reshaped, both ways."""
    assert losses.get("mse").prepare(torch.zeros(5), (1,)).shape == (5, 1)
    assert losses.get("mse").prepare(torch.zeros(5, 1), ()).shape == (5,)


@pytest.mark.parametrize("spec", [lambda p, y: (p - y).mean(), nn.PoissonNLLLoss()])
def test_strangers_get_their_targets_as_they_are(spec: Any) -> None:
    """Only floats take the network's dtype: NumPy's float64 would spoil a float32 network's loss."""
    loss = losses.get(spec)
    assert loss.prepare(torch.zeros(3, 7, dtype=torch.float64), (1,)).dtype is torch.float32
    assert loss.prepare(torch.zeros(3, 7, dtype=torch.int32), (1,)).dtype is torch.int32


# ── what is not ──────────────────────────────────────────────────────────────────────────────────────────────────────────

TEN = "whole numbers 0 to 9 (the network has 10 outputs)"
ROWS = "class numbers (N,) or one-hot rows (N, 10) (the network has 10 outputs)"
SPARSE, SOFT, BINARY, HINGE, MSE = (
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "binary_crossentropy",
    "hinge",
    "mse",
)


@pytest.mark.parametrize(
    ("spec", "labels", "output_shape", "message"),
    [
        pytest.param(
            SPARSE,
            tensor([0] * 17 + [10]),
            (10,),
            f"y: expected {TEN}, received 10 at observation 17. Give the last layer 11 units, or correct the labels.",
            id="too large",
        ),
        pytest.param(
            SPARSE,
            torch.arange(10) + 1,
            (10,),
            f"y: expected {TEN}, received 10 at observation 9. "
            "The smallest label is 1 and the largest 10: pass y - 1 to count from 0.",
            id="counted from 1",
        ),
        pytest.param(
            SPARSE,
            tensor([3, -1]),
            (10,),
            f"y: expected {TEN}, received -1 at observation 1. Correct the labels below 0, or leave those observations out.",
            id="negative",
        ),
        pytest.param(
            nn.CrossEntropyLoss(),
            tensor([-100, 11]),
            (10,),
            f"y: expected {TEN}, received 11 at observation 1. Give the last layer 12 units, or correct the labels.",
            id="ignored and too large",
        ),
        pytest.param(
            SPARSE,
            torch.zeros(2, 3, 4, dtype=torch.int64).index_put((tensor(1), tensor(2), tensor(3)), tensor(7)),
            (5, 3, 4),
            "y: expected whole numbers 0 to 4 (the network has 5 outputs), received 7 at observation 1, position (2, 3). "
            "Give the last layer 8 units, or correct the labels.",
            id="in a map",
        ),
        pytest.param(
            SPARSE,
            torch.ones(3),
            (10,),
            f"y: expected {TEN} of an integer dtype, received torch.float32. "
            'Convert them with y.astype("int64"), or y.long() for a tensor.',
            id="floats",
        ),
        pytest.param(
            SOFT,
            torch.full((3, 1), torch.nan),
            (10,),
            f'y: expected {TEN}, received nan at observation 0. Pass class numbers; for other numbers use loss="mse".',
            id="nan class numbers",
        ),
        pytest.param(
            SPARSE,
            tensor([1.0, 2.5]),
            (10,),
            f'y: expected {TEN}, received 2.5 at observation 1. Pass class numbers; for other numbers use loss="mse".',
            id="no class numbers",
        ),
        pytest.param(
            SPARSE,
            torch.eye(12)[:3],
            (10,),
            f"y: expected {ROWS}, received shape (3, 12). Give the last layer 12 units, or pass labels of 10 classes.",
            id="other class count",
        ),
        pytest.param(
            SPARSE,
            torch.zeros(3, 4, 5, dtype=torch.int64),
            (10,),
            f"y: expected {ROWS}, received shape (3, 4, 5). Reshape the labels to (N,).",
            id="other rank",
        ),
        pytest.param(
            SOFT,
            tensor([[0.5, 0.5], [0.5, torch.nan]]),
            (2,),
            "y: expected one-hot rows or probabilities between 0 and 1, received nan at observation 1, position (1). "
            "Pass class numbers, one-hot rows or probabilities.",
            id="nan in a row",
        ),
        pytest.param(
            SOFT,
            tensor([[-1, 2]]),
            (2,),
            "y: expected one-hot rows or probabilities between 0 and 1, received -1 at observation 0, position (0). "
            "Pass class numbers, one-hot rows or probabilities.",
            id="not a row",
        ),
        pytest.param(
            SOFT,
            tensor([[0.5, 0.5], [0.5, 0.75]]),
            (2,),
            "y: expected rows of probabilities that sum to 1, received a row that sums to 1.25 at observation 1. "
            "Divide each row by its sum.",
            id="sum",
        ),
        pytest.param(
            SPARSE,
            tensor([[0, 1, 0], [1, 0, 1]]),
            (3,),
            "y: expected one-hot rows, a single 1 among zeros, received a row that sums to 2 at observation 1. "
            'For several labels an observation use loss="binary_crossentropy" with sigmoid outputs.',
            id="two hot",
        ),
        pytest.param(
            SPARSE,
            tensor([[0.0, 1.0], [0.25, 0.75]]),
            (2,),
            "y: expected class numbers or one-hot rows, received 0.25 at observation 1, position (0). "
            'Use loss="categorical_crossentropy", which takes probabilities.',
            id="probabilities",
        ),
        pytest.param(
            SPARSE,
            torch.zeros(3, dtype=torch.complex64),
            (10,),
            "y: expected real numbers, received torch.complex64. Pass y.real.",
            id="complex",
        ),
        pytest.param(
            BINARY,
            tensor([0, 1, 2]),
            (1,),
            "y: expected labels 0 and 1, or probabilities between them, received 2 at observation 2. Correct the labels.",
            id="binary 2",
        ),
        pytest.param(
            BINARY,
            tensor([1, 2]),
            (1,),
            "y: expected labels 0 and 1, or probabilities between them, received 2 at observation 1. Pass y - 1.",
            id="binary from 1",
        ),
        pytest.param(
            BINARY,
            tensor([-1, 1]),
            (1,),
            "y: expected labels 0 and 1, or probabilities between them, received -1 at observation 0. Pass (y + 1) // 2.",
            id="binary signs",
        ),
        pytest.param(
            BINARY,
            tensor([[1.0, torch.nan]]),
            (2,),
            "y: expected labels 0 and 1, or probabilities between them, received nan at observation 0, position (1). "
            "Correct the labels.",
            id="binary nan",
        ),
        pytest.param(
            BINARY,
            tensor([0, 1]),
            (2,),
            "y: expected shape (N, 2), like the network's output, received shape (2,). Give the last layer 1 unit, or y the "
            'shape (N, 2); for class numbers use loss="sparse_categorical_crossentropy".',
            id="binary class numbers",
        ),
        pytest.param(
            BINARY,
            torch.eye(2),
            (1,),
            "y: expected shape (N, 1), like the network's output, received shape (2, 2). "
            "Give the last layer 2 units, or y the shape (N, 1).",
            id="binary one-hot",
        ),
        pytest.param(
            HINGE,
            tensor([-1, 0, 1]),
            (1,),
            "y: expected labels -1 and 1, or 0 and 1, received -1 at observation 0. Correct the labels.",
            id="hinge mixed",
        ),
        pytest.param(
            HINGE,
            tensor([1, 3]),
            (1,),
            "y: expected labels -1 and 1, or 0 and 1, received 3 at observation 1. Correct the labels.",
            id="hinge 3",
        ),
        pytest.param(
            MSE,
            torch.zeros(5),
            (10,),
            "y: expected shape (N, 10), like the network's output, received shape (5,). "
            "Give the last layer 1 unit, or y the shape (N, 10).",
            id="regression shape",
        ),
        pytest.param(
            MSE,
            torch.zeros(5, 3, 4),
            (3, 5),
            "y: expected shape (N, 3, 5), like the network's output, received shape (5, 3, 4). "
            "Reshape y, or change the last layer.",
            id="regression map",
        ),
        pytest.param(
            MSE,
            tensor([[0.0, 1.0], [torch.inf, 1.0]]),
            (2,),
            "y: expected finite numbers, received inf at observation 1, position (0). "
            "Remove that observation, or correct its target.",
            id="regression inf",
        ),
    ],
)
def test_wrong_labels(spec: Any, labels: Tensor, output_shape: tuple[int, ...], message: str) -> None:
    """What was wrong, at which observation, and what mends it; `where` names the argument."""
    with pytest.raises(LabelError) as e:
        losses.get(spec).prepare(labels, output_shape)
    assert str(e.value) == message
    with pytest.raises(LabelError) as e:
        losses.get(spec).prepare(labels, output_shape, where="validation_data y")
    assert str(e.value) == message.replace("y:", "validation_data y:", 1)


@pytest.mark.parametrize("output_shape", [(1,), ()])
def test_one_class_is_no_choice(output_shape: tuple[int, ...]) -> None:
    """A softmax of one output is 1 whatever the weights."""
    with pytest.raises(ArgumentError) as e:
        losses.get(SPARSE).prepare(tensor([0, 1]), output_shape)
    assert str(e.value) == (
        "loss 'sparse_categorical_crossentropy': expected a network of 2 outputs or more, received output shape "
        f'{"(N, 1)" if output_shape else "(N,)"}. Use loss="binary_crossentropy" with a sigmoid output.'
    )


@pytest.mark.parametrize("spec", [*losses.LOSSES, nn.CrossEntropyLoss(), nn.MSELoss()], ids=str)
@given(
    shape=st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple),
    output_shape=st.lists(st.integers(1, 3), max_size=3).map(tuple),
    dtype=st.sampled_from([torch.float32, torch.int64, torch.bool, torch.float16, torch.uint8]),
    seed=st.integers(0, 2**31),
)
def test_either_prepared_or_refused(
    spec: Any, shape: tuple[int, ...], output_shape: tuple[int, ...], dtype: torch.dtype, seed: int
) -> None:
    """Whatever comes: our own error, or labels that the loss can be computed with, one value per observation."""
    values = np.random.default_rng(seed).integers(-1, 4, shape)
    loss = losses.get(spec)
    try:
        prepared = loss.prepare(torch.from_numpy(values).to(dtype), output_shape)
    except LaminarError:
        return
    prediction = torch.full((shape[0], *output_shape), 0.5)
    assert loss.values(prediction, prepared).shape == (shape[0],)
