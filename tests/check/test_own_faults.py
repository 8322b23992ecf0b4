"""A fault of the checker itself: it is said to be one, and never that a check passed or does not apply."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import nn

import laminar as lm
from laminar import layers as L
from laminar import storages
from laminar.check import cost, devices, measured, nan_in, running, second_derivative, sizes_tried, transforms, uses
from laminar.check.blame import of_checker
from laminar.check.outcome import Status


def refusing(x: torch.Tensor) -> torch.Tensor:
    raise ValueError("refused")


def caught(module: nn.Module) -> Exception:
    with pytest.raises(Exception) as error:  # noqa: PT011  # whatever it is
        running.run(module, [torch.zeros(2, 3)])
    return error.value.with_traceback(error.value.__traceback__.tb_next)  # type: ignore[union-attr]  # less this file


def test_whose_an_error_is() -> None:
    layer = L.Activation(refusing)
    assert not of_checker(caught(layer)), "the layer's"
    assert not of_checker(caught(nn.Linear(5, 2))), "torch's, in a layer of torch"
    with pytest.raises(TypeError) as error:
        running.run(nn.ReLU(), None)  # type: ignore[arg-type]  # a mistake of whoever calls it
    assert of_checker(error.value.with_traceback(error.value.__traceback__.tb_next))  # type: ignore[union-attr]  # as above
    assert not of_checker(ValueError("never raised"))


@pytest.mark.parametrize(
    ("check", "file", "name"),
    [
        ("gradient-differences", measured, "Point"),
        ("gradient-scale", measured, "gradients"),
        ("gradient-layouts", uses, "leaves"),
        ("second-derivative", second_derivative, "leaves"),
        ("used-twice", uses, "seed_all"),
        ("other-sizes", sizes_tried, "run"),
        ("nan-in", nan_in, "_OTHERS"),
        ("device-moves", devices, "_FromNumbers"),
        ("vmap", transforms, "vmap"),
        ("compile", transforms, "gradients"),
        ("memory", storages, "_Alive"),
        ("time", cost, "_Step"),
    ],
)
def test_a_check_that_is_broken_says_so(monkeypatch: pytest.MonkeyPatch, check: str, file: ModuleType, name: str) -> None:
    """It can neither pass nor be not applicable, and it does not say that the layer raised what it raised itself."""
    layer = L.Conv2D(2, 3)
    monkeypatch.setattr(file, name, None)
    outcome = lm.check_layer(layer, (2, 6, 5), checks=[check], show=False)[check]
    assert outcome.status is Status.FAIL
    assert outcome.found.startswith("TypeError: 'NoneType' object is not ")
    assert outcome.found.endswith(", raised by the check itself")
    assert outcome.fix == "Report it with the layer: the check may be wrong"
