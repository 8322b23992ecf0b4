"""Lookup by name, with the closest match when the name is unknown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from laminar.errors import UnknownNameError

__all__ = ["Registry", "canonical", "closest", "unknown_name"]

T = TypeVar("T")


def canonical(name: str) -> str:
    """Return `name` in the form names are compared in: lower case, without spaces, hyphens and underscores.

    >>> canonical("Sparse_Categorical-CrossEntropy")
    'sparsecategoricalcrossentropy'
    """
    return "".join(c for c in name.lower() if c not in "_- ")


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """Return the error for a name that is not in `known`: the closest match first, then the list.

    >>> print(unknown_name("optimizer", "adan", ["adam", "sgd"]))
    optimizer 'adan' is unknown. Did you mean 'adam'? Known: adam, sgd.
    """
    names = sorted(set(known))
    close = closest(str(name), names)
    hint = f" Did you mean {close!r}?" if close else ""
    return UnknownNameError(f"{kind} {name!r} is unknown.{hint} Known: {', '.join(names)}.")


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that looks most like `name`; None if none does.

    >>> closest("adan", ["adam", "sgd"]), closest("turbo", ["adam", "sgd"])
    ('adam', None)
    """
    by_canonical = {canonical(n): n for n in known}
    found = difflib.get_close_matches(canonical(name), by_canonical, n=1, cutoff=0.6)
    return by_canonical[found[0]] if found else None


class Registry(Mapping[str, T], Generic[T]):
    """A read-only table from names (and their aliases) to values of one kind.

    Args:
        kind: what the values are, in one word, for the error message ("optimizer").
        entries: name -> value, in the order the names are documented.
        aliases: other name -> name in `entries`.

    Raises:
        UnknownNameError: on lookup of a name that is not there.

    >>> r = Registry("loss", {"mean_squared_error": 1}, aliases={"mse": "mean_squared_error"})
    >>> r["MSE"], r["mean-squared-error"], list(r)
    (1, 1, ['mean_squared_error'])
    """

    def __init__(self, kind: str, entries: Mapping[str, T], aliases: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self._entries = dict(entries)
        self._aliases = dict(aliases or {})
        self._by_canonical = {canonical(n): n for n in self._entries}
        self._by_canonical |= {canonical(a): n for a, n in self._aliases.items()}

    def name_of(self, name: str) -> str:
        """Return the documented name that `name` or its alias stands for.

        Raises:
            UnknownNameError: if there is none.
        """
        found = self._by_canonical.get(canonical(name)) if isinstance(name, str) else None
        if found is None:
            raise unknown_name(self.kind, name, [*self._entries, *self._aliases])
        return found

    def __getitem__(self, name: str) -> T:
        return self._entries[self.name_of(name)]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and canonical(name) in self._by_canonical

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
