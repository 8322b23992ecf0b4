"""What does not fit into memory is computed in parts, with the same result; a failed attempt leaves nothing behind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader

import laminar as lm
from laminar import layers as L
from laminar.errors import ArgumentError
from laminar.fit.convert import Batch
from laminar.fit.portions import Portions, is_out_of_memory
from laminar.fit.progress import Silent
from laminar.fit.undo import Undo
from laminar.optimizers import SGD, Adam

N = 44


@pytest.fixture(autouse=True)
def in_double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(Silent, "note", lambda self, text: said.append(text))
    return said


class _Fails(torch.autograd.Function):
    """Out of memory in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, most: int) -> Tensor:
        ctx.most = most
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *dz: Tensor) -> Any:
        if len(dz[0]) > ctx.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return dz[0], None


class Narrow(nn.Module):
    """Has memory for so many rows.

    Args:
        most: rows.
        where: "forward" or "backward".
        error: what is raised in the forward pass.
    """

    def __init__(self, most: int = N, where: str = "forward", error: Exception | None = None) -> None:
        super().__init__()
        self.most, self.where, self.failed = most, where, 0
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    def forward(self, x: Tensor) -> Tensor:  # (B, ...)
        if self.where == "backward":
            return _Fails.apply(x, self.most)
        if len(x) > self.most:
            raise self.error
        return x.clone()


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N, 5, generator=generator), torch.randint(3, (N,), generator=generator)


Build = Callable[[nn.Module], list[nn.Module]]


def plain(narrow: nn.Module) -> list[nn.Module]:
    return [L.Dense(7, "tanh"), L.LayerNormalization(), narrow, L.Dense(3, "softmax")]


def trained(narrow: nn.Module, build: Build = plain, rule: Any = None, loss: Any = None, **options: Any) -> lm.Sequential:
    model = lm.Sequential(build(narrow))
    model.compile(rule or SGD(0.1, momentum=0.9), loss or "sparse_categorical_crossentropy", ["accuracy", "f1_score"])
    options = {"epochs": 2, "batch_size": 16, "seed": 0, "verbose": 0, "validation_split": 0.25, **options}
    model.fit(*data(), **options)
    return model


def same(one: lm.Model, other: lm.Model, figures_to: float = 1e-12) -> None:
    assert one.history is not None
    assert other.history is not None
    for name, value in other.state_dict().items():
        torch.testing.assert_close(one.state_dict()[name], value, rtol=1e-12, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
    for figures, expected in (
        (one.history.history, other.history.history),
        (one.history.iterations, other.history.iterations),
    ):
        assert figures.keys() == expected.keys()
        for name, values in expected.items():
            assert figures[name] == pytest.approx(values, rel=figures_to, abs=1e-12), name


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("most", [1, 3, 4, 8, 15])
def test_the_parts_give_the_training_of_the_whole(most: int, where: str, notes: list[str]) -> None:
    """33 observations in batches of 16, 16 and 1."""
    same(trained(Narrow(most, where)), trained(Narrow()))
    size = {1: 1, 3: 2, 4: 4, 8: 8, 15: 8}[most]
    assert notes == [
        f"Ran out of memory at a batch of 16: from now on computed in {16 // size} parts of {size}; the updates stay the same."
    ]


@given(st.integers(2, 20), st.integers(1, 19), st.sampled_from([1, 3]))
@settings(max_examples=10, deadline=None)
def test_whatever_the_sizes(size: int, most: int, k: int) -> None:
    """Also where several batches make an update."""
    rule = SGD(0.1, momentum=0.9, clipnorm=0.1, gradient_accumulation_steps=k)
    given: dict[str, Any] = {"rule": rule, "batch_size": size, "epochs": 1}
    same(trained(Narrow(most, "backward"), **given), trained(Narrow(), **given))


def test_weights_of_observations_count_as_in_the_whole() -> None:
    weight = torch.rand(N, generator=torch.Generator().manual_seed(1))
    given: dict[str, Any] = {"sample_weight": weight, "class_weight": {0: 1.0, 1: 3.0, 2: 0.5}}
    same(trained(Narrow(5), **given), trained(Narrow(), **given))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to allocate ..."
        ),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_what_counts_as_out_of_memory(error: Exception) -> None:
    assert is_out_of_memory(error)
    same(trained(Narrow(8, error=error)), trained(Narrow()))


def test_torchs_own_words() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(error.value)


