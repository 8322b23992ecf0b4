"""R5: the settings of the experiment, the pairing of its runs, and its table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError
from laminar.studies import digits as r5
from laminar.studies import mnist


def test_an_epoch_has_39_iterations_and_the_order_is_drawn_once() -> None:
    """R5: 5,000 observations in batches of 128, the partial last batch dropped; 30 epochs are 1,170 iterations."""
    rng = np.random.default_rng(0)
    x, y = rng.random((5000, 1, 28, 28), dtype=np.float32), np.arange(5000) % 10
    model = r5.network(L.ELU(), batch_norm=False)
    history = r5.train(model, (x, y), seed=0, epochs=1)
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
    other = r5.VARIANTS["without"]().build((1, 28, 28), seed=4).state_dict()
    assert not torch.equal(other["conv2d.weight"], states[0]["conv2d.weight"])
    assert built["without, alpha fixed at 1"]["elu"].alpha.requires_grad is False  # type: ignore[union-attr]


def test_a_study_goes_through_variants_and_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    part = rng.random((256, 1, 28, 28), dtype=np.float32), np.arange(256) % 10
    monkeypatch.setattr(r5, "digits", lambda: (part, part))
    said: list[str] = []
    outcomes = r5.study(seeds=2, epochs=1, report=said.append)
    assert [(o.seed, o.variant) for o in outcomes] == [(s, v) for s in (0, 1) for v in r5.VARIANTS]
    assert all(o.iterations == 2 and 0 <= o.accuracy <= 1 and o.seconds > 0 for o in outcomes)
    assert len(said) == 6
    assert r5.as_rows(outcomes)[0]["variant"] == "with batch normalization"
    again = r5.run("without", 1, (part, part), epochs=1)
    assert again.accuracy == outcomes[4].accuracy


def test_no_seed_is_refused() -> None:
    with pytest.raises(ArgumentError) as caught:
        r5.study(seeds=0)
    assert str(caught.value) == "study(seeds=): expected at least 1, received 0. Pass seeds=5."


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_digits_tell_variants_apart() -> None:
    """With batch normalization between 0.975 and 0.995, and better than without (one seed, full length)."""
    accuracies = {name: r5.run(name, 0, lm.data.digits()).accuracy for name in ("with batch normalization", "without")}
    assert 0.975 <= accuracies["with batch normalization"] <= 0.995
    assert accuracies["without"] < accuracies["with batch normalization"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.data
def test_mnist_in_five_epochs() -> None:
    """The variant with batch normalization reaches 98.5 % on real MNIST."""
    (outcome,) = mnist.study()
    assert outcome.iterations == 5 * 468
    assert outcome.accuracy >= 0.985
