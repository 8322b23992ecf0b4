"""`check_layer` itself: its arguments, which checks it runs and in what order, and what becomes of an exception in one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laminar as lm
from laminar.check.base import REGISTERED, Check, register
from laminar.check.outcome import Finding, Status, failed, noted, passed
from laminar.check.registry import GROUPS, chosen
from laminar.check.report import CheckReport
from laminar.check.subject import Subject
from laminar.errors import ArgumentError, UnknownNameError


class Asked(Check):
    """Says what it is told to, and notes that it was asked."""

    name = "asked"
    group = "extra"
    expects = "that all is well"
    log: list[str] = []  # noqa: RUF012  # emptied by the fixture

    def run(self, subject: Subject) -> Finding:
        self.log.append(self.name)
        return passed("well")


class Failing(Asked):
    """Fails."""

    name = "failing"

    def run(self, subject: Subject) -> Finding:
        super().run(subject)
        return failed(expected="1", found="2", fix="Subtract 1")


class Raising(Asked):
    """Raises."""

    name = "raising"

    def run(self, subject: Subject) -> Finding:
        super().run(subject)
        raise ValueError("  the first line\nthe second line")


class Silent(Asked):
    """Raises without a word."""

    name = "silent"

    def run(self, subject: Subject) -> Finding:
        raise ZeroDivisionError


class Needy(Asked):
    """Means nothing where another fails."""

    name = "needy"
    needs = ("asked", "failing")


class Content(Asked):
    """Needs one that passes, and notes something."""

    name = "content"
    needs = ("asked",)

    def run(self, subject: Subject) -> Finding:
        super().run(subject)
        return noted("worth knowing")


@pytest.fixture(autouse=True)
def extra() -> Iterator[list[str]]:
    """Put the checks above into the table, and return the names of those that are asked."""
    before = dict(REGISTERED)
    for cls in (Needy, Content, Asked, Failing, Raising, Silent):
        REGISTERED[cls.name] = cls()
    Asked.log.clear()
    yield Asked.log
    REGISTERED.clear()  # put back in its order
    REGISTERED.update(before)


def check(*checks: str, **options: Any) -> CheckReport:
    return lm.check_layer(nn.ReLU(), (3,), checks=checks, show=False, **options)


# ── arguments ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "shapes"),
    [
        ([(3, 5, 4)], ((3, 5, 4),)),
        ([[3, 5, 4]], ((3, 5, 4),)),
        ([torch.Size((3, 5))], ((3, 5),)),
        ([6], ((6,),)),
        ([(6,), (4, 2)], ((6,), (4, 2))),
        ([[(6,), (4, 2)]], ((6,), (4, 2))),
    ],
    ids=str,
)
def test_shapes_can_be_given_as_people_give_them(given: list[Any], shapes: tuple[tuple[int, ...], ...]) -> None:
    class Several(nn.Module):
        """Takes any number of inputs."""

        def forward(self, *xs: Tensor) -> Tensor:
            return xs[0] * 2

    assert lm.check_layer(Several, *given, checks=["builds"], show=False).given == shapes


@pytest.mark.parametrize(
    ("given", "received"), [([], "none"), ([0], "0"), ([(3, 0)], "(3, 0)"), ([(3,), (-1,)], "(3,), (-1,)")], ids=str
)
def test_a_shape_that_is_none(given: list[Any], received: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        lm.check_layer(nn.ReLU(), *given)
    assert str(caught.value) == (
        f"check_layer(input_shape): expected lengths of at least 1, received {received}. "
        "Pass the shape of one observation, without the batch axis: check_layer(layer, (3, 32, 32))."
    )


@pytest.mark.parametrize("options", [{"checks": ["bilds"]}, {"skip": ["bilds"]}], ids=str)
def test_an_unknown_name(options: dict[str, Any]) -> None:
    for name in set(REGISTERED) - {"builds", "asked"}:
        del REGISTERED[name]
    with pytest.raises(UnknownNameError) as caught:
        lm.check_layer(nn.ReLU(), (3,), **options)
    assert str(caught.value) == "check 'bilds' is unknown. Did you mean 'builds'? Known: asked, builds, contract, extra."


# ── which checks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_names_groups_and_what_is_left_out() -> None:
    assert [c.name for c in chosen(["asked", "builds"], ())] == ["builds", "asked"], "in the order of the table"
    assert [c.name for c in chosen(["extra"], ["silent", "raising"])] == ["needy", "content", "asked", "failing"]
    assert [c.name for c in chosen("asked", "failing")] == ["asked"], "one name needs no list"
    assert [c.name for c in chosen(None, ["extra"])] == [n for n in REGISTERED if REGISTERED[n].group != "extra"]
    assert chosen(["extra"], ["extra"]) == []


def test_every_group_stands_together_in_the_order_of_the_table() -> None:
    groups = [check.group for check in REGISTERED.values() if check.group != "extra"]
    assert tuple(group for group, _ in itertools.groupby(groups)) == GROUPS


def test_every_check_says_what_it_is() -> None:
    for name, check_ in REGISTERED.items():
        assert name == check_.name
        assert name == name.lower()
        assert type(check_).__doc__
        assert check_.expects[0].islower(), "it follows 'expected'"
        assert not check_.expects.endswith(".")
        assert set(check_.needs) <= set(REGISTERED)


def test_two_checks_of_one_name() -> None:
    with pytest.raises(ValueError, match="two checks are named 'asked'"):
        register(type("AskedToo", (Asked,), {}))
    assert register(Asked) is Asked, "a file that is loaded again"


# ── what they say ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_is_asked_once_and_those_needed_first(extra: list[str]) -> None:
    report = check("needy", "content", "asked", "failing")
    assert [o.check for o in report.outcomes] == ["needy", "content", "asked", "failing"]
    assert extra == ["asked", "failing", "content"]
    assert report["needy"].status is Status.NOT_APPLICABLE
    assert report["needy"].summary == "means nothing while failing fails"
    assert report["content"].status is Status.NOTE


def test_an_exception_in_a_check_is_a_failure_with_its_text(extra: list[str]) -> None:
    report = check("raising", "asked")
    outcome = report["raising"]
    assert outcome.status is Status.FAIL
    assert outcome.summary == "expected that all is well, found ValueError: the first line"
    assert (outcome.expected, outcome.found) == ("that all is well", "ValueError: the first line")
    assert outcome.fix == "Call the layer in the same way and read the traceback"
    assert outcome.cause == ""
    assert sorted(extra) == ["asked", "raising"], "the others are asked all the same"
    assert check("silent")["silent"].found == "ZeroDivisionError: no message"


def test_a_layer_that_does_not_run_fails_one_check_and_no_other_means_anything(extra: list[str]) -> None:
    report = lm.check_layer(nn.Linear(4, 2), (3,), show=False)
    assert [o.check for o in report.failures] == ["builds"]
    assert {o.status for o in report.outcomes} == {Status.FAIL, Status.NOT_APPLICABLE}
    assert {o.summary for o in report.outcomes[1:]} == {"means nothing while builds fails"}
    assert extra == []
    assert "mat1 and mat2 shapes cannot be multiplied (4x3 and 4x2)" in report["builds"].found


def test_that_it_does_not_run_is_said_whatever_was_asked_for() -> None:
    report = lm.check_layer(nn.Linear(4, 2), (3,), checks=["asked"], show=False)
    assert [o.check for o in report.outcomes] == ["builds", "asked"]
    assert not report
    assert [o.check for o in check("asked").outcomes] == ["asked"], "but only then"


def test_a_function_that_cannot_make_it() -> None:
    def broken() -> nn.Module:
        raise OSError("no such file")

    with pytest.raises(ArgumentError) as caught:
        lm.check_layer(broken, (3,))
    assert str(caught.value) == (
        "check_layer(layer): expected something that makes a layer, received OSError: no such file. "
        "Pass an instance, or a function that gives it its arguments: lambda: Dense(10)."
    )


def test_it_prints_unless_told_not_to(capsys: pytest.CaptureFixture[str]) -> None:
    check("asked")
    assert capsys.readouterr().out == ""
    lm.check_layer(nn.ReLU(), (3,), checks=["asked"])
    assert capsys.readouterr().out.splitlines()[0].rstrip() == "ReLU() on (3,)"
