"""Every form that data may have gives the same training; what order, the last batch, splits and weights mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import laminar as lm
from laminar import layers as L
from laminar.optimizers import SGDM

N, BATCH = 22, 8


def arrays() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, 5)).astype(np.float32), rng.integers(0, 3, N)


def fitted(x: Any, y: Any = None, *, layers: Sequence[nn.Module] = (), **settings: Any) -> dict[str, list[float]]:
    """Return the figures of a short training, in the order of the data."""
    model = lm.Sequential([*layers, L.Dense(6, "tanh"), L.Dense(3, "softmax")])
    model.compile(SGDM(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    options = {"epochs": 2, "batch_size": BATCH, "shuffle": False, "seed": 0, "verbose": 0, **settings}
    return model.fit(x, y, **options).iterations


# ── forms ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Pairs(Dataset[Any]):
    """Observations by number, labels as Python numbers."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        return self.x[index], int(self.y[index])


class Flow(IterableDataset[Any]):
    """Observations one after the other."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[Any]:
        return iter(zip(self.x, self.y, strict=True))


class Again:
    """Batches, each time anew, and of unknown number."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, N, BATCH):
            yield self.x[start : start + BATCH], self.y[start : start + BATCH]


class Frame:
    """What a table of another library is to NumPy."""

    def __init__(self, values: Any) -> None:
        self.values = values
        self.shape = values.shape
        self.ndim = values.ndim

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values


def forms() -> dict[str, tuple[Any, Any]]:
    x, y = arrays()
    t, u = torch.from_numpy(x), torch.from_numpy(y)
    locked = x.copy()
    locked.flags.writeable = False
    return {
        "float64": (x.astype(np.float64), y),
        "long double": (x.astype(np.longdouble), y),
        "big endian": (x.astype(">f4"), y.astype(">i2")),
        "non-writable": (locked, y),
        "negative strides": (x[::-1].copy()[::-1], y),
        "Fortran order": (np.asfortranarray(x), y),
        "lists": (x.tolist(), y.tolist()),
        "list of NumPy numbers": (x, list(y)),
        "tensors": (t, u),
        "tensor with a graph": (t.clone().requires_grad_() * 1, u),
        "a table": (Frame(x), Frame(y)),
        "one-hot": (x, np.eye(3)[y]),
        "one-hot integers": (x, np.eye(3, dtype=np.uint8)[y]),
        "labels in a column": (x, y[:, None]),
        "uint8 labels": (x, y.astype(np.uint8)),
        "uint32 labels": (x, y.astype(np.uint32)),
        "TensorDataset": (TensorDataset(t, u), None),
        "Dataset": (Pairs(x, y), None),
        "Dataset of tensors": (Pairs(t, u), None),
        "IterableDataset": (Flow(x, y), None),
        "DataLoader": (DataLoader(Pairs(x, y), batch_size=BATCH), None),
        "DataLoader of a stream": (DataLoader(Flow(x, y), batch_size=BATCH), None),
        "list of batches": (list(Again(x, y)), None),
        "list of list batches": ([list(pair) for pair in Again(t, u)], None),
        "re-iterable": (Again(x, y), None),
        "re-iterable with one-hot": (Again(t, F.one_hot(u)), None),
        "weights of one": ([(a, b, np.ones(len(b))) for a, b in Again(x, y)], None),
    }


@pytest.fixture(scope="module")
def reference() -> dict[str, list[float]]:
    return fitted(*arrays())


@pytest.mark.parametrize("form", forms())
def test_every_form_of_the_same_data_is_the_same_training(form: str, reference: dict[str, list[float]]) -> None:
    x, y = forms()[form]
    found = fitted(x, y)
    if form in ("weights of one", "Fortran order"):  # a sum in another order is rounded otherwise
        assert found["loss"] == pytest.approx(reference["loss"], rel=1e-6)
    else:
        assert found == reference


