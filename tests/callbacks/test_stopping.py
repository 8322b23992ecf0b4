"""EarlyStopping and TerminateOnNaN."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from callbacks.support import Figures, network, numbers, replay

import laminar as lm
from laminar import layers as L
from laminar.callbacks import EarlyStopping, TerminateOnNaN
from laminar.errors import ArgumentError, DivergedError, UnknownNameError
from laminar.metrics import METRICS
from laminar.optimizers import SGD

# ── EarlyStopping ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "values", "epochs", "reason"),
    [
        ({"patience": 2}, [3, 2, 2, 2, 1], 4, "val_loss has not improved for 2 epochs (the best is that of epoch 2)"),
        ({}, [1, 2, 3], 2, "val_loss has not improved for 1 epoch (the best is that of epoch 1)"),
        ({"patience": 2}, [3, 4, 2, 3, 1], 5, None),
        ({"min_delta": 0.5, "patience": 1}, [3, 2.4, 2, 1], 3, "val_loss has not improved for 1 epoch (the best is that of epoch 2)"),
        ({"mode": "max", "patience": 1}, [3, 4, 4], 3, "val_loss has not improved for 1 epoch (the best is that of epoch 2)"),
        ({"start_from_epoch": 3}, [1, 9, 9, 8, 9, 7], 5, "val_loss has not improved for 1 epoch (the best is that of epoch 4)"),
        ({"baseline": 1, "patience": 2}, [3, 2, 2, 0], 3, "val_loss has not improved on the baseline 1 for 3 epochs"),
        ({"baseline": 2.5, "patience": 2}, [3, 2, 2, 2, 0], 4, "val_loss has not improved for 2 epochs (the best is that of epoch 2)"),
    ],
)  # fmt: skip
def test_it_stops_when_the_figure_does_not_improve(options: Any, values: Any, epochs: int, reason: str | None) -> None:
    rates, state = replay(EarlyStopping(**options), {"val_loss": values})
    assert (len(rates), state.stop) == (epochs, reason)


def test_a_figure_that_is_nan_is_no_improvement_and_is_improved_on() -> None:
    stop = EarlyStopping(patience=2)
    _, state = replay(stop, {"val_loss": [math.nan, 2.0, math.nan, math.nan, 1.0]})
    assert (state.epoch, stop.best, stop.best_epoch) == (4, 2.0, 2)


def test_it_restores_parameters_and_buffers_of_the_best_epoch() -> None:
    """Epoch 2 is the best one. What the network holds then comes back bit for bit; without the option it does not."""
    x, y = numbers()
    kept: dict[str, Any] = {}

    class Keep(lm.Callback):
        def on_epoch_end(self, model: Any, state: Any) -> None:
            if state.epoch == 2:
                kept.update({name: t.clone() for name, t in model.state_dict().items()})

    for restore in (True, False):
        model = network()
        stop = EarlyStopping("invented", patience=2, mode="min", restore_best_weights=restore)
        invented = Figures(invented=[3.0, 1.0, 2.0, 2.0, 0.0])
        history = model.fit(x, y, epochs=5, batch_size=4, callbacks=[Keep(), invented, stop], seed=0, verbose=0)
        assert history.epoch == [1, 2, 3, 4]
        assert history.stopped == "invented has not improved for 2 epochs (the best is that of epoch 2)"
        same = [torch.equal(t, kept[name]) for name, t in model.state_dict().items()]
        assert all(same) if restore else not any(same)
        assert (stop.best, stop.best_epoch) == (1.0, 2)


def test_it_restores_also_when_all_epochs_were_gone_through_and_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = numbers()
    model = network()
    model.fit(x, y, callbacks=EarlyStopping("loss", patience=9, restore_best_weights=True, verbose=1), verbose=2)
    assert "Restored the weights of epoch 1, the best in loss.\n" in capsys.readouterr().out


def test_it_starts_afresh_at_each_fit() -> None:
    x, y = numbers()
    model, stop = network(), EarlyStopping("invented", mode="min")
    for _ in range(2):
        history = model.fit(x, y, epochs=4, callbacks=[Figures(invented=[1.0, 1.0, 0.0, 0.0]), stop], verbose=0)
        assert history.epoch == [1, 2]


def test_ctrl_c_before_the_first_iteration_of_an_epoch_compares_nothing() -> None:
    """The figures of the epoch before are not taken for this one's."""
    x, y = numbers()

    class Stop(lm.Callback):
        def on_epoch_begin(self, model: Any, state: Any) -> None:
            state.stop = "enough" if state.epoch == 2 else None

    stop = EarlyStopping("loss", patience=5)
    network().fit(x, y, epochs=3, callbacks=[Stop(), stop], verbose=0)
    assert stop._wait == 0


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"monitor": "val_los"}, UnknownNameError, "EarlyStopping(monitor=): figure 'val_los' is unknown. Did you mean 'val_loss'? Known: learning_rate, loss, mean_absolute_error, val_loss, val_mean_absolute_error."),
        ({"monitor": "acc", "mode": "max"}, UnknownNameError, "EarlyStopping(monitor=): figure 'acc' is unknown. Known: learning_rate, loss, mean_absolute_error, val_loss, val_mean_absolute_error."),
    ],
)  # fmt: skip
def test_an_unknown_figure_is_told_before_the_first_step(options: Any, error: type[Exception], text: str) -> None:
    x, y = numbers()
    model = network()
    with pytest.raises(error) as e:
        model.fit(x, y, validation_data=(x, y), callbacks=EarlyStopping(**options), verbose=0)
    assert str(e.value) == text
    assert model.history is not None
    assert not any(model.history.iterations.values())