def test_any_other_error_passes() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"):
        trained(Narrow(8, error=RuntimeError("shapes differ")))


def test_several_inputs_and_outputs(notes: list[str]) -> None:
    def learned(narrow: nn.Module) -> lm.Model:
        a, b = lm.Input((5,), name="a"), lm.Input((2,), name="b")
        hidden = L.Dense(6, "tanh")(L.Concatenate()([a, b]))
        hidden = L.Dense(6)(hidden) + L.Dense(6)(b)
        outputs = {"kind": L.Dense(3, "softmax")(hidden), "size": L.Dense(1)(L.Activation(narrow)(hidden))}
        model = lm.Model([a, b], outputs)
        model.build(seed=0)
        model.compile(Adam(0.01), {"kind": "sparse_categorical_crossentropy", "size": "mse"}, {"kind": "accuracy"})
        x, y = data()
        inputs, targets = {"a": x, "b": x[:, :2]}, {"kind": y, "size": x[:, :1]}
        model.fit(inputs, targets, batch_size=16, seed=0, verbose=0, validation_data=(inputs, targets))
        return model

    narrow = Narrow(3)
    one, other = learned(narrow), learned(Narrow())
    same(one, other, figures_to=1e-6)  # shares of right answers are in single precision
    assert notes == ["Ran out of memory at a batch of 16: from now on computed in 8 parts of 2; the updates stay the same."]
    inputs = {"a": data()[0], "b": data()[0][:, :2]}
    for z, expected in zip(one.predict(inputs).values(), other.predict(inputs).values(), strict=True):
        torch.testing.assert_close(z, expected, rtol=1e-12, atol=1e-12)


def test_evaluation_and_prediction() -> None:
    narrow = Narrow()
    model = trained(narrow)
    x, y = data()
    figures, output = model.evaluate(x, y), model.predict(x)
    narrow.most = 5
    assert model.evaluate(x, y) == pytest.approx(dict(figures), rel=1e-12)
    torch.testing.assert_close(model.predict(x), output, rtol=1e-12, atol=1e-12)
    narrow.most = 0
    with pytest.raises(torch.OutOfMemoryError) as error:
        model.predict(x)
    assert error.value.__notes__ == ["One observation alone does not fit into memory."]


# ── what the parts see otherwise ─────────────────────────────────────────────────────────────────────────────────────────


def normalized(narrow: nn.Module) -> list[nn.Module]:
    return [L.Dense(7), L.BatchNormalization(), nn.BatchNorm1d(7), narrow, L.Dense(3, "softmax")]


def noisy(narrow: nn.Module) -> list[nn.Module]:
    return [L.Dropout(0.5), L.Dense(7, "tanh"), L.GaussianNoise(0.1), narrow, L.Dense(3, "softmax")]


@contextlib.contextmanager
def never_more_than(most: int) -> Iterator[None]:
    """Let batches be divided from the start, without any failure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Portions, "__init__", lambda self: setattr(self, "most", most))
        yield


@pytest.mark.parametrize(
    ("build", "but"),
    [
        (normalized, "for batch normalization, whose statistics are now those of a part"),
        (noisy, "for random numbers, which each part draws anew"),
    ],
)
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_failed_attempt_leaves_nothing_behind(build: Build, but: str, where: str, notes: list[str]) -> None:
    """Running statistics and random numbers are those of a training that was divided from the start."""
    one = trained(Narrow(4, where), build, drop_last=True)
    assert notes == [
        f"Ran out of memory at a batch of 16: from now on computed in 4 parts of 4; the updates stay the same but {but}."
    ]
    with never_more_than(4):
        same(one, trained(Narrow(), build, drop_last=True))


def test_a_failure_in_the_middle_of_training() -> None:
    """What changes only in the first step is known by then."""

    class Later(lm.Callback):
        def on_batch_end(self, model: nn.Module, state: lm.State) -> None:
            if state.iteration == 4:
                narrow.most = 8

    class Divide(lm.Callback):
        def on_batch_end(self, model: nn.Module, state: lm.State) -> None:
            if state.iteration == 4:
                for portions in made:
                    portions.most = 8

    def both(narrow: nn.Module) -> list[nn.Module]:
        return [L.Dropout(0.5), L.Dense(7), Counts(), L.BatchNormalization(), narrow, L.Dense(3, "softmax")]

    narrow, made = Narrow(where="backward"), list[Portions]()
    one = trained(narrow, both, callbacks=Later(), batch_size=11, validation_split=None)
    start = Portions.__init__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Portions, "__init__", lambda self: (made.append(self), start(self))[1])
        other = trained(Narrow(), both, callbacks=Divide(), batch_size=11, validation_split=None)
    same(one, other)
    assert one[2].calls == other[2].calls


class Counts(nn.Module):
    """Keeps a number, a tensor that becomes another and one that is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.last, self.sum = 0, torch.zeros(()), torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = x.detach().sum()
        self.sum.add_(self.last)
        return x


