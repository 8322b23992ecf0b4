"""`compile(engine="compiled")`: when torch's compiler is used, and that everything goes on where it cannot be."""

from __future__ import annotations

import copy
import functools
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.errors import UnknownNameError
from laminar.fit.engines import compiled
from laminar.fit.engines.compiled import Compiled
from laminar.optimizers import SGD


def data(n: int = 40) -> tuple[Tensor, Tensor]:
    """Return series (n, 6), in batches of 16 with a last one of 8, and class numbers."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 6, generator=generator), torch.randint(3, (n,), generator=generator)


def perceptron(*hidden: nn.Module) -> lm.Sequential:
    layers = [L.Dense(5, name="first"), L.BatchNormalization(), *hidden, L.Dropout(0.3), L.Dense(3, "softmax")]
    return lm.Sequential(layers).build((6,), seed=0)  # type: ignore[return-value]


def trained(model: Any, engine: Any, x: Any = None, y: Any = None, **settings: Any) -> list[float]:
    model.compile(SGD(0.1, momentum=0.9, clipnorm=1.0), "sparse_categorical_crossentropy", device="cpu", engine=engine)
    x, y = data() if x is None else (x, y)
    return model.fit(x, y, epochs=2, batch_size=16, seed=3, verbose=0, **settings).iterations["loss"]


class Notes(list[str]):
    """What is told of engines that are not used, to a person and to the log alike."""


@pytest.fixture
def notes() -> Iterator[Notes]:
    kept = Notes()

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith('engine "'):
                kept.append(record.getMessage())

    logger, handler = logging.getLogger("laminar.engine"), Keeps()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield kept
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def uses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of the batches that went through compiled programs, and spare the compiling: eager stands in for it."""
    sizes: list[int] = []

    def stand_in(function: Any, **options: Any) -> Any:
        assert options == {
            "fullgraph": True,
            "dynamic": False,
            "options": {"fallback_random": True, "layout_optimization": False},
        }

        def run(aim: Any, x: Any, y: Any, weight: Any) -> Any:
            sizes.append(len(x))
            return function(aim, x, y, weight)

        return run

    monkeypatch.setattr(torch, "compile", stand_in)
    return sizes


BEGINNING = 'engine "compiled" is not used for this network, which is computed operation by operation: '


# -- the compiler itself ---------------------------------------------------------------------------------------------------


def test_a_small_network_takes_the_same_way_and_is_compiled_once(notes: Notes, caplog: pytest.LogCaptureFixture) -> None:
    """Dropout, running statistics, clipping, a smaller last batch, two fits, a copy and a file in between."""
    from torch._dynamo.utils import counters

    x, y = data()
    models = [perceptron(), perceptron()]
    expected = trained(models[0], "eager")
    counters.clear()
    with caplog.at_level(logging.INFO, "laminar.engine"):
        found = trained(models[1], "compiled")
        assert found == pytest.approx(expected, rel=1e-5)
        twin, filed = copy.deepcopy(models[1]), pickle.loads(pickle.dumps(models[1]))
        again = [m.fit(x, y, batch_size=16, seed=4, verbose=0).iterations["loss"] for m in models]
    assert again[1] == pytest.approx(again[0], rel=1e-5)
    assert counters["stats"]["unique_graphs"] == 1
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("engine: compiled, in ")
    assert notes == []
    for name, value in models[0].state_dict().items():
        torch.testing.assert_close(models[1].state_dict()[name], value, rtol=1e-4, atol=1e-6)
    assert twin._learner.__getstate__().keys() == filed._learner.__getstate__().keys()
    assert torch.equal(twin.predict(x), filed.predict(x))


@pytest.fixture
def forgetful() -> Iterator[None]:
    """What torch has found out about its C++ compiler is asked anew afterwards."""
    from torch._inductor import cpp_builder, cpu_vec_isa

    yield
    for known in (*vars(cpp_builder).values(), *vars(cpu_vec_isa).values()):
        if isinstance(known, functools._lru_cache_wrapper):
            known.cache_clear()


@pytest.mark.filterwarnings("ignore:dynamo_pgo force disabled")  # said once in a process
def test_without_a_compiler_of_c(notes: Notes, forgetful: None) -> None:
    import torch._inductor.config as settings

    # torch's own way of setting and restoring: pytest's hides a setting for good when it takes it back.
    with settings.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}):
        assert trained(perceptron(), "compiled") == trained(perceptron(), "auto")
    assert not torch.compiler.config.force_disable_caches
    assert settings.cpp.cxx != ("no-such-compiler",)
    assert len(notes) == 1
    assert notes[0].startswith(BEGINNING)
    assert "InvalidCxxCompiler" in notes[0]


