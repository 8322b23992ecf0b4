"""The guide lists every check and every declaration, in their own words."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from laminar.check.base import REGISTERED
from laminar.check.traits import TRAITS

GUIDE = (Path(__file__).parents[2] / "docs" / "checking.md").read_text()


@pytest.mark.parametrize("name", REGISTERED)
def test_every_check_stands_in_the_guide(name: str) -> None:
    what = (inspect.getdoc(type(REGISTERED[name])) or "").split("\n\n")[0].replace("\n", " ")
    assert f"| `{name}` | {what} |" in GUIDE


@pytest.mark.parametrize("word", TRAITS)
def test_every_declaration_stands_in_the_guide(word: str) -> None:
    assert f'| "{word}" | {TRAITS[word]} |' in GUIDE
