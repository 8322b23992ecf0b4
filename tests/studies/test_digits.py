"""R5: the settings of the experiment, the pairing of its runs, and its table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import laminar as lm
from laminar import layers as L
from laminar.comparison.protocol import make_protocol
from laminar.comparison.task import Task, execute
from laminar.studies import digits as r5
from laminar.studies import mnist


def test_an_epoch_has_39_iterations_and_the_order_is_drawn_once() -> None:
    """R5: 5,000 observations in batches of 128, the partial last batch dropped; 30 epochs are 1,170 iterations."""
    rng = np.random.default_rng(0)
    x, y = rng.random((5000, 1, 28, 28), dtype=np.float32), np.arange(5000) % 10
    model = r5.network(L.ELU(), batch_norm=False)
    assert r5.FIT["epochs"] * 39 == 1170
    history = model.fit(x, y, **{**r5.FIT, "epochs": 1}, seed=0, verbose=0)
    assert len(history.iterations["loss"]) == 39
    assert set(history.iterations["learning_rate"]) == {0.01}
    groups = model._learner.pace(r5.SGDM(), model, "test").optimizer.param_groups
    assert {g["momentum"] for g in groups} == {0.9}
    decays = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    assert {n: decays[id(p)] for n, p in model.named_parameters()} == {
        "conv2d.weight": 1e-4,
        "conv2d.bias": 0.0,
        "elu.alpha": 0.0,
        "dense.weight": 1e-4,
        "dense.bias": 0.0,
    }


def test_runs_of_one_seed_share_what_they_have_in_common() -> None:
    built = {name: make().build((1, 28, 28), seed=3) for name, make in r5.VARIANTS.items()}
    states = [m.state_dict() for m in built.values()]
    for key in ("conv2d.weight", "dense.weight"):
        assert all(torch.equal(s[key], states[0][key]) for s in states)
    other = r5.VARIANTS["without BN"]().build((1, 28, 28), seed=4).state_dict()
    assert not torch.equal(other["conv2d.weight"], states[0]["conv2d.weight"])
    assert built["without BN, alpha fixed"]["elu"].alpha.requires_grad is False  # type: ignore[union-attr]


def test_the_study_is_a_comparison_of_four_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    part = rng.random((128, 1, 28, 28), dtype=np.float32), np.arange(128) % 10
    monkeypatch.setattr(r5, "digits", lambda: (part, part))
    found = lm.compare(**{**r5.comparison(), "epochs": 1, "seeds": 8, "store": None, "verbose": 0})
    assert {run.variant for run in found.runs} == set(r5.VARIANTS)
    assert [(v.variant, v.baseline) for v in found.verdicts] == list(r5.CONTRASTS)
    assert all(run.status == "finished" for run in found.runs)


def test_every_pair_on_mnist_has_a_half_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(60000, dtype=np.float32).reshape(-1, 1, 1, 1)
    monkeypatch.setattr(mnist, "mnist", lambda: ((x, np.arange(60000) % 10), (x[:10], np.arange(10))))
    half = mnist.comparison()["train"]
    first, again, other = half(1), half(1), half(2)
    assert len(first[0]) == 234 * 128  # five epochs are R5's 1,170 iterations
    assert len(np.unique(first[0])) == len(first[0])
    assert np.array_equal(first[0].ravel() % 10, first[1])
    assert np.array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_digits_tell_variants_apart() -> None:
    """With batch normalization between 0.975 and 0.995, and better than without (one seed, full length)."""
    protocol = make_protocol(list(r5.VARIANTS), metric="accuracy", margin=0.002, seeds=20)
    task = Task(protocol, r5.VARIANTS, *lm.data.digits(), r5.FIT)
    accuracies = [execute(task, name, 0).value or 0.0 for name in ("with BN", "without BN")]
    assert 0.975 <= accuracies[0] <= 0.995
    assert accuracies[1] < accuracies[0]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.data
def test_mnist_in_five_epochs() -> None:
    """The variant with batch normalization reaches 98.5 % on real MNIST."""
    (outcome,) = mnist.study()
    assert outcome.iterations == 5 * 468
    assert outcome.accuracy >= 0.985