def test_a_network_that_reads_its_numbers_in_python(notes: Notes) -> None:
    class Decides(L.Layer):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if x.mean().item() > 0 else x

    assert trained(perceptron(Decides()), "compiled") == trained(perceptron(Decides()), "auto")
    assert len(notes) == 1
    assert notes[0].startswith(BEGINNING + "UserError: ")


# -- what is left to eager -------------------------------------------------------------------------------------------------


def test_batches_of_another_size_are_computed_as_ever(uses: list[int]) -> None:
    assert trained(perceptron(), "compiled") == pytest.approx(trained(perceptron(), "eager"), rel=1e-5)
    assert uses == [16, 16] * 2


def test_other_numbers_are_refused_and_told_in_every_fit(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(function: Any, **options: Any) -> Any:
        def run(*arguments: Any) -> Any:
            losses, output = function(*arguments)
            return losses * 1.1, output

        return run

    monkeypatch.setattr(torch, "compile", wrong)
    model = perceptron()
    assert trained(model, "compiled") == trained(perceptron(), "auto")
    model.fit(*data(), verbose=0)
    assert len(notes) == 2
    assert notes[0] == notes[1]
    assert notes[0].startswith(BEGINNING + "the compiled loss of the first batch is ")


def test_hooks_see_what_they_would_see_otherwise(uses: list[int]) -> None:
    seen: list[int] = []
    model = perceptron()
    handle = model[0].register_forward_hook(lambda module, args, output: seen.append(len(output)))
    trained(model, "compiled")
    assert (len(seen), uses) == (6, [])
    handle.remove()
    model.fit(*data(), batch_size=16, verbose=0)
    assert uses == [16, 16]


def test_an_error_in_the_first_batch_is_that_of_the_layer() -> None:
    class Fails(L.Layer):
        def forward(self, x: Tensor) -> Tensor:
            if self.training and not x.is_meta:
                raise ValueError("no")
            return x

    with pytest.raises(ValueError, match="no") as e:
        trained(perceptron(Fails(name="failing")), "compiled")
    texts = "\n".join([str(e.value), *e.value.__notes__])
    with pytest.raises(ValueError, match="no") as e:
        trained(perceptron(Fails(name="failing")), "eager")
    assert "\n".join([str(e.value), *e.value.__notes__]) == texts


def test_what_fails_later_is_computed_as_ever(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def breaks(function: Any, **options: Any) -> Any:
        def run(*arguments: Any) -> Any:
            calls.append(1)
            if len(calls) == 2:
                raise RuntimeError("broken\nby the test")
            return function(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", breaks)
    assert trained(perceptron(), "compiled") == pytest.approx(trained(perceptron(), "eager"), rel=1e-5)
    assert len(calls) == 2
    assert notes == [BEGINNING + "RuntimeError: broken"]


def test_a_batch_that_does_not_fit_into_memory_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what does that, not by falling back."""

    def full(function: Any, **options: Any) -> Any:
        def run(*arguments: Any) -> Any:
            if len(arguments[1]) > 8:
                raise torch.OutOfMemoryError("full")
            return function(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", full)
    model = lm.Sequential([L.Dense(3, "softmax")]).build((6,), seed=0)
    reference = copy.deepcopy(model)
    assert trained(model, "compiled") == pytest.approx(trained(reference, "eager"), rel=1e-6)


def test_the_program_is_made_anew_for_another_precision_and_not_for_another_fit(uses: list[int]) -> None:
    model = perceptron()
    trained(model, "compiled")
    first = model._learner._pace.program  # type: ignore[union-attr]
    model.fit(*data(), verbose=0)
    assert isinstance(first, Compiled)
    assert model._learner._pace.program is first  # type: ignore[union-attr]


def test_reasons_are_one_line() -> None:
    assert compiled._words(RuntimeError("\n  first \nsecond")) == "RuntimeError: first"
    assert compiled._words(ValueError()) == "ValueError: no reason given"


def test_an_unknown_engine() -> None:
    with pytest.raises(UnknownNameError) as e:
        trained(perceptron(), "compile")
    assert str(e.value) == (
        "compile(engine=) 'compile' is unknown. Did you mean 'compiled'? Known: auto, compiled, cuda_graph, eager."
    )


# -- a CUDA graph without a GPU --------------------------------------------------------------------------------------------


def test_on_the_cpu_a_cuda_graph_is_said_not_to_be_there(notes: Notes, capsys: pytest.CaptureFixture[str]) -> None:
    assert trained(perceptron(), "cuda_graph") == trained(perceptron(), "auto")
    text = (
        'engine "cuda_graph" is not used for this network, which is computed operation by operation: the network is on the CPU'
    )
    assert notes == [text]
    talkative = perceptron()
    talkative.compile("sgd", "sparse_categorical_crossentropy", device="cpu", engine="cuda_graph")
    talkative.fit(*data(), verbose=2)
    assert text in " ".join(capsys.readouterr().out.split())
