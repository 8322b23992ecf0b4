"""No check says that a layer without a fault has one: layers and blocks of torch, and every layer that Laminar exports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases import ALL, Case
from check.stock import FOUND_IN_TORCH, STOCK, Stock
from torch import Generator, Tensor

import laminar as lm
from laminar import layers as L
from laminar.check.report import CheckReport, described
from laminar.check.subject import Sample
from laminar.seeding import seeded
from laminar.shapes import trace

FIRST = list({case.cls: case for case in reversed(ALL)}.values())
"""One case of every layer: the first."""

COMPILER = "compile"

FURTHER = [case for case in ALL if case not in FIRST]


def complaints(report: CheckReport) -> str:
    """Return what the failures say; "" where there are none."""
    return "\n".join([report.title, *map(described, report.failures)]) if report.failures else ""


def maker(case: Case) -> Callable[[], lm.Layer]:
    """Return a function that makes the layer of `case`, ready to be used."""
    observations = case.data(20)

    def make() -> lm.Layer:
        layer = case.fresh()
        if case.prepare:
            with seeded(0):
                trace(layer, *case.shapes, dtype=case.dtype)
            case.prepare(layer, *observations)
        return layer

    return make


def sample_of(case: Case) -> Sample | None:
    """Return what makes the inputs of `case`, where they are neither normal numbers nor whole ones."""
    if case.scale == 1.0:
        return None

    def sample(batch: int, random: Generator) -> tuple[Tensor, ...]:
        return tuple(case.scale * torch.randn(batch, *s, generator=random, dtype=torch.float64) for s in case.shapes)

    return sample


def check_case(case: Case, **options: Any) -> str:
    return complaints(lm.check_layer(maker(case), *case.shapes, sample=sample_of(case), show=False, **options))


def test_there_are_enough_of_them() -> None:
    assert len({str(stock) for stock in STOCK}) >= 120
    assert len({type(stock.make()) for stock in STOCK}) >= 80


@pytest.mark.parametrize("stock", STOCK, ids=str)
def test_of_torch(stock: Stock) -> None:
    """All but what takes longest, and what never fails."""
    skip = [COMPILER, "cost"]
    assert complaints(lm.check_layer(stock.make, *stock.shapes, sample=stock.sample, skip=skip, show=False)) == ""


@pytest.mark.slow
@pytest.mark.parametrize("stock", STOCK, ids=str)
def test_of_torch_compiled(stock: Stock) -> None:
    checks = [COMPILER, "cost"]
    assert complaints(lm.check_layer(stock.make, *stock.shapes, sample=stock.sample, checks=checks, show=False)) == ""


@pytest.mark.parametrize(("check", "stock"), FOUND_IN_TORCH, ids=str)
def test_an_alarm_that_is_right(check: str, stock: Stock) -> None:
    """Not a list of what may fail: each says why, and the other checks pass."""
    report = lm.check_layer(stock.make, *stock.shapes, show=False)
    assert [outcome.check for outcome in report.failures] == [check], complaints(report)


def test_every_exported_layer_is_here() -> None:
    exported = {name for name in L.__all__ if isinstance(getattr(L, name), type)}
    assert {case.cls.__name__ for case in FIRST} == exported - {"Layer"}


@pytest.mark.parametrize("case", FIRST, ids=str)
def test_of_laminar(case: Case) -> None:
    """Compiled it is in tests/layers/test_every_layer.py."""
    assert check_case(case, skip=[COMPILER, "cost"]) == ""


@pytest.mark.slow
@pytest.mark.parametrize("case", FURTHER, ids=str)
def test_of_laminar_with_other_settings(case: Case) -> None:
    assert check_case(case) == ""
