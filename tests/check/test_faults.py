"""The checker against the catalogue: each mistake is named by the check that is there for it, no repaired twin is accused."""

from __future__ import annotations

from collections import Counter

import pytest
from faults.fault import Fault
from faults.layers import ALL

import laminar as lm
from laminar.check.base import REGISTERED
from laminar.check.report import described

ONLY_NOTES = {"described", "onnx", "time", "memory"}
"""Checks that tell something and never fail."""

COMPILER = "compile"
every_fault = pytest.mark.parametrize("fault", ALL, ids=str)


def test_the_catalogue_is_large_and_has_no_entry_twice() -> None:
    assert len(ALL) >= 60
    assert [name for name, count in Counter(map(str, ALL)).items() if count > 1] == []


def test_every_check_that_can_fail_has_a_fault() -> None:
    """And no entry names a check that is not there."""
    assert {fault.check for fault in ALL} == set(REGISTERED) - ONLY_NOTES


@every_fault
def test_the_check_that_names_the_mistake_fails(fault: Fault) -> None:
    report = lm.check_layer(fault.faulty, fault.shape, checks=[fault.check], show=False, **fault.options)
    assert [outcome.check for outcome in report.failures] == [fault.check]
    outcome = report[fault.check]
    assert outcome.expected
    assert outcome.found
    assert outcome.fix


@every_fault
def test_the_repaired_twin_has_no_failure(fault: Fault) -> None:
    """In any check but the one that takes longest, unless that is the one in question, and those that never fail."""
    skip = {COMPILER, "cost"} - {fault.check}
    report = lm.check_layer(fault.repaired, fault.shape, skip=skip, show=False, **fault.options)
    assert "\n".join(map(described, report.failures)) == ""
    assert report.passed


@pytest.mark.slow
@every_fault
def test_the_repaired_twin_compiles_and_has_its_cost(fault: Fault) -> None:
    report = lm.check_layer(fault.repaired, fault.shape, checks=[COMPILER, "cost"], show=False, **fault.options)
    assert "\n".join(map(described, report.failures)) == ""


@pytest.mark.slow
@every_fault
def test_the_mistake_is_named_among_all_checks_as_well(fault: Fault) -> None:
    """What the layer does to itself, to torch's settings or to what others share spoils no check that comes later."""
    report = lm.check_layer(fault.faulty, fault.shape, show=False, **fault.options)
    assert not report.passed
    assert fault.check in [outcome.check for outcome in report.failures]