def test_a_figure_of_validation_data_that_are_missing() -> None:
    x, y = numbers()
    with pytest.raises(ArgumentError) as e:
        network().fit(x, y, callbacks=EarlyStopping(), verbose=0)
    assert str(e.value) == (
        "EarlyStopping(monitor=): expected validation data, received 'val_loss' without them. "
        "Pass validation_split=0.2, or monitor='loss'."
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"monitor": 3}, "EarlyStopping(monitor=): expected the name of a figure, received 3. Pass monitor=\"val_loss\"."),
        ({"mode": "lower"}, "EarlyStopping(mode=): expected \"auto\", \"min\" or \"max\", received 'lower'. Pass mode=\"min\" where smaller is better."),
        ({"patience": -1}, "EarlyStopping(patience=): expected a whole number of at least 0, received -1. Pass 0 or more."),
        ({"patience": 2.5}, "EarlyStopping(patience=): expected a whole number of at least 0, received 2.5. Pass 0 or more."),
        ({"min_delta": "small"}, "EarlyStopping(min_delta=): expected a number, received 'small'. Pass min_delta=0.001, for example."),
        ({"baseline": math.nan}, "EarlyStopping(baseline=): expected a number, received nan. Pass baseline=0.5, for example."),
        ({"start_from_epoch": -1}, "EarlyStopping(start_from_epoch=): expected a whole number of at least 0, received -1. Pass 0 or more."),
    ],
)  # fmt: skip
def test_arguments_that_cannot_work(options: Any, text: str) -> None:
    with pytest.raises(ArgumentError) as e:
        EarlyStopping(**options)
    assert str(e.value) == text


LARGER_IS_BETTER = [
    "accuracy", "binary_accuracy", "top_5_accuracy", "precision", "recall", "f1_score", "auc", "cosine_similarity", "r2_score",
]  # fmt: skip


@pytest.mark.parametrize("name", list(METRICS))
def test_every_metric_by_name_tells_which_way_is_better(name: str) -> None:
    figure = METRICS[name].name
    stop = EarlyStopping(figure, patience=9)
    replay(stop, {figure: [1.0, 2.0]})
    assert stop.best_epoch == (2 if figure in LARGER_IS_BETTER else 1)


def test_a_figure_whose_name_does_not_tell_which_way_is_better() -> None:
    with pytest.raises(ArgumentError) as e:
        replay(EarlyStopping("mine"), {"mine": [1.0]})
    assert str(e.value) == (
        'EarlyStopping(mode=): expected "min" or "max", because \'mine\' does not tell which is better, received "auto". '
        'Pass mode="max" where larger is better.'
    )


# ── TerminateOnNaN ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def diverging() -> tuple[lm.Sequential, dict[str, Any]]:
    """Return a network whose loss overflows at step 6 and how to fit it: two epochs of 4 steps, rows every 2."""
    model = lm.Sequential([L.Dense(1, kernel_initializer="ones", use_bias=False)]).build((1,))
    model.compile(SGD(1e4), "mse")
    return model, {"epochs": 3, "batch_size": 4, "log_every": 2, "shuffle": False, "verbose": 0}


def test_a_loss_that_is_not_finite_is_a_plain_stop() -> None:
    x, y = torch.ones(16, 1), torch.zeros(16, 1)
    model, how = diverging()
    with pytest.raises(DivergedError) as e:
        model.fit(x, y, **how)
    told = str(e.value)
    assert told.startswith("loss became inf at epoch 2, step 6 (last finite 2.559e+34 at step 5).")

    model, how = diverging()
    ends: list[str] = []
    rest = lm.callbacks.LambdaCallback(
        on_epoch_end=lambda model, state: ends.append("epoch"), on_train_end=lambda model, state: ends.append("training")
    )
    history = model.fit(x, y, callbacks=[TerminateOnNaN(), rest], **how)
    assert history.stopped == told.rstrip(".")
    assert len(history.iterations["loss"]) == len(history.iterations["learning_rate"]) == 5
    assert all(map(math.isfinite, history.iterations["loss"]))
    assert history.epoch == [1]
    assert ends == ["epoch", "training"]
    assert not model.training


def test_with_early_stopping_the_best_weights_come_back() -> None:
    x, y = torch.ones(16, 1), torch.zeros(16, 1)
    model, how = diverging()
    model.fit(x, y, callbacks=[EarlyStopping("loss", restore_best_weights=True), TerminateOnNaN()], **how)
    (weight,) = model.parameters()
    assert torch.isfinite(weight).all()


def test_raise_error_lets_fit_raise() -> None:
    x, y = torch.ones(16, 1), torch.zeros(16, 1)
    model, how = diverging()
    with pytest.raises(DivergedError):
        model.fit(x, y, callbacks=TerminateOnNaN(raise_error=True), **how)
    with pytest.raises(ArgumentError) as e:
        TerminateOnNaN(raise_error="no")  # type: ignore[arg-type]  # what is tested
    assert str(e.value) == "TerminateOnNaN(raise_error=): expected True or False, received 'no'. Write TerminateOnNaN()."


def test_a_stop_that_was_wanted_before_does_not_hide_the_error() -> None:
    """A callback asked to stop at the iteration whose loss then turns out to be infinite."""
    x, y = torch.ones(16, 1), torch.zeros(16, 1)
    model, how = diverging()

    class Stop(lm.Callback):
        def on_batch_end(self, model: Any, state: Any) -> None:
            if state.iteration == 6:
                state.stop = "enough"

    with pytest.raises(DivergedError):
        model.fit(x, y, callbacks=Stop(), **how)
    assert model.history is not None
    assert model.history.stopped == "enough"
