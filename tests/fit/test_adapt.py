"""R10: statistics are taken from the training data, all of it and nothing else, once, and live inside the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import laminar as lm
from laminar import layers as L
from laminar.errors import DataError, NotBuiltError


def data(n: int = 30) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 2, 3, 3, generator=generator) * 255, torch.randint(2, (n,), generator=generator)


def compiled(*layers: nn.Module) -> lm.Sequential:
    model = lm.Sequential([*layers, L.Flatten(), L.Dense(2)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


class Once:
    """Batches of a stream."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.pairs = list(zip(x.split(7), y.split(7), strict=True))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.pairs)


@pytest.mark.parametrize("form", ["arrays", "dataset", "loader", "stream"])
def test_the_mean_of_all_training_data_whatever_its_form(form: str) -> None:
    """Also of the observations that drop_last leaves out of an epoch."""
    x, y = data()
    source: Any = {
        "arrays": (x.numpy(), y.numpy()),
        "dataset": (TensorDataset(x, y),),
        "loader": (DataLoader(TensorDataset(x, y), 7),),
        "stream": (Once(x, y),),
    }[form]
    norm = L.Normalization()
    model = compiled(norm)
    model.fit(*source, batch_size=8, drop_last=form in ("arrays", "dataset"), verbose=0)
    torch.testing.assert_close(norm.shift, x.double().mean(0).float())
    assert norm.adapted


def test_validation_data_is_not_looked_at() -> None:
    """Neither the last share nor data of its own, which would move the mean to 1000s."""
    x, y = data()
    shifted = x.clone()
    shifted[20:] += 1e4
    norm = L.Normalization("zscore", per="channel")
    compiled(norm).fit(shifted, y, validation_split=1 / 3, verbose=0)
    torch.testing.assert_close(norm.shift.flatten(), x[:20].mean((0, 2, 3)))
    torch.testing.assert_close(norm.scale.flatten(), x[:20].double().std((0, 2, 3), correction=0).float())
    norm = L.Normalization()
    compiled(norm).fit(x, y, validation_data=(x + 1e4, y), verbose=0)
    torch.testing.assert_close(norm.shift, x.mean(0))


def test_a_second_fit_leaves_the_statistics_alone() -> None:
    x, y = data()
    norm = L.Normalization()
    model = compiled(norm)
    model.fit(x, y, verbose=0)
    kept = norm.shift.clone()
    model.fit(x * 3, y, verbose=0)
    assert torch.equal(norm.shift, kept)


def test_predict_takes_raw_data() -> None:
    """R10: the network applies what it learned of the data."""
    x, y = data()
    model = compiled(L.Normalization("zscore"))
    model.fit(x, y, verbose=0)
    dense = model["dense"]
    by_hand = ((x - x.mean(0)) / x.std(0, correction=0)).flatten(1) @ dense.weight.T + dense.bias
    torch.testing.assert_close(model.predict(x), by_hand.softmax(1), rtol=1e-4, atol=1e-5)


def test_in_the_middle_of_a_network_and_several_of_them() -> None:
    """The second sees what the first makes of the data, though the network holds it first."""

    class Net(lm.Model):
        def __init__(self) -> None:
            super().__init__()
            self.late = L.Normalization("zscore")  # registered before the one it follows
            self.early = L.Normalization("rescale-symmetric", per="all")
            self.middle, self.end = L.Dense(4, "tanh"), L.Dense(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.end(self.late(self.middle(self.early(x.flatten(1)))))

    x, y = data()
    model = Net().build((2, 3, 3), seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    start = model.middle.weight.detach().clone()
    model.fit(x, y, verbose=0)
    low, high = x.min(), x.max()
    scaled = (x.flatten(1) - (low + high) / 2) / ((high - low) / 2)
    hidden = torch.tanh(scaled @ start.T)
    torch.testing.assert_close(model.early.shift.flatten()[0], (low + high) / 2)
    torch.testing.assert_close(model.late.shift, hidden.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.late.scale, hidden.std(0, correction=0), rtol=1e-4, atol=1e-5)


def test_one_that_the_network_does_not_use_does_not_stop_it() -> None:
    class Net(lm.Model):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.used, self.end = L.Normalization(), L.Normalization(), L.Dense(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.end(self.used(x.flatten(1)))

    x, y = data()
    model = Net()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0)
    assert (model.used.adapted, model.unused.adapted) == (True, False)


def test_a_pass_that_was_broken_off_does_not_count() -> None:
    """The first attempt meets a nan in the last batch; the second sees the data as if it were the first."""
    x, y = data()
    bad = x.clone()
    bad[-1, 0, 0, 0] = torch.nan
    norm = L.Normalization()
    model = compiled(norm)
    with pytest.raises(DataError) as e:
        model.fit(Once(bad, y), verbose=0)
    assert str(e.value) == (
        "batch 5: x: expected finite numbers, received nan at observation 1 (1 of 2 observations are affected). "
        "Drop or repair them: keep = np.isfinite(x).reshape(len(x), -1).all(1)."
    )
    assert not norm.adapted
    model.fit(Once(x, y), verbose=0)
    torch.testing.assert_close(norm.shift, x.mean(0))


def test_before_it_has_seen_data_it_says_so() -> None:
    x, y = data()
    model = compiled(L.Normalization())
    with pytest.raises(NotBuiltError) as e:
        model.evaluate(x, y)
    assert str(e.value) == (
        "layer 'normalization' (Normalization, method='zerocenter', per='element'): expected statistics of training data, "
        "received none yet. Call model.fit, or layer.adapt(x_train)."
    )


def test_statistics_are_saved_with_the_weights(tmp_path: Any) -> None:
    x, y = data()
    model = compiled(L.Normalization())
    model.fit(x, y, verbose=0)
    model.save_weights(tmp_path / "w.safetensors")
    fresh = compiled(L.Normalization()).build((2, 3, 3))
    fresh.load_weights(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(fresh.predict(x.numpy()), model.predict(x.numpy()))
    kept = fresh["normalization"].shift.clone()
    fresh.compile("sgd", "sparse_categorical_crossentropy")
    fresh.fit(x + 100, y, verbose=0)
    assert torch.equal(fresh["normalization"].shift, kept)
