"""Lookup by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laminar.errors import UnknownNameError
from laminar.names import Registry, canonical, unknown_name

TABLE = Registry("optimizer", {"adam": 1, "sgd": 2, "ada_delta": 3}, aliases={"momentum": "sgd", "Ada Max": "adam"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("adam", 1), ("ADAM", 1), ("a-d_a m", 1), ("AdaDelta", 3), ("Momentum", 2), ("adamax", 1), ("ADA_MAX", 1)],
)
def test_lookup_overlooks_case_and_joints(name: str, value: int) -> None:
    assert TABLE[name] == value
    assert name in TABLE


def test_it_is_a_mapping_of_the_documented_names() -> None:
    assert list(TABLE) == ["adam", "sgd", "ada_delta"]
    assert len(TABLE) == 3
    assert dict(TABLE) == {"adam": 1, "sgd": 2, "ada_delta": 3}
    assert TABLE.name_of("momentum") == "sgd"
    assert "adan" not in TABLE
    assert 5 not in TABLE
    assert TABLE.kind == "optimizer"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("adan", "optimizer 'adan' is unknown. Did you mean 'adam'? Known: Ada Max, ada_delta, adam, momentum, sgd."),
        (
            "Momentun",
            "optimizer 'Momentun' is unknown. Did you mean 'momentum'? Known: Ada Max, ada_delta, adam, momentum, sgd.",
        ),
        ("lbfgs", "optimizer 'lbfgs' is unknown. Known: Ada Max, ada_delta, adam, momentum, sgd."),
        ("", "optimizer '' is unknown. Known: Ada Max, ada_delta, adam, momentum, sgd."),
        (7, "optimizer 7 is unknown. Known: Ada Max, ada_delta, adam, momentum, sgd."),
        (None, "optimizer None is unknown. Known: Ada Max, ada_delta, adam, momentum, sgd."),
    ],
)
def test_unknown_names(name: object, text: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        TABLE[name]  # type: ignore[index]  # what a user may pass
    assert str(caught.value) == text


def test_unknown_name_lists_each_name_once_and_sorted() -> None:
    assert str(unknown_name("metric", "x", iter(["b", "a", "b"]))) == "metric 'x' is unknown. Known: a, b."


names = st.text(alphabet="abcXYZ019_- ", min_size=1, max_size=12)


@given(names)
def test_canonical_is_a_projection(name: str) -> None:
    once = canonical(name)
    assert canonical(once) == once == once.lower()
    assert canonical(name.upper()) == canonical(f" {name}-_") == once
    assert not set(once) & set("_- ")


@given(st.dictionaries(names, st.integers(), min_size=1, max_size=5))
def test_every_entry_is_found_under_its_own_name(entries: dict[str, int]) -> None:
    by_canonical = {canonical(n): v for n, v in entries.items()}
    table = Registry("thing", entries)
    assert all(canonical(n) in by_canonical and table[n] == by_canonical[canonical(n)] for n in entries)
