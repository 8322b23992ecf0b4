"""`lm.compare`, end to end on small networks: what is there is found, what is not is not, and every run counts once."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparison.small import TEST, TRAIN, compared, diverging, net, still, wide
from torch import Tensor

import laminar as lm
from laminar import layers as L
from laminar.comparison import together
from laminar.comparison.checked import networks
from laminar.comparison.compare import make_task
from laminar.comparison.result import Comparison
from laminar.errors import StoreError
from laminar.model import Model


def values(result: Comparison) -> dict[tuple[str, int], float | None]:
    """Return (variant, index) -> value."""
    found = {(run.variant, run.index): run.value for run in result.runs}
    assert len(found) == len(result.runs)
    return found


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train each run by itself also on a machine so busy that grouping them would pay."""
    monkeypatch.setattr(together, "_TRIFLE", math.inf)


@pytest.fixture(scope="module")
def found() -> Comparison:
    """Return a comparison in which the difference is obvious."""
    return compared({"wide": wide, "still": still})


def test_a_difference_that_is_there_is_found(found: Comparison, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = found["still"]
    assert verdict.word == "worse"
    assert (verdict.losses, verdict.pairs, verdict.decided) == (6, 6, True)
    at = values(found)
    differences = [at["still", k] - at["wide", k] for k in range(6)]  # type: ignore[operator]
    assert verdict.difference == pytest.approx(np.mean(differences))
    assert str(found).startswith("still is worse by ")
    assert found.missing == []
    assert capsys.readouterr() == ("", "")


def test_better_follows_the_direction() -> None:
    verdict = compared({"wide": wide, "still": still}, metric="loss", baseline="still")["wide"]
    assert verdict.word == "better"
    assert verdict.difference < 0


def test_the_same_network_twice_gives_the_same_numbers() -> None:
    result = compared({"one": wide, "other": wide})
    at = values(result)
    assert all(at["one", k] == at["other", k] for k in range(6))
    assert len({at["one", k] for k in range(6)}) > 1, "the seeds differ"
    assert result["other"].word == "equivalent"


def test_networks_that_differ_in_their_numbers_alone_are_not_told_apart() -> None:
    def renamed() -> Model:
        """Return the same network under other names, which gives it other initial values from the same distribution."""
        model = lm.Sequential([L.Dense(16, activation="tanh", name="a"), L.Dense(2, activation="softmax", name="b")])
        model.compile(lm.optimizers.SGD(0.5), "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
        return model

    result = compared({"one": wide, "other": renamed}, margin=0.001)
    at = values(result)
    assert sum(at["one", k] != at["other", k] for k in range(6)) > 3
    assert result["other"].word == "undecided"
    assert "Not decided by 6 pairs: 'other' against 'one'." in str(result)


def test_a_run_that_diverges_or_fails_is_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    class Refuses(lm.Callback):
        def on_train_begin(self, model: Any, state: Any) -> None:
            if len(model.layers) == 3:
                raise RuntimeError("no third layer today")

    variants = {"wide": wide, "diverging": diverging, "failing": lambda: net(extra=True)}
    result = compared(variants, callbacks=[Refuses()], seeds=7, stop="fixed", verbose=1)
    by_status = Counter((run.variant, run.status) for run in result.runs)
    assert by_status == {("wide", "finished"): 7, ("diverging", "diverged"): 7, ("failing", "failed"): 7}
    errors = {run.error for run in result.runs if run.variant == "failing"}
    assert errors == {"RuntimeError: no third layer today"}
    assert {v.word for v in result.verdicts} == {"worse"}
    assert (result["failing"].failed, result["failing"].difference) == (7, None)

    lines = capsys.readouterr().out.splitlines()
    finished, diverged, failed = result.runs[:3]
    assert lines[0] == f"Study '{result.name}': 21 runs at most."
    assert lines[1] == f"[1/21] wide, seed 0: accuracy {finished.value:.4f}, {finished.seconds:.1f} s"
    assert lines[2].startswith("[2/21] diverging, seed 0: diverged: loss became ")
    assert lines[2].endswith(f"), {diverged.seconds:.1f} s"), "the first sentence"
    assert lines[3] == f"[3/21] failing, seed 0: failed: RuntimeError: no third layer today, {failed.seconds:.1f} s"
    assert lines[22:] == ["", *str(result).splitlines()]


def test_looking_after_every_pair_ends_sooner() -> None:
    result = compared({"wide": wide, "still": still}, metric="loss", margin=0.001, seeds=30, epochs=1)
    verdict = result["still"]
    assert verdict.word == "worse"
    assert verdict.pairs < 30
    assert len(result.runs) == 2 * verdict.pairs
    assert result.missing == []


# ── what runs of one index share ─────────────────────────────────────────────────────────────────────────────────────────


def test_unequal_variants_share_the_initial_values_of_common_layers() -> None:
    variants = {"plain": lambda: net(), "more": lambda: net(extra=True)}
    task = make_task(variants, TRAIN, TEST, metric="accuracy", margin=0.01, seeds=8)
    plain, more = networks(task).values()
    common = plain.state_dict().keys() & more.state_dict().keys()
    assert common == plain.state_dict().keys() == {"dense.weight", "dense.bias", "dense_1.weight", "dense_1.bias"}
    assert all(torch.equal(plain.state_dict()[key], more.state_dict()[key]) for key in common)
    net().fit(*TRAIN, epochs=1, seed=task.protocol.seed_of(0), verbose=0, callbacks=[kept := _Initial()])
    assert kept.state.keys() == common
    assert all(torch.equal(plain.state_dict()[key], value) for key, value in kept.state.items())


class _Initial(lm.Callback):
    """Keeps the values that training starts from."""

    state: dict[str, Tensor]

    def on_train_begin(self, model: Any, state: Any) -> None:
        self.state = {key: value.clone() for key, value in model.state_dict().items()}


def test_unequal_variants_see_the_same_batches() -> None:
    seen: dict[str, list[list[float]]] = {"plain": [], "more": []}

    class Watch(lm.Layer):
        """Keeps the first feature of what it is trained on."""

        def __init__(self, variant: str) -> None:
            super().__init__()
            self.variant = variant

        def forward(self, x: Tensor) -> Tensor:  # (B, F)
            if self.training:
                seen[self.variant].append(x[:, 0].tolist())
            return x

    def watched(variant: str, *between: Any) -> Model:
        model = lm.Sequential([Watch(variant), L.Dense(4), *between, L.Dense(2, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], device="cpu")
        return model

    data = tuple(np.asarray(part, dtype=part.dtype) for part in TRAIN)
    variants = {"plain": lambda: watched("plain"), "more": lambda: watched("more", L.BatchNormalization())}
    options = {"metric": "accuracy", "margin": 0.01, "seeds": 6, "stop": "fixed", "store": None, "verbose": 0}
    lm.compare(variants, data, TEST, epochs=1, batch_size=32, **options)
    # training shows three batches of 32; the memory of a step is measured on others
    orders = {name: [batch for batch in batches if len(batch) == 32] for name, batches in seen.items()}
    assert orders["plain"] == orders["more"]
    assert len({tuple(batch) for batch in orders["plain"]}) >= 3 * 6, "each index has an order of its own"


def test_data_that_is_drawn_anew_for_every_seed() -> None:
    asked: list[int] = []

    def drawn(seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        asked.append(seed)
        chosen = np.random.default_rng(seed).integers(96, size=64)
        return TRAIN[0][chosen], TRAIN[1][chosen]

    result = lm.compare(
        {"wide": wide, "still": still}, drawn, TEST, metric="accuracy", margin=0.01, seeds=6, store=None, verbose=0
    )
    seeds = [result.protocol.seed_of(k) for k in range(6)]
    assert set(asked) == set(seeds)
    assert {run.seed for run in result.runs} == set(seeds)
    assert "train is a function: the fingerprint holds its code, and not what it reads." in str(result)


def test_a_builder_may_take_the_seed() -> None:
    asked: list[int] = []

    def seeded(seed: int = 0) -> Model:
        asked.append(seed)
        return wide()

    (five,) = [lambda units=units: net(units) for units in (5,)]  # a default that is not the seed stays
    result = compared({"seeded": seeded, "five": five}, epochs=1, stop="fixed")
    assert set(asked) == {result.protocol.seed_of(k) for k in range(6)}
    assert {run.variant: run.parameters for run in result.runs} == {"seeded": 98, "five": 32}


# ── a study goes on ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_interrupted_study_goes_on_and_repeats_nothing(
    found: Comparison, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "runs.db"
    built: list[int] = []
    limit = 5  # two that are looked at before, and three runs

    def counted(seed: int) -> Model:
        if len(built) == limit:
            raise KeyboardInterrupt
        built.append(seed)
        return wide()

    variants = {"counted": counted, "still": still}
    with pytest.raises(KeyboardInterrupt):
        compared(variants, store=store, verbose=1)
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == (f"Interrupted. The runs that ended are kept in {store}: the same call goes on from there.")
    assert said.count("counted, seed") == 3
    limit = 1000
    result = compared(variants, store=store)
    assert values(result) == {({"wide": "counted"}.get(name, name), k): value for (name, k), value in values(found).items()}
    assert result["still"].to_dict() == found["still"].to_dict() | {"baseline": "counted"}
    times = Counter(built)
    first = result.protocol.seed_of(0)  # with which every call looks at two networks
    assert times.pop(first) == 5
    assert set(times.values()) == {1}
    compared(variants, store=store)
    assert len(built) == 6 + 6, "nothing is left to train"


def test_more_seeds_go_on_with_the_same_study(tmp_path: Path) -> None:
    given: dict[str, Any] = {"store": tmp_path / "runs.db", "name": "points", "epochs": 1, "stop": "fixed"}
    variants = {"wide": wide, "still": still}
    short = compared(variants, **given)
    longer = compared(variants, **given, seeds=8)
    assert (short.name, short.notes, len(longer.runs)) == ("points", (), 16)
    assert longer.runs[:12] == short.runs
    assert longer.notes == (
        "Declared before with seeds=6: if that was changed because of what had come out, wrong verdicts are more frequent than 5 %.",
    )
    assert compared(variants, **given).runs == short.runs, "what was not asked for is left aside"

    with pytest.raises(StoreError) as caught:
        compared({"wide": wide, "still": lambda: net(16, 1e-8)}, **given)
    second = str(caught.value).rpartition("(fingerprint ")[2].partition(")")[0]
    assert second != short.fingerprint
    assert str(caught.value) == (
        f"Store('{given['store']}'): expected the study that 'points' was begun with (fingerprint {short.fingerprint}), received "
        f"one that differs in what the functions build, the data, or the arguments of fit (fingerprint {second}). "
        "Pass another name= to begin anew, or what it was begun with to go on."
    )


def test_the_time_to_a_target_is_kept() -> None:
    result = compared({"wide": wide, "still": still}, target=0.6)
    assert all(len(run.history["val_accuracy"]) == len(run.elapsed) == 2 for run in result.runs)
    assert all(run.elapsed == sorted(run.elapsed) for run in result.runs)
    assert all(run.history["val_accuracy"][-1] == pytest.approx(run.value) for run in result.runs)