@pytest.mark.parametrize("form", ["tensors", "Dataset", "DataLoader", "re-iterable", "TensorDataset", "IterableDataset"])
def test_evaluate_and_predict_take_the_same_forms(form: str) -> None:
    """Figures and outputs do not depend on the form; targets are left aside by predict."""
    x, y = arrays()
    model = lm.Sequential([L.Dense(3)]).build((5,), seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    source, labels = forms()[form]
    assert model.evaluate(source, labels) == pytest.approx(model.evaluate(x, y))
    np.testing.assert_allclose(np.asarray(model.predict(source)), model.predict(x), rtol=1e-6)


@pytest.mark.parametrize("form", ["tensors", "Dataset", "IterableDataset", "list of batches"])
def test_looking_at_data_draws_no_random_numbers(form: str) -> None:
    """The loaders that we make for a Dataset have a generator of their own."""
    model = lm.Sequential([L.Dense(3)]).build((5,), seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    source, labels = forms()[form]
    before = torch.get_rng_state()
    model.evaluate(source, labels)
    model.predict(source)
    assert torch.equal(torch.get_rng_state(), before)


def test_predict_leaves_labels_aside_that_no_loss_could_take() -> None:
    """Text, here."""
    model = lm.Sequential([L.Dense(3)]).build((5,))
    x = arrays()[0]
    assert model.predict([(x[:8], ["a"] * 8), (x[8:], ["b"] * 14)]).shape == (N, 3)


def test_whole_numbers_become_floats_and_keep_their_value() -> None:
    """Images of bytes, as cameras and files give them."""
    x = np.arange(24, dtype=np.uint8).reshape(4, 6)
    model = lm.Sequential([nn.Identity()])
    np.testing.assert_array_equal(model.predict(x), x.astype(np.float32))
    assert model.predict(x).dtype == np.float32
    assert model.predict(x > 3).dtype == np.float32


def test_indices_of_an_embedding_stay_whole() -> None:
    words, y = torch.randint(10, (30, 4)), torch.randint(2, (30,))
    model = lm.Sequential([nn.Embedding(10, 3), nn.Flatten(), L.Dense(2)])
    model.compile("adam", "sparse_categorical_crossentropy")
    assert len(model.fit(words.numpy().astype(np.int16), y, epochs=2, verbose=0).history["loss"]) == 2
    assert model.predict(words).shape == (30, 2)


class TwoInputs(lm.Model):
    """Adds what two layers make of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = L.Dense(3), L.Dense(3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.left(a) + self.right(b.flatten(1))


class TwoParts(Dataset[Any]):
    def __init__(self, a: Any, b: Any, y: Any) -> None:
        self.parts = a, b, y

    def __len__(self) -> int:
        return len(self.parts[2])

    def __getitem__(self, index: int) -> Any:
        a, b, y = self.parts
        return (a[index], b[index]), y[index]


def test_several_inputs_in_a_tuple_or_as_a_loader_hands_them_over() -> None:
    x, y = arrays()
    a, b = x, np.stack([x, x], 1)
    losses = []
    for source, labels in [((a, b), y), (TwoParts(a, b, y), None), (DataLoader(TwoParts(a, b, y), BATCH), None)]:
        model = TwoInputs()
        model.compile("sgd", "sparse_categorical_crossentropy")
        fit = model.fit(source, labels, epochs=2, batch_size=BATCH, shuffle=False, seed=0, verbose=0)
        losses.append(fit.iterations["loss"])
        assert model.input_shape == ((5,), (2, 5))
        assert model.predict(source).shape == (N, 3)
    assert losses[0] == losses[1] == losses[2]
    assert isinstance(model.predict((torch.from_numpy(a), torch.from_numpy(b))), Tensor)


def test_the_users_data_is_not_changed() -> None:
    """Not by a fit, whatever the form."""
    x, y = arrays()
    kept = x.copy(), y.copy()
    fitted(x, y, sample_weight=np.ones(N), shuffle="epoch")
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(y, kept[1])


def test_a_network_that_writes_to_its_input_does_not_reach_the_users_data() -> None:
    """Nor the next epoch's: ReLU(inplace=True) as first module, in training in order, in evaluate and in predict."""
    x, y = arrays()
    kept = x.copy()

    class Shift(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.add_(1)

    model = lm.Sequential([Shift(), nn.ReLU(inplace=True), L.Dense(3)]).build((5,), seed=0)
    other = lm.Sequential([nn.Identity(), nn.ReLU(), L.Dense(3)]).build((5,), seed=0)
    for each, source in ((model, x), (other, x + 1)):
        each.compile("sgd", "sparse_categorical_crossentropy")
        each.fit(source, y, epochs=3, batch_size=4, shuffle=False, validation_data=(source, y), verbose=0)
        each.evaluate(source, y, batch_size=4)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_allclose(model.predict(x, batch_size=4), other.predict(x + 1), rtol=1e-5)
    np.testing.assert_array_equal(x, kept)


# ── order ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Order(nn.Module):
    """Notes which observations it sees in training; the first feature is their number."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[int]] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen.append(x[:, 0].int().tolist())
        return x


def numbered(n: int = N) -> tuple[Tensor, Tensor]:
    return torch.arange(n)[:, None] + torch.zeros(n, 2), torch.zeros(n, dtype=torch.int64)


def orders(source: Any, labels: Any = None, **settings: Any) -> list[list[int]]:
    """Return the observations of each batch of two epochs."""
    order = Order()
    fitted(source, labels, layers=[order], **settings)
    return order.seen


def epochs_of(batches: list[list[int]], each: int) -> tuple[list[int], list[int]]:
    return list(chain.from_iterable(batches[:each])), list(chain.from_iterable(batches[each:]))


@pytest.mark.parametrize("as_dataset", [False, True])
def test_shuffle(as_dataset: bool) -> None:
    """False: as they come. "once": one other order, in both epochs. "epoch" and True: an order of its own for each epoch."""
    x, y = numbered()
    source, labels = (Pairs(x, y), None) if as_dataset else (x, y)
    everything = list(range(N))
    first, second = epochs_of(orders(source, labels, shuffle=False), 3)
    assert first == second == everything
    first, second = epochs_of(orders(source, labels, shuffle="once"), 3)
    assert first == second != everything
    assert sorted(first) == everything
    first, second = epochs_of(orders(source, labels, shuffle="epoch"), 3)
    assert first != second
    assert sorted(first) == sorted(second) == everything
    assert epochs_of(orders(source, labels, shuffle=True), 3) == (first, second)
    assert epochs_of(orders(source, labels, shuffle="epoch", seed=1), 3) != (first, second)


def test_a_dataset_is_shuffled_as_its_observations_in_arrays_are() -> None:
    x, y = numbered()
    for shuffle in ("epoch", "once"):
        assert orders(Pairs(x, y), shuffle=shuffle) == orders(x, y, shuffle=shuffle)


@pytest.mark.parametrize("as_dataset", [False, True])
@pytest.mark.parametrize(
    ("size", "drop_last", "sizes"),
    [
        (8, False, [8, 8, 6]),
        (8, True, [8, 8]),
        (11, True, [11, 11]),
        (22, False, [22]),
        (100, False, [22]),
        (21, False, [21, 1]),
    ],
)
def test_the_last_batch(size: int, drop_last: bool, sizes: list[int], as_dataset: bool) -> None:
    x, y = numbered()
    source, labels = (Pairs(x, y), None) if as_dataset else (x, y)
    for shuffle in (False, "epoch"):
        seen = orders(source, labels, batch_size=size, drop_last=drop_last, shuffle=shuffle)
        assert [len(batch) for batch in seen] == sizes * 2


@given(n=st.integers(1, 60), size=st.integers(1, 70), shuffle=st.sampled_from(["epoch", "once", False]), drop=st.booleans())
def test_an_epoch_is_every_observation_once(n: int, size: int, shuffle: Any, drop: bool) -> None:
    """Or, with drop_last, as many full batches as there are of different observations."""
    from laminar.fit.batches import Order as Wanted
    from laminar.fit.batches import make_batches
    from laminar.fit.convert import Converter

    if drop and size > n:
        return
    converter = Converter(torch.float32, lambda x: None, lambda y, dtype: y)
    order = Wanted(size, shuffle, drop, seed=n)
    batches = make_batches((torch.arange(n)[:, None], torch.arange(n), None), order, torch.device("cpu"), converter)
    for epoch in (1, 2):
        found = list(batches.epoch(epoch))
        assert len(found) == batches.steps
        seen = [int(i) for b in found for i in b.y]  # type: ignore[union-attr]
        assert len(set(seen)) == len(seen) == (n // size * size if drop else n)
        assert all(torch.equal(b.x[:, 0].long(), b.y) for b in found)  # type: ignore[index,call-overload]
    assert [int(i) for b in batches.everything() for i in b.y] == list(range(n))  # type: ignore[union-attr]


def test_a_last_batch_of_one_passes_through_batch_normalization() -> None:
    """A single number per channel has no variance: the running statistics serve."""
    x, y = arrays()
    figures = fitted(x, y, layers=[L.BatchNormalization()], batch_size=21)
    assert len(figures["loss"]) == 4
    assert all(np.isfinite(figures["loss"]))


# ── validation ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def validated(x: Any, y: Any, **settings: Any) -> tuple[lm.Sequential, lm.History]:
    model = lm.Sequential([L.Dense(3)]).build((5,), seed=0)
    model.compile(SGDM(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, model.fit(x, y, epochs=2, batch_size=BATCH, shuffle=False, verbose=0, **settings)


def test_validation_data_in_every_form() -> None:
    """The figures of the last epoch are those that evaluate gives afterwards."""
    x, y = arrays()
    held_x, held_y = x[:7] * 2, (y[:7] + 1) % 3
    forms_of_it: list[Any] = [
        (held_x, held_y),
        [held_x, held_y],
        (held_x.tolist(), held_y.tolist()),
        (held_x, held_y, None),
        (torch.from_numpy(held_x), torch.from_numpy(held_y)),
        Pairs(held_x, held_y),
        TensorDataset(torch.from_numpy(held_x), torch.from_numpy(held_y)),
        DataLoader(Pairs(held_x, held_y), batch_size=7),
        [(held_x, held_y)],
        [(held_x[:7], held_y[:7], np.ones(7))],
    ]
    for validation in forms_of_it:
        model, history = validated(x, y, validation_data=validation)
        assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
        expected = model.evaluate(held_x, held_y)
        assert history.history["val_loss"][-1] == pytest.approx(expected["loss"], rel=1e-6)
        assert history.history["val_accuracy"][-1] == pytest.approx(expected["accuracy"])


def test_validation_weights_count_in_the_loss() -> None:
    x, y = arrays()
    weight = np.arange(7.0)
    model, history = validated(x, y, validation_data=(x[:7], y[:7], weight))
    values = F.cross_entropy(torch.from_numpy(model.predict(x[:7])).log(), torch.from_numpy(y[:7]), reduction="none")
    assert history.history["val_loss"][-1] == pytest.approx(float((values * torch.from_numpy(weight)).mean()), rel=1e-5)


def test_validation_does_not_change_the_training() -> None:
    x, y = arrays()
    _, alone = validated(x, y, seed=0)
    _, watched = validated(x, y, seed=0, validation_data=(x, y))
    assert alone.iterations == watched.iterations


def test_validation_split_takes_the_last_share() -> None:
    """Keras' rule: the first int(n·(1 − share)) are trained on, before any shuffling."""
    x, y = numbered(10)
    x = x.repeat(1, 3)[:, :5]
    order = Order()
    model = lm.Sequential([order, L.Dense(3)]).build((5,), seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    history = model.fit(x, y, batch_size=4, validation_split=0.25, sample_weight=torch.ones(10), verbose=0)
    assert sorted(chain.from_iterable(order.seen)) == list(range(7))
    assert history.history["val_loss"] == [pytest.approx(model.evaluate(x[7:], y[7:])["loss"])]
    for form in ((x.numpy(), y.numpy()), (x.tolist(), y.tolist()), (TensorDataset(x, y), None)):
        order.seen.clear()
        model.fit(*form, batch_size=4, validation_split=0.25, verbose=0)
        assert sorted(chain.from_iterable(order.seen)) == list(range(7))


def test_validation_split_of_several_inputs() -> None:
    x, y = arrays()
    model = TwoInputs()
    model.compile("sgd", "sparse_categorical_crossentropy")
    history = model.fit((x, np.stack([x, x], 1)), y, validation_split=0.5, verbose=0)
    held = (x[11:], np.stack([x, x], 1)[11:])
    assert history.history["val_loss"] == [pytest.approx(model.evaluate(held, y[11:])["loss"])]


# ── shapes that change ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_batches_of_several_lengths() -> None:
    """A recurrent network takes sequences of any length, one length a batch; each length is looked at once."""

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRU(3, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.cell(x)[0][:, -1]

    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(6, t, 3, generator=generator), torch.arange(6) % 2) for t in (4, 7, 4, 9)]
    model = lm.Sequential([Mean(), L.Dense(2)])
    model.compile("adam", "sparse_categorical_crossentropy")
    history = model.fit(batches, epochs=2, verbose=0)
    assert len(history.iterations["loss"]) == 8
    assert model.predict(batches).shape == (24, 2)
    assert model.input_shape == (4, 3)  # what it was built for
