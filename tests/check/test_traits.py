"""What layers declare: in words, by what torch documents, by a buffer that changes; and Laminar's own layers say what they do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import ALL, Case
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.check.subject import Subject
from laminar.check.traits import TRAITS, declared_by, traits_of
from laminar.errors import UnknownNameError
from laminar.shapes import trace


def built(case: Case) -> lm.Layer:
    layer = case.fresh()
    trace(layer, *case.shapes, dtype=case.dtype)
    return layer


@pytest.mark.parametrize("case", ALL, ids=str)
def test_every_layer_of_laminar_declares_what_it_does(case: Case) -> None:
    said = declared_by(built(case))
    assert ("random" in said) == case.random
    assert ("always state" in said) == case.stateful
    assert ("batch" in said) == (case.cls is L.BatchNormalization)
    assert not said & {"always random", "always batch"}


@pytest.mark.parametrize(
    "layer",
    [
        L.Dropout(0.0),
        L.GaussianDropout(0.0),
        L.GaussianNoise(0.0),
        L.SpatialDropout2D(0.0),
        L.LSTM(2, dropout=0.0),
        L.MultiHeadAttention(1, 2),
        nn.Dropout(0.0),
        nn.LSTM(2, 3, 2),
    ],
    ids=str,
)
def test_where_nothing_is_drawn_nothing_is_declared(layer: nn.Module) -> None:
    assert declared_by(layer) == frozenset()


def test_a_frozen_batch_normalization_is_an_ordinary_layer() -> None:
    layer = L.BatchNormalization()
    assert declared_by(layer) == {"batch"}
    layer.trainable = False
    assert declared_by(layer) == frozenset()


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.BatchNorm2d(3), {"batch"}),
        (nn.BatchNorm1d(3, track_running_stats=False), {"always batch"}),
        (nn.InstanceNorm2d(3), set()),
        (nn.InstanceNorm2d(3, track_running_stats=True), {"modes"}),
        (nn.Dropout(0.1), {"random"}),
        (nn.RReLU(), {"random"}),
        (nn.LSTM(2, 3, 2, dropout=0.1), {"random"}),
        (nn.MultiheadAttention(4, 2, dropout=0.1), {"random"}),
        (nn.FractionalMaxPool2d(2, output_ratio=0.5), {"always random"}),
        (nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.BatchNorm1d(3), nn.AlphaDropout(0.2))), {"batch", "random"}),
    ],
    ids=lambda value: " ".join(sorted(value)) or "nothing" if isinstance(value, set) else str(value),
)
def test_what_torch_documents_is_known(layer: nn.Module, said: set[str]) -> None:
    assert declared_by(layer) == said


def test_what_follows() -> None:
    assert traits_of(nn.Identity(), ["random"]) == {"random", "modes"}
    assert traits_of(nn.Identity(), ["always random"]) == {"always random", "modes"}
    assert traits_of(nn.Identity(), ["batch"]) == {"batch", "modes"}
    assert traits_of(nn.Identity(), ["always batch"]) == {"always batch", "batch", "modes"}
    assert traits_of(nn.Identity(), ["always state"]) == {"always state", "state"}
    assert traits_of(nn.Identity(), ["surrogate", "nan"]) == {"surrogate", "nan"}
    assert all(isinstance(text, str) for text in TRAITS.values())


class Said(nn.Module):
    """Says something, as any module can."""

    def __init__(self, declares: Any) -> None:
        super().__init__()
        self.declares = declares

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_module_of_torch_can_say_it_too() -> None:
    assert declared_by(Said(("batch", "Always-Random"))) == {"batch", "always random"}
    assert declared_by(Said("batch")) == {"batch"}
    assert declared_by(nn.Sequential(Said(("modes",)), Said(()))) == {"modes"}


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(UnknownNameError) as error:
        declared_by(Said(("randm",)))
    assert str(error.value).startswith("declaration 'randm' is unknown. Did you mean 'random'? Known: always batch, ")


def test_predict_declares_another_inference() -> None:
    class Hard(lm.Layer):
        """Soft in training."""

        def forward(self, x: Tensor) -> Tensor:
            return x.sigmoid()

        def predict(self, x: Tensor) -> Tensor:
            return (x > 0).to(x.dtype)

    assert declared_by(nn.Sequential(Hard())) == {"modes"}


class Kept(nn.Module):
    """Adds a constant; counts its batches in training, if it is to."""

    def __init__(self, *, counts: bool) -> None:
        super().__init__()
        self.counts = counts
        self.register_buffer("constant", torch.arange(3.0))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.constant: Tensor
        self.seen: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.counts:
            self.seen += 1
        return x + self.constant


def test_a_buffer_declares_state_only_if_training_changes_it() -> None:
    still, counting = Subject(Kept(counts=False), [(3,)]), Subject(Kept(counts=True), [(3,)])
    assert (still.changing, still.traits) == (frozenset(), frozenset())
    assert (counting.changing, counting.traits, counting.declared) == (frozenset({"seen"}), frozenset({"state"}), frozenset())


def test_what_is_said_and_what_follows_are_told_apart() -> None:
    subject = Subject(nn.BatchNorm1d(3), [(3,)], declares=["nan"])
    assert subject.declared == {"batch", "nan"}
    assert subject.traits == {"batch", "modes", "state", "nan"}
    assert subject.changing == {"running_mean", "running_var", "num_batches_tracked"}


def test_which_inputs_may_be_any_numbers() -> None:
    assert Subject(nn.ReLU(), [(3,)]).any_numbers
    assert not Subject(nn.Embedding(5, 2), [(3,)]).any_numbers
    assert not Subject(nn.ReLU(), [(3,)], sample=lambda batch, random: torch.rand(batch, 3, generator=random)).any_numbers
