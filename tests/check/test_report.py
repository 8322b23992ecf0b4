"""The table: what it says of each check, in print, as text, as an exception and as plain data."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from torch import nn

import laminar as lm
from laminar.check.outcome import Finding, Outcome, Status, failed, not_applicable, noted, passed
from laminar.check.report import CheckReport
from laminar.errors import CheckError, LaminarError, UnknownNameError


def outcome(finding: Finding, check: str, group: str) -> Outcome:
    return Outcome(**vars(finding), check=check, group=group, seconds=0.25)


def report(*, with_failures: bool = True) -> CheckReport:
    outcomes = [
        outcome(passed("(batch, 3, 6, 5) → (batch, 3, 6, 5); given shape → (20, 224, 224)"), "builds", "contract"),
        outcome(
            noted("no description: write one line below the class's name, and every table shows it"), "described", "contract"
        ),
        outcome(
            failed(
                expected="the gradient of alpha to be 12.25 at (1,), as both autograd and central differences have it",
                found="3.0625, 0.25 times the right one",
                cause="it is divided by the batch size, 4: of 5 observations it is 0.2 times the right one",
                fix="Sum over the batch instead of taking the mean",
            ),
            "gradient-scale",
            "gradient",
        ),
        outcome(not_applicable("means nothing while gradient-scale fails"), "frozen", "gradient"),
        outcome(failed(expected="NaN", found="0.5", fix="Use torch.clamp"), "nan-in", "numerics"),
    ]
    kept = [o for o in outcomes if with_failures or o.status is not Status.FAIL]
    return CheckReport("ELU(alpha=1.0)", ((20, 224, 224),), ((3, 6, 5),), tuple(kept), 1.26)


def printed(width: int, made: CheckReport) -> list[str]:
    text = io.StringIO()
    made.show(Console(file=text, width=width, color_system=None))
    return [line.rstrip() for line in text.getvalue().splitlines()]


WIDE = """\
ELU(alpha=1.0) on (20, 224, 224), checked on the smaller (3, 6, 5)
check             result  what was seen
contract
  builds          pass    (batch, 3, 6, 5) → (batch, 3, 6, 5); given shape → (20, 224, 224)
  described       note    no description: write one line below the class's name, and every table shows it
gradient
  gradient-scale  fail    see below
  frozen          n/a     means nothing while gradient-scale fails
numerics
  nan-in          fail    see below

✗ gradient-scale (gradient)
  expected  the gradient of alpha to be 12.25 at (1,), as both autograd and central differences have it
  found     3.0625, 0.25 times the right one
  cause     it is divided by the batch size, 4: of 5 observations it is 0.2 times the right one
  fix       Sum over the batch instead of taking the mean

✗ nan-in (numerics)
  expected  NaN
  found     0.5
  fix       Use torch.clamp

1 passed, 2 failed, 1 noted, 1 not applicable; 1.3 s"""

NARROW = """\
ELU(alpha=1.0) on (20, 224, 224), checked on the smaller (3, 6, 5)
check             result  what was seen
contract
  builds          pass    (batch, 3, 6, 5) → (batch, 3, 6, 5); given shape →
                          (20, 224, 224)
  described       note    no description: write one line below the class's name,
                          and every table shows it
gradient
  gradient-scale  fail    see below
  frozen          n/a     means nothing while gradient-scale fails
numerics
  nan-in          fail    see below

✗ gradient-scale (gradient)
  expected  the gradient of alpha to be 12.25 at (1,), as both autograd and
            central differences have it
  found     3.0625, 0.25 times the right one
  cause     it is divided by the batch size, 4: of 5 observations it is 0.2
            times the right one
  fix       Sum over the batch instead of taking the mean

✗ nan-in (numerics)
  expected  NaN
  found     0.5
  fix       Use torch.clamp

