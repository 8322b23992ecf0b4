"""Where the kernels are used, and where not."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar import layers as L
from laminar.kernels import functions, switch
from laminar.kernels.library import library, reason_without
from laminar.kernels.parts import Part

pytestmark = pytest.mark.skipif(library(torch.float32) is None, reason=f"no kernels here: {reason_without()}")

BIG = torch.zeros(4, 4, 40, 40)


def test_it_is_off_unless_it_is_put_on_and_for_one_thread_alone() -> None:
    assert not switch.serve(BIG, part=Part.CONTIGUOUS)
    with switch.enabled():
        assert switch.serve(BIG, part=Part.CONTIGUOUS)
        other: list[bool] = []
        thread = threading.Thread(target=lambda: other.append(switch.serve(BIG, part=Part.CONTIGUOUS)))
        thread.start()
        thread.join()
        assert other == [False]
        with switch.enabled(False):
            assert not switch.serve(BIG, part=Part.CONTIGUOUS)
        assert switch.serve(BIG, part=Part.CONTIGUOUS)
    assert not switch.serve(BIG, part=Part.CONTIGUOUS)


@pytest.mark.parametrize(
    ("why", "tensors"),
    [
        ("small", (torch.zeros(10),)),
        ("not contiguous", (BIG.transpose(2, 3),)),
        ("channels last", (BIG.contiguous(memory_format=torch.channels_last),)),
        ("another dtype beside it", (BIG, torch.zeros(4, dtype=torch.float64))),
        ("no floating point", (BIG.int(),)),
        ("without memory", (BIG.to("meta"),)),
    ],
)
def test_what_they_are_not_made_for(why: str, tensors: tuple[Tensor, ...]) -> None:
    with switch.enabled():
        assert not switch.serve(*tensors, part=Part.CONTIGUOUS), why
        assert switch.serve(BIG, None, torch.zeros(4), part=Part.CONTIGUOUS)


def test_they_stay_out_of_what_has_no_memory_of_its_own() -> None:
    seen: list[bool] = []

    def look(x: Tensor) -> Tensor:
        seen.append(switch.serve(x, part=Part.CONTIGUOUS))
        return x.sum()

    with switch.enabled():
        torch.vmap(look)(torch.zeros(2, *BIG.shape))
        torch.func.grad(look)(BIG)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            look(BIG)
    assert seen == [False, False, False]


def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of every kernel that is called."""
    seen: list[str] = []
    for name in (
        "normalize",
        "affine",
        "elu",
        "convolve",
        "dense",
        "convolve_backward",
        "normalize_backward",
        "elu_backward",
        "dense_backward",
    ):
        original = getattr(functions.calls, name)

        def spy(*arguments: Any, _name: str = name, _original: Any = original) -> Any:
            seen.append(_name)
            return _original(*arguments)

        monkeypatch.setattr(functions.calls, name, spy)
    return seen


def network(*behind: nn.Module) -> lm.Sequential:
    model = lm.Sequential([L.Conv2D(8, 5), L.BatchNormalization(), *behind, L.Flatten(), L.Dense(3)])
    return model


@pytest.mark.parametrize(
    "activation", [L.ELU("uniform", learnable=True), L.ReLU(), nn.ReLU(), L.Activation("relu")], ids=lambda m: type(m).__name__
)
def test_a_normalization_and_its_activation_are_one_pass(activation: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(activation)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.build((1, 28, 28), seed=0)
    x, y = torch.randn(32, 1, 28, 28), torch.randint(3, (32,))
    seen = used(monkeypatch)
    model.fit(x, y, batch_size=32, verbose=0)
    assert seen == ["convolve", "normalize", "dense", "dense_backward", "normalize_backward", "convolve_backward"]
    seen.clear()
    model.evaluate(x, y)
    assert seen == ["convolve", "affine", "dense"]


def test_hooks_see_what_lies_between(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(L.ELU("uniform", learnable=True)).build((1, 28, 28), seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    between: list[Tensor] = []
    model.layers[1].register_forward_hook(lambda _m, _x, z: between.append(z))
    seen = used(monkeypatch)
    model.fit(torch.randn(32, 1, 28, 28), torch.randint(3, (32,)), batch_size=32, verbose=0)
    assert seen[:4] == ["convolve", "normalize", "elu", "dense"]
    assert any(bool((z < -0.5).any()) for z in between)  # normalized, and no ELU of it


@pytest.mark.parametrize(
    ("layer", "shape", "other"),
    [
        (L.Dense(4), (600,), (700,)),
        (L.Conv2D(4, 5), (1, 40, 40), (2, 40, 40)),
        (L.Conv2D(4, 5), (1, 40, 40), (1, 3, 4000)),
        (L.BatchNormalization(), (4, 40, 40), (9, 40, 40)),
        (L.ELU(), (4, 40, 40), (9, 40, 40)),
    ],
    ids=["dense", "convolution", "smaller than its kernel", "normalization", "elu"],
)
def test_a_shape_that_does_not_fit_is_an_error_and_no_memory_of_others(
    layer: L.Layer, shape: tuple[int, ...], other: tuple[int, ...]
) -> None:
    layer(torch.zeros(2, *shape))
    with switch.enabled(), pytest.raises((lm.errors.ShapeError, RuntimeError)):
        layer(torch.zeros(64, *other))


def test_a_tensor_that_torch_has_not_negated_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = torch.view_as_complex(torch.randn(4, 4, 40, 40, 2)).conj().imag.contiguous()
    assert not lazy.is_neg()
    negated = torch._neg_view(lazy)
    with switch.enabled():
        assert switch.serve(lazy, part=Part.CONTIGUOUS)
        assert not switch.serve(negated, part=Part.CONTIGUOUS)


def test_eager_uses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(L.ELU())
    model.compile("sgd", "sparse_categorical_crossentropy", engine="eager")
    seen = used(monkeypatch)
    x, y = torch.randn(32, 1, 28, 28), torch.randint(3, (32,))
    model.fit(x, y, verbose=0)
    model.evaluate(x, y)
    model.predict(x)
    assert seen == []


def test_an_engine_that_is_not_known() -> None:
    with pytest.raises(lm.errors.UnknownNameError) as error:
        network().compile("sgd", "mse", engine="turbo")  # type: ignore[arg-type]
    assert str(error.value) == "compile(engine=) 'turbo' is unknown. Known: auto, compiled, cuda_graph, eager."
