"""The guide lists every check and every declaration, in their own words; the package's docstring lists its files."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from laminar import check
from laminar.check.base import REGISTERED
from laminar.check.traits import TRAITS

GUIDE = (Path(__file__).parents[2] / "docs" / "checking.md").read_text()


@pytest.mark.parametrize("name", REGISTERED)
def test_every_check_stands_in_the_guide(name: str) -> None:
    what = (inspect.getdoc(type(REGISTERED[name])) or "").split("\n\n")[0].replace("\n", " ")
    assert f"| `{name}` | {what} |" in GUIDE


def test_the_map_of_the_package_has_every_file() -> None:
    files = {file.stem for file in Path(check.__file__).parent.glob("*.py")} - {"__init__"}
    assert files - set(re.findall(r"`(\w+)`", check.__doc__ or "")) == set()


@pytest.mark.parametrize("word", TRAITS)
def test_every_declaration_stands_in_the_guide(word: str) -> None:
    assert f'| "{word}" | {TRAITS[word]} |' in GUIDE