1 passed, 2 failed, 1 noted, 1 not applicable; 1.3 s"""


def test_at_120_columns() -> None:
    assert "\n".join(printed(120, report())) == WIDE
    assert str(report()) == WIDE


def test_at_80_columns() -> None:
    assert "\n".join(printed(80, report())) == NARROW


def test_a_layer_without_fault() -> None:
    made = report(with_failures=False)
    assert made.passed
    assert bool(made)
    assert made.failures == []
    assert str(made).splitlines()[-2:] == ["", "1 passed, 1 noted, 1 not applicable; 1.3 s"]
    made.raise_for_failures()


def test_markup_of_rich_is_not_read_in_a_layers_text() -> None:
    """Shapes and lists stand in square brackets."""
    found = outcome(failed(expected="[bold]1[/bold]", found="[1, 2]", fix="[/] x"), "nan-in", "numerics")
    text = str(CheckReport("Layer([red])", ((3,),), ((3,),), (found, outcome(passed("[/dim]"), "vmap", "placement")), 0.1))
    assert all(part in text for part in ("Layer([red]) on (3,)", "[bold]1[/bold]", "[1, 2]", "[/] x", "[/dim]"))


def test_failures() -> None:
    made = report()
    assert not made.passed
    assert not made
    assert [o.check for o in made.failures] == ["gradient-scale", "nan-in"]
    assert made["nan-in"].found == "0.5"
    assert made["nan-in"].summary == "expected NaN, found 0.5"
    assert made["frozen"].status is Status.NOT_APPLICABLE


def test_a_check_that_is_not_in_the_table() -> None:
    with pytest.raises(UnknownNameError) as caught:
        report()["gradient"]
    assert str(caught.value) == (
        "check 'gradient' is unknown. Did you mean 'gradient-scale'? Known: builds, described, frozen, gradient-scale, nan-in."
    )


def test_what_is_raised() -> None:
    with pytest.raises(CheckError) as caught:
        report().raise_for_failures()
    assert isinstance(caught.value, LaminarError)
    assert isinstance(caught.value, AssertionError), "a test that it ends is a failed one"
    assert str(caught.value) == (
        "ELU(alpha=1.0) on (20, 224, 224), checked on the smaller (3, 6, 5): 1 passed, 2 failed, 1 noted, 1 not applicable\n"
        "\n"
        "✗ gradient-scale (gradient)\n"
        "  expected  the gradient of alpha to be 12.25 at (1,), as both autograd and central differences have it\n"
        "  found     3.0625, 0.25 times the right one\n"
        "  cause     it is divided by the batch size, 4: of 5 observations it is 0.2 times the right one\n"
        "  fix       Sum over the batch instead of taking the mean\n"
        "\n"
        "✗ nan-in (numerics)\n"
        "  expected  NaN\n"
        "  found     0.5\n"
        "  fix       Use torch.clamp"
    )


def test_as_plain_data_through_json() -> None:
    made = report()
    data = json.loads(json.dumps(made.to_dict()))
    assert data["layer"] == "ELU(alpha=1.0)"
    assert (data["given"], data["shapes"]) == ([[20, 224, 224]], [[3, 6, 5]])
    assert (data["passed"], data["seconds"]) == (False, 1.26)
    assert [(o["check"], o["status"]) for o in data["outcomes"]] == [(o.check, o.status.value) for o in made.outcomes]
    again = tuple(Outcome(**{**o, "status": Status(o["status"])}) for o in data["outcomes"])
    assert again == made.outcomes


def test_of_a_real_layer_too() -> None:
    data = lm.check_layer(nn.Linear(3, 2), (3,), show=False).to_dict()
    assert json.loads(json.dumps(data))["passed"] is True


def test_one_line_for_a_shell() -> None:
    assert repr(report()) == "<CheckReport: ELU(alpha=1.0): 1 passed, 2 failed, 1 noted, 1 not applicable>"


def test_several_inputs_and_nothing_checked() -> None:
    empty = CheckReport("Add()", ((3,), (4, 2)), ((3,), (4, 2)), (), 0.0)
    assert empty.title == "Add() on (3,) and (4, 2)"
    assert empty.verdict == "nothing was checked"