def test_undo() -> None:
    model = nn.Sequential(Counts(), nn.BatchNorm1d(2), nn.Dropout(0.5))
    undo = Undo(model)
    x = torch.arange(8.0).reshape(4, 2)
    for step in range(4):
        undo.note()
        before = (model[0].calls, model[0].last, model[0].sum.clone(), model[1].running_mean.clone(), torch.get_rng_state())
        model(x)
        assert undo.has_drawn
        undo.put_back()
        after = (model[0].calls, model[0].last, model[0].sum, model[1].running_mean, torch.get_rng_state())
        for value, expected in zip(after, before, strict=True):
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(expected)), step
        model(x)
    assert model[0].calls == 4 == model[1].num_batches_tracked
    model[1].register_buffer("running_mean", torch.ones(2))  # as `to` does
    undo.note()
    model(x)
    undo.put_back()
    assert model[1].running_mean.tolist() == [1.0, 1.0]


# ── what cannot be divided ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_loss_that_is_no_mean() -> None:
    """torch divides by the weights of the classes that are in the batch."""
    loss = nn.CrossEntropyLoss(torch.tensor([1.0, 5.0, 0.5]))

    def scores(narrow: nn.Module) -> list[nn.Module]:
        return [*plain(narrow)[:-1], L.Dense(3)]

    model = lm.Sequential(scores(Narrow(4)))
    model.compile(SGD(0.1), loss)
    model.build((5,), seed=0)
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(ArgumentError) as error:
        model.fit(*data(), batch_size=16, verbose=0)
    assert str(error.value) == (
        "fit(batch_size=16): expected a batch that fits into memory, because its loss is not the mean of the losses of its parts, "
        "received one of which 4 observations fit. Pass batch_size=4."
    )
    assert all(p.grad is None and torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    same(trained(Narrow(4), scores, loss=nn.CrossEntropyLoss()), trained(Narrow(), scores, loss=nn.CrossEntropyLoss()))


def test_states_from_batch_to_batch() -> None:
    """They are as before, and the message says what to do."""
    model = lm.Sequential([L.LSTM(4, stateful=True), Narrow(6), L.Dense(1)])
    model.compile(SGD(0.1), "mse")
    x = torch.randn(16, 3, 2)
    with pytest.raises(torch.OutOfMemoryError) as error:
        model.fit(DataLoader(list(zip(x, x[:, 0, :1], strict=True)), 8), verbose=0)
    assert error.value.__notes__[0] == (
        "It cannot be computed in parts, because stateful layers keep a state of each sequence: pass a smaller batch_size."
    )
    assert [len(t) for t in model[0].buffers()] == [0, 0]


def test_a_network_that_writes_to_its_inputs() -> None:
    class Doubles(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mul_(2)

    with pytest.raises(torch.OutOfMemoryError) as error:
        trained(Narrow(4), lambda narrow: [Doubles(), *plain(narrow)])
    assert error.value.__notes__[0] == "It cannot be computed in parts, because the network has written to its inputs."


def test_one_observation_alone() -> None:
    with pytest.raises(torch.OutOfMemoryError) as error:
        trained(Narrow(0, "backward"))
    assert error.value.__notes__[0] == "One observation alone does not fit into memory."


@given(st.integers(1, 40), st.integers(1, 40))
def test_parts(n: int, most: int) -> None:
    """Nothing is lost, nothing is larger than allowed, and sizes differ by one at most."""
    batch = Batch((torch.arange(n), torch.zeros(n, 2)), torch.arange(n), torch.ones(n))
    parts = batch.parts(most)
    assert torch.equal(torch.cat([p.x[0] for p in parts]), torch.arange(n))
    assert torch.equal(torch.cat([p.y for p in parts]), torch.arange(n))
    sizes = [p.size for p in parts]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) == -(-n // most)
