"""Fifty steps of ten networks: engine "auto" walks the way of "eager", whatever else happens in training."""

from __future__ import annotations

import logging

import pytest
import torch
from engines.ten import FEW, NETWORKS, SETTINGS, trained

from laminar.kernels.library import library, reason_without
from laminar.layers import batchnorm

pytestmark = pytest.mark.skipif(library(torch.float32) is None, reason=f"no kernels here: {reason_without()}")


@pytest.fixture(autouse=True)
def small_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernels be used on images that are cheap to test with."""
    monkeypatch.setattr(batchnorm, "_LEAST", 1)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("network", NETWORKS)
def test_fifty_steps_in_double_precision(network: str, setting: str) -> None:
    (own, figures), (eager, expected) = (trained(network, setting, e, torch.float64) for e in ("auto", "eager"))
    assert figures.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(figures[name], values, rtol=1e-7, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    for name, value in eager.state_dict().items():
        torch.testing.assert_close(own.state_dict()[name], value, rtol=1e-6, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("network", NETWORKS)
def test_fifty_steps_in_single_precision(network: str) -> None:
    """Rounding grows from step to step as training amplifies it: to less than a thousandth of the loss, here."""
    (_, figures), (_, expected) = (
        trained(network, "adam, schedule, clipped, averaged", e, torch.float32) for e in ("auto", "eager")
    )
    torch.testing.assert_close(figures["loss"], expected["loss"], rtol=1e-3, atol=1e-4)


@pytest.mark.slow  # a network takes up to half a minute to compile
@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("network", NETWORKS)
def test_fifty_steps_compiled(network: str, bfloat16: bool, caplog: pytest.LogCaptureFixture) -> None:
    """With random numbers that are eager's; a bit of bfloat16 that falls the other way is a hundredth of the loss, in the end."""
    setting = "adam, schedule, clipped, averaged"
    caplog.set_level(logging.INFO, "laminar.engine")
    precision = "bfloat16" if bfloat16 else "float32"
    (_, figures), (_, expected) = (
        trained(network, setting, e, torch.float32, precision=precision) for e in ("compiled", "eager")
    )
    assert [text[:18] for text in caplog.messages] == ["engine: compiled, "]
    torch.testing.assert_close(figures["loss"], expected["loss"], rtol=1e-3, atol=0.02 if bfloat16 else 1e-4)


@pytest.mark.parametrize("network", [pytest.param(n, marks=() if n in FEW else pytest.mark.slow) for n in NETWORKS])
def test_fifty_steps_in_bfloat16(network: str) -> None:
    """Eight bits of a number: the loss stays within two hundredths of float32's."""
    setting = "adam, schedule, clipped, averaged"
    (_, figures), (_, expected) = (
        trained(network, setting, "eager", torch.float32, precision=p) for p in ("bfloat16", "float32")
    )
    assert figures["loss"] != expected["loss"]
    torch.testing.assert_close(figures["loss"], expected["loss"], rtol=0, atol=0.02)


def test_the_same_seed_gives_the_same_bits_again() -> None:
    (_, figures), (_, again) = (trained("digits", "sgdm", "auto", torch.float32) for _ in range(2))
    assert figures == again
